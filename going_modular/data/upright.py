"""What makes an upright RGB picture of an image that Pillow has opened, whatever its mode, depth, turn and shape.

Who opens files from strangers uses `images.py`, which bounds size and memory first. This module needs Pillow and NumPy
alone, and `grey.py` and `tiles.py` beside it: `export.py` copies the three into a folder that runs without torch.
"""

import math

from PIL import ExifTags, Image

from going_modular.data import grey
from going_modular.data.tiles import tiles

# Pillow's names. Its other readers are for documents (EPS starts Ghostscript), icons and textures: not for photos
# that strangers sent.
FORMATS = ("JPEG", "PNG", "GIF", "BMP", "DIB", "TIFF", "WEBP", "AVIF", "PPM", "JPEG2000", "HEIF")

_YCBCR = 6  # what a TIFF calls it

# Formats that can be decoded at a fraction, MPO being what phones make of several JPEGs, and how many times the short
# side that is wanted must be left of an image.
_SCALED_FORMATS = ("JPEG", "MPO")
SCALED_MARGIN = 2

# Resizing by the short side multiplies the long one: a 1x4000 strip at 224 pixels would ask for gigabytes.
MAX_ASPECT_RATIO = 8

_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def decode(
    image: Image.Image, short_side: int | None = None
) -> tuple[Image.Image, tuple[int, int] | None, Image.Transpose | None]:
    """Decode an image of which the header has been read.

    Args:
        image: as Pillow opens it.
        short_side: as for `images.open_image`.

    Returns:
        What `straighten` takes: the pixels as RGB, the size to keep of them, and how to turn them.
    """
    _mend_layout(image)
    size = _draft(image, SCALED_MARGIN * short_side) if short_side else None
    image.load()
    return _to_rgb(image), size, _TURNS.get(_orientation(image))


def straighten(rgb: Image.Image, size: tuple[int, int] | None, turn: Image.Transpose | None) -> Image.Image:
    """Return a decoded image upright, of a strip its centre, without metadata.

    Args:
        rgb: decoded.
        size: what to keep of it, from its upper left corner; None for all.
        turn: how to turn it; None where it stands upright.
    """
    if size not in (None, rgb.size):
        rgb = rgb.crop((0, 0, *size))
    if turn is not None:
        rgb = rgb.transpose(turn)
    rgb = _crop_strip(rgb)
    # Metadata of the file no longer fits: whoever honoured its rotation would turn the image twice.
    rgb.info = {}
    return rgb


def _draft(image: Image.Image, least: int) -> tuple[int, int] | None:
    """Have a JPEG decoded at a fraction that leaves its sides `least` long at least; return the size to keep of it.

    It is None where there is no such choice. A last column or row that stands for less than half of what the others do
    is not kept: it would stretch the picture.
    """
    drafted = image.draft(None, (least, least)) if image.format in _SCALED_FORMATS else None
    if drafted is None:
        return None
    _, (_, _, width, height) = drafted  # how much of the decoded image is picture
    return math.ceil(width - 0.5), math.ceil(height - 0.5)


def _mend_layout(image: Image.Image) -> None:
    """Let uncompressed YCbCr in a TIFF be read: Pillow before 13 takes it for RGB with four bytes a pixel."""
    is_mistaken = (
        image.format == "TIFF"
        and image.mode == "RGB"
        and image.tag_v2.get(ExifTags.Base.PhotometricInterpretation) == _YCBCR
        and all(codec == "raw" and layout[0] == "RGBX" for codec, _, _, layout in image.tile)
    )
    if is_mistaken:
        image._mode = "YCbCr"  # of those versions there will be no others
        image.tile = [(codec, box, at, ("YCbCr", *layout[1:])) for codec, box, at, layout in image.tile]


def _to_rgb(image: Image.Image) -> Image.Image:
    if grey.is_deep(image):
        return grey.to_eight_bits(image).convert("RGB")
    if not image.has_transparency_data:
        return image.convert("RGB")
    on_white = Image.new("RGB", image.size)
    for corner, tile in tiles(image):
        straight = tile.convert("LA") if tile.mode == "La" else tile  # all that Pillow does with "La"
        rgba = straight.convert("RGBA")
        on_white.paste(Image.alpha_composite(Image.new("RGBA", tile.size, "white"), rgba).convert("RGB"), corner)
    return on_white


def _orientation(image: Image.Image) -> int:
    """Read the EXIF orientation, 1 to 8, of a loaded image; ImageOps.exif_transpose fails on broken metadata."""
    try:
        return image.getexif().get(ExifTags.Base.Orientation, 1)
    except Exception:  # the parser raises nearly anything; a photo with broken metadata is still a photo
        return 1


def _crop_strip(image: Image.Image) -> Image.Image:
    """Centre-crop an image longer than MAX_ASPECT_RATIO times its width, or the reverse."""
    width, height = image.size
    new_width = min(width, height * MAX_ASPECT_RATIO)
    new_height = min(height, width * MAX_ASPECT_RATIO)
    if (new_width, new_height) == (width, height):
        return image
    left, top = (width - new_width) // 2, (height - new_height) // 2
    return image.crop((left, top, left + new_width, top + new_height))
