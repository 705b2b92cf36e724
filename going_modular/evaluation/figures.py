"""The figures of an evaluation; each function returns a matplotlib Figure, as those of `plots.py` do."""

from collections.abc import Mapping, Sequence
from itertools import cycle

import matplotlib as mpl
import numpy as np
import torch
from matplotlib.figure import Figure
from PIL import Image

from going_modular.common.fonts import drawable, fonts_for
from going_modular.evaluation.curves import PrecisionRecallCurve, RejectionCurve, Reliability, RocCurve

SIZE = (7.6, 6.6)  # inches
COLUMNS = 4  # images a row
MAX_LINES = 10  # curves in a figure; the legend of more would hide them
LINE_STYLES = ("-", "--", ":", "-.")  # so that curves are told apart without colour
HEAT = "inferno"  # evenly light to dark, so that it reads in grey and for the colour-blind
HEAT_OPACITY = 0.5  # dark enough to see the heat, light enough to see the image
Line = tuple[np.ndarray, np.ndarray, float]  # x, y and the area below


def heatmap_grid(
    images: Sequence[Image.Image],
    maps: Sequence[torch.Tensor],
    titles: Sequence[str],
    *,
    scale: str = "heat",
) -> Figure:
    """Draw each map over its image, half transparent, with one colour bar for all.

    Args:
        images: what the model saw, such as `interpret.denormalize` returns; a map is stretched over the whole image.
        maps: (h, w) in [0, 1] an image, such as `interpret.explain` returns.
        titles: one an image; each of its lines is shortened as class names are.
        scale: what the colours mean, in a word or two; that they go from 0 to each image's maximum is added.
    """
    columns = min(COLUMNS, len(images))
    rows = -(-len(images) // columns)
    shown = drawable([line for title in titles for line in title.split("\n")])
    with mpl.rc_context({"font.family": fonts_for(shown.values())}):
        figure = Figure(figsize=(2.6 * columns + 0.8, 2.9 * rows), layout="constrained")
        no_ticks = {"xticks": (), "yticks": ()}  # unseen, they would be laid out all the same
        axes = figure.subplots(rows, columns, squeeze=False, subplot_kw=no_ticks)
        for ax in axes.flat:
            ax.axis("off")
        for ax, image, heat, title in zip(axes.flat, images, maps, titles, strict=False):
            ax.imshow(image)
            edges = (-0.5, image.width - 0.5, image.height - 0.5, -0.5)
            drawn = ax.imshow(np.asarray(heat), cmap=HEAT, vmin=0, vmax=1, alpha=HEAT_OPACITY, extent=edges)
            ax.set_title("\n".join(shown[line] for line in title.split("\n")), fontsize=10, parse_math=False)
        bar = figure.colorbar(drawn, ax=axes, ticks=[0, 1], aspect=14 * rows, pad=0.02)
        bar.ax.set_yticklabels(["0", "max"])
        bar.solids.set_alpha(1)  # half transparent on white, the colours would be others
        bar.set_label(f"{scale},\nof each picture's maximum")
    return figure


def roc(curves: Mapping[str, RocCurve], average: RocCurve | None = None) -> Figure:
    """Draw ROC curves: the share of positives found against the share of negatives taken for positive.

    Of more than 10, those with the largest and the smallest areas are drawn.

    Args:
        curves: by name, such as `curves.roc_curves` returns.
        average: of them, drawn too.
    """
    lines = {name: (curve.false_positive_rate, curve.sensitivity, curve.auc) for name, curve in curves.items()}
    labels = {"title": "ROC", "xlabel": "1 - specificity", "ylabel": "sensitivity"}
    mean = None if average is None else (average.false_positive_rate, average.sensitivity, average.auc)
    return _curves(lines, labels, legend="lower right", mean=mean, chance=True)


def precision_recall(curves: Mapping[str, PrecisionRecallCurve]) -> Figure:
    """Draw precision against recall.

    Of more than 10 curves, those with the largest and the smallest areas are drawn.

    Args:
        curves: by name, such as `curves.precision_recall_curves` returns.
    """
    lines = {name: (curve.recall, curve.precision, curve.average_precision) for name, curve in curves.items()}
    labels = {"title": "Precision and recall", "xlabel": "recall (sensitivity)", "ylabel": "precision"}
    return _curves(lines, labels, legend="lower left")


def reliability(bins: Reliability) -> Figure:
    """Draw accuracy against confidence, and how many images have which confidence.

    Args:
        bins: as `curves.reliability` returns them; empty ones are left out.
    """
    figure = Figure(figsize=SIZE, layout="constrained")
    top, bottom = figure.subplots(2, 1, height_ratios=[3, 1], sharex=True)
    top.plot([0, 1], [0, 1], color="grey", linewidth=1, label="as sure as right")
    filled = bins.count > 0
    top.plot(bins.confidence[filled], bins.accuracy[filled], "o-", label="this model")
    top.set(xlim=(0, 1), ylim=(0, 1.02), ylabel="accuracy", title="Reliability")
    top.legend(loc="upper left")
    bottom.bar(bins.edges[:-1], bins.count, width=np.diff(bins.edges), align="edge", edgecolor="white")
    bottom.set(xlabel="probability of the predicted class", ylabel="images")
    for axes in (top, bottom):
        axes.grid(alpha=0.3)
    return figure


def rejection(curve: RejectionCurve) -> Figure:
    """Draw what a threshold on the top probability costs and brings.

    Args:
        curve: as `curves.rejection_curve` returns it.
    """
    figure = Figure(figsize=SIZE, layout="constrained")
    axes = figure.subplots()
    axes.step(curve.thresholds, curve.coverage, "--", label="share of the images that are answered")
    axes.step(curve.thresholds, curve.accuracy, label="accuracy of the answers")
    least = np.floor(10 * curve.thresholds[0]) / 10  # no probability lies below it, so nothing happens there
    axes.set(xlim=(least, 1), ylim=(0, 1.02), title="Saying nothing when unsure")
    axes.set(xlabel="threshold on the probability", ylabel="share")
    axes.grid(alpha=0.3)
    axes.legend(loc="lower left")
    return figure


def _curves(
    lines: Mapping[str, Line],
    labels: Mapping[str, str],
    *,
    legend: str,
    mean: Line | None = None,
    chance: bool = False,
) -> Figure:
    """Draw lines, by name, and their mean, in the unit square; `chance` adds the diagonal."""
    figure = Figure(figsize=SIZE, layout="constrained")
    axes = figure.subplots()
    axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), aspect="equal", **labels)
    axes.grid(alpha=0.3)
    chosen, title = _extremes(lines)
    if mean is not None:
        chosen |= {"mean of the classes": mean}
    shown = drawable(list(chosen))
    with mpl.rc_context({"font.family": fonts_for(list(shown.values()))}):
        for (name, (x, y, area)), style in zip(chosen.items(), cycle(LINE_STYLES), strict=False):
            axes.plot(x, y, style, label=f"{shown[name]}, area {area:.3f}".replace("$", r"\$"))
        if chance:
            axes.plot([0, 1], [0, 1], color="grey", linewidth=1, label="chance")
        axes.legend(loc=legend, title=title)
    return figure


def _extremes(lines: Mapping[str, Line]) -> tuple[dict[str, Line], str | None]:
    """Return the lines that a figure has room for, and what to say where they are not all."""
    if len(lines) <= MAX_LINES:
        return dict(lines), None
    by_area = sorted(lines, key=lambda name: -lines[name][2])
    each = MAX_LINES // 2
    chosen = [*by_area[:each], *by_area[-each:]]
    title = f"the {each} largest and the {each} smallest\nof {len(lines)} areas"
    return {name: lines[name] for name in chosen}, title
