from math import sqrt

import numpy as np
import pytest
import torch
from classified import guesses
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest, norm

from going_modular import metrics
from going_modular.common.errors import InputError
from going_modular.evaluation import scores, uncertainty


def wilson(successes, trials, z=1.959963984540054):
    """The closed formula, from Wilson's paper."""
    p = successes / trials
    centre = (p + z**2 / (2 * trials)) / (1 + z**2 / trials)
    half = z / (1 + z**2 / trials) * sqrt(p * (1 - p) / trials + z**2 / (4 * trials**2))
    return centre - half, centre + half


@pytest.mark.parametrize("trials", [1, 10, 75, 10_000])
def test_the_interval_is_wilsons(trials):
    for successes in range(0, trials + 1, max(trials // 10, 1)):
        low, high = uncertainty.wilson_interval(successes, trials)
        assert (low, high) == pytest.approx(wilson(successes, trials), abs=1e-12)
        assert 0 <= low <= successes / trials <= high <= 1


@pytest.mark.parametrize(
    ("successes", "trials", "expected"),
    [
        (0, 10, (0.0, 0.2775)),
        (10, 10, (0.7225, 1.0)),
        (67, 75, (0.8034, 0.9450)),
        (70, 75, (0.8532, 0.9712)),
    ],
)
def test_the_interval_has_known_values(successes, trials, expected):
    assert uncertainty.wilson_interval(successes, trials) == pytest.approx(expected, abs=5e-5)


def test_a_wider_interval_is_surer():
    low, high = uncertainty.wilson_interval(67, 75, confidence=0.99)
    assert (low, high) == pytest.approx(wilson(67, 75, z=2.5758293035489004), abs=1e-12)


def test_metrics_has_the_interval_too():
    assert metrics.wilson_interval is uncertainty.wilson_interval


def test_the_bootstrap_interval_is_of_quantiles():
    resampled = np.arange(1001) / 1000
    assert uncertainty.bootstrap_interval(0.5, resampled) == pytest.approx((0.025, 0.975))
    assert uncertainty.bootstrap_interval(0.5, resampled[::-1]) == pytest.approx((0.025, 0.975))
    with_gaps = np.concatenate([resampled, np.full(500, np.nan)])
    assert uncertainty.bootstrap_interval(0.5, with_gaps) == pytest.approx((0.025, 0.975))


def test_a_biased_values_interval_is_mirrored():
    resampled = np.linspace(0.3, 0.4, 1001)
    low, high = uncertainty.bootstrap_interval(0.32, resampled, biased_up=True)
    assert (low, high) == pytest.approx((2 * 0.32 - 0.3975, 2 * 0.32 - 0.3025))
    assert uncertainty.bootstrap_interval(0.1, resampled, biased_up=True) == (0.0, 0.1)
    assert uncertainty.bootstrap_interval(0.9, resampled, biased_up=True) == (0.9, 1.0)


@settings(deadline=None)
@given(st.floats(0, 1), st.lists(st.floats(0, 1), min_size=1), st.booleans())
def test_the_bootstrap_interval_holds_the_value(value, resampled, biased_up):
    low, high = uncertainty.bootstrap_interval(value, np.array(resampled), biased_up=biased_up)
    assert 0 <= low <= value <= high <= 1


@pytest.mark.parametrize(("value", "resampled"), [(np.nan, [0.5, 0.6]), (0.5, []), (0.5, [np.nan, np.nan])])
def test_what_is_undefined_has_no_interval(value, resampled):
    assert uncertainty.bootstrap_interval(value, np.array(resampled)) is None


def test_the_mean_of_normal_samples_has_the_textbooks_interval():
    logits, labels = guesses(2000, 3)
    losses = scores.from_logits(logits, labels).log_losses
    half = norm.ppf(0.975) * losses.std() / sqrt(len(losses))
    found = metrics.report(logits, labels, ["a", "b", "c"])["log_loss"]
    assert found["interval"] == pytest.approx([losses.mean() - half, losses.mean() + half], abs=0.1 * half)


@pytest.mark.slow
@pytest.mark.parametrize("separation", [0.0, 1.0])
def test_the_interval_of_auc_covers_the_true_one(separation):
    """Scores normal with unit spread, means apart by d: the true AUC is Phi(d / sqrt 2)."""
    truth = norm.cdf(separation / sqrt(2))
    rng = np.random.default_rng(0)
    covered = 0
    for _ in range(200):
        labels = rng.integers(2, size=150)
        logits = torch.zeros(150, 2, dtype=torch.float64)
        logits[:, 1] = torch.from_numpy(rng.normal(size=150) + separation * labels)
        low, high = metrics.report(logits, labels, ["a", "b"], resamples=300)["auc"]["interval"]
        covered += low <= truth <= high
    assert 180 <= covered <= 198  # 95% of 200, give or take 3 standard errors and the bootstrap's bias


@pytest.mark.slow
def test_the_interval_of_the_calibration_error_covers_the_true_one():
    """Eight bins, in each right 5 times of 100 less than the confidence says: the true error is 0.05.

    Noise adds to it, in the data and once more in each resample: plain quantiles lie too high, and hold 0.05 in
    109 of 200 data sets; mirrored ones, in 171.
    """
    rng = np.random.default_rng(0)
    confidence = torch.arange(8, dtype=torch.float64).repeat(40) / 15 + 0.51
    logits = torch.stack([confidence, 1 - confidence], dim=1).log()
    covered, between = 0, 0
    for _ in range(200):
        labels = (rng.random(len(logits)) > confidence.numpy() - 0.05).astype(int)
        resampled = uncertainty.resample_scores(scores.from_logits(logits, labels), resamples=300, seed=0)
        low, high = np.quantile(resampled["expected_calibration_error"], [0.025, 0.975])
        between += low <= 0.05 <= high
        low, high = metrics.report(logits, labels, ["a", "b"], resamples=300)["expected_calibration_error"]["interval"]
        covered += low <= 0.05 <= high
    assert covered >= 160
    assert between < 130


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2), st.integers(0, 2)), min_size=1, max_size=60))
def test_mcnemar_equals_scipys_binomial_test(samples):
    true, a, b = (list(column) for column in zip(*samples, strict=True))
    found = uncertainty.mcnemar(true, a, b)
    only_a = sum(x == t != y for t, x, y in samples)
    only_b = sum(y == t != x for t, x, y in samples)
    p_value = float(binomtest(only_a, only_a + only_b, 0.5).pvalue) if only_a + only_b else 1
    assert (found["only_a_right"], found["only_b_right"]) == (only_a, only_b)
    assert found["p_value"] == pytest.approx(p_value, rel=1e-12)
    assert found["differ"] is (p_value < 0.05)
    mirrored = uncertainty.mcnemar(true, b, a)
    assert (mirrored["only_a_right"], mirrored["only_b_right"]) == (only_b, only_a)
    assert mirrored["p_value"] == pytest.approx(p_value, rel=1e-12)


@pytest.mark.parametrize(("only_a", "only_b", "p_value"), [(0, 5, 0.0625), (0, 6, 0.03125), (5, 15, 0.0414), (9, 9, 1)])
def test_mcnemar_has_known_values(only_a, only_b, p_value):
    labels = torch.zeros(only_a + only_b + 10, dtype=torch.int64)
    a, b = labels.clone(), labels.clone()
    b[:only_a] = 1
    a[only_a : only_a + only_b] = 1
    found = uncertainty.mcnemar(labels, a, b)
    assert found["p_value"] == pytest.approx(p_value, abs=5e-5)
    assert found["differ"] is (p_value < 0.05)


def test_mcnemar_wants_the_same_samples():
    with pytest.raises(InputError, match="3 labels, 3 and 2 predictions; give both for the same samples"):
        uncertainty.mcnemar([0, 1, 1], [0, 1, 1], [0, 1])
