"""An evaluation by evaluate.py: a checkpoint on one part of a data set, measured once, and its report."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from going_modular import (
    checkpoint,
    cli,
    data_setup,
    evaluation_report,
    features,
    leaks,
    metrics,
    model_builder,
    report_html,
    runs,
    uncertainty,
)
from going_modular.errors import InputError
from going_modular.image_folder import ImageFolder

if TYPE_CHECKING:
    from going_modular.evaluate import Settings


@dataclass(frozen=True)
class Subject:
    """What is evaluated: a model, and the images, labelled as the model counts its classes."""

    settings: "Settings"
    file: Path
    loaded: checkpoint.Checkpoint
    other: checkpoint.Checkpoint | None
    splits: data_setup.Splits
    dataset: ImageFolder

    @cached_property
    def output(self) -> Path:
        """The folder to write into, made when there is something to write."""
        folder = self.settings.output or self.file.parent / "evaluation"
        folder.mkdir(parents=True, exist_ok=True)
        return folder


@dataclass(frozen=True)
class Report:
    """The numbers, and the logits (N, C) they are of."""

    content: dict
    logits: torch.Tensor
    labels: torch.Tensor


def prepare(settings: "Settings") -> Subject:
    """Open checkpoints and data; nothing is written.

    Raises:
        InputError: they cannot be used, or do not go together.
    """
    file = settings.checkpoint or runs.newest_checkpoint()
    cli.check_writable(settings.output or file.parent)
    device = cli.choose_device(settings.device)
    loaded = checkpoint.load(file, weights=settings.weights, device=device)
    names = loaded.class_names
    if settings.positive is not None and (len(names) != 2 or settings.positive not in names):
        wanted = f"one of {', '.join(names)}" if len(names) == 2 else "a model of two classes"
        raise InputError(f"--positive {settings.positive!r} needs {wanted}; this one knows {', '.join(names)}")
    other = None
    if settings.against is not None:
        other = checkpoint.load(settings.against, device=device)
        if sorted(other.class_names) != sorted(names):
            raise InputError(
                f"--against {str(settings.against)!r} knows {', '.join(other.class_names)}, not {', '.join(names)}"
            )
    splits = data_setup.load_splits(settings.data, seed=settings.seed)
    dataset = splits.train if settings.split == "train" else splits.test
    return Subject(settings, file, loaded, other, splits, relabel(dataset, names))


def relabel(dataset: ImageFolder, class_names: list[str]) -> ImageFolder:
    """Return the images with the labels of a model; its classes may stand in another order, or lack images.

    Raises:
        InputError: the data has a class that the model does not know.
    """
    if unknown := sorted(set(dataset.classes) - set(class_names)):
        raise InputError(
            f"Data {str(dataset.root)!r} has the class {', '.join(unknown)}, which the model does not know: "
            f"it knows {', '.join(class_names)}"
        )
    renamed = dataset.subset(range(len(dataset)))
    renamed.classes = list(class_names)
    renamed.class_to_idx = {name: label for label, name in enumerate(class_names)}
    renamed.samples = renamed.imgs = [(path, class_names.index(dataset.classes[old])) for path, old in dataset.samples]
    renamed.targets = [label for _, label in renamed.samples]
    return renamed


def measure(subject: Subject) -> Report:
    """Run the model over the images once and measure what comes out.

    Raises:
        InputError: unreadable images; all are named.
    """
    settings, names = subject.settings, subject.loaded.class_names
    logits = _logits(subject.loaded, subject.dataset)
    labels = torch.tensor(subject.dataset.targets)
    content = {
        "checkpoint": str(subject.file),
        "model": subject.loaded.model_name,
        "data": subject.splits.name,
        "split": settings.split,
        "n": len(labels),
        "class_names": names,
        "positive": settings.positive,
    }
    content |= metrics.report(logits, labels, names, positive=settings.positive, seed=settings.seed)
    if subject.other is not None:
        theirs = _logits(subject.other, subject.dataset)
        order = [subject.other.class_names.index(name) for name in names]
        predicted = (logits.argmax(dim=1), theirs[:, order].argmax(dim=1))
        content["against"] = {"checkpoint": str(settings.against), **uncertainty.mcnemar(labels, *predicted)}
    parts = (subject.splits.train, subject.splits.test)
    found = leaks.find(*([Path(path) for path, _ in part.samples] for part in parts))
    content["in_both_splits"] = [
        {"train": str(leak.train), "test": str(leak.test), "kind": leak.kind} for leak in found
    ]
    return Report(content, logits, labels)


def write(subject: Subject, report: Report) -> None:
    """Write report.json, the figures as PNG, and report.html, which holds them all."""
    pictures = evaluation_report.pictures(subject, report)
    for name, picture in pictures.items():
        runs.write_bytes(subject.output / f"{name}.png", picture.png)
    page = report_html.render(
        f"How good is {subject.loaded.model_name} on {subject.splits.name}?",
        evaluation_report.facts(subject, report),
        evaluation_report.warnings_of(report),
        [*evaluation_report.tables(report), *pictures.values()],
    )
    runs.write_bytes(subject.output / "report.html", page.encode("utf-8"))
    runs.write_json(subject.output / "report.json", report.content)


def summarize(subject: Subject, report: Report) -> None:
    """Print the most asked numbers and where the rest is."""
    content = report.content
    for name in ("accuracy", "balanced_accuracy", "matthews_correlation", "auc", "expected_calibration_error"):
        print(f"{name.replace('_', ' '):28} {report_html.shown(content[name])}")
    if against := content.get("against"):
        print(evaluation_report.comparison(against))
    for warning in evaluation_report.warnings_of(report):
        print(f"Warning: {warning}")
    print(f"Wrote: {subject.output / 'report.html'}, report.json and the figures beside it")


def _logits(loaded: checkpoint.Checkpoint, dataset: ImageFolder) -> torch.Tensor:
    """Return the logits (N, C) of images, in the precision that the head was trained in."""
    part = dataset.subset(range(len(dataset)))
    part.transform = loaded.transform
    device = next(loaded.model.parameters()).device
    values, _ = features.extract(loaded.model, part, device=device, precision=loaded.precision).tensors
    return model_builder.logits(loaded.model, values)
