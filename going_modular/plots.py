"""Every figure of the course; each function returns a matplotlib Figure and leaves showing and saving to others.

`style` makes a notebook's figures look like the course's; `drawing` returns one of the lessons' drawings, which
tools/draw/ makes.
"""

from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from io import BytesIO
from pathlib import Path
from xml.etree import ElementTree

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

from going_modular.common import files
from going_modular.common.errors import InputError
from going_modular.common.fonts import display_width, drawable, fonts_for
from going_modular.common.style import style as style

CURVES_SIZE, RANGE_SIZE = (10, 4), (7.6, 4)  # inches
DPI = 120  # dots an inch, of a file
SQUARE = 256  # pixels a side of an image in a grid
RIGHT, WRONG = "#1b7f4b", "#b3261e"  # told apart by the colour-blind, too: the title says which
CELL, CELLS, LEAST = 0.7, 16, 6  # inches: a side of a confusion matrix's cell, of all at most, of the figure at least
COUNTED = 30  # classes; of more, the cells are too small for their counts
NAMED = 80  # classes; of more, their names would overlap
# beside the package, wherever the notebook runs
DRAWINGS, DRAWING_WIDTH = Path(__file__).resolve().parent.parent / "notebooks" / "drawings", 700  # pixels


def loss_curves(results: dict[str, list[float]]) -> Figure:
    """Draw loss and accuracy against epochs, for training and what else was measured.

    Args:
        results: `train_loss`, `train_acc`, `test_loss`, `test_acc`, a value an epoch each, as `engine.train` returns;
            `val_loss` and `val_acc` in place of the test's, or with them.
    """
    figure = Figure(figsize=CURVES_SIZE, layout="constrained")
    _draw_loss_curves(figure, results)
    return figure


def plot_loss_curves(results: dict[str, list[float]]) -> None:
    """Draw `loss_curves` as pyplot's current figure; a notebook shows it at the end of the cell.

    Elsewhere `plt.show()` shows it; `plt.savefig` and `plt.title` have it, too.
    """
    from matplotlib import pyplot as plt

    _draw_loss_curves(plt.figure(figsize=CURVES_SIZE, layout="constrained"), results)


def learning_rates(
    rates: Sequence[float], losses: Sequence[float], smoothed: Sequence[float], suggestion: float | None = None
) -> Figure:
    """Draw the loss against the learning rate, as `range_test.find_learning_rate` measures it.

    Args:
        rates: rising, a value an update.
        losses: as many.
        smoothed: as many; the figure ends above the highest of them.
        suggestion: a rate to mark.
    """
    figure = Figure(figsize=RANGE_SIZE, layout="constrained")
    axes = figure.subplots()
    axes.semilogx(rates, losses, ".", markersize=3, color="grey", label="each batch")
    axes.semilogx(rates, smoothed, label="smoothed")
    if suggestion is not None:
        axes.axvline(suggestion, color=WRONG, linestyle="--", label=f"suggestion: {suggestion:g}")
    axes.set(title="Learning-rate range test", xlabel="learning rate", ylabel="loss", ylim=(0, 1.1 * max(smoothed)))
    axes.grid(alpha=0.3)
    axes.legend()
    return figure


def prediction_grid(
    images: Sequence[Image.Image],
    predicted: Sequence[str],
    probabilities: Sequence[float],
    true: Sequence[str] | None = None,
    *,
    columns: int = 4,
) -> Figure:
    """Draw images with the predicted class and its probability, and the true class where it is known.

    Args:
        images: upright RGB images of any size.
        predicted: a class name an image.
        probabilities: of the predicted class, in [0, 1].
        true: a class name an image.
        columns: images a row.
    """
    columns = min(columns, len(images))
    rows = -(-len(images) // columns)
    shown = drawable([*predicted, *(true or [])])
    with mpl.rc_context({"font.family": fonts_for(shown.values())}):
        figure = Figure(figsize=(2.6 * columns, 2.9 * rows), layout="constrained")
        no_ticks = {"xticks": (), "yticks": ()}  # unseen, they would be laid out all the same
        axes = list(figure.subplots(rows, columns, squeeze=False, subplot_kw=no_ticks).flat)
        for ax in axes:
            ax.axis("off")
        for i, (ax, image) in enumerate(zip(axes, images, strict=False)):
            ax.imshow(square(image))
            title = f"{shown[predicted[i]]} ({probabilities[i]:.2f})"
            colour = "black"
            if true is not None:
                right = predicted[i] == true[i]
                colour = RIGHT if right else WRONG
                title += "\nright" if right else f"\nwrong, it is {shown[true[i]]}"
            ax.set_title(title, fontsize=10, color=colour, parse_math=False)
    return figure


def confusion_matrix(matrix: Sequence[Sequence[int]], class_names: Sequence[str]) -> Figure:
    """Draw a confusion matrix: counts, each row (a true class) shaded by its shares.

    However many classes there are, the figure is 20 inches wide at most: of more than 30 classes only the shares are
    drawn, and of more than 80 every second is named, or every third, and so on.

    Args:
        matrix: C rows of C counts, rows the true classes, columns the predicted ones.
        class_names: C names.
    """
    counts = np.asarray(matrix)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    step = -(-len(class_names) // NAMED)
    shown = drawable(class_names[::step])
    labels = [shown[name] for name in class_names[::step]]
    side = max(1 + 0.09 * max(map(display_width, labels)) + min(CELL * len(counts), CELLS), LEAST)
    with mpl.rc_context({"font.family": fonts_for(labels)}):
        figure = Figure(figsize=(max(side + 0.6, LEAST + 1), side), layout="constrained")
        axes = figure.subplots()
        picture = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
        if len(counts) <= COUNTED:
            _write_counts(axes, counts, shares)
        ticks = range(0, len(counts), step)
        axes.set_xticks(ticks, labels, rotation=45, ha="right", rotation_mode="anchor", parse_math=False)
        axes.set_yticks(ticks, labels, parse_math=False)
        left_out = f" (one class in {step} is named)" if step > 1 else ""
        axes.set(xlabel=f"predicted{left_out}", ylabel=f"true{left_out}")
        figure.colorbar(picture, label="share of the true class", shrink=0.8)
    return figure


def save(figure: Figure, path: Path) -> None:
    """Write a figure in the format that the file's extension names, PNG without one, whole or not at all.

    Raises:
        ValueError: matplotlib has no such format.
        InputError: the file cannot be written.
    """
    files.write_bytes(path, _encode(figure, path.suffix[1:].lower() or "png"))


def png(figure: Figure) -> bytes:
    """Return a figure as the bytes of a PNG file, 120 dots an inch."""
    return _encode(figure, "png")


def _encode(figure: Figure, kind: str) -> bytes:
    buffer = BytesIO()
    if kind == "png":
        _draw(figure).save(buffer, kind, dpi=(DPI, DPI), compress_level=1)  # photos hardly get smaller than that
    else:
        figure.savefig(buffer, format=kind, dpi=DPI)
    return buffer.getvalue()


def _draw(figure: Figure) -> Image.Image:
    """Return a figure as an RGB image; `savefig` would draw it twice, for its layout, and keep an alpha channel."""
    before = figure.dpi
    figure.dpi = DPI
    try:
        canvas = FigureCanvasAgg(figure)
        canvas.draw()
    finally:
        figure.dpi = before
    return Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB")


def _write_counts(axes: Axes, counts: np.ndarray, shares: np.ndarray) -> None:
    for (row, column), count in np.ndenumerate(counts):
        colour = "white" if shares[row, column] > 0.5 else "black"
        axes.text(column, row, str(count), ha="center", va="center", color=colour)


def _draw_loss_curves(figure: Figure, results: dict[str, list[float]]) -> None:
    epochs = range(1, len(results["train_loss"]) + 1)
    for axes, quantity, label in zip(figure.subplots(1, 2), ("loss", "acc"), ("loss", "accuracy"), strict=True):
        for part, line, shown in (("train", "o-", "train"), ("val", "^:", "validation"), ("test", "s--", "test")):
            if (name := f"{part}_{quantity}") in results:
                axes.plot(epochs, results[name], line, markersize=4, label=shown)
        axes.set(title=label.capitalize(), xlabel="epoch", ylabel=label)
        axes.xaxis.get_major_locator().set_params(integer=True, min_n_ticks=1)
        axes.grid(alpha=0.3)
        axes.legend()


def square(image: Image.Image) -> Image.Image:
    """Return the whole image scaled onto a white square of `SQUARE` pixels."""
    image = image.copy()
    image.thumbnail((SQUARE, SQUARE))
    canvas = Image.new("RGB", (SQUARE, SQUARE), "white")
    canvas.paste(image, ((SQUARE - image.width) // 2, (SQUARE - image.height) // 2))
    return canvas


@dataclass(frozen=True)
class Drawing:
    """A drawing that a notebook shows as a picture, and everything else as its alternative text."""

    svg: bytes
    alternative: str

    def __repr__(self) -> str:
        return self.alternative

    def _repr_html_(self) -> str:
        source = f"data:image/svg+xml;base64,{b64encode(self.svg).decode()}"
        style = f"width: {DRAWING_WIDTH}px; max-width: 100%"
        return f'<img alt="{escape(self.alternative)}" src="{source}" width="{DRAWING_WIDTH}" style="{style}">'


def drawing(name: str) -> Drawing:
    """Return one of the lessons' drawings, such as "vit_block"; as a cell's last line it is shown.

    It is an HTML output: Colab shows no SVG in a Markdown cell, and JupyterLab none in a notebook that is not trusted.

    Raises:
        InputError: there is no such drawing.
    """
    paths = {path.stem: path for path in sorted(DRAWINGS.glob("*.svg"))}
    if name not in paths:
        there = f"there are {', '.join(paths)}" if paths else f"{str(DRAWINGS)!r} has none; clone the whole repository"
        raise InputError(f"There is no drawing {name!r}; {there}")
    svg = paths[name].read_bytes()
    return Drawing(svg, ElementTree.fromstring(svg).findtext("{*}desc"))
