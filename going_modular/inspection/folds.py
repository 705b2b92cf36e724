"""Folds that measure honestly: copies of an image never stand on both sides."""

import numpy as np


def deal(labels: np.ndarray, groups: np.ndarray | None = None, *, folds: int, seed: int) -> np.ndarray:
    """Return the fold of each image, from 0; every class is dealt out evenly, and no group is parted.

    Args:
        labels: (N,) integers from 0.
        groups: (N,) of integers or strings; images of one group show the same thing. None: each stands alone.
        folds: how many; fewer where no class has so many groups.
        seed: of the order in which groups are dealt.
    """
    names = np.arange(len(labels)) if groups is None else np.asarray(groups)
    _, first, group = np.unique(names, return_index=True, return_inverse=True)
    classes = np.asarray(labels)[first]  # a group of several labels counts for that of its first image
    shuffled = np.random.default_rng(seed).permutation(len(first))
    dealt = shuffled[np.argsort(classes[shuffled], kind="stable")]  # class after class, so that each falls evenly
    fold_of_group = np.empty(len(first), dtype=np.int64)
    fold_of_group[dealt] = np.arange(len(first)) % min(folds, np.bincount(classes).max())
    return fold_of_group[group]
