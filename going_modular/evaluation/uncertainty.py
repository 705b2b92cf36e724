"""How sure a figure is: Wilson's interval, the bootstrap's, and McNemar's test of two classifiers.

A bootstrap resample (Efron, 1979) draws N of the N samples with replacement; here the metrics of thousands of resamples
are computed at once. Those of the confusion matrix need no samples: the cells' counts are drawn, from a multinomial
distribution, which is the same. For the others a resample is N weights, how often each sample was drawn, and every
metric is a sum over weights.
"""

import math
from collections.abc import Iterator, Sequence
from statistics import NormalDist
from typing import TYPE_CHECKING

import numpy as np
import torch

from going_modular.common.errors import InputError
from going_modular.evaluation.scores import Scores, ratio

if TYPE_CHECKING:
    from scipy.sparse import csr_array

CONFIDENCE = 0.95
SIGNIFICANCE = 0.05
CELLS = 2**19  # numbers held at a time, so that memory does not grow with the resamples
RANKED = 2**22  # ranks held at a time, so that memory does not grow with the classes
ENOUGH, WORK = 200, 2**32  # resamples at least; samples x classes x resamples at most, some 10 seconds


def wilson_interval(successes: int, trials: int, *, confidence: float = CONFIDENCE) -> tuple[float, float]:
    """Return the Wilson score interval of a proportion, as (low, high) in [0, 1].

    Unlike the textbook p +/- 1.96 standard errors it stays within [0, 1] and holds for small samples and for 0 or all
    successes (Wilson, 1927, https://doi.org/10.1080/01621459.1927.10502953).
    """
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    share, shrunk = successes / trials, 1 + z**2 / trials
    middle = (share + z**2 / (2 * trials)) / shrunk
    half = z * math.sqrt(share * (1 - share) / trials + z**2 / (4 * trials**2)) / shrunk
    return (middle - half if successes else 0.0), (middle + half if successes < trials else 1.0)


def bootstrap_interval(value: float, resampled: np.ndarray, *, biased_up: bool = False) -> tuple[float, float] | None:
    """Return the 95% bootstrap interval of a value, as (low, high); it always holds the value.

    Args:
        value: measured on the data.
        resampled: measured on each resample; NaN, where it is not defined there, is left out.
        biased_up: whether noise adds to the value, as to a sum of absolute differences, and to a resample's twice. Then
            the resamples' quantiles are mirrored at the value ("basic" interval), and cut to [0, 1]; else they are the
            interval ("percentile"). Both: Davison and Hinkley, 1997, chapter 5. On few samples either covers the truth
            a little less often than in 95% of cases.

    Returns:
        None where value or all resamples are undefined.
    """
    resampled = resampled[~np.isnan(resampled)]
    if np.isnan(value) or len(resampled) == 0:
        return None
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(resampled, [tail, 1 - tail])
    if biased_up:
        low, high = max(2 * value - high, 0.0), min(2 * value - low, 1.0)
    return float(min(low, value)), float(max(high, value))


def mcnemar(
    labels: Sequence[int] | torch.Tensor,
    predicted_a: Sequence[int] | torch.Tensor,
    predicted_b: Sequence[int] | torch.Tensor,
) -> dict[str, object]:
    """Test whether two classifiers differ in accuracy, on the same samples: McNemar's exact test.

    Samples that both have right, or both wrong, say nothing. Of the others, if the two were equally good, each would
    have half: a binomial test (McNemar, 1947, https://doi.org/10.1007/BF02295996).

    Args:
        labels: N true classes.
        predicted_a: N classes, from the first classifier.
        predicted_b: N classes, from the second.

    Returns:
        `only_a_right`, `only_b_right`: counts; `p_value`: two-sided, 1 where no sample tells them apart; `differ`:
        whether it is below 0.05.

    Raises:
        InputError: the lengths differ.
    """
    from scipy.stats import binomtest

    true, a, b = (np.asarray(classes) for classes in (labels, predicted_a, predicted_b))
    if not len(true) == len(a) == len(b):
        raise InputError(f"{len(true)} labels, {len(a)} and {len(b)} predictions; give both for the same samples")
    only_a_right = int(((a == true) & (b != true)).sum())
    only_b_right = int(((a != true) & (b == true)).sum())
    disagreements = only_a_right + only_b_right
    p_value = float(binomtest(only_a_right, disagreements).pvalue) if disagreements else 1.0
    return {
        "only_a_right": only_a_right,
        "only_b_right": only_b_right,
        "p_value": p_value,
        "differ": p_value < SIGNIFICANCE,
    }


def resample_matrix(matrix: np.ndarray, *, resamples: int, seed: int) -> dict[str, np.ndarray]:
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
    return metrics_of_counts(*drawn)


def metrics_of_counts(right: np.ndarray, true: np.ndarray, predicted: np.ndarray) -> dict[str, np.ndarray]:
    """Return the metrics of confusion matrices, from the counts that they need.

    Args:
        right: (..., C), the diagonal.
        true: (..., C), sums of rows.
        predicted: (..., C), sums of columns.

    Returns:
        as `resample_matrix`.
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


def resample_scores(scores: Scores, *, resamples: int, seed: int) -> dict[str, np.ndarray]:
    """Resample samples and measure each resample.

    Returns:
        `auc` and `average_precision`, each class against the rest: (resamples, C), of so many samples and classes that
        it would take minutes fewer resamples, but not below 200; `log_loss`, `brier`, `expected_calibration_error`:
        (resamples,). NaN where a metric is not defined.
    """
    samples, classes = scores.probabilities.shape
    means = np.column_stack([scores.log_losses, scores.brier_scores, scores.calibration_gaps]).T / samples
    resampled = {name: np.empty(resamples) for name in ("log_loss", "brier", "expected_calibration_error")}
    for chunk, weights in _weights(samples, resamples, seed):
        resampled["log_loss"][chunk], resampled["brier"][chunk], *gaps = means @ weights
        resampled["expected_calibration_error"][chunk] = np.abs(gaps).sum(axis=0)
    affordable = max(WORK // (samples * classes), ENOUGH)
    return resampled | _resample_rankings(scores, resamples=min(resamples, affordable), seed=seed)


def _resample_rankings(scores: Scores, *, resamples: int, seed: int) -> dict[str, np.ndarray]:
    """Resample samples and return `auc` and `average_precision` of each class against the rest, (resamples, C)."""
    samples, classes = scores.probabilities.shape
    resampled = {name: np.empty((resamples, classes)) for name in ("auc", "average_precision")}
    held = max(RANKED // samples, 1)
    for first in range(0, classes, held):
        some = range(first, min(first + held, classes))
        rankings = [(c, Ranking(scores.true == c, scores.probabilities[:, c])) for c in some]
        for chunk, weights in _weights(samples, resamples, seed):  # the same for all classes
            for c, ranking in rankings:
                resampled["auc"][chunk, c], resampled["average_precision"][chunk, c] = ranking.measure(weights)
    return resampled


class Ranking:
    """Samples ranked by a score, ready for AUC and average precision under any weights.

    Both change only where a positive stands, so samples are first summed between the positives' distinct scores.
    """

    def __init__(self, is_positive: np.ndarray, score: np.ndarray) -> None:
        positives, rest = np.flatnonzero(is_positive), np.flatnonzero(~is_positive)
        steps, step = np.unique(-score[positives], return_inverse=True)  # descending scores
        shape = (len(steps) + 1, len(score))  # the last row: what ranks below every positive
        self._positives = _sums(step, positives, shape)
        at_or_above, above = (np.searchsorted(steps, -score[rest], side=side) for side in ("left", "right"))
        self._rest_at_or_above = _sums(at_or_above, rest, shape)
        self._rest_above = _sums(above, rest, shape) if (at_or_above != above).any() else None  # None: without ties

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
        rest_above = rest if self._rest_above is None else np.cumsum(self._rest_above @ weights, axis=0)
        # of all pairs, those in the wrong order; a tie is half a pair
        wrong = (positives * (rest + rest_above)).sum(axis=0) / 2
        precision = above / np.maximum(above + rest, 1)  # where nothing was drawn yet it weighs nothing
        return 1 - ratio(wrong, above[-1] * rest[-1]), ratio((positives * precision).sum(axis=0), above[-1])


def _sums(group: np.ndarray, members: np.ndarray, shape: tuple[int, int]) -> "csr_array":
    """Return the (groups, N) matrix that sums, in each group, its members of N."""
    from scipy.sparse import csr_array

    return csr_array((np.ones(len(members)), (group, members)), shape=shape)


def _weights(samples: int, resamples: int, seed: int) -> Iterator[tuple[slice, np.ndarray]]:
    """Yield slices of the resamples and how often each sample was drawn, (samples, slice's length)."""
    rng = np.random.default_rng(seed)
    for chunk in _chunks(resamples, samples):
        draws = (rng.integers(samples, size=samples) for _ in range(chunk.start, chunk.stop))
        yield chunk, np.stack([np.bincount(draw, minlength=samples) for draw in draws], axis=1).astype(float)


def _chunks(resamples: int, columns: int) -> Iterator[slice]:
    """Cut the resamples into slices of at most CELLS numbers."""
    length = max(CELLS // columns, 1)
    return (slice(start, min(start + length, resamples)) for start in range(0, resamples, length))
