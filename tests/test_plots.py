import random
import re
import sys
import warnings
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pytest
import torch
from matplotlib import font_manager
from matplotlib import pyplot as plt
from matplotlib.figure import Figure
from PIL import Image

from going_modular import plots
from going_modular.common import fonts as fonts_module
from going_modular.common.errors import InputError
from going_modular.common.fonts import drawable, fonts_for

RESULTS = {
    "train_loss": [1.0, 0.6, 0.4],
    "train_acc": [0.4, 0.7, 0.9],
    "test_loss": [1.1, 0.8, 0.7],
    "test_acc": [0.3, 0.6, 0.8],
}
FOREIGN = ["披萨", "寿司 sushi", "بيتزا", "🍕", "👩🏽‍🍳 pizza", "\x07", "é"]
SIZES = [(64, 48), (48, 64), (8, 64), (300, 200), (1, 1)]


def photo(size, seed=0):
    noise = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    return Image.fromarray(noise)


def grid(true=("a", "b", "a", "b", "a"), names=("a", "a", "b", "b", "a")):
    photos = [photo(size, seed) for seed, size in enumerate(SIZES)]
    return plots.prediction_grid(photos, names, [0.9, 0.5, 0.4, 1.0, 0.7], true)


def matrix(names):
    return plots.confusion_matrix(np.arange(len(names) ** 2).reshape(len(names), -1), names)


FIGURES = {"loss_curves": lambda: plots.loss_curves(RESULTS), "grid": grid, "matrix": lambda: matrix("abc")}


def rendered(figure):
    """The figure's pixels (H, W, 3), drawn by a canvas of its own."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3]


def colours_within(pixels, axes):
    """How many colours there are in the box of some axes."""
    box = axes.get_window_extent()
    height = pixels.shape[0]
    inside = pixels[round(height - box.y1) + 2 : round(height - box.y0) - 2, round(box.x0) + 2 : round(box.x1) - 2]
    return len(np.unique(inside.reshape(-1, 3), axis=0))


def texts(figure):
    return [
        text
        for axes in figure.axes
        for text in (axes.title, *axes.texts, *axes.get_xticklabels(), *axes.get_yticklabels())
    ]


# what is drawn


@pytest.mark.parametrize("name", FIGURES)
def test_every_figure_is_one_and_something_is_on_it(name):
    figure = FIGURES[name]()
    assert type(figure) is Figure  # none of pyplot's: nothing to close
    pixels = rendered(figure)
    for axes in figure.axes:
        if axes.axison or axes.images:
            assert colours_within(pixels, axes) > 3
    assert plt.get_fignums() == []


def test_every_image_of_a_grid_is_seen():
    figure = grid()
    pixels = rendered(figure)
    seen = [colours_within(pixels, axes) > 100 for axes in figure.axes]
    assert seen == [True] * 4 + [False] * 4  # the last image has one pixel
    assert not any(axes.axison for axes in figure.axes)
    assert [axes.title.get_text() for axes in figure.axes][:5] == [
        "a (0.90)\nright",
        "a (0.50)\nwrong, it is b",
        "b (0.40)\nwrong, it is a",
        "b (1.00)\nright",
        "a (0.70)\nright",
    ]
    assert [axes.title.get_color() for axes in figure.axes][:2] == [plots.RIGHT, plots.WRONG]
    assert grid(true=None).axes[0].title.get_text() == "a (0.90)"


@pytest.mark.parametrize(("images", "columns", "expected"), [(1, 4, (1, 1)), (3, 4, (1, 3)), (7, 3, (3, 3))])
def test_a_grid_has_no_empty_rows_and_columns(images, columns, expected):
    photos = [photo((16, 16))] * images
    figure = plots.prediction_grid(photos, ["a"] * images, [0.5] * images, columns=columns)
    assert figure.axes[0].get_subplotspec().get_gridspec().get_geometry() == expected


@pytest.mark.parametrize("size", SIZES)
def test_square_keeps_the_whole_image(size):
    image = Image.new("RGB", size, "red")
    square = plots.square(image)
    red = (np.asarray(square) == (255, 0, 0)).all(axis=-1)
    scale = min(1, plots.SQUARE / max(size))
    height, width = (max(round(side * scale), 1) for side in (size[1], size[0]))
    assert square.size == (plots.SQUARE, plots.SQUARE)
    assert abs(red.sum() - height * width) <= max(size)
    assert image.size == size


def test_curves_show_the_values():
    loss, accuracy = plots.loss_curves(RESULTS).axes
    for axes, quantity in ((loss, "loss"), (accuracy, "acc")):
        for line, part in zip(axes.lines, ("train", "test"), strict=True):
            assert (line.get_label(), list(line.get_xdata())) == (part, [1, 2, 3])
            assert list(line.get_ydata()) == RESULTS[f"{part}_{quantity}"]


@pytest.mark.parametrize("epochs", [1, 2, 5, 40])
def test_epochs_are_whole_numbers(epochs):
    figure = plots.loss_curves({name: [0.5] * epochs for name in RESULTS})
    rendered(figure)
    for axes in figure.axes:
        ticks = axes.get_xticks()
        assert len(ticks) > 0
        assert all(float(tick).is_integer() for tick in ticks)


@pytest.mark.parametrize("calls", [1, 2])
def test_plot_loss_curves_draws_one_figure_a_call_and_returns_nothing(calls):
    assert [plots.plot_loss_curves(RESULTS) for _ in range(calls)] == [None] * calls
    figures = [plt.figure(number) for number in plt.get_fignums()]
    plt.close("all")
    assert len(figures) == calls
    for figure in figures:
        assert [[line.get_label() for line in axes.lines] for axes in figure.axes] == [["train", "test"]] * 2


@pytest.mark.slow
@pytest.mark.parametrize("classes", [2, 3, 12])
def test_a_confusion_matrix_shows_counts_and_names(classes):
    names = [f"class number {i}" for i in range(classes)]
    figure = matrix(names)
    axes = figure.axes[0]
    assert [text.get_text() for text in axes.texts] == [str(count) for count in range(classes**2)]
    assert [label.get_text() for label in axes.get_xticklabels()] == names
    assert [label.get_text() for label in axes.get_yticklabels()] == names
    shares = np.asarray(axes.images[0].get_array())
    np.testing.assert_allclose(shares.sum(axis=1), 1)
    assert colours_within(rendered(figure), axes) > 3


def test_a_class_without_samples_has_an_empty_row():
    figure = plots.confusion_matrix([[3, 1], [0, 0]], ["a", "b"])
    assert np.asarray(figure.axes[0].images[0].get_array()).tolist() == [[0.75, 0.25], [0, 0]]


def overlaps(figure, chosen):
    boxes = [text.get_window_extent() for text in chosen]
    width, height = figure.canvas.get_width_height()
    assert all(box.x0 >= -1 and box.y0 >= -1 and box.x1 <= width + 1 and box.y1 <= height + 1 for box in boxes)
    return [(a, b) for i, a in enumerate(boxes) for b in boxes[:i] if a.overlaps(b)]


@pytest.mark.parametrize("name", ["a_very_long_name_of_a_class_of_food", "Wide " * 12, "长长的类别名称" * 4])
def test_long_names_are_neither_cut_nor_over_each_other(name):
    with warnings.catch_warnings(action="ignore"):  # about fonts
        names = [name + "1", name + "2"]
        figure = grid(true=[names[0]] * 5, names=[names[0], names[1]] * 2 + [names[0]])
        rendered(figure)
        assert overlaps(figure, [axes.title for axes in figure.axes[:5]]) == []
        figure = matrix(names)
        rendered(figure)
        axes = figure.axes[0]
        assert overlaps(figure, axes.get_yticklabels()) == []
        assert axes.get_window_extent().width > 0.3 * figure.bbox.width
        first, second = (label.get_text() for label in axes.get_xticklabels())
        assert first != second
        assert "…" in first


@pytest.mark.parametrize("draw", ["grid", "matrix"])
def test_class_names_are_no_formulas(draw):
    names = [r"$\frac$", "$5 or $6"]
    figure = matrix(names) if draw == "matrix" else grid(true=names * 2 + names[:1], names=names[::-1] * 2 + names[1:])
    rendered(figure)
    shown = " ".join(text.get_text() for text in texts(figure))
    assert all(name in shown for name in names)


# fonts


@pytest.mark.parametrize("draw", ["grid", "matrix"])
def test_no_class_name_becomes_boxes(draw):
    """Whatever fonts there are: a character that none of them has is written as its number, with a warning."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        figure = matrix(FOREIGN) if draw == "matrix" else grid(true=FOREIGN[:5], names=FOREIGN[2:])
        rendered(figure)
    messages = [str(warning.message) for warning in caught]
    assert not [message for message in messages if "Glyph" in message or "findfont" in message]
    characters = {character for path in fonts() for character in fonts_module._characters(path)}
    shown = " ".join(text.get_text() for text in texts(figure))
    for name in FOREIGN if draw == "matrix" else FOREIGN[:5]:
        lacking = [c for c in name if not c.isspace() and ord(c) not in characters]
        assert bool(lacking) == any(repr(name) in message for message in messages), name
        if not lacking:
            assert name in shown
        assert all(f"U+{ord(c):04X}" in shown for c in lacking[:1])
        assert not any(c in shown for c in lacking)


def fonts():
    """The paths of the upright fonts, without the one of boxes for everything."""
    found = font_manager.fontManager.ttflist
    return [font.fname for font in found if font.style == "normal" and "LastResort" not in Path(font.fname).name]


def test_the_usual_font_is_asked_first():
    assert fonts_for(["pizza", "é"]) == list(mpl.rcParams["font.family"])
    assert drawable(["b", "a", "b"]) == {"b": "b", "a": "a"}


# no side effects


@pytest.mark.parametrize("name", [*FIGURES, "plot_loss_curves"])
def test_drawing_leaves_random_generators_and_settings_alone(name, tmp_path):
    settings = dict(mpl.rcParams)
    draws = []
    for draw in (False, True):
        random.seed(0), np.random.seed(0), torch.manual_seed(0)
        if draw and name in FIGURES:
            plots.save(FIGURES[name](), tmp_path / "figure.png")
        elif draw:
            plots.plot_loss_curves(RESULTS)
        draws.append((random.random(), np.random.rand(), torch.rand(1).item()))
    plt.close("all")
    assert draws[0] == draws[1]
    assert dict(mpl.rcParams) == settings


def test_importing_plots_leaves_pyplot_to_those_who_draw_with_it():
    import subprocess

    code = "import sys; from going_modular import plots; print('matplotlib.pyplot' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout == "False\n"


# files


def test_a_figure_is_saved_as_it_looks(tmp_path):
    plots.save(grid(), tmp_path / "图.png")
    with Image.open(tmp_path / "图.png") as image:
        assert image.format == "PNG"
        assert len(image.convert("RGB").getcolors(2**24)) > 1000
    assert [path.name for path in tmp_path.iterdir()] == ["图.png"]


@pytest.mark.parametrize("method", ["open", "replace"])
def test_an_interrupted_save_leaves_the_old_file(tmp_path, monkeypatch, method):
    path = tmp_path / "figure.png"
    path.write_bytes(b"old")

    def interrupted(self, *_):
        self.touch()
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(Path, method, interrupted)
        with pytest.raises(InputError, match="No space left on device; name another folder"):
            plots.save(plots.loss_curves(RESULTS), path)
    assert path.read_bytes() == b"old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["figure.png"]


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").touch()
    for path in (tmp_path / "missing" / "a.png", tmp_path / "file" / "a.png"):
        with pytest.raises(InputError, match=re.escape(f"Cannot write {str(path)!r}")):
            plots.save(plots.loss_curves(RESULTS), path)
