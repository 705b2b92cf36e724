"""From logits to metrics and their uncertainty.

`report` returns, each as {"value": float or None, "interval": [low, high] or None}: `accuracy`, `error_rate`,
`balanced_accuracy`, `matthews_correlation`, `log_loss`, `brier`, `expected_calibration_error`, `auc`,
`average_precision`; in `macro`, averages over classes; in `top_k`, by k; in `per_class`, by name: `precision`,
`sensitivity`, `specificity`, `f1`, `auc`, `average_precision` and the count `support`. With a positive class `positive`
is its name, and its `precision`, `sensitivity`, `specificity`, `f1`, `auc` and `average_precision` stand at the top.
`confusion_matrix` has C rows, the true classes, of C counts; `warnings` are lines of text. The conventions are
scikit-learn's where it has the metric:

- Predicted is the class with the largest logit, of tied ones the first. Scores are softmax probabilities, in float64.
- A ratio with nothing to divide by is undefined, None, with a line in `warnings`: the sensitivity and AUC of a class
  without a sample, the precision of one that is never predicted. Macro averages, and so AUC at the top, are over the
  classes for which the metric is defined (`zero_division=np.nan`); balanced accuracy is macro sensitivity. The Matthews
  correlation is 0 where it is undefined.
- Log loss is in nats. Brier is the sum of squared errors over the classes, in [0, 2]; for two classes half of it, in
  [0, 1], the squared error of either class's probability. Both are means over samples.
- AUC and average precision of a class are those of its probability against all other classes.
- Expected calibration error: 15 bins of equal width over the top probability (Guo et al., 2017).
- Intervals are for 95%: Wilson's for proportions; for the rest, percentiles of bootstrap resamples, those left out in
  which the metric is undefined. `uncertainty.bootstrap_interval` says how the calibration error's differs. AUC and
  average precision of many classes and samples have fewer resamples than were asked for: see `resample_scores`.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch
from torch.nn import functional as F

from going_modular.common.seeds import DEFAULT_SEED
from going_modular.evaluation.scores import Scores, from_logits, mean_defined, positive_index, ratio
from going_modular.evaluation.uncertainty import (
    bootstrap_interval,
    resample_matrix,
    resample_scores,
    wilson_interval,
)

TOP_K = (2, 3, 5)
NO_WIDTH = 1e-9  # relative: what rounding leaves of an interval of equal values
NAMED, CLASSES = 3, 10  # metrics and classes in a warning; it counts the others


def evaluate(logits: torch.Tensor, labels: Sequence[int] | torch.Tensor) -> dict[str, object]:
    """Measure a classifier on labelled samples.

    Args:
        logits: (N, C), any real values, on the CPU.
        labels: N integers from 0 to C - 1.

    Returns:
        `loss`: the mean cross-entropy in nats; `accuracy`: in [0, 1]; `accuracy_interval`: its 95% Wilson interval;
        `confusion_matrix`: C rows, the true class, of C counts, the predicted class.
    """
    labels = torch.as_tensor(labels)
    true, predicted = labels.numpy(), logits.argmax(dim=1).numpy()
    correct = int((true == predicted).sum())
    return {
        "loss": F.cross_entropy(logits.double(), labels).item(),
        "accuracy": correct / len(true),
        "accuracy_interval": list(wilson_interval(correct, len(true))),
        "confusion_matrix": _confusion_matrix(true, predicted, logits.shape[1]).tolist(),
    }


def majority_baseline(train_labels: Sequence[int], test_labels: Sequence[int]) -> float:
    """Return the test accuracy, in [0, 1], of always answering the training split's most frequent class."""
    [(label, _)] = Counter(train_labels).most_common(1)
    return list(test_labels).count(label) / len(test_labels)


def report(
    logits: torch.Tensor,
    labels: Sequence[int] | torch.Tensor,
    class_names: Sequence[str],
    *,
    positive: str | None = None,
    resamples: int = 2000,
    seed: int = DEFAULT_SEED,
) -> dict[str, object]:
    """Measure all that a careful reader asks of a classifier, with 95% intervals, as something that JSON can hold.

    Args:
        logits: (N, C), finite, on the CPU.
        labels: N integers from 0 to C - 1.
        class_names: C names.
        positive: the name of the positive one of two classes.
        resamples: of the bootstrap; 0 leaves its intervals out.
        seed: of the resamples.

    Returns:
        What the module's docstring lists.

    Raises:
        InputError: logits, labels and names do not fit together, or `positive` is not one of two classes.
    """
    chosen = None if positive is None else positive_index(positive, class_names)
    scores = from_logits(logits, labels, class_names)
    matrix = _confusion_matrix(scores.true, scores.predicted, len(class_names))
    values = _matrix_values(scores) | _score_values(scores)
    resampled = resample_matrix(matrix, resamples=resamples, seed=seed)
    resampled |= resample_scores(scores, resamples=resamples, seed=seed)
    per_class = [_of_class(c, matrix, values, resampled) for c in range(len(class_names))]
    measures = _overall(scores, values, resampled) | {"per_class": dict(zip(class_names, per_class, strict=True))}
    if chosen is not None:
        single = {name: entry for name, entry in per_class[chosen].items() if name != "support"}
        measures |= {"positive": positive, **single}
    measures["confusion_matrix"] = matrix.tolist()
    measures["warnings"] = [*_undefined(matrix, class_names), *_without_width(measures)]
    return measures


def _confusion_matrix(true: np.ndarray, predicted: np.ndarray, classes: int) -> np.ndarray:
    """Return the counts (C, C), rows the true classes; scikit-learn's takes train.py half a second to import."""
    cells = np.bincount(true * classes + predicted, minlength=classes**2)
    return cells.reshape(classes, classes)


def _matrix_values(scores: Scores) -> dict[str, np.ndarray | float]:
    """Return the metrics of the confusion matrix: arrays (C,), NaN where undefined, and the Matthews correlation."""
    from sklearn.metrics import matthews_corrcoef, multilabel_confusion_matrix, precision_recall_fscore_support

    classes = range(scores.logits.shape[1])
    precision, sensitivity, f1, _ = precision_recall_fscore_support(
        scores.true, scores.predicted, labels=classes, zero_division=np.nan
    )
    rest = multilabel_confusion_matrix(scores.true, scores.predicted, labels=classes)[:, 0]  # (C, 2): not c, by answer
    varied = min(len(np.unique(scores.true)), len(np.unique(scores.predicted))) > 1
    return {
        "precision": precision,
        "sensitivity": sensitivity,
        "specificity": ratio(rest[:, 0], rest.sum(axis=1)),
        "f1": f1,
        "matthews_correlation": float(matthews_corrcoef(scores.true, scores.predicted)) if varied else 0.0,
    }


def _score_values(scores: Scores) -> dict[str, np.ndarray | float]:
    """Return the metrics of probabilities: one against the rest, (C,), NaN where undefined, and means over samples."""
    from sklearn.metrics import average_precision_score, roc_auc_score

    return {
        "auc": _one_vs_rest(roc_auc_score, scores, needs_rest=True),
        "average_precision": _one_vs_rest(average_precision_score, scores, needs_rest=False),
        "log_loss": float(scores.log_losses.mean()),
        "brier": float(scores.brier_scores.mean()),
        "expected_calibration_error": float(np.abs(scores.calibration_gaps.mean(axis=0)).sum()),
    }


def _one_vs_rest(metric: Callable, scores: Scores, *, needs_rest: bool) -> np.ndarray:
    values = np.full(scores.logits.shape[1], np.nan)
    for c in range(len(values)):
        is_class = scores.true == c
        if is_class.any() and not (needs_rest and is_class.all()):
            values[c] = metric(is_class, scores.probabilities[:, c])
    return values


def _of_class(c: int, matrix: np.ndarray, values: dict, resampled: dict) -> dict[str, dict]:
    right, true, predicted = matrix[c, c], matrix[c].sum(), matrix[:, c].sum()
    rest = matrix.sum() - true
    bootstrapped = {
        name: _entry(values[name][c], bootstrap_interval(values[name][c], resampled[name][:, c]))
        for name in ("f1", "auc", "average_precision")
    }
    return {
        "precision": _proportion(values["precision"][c], right, predicted),
        "sensitivity": _proportion(values["sensitivity"][c], right, true),
        "specificity": _proportion(values["specificity"][c], rest - predicted + right, rest),
        **bootstrapped,
        "support": _entry(int(true), None),
    }


def _overall(scores: Scores, values: dict, resampled: dict) -> dict[str, dict]:
    samples, correct = len(scores.true), int(scores.right.sum())
    single = {
        name: _entry(values[name], bootstrap_interval(values[name], resampled[name], biased_up="calibration" in name))
        for name in ("matthews_correlation", "log_loss", "brier", "expected_calibration_error")
    }
    macro = {}
    for name in ("precision", "sensitivity", "specificity", "f1", "auc", "average_precision"):
        value = float(mean_defined(values[name]))
        macro[name] = _entry(value, bootstrap_interval(value, mean_defined(resampled[name])))
    return {
        "accuracy": _proportion(correct / samples, correct, samples),
        "error_rate": _proportion((samples - correct) / samples, samples - correct, samples),
        "balanced_accuracy": macro["sensitivity"],
        **single,
        "auc": macro.pop("auc"),
        "average_precision": macro.pop("average_precision"),
        "macro": macro,
        "top_k": {str(k): _top_k(scores, k) for k in TOP_K if k < scores.logits.shape[1]},
    }


def _top_k(scores: Scores, k: int) -> dict[str, object]:
    from sklearn.metrics import top_k_accuracy_score

    # in reverse: of tied scores scikit-learn takes the last class, and predictions are the first
    classes = scores.logits.shape[1]
    backwards = scores.logits[:, ::-1]
    hits = int(top_k_accuracy_score(classes - 1 - scores.true, backwards, k=k, labels=range(classes), normalize=False))
    return _proportion(hits / len(scores.true), hits, len(scores.true))


def _proportion(value: float, successes: int, trials: int) -> dict[str, object]:
    return _entry(value, wilson_interval(int(successes), int(trials)) if trials else None)


def _entry(value: float, interval: tuple[float, float] | None) -> dict[str, object]:
    if isinstance(value, float):
        value = None if np.isnan(value) else float(value)
    return {"value": value, "interval": None if interval is None else list(interval)}


def _undefined(matrix: np.ndarray, class_names: Sequence[str]) -> Iterator[str]:
    """Yield a line for each reason why a metric is undefined."""
    true, predicted = matrix.sum(axis=1), matrix.sum(axis=0)
    absent = [repr(name) for name, count in zip(class_names, true, strict=True) if count == 0]
    unpredicted = [repr(name) for name, count in zip(class_names, predicted, strict=True) if count == 0]
    alone = [repr(name) for name, count in zip(class_names, true, strict=True) if count == matrix.sum()]
    if absent:
        what = "sensitivity, AUC and average precision (F1, too, if never predicted) are undefined there"
        yield f"No sample of {_first(absent)}: {what}, and averages leave them out"
    if unpredicted:
        yield f"Never predicted: {_first(unpredicted)}; precision is undefined there, and averages leave it out"
    if alone:
        yield f"Every sample is of {alone[0]}: its specificity and AUC are undefined"
    if (true > 0).sum() == 1 or (predicted > 0).sum() == 1:
        yield "Matthews correlation is undefined, and taken as 0: all samples, or all predictions, are of one class"


def _first(names: Sequence[str], most: int = CLASSES) -> str:
    """Return names in a row, the first of them where they are many."""
    others = f" and {len(names) - most} others" if len(names) > most else ""
    return ", ".join(names[:most]) + others


def _without_width(measures: dict) -> Iterator[str]:
    """Yield a line that names the intervals that say less than they seem to."""
    names = [name for name, (low, high) in _intervals(measures) if high - low <= NO_WIDTH * max(abs(low), abs(high))]
    if names:
        what = _first(names, NAMED)
        yield f"Every resample gives the same {what}: an interval without width understates the uncertainty"


def _intervals(tree: dict, path: str = "") -> Iterator[tuple[str, list[float]]]:
    for name, entry in tree.items():
        if isinstance(entry, dict) and isinstance(entry.get("interval"), list):  # a class may be named "interval"
            yield path + name, entry["interval"]
        elif isinstance(entry, dict):
            yield from _intervals(entry, f"{path}{name}.")
