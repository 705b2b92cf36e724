"""From logits to metrics and their uncertainty."""

from collections import Counter
from collections.abc import Sequence

import torch
from scipy.stats import binomtest
from sklearn.metrics import accuracy_score, confusion_matrix
from torch.nn import functional as F


def evaluate(logits: torch.Tensor, labels: Sequence[int] | torch.Tensor) -> dict[str, object]:
    """Measure a classifier on labelled samples.

    Args:
        logits: (N, C), any real values, on the CPU.
        labels: N integers from 0 to C - 1.

    Returns:
        `loss`: the mean cross-entropy in nats; `accuracy`: in [0, 1]; `accuracy_interval`: its 95% Wilson interval;
        `confusion_matrix`: C rows, the true class, of C counts, the predicted class.
    """
    classes = list(range(logits.shape[1]))
    labels = torch.as_tensor(labels)
    true, predicted = labels.numpy(), logits.argmax(dim=1).numpy()
    correct = int((true == predicted).sum())
    return {
        "loss": F.cross_entropy(logits.double(), labels).item(),
        "accuracy": float(accuracy_score(true, predicted)),
        "accuracy_interval": list(wilson_interval(correct, len(true))),
        "confusion_matrix": confusion_matrix(true, predicted, labels=classes).tolist(),
    }


def wilson_interval(successes: int, trials: int, *, confidence: float = 0.95) -> tuple[float, float]:
    """Return the Wilson score interval of a proportion, as (low, high) in [0, 1].

    Unlike the textbook p +/- 1.96 standard errors it stays within [0, 1] and holds for small samples and for 0 or all
    successes (Wilson, 1927, https://doi.org/10.1080/01621459.1927.10502953).
    """
    interval = binomtest(successes, trials).proportion_ci(confidence_level=confidence, method="wilson")
    return float(interval.low), float(interval.high)


def majority_baseline(train_labels: Sequence[int], test_labels: Sequence[int]) -> float:
    """Return the test accuracy, in [0, 1], of always answering the training split's most frequent class."""
    [(label, _)] = Counter(train_labels).most_common(1)
    return list(test_labels).count(label) / len(test_labels)
