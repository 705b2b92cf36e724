import random
import warnings

import matplotlib as mpl
import numpy as np
import pytest
import torch
from matplotlib import pyplot as plt
from matplotlib.figure import Figure
from PIL import Image
from test_plots import FOREIGN, overlaps, photo, rendered, texts

from going_modular.evaluation import figures

SIZES = [(64, 48), (48, 64), (300, 200), (224, 224), (8, 64)]


def left_hot(side: int = 32) -> torch.Tensor:
    heat = torch.zeros(side, side)
    heat[:, : side // 2] = 1
    return heat


def grid(titles=("a", "b", "c", "d", "e"), **options) -> Figure:
    photos = [photo(size, seed) for seed, size in enumerate(SIZES)]
    maps = torch.stack([left_hot() * share for share in (1, 0.8, 0.6, 0.4, 0)])
    return figures.heatmap_grid(photos, maps, titles, **options)


def halves(figure: Figure, axes) -> tuple[np.ndarray, np.ndarray]:
    """The pixels of the left and the right half of some axes, without those at edges."""
    pixels = rendered(figure).astype(int)
    box = axes.get_window_extent()
    rows = slice(round(len(pixels) - box.y1) + 4, round(len(pixels) - box.y0) - 4)
    middle = round((box.x0 + box.x1) / 2)
    return pixels[rows, round(box.x0) + 4 : middle - 8], pixels[rows, middle + 8 : round(box.x1) - 4]


@pytest.mark.parametrize("size", SIZES)
def test_heat_lies_over_the_whole_picture_and_the_picture_shows_through(size):
    brightness = {}
    for colour in ("black", "white"):
        figure = figures.heatmap_grid([Image.new("RGB", size, colour)], [left_hot()], ["a"])
        left, right = halves(figure, figure.axes[0])
        assert left.std(axis=(0, 1)).max() < 2  # the map fills its half
        assert right.std(axis=(0, 1)).max() < 2
        brightness[colour] = left.mean(), right.mean()
    for hot, cold in brightness.values():
        assert hot > cold + 50
    for under_white, under_black in zip(brightness["white"], brightness["black"], strict=True):
        assert under_white > under_black + 100


def test_every_picture_has_its_title_and_one_bar_tells_the_scale():
    figure = grid(titles=["pizza 0.90\nit is steak", *"bcde"], scale="Grad-CAM")
    assert type(figure) is Figure
    assert plt.get_fignums() == []
    *pictures, bar = figure.axes
    assert [axes.title.get_text() for axes in pictures] == ["pizza 0.90\nit is steak", *"bcde", "", "", ""]
    assert [len(axes.images) for axes in pictures] == [2] * 5 + [0] * 3
    assert not any(axes.axison for axes in pictures)
    assert bar.get_ylabel() == "Grad-CAM,\nof each picture's maximum"
    assert [label.get_text() for label in bar.get_yticklabels()] == ["0", "max"]
    for axes in pictures[:5]:
        assert axes.images[1].get_clim() == (0, 1)  # the same colours in all


@pytest.mark.parametrize("count", [1, 2, 5])
def test_nothing_is_cut_or_over_another(count):
    titles = [f"{'a very long name ' * 3}{i}\nit is {'another ' * 4}" for i in range(count)]
    images, maps = [photo((64, 48))] * count, [left_hot()] * count
    figure = figures.heatmap_grid(images, maps, titles, scale="attention rollout")
    assert figure.axes[0].get_subplotspec().get_gridspec().get_geometry() == (-(-count // 4), min(count, 4))
    rendered(figure)
    bar = figure.axes[-1]
    assert overlaps(figure, [*(axes.title for axes in figure.axes[:count]), bar.yaxis.label]) == []


def test_no_title_becomes_boxes_or_a_formula():
    titles = [*FOREIGN[:3], r"$\frac$", "$5 or $6"]
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        figure = grid(titles=titles)
        rendered(figure)
    assert not [warning for warning in caught if "Glyph" in str(warning.message)]
    shown = " ".join(text.get_text() for text in texts(figure))
    assert all(title in shown for title in titles[3:])
    lacking = [title for title in titles if any(repr(title) in str(warning.message) for warning in caught)]
    assert all((title in shown) != (title in lacking) for title in titles)


def test_drawing_leaves_random_generators_and_settings_alone():
    settings = dict(mpl.rcParams)
    draws = []
    for draw in (False, True):
        random.seed(0), np.random.seed(0), torch.manual_seed(0)
        if draw:
            rendered(grid())
        draws.append((random.random(), np.random.rand(), torch.rand(1).item()))
    assert draws[0] == draws[1]
    assert dict(mpl.rcParams) == settings
