"""The report of an evaluation: what it says and shows, as one HTML page, figures and JSON."""

import base64
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import jinja2
import torch
from matplotlib.figure import Figure
from PIL import Image
from torch import nn

from going_modular import plots
from going_modular.common import cli, files
from going_modular.common.errors import InputError
from going_modular.data import images, resizing
from going_modular.data.image_folder import ImageFolder
from going_modular.evaluation import curves, figures, interpret

MAX_NARROW = 3  # columns of a table that fit a phone; a row of more is shown as a list there
SHOWN = 8  # images in a grid
OVERALL = {
    "accuracy": "Accuracy",
    "error_rate": "Error rate",
    "sensitivity": "Sensitivity (recall)",
    "specificity": "Specificity",
    "precision": "Precision",
    "f1": "F1",
    "balanced_accuracy": "Balanced accuracy",
    "matthews_correlation": "Matthews correlation",
    "auc": "Area under the ROC curve",
    "average_precision": "Average precision",
    "log_loss": "Log loss (nats)",
    "brier": "Brier score",
    "expected_calibration_error": "Expected calibration error",
}
BY_CLASS = {
    "precision": "precision",
    "sensitivity": "sensitivity",
    "specificity": "specificity",
    "f1": "F1",
    "auc": "ROC area",
}


@dataclass(frozen=True)
class Subject:
    """What is evaluated: a model, and the images, labelled as the model counts its classes."""

    checkpoint: Path
    model: nn.Module
    model_name: str
    transform: Callable  # a PIL image to what the model takes
    dataset: ImageFolder  # N images
    data: str  # the name of the data set
    origin: str  # of its images, in a few words
    split: str  # which part of it: test, train or all
    images: str  # which images these are, in a sentence
    positive: str | None  # of two classes, the one that is looked for


@dataclass(frozen=True)
class Report:
    """What came out.

    `content` is what report.json holds: what was evaluated (`checkpoint`, `model`, `data`, `split`, `n` images,
    `class_names`, `positive`); all that `metrics.report` returns, as it describes; with another checkpoint `against`:
    its `checkpoint` and what `uncertainty.mcnemar` returns; of several views `views`: how many (`n`),
    `accuracy_one_view`, what `mcnemar` returns of all views (a) against the usual one (b), and the `seconds` that they
    took, and `seconds_one_view`; `images`, `seen_in_training` and `accuracy_unseen`, of `selection`; and
    `in_both_splits`, a list of {`train`: path, `test`: path, `kind`: as in `leaks`}.
    """

    subject: Subject
    content: dict[str, object]
    logits: torch.Tensor  # (N, C)
    labels: torch.Tensor  # (N,)

    def write(self, folder: Path) -> None:
        """Write report.json, the figures as PNG, and report.html, which holds them all, in place of an earlier report.

        Raises:
            InputError: a file cannot be written.
        """
        drawn = _figures(self)
        folder.mkdir(parents=True, exist_ok=True)
        files.remove_known(folder, files.EVALUATION)
        for name, figure in drawn.items():
            files.write_bytes(folder / f"{name}.png", figure.png)
        title = f"How good is {self.subject.model_name} on {self.subject.data}?"
        page = render(title, _facts(self), self.warnings, [*_tables(self.content), *drawn.values()])
        files.write_bytes(folder / "report.html", page.encode("utf-8"))
        files.write_json(folder / "report.json", self.content)

    def summary(self) -> str:
        """Return the most asked numbers as lines to print; what casts doubt on them comes first."""
        asked = ("accuracy", "balanced_accuracy", "matthews_correlation", "auc", "expected_calibration_error")
        lines = [f"Warning: {warning}" for warning in self.warnings]
        lines += [f"{name.replace('_', ' '):28} {shown(self.content[name])}" for name in asked]
        if "accuracy_unseen" in self.content:
            unseen = f"{'accuracy of unseen images':28} {shown(self.content['accuracy_unseen'])}"
            lines.insert(len(self.warnings) + 1, unseen)
        if "views" in self.content:
            lines.append(_gain_of_views(self.content))
        if against := self.content.get("against"):
            lines.append(_comparison(against))
        return "\n".join(lines)

    @property
    def warnings(self) -> list[str]:
        """What a reader must not miss."""
        warnings = []
        if (seen := self.content["seen_in_training"]) and self.subject.split != "train":
            warnings.append(
                f"{len(seen)} of the {self.content['n']} images were seen in training, such as {seen[0]}: the numbers "
                "are better than on new images."
            )
        if pairs := self.content["in_both_splits"]:
            identical = sum(pair["kind"] == "identical" for pair in pairs)
            warnings.append(
                f"{len(pairs)} pairs of a training and a test image are the same: {identical} identical, "
                f"{len(pairs) - identical} nearly so; the first is {pairs[0]['train']} and {pairs[0]['test']}."
            )
        return warnings + self.content["warnings"]


@dataclass(frozen=True)
class PageFigure:
    """A figure of the page with what it shows, for the eye (caption) and for the ear (alt)."""

    title: str
    png: bytes
    alt: str
    caption: str

    @cached_property
    def base64(self) -> str:
        """The PNG as text."""
        return base64.b64encode(self.png).decode("ascii")


@dataclass(frozen=True)
class Table:
    """Rows of cells under a heading; the first cell of a row names it."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    caption: str = ""


def render(title: str, facts: Sequence[str], warnings: Sequence[str], parts: Sequence[PageFigure | Table]) -> str:
    """Return the page, one HTML file that needs nothing else.

    Args:
        title: what was evaluated.
        facts: sentences at its head.
        warnings: sentences that a reader must not miss.
        parts: tables and figures, in order.
    """
    template = Path(__file__).with_name("report.html.jinja").read_text(encoding="utf-8")
    page = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, keep_trailing_newline=True, finalize=_printable
    )
    return page.from_string(template).render(
        title=title, facts=facts, warnings=warnings, parts=parts, max_narrow=MAX_NARROW
    )


def _printable(value: object) -> object:
    """Return a text without what turns the direction of the text after it, or hides; a part of the page as it is."""
    return cli.printable(value) if isinstance(value, str) and not hasattr(value, "__html__") else value


def shown(measure: dict) -> str:
    """Return a value with its interval, or a dash where there is none."""
    if measure["value"] is None:
        return "–"
    text = f"{measure['value']:.3f}"
    if measure["interval"] is not None:
        text += " ({:.3f} to {:.3f})".format(*measure["interval"])
    return text


def _facts(report: Report) -> list[str]:
    """Return the sentences at the head of the report."""
    subject = report.subject
    facts = [
        f"{subject.checkpoint} on {subject.data} ({subject.origin}), {len(report.content['class_names'])} classes.",
        f"Measured: {subject.images}.",
        "In brackets stand 95% intervals: the true values that fit with what these images gave. Proportions have "
        "Wilson's, the rest a bootstrap's.",
    ]
    if subject.split == "train":
        facts.append("The model learned from these images: the numbers say how well it remembers, not how good it is.")
    if subject.positive is not None:
        facts.append(f"The positive class, the one looked for, is {subject.positive}.")
    if "views" in report.content:
        facts.append(_gain_of_views(report.content))
    if against := report.content.get("against"):
        facts.append(_comparison(against))
    return facts


def _gain_of_views(content: dict) -> str:
    """Say in two sentences what several views of each image gained, and cost."""
    views = content["views"]
    differ = "differ" if views["differ"] else "may be equally good"
    return (
        f"{views['n']} views of each image, averaged: accuracy {content['accuracy']['value']:.3f}, with the usual view "
        f"{views['accuracy_one_view']:.3f}; images that only the average has right: {views['only_a_right']}, only the "
        f"usual view: {views['only_b_right']}; McNemar's p is {views['p_value']:.3g}: at 5% they {differ}. All took "
        f"{views['seconds']:.1f} s, the usual view {views['seconds_one_view']:.1f} s, where features kept on disk take "
        "next to none."
    )


def _comparison(against: dict) -> str:
    """Say in a sentence which of two models is better, if either."""
    differ = "differ" if against["differ"] else "may be equally good"
    return (
        f"Against {against['checkpoint']}: this model alone is right on {against['only_a_right']} images, the other "
        f"alone on {against['only_b_right']}; McNemar's p is {against['p_value']:.3g}: at 5% they {differ}."
    )


def _tables(content: dict) -> list[Table]:
    """Return the tables of numbers."""
    overall = [(title, shown(content[key])) for key, title in OVERALL.items() if key in content]
    if "accuracy_unseen" in content:
        overall.insert(1, ("Accuracy on images not seen in training", shown(content["accuracy_unseen"])))
    overall += [(f"Top-{k} accuracy", shown(value)) for k, value in content["top_k"].items()]
    rows = [
        (name, *(shown(measures[key]) for key in BY_CLASS), str(measures["support"]["value"]))
        for name, measures in content["per_class"].items()
    ]
    # the mean over two classes is each one's ROC area, so a positive class changes nothing
    means = content["macro"] | {"auc": content["auc"]}
    rows.append(("macro", *(shown(means[key]) for key in BY_CLASS), str(content["n"])))
    return [
        Table("Overall", ("measure", "value"), overall),
        Table("By class", ("class", *BY_CLASS.values(), "images"), rows, "macro: the mean over classes"),
    ]


def _figures(report: Report) -> dict[str, PageFigure]:
    """Draw every figure, by the name of its file."""
    subject, logits, labels = report.subject, report.logits, report.labels
    names, positive = report.content["class_names"], subject.positive
    drawn = {
        "confusion_matrix": (
            plots.confusion_matrix(report.content["confusion_matrix"], names),
            "Confusion matrix",
            "Rows are true classes, columns predicted ones; what is off the diagonal is wrong.",
        ),
        "roc": (
            figures.roc(*curves.roc_curves(logits, labels, names, positive=positive)),
            "ROC curves",
            "Each point is a threshold: how many of the class are found, against how many others are taken for it.",
        ),
        "precision_recall": (
            figures.precision_recall(curves.precision_recall_curves(logits, labels, names, positive=positive)),
            "Precision and recall",
            "Each point is a threshold: how many of those taken for the class are of it, against how many are found.",
        ),
        "reliability": (
            figures.reliability(curves.reliability(logits, labels)),
            "Reliability",
            "On the line, 80% of the images called with a probability of 0.8 are right; below it a model is too sure.",
        ),
        "rejection": (
            figures.rejection(curves.rejection_curve(logits, labels)),
            "Saying nothing when unsure",
            "With predict.py --reject-below, fewer images are answered, and more of the answers are right.",
        ),
    }
    drawn |= _grids(report)
    return {
        name: PageFigure(title, plots.png(figure), f"{title} of {subject.model_name} on {subject.data}", caption)
        for name, (figure, title, caption) in drawn.items()
    }


def _grids(report: Report) -> dict[str, tuple[Figure, str, str]]:
    """Draw the images that say most: the most wrong, the least sure, and what the model looks at in them."""
    subject, logits = report.subject, report.logits
    wrong = interpret.most_wrong(logits, report.labels, SHOWN)
    unsure = interpret.least_sure(logits, SHOWN)
    caption = "Images whose predicted class has the lowest probability."
    grids = {"least_sure": (_grid(report, unsure), "The least sure", caption)}
    if len(wrong):
        caption = "Wrong answers with the highest probability: wrong labels often are among them."
        grids["most_wrong"] = (_grid(report, wrong), "The most wrong", caption)
    looked_at = wrong if len(wrong) else unsure
    side = resizing.short_side(subject.transform)
    batch = torch.stack([subject.transform(_open(subject, i, side)) for i in looked_at])
    try:
        maps, method = interpret.explain(subject.model, batch)
    except InputError:  # neither a feature map nor attention
        return grids
    predicted = logits.argmax(dim=1)
    titles = [report.content["class_names"][predicted[i]] for i in looked_at]
    seen = interpret.denormalize(batch, subject.transform)
    figure = figures.heatmap_grid(seen, maps, titles, scale=method)
    caption = f"By {method}, in the most wrong images, or the least sure where none is wrong. No proof of a reason."
    grids["looked_at"] = (figure, "What it looks at", caption)
    return grids


def _grid(report: Report, chosen: Sequence[int]) -> Figure:
    names = report.content["class_names"]
    probabilities, predicted = report.logits.softmax(dim=1).max(dim=1)
    return plots.prediction_grid(
        [_open(report.subject, i) for i in chosen],
        [names[predicted[i]] for i in chosen],
        [probabilities[i].item() for i in chosen],
        [names[report.labels[i]] for i in chosen],
    )


def _open(subject: Subject, index: int, short_side: int | None = None) -> Image.Image:
    return images.open_image(subject.dataset.samples[int(index)][0], short_side=short_side)
