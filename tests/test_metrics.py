from math import log, sqrt

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from going_modular import metrics


@pytest.mark.parametrize(("samples", "classes"), [(1, 2), (75, 3), (200, 7), (5, 12)])
def test_evaluate_equals_counting_by_hand(samples, classes):
    generator = torch.Generator().manual_seed(samples)
    logits = 3 * torch.randn(samples, classes, generator=generator)
    labels = torch.randint(classes, (samples,), generator=generator)
    measured = metrics.evaluate(logits, labels)

    matrix = [[0] * classes for _ in range(classes)]
    loss = 0.0
    for row, label in zip(logits.double().tolist(), labels.tolist(), strict=True):
        matrix[label][row.index(max(row))] += 1
        loss += log(sum(np.exp(row))) - row[label]
    correct = sum(matrix[label][label] for label in range(classes))
    assert measured["confusion_matrix"] == matrix
    assert measured["accuracy"] == correct / samples
    assert measured["accuracy_interval"] == list(metrics.wilson_interval(correct, samples))
    assert measured["loss"] == pytest.approx(loss / samples, rel=1e-12)
    assert measured["loss"] == pytest.approx(F.cross_entropy(logits, labels).item(), rel=1e-5)


def test_metrics_are_plain_numbers():
    measured = metrics.evaluate(torch.eye(3), [0, 1, 1])
    low, high = measured["accuracy_interval"]
    for value in (measured["loss"], measured["accuracy"], low, high):
        assert type(value) is float
    assert measured["confusion_matrix"] == [[1, 0, 0], [0, 1, 1], [0, 0, 0]]
    assert type(measured["confusion_matrix"][0][0]) is int


def wilson(successes, trials, z=1.959963984540054):
    """The closed formula, from Wilson's paper."""
    p = successes / trials
    centre = (p + z**2 / (2 * trials)) / (1 + z**2 / trials)
    half = z / (1 + z**2 / trials) * sqrt(p * (1 - p) / trials + z**2 / (4 * trials**2))
    return centre - half, centre + half


@pytest.mark.parametrize("trials", [1, 10, 75, 10_000])
def test_the_interval_is_wilsons(trials):
    for successes in range(0, trials + 1, max(trials // 10, 1)):
        low, high = metrics.wilson_interval(successes, trials)
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
    assert metrics.wilson_interval(successes, trials) == pytest.approx(expected, abs=5e-5)


def test_a_wider_interval_is_surer():
    low, high = metrics.wilson_interval(67, 75, confidence=0.99)
    assert (low, high) == pytest.approx(wilson(67, 75, z=2.5758293035489004), abs=1e-12)


def test_the_majority_is_that_of_the_training_split():
    assert metrics.majority_baseline([0, 1, 1, 2], [0, 0, 0, 1]) == 0.25
    assert metrics.majority_baseline([0] * 3 + [2] * 4, [0, 0, 1]) == 0
    assert metrics.majority_baseline([1, 1, 0], [1, 1]) == 1
