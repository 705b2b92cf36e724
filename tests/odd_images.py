"""Images as people have them: every mode, depth, turn and shape that `images.open_image` knows."""

import numpy as np
from PIL import Image, PngImagePlugin, TiffImagePlugin

SIZE = (60, 44)  # width, height


def photo(size=SIZE):
    """Return a smooth picture without symmetry, so that every turn, flip and mix of channels shows."""
    rows, columns = np.mgrid[0 : size[1], 0 : size[0]]
    height, width = size[1] - 1 or 1, size[0] - 1 or 1
    pixels = [columns / width * 255, rows / height * 255, (columns + rows) / (width + height) * 120 + 60]
    return Image.fromarray(np.stack(pixels, axis=-1).astype(np.uint8))


def _exif(orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    return exif


def _tags(**values):
    directory = TiffImagePlugin.ImageFileDirectory_v2()
    for name, (code, kind, value) in values.items():
        assert name
        directory.tagtype[code] = kind
        directory[code] = value
    return directory


def _transparent():
    rgba = photo().convert("RGBA")
    rgba.putalpha(Image.fromarray(np.tile(np.linspace(0, 255, SIZE[0]).astype(np.uint8), (SIZE[1], 1))))
    return rgba


def _palette():
    image = photo().quantize(16)
    image.info["transparency"] = 3
    return image


def _broken_metadata():
    text = PngImagePlugin.PngInfo()
    text.add_text("Raw profile type exif", "\nexif\n2\nno hexadecimal digits\n")
    return text


def write(folder):
    """Write all of them into a folder; return their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    plain, ramp = photo(), np.linspace(0, 1, SIZE[0] * SIZE[1]).reshape(SIZE[1], SIZE[0])
    frames = [plain, Image.new("RGB", SIZE, "red")]
    made = {
        **{f"plain.{kind}": (plain, {}) for kind in ("jpg", "png", "gif", "bmp", "webp", "tif", "ppm", "jp2", "avif")},
        **{f"mode_{mode}.tif": (plain.convert(mode), {}) for mode in ("L", "1", "CMYK", "YCbCr", "LAB", "P")},
        "cmyk.jpg": (plain.convert("CMYK"), {}),
        "grey.jpg": (plain.convert("L"), {}),
        "transparent.png": (_transparent(), {}),
        "transparent_grey.png": (_transparent().convert("LA"), {}),
        "transparent.webp": (_transparent(), {"lossless": True}),
        "palette.png": (_palette(), {"transparency": 3}),
        "one_colour.png": (Image.new("RGB", SIZE, (7, 8, 9)), {"transparency": (7, 8, 9)}),
        **{f"turned_{n}.jpg": (plain, {"exif": _exif(n)}) for n in range(1, 9)},
        "turned.png": (plain, {"exif": _exif(6)}),
        "broken_exif.png": (plain, {"pnginfo": _broken_metadata()}),
        "16_bits.png": (Image.fromarray((ramp * 65535).astype(np.uint16)), {}),
        "12_bits.png": (Image.fromarray((ramp * 4095).astype(np.uint16)), {}),
        "big_endian.tif": (Image.fromarray((ramp * 65535).astype(">u2")), {}),
        "32_bits.tif": (Image.fromarray((ramp * 2**20).astype(np.int32)), {}),
        "negative.tif": (Image.fromarray((ramp * 3000 - 1024).astype(np.int32)), {}),
        "floats.tif": (Image.fromarray(ramp.astype(np.float32)), {}),
        "overshot.tif": (Image.fromarray((ramp * 1.1 - 0.05).astype(np.float32)), {}),
        "stated.tif": (
            Image.fromarray((ramp * 800).astype(np.uint16)),
            {"tiffinfo": _tags(white=(281, 3, 1000))},
        ),
        "white_is_zero.tif": (
            Image.fromarray((ramp * 65535).astype(np.uint16)),
            {"tiffinfo": _tags(photometric=(262, 3, 0))},
        ),
        "animation.gif": (frames[0], {"save_all": True, "append_images": frames[1:]}),
        "animation.webp": (frames[0], {"save_all": True, "append_images": frames[1:]}),
        "strip.png": (photo((3, 900)), {}),
        "wide_strip.jpg": (photo((2000, 20)), {}),
        "pixel.png": (Image.new("RGB", (1, 1), "teal"), {}),
        "large.jpg": (photo((2403, 1701)), {"quality": 90}),
        "large_turned.jpg": (photo((1701, 2403)), {"exif": _exif(6)}),
        "large_progressive.jpg": (photo((1600, 1200)), {"progressive": True}),
        "large.png": (photo((1203, 801)), {}),
    }
    for name, (image, options) in made.items():
        image.save(folder / name, **options)
    plain.save(folder / "a_png.jpg", format="PNG")
    return [*(folder / name for name in made), folder / "a_png.jpg"]
