"""Drawings of lesson 02: what a filter does, what a network is made of, and how a weight learns."""

from collections.abc import Callable
from itertools import pairwise
from math import hypot

import numpy as np

from tools.draw.style import (
    BLUE,
    FROZEN,
    INK,
    LEARNS,
    MUTED,
    PALE_BLUE,
    PALE_GREEN,
    PALE_ORANGE,
    RED,
    SMALL,
    WHITE,
    Drawing,
    Point,
)

PICTURE = np.array([[0] * 6, [0] * 6, *[[0, 0, 3, 3, 3, 0]] * 3, [1] * 6])  # a dish on a table
FILTER = np.array([[-1, 0, 1]] * 3)
ROW, COLUMN = 3, 1  # of the place that is followed
MAPS = ((24, 56), (112, 14), (1280, 7))  # channels and sides of three of EfficientNet-Lite0's stages
STEPS = 4  # downhill
CLASSES = ("pizza", "steak", "sushi")


def convolution() -> Drawing:
    """Draw how a filter that slides over a picture makes a map, with numbers worked out here."""
    windows = np.lib.stride_tricks.sliding_window_view(PICTURE, FILTER.shape)
    answers = (windows * FILTER).sum(axis=(2, 3))
    answer = answers[ROW, COLUMN]
    drawing = Drawing(
        "A convolution",
        f"A window of 3 x 3 numbers of a picture is multiplied, number by number, with a filter, and the products add "
        f"up to {answer}, one number of a map. The filter slides on, and the other numbers come out: large where the "
        "picture has an edge.",
        492,
    )
    side, left, top, bottom, right, cell = 38, 26, 56, 332, 510, 44
    drawing.text(left + 3 * side, 32, "picture", face="bold")
    _grid(drawing, left, top, PICTURE, side, _by_light)
    x, y = left + COLUMN * side, top + ROW * side
    drawing.box(x + side, y, 3 * side, 3 * side, fill="none", radius=0, line=3, dash="7 6", stroke=RED)
    drawing.box(x, y, 3 * side, 3 * side, fill="none", radius=0, line=5, stroke=RED)
    drawing.arrow((left + 6 * side + 18, top + 2 * cell), (right - 14, top + 2 * cell))
    drawing.text(382, top + 2 * cell - 42, "the filter slides:\none number a place", size=SMALL)
    drawing.text(right + 2 * cell, 32, "map", face="bold")
    _grid(drawing, right, top, answers, cell, _by_sign)
    drawing.box(right + COLUMN * cell, top + ROW * cell, cell, cell, fill="none", radius=0, line=5, stroke=RED)
    drawing.arrow((x + 1.5 * side, y + 3 * side + 6), (x + 1.5 * side, bottom - 6))
    _products(drawing, x, bottom, side, 158)
    middle, names = bottom + 1.5 * side, bottom + 3 * side + 22
    end = right + (COLUMN + 0.5) * cell
    drawing.arrow((x + 2 * 158 + 3 * side + 6, middle), (end - 30, middle))
    drawing.text(end, names, "add up")
    drawing.box(end - 24, middle - 24, 48, 48, str(answer), fill=_by_sign(answer), radius=0, line=5, stroke=RED)
    drawing.arrow((end, middle - 32), (end, top + 4 * cell + 8))
    return drawing


def _products(drawing: Drawing, x: float, y: float, side: float, pitch: float) -> None:
    """Draw the window that is followed, the filter, and their products, from a point to the right."""
    window = PICTURE[ROW : ROW + 3, COLUMN : COLUMN + 3]
    grids = (("window", window, _by_light), ("filter", FILTER, _by_sign), ("products", window * FILTER, _by_sign))
    for i, (name, numbers, fill) in enumerate(grids):
        _grid(drawing, x + i * pitch, y, numbers, side, fill)
        drawing.text(x + i * pitch + 1.5 * side, y + 3 * side + 22, name)
        if i:
            drawing.text(x + i * pitch - 22, y + 1.5 * side, "×="[i - 1], face="bold")


def _by_light(number: int) -> str:
    return PALE_BLUE if number > 1 else WHITE


def _by_sign(number: int) -> str:
    return PALE_GREEN if number > 0 else PALE_ORANGE if number < 0 else WHITE


def _grid(drawing: Drawing, x: float, y: float, numbers: np.ndarray, side: float, fill: Callable[[int], str]) -> None:
    for row, line in enumerate(numbers.tolist()):
        for column, number in enumerate(line):
            label = str(number).replace("-", "−")
            drawing.box(x + column * side, y + row * side, side, side, label, fill=fill(number), radius=0, line=1.5)


def network() -> Drawing:
    """Draw a network from its image to its logits, with the shapes of EfficientNet-Lite0."""
    features = MAPS[-1][0]
    drawing = Drawing(
        "What a network is made of",
        "Layers of filters, each with a non-linearity, turn an image into ever smaller maps with ever more channels. "
        f"Pooling makes {features:,} features of the last maps, and a head with a row of weights for each of the "
        f"{len(CLASSES)} classes makes {len(CLASSES)} logits of these.",
        534,
    )
    middle, names, first, pitch = 132, 226, 90, 174
    drawing.box(146, 22, 22, 36, fill=FROZEN, radius=4)
    drawing.text(182, 40, "filters, then a non-linearity", anchor="start")
    drawing.text(686, 40, "backbone", anchor="end", face="bold")
    drawing.photo(first - 54, middle - 54, 108)
    drawing.text(first, names, "3 × 224 × 224", size=SMALL)
    end = first + 54
    for i, ((channels, side), planes, width) in enumerate(zip(MAPS, (3, 5, 8), (86, 50, 26), strict=True), start=1):
        step, centre = 7, first + i * pitch
        spread = width + step * (planes - 1)
        start = centre - spread / 2
        gap = (end + start) / 2
        drawing.arrow((end + 6, middle), (gap - 14, middle))
        drawing.box(gap - 12, middle - 38, 24, 76, fill=FROZEN, radius=4)
        drawing.arrow((gap + 12, middle), (start - 4, middle))
        for plane in range(planes):
            x, y = start + step * plane, middle - spread / 2 + step * plane
            drawing.box(x, y, width, width, fill=PALE_GREEN, radius=1, line=1.5)
        drawing.text(centre, names, f"{channels:,} × {side} × {side}", size=SMALL)
        end = start + spread
    drawing.text(first + 1.5 * pitch - 60, names + 34, "smaller maps, more channels", size=SMALL, colour=MUTED)
    drawing.arrow((first + 3 * pitch, names + 16), (first + 3 * pitch, 288), (92, 288), (92, 356))
    drawing.text(352, 312, "pooling: of each map its mean", size=SMALL)
    _linear(drawing, features, 396)
    return drawing


def _linear(drawing: Drawing, features: int, middle: float) -> None:
    def row(x: float, y: float, fill: str) -> None:
        drawing.squares(x, y - 12, [fill] * 3, side=24)
        drawing.text(x + 86, y, "…")
        drawing.squares(x + 100, y - 12, [fill], side=24)

    names = middle + 100
    row(30, middle, PALE_GREEN)
    drawing.text(92, names, f"{features:,}\nfeatures", face="bold")
    drawing.arrow((162, middle), (232, middle))
    drawing.box(240, middle - 60, 164, 120, fill="none", radius=12, dash="6 5")
    for i, name in enumerate(CLASSES):
        y = middle + 38 * (i - 1)
        row(260, y, LEARNS)
        drawing.arrow((410, y), (502, y))
        drawing.box(510, y - 17, 110, 34, name, fill=PALE_BLUE, radius=2)
    drawing.text(322, names, f"Linear head:\n{len(CLASSES)} × {features:,} weights", face="bold")
    drawing.text(565, names, f"{len(CLASSES)}\nlogits", face="bold")


def gradient_descent() -> Drawing:
    """Draw steps down the slope of a loss, and steps that are too large."""
    drawing = Drawing(
        "Gradient descent on one weight",
        "The loss, drawn against one weight, is a valley. On the left each step goes down the slope and ends nearer to "
        "the lowest point; on the right the steps are so large that each leaps over it and ends higher.",
        420,
    )
    for centre, title, start, rate in ((184, "a good rate", -1.08, 0.29), (524, "too large a rate", 0.5, 1.1)):
        weights = [start]
        for _ in range(STEPS):
            weights.append(weights[-1] - rate * 2 * weights[-1])  # the slope of w² is 2w
        drawing.text(centre, 32, title, face="bold")
        _valley(drawing, centre, weights)
        if start < 0:
            x, y = _place(centre, start)
            ends = [_place(centre, start + run, start**2 + 2 * start * run) for run in (-0.08, 0.44)]
            drawing.path(ends, line=5, stroke=RED)
            drawing.text(x + 30, y, "slope", anchor="start")
    drawing.text(350, 386, "new weight = weight − rate × slope")
    return drawing


def _place(centre: float, weight: float, loss: float | None = None) -> Point:
    """Return where a weight and its loss, or another, lie in the panel around a centre."""
    return centre + 114 * weight, 300 - 158 * (weight**2 if loss is None else loss)


def _valley(drawing: Drawing, centre: float, weights: list[float]) -> None:
    left, right, bottom = centre - 146, centre + 146, 316
    drawing.arrow((left, bottom), (left, 78))
    drawing.arrow((left, bottom), (right, bottom))
    drawing.text(left - 14, 62, "loss", size=SMALL, anchor="start", colour=MUTED)
    drawing.text(right, bottom + 22, "weight", size=SMALL, anchor="end", colour=MUTED)
    drawing.path([_place(centre, i / 40) for i in range(-46, 47)], stroke=BLUE, line=4)
    points = [_place(centre, weight) for weight in weights]
    for (x0, y0), (x, y) in pairwise(points):
        length = hypot(x - x0, y - y0)
        if length > 40:
            drawing.arrow((x0, y0), (x - 9 * (x - x0) / length, y - 9 * (y - y0) / length))
    for i, (x, y) in enumerate(points):
        drawing.disc(x, y, 9 if i == 0 else 7, fill=LEARNS, stroke=INK)
