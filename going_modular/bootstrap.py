"""Metrics of thousands of resamples at once (bootstrap: Efron, 1979).

A resample draws N of the N samples with replacement. Metrics of the confusion matrix need no samples: the cells' counts
are drawn, from a multinomial distribution, which is the same. For the others a resample is N weights, how often each
sample was drawn, and every metric is a sum over weights.
"""

from collections.abc import Iterator

import numpy as np
from scipy.sparse import csr_array

from going_modular.scores import Scores, ratio

CELLS = 2**19  # numbers held at a time, so that memory does not grow with the resamples


def matrix_metrics(matrix: np.ndarray, *, resamples: int, seed: int) -> dict[str, np.ndarray]:
    """Resample a confusion matrix and measure each resample.

    Args:
        matrix: (C, C) counts, rows the true classes.
        resamples: how many.
        seed: of the draws.

    Returns:
        `precision`, `sensitivity`, `specificity`, `f1`: (resamples, C); `matthews_correlation`: (resamples,). NaN where
        a metric is not defined.
    """
    rng, samples, classes = np.random.default_rng(seed), matrix.sum(), len(matrix)
    true, predicted = np.nonzero(matrix)
    shares, cells = matrix[true, predicted] / samples, np.arange(len(true))
    right = np.flatnonzero(true == predicted)
    shape = (classes, len(cells))
    sums = [_sums(true[right], right, shape), _sums(true, cells, shape), _sums(predicted, cells, shape)]
    drawn = np.empty((3, resamples, classes))  # right, true, predicted
    for chunk in _chunks(resamples, len(shares)):
        counts = rng.multinomial(samples, shares, size=chunk.stop - chunk.start)  # (chunk, cells)
        drawn[:, chunk] = [counts @ kind.T for kind in sums]
    return of_counts(*drawn)


def of_counts(right: np.ndarray, true: np.ndarray, predicted: np.ndarray) -> dict[str, np.ndarray]:
    """Return the metrics of confusion matrices, from the counts that they need.

    Args:
        right: (..., C), the diagonal.
        true: (..., C), sums of rows.
        predicted: (..., C), sums of columns.

    Returns:
        as `matrix_metrics`.
    """
    samples = true.sum(axis=-1, keepdims=True)
    spread = (samples**2 - (true**2).sum(-1, keepdims=True)) * (samples**2 - (predicted**2).sum(-1, keepdims=True))
    covariance = samples * right.sum(-1, keepdims=True) - (true * predicted).sum(-1, keepdims=True)
    return {
        "precision": ratio(right, predicted),
        "sensitivity": ratio(right, true),
        "specificity": ratio(samples - true - predicted + right, samples - true),
        "f1": ratio(2 * right, true + predicted),
        "matthews_correlation": np.nan_to_num(ratio(covariance, np.sqrt(spread)))[..., 0],  # 0 / 0 is 0, as on the data
    }


def score_metrics(scores: Scores, *, resamples: int, seed: int) -> dict[str, np.ndarray]:
    """Resample samples and measure each resample.

    Returns:
        `auc` and `average_precision`, each class against the rest: (resamples, C); `log_loss`, `brier`,
        `expected_calibration_error`: (resamples,). NaN where a metric is not defined.
    """
    samples, classes = scores.probabilities.shape
    means = np.column_stack([scores.log_losses, scores.brier_scores, scores.calibration_gaps]).T / samples
    rankings = [Ranking(scores.true == c, scores.probabilities[:, c]) for c in range(classes)]
    found = {name: np.empty(resamples) for name in ("log_loss", "brier", "expected_calibration_error")}
    found |= {name: np.empty((resamples, classes)) for name in ("auc", "average_precision")}
    for chunk, weights in _weights(samples, resamples, np.random.default_rng(seed)):
        found["log_loss"][chunk], found["brier"][chunk], *gaps = means @ weights
        found["expected_calibration_error"][chunk] = np.abs(gaps).sum(axis=0)
        for c, ranking in enumerate(rankings):
            found["auc"][chunk, c], found["average_precision"][chunk, c] = ranking.measure(weights)
    return found


class Ranking:
    """Samples ranked by a score, ready for AUC and average precision under any weights.

    Both change only where a positive stands, so samples are first summed between the positives' distinct scores.
    """

    def __init__(self, is_positive: np.ndarray, score: np.ndarray) -> None:
        positives, rest = np.flatnonzero(is_positive), np.flatnonzero(~is_positive)
        steps, step = np.unique(-score[positives], return_inverse=True)  # descending scores
        shape = (len(steps) + 1, len(score))  # the last row: what ranks below every positive
        self._positives = _sums(step, positives, shape)
        self._rest_at_or_above = _sums(np.searchsorted(steps, -score[rest], side="left"), rest, shape)
        self._rest_above = _sums(np.searchsorted(steps, -score[rest], side="right"), rest, shape)

    def measure(self, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return AUC and average precision for each of B columns of weights.

        Args:
            weights: (N, B), whole numbers.

        Returns:
            Two arrays (B,), NaN where there is no positive, or, for AUC, nothing else.
        """
        positives = self._positives @ weights  # (steps + 1, B)
        above = np.cumsum(positives, axis=0)
        rest = np.cumsum(self._rest_at_or_above @ weights, axis=0)
        rest_above = np.cumsum(self._rest_above @ weights, axis=0)
        # of all pairs, those in the wrong order; a tie is half a pair
        wrong = (positives * (rest + rest_above)).sum(axis=0) / 2
        precision = above / np.maximum(above + rest, 1)  # where nothing was drawn yet it weighs nothing
        return 1 - ratio(wrong, above[-1] * rest[-1]), ratio((positives * precision).sum(axis=0), above[-1])


def _sums(group: np.ndarray, members: np.ndarray, shape: tuple[int, int]) -> csr_array:
    """Return the (groups, N) matrix that sums, in each group, its members of N."""
    return csr_array((np.ones(len(members)), (group, members)), shape=shape)


def _weights(samples: int, resamples: int, rng: np.random.Generator) -> Iterator[tuple[slice, np.ndarray]]:
    """Yield slices of the resamples and how often each sample was drawn, (samples, slice's length)."""
    for chunk in _chunks(resamples, samples):
        draws = (rng.integers(samples, size=samples) for _ in range(chunk.start, chunk.stop))
        yield chunk, np.stack([np.bincount(draw, minlength=samples) for draw in draws], axis=1).astype(float)


def _chunks(resamples: int, columns: int) -> Iterator[slice]:
    """Cut the resamples into slices of at most CELLS numbers."""
    length = max(CELLS // columns, 1)
    return (slice(start, min(start + length, resamples)) for start in range(0, resamples, length))
