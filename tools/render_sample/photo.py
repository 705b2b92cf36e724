"""From the rendered light to the picture that a phone would save."""

import io

import numpy as np
from PIL import Image

from tools.render_sample.draw import Draw
from tools.render_sample.light import Cast

LUMA = np.array([0.2126, 0.7152, 0.0722])
DARK, BRIGHT = 0.04, 0.97  # display values that count as lost
MAX_DARK, MAX_BRIGHT = 0.40, 0.18  # share of the frame that may be lost
EXPOSURE_STEPS = 30
SAVE_BRIGHT, DARKER, DARKER_STEPS = 0.05, 0.92, 5  # share of the frame from which the meter gives way
CHROMA_WEIGHT = 0.5  # of colour noise against brightness noise


def tone(light: np.ndarray, contrast: float) -> np.ndarray:
    """Map linear light to display values: a soft shoulder, sRGB-like gamma, some contrast."""
    shoulder = light * (1 + light / 9.0) / (1 + light)  # 9: light above 3 clips to white
    shown = np.clip(shoulder * 1.35, 0, 1) ** (1 / 2.2)
    return shown + contrast * shown * (1 - shown) * (shown - 0.45)


def expose(light: np.ndarray, brightness: float, contrast: float) -> np.ndarray:
    """Return the picture at the brightness the meter aims for, or darker to save the highlights."""
    picture = _at_brightness(light, brightness, contrast)
    for _ in range(DARKER_STEPS):
        if ((picture @ LUMA) > BRIGHT).mean() <= SAVE_BRIGHT:
            break
        brightness *= DARKER
        picture = _at_brightness(light, brightness, contrast)
    return picture


def _at_brightness(light: np.ndarray, brightness: float, contrast: float) -> np.ndarray:
    """Return the picture whose mean luminance is `brightness`."""
    low, high = 1e-4, 1e4
    for _ in range(EXPOSURE_STEPS):
        gain = (low * high) ** 0.5
        if (tone(light * gain, contrast) @ LUMA).mean() < brightness:
            low = gain
        else:
            high = gain
    return tone(light * gain, contrast)


def exposure_is_good(picture: np.ndarray) -> bool:
    """Return whether little enough of the frame is lost in black or white."""
    luminance = picture @ LUMA
    return (luminance < DARK).mean() <= MAX_DARK and (luminance > BRIGHT).mean() <= MAX_BRIGHT


def _blur(picture: np.ndarray, radius: float) -> np.ndarray:
    """Blur by a Gaussian of the given radius in pixels."""
    reach = int(3 * radius) + 1
    kernel = np.exp(-0.5 * (np.arange(-reach, reach + 1) / radius) ** 2)
    return _smear(_smear(picture, kernel, 0), kernel, 1)


def _smear(picture: np.ndarray, kernel: np.ndarray, axis: int) -> np.ndarray:
    """Convolve along one axis, the edge repeated."""
    reach = len(kernel) // 2
    widths = [(reach, reach) if a == axis else (0, 0) for a in range(3)]
    padded = np.pad(picture, widths, mode="edge")
    size = picture.shape[axis]
    shifted = (np.take(padded, range(k, k + size), axis) * weight for k, weight in enumerate(kernel))
    return sum(shifted) / kernel.sum()


def _optics(rng: Draw, picture: np.ndarray) -> np.ndarray:
    """Add what lens and hand add: softness, glow, shake, darker corners."""
    glow = rng.pick([0.0, 0.0, 0.08, 0.2])
    picture = (1 - glow) * picture + glow * _blur(picture, 9.0)
    softness = rng.pick([0.0, 0.0, 0.0, 0.5, 0.8])
    if softness:
        picture = _blur(picture, softness)
    if rng.chance(0.06):  # a shaken camera
        picture = _smear(picture, np.ones(2 * rng.integer(1, 2) + 1), rng.integer(0, 1))
    line = np.linspace(-1, 1, picture.shape[0])
    corners = line[:, None] ** 2 + line[None] ** 2
    return picture * (1 - rng.uniform(0, 0.16) * corners)[..., None]


def _sensor(rng: Draw, picture: np.ndarray, grain: float) -> np.ndarray:
    """Add noise, smoothed as phones smooth it, and sharpening."""
    shape = picture.shape[:2]
    luma, chroma = rng.arrays.normal(size=(*shape, 1)), _blur(rng.arrays.normal(size=(*shape, 3)), 0.8) * 2
    picture = picture + (luma + CHROMA_WEIGHT * chroma) * grain
    return picture + rng.pick([0.0, 0.3, 0.7]) * (picture - _blur(picture, 1.0))


def develop(rng: Draw, light: np.ndarray, cast: Cast, brightness: float) -> np.ndarray:
    """Return display values (H, W, 3) in [0, 1] from linear light."""
    light = _optics(rng, np.clip(light * np.array(cast.gains), 0, 60))
    picture = expose(light, brightness, rng.uniform(0.2, 1.2))
    grey = (picture @ LUMA)[..., None]
    picture = grey + (picture - grey) * rng.uniform(0.9, 1.28)
    return np.clip(_sensor(rng, picture, cast.grain), 0, 1)


def to_jpeg(picture: np.ndarray, quality: int, comment: str) -> bytes:
    """Return the picture as a JPEG file that carries a comment."""
    buffer = io.BytesIO()
    Image.fromarray((picture * 255 + 0.5).astype(np.uint8)).save(
        buffer, "JPEG", quality=quality, comment=comment.encode()
    )
    return buffer.getvalue()
