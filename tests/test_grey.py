"""Deep greys come out as the picture they are of, by what each file says or holds."""

import struct
import warnings

import numpy as np
import pytest
from PIL import Image, TiffImagePlugin

from going_modular.data import grey, images


@pytest.fixture
def picture():
    """A picture of all 256 greys, (16, 16)."""
    return np.random.default_rng(0).permutation(256).reshape(16, 16).astype(np.uint8)


@pytest.fixture
def read(tmp_path):
    """Return a function that writes values to a file and returns what `open_image` makes of them."""

    def read(values, name="values.tif", **options):
        image = values if isinstance(values, Image.Image) else Image.fromarray(values)
        image.save(tmp_path / name, **options)
        opened = np.asarray(images.open_image(tmp_path / name))
        assert (opened[..., 0] == opened[..., 1]).all()
        assert (opened[..., 0] == opened[..., 2]).all()
        return opened[..., 0]

    return read


def tags(**values):
    """TIFF tags by the names of the standard."""
    directory = TiffImagePlugin.ImageFileDirectory_v2()
    for name, value in values.items():
        code = {"MaxSampleValue": 281, "SMaxSampleValue": 341, "GDAL_NODATA": 42113}[name]
        directory.tagtype[code] = {281: 3, 341: 12 if isinstance(value, float) else 3, 42113: 2}[code]
        directory[code] = value
    return directory


@pytest.mark.parametrize("name", ["a.png", "a.tif", "a.jp2", "a.pgm"])
@pytest.mark.parametrize("bits", [8, 10, 12, 14, 16])
def test_16_bit_files_that_use_fewer(read, picture, name, bits):
    assert np.array_equal(read(picture.astype(np.uint16) << (bits - 8), name), picture)


@pytest.mark.parametrize("bits", [8, 10, 12, 14, 16, 17, 20, 24, 31])
def test_32_bit_integers(read, picture, bits):
    assert np.array_equal(read(picture.astype(np.int32) << (bits - 8)), picture)


@pytest.mark.parametrize(
    ("name", "make"),
    [
        ("from 0 to 1", lambda v: v / 255),
        ("just above 1", lambda v: v / 255 * 1.0001),
        ("above 1", lambda v: v / 255 * 1.2),
        ("radiance", lambda v: v / 255 * 7.3),
        ("far below 1", lambda v: v / 255 * 0.004),
        ("beyond both ends of 0 to 1", lambda v: v / 255 * 1.02 - 0.01),
        ("from -1 to 1", lambda v: v / 127.5 - 1),
        ("decibels", lambda v: v / 10.0 - 30),
        ("bytes", lambda v: v),
        ("not whole bytes", lambda v: v * 0.999 + 0.1),
        ("just above 255", lambda v: v * 1.01),
        ("above 255", lambda v: v * 1.5),
        ("whole numbers of 12 bits", lambda v: v * 16),
        ("whole numbers of 16 bits", lambda v: v * 257),
        ("large", lambda v: v * 1e20),
        ("tiny", lambda v: v * 1e-30),
        ("computed tomography", lambda v: v * 16 - 1024),
    ],
)
def test_floats_of_any_range(read, picture, name, make):
    values = make(picture.astype(np.float64)).astype(np.float32)
    assert np.abs(read(values).astype(int) - picture).max() <= 3, name


def test_signed_integers(read, picture):
    assert np.abs(read(picture.astype(np.int32) * 16 - 1024).astype(int) - picture).max() <= 1


def test_a_dark_photo_stays_dark_where_its_range_is_known(read, picture):
    dark = picture // 4  # at most 63 of 255
    assert np.array_equal(read(dark.astype(np.uint16), "dark.png"), dark)
    assert np.abs(read((dark / 255).astype(np.float32)).astype(int) - dark).max() <= 1
    stated = dark.astype(np.uint16) << 4  # at most 1008, which alone would be taken for 10 bits
    assert np.array_equal(read(stated, tiffinfo=tags(MaxSampleValue=4095)), dark)
    assert np.array_equal(read(stated, tiffinfo=tags(SMaxSampleValue=4095)), dark)
    assert (
        np.abs(read(dark.astype(np.float32) * 7.5, tiffinfo=tags(SMaxSampleValue=255 * 7.5)).astype(int) - dark).max()
        <= 1
    )


@pytest.mark.parametrize("stated", [65535, 100, 0])
def test_tags_that_say_no_more_than_the_room_or_less_than_the_values_do_not_count(read, picture, stated):
    values = picture.astype(np.uint16) << 4
    assert np.array_equal(read(values, tiffinfo=tags(MaxSampleValue=stated)), picture)


def test_packed_12_bits_are_told_by_the_file(tmp_path):
    packed = bytes.fromhex("000123 3ff200")  # four samples, which would fit 10 bits
    tags = {256: 4, 257: 1, 258: 12, 259: 1, 262: 1, 273: 122, 277: 1, 278: 1, 279: len(packed)}
    entries = b"".join(struct.pack("<HHII", code, 4, 1, value) for code, value in tags.items())
    header = struct.pack("<2sHIH", b"II", 42, 8, len(tags)) + entries + bytes(4)
    (tmp_path / "packed.tif").write_bytes(header + packed)
    assert len(header) == tags[273]
    opened = np.asarray(images.open_image(tmp_path / "packed.tif"))[0, :, 0]
    assert opened.tolist() == [0, 0x12, 0x3F, 0x20]


def test_white_is_zero(read, picture):
    for values in (picture.astype(np.uint16) << 4, picture.astype(np.float32)):  # of 8 bits Pillow saves the negative
        assert np.array_equal(read(values, tiffinfo={262: 0}), 255 - picture)


def test_what_was_not_measured_does_not_count(read, picture):
    values = picture.astype(np.float32) / 255
    values[0, :4] = np.nan, np.inf, -np.inf, -3.4e38
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        opened = read(values)
    assert opened[0, :4].tolist() == [0, 255, 0, 0]
    assert np.abs(opened[1:].astype(int) - picture[1:]).max() <= 1
    for dtype in (np.float32, np.int32):
        values = picture.astype(dtype)
        values[0, 0] = -9999
        opened = read(values, tiffinfo=tags(GDAL_NODATA="-9999"))
        assert opened[0, 0] == 0
        assert np.array_equal(opened[1:], picture[1:])


@pytest.mark.parametrize(
    ("kind", "value", "expected"),
    [
        ("u2", 0, 0), ("u2", 200, 200), ("u2", 65535, 255), ("i4", -5, 0), ("i4", 2**31 - 1, 255),
        ("f4", 0, 0), ("f4", 0.5, 128), ("f4", 1, 255), ("f4", 300.5, 255), ("f4", -0.5, 0),
        ("f4", np.nan, 0), ("f4", np.inf, 255), ("f4", -np.inf, 0), ("f4", 3e38, 0),
    ],
)  # fmt: skip
def test_constant_images_are_defined(read, kind, value, expected):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert np.unique(read(np.full((9, 9), value, kind))).tolist() == [expected]


def test_a_mask_of_0_and_1_is_black_and_white(read):
    mask = np.eye(16, dtype=np.uint16)
    for values in (mask, mask.astype(np.int32), mask.astype(np.float32)):
        assert np.array_equal(read(values), mask * 255)


def test_an_image_is_left_as_it_is():
    image = Image.fromarray(np.arange(0, 4096, 16, dtype=np.uint16).reshape(16, 16))
    before = image.tobytes()
    assert grey.is_deep(image)
    assert np.array_equal(np.asarray(grey.to_eight_bits(image)).ravel(), np.arange(256))
    assert image.tobytes() == before
    assert not grey.is_deep(Image.new("L", (1, 1)))
