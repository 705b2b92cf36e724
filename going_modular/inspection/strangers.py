"""Strangers: images unlike all others, such as a cat among plates of food.

    order = np.argsort(-strangeness(features))    # the strangest first

The distance is 1 less the cosine of the angle between features, each raised to a power a little below 1, so that a few
large ones do not decide alone. It puts more planted strangers first than the length of the difference does, with or
without standardising. Of neighbours, 12 find more than 5, as a few strangers may be like one another, and more than 50.
`benchmarks/bench_inspect.py` measures it.
"""

import numpy as np

NEIGHBOURS = 12
POWER = 0.85
_BLOCK = 1024  # images compared with all others at a time: 40 MB for 10,000


def strangeness(features: np.ndarray, k: int = NEIGHBOURS, *, groups: np.ndarray | None = None) -> np.ndarray:
    """Return the mean distance of each image to the k nearest others.

    Args:
        features: (N, D), finite.
        k: neighbours, at least 1; fewer where there are fewer others.
        groups: (N,) of integers or strings; images of one group are no neighbours, so that a copy of a stranger does
            not hide it. None: each image stands alone.

    Returns:
        (N,), from 0 to 2; 0 where there is no other image.
    """
    values = (np.sign(features) * np.abs(features) ** POWER).astype(np.float32)
    lengths = np.linalg.norm(values, axis=1, keepdims=True)
    values /= np.where(lengths > 0, lengths, 1)
    names = np.arange(len(values)) if groups is None else np.unique(groups, return_inverse=True)[1]
    mean = np.zeros(len(values))
    for start in range(0, len(values), _BLOCK):
        block = slice(start, start + _BLOCK)
        apart = 1 - values[block] @ values.T
        apart[names[block, None] == names] = np.inf
        nearest = np.partition(apart, min(k, len(values)) - 1, axis=1)[:, :k]
        there = np.isfinite(nearest)
        mean[block] = np.where(there, nearest, 0).sum(axis=1) / there.sum(axis=1).clip(min=1)
    return mean.clip(min=0)
