from math import inf, nan

import numpy as np
import pytest
import torch
from classified import classified
from hypothesis import given, settings

from going_modular.common.errors import InputError
from going_modular.evaluation import scores


@pytest.mark.parametrize(
    ("logits", "labels", "names", "message"),
    [
        (torch.zeros(3, 2), [0, 1], "ab", "3 rows of logits, but 2 labels; give a label a row"),
        (torch.zeros(0, 2), [], "ab", "No sample to measure; give at least one"),
        (torch.zeros(2, 3), [0, 1], "ab", "3 logits a row do not fit class names .'a', 'b'.; give each its own name"),
        (torch.zeros(2, 2), [0, 1], "aa", "2 logits a row do not fit class names .'a', 'a'.; give each its own name"),
        (torch.zeros(2, 1), [0, 0], "a", "Logits of 1 class cannot be measured; give at least two"),
        (torch.zeros(2, 2), [0, 2], "ab", "Label 2 is out of range; give labels from 0 to 1"),
        (torch.zeros(2, 2), [-1, 0], "ab", "Label -1 is out of range; give labels from 0 to 1"),
        (torch.tensor([[0, nan], [0, 1]]), [0, 1], "ab", "Logits of 1 samples are NaN or infinite"),
        (
            torch.tensor([[0, inf], [-inf, 1]]),
            [0, 1],
            "ab",
            "Logits of 2 samples are NaN or infinite",
        ),
    ],
)
def test_what_cannot_be_measured_is_refused(logits, labels, names, message):
    with pytest.raises(InputError, match=message) as caught:
        scores.from_logits(logits, labels, names)
    assert "\n" not in str(caught.value)


@settings(deadline=None)
@given(classified())
def test_scores_are_consistent(data):
    logits, labels = data
    found = scores.from_logits(logits, labels)
    assert found.probabilities.dtype == found.log_probabilities.dtype == np.float64
    np.testing.assert_allclose(found.probabilities, np.exp(found.log_probabilities), atol=1e-12)
    np.testing.assert_array_equal(found.confidence, found.probabilities[np.arange(len(labels)), found.predicted])
    assert np.isfinite(found.log_losses).all()
    edges = scores.bin_edges()
    assert (edges[found.confidence_bin] < found.confidence).all()
    assert (found.confidence <= edges[found.confidence_bin + 1]).all()


def test_undefined_values_are_left_out_of_a_mean():
    found = scores.mean_defined(np.array([[1.0, np.nan, 2.0], [np.nan] * 3, [1, 2, 6]]))
    np.testing.assert_array_equal(found, [1.5, np.nan, 3])


def test_a_ratio_to_nothing_is_undefined():
    np.testing.assert_array_equal(scores.ratio(np.array([1, 0, 3]), np.array([2, 0, 0])), [0.5, np.nan, np.nan])
