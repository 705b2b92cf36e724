"""A learning curve as numbers that a page draws with a few lines of SVG."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from going_modular.inspection.learning_curve import LearningCurve, Point

WIDTH, HEIGHT = 420, 300  # of the drawing; a page scales it
LEFT, RIGHT, TOP, BOTTOM = 40, 410, 28, 245  # of the plot in it
MARGIN = 0.06  # of the logarithm's range, left free at either end
MOST_TICKS = 6


@dataclass(frozen=True)
class Tick:
    """A number beside an axis."""

    at: float
    text: str


@dataclass(frozen=True)
class Chart:
    """A drawing: `points` of lines and polygons are text as SVG takes it."""

    title: str
    caption: str
    x_title: str
    y_title: str
    x_ticks: Sequence[Tick]
    y_ticks: Sequence[Tick]
    measured: str
    further: str
    bands: Sequence[str]
    dots: Sequence[tuple[float, float]]
    width: int = WIDTH
    height: int = HEIGHT
    left: int = LEFT
    right: int = RIGHT
    bottom: int = BOTTOM


def learning_curve_chart(curve: LearningCurve) -> Chart:
    """Draw accuracy against images a class, on a logarithmic axis, and what it is read on to, dashed."""
    ahead = (curve.now, curve.ahead)
    everything = (*curve.measured, *ahead)
    numbers = [math.log(point.images) for point in everything]
    margin = MARGIN * (max(numbers) - min(numbers))
    low = math.floor(10 * min(point.low for point in everything)) / 10
    high = math.ceil(10 * max(point.high for point in everything)) / 10

    def x(images: float) -> float:
        return round(
            float(np.interp(math.log(images), [min(numbers) - margin, max(numbers) + margin], [LEFT, RIGHT])), 1
        )

    def y(value: float) -> float:
        return round(float(np.interp(value, [low, high], [BOTTOM, TOP])), 1)

    def line(points: Sequence[Point]) -> str:
        return " ".join(f"{x(point.images)},{y(point.accuracy)}" for point in points)

    def band(points: Sequence[Point]) -> str:
        upper = [f"{x(point.images)},{y(point.high)}" for point in points]
        return " ".join(upper + [f"{x(point.images)},{y(point.low)}" for point in reversed(points)])

    steps = round((high - low) * 10)
    every = 1 if steps < MOST_TICKS else 2
    return Chart(
        title=f"Accuracy against images a class; with {curve.ahead.images:.0f} about {curve.ahead.accuracy:.3f}",
        caption="Dots: measured, with bands that hold 95% of single measurements. Dashed: read on to twice as many "
        "images as there are, with the band that the noise of the measurements leaves.",
        x_title="images a class to learn from",
        y_title="accuracy",
        x_ticks=[Tick(x(point.images), f"{point.images:.0f}") for point in (*curve.measured, curve.ahead)],
        y_ticks=[Tick(y(low + step / 10), f"{low + step / 10:.1f}") for step in range(0, steps + 1, every)],
        measured=line(curve.measured),
        further=line((curve.measured[-1], *ahead)),
        bands=[band(curve.measured), band(ahead)],
        dots=[(x(point.images), y(point.accuracy)) for point in curve.measured],
    )
