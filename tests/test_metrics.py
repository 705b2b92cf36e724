import json
import math
import warnings
from itertools import pairwise
from math import log

import numpy as np
import pytest
import torch
from classified import HUGE, classified, guesses
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import log_softmax
from sklearn import metrics as sklearn_metrics
from torch.nn import functional as F
from torchmetrics.functional.classification import multiclass_calibration_error

from going_modular import metrics
from going_modular.common.errors import InputError

MEASURED = {
    "accuracy",
    "error_rate",
    "balanced_accuracy",
    "matthews_correlation",
    "log_loss",
    "brier",
    "expected_calibration_error",
    "auc",
    "average_precision",
}
PER_CLASS = {"precision", "sensitivity", "specificity", "f1", "auc", "average_precision", "support"}


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


def test_the_majority_is_that_of_the_training_split():
    assert metrics.majority_baseline([0, 1, 1, 2], [0, 0, 0, 1]) == 0.25
    assert metrics.majority_baseline([0] * 3 + [2] * 4, [0, 0, 1]) == 0
    assert metrics.majority_baseline([1, 1, 0], [1, 1]) == 1


def names_of(logits):
    return [f"class {c}" for c in range(logits.shape[1])]


def measure(logits, labels, **options):
    """Report, with every warning an error."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return metrics.report(logits, labels, names_of(logits), **({"resamples": 20} | options))


def quiet(metric, *args, **options):
    """Call a metric of scikit-learn's whose warnings are not the question."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return float(metric(*args, **options))


def values(entries):
    return {name: entry["value"] for name, entry in entries.items()}


def undefined_or(value):
    """Expect None for NaN."""
    return None if np.isnan(value) else pytest.approx(value, rel=1e-9, abs=1e-12)


def entries(tree):
    """Yield every {value, interval} of a report."""
    for entry in tree.values():
        if isinstance(entry, dict) and set(entry) == {"value", "interval"}:
            yield entry
        elif isinstance(entry, dict):
            yield from entries(entry)


@pytest.mark.slow
@settings(deadline=None)
@given(classified())
def test_metrics_of_the_confusion_matrix_equal_scikit_learns(data):
    logits, labels = data
    found = measure(logits, labels)
    true, predicted = labels.numpy(), logits.argmax(dim=1).numpy()
    classes = range(logits.shape[1])
    assert found["accuracy"]["value"] == sklearn_metrics.accuracy_score(true, predicted)
    assert found["error_rate"]["value"] == pytest.approx(sklearn_metrics.zero_one_loss(true, predicted), abs=1e-12)
    assert found["confusion_matrix"] == sklearn_metrics.confusion_matrix(true, predicted, labels=classes).tolist()
    balanced = quiet(sklearn_metrics.balanced_accuracy_score, true, predicted)
    assert found["balanced_accuracy"]["value"] == undefined_or(balanced)
    assert found["matthews_correlation"]["value"] == undefined_or(
        quiet(sklearn_metrics.matthews_corrcoef, true, predicted)
    )

    options = {"labels": classes, "zero_division": np.nan}
    for name, metric in [
        ("precision", sklearn_metrics.precision_score),
        ("sensitivity", sklearn_metrics.recall_score),
        ("f1", sklearn_metrics.f1_score),
    ]:
        for entry, expected in zip(
            found["per_class"].values(), metric(true, predicted, average=None, **options), strict=True
        ):
            assert entry[name]["value"] == undefined_or(expected)
        assert found["macro"][name]["value"] == undefined_or(metric(true, predicted, average="macro", **options))
    specificities = [sklearn_metrics.recall_score(true != c, predicted != c, zero_division=np.nan) for c in classes]
    for entry, expected in zip(found["per_class"].values(), specificities, strict=True):
        assert entry["specificity"]["value"] == undefined_or(expected)
    assert found["macro"]["specificity"]["value"] == undefined_or(np.nanmean(specificities))
    assert [entry["support"]["value"] for entry in found["per_class"].values()] == [(true == c).sum() for c in classes]


@pytest.mark.slow
@settings(deadline=None)
@given(classified())
def test_auc_and_average_precision_equal_scikit_learns(data):
    logits, labels = data
    found = measure(logits, labels)
    probabilities = logits.double().softmax(dim=1).numpy()
    areas, precisions = [], []
    for c, entry in enumerate(found["per_class"].values()):
        is_class = labels.numpy() == c
        area = quiet(sklearn_metrics.roc_auc_score, is_class, probabilities[:, c])
        precision = quiet(sklearn_metrics.average_precision_score, is_class, probabilities[:, c])
        areas.append(area)
        precisions.append(precision if is_class.any() else np.nan)
        assert entry["auc"]["value"] == undefined_or(area)
        assert entry["average_precision"]["value"] == undefined_or(precisions[-1])
    assert found["auc"]["value"] == undefined_or(np.nan if np.isnan(areas).all() else np.nanmean(areas))
    assert found["average_precision"]["value"] == undefined_or(np.nanmean(precisions))


@pytest.mark.parametrize("classes", [3, 6])
def test_macro_auc_is_scikit_learns_one_vs_rest(classes):
    logits, labels = guesses(200, classes)
    expected = sklearn_metrics.roc_auc_score(labels, logits.double().softmax(dim=1), multi_class="ovr", average="macro")
    assert measure(logits, labels)["auc"]["value"] == pytest.approx(expected, rel=1e-12)


@pytest.mark.slow
@settings(deadline=None)
@given(classified())
def test_losses_equal_scipys_and_scikit_learns(data):
    logits, labels = data
    found = measure(logits, labels)
    true, classes = labels.numpy(), range(logits.shape[1])
    log_probabilities = log_softmax(logits.double().numpy(), axis=1)
    assert found["log_loss"]["value"] == pytest.approx(-log_probabilities[np.arange(len(true)), true].mean(), rel=1e-9)
    assert found["log_loss"]["value"] == pytest.approx(metrics.evaluate(logits, labels)["loss"], rel=1e-9)

    probabilities = logits.double().softmax(dim=1).numpy()
    if len(classes) == 2:
        brier = sklearn_metrics.brier_score_loss(true, probabilities[:, 1], pos_label=1, labels=classes)
    else:
        brier = sklearn_metrics.brier_score_loss(true, probabilities, labels=classes)
    assert found["brier"]["value"] == pytest.approx(brier, rel=1e-9, abs=1e-12)
    if logits.abs().max() < 30:
        sklearns = sklearn_metrics.log_loss(true, probabilities, labels=classes)
        assert found["log_loss"]["value"] == pytest.approx(sklearns, rel=1e-9)


def test_losses_of_extreme_logits_are_finite():
    found = measure(torch.tensor([[-HUGE, HUGE], [HUGE, -HUGE]]), [0, 0])
    assert found["log_loss"]["value"] == pytest.approx(float(HUGE), rel=1e-6)
    assert found["brier"]["value"] == 0.5
    assert np.isfinite(found["log_loss"]["interval"]).all()


@pytest.mark.slow
@settings(deadline=None)
@given(classified())
def test_the_calibration_error_is_guos(data):
    logits, labels = data
    confidence, predicted = logits.double().softmax(dim=1).max(dim=1)
    confidence, right = confidence.numpy(), (predicted == labels).numpy()
    edges = np.linspace(0, 1, 16)
    expected = 0
    for low, high in pairwise(edges):
        inside = (confidence > low) & (confidence <= high)
        if inside.any():
            expected += inside.mean() * abs(right[inside].mean() - confidence[inside].mean())
    assert measure(logits, labels)["expected_calibration_error"]["value"] == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("classes", [2, 5])
def test_the_calibration_error_is_that_of_torchmetrics(classes):
    logits, labels = guesses(500, classes)
    expected = multiclass_calibration_error(logits.double().softmax(dim=1), labels, num_classes=classes, n_bins=15)
    assert measure(logits, labels)["expected_calibration_error"]["value"] == pytest.approx(expected.item(), rel=1e-6)


@pytest.mark.slow
@settings(deadline=None)
@given(classified(classes=st.integers(3, 7)))
def test_top_k_counts_tied_logits_as_predictions_do(data):
    logits, labels = data
    found = values(measure(logits, labels)["top_k"])
    assert list(found) == [str(k) for k in (2, 3, 5) if k < logits.shape[1]]
    rows = logits.tolist()
    for k, value in found.items():
        hits = 0
        for row, label in zip(rows, labels.tolist(), strict=True):
            hits += sorted(range(len(row)), key=lambda c: -row[c]).index(label) < int(k)  # sorted keeps ties in order
        assert value == hits / len(rows)


def test_top_k_equals_scikit_learns():
    logits, labels = guesses(300, 8)
    for k, value in values(measure(logits, labels)["top_k"]).items():
        assert value == sklearn_metrics.top_k_accuracy_score(labels, logits, k=int(k))


@pytest.mark.slow
@settings(deadline=None)
@given(classified())
def test_a_report_is_complete_and_every_interval_holds_its_value(data):
    logits, labels = data
    found = measure(logits, labels)
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    assert set(found) == MEASURED | {"macro", "top_k", "per_class", "confusion_matrix", "warnings"}
    assert set(found["macro"]) == {"precision", "sensitivity", "specificity", "f1"}
    assert list(found["per_class"]) == names_of(logits)
    assert all(set(entry) == PER_CLASS for entry in found["per_class"].values())
    for entry in entries(found):
        value, interval = entry["value"], entry["interval"]
        assert type(value) in (float, int, type(None))
        if value is None:
            assert interval is None
        elif type(value) is float:
            assert interval[0] - 1e-12 <= value <= interval[1] + 1e-12


@pytest.mark.slow
@settings(deadline=None)
@given(classified())
def test_what_is_undefined_is_said(data):
    logits, labels = data
    found = measure(logits, labels)
    said = "\n".join(found["warnings"])
    predicted = logits.argmax(dim=1)
    undefined = False
    for c, name in enumerate(found["per_class"]):
        present, answered = bool((labels == c).any()), bool((predicted == c).any())
        assert (found["per_class"][name]["sensitivity"]["value"] is None) == (not present)
        assert (found["per_class"][name]["precision"]["value"] is None) == (not answered)
        undefined |= not (present and answered)
        if not present or not answered or bool((labels == c).all()):
            assert repr(name) in said
    assert ("undefined" in said) == (undefined or len(set(labels.tolist())) == 1 or len(set(predicted.tolist())) == 1)


def test_warnings_name_the_class_and_what_it_lacks():
    logits = torch.tensor([[5.0, 0, 0, 0], [4, 1, 0, 0], [0, 0, 0, 3], [1, 0, 0, 9]])
    absent, unpredicted, *rest = measure(logits, [0, 1, 3, 3], resamples=200)["warnings"]
    assert absent.startswith("No sample of 'class 2': sensitivity, AUC and average precision")
    assert unpredicted.startswith("Never predicted: 'class 1', 'class 2'; precision is undefined")
    assert not [line for line in rest if "undefined" in line]

    alone = measure(logits[:2], [0, 0])["warnings"]
    assert "Every sample is of 'class 0': its specificity and AUC are undefined" in alone
    constant = measure(torch.tensor([[1.0, 0]] * 4), [0, 1, 1, 0])["warnings"]
    for lines in (alone, constant):
        assert any(line.startswith("Matthews correlation is undefined, and taken as 0") for line in lines)


def test_an_interval_without_width_is_said():
    logits, labels = guesses(50, 3, skill=50)
    found = measure(logits, labels, resamples=200)
    [line] = found["warnings"]
    # accuracy and error_rate come first, but Wilson's intervals have a width
    assert line.startswith("Every resample gives the same balanced_accuracy, matthews_correlation, log_loss and ")
    entries = [*found.values(), *found["macro"].values(), *(e for c in found["per_class"].values() for e in c.values())]
    intervals = [entry["interval"] for entry in entries if isinstance(entry, dict) and entry.get("interval")]
    flat = [interval for interval in intervals if math.isclose(*interval, rel_tol=1e-9)]
    assert f" and {len(flat) - 3} others: an interval without width understates the uncertainty" in line
    assert measure(*guesses(100, 3), resamples=200)["warnings"] == []


def test_a_class_may_be_named_like_a_key():
    logits, labels = guesses(60, 3)
    names = ["interval", "value", "macro"]
    found = metrics.report(logits, labels, names, resamples=50)
    assert list(found["per_class"]) == names
    plain = measure(logits, labels, resamples=50)
    assert list(found["per_class"].values()) == list(plain["per_class"].values())
    assert found["warnings"] == plain["warnings"]


@pytest.mark.slow
@settings(deadline=None)
@given(classified(classes=st.just(2)), st.sampled_from([0, 1]))
def test_the_positive_class_is_chosen_by_name(data, chosen):
    logits, labels = data
    name = f"class {chosen}"
    found = measure(logits, labels, positive=name)
    keys = {"macro", "top_k", "per_class", "confusion_matrix", "warnings", "positive"}
    assert set(found) == MEASURED | (PER_CLASS - {"support"}) | keys
    assert found["positive"] == name
    for metric in PER_CLASS - {"support"}:
        assert found[metric] == found["per_class"][name][metric]
    true, predicted = labels.numpy(), logits.argmax(dim=1).numpy()
    options = {"pos_label": chosen, "zero_division": np.nan}
    recall = sklearn_metrics.recall_score(true == chosen, predicted == chosen, zero_division=np.nan)
    assert found["sensitivity"]["value"] == undefined_or(recall)
    other = quiet(sklearn_metrics.recall_score, true == 1 - chosen, predicted == 1 - chosen, zero_division=np.nan)
    assert found["specificity"]["value"] == undefined_or(other)
    if set(true) == {0, 1}:
        assert found["precision"]["value"] == undefined_or(sklearn_metrics.precision_score(true, predicted, **options))
        assert found["f1"]["value"] == undefined_or(sklearn_metrics.f1_score(true, predicted, **options))


def test_without_a_positive_class_two_are_like_many():
    found = measure(*guesses(60, 2))
    assert "sensitivity" not in found
    assert "positive" not in found
    assert found["top_k"] == {}


@pytest.mark.parametrize(
    ("classes", "positive", "message"),
    [
        (2, "cat", "Unknown positive class 'cat'; choose one of 'class 0', 'class 1'"),
        (3, "class 1", "Positive class 'class 1' needs two classes, but there are 'class 0', 'class 1', 'class 2'"),
    ],
)
def test_a_positive_class_that_is_not_one_of_two_is_refused(classes, positive, message):
    with pytest.raises(InputError, match=message):
        measure(*guesses(10, classes), positive=positive)


def test_the_seed_decides():
    logits, labels = guesses(80, 3)
    assert measure(logits, labels, seed=1) == measure(logits, labels, seed=1)
    first, second = measure(logits, labels, seed=1), measure(logits, labels, seed=2)
    assert values(first["macro"]) == values(second["macro"])
    for name in ("auc", "log_loss", "expected_calibration_error", "matthews_correlation"):
        assert first[name]["interval"] != second[name]["interval"]


def test_measuring_leaves_the_random_generators_alone():
    logits, labels = guesses(30, 3)
    torch.manual_seed(0)
    np.random.seed(0)
    expected = torch.rand(3), np.random.rand(3)
    torch.manual_seed(0)
    np.random.seed(0)
    measure(logits, labels)
    assert torch.equal(torch.rand(3), expected[0])
    assert (np.random.rand(3) == expected[1]).all()


def test_without_resamples_only_wilsons_intervals_are_left():
    logits, labels = guesses(80, 3)
    found, full = measure(logits, labels, resamples=0), measure(logits, labels)
    for name in ("accuracy", "error_rate"):
        assert found[name] == full[name]
    for name in MEASURED - {"accuracy", "error_rate"}:
        assert found[name] == {"value": full[name]["value"], "interval": None}
    assert found["warnings"] == []


def test_proportions_have_wilsons_interval():
    logits, labels = guesses(90, 4)
    found = measure(logits, labels)
    matrix = np.array(found["confusion_matrix"])
    right, samples = matrix.trace(), matrix.sum()
    assert found["accuracy"]["interval"] == list(metrics.wilson_interval(right, samples))
    assert found["error_rate"]["interval"] == list(metrics.wilson_interval(samples - right, samples))
    for k, entry in found["top_k"].items():
        hits = sklearn_metrics.top_k_accuracy_score(labels, logits, k=int(k), normalize=False)
        assert entry["interval"] == list(metrics.wilson_interval(int(hits), samples))
    for c, entry in enumerate(found["per_class"].values()):
        true, predicted = matrix[c].sum(), matrix[:, c].sum()
        rest_right = samples - true - predicted + matrix[c, c]
        assert entry["sensitivity"]["interval"] == list(metrics.wilson_interval(matrix[c, c], true))
        assert entry["precision"]["interval"] == list(metrics.wilson_interval(matrix[c, c], predicted))
        assert entry["specificity"]["interval"] == list(metrics.wilson_interval(rest_right, samples - true))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_logits_of_any_precision_are_measured(dtype):
    logits, labels = guesses(40, 3)
    rounded = logits.to(dtype).requires_grad_()
    assert measure(rounded, labels) == measure(rounded.detach().double(), labels.tolist())
