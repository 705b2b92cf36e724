"""Curves over thresholds, ready to plot: ROC, precision and recall, reliability, rejection."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from going_modular.evaluation.scores import BINS, bin_edges, from_logits, positive_index, ratio


@dataclass(frozen=True)
class RocCurve:
    """Sensitivity against the false positive rate, while the threshold falls from infinity; arrays of one length."""

    false_positive_rate: np.ndarray  # 1 - specificity, from 0 to 1
    sensitivity: np.ndarray  # from 0 to 1
    thresholds: np.ndarray | None  # a sample is positive from this probability on; None for an average of curves
    auc: float


@dataclass(frozen=True)
class PrecisionRecallCurve:
    """Precision against recall, while the threshold rises; scikit-learn's last point, (0, 1), has no threshold."""

    recall: np.ndarray  # from 1 to 0
    precision: np.ndarray
    thresholds: np.ndarray  # one element less
    average_precision: float


@dataclass(frozen=True)
class Reliability:
    """How often predictions of a certain confidence are right; arrays, an element a bin of the confidence."""

    edges: np.ndarray  # one element more, from 0 to 1
    confidence: np.ndarray  # mean in the bin; NaN where it is empty
    accuracy: np.ndarray  # share of right ones; NaN where it is empty
    count: np.ndarray


@dataclass(frozen=True)
class RejectionCurve:
    """What refusing to answer below a confidence costs and gains; arrays of one length."""

    thresholds: np.ndarray  # each confidence that occurs, rising; a sample is answered from the threshold on
    coverage: np.ndarray  # share of the samples that is answered, from 1 down
    accuracy: np.ndarray  # of those answered


def roc_curves(
    logits: torch.Tensor,
    labels: Sequence[int] | torch.Tensor,
    class_names: Sequence[str],
    *,
    positive: str | None = None,
) -> tuple[dict[str, RocCurve], RocCurve | None]:
    """Return ROC curves, each class against the rest, and their macro average.

    Args:
        logits: (N, C), finite, on the CPU.
        labels: N integers from 0 to C - 1.
        class_names: C names.
        positive: of two classes the only one whose curve is wanted; there is no average then.

    Returns:
        Curves by class, without the classes that have no sample or nothing but samples; the average over them at equal
        false positive rates, whose area is the mean of theirs, or None if there are none.

    Raises:
        InputError: as `metrics.report`.
    """
    from sklearn.metrics import roc_auc_score, roc_curve

    curves = {}
    for name, is_class, score in _one_vs_rest(logits, labels, class_names, positive):
        if not is_class.all():
            area = float(roc_auc_score(is_class, score))
            curves[name] = RocCurve(*roc_curve(is_class, score), area)
    return curves, _macro(list(curves.values())) if curves and positive is None else None


def precision_recall_curves(
    logits: torch.Tensor,
    labels: Sequence[int] | torch.Tensor,
    class_names: Sequence[str],
    *,
    positive: str | None = None,
) -> dict[str, PrecisionRecallCurve]:
    """Return precision-recall curves by class, each against the rest, without the classes that have no sample.

    Args, errors: as `roc_curves`.
    """
    from sklearn.metrics import average_precision_score, precision_recall_curve

    curves = {}
    for name, is_class, score in _one_vs_rest(logits, labels, class_names, positive):
        precision, recall, thresholds = precision_recall_curve(is_class, score)
        area = float(average_precision_score(is_class, score))
        curves[name] = PrecisionRecallCurve(recall, precision, thresholds, area)
    return curves


def reliability(logits: torch.Tensor, labels: Sequence[int] | torch.Tensor) -> Reliability:
    """Return how often predictions are right, by confidence, in the bins of the expected calibration error.

    That error is the mean of `|confidence - accuracy|` over the bins, weighted by their counts.

    Args, errors: as `roc_curves`.
    """
    scores = from_logits(logits, labels)
    count = np.bincount(scores.confidence_bin, minlength=BINS)
    confidence = np.bincount(scores.confidence_bin, weights=scores.confidence, minlength=BINS)
    right = np.bincount(scores.confidence_bin, weights=scores.right, minlength=BINS)
    return Reliability(bin_edges(), ratio(confidence, count), ratio(right, count), count)


def rejection_curve(logits: torch.Tensor, labels: Sequence[int] | torch.Tensor) -> RejectionCurve:
    """Return what share is answered, and how much of that is right, if answers below a confidence are refused.

    Args, errors: as `roc_curves`.
    """
    scores = from_logits(logits, labels)
    order = np.argsort(scores.confidence)
    thresholds, first = np.unique(scores.confidence[order], return_index=True)
    answered = len(order) - first
    right = np.cumsum(scores.right[order][::-1])[answered - 1]  # among the most confident
    return RejectionCurve(thresholds, answered / len(order), right / answered)


def _one_vs_rest(
    logits: torch.Tensor, labels: Sequence[int] | torch.Tensor, class_names: Sequence[str], positive: str | None
) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    """Yield name, whether each sample is of the class, and its probability, of each class that has samples."""
    chosen = range(len(class_names)) if positive is None else [positive_index(positive, class_names)]
    scores = from_logits(logits, labels, class_names)
    for c in chosen:
        is_class = scores.true == c
        if is_class.any():
            yield class_names[c], is_class, scores.probabilities[:, c]


def _macro(curves: list[RocCurve]) -> RocCurve:
    """Average sensitivities at each false positive rate of any curve, below and above the step that may stand there."""
    rates = np.unique(np.concatenate([curve.false_positive_rate for curve in curves]))
    # np.interp takes the last of equal rates: the upper end of a step, or, from the right, the lower
    total = np.zeros((len(rates), 2))  # of a curve after the other: all of 1,000 classes would fill the memory
    for curve in curves:
        total[:, 0] += np.interp(-rates, -curve.false_positive_rate[::-1], curve.sensitivity[::-1])
        total[:, 1] += np.interp(rates, curve.false_positive_rate, curve.sensitivity)
    sensitivity = total.ravel() / len(curves)
    return RocCurve(np.repeat(rates, 2), sensitivity, None, float(np.mean([curve.auc for curve in curves])))
