import os
import re
import struct
import subprocess
import sys
import warnings
import zlib

import numpy as np
import pytest
from PIL import Image, ImageOps, PngImagePlugin

from going_modular.common.errors import InputError
from going_modular.data import images

MODES = ("L", "1", "CMYK", "YCbCr", "LAB")
FORMATS = ("a.jpg", "a.gif", "a.bmp", "a.webp", "a.tif", "a.PNG", "a.ppm", "a.jp2", "a.avif", "a.jfif")
BLACK, RED = (0, 0, 0), (200, 10, 20)
COLOURS = [("P", "png", 0, 1), ("P", "gif", 0, 1), ("RGB", "png", BLACK, RED)]
SIZE = (40, 30)  # width, height
PHOTO_SUFFIXES = "jpg JPG jpeg jpe jfif png gif bmp tif TIFF webp ppm pgm pbm pnm avif"


@pytest.fixture
def photo():
    """A smooth picture without symmetry, so that every turn, flip and mix of channels shows."""
    rows, columns = np.mgrid[0 : SIZE[1], 0 : SIZE[0]]
    pixels = np.stack([columns * 6, rows * 8, (columns + rows) * 2 + 60], axis=-1)
    return Image.fromarray(pixels.astype(np.uint8))


def assert_close(opened, expected, tolerance):
    assert opened.mode == "RGB"
    assert opened.size == expected.size
    difference = np.abs(np.asarray(opened).astype(int) - np.asarray(expected.convert("RGB")).astype(int))
    assert difference.mean() <= tolerance


def chunk(name, data):
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def error_of(path):
    with pytest.raises(InputError) as caught:
        images.open_image(path)
    assert "\n" not in str(caught.value)
    assert repr(str(path)) in str(caught.value)
    return str(caught.value)


def test_an_ordinary_jpeg_is_pixel_identical_to_plain_pillow(tmp_path, photo):
    photo.save(path := tmp_path / "photo.jpg", quality=70)
    opened = images.open_image(str(path))
    assert type(opened) is Image.Image
    with Image.open(path) as plain:
        assert (opened.size, opened.tobytes()) == (SIZE, plain.convert("RGB").tobytes())


@pytest.mark.parametrize(("mode", "extension"), [*((mode, "tif") for mode in MODES), ("L", "jpg"), ("CMYK", "jpg")])
def test_modes_become_rgb(tmp_path, photo, mode, extension):
    converted = photo.convert(mode)
    converted.save(tmp_path / f"photo.{extension}")
    assert_close(images.open_image(tmp_path / f"photo.{extension}"), converted.convert("RGB"), tolerance=3)


@pytest.mark.parametrize("name", FORMATS)
def test_formats_whole_and_half(tmp_path, photo, name):
    path = tmp_path / name
    photo.resize((400, 300)).save(path)
    assert_close(images.open_image(path), photo.resize((400, 300)), tolerance=12 if name == "a.gif" else 6)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    assert ("truncated" if name == "a.jpg" else "it is ") in error_of(path)


def test_image_files_are_told_by_their_names():
    for suffix in PHOTO_SUFFIXES.split():
        assert images.is_image_file(f"folder/a.{suffix}"), suffix
    for name in ("a.txt", "a.pdf", "a.zip", "jpg", ".jpg", "._photo.jpg", ".hidden.png", "a.jpg.part", "a.svg", ""):
        assert not images.is_image_file(f"folder/{name}"), name


@pytest.mark.parametrize(("mode", "extension"), [("RGBA", "png"), ("LA", "png"), ("PA", "tif")])
def test_transparent_becomes_white(tmp_path, mode, extension):
    path = tmp_path / f"photo.{extension}"
    rgba = Image.fromarray(np.array([[[0, 0, 0, 0], [0, 0, 0, 128], [0, 0, 0, 255]]], np.uint8))
    image = rgba.convert(mode)
    image.putalpha(rgba.getchannel("A"))  # which Pillow before 12 loses on the way to PA
    image.save(path)
    assert np.asarray(images.open_image(path))[0, :, 0].tolist() == [255, 127, 0]


@pytest.mark.parametrize(("mode", "extension", "black", "red"), COLOURS)
def test_a_transparent_colour_becomes_white(tmp_path, mode, extension, black, red):
    image = Image.new(mode, SIZE, black)
    image.paste(red, (20, 0, 40, 30))
    if mode == "P":
        image.putpalette(BLACK + RED)
    image.save(tmp_path / f"photo.{extension}", transparency=black)
    opened = images.open_image(tmp_path / f"photo.{extension}")
    assert (opened.getpixel((5, 5)), opened.getpixel((35, 5))) == ((255, 255, 255), RED)


@pytest.mark.parametrize(
    ("kind", "values", "expected"),
    [
        ("i4", [0, 32768, 65535], [0, 128, 255]),
        ("i4", [0, 2**30, 2**31 - 1], [0, 128, 255]),
        ("i4", [-7, 0, 65535], [0, 0, 255]),
        ("f4", [0, 0.5, 1], [0, 128, 255]),
        ("f4", [-5, 100, 300], [0, 100, 255]),
        ("f4", [np.nan, 0, 1], [0, 0, 255]),
        (">u2", [0, 0x8000, 0xFFFF], [0, 128, 255]),
    ],
)
def test_integers_and_floats_fit_8_bits(tmp_path, kind, values, expected):
    Image.fromarray(np.array([values], kind)).save(tmp_path / "values.tif")
    assert np.asarray(images.open_image(tmp_path / "values.tif"))[0, :, 0].tolist() == expected


@pytest.mark.parametrize("extension", ["png", "tif", "pgm"])
def test_16_bits_are_scaled_not_clipped(tmp_path, extension):
    path = tmp_path / f"ramp.{extension}"
    ramp = np.tile(np.linspace(0, 65535, 256).astype(np.uint16), (32, 1))
    Image.fromarray(ramp).save(path)
    opened = np.asarray(images.open_image(path)).astype(int)
    assert np.abs(opened - ramp[..., None] / 257).max() <= 1


@pytest.mark.parametrize("extension", ["gif", "webp", "png", "tif"])
def test_the_first_frame_stands_for_an_animation(tmp_path, extension):
    path = tmp_path / f"animation.{extension}"
    frames = [Image.new("RGB", SIZE, colour) for colour in ("red", "green", "blue")]
    frames[0].save(path, save_all=True, append_images=frames[1:])
    assert_close(images.open_image(path), frames[0], tolerance=3)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("extension", ["jpg", "png", "tif", "webp"])
def test_every_exif_orientation_is_put_upright(tmp_path, photo, orientation, extension):
    # The camera stores the scene turned, and records in the tag how to turn it back.
    inverse = {2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}
    stored = photo if orientation == 1 else photo.transpose(Image.Transpose(inverse[orientation]))
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / f"photo.{extension}"
    stored.save(path, exif=exif)
    opened = images.open_image(path)
    assert_close(opened, photo, tolerance=4)
    assert_close(ImageOps.exif_transpose(opened), photo, tolerance=4)  # nobody turns it a second time


def test_broken_metadata_does_not_hide_a_photo(tmp_path, photo):
    text = PngImagePlugin.PngInfo()
    text.add_text("Raw profile type exif", "\nexif\n2\nno hexadecimal digits\n")
    photo.save(tmp_path / "photo.png", pnginfo=text)
    assert images.open_image(tmp_path / "photo.png").tobytes() == photo.tobytes()


@pytest.mark.parametrize("name", ["披萨/寿司.jpg", "بيتزا.jpg", "🍕🍣.jpg", "two words, 'quoted'.jpg"])
def test_any_path_and_a_png_named_jpg(tmp_path, photo, name):
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    photo.save(path, format="PNG")
    assert images.open_image(str(path)).tobytes() == photo.tobytes()


def test_only_strips_are_cropped_to_their_centre(tmp_path):
    path = tmp_path / "strip.png"
    for size, expected in [((1, 1), (1, 1)), ((1, 4000), (1, 8)), ((4000, 1), (8, 1)), ((80, 10), (80, 10))]:
        Image.new("RGB", size).save(path)
        assert images.open_image(path).size == expected
    column = Image.fromarray(np.arange(100, dtype=np.uint8)[:, None])
    for strip in (column, column.transpose(Image.Transpose.TRANSPOSE)):
        strip.save(path)
        assert np.asarray(images.open_image(path))[..., 0].ravel().tolist() == list(range(46, 54))


def test_400_megapixels_are_refused_in_bounded_memory(tmp_path):
    pytest.importorskip("resource")
    path = tmp_path / "huge.png"
    header = struct.pack(">IIBBBBB", 20_000, 20_000, 1, 0, 0, 0, 0)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(99))))
    program = (
        "import resource, sys; import PIL.Image as I; I.init()\n"
        "from going_modular.common import errors; from going_modular.data import images\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "try: images.open_image(sys.argv[1])\n"
        "except errors.InputError as error: print(error)\n"
        "print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024)"
    )
    done = subprocess.run([sys.executable, "-c", program, path], capture_output=True, text=True, check=True, timeout=60)
    message, grown = done.stdout.splitlines()
    assert "400 megapixels" in message
    assert str(path) in message
    assert int(grown) < 50e6  # 400 MB as one byte a pixel


def test_large_images_below_the_limit_open_without_a_warning(tmp_path):
    path = tmp_path / "large.tif"
    Image.new("L", (31_000, 2_980)).save(path)  # 92 megapixels
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert images.open_image(path).size == (8 * 2_980, 2_980)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("empty.jpg", b"", "empty"),
        ("text.jpg", b"not an image\nat all", "JPEG or PNG"),
        ("x.jpg", b"x", "no image"),
        ("photo.heic", b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(100), "convert it to JPEG or PNG"),
        ("folder", None, "it is a folder"),
        ("missing.jpg", None, "no such file"),
        ("two\nlines.jpg", b"", "empty"),
    ],
)
def test_what_is_no_image_says_so(tmp_path, name, content, message):
    (tmp_path / "folder").mkdir()
    if content is not None:
        (tmp_path / name).write_bytes(content)
    assert message in error_of(tmp_path / name)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_a_named_pipe_is_refused_without_waiting(tmp_path):
    os.mkfifo(tmp_path / "pipe.jpg")
    assert "device or pipe" in error_of(tmp_path / "pipe.jpg")


@pytest.mark.skipif(not hasattr(os, "seteuid"), reason="needs POSIX permissions")
def test_permission_denied(tmp_path, photo):
    path = tmp_path / "photo.png"
    photo.save(path)
    path.chmod(0)
    user = os.geteuid()
    try:
        if user == 0:  # permissions do not bind root: become nobody for a moment
            os.seteuid(65534)
        assert "permission denied" in error_of(path)
    finally:
        os.seteuid(user)


def test_find_unreadable_names_all_in_order(tmp_path, photo):
    paths = [tmp_path / f"{number}.png" for number in range(12)]
    for path in paths:
        photo.save(path)
    for number in (9, 2, 5):
        paths[number].write_bytes(b"")
    messages = images.find_unreadable(paths)
    assert [re.search(r"\d+\.png", message).group() for message in messages] == ["2.png", "5.png", "9.png"]
    assert images.find_unreadable(paths[:2]) == images.find_unreadable([]) == []
