"""Runs side by side: those on the same test images in one table, and whether the best of them can be told apart."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from going_modular.common import cli
from going_modular.common.cli import display_width
from going_modular.common.errors import InputError
from going_modular.serving import own_images
from going_modular.serving.runs import NOT_KNOWN, Run

COLUMNS = ("run", "data", "model", "recipe", "epochs", "accuracy (95%)", "seconds", "parameters", "checkpoint")
NUMBERS = 4  # from this column on cells stand to the right
FLATTERED = 5  # runs; the best of as many on the same images owes some of its lead to chance


@dataclass(frozen=True)
class Group:
    """Runs that were tested on the same images, the most accurate first."""

    test_images: str  # the key of these, or NOT_KNOWN
    runs: list[Run]

    @property
    def title(self) -> str:
        """What they were tested on."""
        if self.test_images == NOT_KNOWN:
            return "Test images not known: their checkpoints are older ones, damaged, or not there"
        return f"{self.runs[0].n_test} test images of {self.runs[0].data} (digest {self.test_images})"


def group(runs: Sequence[Run]) -> list[Group]:
    """Return runs by the images that they were tested on: accuracies on others cannot be compared.

    The largest group comes first, and last the runs of which nobody knows.
    """
    by_images = defaultdict(list)
    for run in runs:
        by_images[run.test_images].append(run)
    groups = [
        Group(key, sorted(members, key=lambda run: (-run.accuracy, str(run.folder))))
        for key, members in by_images.items()
    ]
    return sorted(groups, key=lambda one: (one.test_images == NOT_KNOWN, -len(one.runs), one.title))


def cells(run: Run) -> tuple[str, ...]:
    """Return what the table says of a run."""
    low, high = run.interval
    return (
        str(run.folder),
        run.data,
        run.model,
        run.recipe,
        str(run.epochs),
        f"{run.accuracy:.3f} ({low:.3f} to {high:.3f})",
        f"{run.seconds:.1f}",
        "?" if run.parameters is None else f"{run.parameters:,}",
        "none" if run.file_bytes is None else f"{run.file_bytes / 1000:,.0f} kB",
    )


def table(group: Group) -> str:
    """Return a group as lines of text, columns aligned."""
    rows = [COLUMNS, *(tuple(map(cli.printable, cells(run))) for run in group.runs)]
    widths = [max(map(display_width, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join(map(_padded, row, widths, range(len(row)))).rstrip() for row in rows]
    return "\n".join([cli.printable(group.title), *lines])


def verdict(group: Group, data: str | None = None) -> str | None:
    """Say in a sentence or two whether the two best runs of a group can be told apart; None where there are no two.

    Args:
        group: runs on the same test images.
        data: where these are, as for train.py; None for the place that the best run's metrics.json names.
    """
    if len(group.runs) < 2 or group.test_images == NOT_KNOWN:
        return None
    best, second = group.runs[:2]
    try:
        test = compare(best, second, data)
    except InputError as error:
        return f"The best two, {best.folder} and {second.folder}, cannot be compared: {error}"
    differ = "differ" if test["differ"] else "may be equally good"
    said = (
        f"The best two, on {test['n']} images: {best.folder} alone is right on {test['only_a_right']}, {second.folder} "
        f"alone on {test['only_b_right']}; McNemar's p is {test['p_value']:.3g}: at 5% they {differ}"
    )
    if len(group.runs) >= FLATTERED:
        said += f". The best of {len(group.runs)} owes some of its lead to chance: confirm it on new images"
    return said


def compare(one: Run, other: Run, data: str | None = None) -> dict[str, object]:
    """Run the models of two runs over their test images, and return what `uncertainty.mcnemar` says, and `n` images.

    Raises:
        InputError: a checkpoint, its backbone's weights or the images cannot be had, or the classes are others.
    """
    from going_modular import features
    from going_modular.common.device import choose_device, wished_precision
    from going_modular.evaluation import uncertainty
    from going_modular.saving import checkpoint

    device = choose_device("auto")
    models = [checkpoint.load(run.checkpoint, device=device) for run in (one, other)]
    names = models[0].class_names
    if sorted(names) != sorted(models[1].class_names):
        raise InputError("they know other classes")
    splits, selection = own_images.test_images(one.checkpoint, models[0], data)
    if not own_images.is_own(splits, models[0].trained_on):
        raise InputError(f"the data {splits.name!r} is not that of the runs; name it with --data")
    labels, predicted = None, []
    for model in models:
        seen = selection.images.relabel(names).with_transform(model.transform)
        labels = seen.targets
        logits = features.logits(model.model, seen, device=device, precision=wished_precision(model.precision, device))
        predicted.append(np.array([names.index(model.class_names[best]) for best in logits.argmax(dim=1)]))
    return {"n": len(labels), **uncertainty.mcnemar(labels, *predicted)}


def _padded(cell: str, width: int, column: int) -> str:
    """Return a cell as wide as its column: texts stand to the left, numbers to the right."""
    space = " " * (width - display_width(cell))
    return space + cell if column >= NUMBERS else cell + space


def write_page(path: Path, groups: Sequence[Group], verdicts: Sequence[str | None], notes: Sequence[str]) -> None:
    """Write all of it as one HTML page, with the curves of each group over each other.

    Raises:
        InputError: the file cannot be written.
    """
    from going_modular import plots
    from going_modular.common import files
    from going_modular.evaluation import report
    from going_modular.serving import run_curves

    parts = []
    for one, said in zip(groups, verdicts, strict=True):
        parts.append(report.Table(one.title, COLUMNS, [cells(run) for run in one.runs], said or ""))
        drawn = one.runs[: run_curves.MOST]
        caption = "Training dashed; what was not trained on, the validation or test images, solid."
        if len(drawn) < len(one.runs):
            caption += f" The best {len(drawn)} of {len(one.runs)} runs."
        figure = plots.png(run_curves.draw(drawn))
        parts.append(report.PageFigure("Curves over each other", figure, f"Loss and accuracy: {one.title}", caption))
    facts = [
        "Each table has runs that were tested on the same images, known by their contents: accuracies on other images "
        "do not compare. In brackets stand 95% intervals (Wilson's).",
    ]
    page = report.render(f"{sum(len(one.runs) for one in groups)} runs", facts, notes, parts)
    files.write_bytes(path, page.encode("utf-8"))
