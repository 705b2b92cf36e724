import warnings

import numpy as np
import pytest
from classified import classified, guesses
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as sklearn_metrics
from sklearn.calibration import calibration_curve

from going_modular import metrics
from going_modular.common.errors import InputError
from going_modular.evaluation import curves


def names_of(logits):
    return [f"class {c}" for c in range(logits.shape[1])]


def call(curve, logits, labels, *names, **options):
    """Compute a curve, with every warning an error."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return curve(logits, labels, *names, **options)


def ordered(logits, labels):
    """Return confidence and rightness, by torch and in the samples' order."""
    confidence, predicted = logits.double().softmax(dim=1).max(dim=1)
    return confidence.numpy(), (predicted == labels).numpy()


@settings(deadline=None)
@given(classified())
def test_roc_curves_equal_scikit_learns(data):
    logits, labels = data
    found, macro = call(curves.roc_curves, logits, labels, names_of(logits))
    probabilities = logits.double().softmax(dim=1).numpy()
    for c, name in enumerate(names_of(logits)):
        is_class = labels.numpy() == c
        assert (name in found) == (0 < is_class.sum() < len(is_class))
        if name in found:
            expected = sklearn_metrics.roc_curve(is_class, probabilities[:, c])
            curve = found[name]
            for ours, theirs in zip(
                (curve.false_positive_rate, curve.sensitivity, curve.thresholds), expected, strict=True
            ):
                np.testing.assert_array_equal(ours, theirs)
            assert curve.auc == pytest.approx(sklearn_metrics.auc(*expected[:2]), abs=1e-12)
    assert (macro is None) == (not found)


@pytest.mark.slow
@settings(deadline=None)
@given(classified())
def test_the_macro_curve_has_the_area_of_the_report(data):
    logits, labels = data
    _, macro = call(curves.roc_curves, logits, labels, names_of(logits))
    expected = metrics.report(logits, labels, names_of(logits), resamples=0)["auc"]["value"]
    if macro is None:
        assert expected is None
    else:
        assert macro.auc == pytest.approx(expected, abs=1e-12)
        assert sklearn_metrics.auc(macro.false_positive_rate, macro.sensitivity) == pytest.approx(expected, abs=1e-12)
        assert (np.diff(macro.sensitivity) >= -1e-12).all()
        assert (np.diff(macro.false_positive_rate) >= 0).all()
        ends = [(c[0], c[-1]) for c in (macro.false_positive_rate, macro.sensitivity)]
        assert ends == [(0, 1), (0, 1)]


@settings(deadline=None)
@given(classified())
def test_precision_recall_curves_equal_scikit_learns(data):
    logits, labels = data
    found = call(curves.precision_recall_curves, logits, labels, names_of(logits))
    probabilities = logits.double().softmax(dim=1).numpy()
    for c, name in enumerate(names_of(logits)):
        is_class = labels.numpy() == c
        assert (name in found) == is_class.any()
        if name in found:
            curve = found[name]
            expected = sklearn_metrics.precision_recall_curve(is_class, probabilities[:, c])
            for ours, theirs in zip((curve.precision, curve.recall, curve.thresholds), expected, strict=True):
                np.testing.assert_array_equal(ours, theirs)
            area = -np.sum(np.diff(curve.recall) * curve.precision[:-1])
            assert curve.average_precision == pytest.approx(area, abs=1e-12)


@pytest.mark.parametrize("chosen", ["class 0", "class 1"])
def test_of_two_classes_only_the_positive_ones_curve_is_drawn(chosen):
    logits, labels = guesses(60, 2)
    both, _ = curves.roc_curves(logits, labels, names_of(logits))
    found, macro = curves.roc_curves(logits, labels, names_of(logits), positive=chosen)
    assert list(found) == [chosen]
    assert found[chosen].auc == both[chosen].auc
    assert macro is None
    assert list(curves.precision_recall_curves(logits, labels, names_of(logits), positive=chosen)) == [chosen]


@pytest.mark.parametrize("curve", [curves.roc_curves, curves.precision_recall_curves])
def test_an_unknown_positive_class_is_refused(curve):
    with pytest.raises(InputError, match="Unknown positive class 'cat'; choose one of 'class 0', 'class 1'"):
        curve(*guesses(10, 2), ["class 0", "class 1"], positive="cat")


@settings(deadline=None)
@given(classified())
def test_reliability_equals_scikit_learns(data):
    logits, labels = data
    found = call(curves.reliability, logits, labels)
    confidence, right = ordered(logits, labels)
    accuracy, mean = calibration_curve(right, confidence, pos_label=True, n_bins=15)
    filled = found.count > 0
    np.testing.assert_allclose(found.accuracy[filled], accuracy, atol=1e-12)
    np.testing.assert_allclose(found.confidence[filled], mean, atol=1e-12)
    assert np.isnan(found.accuracy[~filled]).all()
    assert np.isnan(found.confidence[~filled]).all()
    assert len(found.edges) == len(found.count) + 1 == 16
    for low, high, count in zip(found.edges, found.edges[1:], found.count, strict=False):
        assert count == ((confidence > low) & (confidence <= high)).sum()


@pytest.mark.slow
@settings(deadline=None)
@given(classified())
def test_the_calibration_error_is_the_reliability_diagrams(data):
    logits, labels = data
    found = curves.reliability(logits, labels)
    error = np.nansum(found.count * np.abs(found.confidence - found.accuracy)) / found.count.sum()
    report = metrics.report(logits, labels, names_of(logits), resamples=0)
    assert report["expected_calibration_error"]["value"] == pytest.approx(error, abs=1e-12)


@settings(deadline=None)
@given(classified(), st.floats(0, 1))
def test_the_rejection_curve_counts_what_is_answered(data, threshold):
    logits, labels = data
    found = call(curves.rejection_curve, logits, labels)
    confidence, right = ordered(logits, labels)
    np.testing.assert_array_equal(found.thresholds, np.unique(confidence))
    for at, coverage, accuracy in zip(found.thresholds, found.coverage, found.accuracy, strict=True):
        answered = confidence >= at
        assert coverage == answered.mean()
        assert accuracy == right[answered].mean()
    assert found.coverage[0] == 1
    # between two points the higher one says what is answered
    above = np.searchsorted(found.thresholds, threshold)
    share = found.coverage[above] if above < len(found.coverage) else 0
    assert share == (confidence >= threshold).mean()
