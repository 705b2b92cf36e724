import numpy as np
import pytest
from PIL import ExifTags, Image, ImageDraw, ImageEnhance, ImageFilter

from going_modular.common.errors import InputError
from going_modular.data import images, sources
from going_modular.inspection import quality
from going_modular.inspection.quality import BLURRED, BRIGHT, DARK, PLAIN, SCREENSHOT, TINY, in_company, measure

PHOTOS = sorted((sources.DATA_FOLDER / "sample").glob("train/*/*.jpg"))[::9]


def screenshot(seed: int) -> Image.Image:
    """Draw a window with a bar, a panel and lines of text."""
    rng = np.random.default_rng(seed)
    image = Image.new("RGB", (640, 480), (250, 250, 250))
    draw = ImageDraw.Draw(image)
    draw.rectangle((0, 0, 640, 30), fill=tuple(rng.integers(40, 220, size=3).tolist()))
    draw.rectangle((0, 30, 120, 480), fill=(230, 232, 236))
    for line in range(25):
        text = " ".join("".join(chr(c) for c in rng.integers(97, 123, size=rng.integers(2, 9))) for _ in range(11))
        draw.text((135, 40 + 17 * line), text, fill="black")
    return image


SPOILT = {
    DARK: lambda image: ImageEnhance.Brightness(image).enhance(0.15),
    BRIGHT: lambda image: Image.blend(image, Image.new("RGB", image.size, "white"), 0.85),
    BLURRED: lambda image: image.filter(ImageFilter.GaussianBlur(image.width / 40)),
    TINY: lambda image: image.resize((48, 48)),
    PLAIN: lambda image: Image.blend(image, Image.new("RGB", image.size, "grey"), 0.98),
}


@pytest.mark.parametrize("fault", SPOILT)
def test_a_spoilt_photo_is_told(fault):
    found = [measure(SPOILT[fault](images.open_image(path))).flags for path in PHOTOS]
    assert sum(fault in flags for flags in found) >= 0.9 * len(PHOTOS), found


def test_a_sound_photo_has_no_flag():
    found = [measure(path).flags for path in PHOTOS]
    assert sum(bool(flags) for flags in found) <= 1, found


def test_screenshots_are_told():
    assert all(SCREENSHOT in measure(screenshot(seed)).flags for seed in range(5))


def test_a_plain_image_is_that_and_neither_blurred_nor_a_screenshot():
    assert measure(Image.new("RGB", (300, 300), "grey")).flags == (PLAIN,)


def test_the_file_is_described(tmp_path):
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    images.open_image(PHOTOS[0]).resize((400, 300)).save(tmp_path / "turned.jpg", exif=exif)
    found = measure(tmp_path / "turned.jpg")
    assert (found.width, found.height, found.side, found.format) == (300, 400, 300, "JPEG")
    assert found.bytes == (tmp_path / "turned.jpg").stat().st_size


def test_brightness_and_colour_are_of_the_picture():
    image = Image.new("RGB", (256, 256), (255, 0, 0))
    image.paste((0, 0, 255), (0, 0, 256, 128))
    found = measure(image)
    assert found.colour == pytest.approx((0.5, 0, 0.5))
    assert found.frame[:3] == pytest.approx((0, 0, 1))
    assert found.frame[6:9] == pytest.approx((1, 0, 0))
    assert found.dark_end == pytest.approx(29 / 255)
    assert found.light_end == pytest.approx(76 / 255)
    assert found.brightness == pytest.approx(52.5 / 255)


def test_size_changes_little_but_the_size():
    large = images.open_image(PHOTOS[0]).resize((1200, 900), Image.Resampling.LANCZOS)
    small = large.resize((300, 225), Image.Resampling.LANCZOS)
    first, second = measure(large), measure(small)
    for name in ("brightness", "contrast", "dark_end", "light_end", "sharpness"):
        assert getattr(first, name) == pytest.approx(getattr(second, name), abs=0.05), name


def test_what_is_the_rule_in_a_data_set_is_no_fault_of_an_image():
    dark = [measure(SPOILT[DARK](images.open_image(path))) for path in PHOTOS]
    assert sum(DARK in found.flags for found in in_company(dark)) <= 1
    bright = [measure(path) for path in PHOTOS]
    mixed = in_company([*bright, dark[0]])
    assert DARK in mixed[-1].flags


def test_of_small_images_only_a_much_smaller_one_is_tiny():
    small = [measure(images.open_image(path).resize((60 + i % 3, 64))) for i, path in enumerate(PHOTOS)]
    smallest = measure(images.open_image(PHOTOS[0]).resize((12, 12)))
    assert [TINY in found.flags for found in in_company([*small, smallest])] == [False] * len(small) + [True]


@pytest.mark.parametrize("size", [(1, 1), (1, 9), (3, 2), (3000, 2), (500, 62)])
def test_odd_sizes_are_no_error(size):
    found = measure(Image.new("RGB", size, "teal"))
    assert np.isfinite([*found.colour, *found.frame, found.sharpness, found.flatness, found.steepness]).all()


def test_files_are_measured_together_and_an_unreadable_one_is_named(tmp_path, make_image):
    path = make_image("noise.png", size=(300, 240))
    [found] = quality.measure_all([path])
    assert found == measure(path)
    assert quality.measure_all([]) == []
    (tmp_path / "broken.jpg").write_bytes(b"no image")
    with pytest.raises(InputError, match=r"broken\.jpg"):
        quality.measure_all([path, tmp_path / "broken.jpg"])
