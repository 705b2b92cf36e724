"""How sure a figure is: Wilson's interval, the bootstrap's, and McNemar's test of two classifiers."""

from collections.abc import Sequence

import numpy as np
import torch
from scipy.stats import binomtest

from going_modular.errors import InputError

CONFIDENCE = 0.95
SIGNIFICANCE = 0.05


def wilson_interval(successes: int, trials: int, *, confidence: float = CONFIDENCE) -> tuple[float, float]:
    """Return the Wilson score interval of a proportion, as (low, high) in [0, 1].

    Unlike the textbook p +/- 1.96 standard errors it stays within [0, 1] and holds for small samples and for 0 or all
    successes (Wilson, 1927, https://doi.org/10.1080/01621459.1927.10502953).
    """
    interval = binomtest(successes, trials).proportion_ci(confidence_level=confidence, method="wilson")
    return float(interval.low), float(interval.high)


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
