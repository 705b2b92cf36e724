"""Shortcuts: what tells the classes apart without showing what is in the picture.

    for shortcut in shortcuts(facts(qualities), labels, groups, seed=42):
        shortcut.name, shortcut.accuracy, shortcut.chance, shortcut.warns

A class that was photographed by another camera, in another place or on another day can be told from file size, format,
colour or the edge of the picture alone. A network learns that first, and a test split made alike does not show it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from going_modular.evaluation.uncertainty import bootstrap_interval
from going_modular.inspection import folds
from going_modular.inspection.quality import Quality

FOLDS, TREES, LEAF = 5, 40, 3
MOST = 2000  # images looked at: what is far above chance shows in these
RESAMPLES = 1000
FAR = 0.25  # of the way from chance to always right; colours, for one, tell a little of what is in any picture


@dataclass(frozen=True)
class Shortcut:
    """How well the class is told from a fact that shows nothing of what the picture shows."""

    name: str
    accuracy: float  # balanced: the mean over the classes, in [0, 1]; cross-validated
    interval: tuple[float, float]  # 95%, bootstrap over groups
    chance: float  # 1 / classes: what guessing gives

    @property
    def warns(self) -> bool:
        """Whether even the interval's lower end is far above chance."""
        return self.interval[0] > self.chance + FAR * (1 - self.chance)


def facts(qualities: Sequence[Quality]) -> dict[str, np.ndarray]:
    """Return what is known of N images but their content: by name, numbers (N, d)."""
    formats = sorted({quality.format for quality in qualities})
    rows = {
        "file size": [[quality.bytes] for quality in qualities],
        "image size": [[quality.width, quality.height, quality.width / quality.height] for quality in qualities],
        "format": [[quality.format == name for name in formats] for quality in qualities],
        "mean colour": [[*quality.colour, quality.contrast] for quality in qualities],
        "frame": [quality.frame for quality in qualities],
    }
    return {name: np.array(values, dtype=np.float32) for name, values in rows.items()}


def shortcuts(
    known: Mapping[str, np.ndarray], labels: np.ndarray, groups: np.ndarray | None = None, *, seed: int
) -> list[Shortcut]:
    """Measure how well each fact tells the class, by a forest of trees that did not see the image.

    Args:
        known: numbers (N, d) by name, as `facts` returns them.
        labels: (N,) integers from 0.
        groups: (N,) of integers or strings; images of one group never stand on both sides. None: each stands alone.
        seed: of folds, trees and bootstrap.

    Returns:
        In the order of `known`, without facts that are the same for all images; empty where there is one class.
    """
    chosen = np.sort(np.random.default_rng(seed).permutation(len(labels))[:MOST])
    labels = np.asarray(labels)[chosen]
    names = np.arange(len(chosen)) if groups is None else np.unique(np.asarray(groups)[chosen], return_inverse=True)[1]
    fold = folds.deal(labels, names, folds=FOLDS, seed=seed)
    classes = len(np.unique(labels))
    if classes < 2 or fold.max() < 1:
        return []
    found = []
    for name, all_values in known.items():
        values = all_values[chosen]
        if (values == values[0]).all():
            continue
        right = _predict(values, labels, fold, seed) == labels
        resampled = _resample(right, labels, names, seed)
        accuracy = float(np.mean([right[labels == label].mean() for label in np.unique(labels)]))
        found.append(Shortcut(name, accuracy, bootstrap_interval(accuracy, resampled), 1 / classes))
    return found


def _predict(values: np.ndarray, labels: np.ndarray, fold: np.ndarray, seed: int) -> np.ndarray:
    """Return the class (N,) of each image, predicted by a forest of the other folds."""
    from sklearn.ensemble import RandomForestClassifier  # late: it takes half a second

    predicted = np.empty_like(labels)
    for held_out in range(fold.max() + 1):
        inside, outside = fold != held_out, fold == held_out
        forest = RandomForestClassifier(
            TREES, min_samples_leaf=LEAF, class_weight="balanced", random_state=seed, n_jobs=-1
        )
        predicted[outside] = forest.fit(values[inside], labels[inside]).predict(values[outside])
    return predicted


def _resample(right: np.ndarray, labels: np.ndarray, groups: np.ndarray, seed: int) -> np.ndarray:
    """Return the balanced accuracy (R,) of resamples of the groups; classes that a resample lacks do not count."""
    rng = np.random.default_rng(seed)
    shape = groups.max() + 1, labels.max() + 1
    sizes, hits = np.zeros(shape), np.zeros(shape)
    np.add.at(sizes, (groups, labels), 1)
    np.add.at(hits, (groups, labels), right)
    drawn = rng.multinomial(shape[0], np.full(shape[0], 1 / shape[0]), size=RESAMPLES)  # how often each group
    with np.errstate(invalid="ignore"):
        return np.nanmean((drawn @ hits) / (drawn @ sizes), axis=1)
