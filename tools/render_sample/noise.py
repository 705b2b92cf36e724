"""Perlin noise on arrays, after Perlin, "Improving Noise" (SIGGRAPH 2002)."""

import numpy as np
from numpy.typing import ArrayLike

TABLE = 256
_generator = np.random.default_rng(0)
_PERMUTATION = np.tile(_generator.permutation(TABLE), 3)
_GRADIENTS = _generator.normal(size=(TABLE, 3))
_GRADIENTS /= np.linalg.norm(_GRADIENTS, axis=1, keepdims=True)

CONTRAST = 1.5  # brings the values close to [-1, 1]
LACUNARITY = 2.03  # not 2: the lattices of the octaves must not coincide
OCTAVE_SHIFT = 17.0


def perlin(x: ArrayLike, y: ArrayLike, z: ArrayLike = 0.0) -> np.ndarray:
    """Return smooth noise, about -1 to 1, at the given points."""
    x, y, z = np.broadcast_arrays(*(np.asarray(axis, float) for axis in (x, y, z)))
    cells = [np.floor(axis).astype(int) for axis in (x, y, z)]
    offsets = [axis - cell for axis, cell in zip((x, y, z), cells, strict=True)]
    fades = [t**3 * (t * (t * 6 - 15) + 10) for t in offsets]
    total = np.zeros(x.shape)
    for corner in np.ndindex(2, 2, 2):
        slot = np.zeros(x.shape, int)
        for cell, step in zip(cells, corner, strict=True):
            slot = _PERMUTATION[slot + ((cell + step) & (TABLE - 1))]
        value = sum(_GRADIENTS[slot, axis] * (offsets[axis] - corner[axis]) for axis in range(3))
        for fade, step in zip(fades, corner, strict=True):
            value = value * (fade if step else 1 - fade)
        total += value
    return total * CONTRAST


def fbm(x: ArrayLike, y: ArrayLike, z: ArrayLike = 0.0, octaves: int = 4) -> np.ndarray:
    """Return fractal noise: octaves of Perlin noise, each half as strong as the last."""
    x, y, z = (np.asarray(axis, float) for axis in (x, y, z))
    total, strength, frequency = 0.0, 1.0, 1.0
    for octave in range(octaves):
        total = total + strength * perlin(x * frequency + OCTAVE_SHIFT * octave, y * frequency, z * frequency)
        strength, frequency = strength / 2, frequency * LACUNARITY
    return total


def smoothstep(low: float, high: float, value: ArrayLike) -> np.ndarray:
    """Return 0 below `low`, 1 above `high` (or the reverse), smooth between."""
    t = np.clip((np.asarray(value, float) - low) / (high - low), 0, 1)
    return t * t * (3 - 2 * t)
