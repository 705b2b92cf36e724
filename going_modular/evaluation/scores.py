"""Logits and labels, checked, in the forms that metrics and curves need."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch

from going_modular.common.errors import InputError

BINS = 15  # of the top probability; as in Guo et al., 2017, https://arxiv.org/abs/1706.04599


@dataclass(frozen=True)
class Scores:
    """What a classifier says of N labelled samples, C classes; everything in float64."""

    true: np.ndarray  # (N,), 0 to C - 1
    predicted: np.ndarray  # (N,), the first of tied logits
    logits: np.ndarray  # (N, C)
    probabilities: np.ndarray  # (N, C), rows sum to 1
    log_probabilities: np.ndarray  # (N, C), nats; finite where a probability is too small for a float

    @cached_property
    def right(self) -> np.ndarray:
        """(N,), whether the prediction is the true class."""
        return self.true == self.predicted

    @cached_property
    def confidence(self) -> np.ndarray:
        """(N,), the top probability."""
        return self.probabilities.max(axis=1)

    @cached_property
    def confidence_bin(self) -> np.ndarray:
        """(N,), which of `BINS` bins of equal width holds the confidence: an edge belongs to the bin below it."""
        return np.searchsorted(bin_edges()[1:-1], self.confidence)

    @cached_property
    def log_losses(self) -> np.ndarray:
        """(N,), cross-entropy in nats."""
        return -self.log_probabilities[np.arange(len(self.true)), self.true]

    @cached_property
    def brier_scores(self) -> np.ndarray:
        """(N,), squared errors, summed over the classes: in [0, 2]; of two classes, which err alike, one: in [0, 1].

        For both, as scikit-learn does (Brier, 1950).
        """
        classes = self.probabilities.shape[1]
        errors = ((self.probabilities - np.eye(classes)[self.true]) ** 2).sum(axis=1)
        return errors / 2 if classes == 2 else errors

    @cached_property
    def calibration_gaps(self) -> np.ndarray:
        """(N, BINS), confidence less 1 if right, 0 if wrong, in the column of the sample's bin; 0 elsewhere.

        The sum of the columns' absolute means is the expected calibration error.
        """
        gaps = np.zeros((len(self.true), BINS))
        gaps[np.arange(len(gaps)), self.confidence_bin] = self.confidence - self.right
        return gaps


def from_logits(
    logits: torch.Tensor, labels: Sequence[int] | torch.Tensor, class_names: Sequence[str] | None = None
) -> Scores:
    """Check logits and labels and compute what metrics share.

    Args:
        logits: (N, C), finite, on the CPU, of any floating type.
        labels: N integers from 0 to C - 1.
        class_names: C different names, where they are used.

    Raises:
        InputError: no sample, fewer than two classes, lengths that differ, a label out of range, names that are the
            same, NaN or infinite logits.
    """
    labels, classes = torch.as_tensor(labels), logits.shape[1]
    if len(logits) != len(labels):
        raise InputError(f"{len(logits)} rows of logits, but {len(labels)} labels; give a label a row")
    if len(labels) == 0:
        raise InputError("No sample to measure; give at least one")
    if classes < 2:
        raise InputError(f"Logits of {classes} class cannot be measured; give at least two")
    if class_names is not None and not len(class_names) == len(set(class_names)) == classes:
        raise InputError(f"{classes} logits a row do not fit class names {list(class_names)}; give each its own name")
    outside = labels[(labels < 0) | (labels >= classes)]
    if len(outside):
        raise InputError(f"Label {outside[0].item()} is out of range; give labels from 0 to {classes - 1}")
    broken = int((~logits.isfinite()).any(dim=1).sum())
    if broken:
        raise InputError(f"Logits of {broken} samples are NaN or infinite; train with a smaller learning rate")
    wide = logits.detach().double()
    return Scores(
        true=labels.numpy(),
        predicted=wide.argmax(dim=1).numpy(),
        logits=wide.numpy(),
        probabilities=wide.softmax(dim=1).numpy(),
        log_probabilities=wide.log_softmax(dim=1).numpy(),
    )


def positive_index(positive: str, class_names: Sequence[str]) -> int:
    """Return which of two classes is the positive one.

    Raises:
        InputError: there are not two classes, or none has that name.
    """
    names = ", ".join(map(repr, class_names))
    if len(class_names) != 2:
        raise InputError(f"Positive class {positive!r} needs two classes, but there are {names}; leave it out")
    if positive not in class_names:
        raise InputError(f"Unknown positive class {positive!r}; choose one of {names}")
    return list(class_names).index(positive)


def bin_edges() -> np.ndarray:
    """Return the BINS + 1 edges of the confidence bins, from 0 to 1."""
    return np.linspace(0, 1, BINS + 1)


def ratio(numerator: np.ndarray, denominator: np.ndarray) -> np.ndarray:
    """Divide; NaN where the denominator is 0."""
    return np.divide(numerator, denominator, out=np.full(np.shape(numerator), np.nan), where=denominator != 0)


def mean_defined(values: np.ndarray) -> np.ndarray:
    """Return the mean over the last axis of what is not NaN; NaN where nothing is left."""
    defined = ~np.isnan(values)
    return ratio(np.where(defined, values, 0).sum(axis=-1), defined.sum(axis=-1))
