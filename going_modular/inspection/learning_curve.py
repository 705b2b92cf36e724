"""What more images would bring: accuracy against the number of images, read on to twice as many.

    curve = learning_curve(features, labels, groups, seed=42)
    curve.measured, curve.now, curve.ahead

Errors of most classifiers fall by a power law of the number of images, down to a rest that no number mends (Hestness
et al., 2017, https://arxiv.org/abs/1712.00409).
"""

from dataclasses import dataclass

import numpy as np

from going_modular.inspection import folds
from going_modular.inspection.labels import MOST_DIRECTIONS, directions

POINTS, DRAWS = 5, 10
FOLDS = 5  # one of which tests; the others are learnt from
LEAST = 3  # images a class, on average, at the first point
LEAST_GROWTH = 4  # from the first point to the last: over less no law shows
PENALTY = 1.0  # of ridge regression, for each column
EXPONENTS = np.linspace(0.1, 1.5, 29)  # of the power law
RESAMPLES = 500
DEVIATIONS = 1.96  # of a normal distribution, to each side of 95%


@dataclass(frozen=True)
class Point:
    """Accuracy with a number of images, and its band, of 95% if errors are normal; all in [0, 1]."""

    images: float  # a class, on average
    accuracy: float
    low: float
    high: float


@dataclass(frozen=True)
class LearningCurve:
    """Accuracy against the number of images."""

    measured: tuple[Point, ...]  # rising numbers; the band holds a single training and test
    now: Point  # with all images there are, read from the power law
    ahead: Point  # with twice as many; the band is a little narrow, as `benchmarks/bench_inspect.py` measures

    @property
    def gain(self) -> float:
        """What twice as many images would add to the accuracy."""
        return self.ahead.accuracy - self.now.accuracy


def learning_curve(
    features: np.ndarray, labels: np.ndarray, groups: np.ndarray | None = None, *, seed: int
) -> LearningCurve | None:
    """Measure accuracy with few to nearly all images, on images not learnt from, and read it on to twice as many.

    Args:
        features: (N, D), float32, finite.
        labels: (N,) integers from 0.
        groups: (N,) of integers or strings; images of one group are never learnt from and tested on. None: each stands
            alone.
        seed: of the draws and the bootstrap.

    Returns:
        None where there are too few images to see a law: fewer than 15 a class or so.
    """
    labels = np.asarray(labels)
    values = directions(features, MOST_DIRECTIONS)
    classes = len(np.unique(labels))
    dealt = [folds.deal(labels, groups, folds=FOLDS, seed=seed + draw) for draw in range(DRAWS)]
    most = min(int((fold != 0).sum()) for fold in dealt)
    if classes < 2 or most < LEAST_GROWTH * LEAST * classes or most == len(labels):
        return None
    sizes = np.geomspace(LEAST * classes, most, POINTS).round().astype(int)
    accuracies = np.array(
        [_draw(values, labels, fold, sizes, seed=seed + draw) for draw, fold in enumerate(dealt)]
    )  # (draws, points)
    means, spreads = accuracies.mean(axis=0), accuracies.std(axis=0, ddof=1)
    measured = [
        _point(size / classes, mean, mean - DEVIATIONS * spread, mean + DEVIATIONS * spread)
        for size, mean, spread in zip(sizes, means, spreads, strict=True)
    ]
    alone = len(labels) if groups is None else len(np.unique(groups))
    return LearningCurve(tuple(measured), *_read_on(accuracies, sizes, len(labels), classes, alone, seed))


def _point(images: float, accuracy: float, low: float, high: float) -> Point:
    return Point(float(images), *(float(np.clip(value, 0, 1)) for value in (accuracy, low, high)))


def _draw(values: np.ndarray, labels: np.ndarray, fold: np.ndarray, sizes: np.ndarray, *, seed: int) -> list[float]:
    """Return the accuracy on the first fold after learning from so many images of the others, each among the next."""
    from sklearn.linear_model import RidgeClassifier  # late: it takes half a second

    test, pool = np.flatnonzero(fold == 0), np.random.default_rng(seed).permutation(np.flatnonzero(fold != 0))
    place = np.empty(len(pool))
    for label in np.unique(labels[pool]):
        of_class = np.flatnonzero(labels[pool] == label)
        place[of_class] = (np.arange(len(of_class)) + 0.5) / len(of_class)
    pool = pool[np.argsort(place, kind="stable")]  # however many come first, the classes are in proportion
    found = []
    for size in sizes:
        inside = pool[:size]
        model = RidgeClassifier(alpha=PENALTY * values.shape[1]).fit(values[inside], labels[inside])
        found.append(float((model.predict(values[test]) == labels[test]).mean()))
    return found


def _read_on(
    accuracies: np.ndarray, sizes: np.ndarray, count: int, classes: int, alone: int, seed: int
) -> tuple[Point, Point]:
    """Return the points of all images and of twice as many, read from the power law.

    Their bands have two parts: how the curve falls by chance of the draws, by bootstrap; and that all draws test on
    the same few images, `alone` of which stand alone.
    """
    rng = np.random.default_rng(seed)
    drawn = rng.integers(len(accuracies), size=(RESAMPLES, len(accuracies)))
    curves = np.concatenate([accuracies.mean(axis=0)[None], accuracies[drawn].mean(axis=1)])
    ahead = np.array([count, 2 * count])
    read = 1 - power_law(1 - curves, sizes, ahead)  # (1 + resamples, 2)
    spreads = np.sqrt(read[1:].var(axis=0) + read[0] * (1 - read[0]) / alone)
    return tuple(
        _point(number / classes, value, value - DEVIATIONS * spread, value + DEVIATIONS * spread)
        for number, value, spread in zip(ahead, read[0], spreads, strict=True)
    )


def power_law(errors: np.ndarray, sizes: np.ndarray, ahead: np.ndarray) -> np.ndarray:
    """Fit rest + scale * size ** -exponent to rows of errors by least squares, and read it at other sizes.

    Rest and scale are not negative.

    Args:
        errors: (R, P), in [0, 1].
        sizes: (P,) numbers of images at which they were measured.
        ahead: (A,) numbers of images at which to read.

    Returns:
        (R, A).
    """
    best, read = np.full(len(errors), np.inf), np.zeros((len(errors), len(ahead)))
    for exponent in EXPONENTS:
        x, further = (sizes / sizes[-1]) ** -exponent, (ahead / sizes[-1]) ** -exponent
        scale = (errors - errors.mean(axis=1, keepdims=True)) @ (x - x.mean()) / ((x - x.mean()) ** 2).sum()
        rest = errors.mean(axis=1) - scale * x.mean()
        scale = np.where(rest < 0, errors @ x / (x @ x), scale)  # through the origin
        rest = rest.clip(min=0)
        rest, scale = np.where(scale < 0, errors.mean(axis=1), rest), scale.clip(min=0)
        misfit = ((rest[:, None] + scale[:, None] * x - errors) ** 2).sum(axis=1)
        is_better = misfit < best
        best = np.where(is_better, misfit, best)
        read[is_better] = (rest[:, None] + scale[:, None] * further)[is_better]
    return read
