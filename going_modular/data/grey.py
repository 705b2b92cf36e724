"""Scale deep greys, integers of 16 and 32 bits and floats, to the 8 bits that a picture has."""

from collections.abc import Mapping
from contextlib import suppress
from typing import NamedTuple

import numpy as np
from PIL import Image

from going_modular.data.tiles import tiles

# the bits that masks, scanners and cameras use of deeper files; beyond the last, every number of bits may be meant
USUAL_DEPTHS = (1, 4, 8, 10, 12, 14, 16)
STORED = {2**bits - 1 for bits in (15, 16, 31, 32)}  # as a white, these say what a file has room for, no more
DARKEST = 1 / 16  # floats up to 1 that are all below this would come out black
OVERSHOT = 1 / 5  # of the range: how far resizing and sharpening may lead beyond 0 and 1, or 0 and 255
BEYOND_MEASURE = 1e30  # float files hold such numbers where nothing was measured

# tags of TIFF
BITS_PER_SAMPLE, PHOTOMETRIC, MAX_SAMPLE_VALUE, SMAX_SAMPLE_VALUE = 258, 262, 281, 341
GDAL_NODATA = 42113  # text
WHITE_IS_ZERO = 0


def is_deep(image: Image.Image) -> bool:
    """Tell whether an image is greyscale of more than 8 bits."""
    return image.mode.startswith("I") or image.mode == "F"


def to_eight_bits(image: Image.Image) -> Image.Image:
    """Return a deep grey image in mode "L", scaled as `images.open_image` says; Pillow's own conversion clips at 255.

    Args:
        image: of mode "I", "I;16" and its kin, or "F"; where it is a TIFF, its tags count.
    """
    tags = getattr(image, "tag_v2", {})
    held = _survey(image, tags)
    black, white = _range(held, tags) if held else (0, 0)
    picture = Image.new("L", image.size)
    for corner, tile in tiles(image):
        values = np.asarray(tile)
        measured = _measured(values, tags)
        pixels = _scale(np.where(measured, values, values.dtype.type(black)), black, white)
        if tags.get(PHOTOMETRIC) == WHITE_IS_ZERO:  # Pillow heeds it up to 8 bits only
            pixels = 255 - pixels
        pixels = np.where(measured, pixels, np.where(values == np.inf, 255, 0))
        picture.paste(Image.fromarray(pixels.astype(np.uint8)), corner)
    return picture


class _Held(NamedTuple):
    """What an image holds, of the values that count."""

    lowest: float
    highest: float
    is_float: bool
    is_whole: bool


def _survey(image: Image.Image, tags: Mapping) -> _Held | None:
    """Return what an image holds; None where no value counts."""
    parts = []
    for _, tile in tiles(image):
        values = np.asarray(tile)
        held = values[_measured(values, tags)]
        if held.size:
            is_float = held.dtype.kind == "f"
            is_whole = not is_float or np.array_equal(held, np.rint(held))
            parts.append(_Held(held.min().item(), held.max().item(), is_float, is_whole))
    if not parts:
        return None
    lowest, highest, is_float, is_whole = zip(*parts, strict=True)
    return _Held(min(lowest), max(highest), is_float[0], all(is_whole))


def _measured(values: np.ndarray, tags: Mapping) -> np.ndarray:
    """Tell which values count: not NaN, infinities, and what stands for no measurement."""
    measured = np.ones(values.shape, bool) if values.dtype.kind in "iu" else np.abs(values) < BEYOND_MEASURE
    with suppress(ValueError):
        missing = float(str(tags.get(GDAL_NODATA, "nan")).strip("\0 "))
        measured &= values != (np.float32(missing) if values.dtype.kind == "f" else missing)
    return measured


def _range(held: _Held, tags: Mapping) -> tuple[float, float]:
    """Return the values that become black and white."""
    lowest, highest = held.lowest, held.highest
    if lowest < 0:
        overshot = (w for w in (1, 255) if w / 2 <= highest <= w * (1 + OVERSHOT) and lowest >= -w * OVERSHOT)
        return next(((0, white) for white in overshot), (lowest, highest))
    for white in _stated_whites(tags, is_float=held.is_float):
        if highest <= white not in STORED:
            return 0, white
    if held.is_float and DARKEST <= highest <= 1:
        return 0, 1
    if held.is_whole and (not held.is_float or highest < 2 ** USUAL_DEPTHS[-1]):
        whole = int(highest)
        return 0, 2 ** next((bits for bits in USUAL_DEPTHS if whole < 2**bits), whole.bit_length()) - 1
    return 0, 255 if 128 <= highest <= 255 else highest


def _stated_whites(tags: Mapping, *, is_float: bool) -> list[float]:
    """Return what a TIFF's tags say of its white, the best word first; MaxSampleValue is for integers."""
    names = (SMAX_SAMPLE_VALUE,) if is_float else (SMAX_SAMPLE_VALUE, MAX_SAMPLE_VALUE)
    stated = [np.max(tags[name]).item() for name in names if name in tags]
    if BITS_PER_SAMPLE in tags and not is_float:
        stated.append(2 ** int(np.max(tags[BITS_PER_SAMPLE])) - 1)
    return [white for white in stated if white > 0]


def _scale(values: np.ndarray, black: float, white: float) -> np.ndarray:
    """Map black to 0 and white to 255; where they are one, all to 0."""
    bits = int(white).bit_length()
    if values.dtype.kind in "iu" and black == 0 and white == 2**bits - 1 and bits >= 8:
        return (values >> (bits - 8)).astype(np.uint8)  # the high byte, as Pillow does for 16-bit colour
    if black == white:
        return np.zeros(values.shape, np.uint8)
    scaled = (values.astype(np.float32) - black) / (white - black) * 255
    return np.rint(np.clip(scaled, 0, 255)).astype(np.uint8)
