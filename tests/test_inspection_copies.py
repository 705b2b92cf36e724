import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageEnhance, ImageOps

from going_modular.evaluation import leaks
from going_modular.inspection import copies
from going_modular.inspection.copies import IDENTICAL, NEAR, SCENE, find, together


def picture(seed: int) -> Image.Image:
    """Draw discs, so that a picture has low frequencies of its own."""
    rng = np.random.default_rng(seed)
    image = Image.new("RGB", (96, 80), tuple(rng.integers(256, size=3).tolist()))
    for _ in range(8):
        x, y, radius = rng.integers([0, 0, 8], [96, 80, 30]).tolist()
        colour = tuple(rng.integers(256, size=3).tolist())
        ImageDraw.Draw(image).ellipse((x - radius, y - radius, x + radius, y + radius), fill=colour)
    return image


def save(folder: Path, images: list[Image.Image]) -> leaks.Fingerprints:
    paths = [folder / f"{i}.png" for i in range(len(images))]
    for image, path in zip(images, paths, strict=True):
        image.save(path)
    return leaks.fingerprints(paths)


def around(sources: list[int], noise: float = 0.02) -> np.ndarray:
    """Return features of unit length, those of one source alike."""
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(max(sources) + 1, 64))
    features = centres[sources] + noise * rng.normal(size=(len(sources), 64))
    return (features / np.linalg.norm(features, axis=1, keepdims=True)).astype(np.float32)


def compressed(image: Image.Image) -> Image.Image:
    file = io.BytesIO()
    image.save(file, "JPEG", quality=60)
    return Image.open(file)


def test_copies_are_told_by_kind(tmp_path):
    pictures = [picture(seed) for seed in range(6)]
    altered = [compressed(pictures[1]), ImageEnhance.Brightness(pictures[1]).enhance(0.8)]
    prints = save(tmp_path, [*pictures, pictures[0], *altered, picture(99)])
    features = around([0, 1, 2, 3, 4, 5, 0, 1, 1, 2])
    features[9] = around([0, 1, 2, 3, 4, 5, 0, 1, 1, 2], noise=1.1)[9]  # another shot of the third's scene
    found = find(prints, features, np.zeros(10, dtype=int))
    assert [(group.kind, group.members) for group in found] == [
        (IDENTICAL, (0, 6)),
        (NEAR, (1, 7, 8)),
        (SCENE, (2, 9)),
    ]
    assert together(10, found).tolist() == [0, 1, 2, 3, 4, 5, 0, 1, 1, 2]


def test_two_labels_come_before_two_splits(tmp_path):
    pictures = [picture(seed) for seed in range(4)]
    prints = save(tmp_path, pictures + pictures)
    labels, splits = np.array([0, 0, 0, 0, 0, 0, 1, 1]), ["train"] * 4 + ["train", "test", "train", "test"]
    found = find(prints, around([0, 1, 2, 3] * 2), labels, splits)
    assert [group.members for group in found] == [(3, 7), (2, 6), (1, 5), (0, 4)]
    assert [group.has_two_labels for group in found] == [True, True, False, False]
    assert [group.crosses_splits for group in found] == [True, False, True, False]
    assert (found[0].labels, found[0].splits) == ((0, 1), ("test", "train"))


def test_a_wider_group_is_listed_beside_the_identical_ones_in_it(tmp_path):
    first = picture(0)
    prints = save(tmp_path, [first, compressed(first), first, picture(1)])
    found = find(prints, around([0, 0, 0, 1]), np.zeros(4, dtype=int))
    assert [(group.kind, group.members) for group in found] == [(IDENTICAL, (0, 2)), (NEAR, (0, 1, 2))]


def test_different_pictures_with_one_background_are_no_near_copies(tmp_path):
    other = picture(0)
    ImageDraw.Draw(other).ellipse((40, 30, 50, 40), fill="white")
    prints = save(tmp_path, [picture(0), other])
    assert leaks.distances(prints.hashes[:1], prints.hashes[1:])[0, 0] <= leaks.MAX_DISTANCE
    assert find(prints, around([0, 1]), np.array([0, 1])) == []


def test_a_mirrored_copy_is_told_by_its_features(tmp_path):
    pictures = [picture(seed) for seed in range(5)]
    prints = save(tmp_path, [*pictures, ImageOps.mirror(pictures[3])])
    found = find(prints, around([0, 1, 2, 3, 4, 3]), np.zeros(6, dtype=int))
    assert [(group.kind, group.members) for group in found] == [(NEAR, (3, 5))]


def test_two_images_can_be_copies_where_there_are_no_others(tmp_path):
    prints = save(tmp_path, [picture(0), compressed(picture(0))])
    [found] = find(prints, around([0, 0]), np.zeros(2, dtype=int))
    assert (found.kind, found.members) == (NEAR, (0, 1))
    different = save(tmp_path, [picture(0), picture(1)])
    assert find(different, around([0, 1]), np.zeros(2, dtype=int)) == []


def test_images_of_one_kind_are_no_scene(tmp_path):
    pictures = [picture(seed) for seed in range(30)]
    close = around([0] * 30, noise=0.3)  # all equally alike
    assert find(save(tmp_path, pictures), close, np.zeros(30, dtype=int)) == []


def test_plain_colours_are_identical_or_nothing(tmp_path):
    prints = save(tmp_path, [Image.new("RGB", (20, 20), colour) for colour in ("red", "navy", "red")])
    found = find(prints, around([0, 0, 0]), np.zeros(3, dtype=int))
    assert [(group.kind, group.members) for group in found] == [(IDENTICAL, (0, 2))]


@pytest.mark.parametrize("block", [1, 3, 100])
def test_blocks_change_nothing(tmp_path, monkeypatch, block):
    pictures = [picture(seed) for seed in range(5)]
    prints = save(tmp_path, pictures + [compressed(image) for image in pictures])
    monkeypatch.setattr(copies, "_BLOCK", block)
    found = find(prints, around(list(range(5)) * 2), np.zeros(10, dtype=int))
    assert [group.members for group in found] == [(i, i + 5) for i in range(5)]


def test_without_copies_there_are_no_groups(tmp_path):
    prints = save(tmp_path, [picture(seed) for seed in range(3)])
    assert find(prints, around([0, 1, 2]), np.zeros(3, dtype=int)) == []
    assert together(3, []).tolist() == [0, 1, 2]
