"""Proof that an exported model answers as the checkpoint does, on real images, before anybody gets it."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from going_modular import features
from going_modular.common.device import wished_precision
from going_modular.common.errors import InputError
from going_modular.common.progress import bar
from going_modular.data.image_folder import ImageFolder
from going_modular.evaluation.uncertainty import wilson_interval
from going_modular.saving.checkpoint import Checkpoint
from going_modular.serving.predict_onnx import Classifier

MOST_IMAGES = 2000  # that are run through both, evenly spread over the data
BATCH = 16
TOLERANCE = 1e-4  # of the largest answer, and at least of 1: float32 adds up in another order
MANY = 100  # images; more get a progress bar


@dataclass(frozen=True)
class Proof:
    """What N images gave, and how far the answers lie from torch's."""

    labels: np.ndarray  # (N,)
    predicted: np.ndarray  # (N,)
    expected: np.ndarray  # (N,), torch's
    difference: float  # the largest of an answer
    largest: float  # answer of torch's, in absolute value

    def numbers(self) -> dict[str, object]:
        """Return what a report says of it."""
        right = int((self.predicted == self.labels).sum())
        return {
            "n": len(self.labels),
            "accuracy": right / len(self.labels),
            "accuracy_interval": list(wilson_interval(right, len(self.labels))),
            "same_class_as_torch": int((self.predicted == self.expected).sum()),
            "largest_difference": self.difference,
            "largest_answer": self.largest,
        }

    def sentence(self) -> str:
        """Say how good it is."""
        numbers = self.numbers()
        low, high = numbers["accuracy_interval"]
        return f"{numbers['accuracy']:.3f} (95% interval {low:.3f} to {high:.3f}, {numbers['n']} images)"


def thinned(images: ImageFolder, most: int) -> ImageFolder:
    """Return at most so many images, evenly spread over all: of each class its share."""
    chosen = np.linspace(0, len(images) - 1, min(most, len(images))).round().astype(int)
    return images.subset(chosen.tolist())


def torchs_answers(loaded: Checkpoint, images: ImageFolder, precision: str, *, probabilities: bool) -> np.ndarray:
    """Return the answers (N, C) that torch gives images, as predict.py gets them.

    Raises:
        InputError: they are not finite, or an image cannot be read.
    """
    seen = images.with_transform(loaded.transform)
    logits = features.logits(loaded.model, seen, precision=wished_precision(precision, "cpu"))
    if not logits.isfinite().all():
        raise InputError("The model's answers are not finite: its weights are damaged; train again")
    return (logits.softmax(dim=1) if probabilities else logits).numpy()


def prove(classifier: Classifier, images: ImageFolder, expected: np.ndarray) -> Proof:
    """Run an exported model over image files, batches of several sizes, and hold its answers against torch's.

    Args:
        classifier: the exported model, which reads the files in its own way.
        images: N, labelled as the model counts its classes.
        expected: (N, C), torch's answers.
    """
    answers = answers_of(classifier, [path for path, _ in images.samples])
    return Proof(
        np.asarray(images.targets),
        answers.argmax(axis=1),
        expected.argmax(axis=1),
        float(np.abs(answers - expected).max()),
        float(np.abs(expected).max()),
    )


def check(proof: Proof) -> None:
    """Raise where the answers are not torch's.

    Raises:
        InputError: says how far off they are.
    """
    if not proof.difference <= TOLERANCE * max(proof.largest, 1):  # NaN is refused, too
        raise InputError(
            f"The exported model's answers differ from torch's by up to {proof.difference:.2g}, of answers up to "
            f"{proof.largest:.2g}: it is not written; choose another model, or update torch and onnxscript"
        )


def answers_of(classifier: Classifier, paths: Sequence[str]) -> np.ndarray:
    """Return the answers (N, C) that an exported model gives image files, in batches of which the last may be short."""
    answers = []
    with bar(total=len(paths), desc="ONNX", unit="image", disable=len(paths) <= MANY) as shown:
        for start in range(0, len(paths), BATCH):
            part = paths[start : start + BATCH]
            answers.append(classifier.answer(np.stack([classifier.see(path) for path in part])))
            shown.update(len(part))
    return np.concatenate(answers)
