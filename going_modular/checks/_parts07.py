"""What notebook 07 uses where an exercise was left out: the course's answers, built on the libraries' functions."""

import math

import numpy as np


def test_images(p: float, width: float, z: float = 1.96) -> int:
    """Return how many test images Wilson's interval needs to be no wider than `width`; z is 1.96 for 95%."""
    n, found = 0, math.inf
    while found > width:
        n += 1
        found = 2 * z / (1 + z**2 / n) * math.sqrt(p * (1 - p) / n + z**2 / (4 * n**2))
    return n


def interval(
    before: np.ndarray, after: np.ndarray, tables: np.ndarray, draws: int = 2000, seed: int = 0
) -> tuple[float, float]:
    """Return the 95% interval, by drawing tables again, of the mean of `after` less the mean of `before`."""
    row = np.unique(tables, return_inverse=True)[1]
    sums, sizes = np.bincount(row, np.asarray(after) - np.asarray(before)), np.bincount(row)
    drawn = np.random.default_rng(seed).integers(len(sums), size=(draws, len(sums)))
    low, high = np.quantile(sums[drawn].sum(axis=1) / sizes[drawn].sum(axis=1), [0.025, 0.975])
    return float(low), float(high)


def rates(matrix: list[list[int]], c: int) -> tuple[float, float, float]:
    """Return sensitivity, specificity and precision of class c, from a confusion matrix whose rows are true classes."""
    counts = np.asarray(matrix)
    found, positives, called = counts[c, c], counts[c].sum(), counts[:, c].sum()
    negatives = counts.sum() - positives
    return float(found / positives), float(1 - (called - found) / negatives), float(found / called)


def roc_curve(positive: list[bool], scores: list[float]) -> list[tuple[float, float]]:
    """Return the points (1 - specificity, sensitivity) of a ROC curve, the highest threshold's first."""
    from sklearn import metrics

    points = metrics.roc_curve(positive, scores, drop_intermediate=False)[:2]
    return list(zip(*(values.tolist() for values in points), strict=True))


def threshold(positive: list[bool], scores: list[float], missed: float, false_alarm: float) -> float:
    """Return the cheapest threshold: one of the scores, or infinity; of equally cheap ones the largest."""
    positive, scores = np.asarray(positive), np.asarray(scores)
    tried = np.array([math.inf, *np.unique(scores)[::-1]])
    called = scores >= tried[:, None]  # (thresholds, images)
    costs = missed * (positive & ~called).sum(axis=1) + false_alarm * (~positive & called).sum(axis=1)
    return float(tried[costs.argmin()])


def calibration_error(confidence: np.ndarray, right: np.ndarray, bins: int) -> float:
    """Return the expected calibration error; a confidence on an edge belongs to the bin below."""
    inside = np.searchsorted(np.linspace(0, 1, bins + 1)[1:-1], confidence)
    gaps = np.bincount(inside, confidence - np.asarray(right, float), minlength=bins)
    return float(np.abs(gaps).sum() / len(confidence))


def slices(values: list[str], right: list[bool]) -> list[tuple[str, int, int]]:
    """Return (value, right ones, all) of each value, the lowest share of right ones first, then by the alphabet."""
    values, right = np.asarray(values), np.asarray(right, bool)
    found = [
        (str(value), int(right[values == value].sum()), int((values == value).sum())) for value in np.unique(values)
    ]
    return sorted(found, key=lambda entry: entry[1] / entry[2])


def leaks(train: np.ndarray, test: np.ndarray, max_distance: int) -> list[tuple[int, int]]:
    """Return the pairs of rows of hashes, True or False, that differ in at most `max_distance` places."""
    pairs = ((i, np.flatnonzero((theirs != test).sum(axis=1) <= max_distance)) for i, theirs in enumerate(train))
    return [(i, int(j)) for i, close in pairs for j in close]
