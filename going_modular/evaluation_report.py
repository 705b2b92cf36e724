"""What the report of an evaluation says and shows."""

from io import BytesIO
from typing import TYPE_CHECKING

import torch
from matplotlib.figure import Figure
from PIL import Image

from going_modular import curves, images, interpret, plots, plots_evaluation, report_html
from going_modular.errors import InputError
from going_modular.report_html import Picture, Table

if TYPE_CHECKING:
    from going_modular.evaluation import Report, Subject

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


def facts(subject: "Subject", report: "Report") -> list[str]:
    """Return the sentences at the head of the report."""
    settings, n = subject.settings, len(report.labels)
    facts = [
        f"{subject.file} on the {settings.split} images of {subject.splits.name} ({subject.splits.origin}): "
        f"{n} images, {len(subject.loaded.class_names)} classes.",
        "In brackets stand 95% intervals: the true values that fit with what these images gave. Proportions have "
        "Wilson's, the rest a bootstrap's.",
    ]
    if settings.split == "train":
        facts.append("The model learned from these images: the numbers say how well it remembers, not how good it is.")
    if settings.positive is not None:
        facts.append(f"The positive class, the one looked for, is {settings.positive}.")
    if against := report.content.get("against"):
        facts.append(comparison(against))
    return facts


def comparison(against: dict) -> str:
    """Say in a sentence which of two models is better, if either."""
    differ = "differ" if against["differ"] else "may be equally good"
    return (
        f"Against {against['checkpoint']}: this model alone is right on {against['only_a_right']} images, the other "
        f"alone on {against['only_b_right']}; McNemar's p is {against['p_value']:.3g}: at 5% they {differ}."
    )


def warnings_of(report: "Report") -> list[str]:
    """Return what a reader must not miss."""
    warnings = list(report.content["warnings"])
    if found := report.content["in_both_splits"]:
        identical = sum(pair["kind"] == "identical" for pair in found)
        warnings.append(
            f"{len(found)} pairs of a training and a test image are the same: {identical} identical, "
            f"{len(found) - identical} nearly so; the first is {found[0]['train']} and {found[0]['test']}."
        )
    return warnings


def tables(report: "Report") -> list[Table]:
    """Return the tables of numbers."""
    content = report.content
    overall = [(title, report_html.shown(content[key])) for key, title in OVERALL.items() if key in content]
    overall += [(f"Top-{k} accuracy", report_html.shown(value)) for k, value in content["top_k"].items()]
    rows = [
        (name, *(report_html.shown(measures[key]) for key in BY_CLASS), str(measures["support"]["value"]))
        for name, measures in content["per_class"].items()
    ]
    # the mean over two classes is each one's ROC area, so a positive class changes nothing
    means = content["macro"] | {"auc": content["auc"]}
    rows.append(("macro", *(report_html.shown(means[key]) for key in BY_CLASS), str(content["n"])))
    return [
        Table("Overall", ("measure", "value"), overall),
        Table("By class", ("class", *BY_CLASS.values(), "images"), rows, "macro: the mean over classes"),
    ]


def pictures(subject: "Subject", report: "Report") -> dict[str, Picture]:
    """Return every figure, by the name of its file."""
    content, logits, labels = report.content, report.logits, report.labels
    names, positive = content["class_names"], subject.settings.positive
    areas, macro = curves.roc_curves(logits, labels, names, positive=positive)
    precision = curves.precision_recall_curves(logits, labels, names, positive=positive)
    if macro is not None:
        areas |= {"mean of the classes": macro}
    made = {
        "confusion_matrix": (
            plots.confusion_matrix(content["confusion_matrix"], names),
            "Confusion matrix",
            "Rows are true classes, columns predicted ones; what is off the diagonal is wrong.",
        ),
        "roc": (
            plots_evaluation.roc(areas),
            "ROC curves",
            "Each point is a threshold: how many of the class are found, against how many others are taken for it.",
        ),
        "precision_recall": (
            plots_evaluation.precision_recall(precision),
            "Precision and recall",
            "Each point is a threshold: how many of those taken for the class are of it, against how many are found.",
        ),
        "reliability": (
            plots_evaluation.reliability(curves.reliability(logits, labels)),
            "Reliability",
            "On the line, 80% of the images called with a probability of 0.8 are right; below it a model is too sure.",
        ),
        "rejection": (
            plots_evaluation.rejection(curves.rejection_curve(logits, labels)),
            "Saying nothing when unsure",
            "With predict.py --reject-below, fewer images are answered, and more of the answers are right.",
        ),
    }
    made |= _grids(subject, report)
    return {
        name: Picture(title, _png(figure), f"{title} of {subject.loaded.model_name} on {subject.splits.name}", caption)
        for name, (figure, title, caption) in made.items()
    }


def _grids(subject: "Subject", report: "Report") -> dict[str, tuple[Figure, str, str]]:
    """Return the images that say most: the most wrong, the least sure, and what the model looks at in them."""
    logits, labels = report.logits, report.labels
    wrong = interpret.most_wrong(logits, labels, SHOWN)
    unsure = interpret.least_sure(logits, SHOWN)
    caption = "Images whose predicted class has the lowest probability."
    grids = {"least_sure": (_grid(subject, report, unsure), "The least sure", caption)}
    if len(wrong):
        caption = "Wrong answers with the highest probability: wrong labels often are among them."
        grids["most_wrong"] = (_grid(subject, report, wrong), "The most wrong", caption)
    looked_at = wrong if len(wrong) else unsure
    batch = torch.stack([subject.loaded.transform(_open(subject, i)) for i in looked_at])
    try:
        maps, method = interpret.explain(subject.loaded.model, batch)
    except InputError:  # neither a feature map nor attention
        return grids
    predicted = logits.argmax(dim=1)
    titles = [report.content["class_names"][predicted[i]] for i in looked_at]
    seen = interpret.pictures(batch, subject.loaded.transform)
    figure = plots_evaluation.heatmap_grid(seen, maps, titles, scale=method)
    caption = f"By {method}, in the most wrong images, or the least sure where none is wrong. No proof of a reason."
    grids["looked_at"] = (figure, "What it looks at", caption)
    return grids


def _grid(subject: "Subject", report: "Report", chosen: list[int]) -> Figure:
    names = report.content["class_names"]
    probabilities, predicted = report.logits.softmax(dim=1).max(dim=1)
    return plots.prediction_grid(
        [_open(subject, i) for i in chosen],
        [names[predicted[i]] for i in chosen],
        [probabilities[i].item() for i in chosen],
        [names[report.labels[i]] for i in chosen],
    )


def _open(subject: "Subject", index: int) -> Image.Image:
    return images.open_image(subject.dataset.samples[int(index)][0])


def _png(figure: Figure) -> bytes:
    png = BytesIO()
    figure.savefig(png, format="png", dpi=120)
    return png.getvalue()
