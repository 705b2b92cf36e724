"""Checks of the exercises of notebook 07, How good is it, really?

`test_images`, `interval` (find three bugs), `rates`, `roc_curve`, `threshold`, `calibration_error`, `slices`,
`dark_head` (beat a head in the dark; scored once a call, on pictures that it was not shown) and `leaks`.
`yours_or_ours("interval", my_interval)` gives the function that the notebook's later cells use.
"""

import copy
import functools
import math
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image, ImageEnhance
from torch import nn

from going_modular import data_setup, model_builder
from going_modular.checks import _parts07
from going_modular.checks._check import Attempt, Check, choose_part, describe
from going_modular.data.splits import groups_of

BITS = 256  # of a hash
TABLE = r"(\d+)"  # pizza_1000.jpg stands on table 1000
LITE0, OF_CLASS, HELD_TABLES = "efficientnet_lite0", 20, 30
DARKEST, DARK = 0.04, 0.12  # factors of brightness
MARGIN, MAY_LOSE = 0.05, 0.04  # of accuracy, in the dark and in the light
UPDATES = 200  # of the head to beat


@Check
def test_images(attempt: Attempt) -> None:
    """Check a function that returns how many test images are needed."""
    cases = (
        (0.5, 0.1, {}, 381, "the interval is 2 * h wide, from end to end"),
        (0.9, 0.1, {}, 141, "under the root stand two terms, p * (1 - p) / n and z**2 / (4 * n**2); the root is "
         "divided by 1 + z**2 / n"),
        (0.1, 0.1, {}, 141, "p and 1 - p need the same number"),
        (1.0, 0.2, {}, 16, "all right is no proof of perfection: at p = 1 the root is not 0"),
        (0.8, 0.5, {}, 8, "with few images the second term under the root counts"),
        (0.9, 0.05, {}, 557, "half the width takes about four times the images"),
        (0.7, 0.2, {"z": 2.5758}, 134, "z is an argument: 2.5758 for 99%"),
        (0.5, 0.999, {}, 1, "one image is the least"),
    )  # fmt: skip
    for p, width, options, expected, hint in cases:
        attempt.expect(expected, p, width, hint=hint, **options)


@Check
def interval(attempt: Attempt) -> None:
    """Check a function that returns the interval of a difference between two models."""
    rng = np.random.default_rng(7)
    noise = rng.random(90).round()
    attempt.expect(
        (0.0, 0.0), noise.copy(), noise.copy(), np.arange(90) // 3, 500,
        shown="two models that answer alike, right on half of 90 images of 30 tables",
        hint="a model is as good as itself: how can the two means differ? Look at the lines that draw", tolerance=1e-9,
    )  # fmt: skip
    tables = np.repeat(np.arange(30), 10)
    better = (tables % 2).astype(float)  # on every second table, on all its images
    half = 1.96 * math.sqrt(0.25 / 30)
    attempt.expect(
        (0.5 - half, 0.5 + half), np.zeros(300), better, tables,
        shown="30 tables of 10 images; on 15 tables the second model alone is right, and on all ten images",
        hint="the ten images of a table always go together, so there are only 30 things to draw", tolerance=0.035,
    )  # fmt: skip
    attempt.expect(
        (-0.5 - half, -0.5 + half), better, np.zeros(300), tables,
        shown="the same with the models exchanged", hint="the mean of `after` less that of `before`", tolerance=0.035,
    )  # fmt: skip
    half = 1.96 * math.sqrt(0.25 / 400)
    attempt.expect(
        (0.5 - half, 0.5 + half), np.zeros(400), np.arange(400) % 2.0, np.arange(400), 6000,
        shown="400 tables of one image; the second model alone is right on half of them; draws=6000",
        hint="which share of the differences lies between the two quantiles?", tolerance=0.0045,
    )  # fmt: skip
    tables = np.concatenate([np.arange(20), np.repeat(np.arange(20, 40), 9)])
    better = (tables < 20).astype(float)
    attempt.expect(
        _parts07.interval(np.zeros(200), better, tables), np.zeros(200), better, tables,
        shown="20 tables of 1 image, on which the second model alone is right, and 20 of 9, on which both are wrong",
        hint="a mean over the drawn images, so a table of nine counts nine times", tolerance=0.035,
    )  # fmt: skip
    scores = rng.random(200)  # no two draws of these are equal by chance
    twice = [attempt(np.zeros(200), scores, tables, 200, 3, shown="the same data twice, seed=3") for _ in range(2)]
    attempt.compare(twice[0], twice[1], what="the first call returned", hint="the same seed draws the same")


@Check
def rates(attempt: Attempt) -> None:
    """Check a function that returns sensitivity, specificity and precision."""
    two, three = [[80, 10], [2, 8]], [[5, 1, 0], [2, 6, 2], [0, 1, 13]]
    cases = (
        (two, 1, (8 / 10, 80 / 90, 8 / 18), "8 of 10 are found, 80 of the 90 others are left alone, 8 of 18 calls hit"),
        (two, 0, (80 / 90, 8 / 10, 80 / 82), "c = 0 is looked for now: sensitivity and specificity change places"),
        (three, 0, (5 / 6, 22 / 24, 5 / 7), "all other classes are the rest, and what is mixed up among them is no "
         "matter here: of those 24 images 2 were called class 0"),
        (three, 2, (13 / 14, 14 / 16, 13 / 15), "of 14 images of class 2 13 are found, and 2 of the 16 others are "
         "called class 2"),
    )  # fmt: skip
    for matrix, c, expected, hint in cases:
        attempt.expect(expected, copy.deepcopy(matrix), c, shown=f"matrix={matrix}, c={c}", hint=hint)


@Check
def roc_curve(attempt: Attempt) -> None:
    """Check a function that returns the points of a ROC curve."""
    third = 1 / 3
    cases = (
        ([True, False], [0.9, 0.2], [(0.0, 0.0), (0.0, 1.0), (1.0, 1.0)],
         "a perfect order goes up first, then right; a point is (1 - specificity, sensitivity)"),
        ([False, True], [0.9, 0.2], [(0.0, 0.0), (1.0, 0.0), (1.0, 1.0)],
         "the highest score is a negative's: right first, then up"),
        ([True, False, True, True, False], [0.3, 0.1, 0.8, 0.5, 0.6],
         [(0.0, 0.0), (0.0, third), (0.5, third), (0.5, 2 * third), (0.5, 1.0), (1.0, 1.0)],
         "the scores come in any order, and the largest threshold is first; positives and negatives are divided by "
         "their own number"),
        ([True, False, False, True], [0.7, 0.7, 0.1, 0.7], [(0.0, 0.0), (0.5, 1.0), (1.0, 1.0)],
         "images of one score are called together: one point, not several"),
        ([True, False], [0.4, 0.4], [(0.0, 0.0), (1.0, 1.0)], "with one score for all there is one threshold"),
    )  # fmt: skip
    for positive, scores, expected, hint in cases:
        attempt.expect(expected, list(positive), list(scores), shown=f"positive={positive}, scores={scores}", hint=hint)


@Check
def threshold(attempt: Attempt) -> None:
    """Check a function that returns the cheapest threshold."""
    cases = (
        ([False, True, False, True], [0.1, 0.9, 0.4, 0.6], 1, 1, 0.6, "from 0.6 on nothing is wrong: a score equal to "
         "the threshold is called positive"),
        ([True, False, True], [0.2, 0.5, 0.8], 10, 1, 0.2, "a missed positive costs 10 here, a false alarm 1: rather "
         "one alarm too many"),
        ([True, False, True], [0.2, 0.5, 0.8], 1, 10, 0.8, "a false alarm costs 10 here, a missed positive 1"),
        ([True, False, True], [0.2, 0.5, 0.8], 1, 1, 0.8, "from 0.2 on and from 0.8 on it costs 1: of equal costs the "
         "largest threshold"),
        ([True] + [False] * 9, [0.5, 0.6, 0.7] + [0.1] * 7, 1, 1, math.inf, "0.5 finds the one positive and raises two "
         "false alarms; nothing called costs one miss. Costs add up over images, not over shares of a class"),
        ([False, False], [0.3, 0.8], 1, 1, math.inf, "where nothing is positive every call is a false alarm"),
        ([False, True, True], [0.5, 0.5, 0.9], 3, 1, 0.5, "images of one score are called together"),
    )  # fmt: skip
    for positive, scores, missed, false_alarm, expected, hint in cases:
        attempt.expect(
            expected,
            list(positive),
            list(scores),
            missed,
            false_alarm,
            shown=f"positive={positive}, scores={scores}, missed={missed}, false_alarm={false_alarm}",
            hint=hint,
        )


@Check
def calibration_error(attempt: Attempt) -> None:
    """Check a function that returns the expected calibration error."""
    cases = (
        ([0.9, 0.9, 0.9, 0.9], [1, 1, 1, 1], 10, 0.1, "0.9 on average, all right: 0.1 too modest; nine bins are empty"),
        ([0.9, 0.9, 0.9, 0.9], [1, 1, 0, 0], 10, 0.4, "0.9 on average, half right"),
        ([0.9, 0.3], [0, 1], 1, 0.1, "in one bin, 0.6 on average, half right: the means are compared, not the images"),
        ([0.9, 0.7], [0, 1], 1, 0.3, "in one bin, 0.8 on average, half right: what is too sure and what is too modest "
         "cancel out within a bin"),
        ([0.75, 0.45], [0, 1], 2, 0.65, "they do not cancel out across bins: take each bin's distance as positive"),
        ([0.95, 0.95, 0.95, 0.65], [1, 1, 1, 0], 10, 0.2, "a bin counts by its images: 3 of 4 images are 0.05 off, "
         "and one 0.65"),
        ([0.5, 0.75], [1, 0], 2, 0.625, "0.5 is on an edge, and belongs to the bin below"),
        ([1.0, 1.0], [1, 0], 5, 0.5, "a confidence of 1 belongs to the last bin"),
    )  # fmt: skip
    for confidence, right, bins, expected, hint in cases:
        attempt.expect(
            expected,
            np.array(confidence),
            np.array(right, dtype=bool),
            bins,
            shown=f"confidence={confidence}, right={right}, bins={bins}",
            hint=hint,
        )


@Check
def slices(attempt: Attempt) -> None:
    """Check a function that counts right answers by slice."""
    cases = (
        (["sun", "lamp", "sun"], [True, True, False], [("sun", 1, 2), ("lamp", 1, 1)], "the worst slice comes first"),
        (["b", "a"], [True, True], [("a", 1, 1), ("b", 1, 1)], "equal shares stand in the order of the alphabet"),
        (["b"] * 4 + ["a"] * 2, [True, True, False, False, True, False], [("a", 1, 2), ("b", 2, 4)],
         "1 of 2 and 2 of 4 are equal shares"),
        (["x"] * 4 + ["y"], [True, True, True, False, False], [("y", 0, 1), ("x", 3, 4)],
         "sort by share, not by count; a slice may have no right image"),
        (["none"] * 3, [False] * 3, [("none", 0, 3)], "there may be one value only"),
        ([], [], [], "without images there is no slice"),
    )  # fmt: skip
    for values, right, expected, hint in cases:
        attempt.expect(expected, list(values), list(right), shown=f"values={values}, right={right}", hint=hint)


class _Pictures(NamedTuple):
    """What the exercise of the dark head is made of: PIL images and their labels (N,)."""

    learn: list[Image.Image]
    labels: torch.Tensor
    day: list[Image.Image]  # held back
    night: list[Image.Image]  # the same, darkened
    held_labels: torch.Tensor


class _ToBeat(NamedTuple):
    """Features (N, 1280) of the pictures that were held back, and how often the head to beat is right on them."""

    day: torch.Tensor
    night: torch.Tensor
    in_light: float  # in [0, 1]
    in_dark: float


@Check
def dark_head(attempt: Attempt) -> None:
    """Check a function that returns a head for the dark: it has to beat a head trained on bright pictures."""
    given = _pictures()
    made = attempt([picture.copy() for picture in given.learn], given.labels.clone(), _features_of, shown="60 pictures")
    attempt.require(
        isinstance(made, nn.Module), f"returned {describe(made)}", hint="return the trained head, an nn.Module"
    )
    to_beat = _to_beat()
    made.cpu().eval()
    with torch.inference_mode():
        logits = [made(values.clone()) for values in (to_beat.day, to_beat.night)]
    shape = (len(given.held_labels), 3)
    for found in logits:
        attempt.require(
            isinstance(found, torch.Tensor) and tuple(found.shape) == shape,
            f"it gives {describe(found)}",
            hint=f"of {shape[0]} pictures the logits must be of shape {shape}",
        )
    light, dark = (_accuracy(found, given.held_labels) for found in logits)
    attempt.require(
        dark >= to_beat.in_dark + MARGIN,
        f"in the dark {dark:.3f} of {shape[0]} pictures are right, with the head to beat {to_beat.in_dark:.3f},",
        hint="these pictures were read once for this answer; what do the 60 lack that the dark ones have?",
    )
    attempt.require(
        light >= to_beat.in_light - MAY_LOSE,
        f"in the light {light:.3f} of {shape[0]} pictures are right, with the head to beat {to_beat.in_light:.3f},",
        hint="it has to serve by day as well: what did it learn from?",
    )


@Check
def leaks(attempt: Attempt) -> None:
    """Check a function that finds images that stand in both splits."""
    first, second, third = np.random.default_rng(7).integers(2, size=(3, BITS)).astype(bool)
    near, far = first.copy(), first.copy()
    near[:10] ^= True
    far[:11] ^= True
    cases = (
        ([first, second], [second, third], [(1, 0)], "the second of train is the first of test"),
        ([first, second], [third], [], "strangers differ in about half of their 256 places"),
        ([first], [near, far], [(0, 0)], "10 places that differ are at most 10; 11 are more"),
        ([first, second], [second, near], [(0, 1), (1, 0)], "the rows of train come first in a pair, and in the order"),
        ([first, second, first], [near, second, first], [(0, 0), (0, 2), (1, 1), (2, 0), (2, 2)],
         "an image can have several copies"),
        ([first, first], [second], [], "copies within train are no leak"),
    )  # fmt: skip
    for train, test, expected, hint in cases:
        shown = f"{len(train)} hashes of train, {len(test)} of test, max_distance=10"
        attempt.expect(expected, np.array(train), np.array(test), 10, shown=shown, hint=hint)


@functools.cache
def _pictures() -> _Pictures:
    """Return 60 pictures of the sample and others, from other tables, by day and in the dark."""
    part = data_setup.load_splits("sample").train
    tables = np.array(groups_of(part, TABLE))
    rng = np.random.default_rng(5)
    order = rng.permutation(np.unique(tables))
    mine = np.flatnonzero(np.isin(tables, order[:OF_CLASS]))
    held = np.flatnonzero(np.isin(tables, order[OF_CLASS:][:HELD_TABLES]))
    learn, day = ([part[int(i)][0] for i in chosen] for chosen in (mine, held))
    factors = rng.uniform(DARKEST, DARK, len(day))
    night = [ImageEnhance.Brightness(picture).enhance(factor) for picture, factor in zip(day, factors, strict=True)]
    labels, held_labels = (torch.tensor(part.targets)[torch.from_numpy(chosen)] for chosen in (mine, held))
    return _Pictures(learn, labels, day, night, held_labels)


@functools.cache
def _to_beat() -> _ToBeat:
    """Return how a head does that learned from the 60 pictures as they are."""
    given = _pictures()
    inputs, day, night = (_features_of(pictures) for pictures in (given.learn, given.day, given.night))
    torch.manual_seed(0)
    head = nn.Linear(inputs.shape[1], 3)
    optimizer = torch.optim.AdamW(head.parameters(), lr=1e-3)
    for _ in range(UPDATES):
        loss = nn.functional.cross_entropy(head(inputs), given.labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with torch.inference_mode():
        in_light, in_dark = (_accuracy(head(values), given.held_labels) for values in (day, night))
    return _ToBeat(day, night, in_light, in_dark)


@functools.cache
def _backbone() -> tuple[nn.Module, functools.partial]:
    model, transform = model_builder.create_model(LITE0, 3)
    return model_builder.backbone(model).eval(), transform


def _features_of(pictures: list[Image.Image]) -> torch.Tensor:
    """Return Lite0's frozen features (N, 1280) of PIL images."""
    backbone, transform = _backbone()
    with torch.no_grad():
        batches = torch.stack([transform(picture) for picture in pictures]).split(30)
        return torch.cat([backbone(batch).flatten(1) for batch in batches])


def _accuracy(logits: torch.Tensor, labels: torch.Tensor) -> float:
    return (logits.argmax(dim=1) == labels).double().mean().item()


yours_or_ours = functools.partial(
    choose_part,
    {
        "test_images": (test_images, _parts07.test_images),
        "interval": (interval, _parts07.interval),
        "rates": (rates, _parts07.rates),
        "roc_curve": (roc_curve, _parts07.roc_curve),
        "threshold": (threshold, _parts07.threshold),
        "calibration_error": (calibration_error, _parts07.calibration_error),
        "slices": (slices, _parts07.slices),
        "leaks": (leaks, _parts07.leaks),
    },
)
