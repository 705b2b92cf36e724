"""Which images an evaluation measures: never one that the model was trained on without saying so."""

from collections import Counter
from dataclasses import dataclass, replace

import numpy as np
import torch

from going_modular.common.errors import InputError
from going_modular.data import provenance
from going_modular.data.image_folder import ImageFolder
from going_modular.data.provenance import Provenance
from going_modular.data.splits import Splits
from going_modular.evaluation.uncertainty import wilson_interval

SPLITS = ("test", "train", "all")


@dataclass(frozen=True)
class Selection:
    """The images to measure."""

    images: ImageFolder  # N
    is_seen: np.ndarray  # (N,) of bool: the model was trained on it, or chosen by it
    sentence: str  # which images these are, with their number


def is_own(splits: Splits, trained_on: Provenance | None) -> bool:
    """Tell whether this is the data that a model's run had: half of the run's test images, at least, are there."""
    if trained_on is None or "test" not in trained_on.digests:
        return False
    wanted = np.unique(trained_on.digests["test"])
    return np.isin(wanted, provenance.digest(_everything(splits))).sum() >= max(len(wanted) / 2, 1)


def with_note_on_corrections(splits: Splits, trained_on: Provenance) -> Splits:
    """Return the run's own data with a line more to print, where it is corrected otherwise than for training."""
    before, now = trained_on.rule.corrections, splits.rule.corrections
    if before == now:
        return splits
    if now is None:
        note = f"the model was trained with some ({before}), none are made here; name their file with --corrections"
    else:
        note = f"the model was trained with {f'others ({before})' if before else 'none'}"
    return replace(splits, notes=(*splits.notes, f"Corrections: {note}"))


def select(splits: Splits, trained_on: Provenance | None, split: str) -> Selection:
    """Choose the images to measure.

    Args:
        splits: the data; where it is the run's own, split by the run's rule.
        trained_on: what the checkpoint says of its training; None where it does not.
        split: `test`: on the run's own data its test images, wherever they lie and whatever they are called now, on
            other data the test part; `train`: the training images; `all`: every image of the data.

    Raises:
        InputError: there is nothing to measure, or of a test nothing that the model has not seen.
    """
    if trained_on is None:
        part = {"test": splits.test, "train": splits.train, "all": _everything(splits)}[split]
        note = "whether it was trained on them the checkpoint does not say, as it is an older one"
        return Selection(part, np.zeros(len(part), dtype=bool), f"{len(part)} {_named(split)} images; {note}")
    own = is_own(splits, trained_on)
    images = _own_part(splits, trained_on, split) if own and split != "all" else None
    if images is None:
        images = {"test": splits.test, "train": splits.train, "all": _everything(splits)}[split]
    if not len(images):
        raise InputError(f"Data {splits.name!r} has no {split} image of this model; see --split")
    is_seen = trained_on.has_seen(provenance.digest(images))
    if split == "test" and is_seen.all():
        raise InputError(
            f"All {len(images)} test images of {splits.name!r} were seen in training: a test on them measures memory; "
            "name other data, or measure them as what they are with --split all"
        )
    return Selection(images, is_seen, _sentence(splits, trained_on, split, len(images), own=own))


def seen_and_unseen(selection: Selection, logits: torch.Tensor, labels: torch.Tensor) -> dict[str, object]:
    """Return what a report says of images that the model has seen among those measured.

    Args:
        selection: N images.
        logits: (N, C), of these.
        labels: (N,).

    Returns:
        `seen_in_training`: their paths; where there are any, and others, `accuracy_unseen`: the accuracy of the others,
        as `metrics.report` gives it.
    """
    seen = [selection.images.samples[i][0] for i in np.flatnonzero(selection.is_seen)]
    if not seen or len(seen) == len(labels):
        return {"seen_in_training": seen}
    right = (logits.argmax(dim=1) == labels).numpy()[~selection.is_seen]
    interval = list(wilson_interval(int(right.sum()), len(right)))
    return {"seen_in_training": seen, "accuracy_unseen": {"value": float(right.mean()), "interval": interval}}


def _own_part(splits: Splits, trained_on: Provenance, split: str) -> ImageFolder:
    """Return the images that stood in a part of the run, by the rule where it still fits, else by their contents."""
    by_rule = splits.test if split == "test" else splits.train
    if Counter(provenance.digest(by_rule).tolist()) == Counter(trained_on.digests[split].tolist()):
        return by_rule
    everything = _everything(splits)
    return everything.subset(np.flatnonzero(_stood_in(splits, trained_on) == split))


def _sentence(splits: Splits, trained_on: Provenance, split: str, count: int, *, own: bool) -> str:
    """Say which images are measured, and which of the data's are not."""
    if not own or split == "all":
        return f"{count} {_named(split)} images" + ("" if own else " of data that the run did not have")
    whole = len(trained_on.digests[split])
    sentence = f"{count} {_named(split)} images of the run"
    if count < whole:
        sentence = f"{count} of the {whole} {_named(split)} images of the run; the others are not there"
    if unknown := int((_stood_in(splits, trained_on) == "").sum()):
        sentence += f"; {unknown} others were not there when it was trained, and are left out (--split all takes them)"
    return sentence


def _stood_in(splits: Splits, trained_on: Provenance) -> np.ndarray:
    return trained_on.parts_of(provenance.digest(_everything(splits)))


def _everything(splits: Splits) -> ImageFolder:
    """Return the images of all parts in one."""
    parts = [part for part in (splits.train, splits.validation, splits.test) if part is not None]
    return parts[0].joined_with(*parts[1:])


def _named(split: str) -> str:
    return {"test": "test", "train": "training", "all": "training, validation and test"}[split]
