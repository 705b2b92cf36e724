"""Features with classes that lie apart, made for tests of what is planted among them."""

import numpy as np


def clusters(
    sizes: tuple[int, ...] = (40, 40, 40), *, width: int = 32, apart: float = 2.0, seed: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Return features (N, width), float32, normal around a centre for each class, and labels (N,)."""
    rng = np.random.default_rng(seed)
    labels = np.repeat(np.arange(len(sizes)), sizes)
    centres = rng.normal(size=(len(sizes), width)) * apart
    return (centres[labels] + rng.normal(size=(len(labels), width))).astype(np.float32), labels
