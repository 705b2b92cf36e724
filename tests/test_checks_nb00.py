"""The check of notebook 00's changed picture is content with what a learner may well try."""

import pytest
from PIL import Image, ImageEnhance, ImageOps

from going_modular.checks import nb00


def _covered(image: Image.Image) -> Image.Image:
    image = image.copy()
    image.paste((0, 0, 0), (0, 0, 8, 8))
    return image


@pytest.mark.parametrize(
    "change",
    [
        ImageOps.mirror,
        ImageOps.flip,
        ImageOps.invert,
        ImageOps.grayscale,
        lambda image: image.rotate(180),
        lambda image: image.rotate(90, expand=True),
        lambda image: ImageEnhance.Brightness(image).enhance(0.5),
        lambda image: image.resize((32, 32)).resize(image.size),
        _covered,
    ],
)
def test_every_change_that_leaves_something_to_see_is_right(change):
    assert nb00.change.judge(lambda image: change(image).convert("RGB")) == "right"
