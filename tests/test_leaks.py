import shutil
import zipfile
from pathlib import Path

import imagehash
import numpy as np
import pytest
from PIL import ExifTags, Image, ImageEnhance

from going_modular.common.errors import InputError
from going_modular.data import images, sources
from going_modular.evaluation import leaks

SAMPLE = sources.DATA_FOLDER / "sample"
TRAIN, TEST = (sorted((SAMPLE / part).glob("*/*.jpg")) for part in ("train", "test"))
ORIGINALS = TRAIN[::15]
ALTERED = {
    "quality.jpg": lambda image: image,
    "half.png": lambda image: image.resize((image.width // 2, image.height // 2)),
    "brighter.png": lambda image: ImageEnhance.Brightness(image).enhance(1.3),
    "darker.png": lambda image: ImageEnhance.Brightness(image).enhance(0.7),
    "cropped.png": lambda image: image.crop((5, 5, image.width - 5, image.height - 5)),  # 2% of 256 pixels a side
}


def uint64s(count: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(2**64, size=(count, 4), dtype=np.uint64)


def plain(path: Path, colour: str) -> Path:
    Image.new("RGB", (40, 30), colour).save(path)
    return path


@pytest.mark.slow
@pytest.mark.parametrize("kind", ALTERED)
def test_altered_copies_are_nearly_identical(kind, tmp_path):
    copies = [tmp_path / f"{original.stem}-{original.parent.name}-{kind}" for original in ORIGINALS]
    for original, copy in zip(ORIGINALS, copies, strict=True):
        ALTERED[kind](images.open_image(original)).save(copy, quality=60)
    expected = [(original, copy, "nearly identical") for original, copy in zip(ORIGINALS, copies, strict=True)]
    found = leaks.find(ORIGINALS, copies)
    assert set(found) <= set(expected)
    assert len(found) >= (len(expected) - 1 if kind == "cropped.png" else len(expected))


def test_different_pictures_are_no_leaks():
    assert leaks.find(TRAIN, TEST) == []


def test_the_photos_splits_share_no_photo(photos, tmp_path):
    with zipfile.ZipFile(photos) as archive:
        archive.extractall(tmp_path)
    train, test = ([*tmp_path.glob(f"**/{part}/*/*.jpg")] for part in ("train", "test"))
    assert (len(train), len(test)) == (225, 75)
    assert leaks.find(train, test) == []


def test_mirrored_and_turned_copies_are_not_found(tmp_path):
    image = images.open_image(TRAIN[0])
    copies = [tmp_path / f"{turn}.png" for turn in (Image.Transpose.FLIP_LEFT_RIGHT, Image.Transpose.ROTATE_90)]
    for copy in copies:
        image.transpose(int(copy.stem)).save(copy)
    assert leaks.find(TRAIN[:1], copies) == []


def test_the_same_pixels_are_identical_whatever_the_file(make_image, tmp_path):
    photo = make_image("train/photo.png")
    shutil.copy(photo, tmp_path / "copy.png")
    with Image.open(photo) as image:
        image.save(tmp_path / "bitmap.bmp")
        exif = Image.Exif()
        exif[ExifTags.Base.Orientation] = 6  # to be turned clockwise by 90 degrees
        image.transpose(Image.Transpose.ROTATE_90).save(tmp_path / "turned.png", exif=exif)
    other = make_image("other.png", seed=1)
    test = [tmp_path / "copy.png", other, tmp_path / "bitmap.bmp", str(tmp_path / "turned.png")]
    found = leaks.find([other, photo], test)
    assert found == [
        (other, other, "identical"),
        (photo, test[0], "identical"),
        (photo, test[2], "identical"),
        (photo, test[3], "identical"),
    ]
    assert (found[0].train, found[0].test, found[0].kind) == found[0]


def test_plain_colours_are_identical_or_nothing(tmp_path):
    train = [plain(tmp_path / f"{colour}.png", colour) for colour in ("black", "white", "grey")]
    test = [plain(tmp_path / f"{colour}.bmp", colour) for colour in ("black", "red", "grey")]
    assert leaks.find(train, test) == [(train[0], test[0], "identical"), (train[2], test[2], "identical")]


def test_pairs_come_in_the_order_of_the_paths(tmp_path, make_image):
    both = [plain(tmp_path / "plain.png", "red"), make_image("noise.png")]
    assert [leak.train for leak in leaks.find(both, both[::-1])] == both
    assert [leak.test for leak in leaks.find(both[1:] * 2, both[1:] + both)] == both[1:] * 4


def test_a_plain_colour_is_near_nothing(tmp_path, make_image, monkeypatch):
    monkeypatch.setattr(leaks, "MAX_DISTANCE", 256)  # everything is near
    train = [plain(tmp_path / "red.png", "red"), make_image("train.png")]
    test = [plain(tmp_path / "blue.png", "blue"), make_image("test.png", seed=1)]
    assert leaks.find(train, test) == [(train[1], test[1], "nearly identical")]


def test_the_same_pixels_in_another_shape_are_not_identical(tmp_path):
    train, test = tmp_path / "wide.png", tmp_path / "high.png"
    Image.new("RGB", (40, 30), "red").save(train)
    Image.new("RGB", (30, 40), "red").save(test)
    assert leaks.find([train], [test]) == []


@pytest.mark.parametrize(("train", "test"), [([], []), (TRAIN[:1], []), ([], TEST[:1])])
def test_without_images_there_are_no_leaks(train, test):
    assert leaks.find(train, test) == []


def test_an_unreadable_image_is_named(tmp_path):
    (tmp_path / "broken.jpg").write_bytes(b"no image")
    with pytest.raises(InputError, match=r"Cannot open image .*broken\.jpg"):
        leaks.find(TRAIN[:2], [tmp_path / "broken.jpg"])


def test_blocks_change_nothing(monkeypatch):
    mixed = [*TEST[:3], *TRAIN[:5]]
    expected = leaks.find(TRAIN[:7], mixed)
    assert [(leak.train, leak.test) for leak in expected] == [(path, path) for path in TRAIN[:5]]
    monkeypatch.setattr(leaks, "MAX_DISTANCE", 256)  # everything is near
    everything = leaks.find(TRAIN[:7], mixed)
    assert [(leak.train, leak.test) for leak in everything] == [(a, b) for a in TRAIN[:7] for b in mixed]
    for size in (1, 2, 7):
        monkeypatch.setattr(leaks, "_BLOCK", size)
        assert leaks.find(TRAIN[:7], mixed) == everything


def test_distances_count_the_bits_that_differ():
    first, second = uint64s(20, 0), uint64s(30, 1)
    second[3] = first[5]
    second[4] = ~first[6]
    bits = [np.unpackbits(hashes.view(np.uint8), axis=1) for hashes in (first, second)]
    expected = (bits[0][:, None] != bits[1]).sum(axis=2)
    assert leaks.distances(first, second).tolist() == expected.tolist()
    assert (leaks.distances(first, second)[5, 3], leaks.distances(first, second)[6, 4]) == (0, 256)


def test_hashes_are_imagehashs_however_they_are_packed():
    first, second = (images.open_image(path) for path in TEST[:2])
    expected = imagehash.phash(first, hash_size=16) - imagehash.phash(second, hash_size=16)
    ours = leaks.distances(*(leaks.perceptual_hash(image)[None] for image in (first, second)))
    assert ours.tolist() == [[expected]]
    [kept] = leaks.fingerprints([TEST[0]]).hashes
    assert kept.tolist() == leaks.perceptual_hash(first).tolist()
