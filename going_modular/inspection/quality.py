"""Photos that teach little: dark, bright, blurred, tiny, without detail, or no photos but screenshots.

    for path, quality in zip(paths, measure_all(paths)):
        path, quality.flags

All is measured at the size at which models look, so that blur which they do not see is none.
"""

import math
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from PIL import Image, ImageFilter

from going_modular.data import images, upright

DARK, BRIGHT, BLURRED, TINY, PLAIN, SCREENSHOT = "dark", "bright", "blurred", "tiny", "no detail", "screenshot or text"

SIDE = 224  # px; the short side at which most models look, and at which all but the size is measured

# Where an image gets its flag: between what 300 photos of food, 300 rendered ones and 10,000 of 64 px have, and what
# the first have after they were spoilt as `benchmarks/bench_inspect.py` does it.
MOST_DARK = 0.3  # the light end; photos 0.32 and more, at a quarter of their brightness 0.25 at most
LEAST_BRIGHT = 0.6  # the dark end; photos up to 0.43, mixed with 80% white 0.80 and more
LEAST_SHARP = 0.42  # photos 0.55 and more, blurred by 1/80 of their width 0.37 at most
LEAST_SIDE = SIDE // 2  # px
LEAST_CONTRAST = 0.02  # photos 0.05 and more, mixed with 97% grey 0.01
LEAST_FLAT, LEAST_STEEP = 0.4, 0.1  # pages of text 0.67 and 0.13 and more; photos as flat have 0.06

COMMON = 0.2  # of the images: a flag that more would get says something of the data set, not of an image
OUTLYING = 3.5  # robust standard deviations (Iglewicz and Hoaglin, 1993) that an image must then lie from the middle

_ENDS = (0.05, 0.95)  # quantiles of brightness
_RING = 32  # cells a side; the outermost are the frame: 3% of the picture's side
_REBLUR = 4  # px to each side
_STEP = 2  # grey levels between neighbours in a flat area: JPEG leaves some


@dataclass(frozen=True)
class Quality:
    """What an image looks like, as seen at `SIDE`; brightness in [0, 1] from black to white."""

    width: int  # px, upright
    height: int  # px
    bytes: int  # of the file; 0 where there is none
    format: str  # of the file, such as JPEG; empty where there is none
    brightness: float  # mean
    dark_end: float  # brightness below which 5% of the pixels lie
    light_end: float  # brightness above which 5% of the pixels lie
    contrast: float  # standard deviation of the brightness, in [0, 0.5]
    sharpness: float  # in [0, 1]: the share of the differences between neighbours that blurring takes away
    flatness: float  # in [0, 1]: the share of pixels that equal their neighbours, as in drawn areas
    steepness: float  # in [0, 1]: the mean difference of neighbours that differ, large at the edges of letters
    colour: tuple[float, ...]  # mean red, green, blue, in [0, 1]
    frame: tuple[float, ...]  # of each side's outermost 3% mean and spread of red, green, blue
    flags: tuple[str, ...] = ()

    @property
    def side(self) -> int:
        """The short side, px."""
        return min(self.width, self.height)


def measure_all(paths: Sequence[str | Path]) -> list[Quality]:
    """Measure image files, each against the others: see `in_company`.

    Raises:
        InputError: an image cannot be opened.
    """
    with ThreadPoolExecutor(os.cpu_count()) as pool:  # Pillow releases the GIL
        return in_company(list(pool.map(measure, paths)))


def measure(source: str | Path | Image.Image) -> Quality:
    """Measure an image file, or an upright RGB image.

    Raises:
        InputError: the file cannot be opened.
    """
    if isinstance(source, Image.Image):
        image, size, file_bytes, file_format = source, source.size, 0, ""
    else:
        image = images.open_image(source, short_side=SIDE)
        size, file_format = _header(source, image)
        file_bytes = Path(source).stat().st_size
    scale = SIDE / min(image.size)
    if scale < 1:
        image = image.resize([max(round(scale * side), 1) for side in image.size], Image.Resampling.BOX)
    quality = Quality(*size, file_bytes, file_format, *_light(image), *_texture(image), *_colours(image))
    return replace(quality, flags=tuple(flag for flag, is_so, _ in _judgements(quality) if is_so))


def in_company(qualities: Sequence[Quality]) -> list[Quality]:
    """Return qualities without the flags that are the rule among them.

    Where more than a fifth of the images would get a flag, as among night shots or icons, only those keep it that lie
    far from the middle.
    """
    kept: list[list[str]] = [[] for _ in qualities]
    degrees = [{name: degree for name, _, degree in _judgements(quality)} for quality in qualities]
    for flag in (DARK, BRIGHT, BLURRED, TINY, PLAIN, SCREENSHOT):
        has = np.array([flag in quality.flags for quality in qualities], dtype=bool)
        if has.sum() > COMMON * len(has):
            values = np.array([degree[flag] for degree in degrees])
            middle = np.median(values)
            deviation = 1.4826 * np.median(np.abs(values - middle))
            has &= values - middle > OUTLYING * max(deviation, np.finfo(float).tiny)
        for i in np.flatnonzero(has).tolist():
            kept[i].append(flag)
    return [replace(quality, flags=tuple(names)) for quality, names in zip(qualities, kept, strict=True)]


def _judgements(quality: Quality) -> list[tuple[str, bool, float]]:
    """Return of each flag its name, whether the image gets it, and a number that rises with the fault."""
    plain = quality.contrast < LEAST_CONTRAST
    return [
        (DARK, quality.light_end < MOST_DARK, -quality.light_end),
        (BRIGHT, quality.dark_end > LEAST_BRIGHT, quality.dark_end),
        (BLURRED, quality.sharpness < LEAST_SHARP and not plain, -quality.sharpness),
        (TINY, quality.side < LEAST_SIDE, -math.log(quality.side)),
        (PLAIN, plain, -quality.contrast),
        (SCREENSHOT, quality.flatness > LEAST_FLAT and quality.steepness > LEAST_STEEP, quality.steepness),
    ]


def _header(path: str | Path, image: Image.Image) -> tuple[tuple[int, int], str]:
    """Return the size, upright, and the format of a file that was opened before."""
    with Image.open(path, formats=upright.FORMATS) as header:
        size, file_format = header.size, header.format
    is_turned = (size[0] > size[1]) != (image.width > image.height) and image.width != image.height
    return (size[::-1] if is_turned else size), file_format


def _light(image: Image.Image) -> tuple[float, float, float, float]:
    """Return mean, dark end, light end and spread of the brightness."""
    counts = np.array(image.convert("L").histogram())
    levels = np.arange(256) / 255
    shares = counts / counts.sum()
    mean = float(levels @ shares)
    ends = levels[np.searchsorted(shares.cumsum(), _ENDS)].tolist()
    return mean, *ends, math.sqrt(max(float((levels - mean) ** 2 @ shares), 0))


def _texture(image: Image.Image) -> tuple[float, float, float]:
    """Return sharpness, flatness and steepness.

    Sharpness is what blurring once more takes of the differences between neighbours, across or down, whichever is less:
    much of a sharp picture's, little of a blurred one's, whatever they show (Crete et al., 2007,
    https://doi.org/10.1117/12.702790).
    """
    grey = image.convert("L")
    steps, left = (
        [np.abs(np.diff(np.asarray(seen, dtype=np.int16), axis=axis)) for axis in (0, 1)]
        for seen in (grey, grey.filter(ImageFilter.BoxBlur(_REBLUR)))
    )
    lost = [
        (before - after).clip(min=0).sum() / max(before.sum(), 1) for before, after in zip(steps, left, strict=True)
    ]
    flat = (steps[0][:, :-1] <= _STEP) & (steps[1][:-1] <= _STEP)
    rising = np.concatenate([step[step > _STEP] for step in steps])
    return (
        float(min(lost)),
        float(flat.mean()) if flat.size else 0.0,
        float(rising.mean()) / 255 if rising.size else 0.0,
    )


def _colours(image: Image.Image) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return the mean colour, and of each side of the frame mean and spread of each channel."""
    cells = np.asarray(image.resize((_RING, _RING), Image.Resampling.BOX), dtype=np.float32) / 255
    sides = (cells[0], cells[-1], cells[:, 0], cells[:, -1])
    frame = np.concatenate([values for side in sides for values in (side.mean(axis=0), side.std(axis=0))])
    return tuple(cells.mean(axis=(0, 1)).tolist()), tuple(frame.tolist())
