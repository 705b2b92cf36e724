"""Figures of notebooks: sharp, small, in colours that can be told apart."""

import io

import matplotlib as mpl
import numpy as np
import pytest
from IPython.core.interactiveshell import InteractiveShell
from matplotlib import pyplot as plt
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from PIL import Image

from going_modular import plots
from going_modular.common import style


@pytest.fixture
def shell(monkeypatch):
    """Return an interactive shell that `get_ipython` finds; settings of matplotlib are as before afterwards."""
    shell = InteractiveShell()
    monkeypatch.setattr("IPython.get_ipython", lambda: shell)
    with mpl.rc_context():
        yield shell


def chart() -> Figure:
    figure = Figure(figsize=(8, 3), layout="constrained")
    axes = figure.subplots()
    for slope in range(4):
        axes.plot(np.arange(10) * slope, label=f"line {slope}")
    axes.set(xlabel="epoch", ylabel="loss", title="Lines")
    axes.legend()
    return figure


def photographs() -> Figure:
    figure = Figure(figsize=(8, 3), layout="constrained")
    noise = np.random.default_rng(0).random((2, 60, 60, 3))
    for axes, image in zip(figure.subplots(1, 2), noise, strict=True):
        axes.imshow(image, interpolation="bilinear")
    return figure


def chart_with_a_small_photograph() -> Figure:
    """Return a chart with a photo in it: a grey plate whose light fades, with many shades, and yellow butter."""
    figure = chart()
    rows, columns = np.mgrid[0:1:60j, 0:1:60j]
    plate = np.stack([0.9 - 0.6 * rows, 0.85 - 0.6 * columns, 0.8 - 0.3 * (rows + columns)], axis=2)
    plate[20:26, 20:26] = (0.84, 0.74, 0.25)
    axes = figure.add_axes((0.3, 0.3, 0.2, 0.5))
    axes.imshow(plate, interpolation="bilinear")
    axes.set_axis_off()
    return figure


def swatches() -> Figure:
    """Return 256 areas, each of one colour of its own."""
    figure = Figure(figsize=(8, 8), layout="constrained")
    figure.subplots().imshow(np.random.default_rng(0).random((16, 16, 3)))
    return figure


@pytest.mark.parametrize("figure", [chart(), photographs(), chart_with_a_small_photograph(), swatches()])
def test_no_area_of_a_figure_changes_its_colour(figure):
    _, data, _ = style.picture(figure)
    figure.savefig(buffer := io.BytesIO(), format="png", dpi=144, bbox_inches="tight", facecolor="white")
    assert style.largest_change(Image.open(buffer), Image.open(io.BytesIO(data))) <= 12  # JPEG's own change


def test_for_a_picture_of_many_colours_no_palette_is_sought(monkeypatch):
    """It takes ten seconds, and a photo is kept as a JPEG all the same."""
    figure = Figure(figsize=(8, 3))
    figure.subplots().imshow(np.random.default_rng(0).random((300, 300, 3)), interpolation="bilinear")
    sought = []
    monkeypatch.setattr(Image.Image, "quantize", lambda *_, **__: sought.append("a palette"))
    kind, _, _ = style.picture(figure)
    assert (kind, sought) == ("image/jpeg", [])


def test_a_large_area_of_another_colour_is_a_change_and_a_thin_line_is_none():
    white, patched, lined = (Image.new("RGB", (80, 80), "white") for _ in range(3))
    patched.paste((255, 255, 200), (16, 16, 32, 32))
    lined.paste((255, 255, 240), (3, 0, 4, 80))
    assert style.largest_change(white, patched) == 55
    assert style.largest_change(white, lined) < 2


@pytest.mark.parametrize(("figure", "kind"), [(chart(), "image/png"), (photographs(), "image/jpeg")])
def test_a_notebook_shows_a_figure_once_and_sharp(shell, figure, kind):
    plots.style()
    data, metadata = shell.display_formatter.format(figure)
    assert [key for key in data if key.startswith("image/")] == [kind]
    picture, shown = Image.open(io.BytesIO(data[kind])), metadata[kind]
    assert picture.width // 2 == shown["width"]
    assert picture.height // 2 == shown["height"]
    assert 500 <= shown["width"] <= 600
    assert len(data[kind]) < 100_000


def test_it_holds_whatever_backend_a_notebook_chose_before(shell):
    plt.switch_backend("module://matplotlib_inline.backend_inline")
    try:
        plots.style()
        data, _ = shell.display_formatter.format(chart())
    finally:
        plt.switch_backend("agg")
    assert [key for key in data if key.startswith("image/")] == ["image/png"]


def test_a_figure_is_the_same_before_and_after_it_is_shown(shell):
    figure = chart()
    before = (figure.dpi, tuple(figure.get_size_inches()), type(figure.canvas))
    style.picture(figure)
    assert (figure.dpi, tuple(figure.get_size_inches()), type(figure.canvas)) == before


def test_lines_can_be_told_apart_in_grey_and_from_the_page(shell):
    plots.style()
    colours = mpl.rcParams["axes.prop_cycle"].by_key()["color"]
    grey = sorted(np.dot(to_rgb(colour), (0.2126, 0.7152, 0.0722)) for colour in colours[:3])
    assert min(np.diff(grey)) > 0.02
    assert max(np.dot(to_rgb(colour), (0.2126, 0.7152, 0.0722)) for colour in colours) < 0.75


def test_outside_a_notebook_it_only_sets_how_figures_look():
    with mpl.rc_context():
        plots.style()
        assert not mpl.rcParams["axes.spines.top"]
