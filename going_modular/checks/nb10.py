"""Checks of the exercises of notebook 10, Ship it.

`resize`, `port` (find five bugs), `measure` (with a clock that the check moves), `quantise`, `record` and `alarm` (beat
an alarm by mean confidence, on pictures that it was not shown). `yours_or_ours("resize", my_resize)` gives the function
that the notebook's later cells use.
"""

import copy
import functools
import json
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta, timezone
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image, ImageEnhance, ImageFilter
from torch import nn

from going_modular import data_setup, model_builder
from going_modular.checks import _parts10
from going_modular.checks._check import Attempt, Check, choose_part, describe
from going_modular.data.splits import groups_of

LITE0, TABLE = "efficientnet_lite0", r"(\d+)"  # pizza_1000.jpg stands on table 1000
LEARN_TABLES, USED_TABLES = 20, 40
UPDATES = 150  # of the head
BATCH, DRAWS, CLEAN, CHANGED = 24, 12, 6, 3  # images; splits by table; batches of each in a split
MOST_FALSE, LEAST_FOUND = 0.10, 0.75
TINT, DIM, BLUR = (0.5, 0.8, 1.0), 0.3, 2


@Check
def resize(attempt: Attempt) -> None:
    """Check a function that resizes a picture as Pillow's bicubic filter does, without rounding."""
    rng = np.random.default_rng(0)
    dot = np.zeros((1, 9, 1))
    dot[0, 4] = 255
    stripes = np.tile(np.array([0.0, 255.0]), 12).reshape(1, 24, 1)
    step = np.repeat([0.0, 255.0], 8).reshape(1, 16, 1)
    noise = rng.random((20, 30, 3)) * 255
    cases = (
        (noise, 20, 30, "a picture of 20 x 30 to 20 x 30",
         "at the same size nothing changes: pixel i has its middle at i + 0.5, in the old picture and in the new"),
        (np.full((12, 12, 3), 90.0), 5, 7, "one grey, 12 x 12, to 5 x 7",
         "one grey stays one grey, at the rim, too: divide the weights of each new pixel by their sum"),
        (dot, 1, 18, "a white dot in 1 x 9 to 1 x 18",
         "enlarging: the filter is as wide as the formula has it, 2 old pixels to either side"),
        (stripes, 1, 4, "stripes of one pixel, 1 x 24, to 1 x 4",
         "shrinking: the new pixel covers 6 old ones, so divide the distance by 6 before the formula"),
        (step, 1, 11, "a step from 0 to 255, 1 x 16, to 1 x 11",
         "a cubic filter swings beyond 0 and 255 at an edge: leave it so, nothing is cut off or rounded here"),
        (noise, 8, 45, "a picture of 20 x 30 to 8 x 45", "height and width each have a scale of their own"),
        (noise[:, :, :1], 33, 7, "a grey picture of 20 x 30 to 33 x 7", "any number of channels"),
    )  # fmt: skip
    for picture, height, width, shown, hint in cases:
        given = picture.astype(np.float32)
        found = attempt(given.copy(), height, width, shown=shown)
        expected = _parts10.resize(given, height, width)
        _same_array(attempt, found, expected, hint, tolerance=0.02)


@Check
def port(attempt: Attempt) -> None:
    """Check a mended preprocessing function: its faults are told one by one."""
    rng = np.random.default_rng(1)
    usual = {"resize": [64], "crop": 48, "interpolation": "BICUBIC", "mean": [0.5, 0.4, 0.3], "std": [0.2, 0.25, 0.5]}
    plain = Image.new("RGB", (64, 64), (250, 120, 30))
    noise = Image.fromarray(rng.integers(0, 256, (64, 64, 3), np.uint8))
    large = Image.fromarray(rng.integers(0, 256, (150, 202, 3), np.uint8))
    wide = Image.fromarray(np.tile(np.arange(0, 256, 2, np.uint8)[None, :, None], (64, 1, 3)))
    cases = (
        (plain, usual, "one colour, 64 x 64",
         "follow one pixel: 0 to 255 becomes 0 to 1, of that the mean is taken away, what is left is divided"),
        (noise, usual, "noise, 64 x 64, which needs no resizing",
         "(side, side, 3) becomes (3, side, side) with each pixel in its place: reshape does not move axes"),
        (wide, usual, "a ramp, 128 x 64", "the crop lies in the middle: half of what is left over is cut off left"),
        (large, usual, "noise, 202 x 150", "the filter is in `told`, too: Image.Resampling[...] takes its name"),
        (large, usual | {"interpolation": "BILINEAR"}, "noise, 202 x 150, interpolation BILINEAR",
         "take the filter from `told`, whatever it is"),
        (large.transpose(Image.Transpose.ROTATE_90), usual | {"crop": 63}, "noise, 150 x 202, crop 63",
         "Pillow's sizes are (width, height); half of an odd number of pixels is rounded: round((length - side) / 2)"),
    )  # fmt: skip
    for picture, told, shown, hint in cases:
        found = attempt(picture.copy(), copy.deepcopy(told), shown=shown)
        _same_array(attempt, found, _parts10.see(picture, told), hint, tolerance=1e-4, dtype=np.float32)


def _same_array(
    attempt: Attempt, found: object, expected: np.ndarray, hint: str, *, tolerance: float, dtype: type | None = None
) -> None:
    """Raise Wrong unless an array has the shape, the kind of numbers and the values of another."""
    is_array = isinstance(found, np.ndarray)
    attempt.require(is_array, f"returned {describe(found)}", hint="return a NumPy array")
    attempt.require(
        found.shape == expected.shape, f"returned an array {found.shape} instead of {expected.shape}", hint=hint
    )
    off = np.abs(found.astype(float) - expected).max()
    attempt.require(bool(off <= tolerance), f"returned values that are off by up to {off:.3g}", hint=hint)
    right_kind = dtype is None or found.dtype == dtype
    attempt.require(right_kind, f"returned an array of {found.dtype}", hint=f"the model takes {np.dtype(dtype)}")


class _World:
    """Calls that take a made-up time: the first of each is slow, and the machine gets slower as time passes."""

    def __init__(self, seconds: dict[str, float]) -> None:
        self.now, self.called = 100.0, []
        self.taken: dict[str, list[float]] = {name: [] for name in seconds}
        self.calls = {name: functools.partial(self._run, name, base) for name, base in seconds.items()}

    def clock(self) -> float:
        """Return what time it is, in seconds."""
        return self.now

    def _run(self, name: str, base: float) -> str:
        took = base * (10 if not self.taken[name] else 1 + 0.1 * len(self.called))
        self.now += took
        self.called.append(name)
        self.taken[name].append(took)
        return f"answer of {name}"


@Check
def measure(attempt: Attempt) -> None:
    """Check a function that times several calls fairly."""
    for seconds, rounds in (({"torch": 0.5, "onnx": 0.25}, 3), ({"a": 0.125, "b": 0.25, "c": 0.5}, 5)):
        world, names = _World(seconds), list(seconds)
        shown = f"calls {', '.join(names)} and rounds={rounds}"
        found = attempt(dict(world.calls), rounds, world.clock, shown=shown)
        called, count = world.called, len(names)
        attempt.require(
            len(called) == count * (rounds + 1), f"{len(called)} calls were made",
            hint="each call once to warm up, and then once in each round",
        )  # fmt: skip
        parts = [called[i : i + count] for i in range(0, len(called), count)]
        attempt.require(
            all(sorted(part) == sorted(names) for part in parts), f"the order was {', '.join(called)}",
            hint="first all of them once, then in each round all of them once",
        )  # fmt: skip
        turned = [names[number % count :] + names[: number % count] for number in range(rounds)]
        attempt.require(
            parts[1:] == turned, f"after the warm-up the order was {', '.join(called[count:])}",
            hint="round 0 begins with the first call, round 1 with the second, and so on; then the first begins again",
        )  # fmt: skip
        expected = {name: taken[1:] for name, taken in world.taken.items()}
        attempt.compare(
            found, expected, hint="read the clock right before and right after each call; the warm-up does not count"
        )


@Check
def quantise(attempt: Attempt) -> None:
    """Check a function that rounds weights to eight bits, a scale for each row."""
    cases = (
        ([[1.0, -2.0, 0.5]], "127 stands for the largest of a row's numbers"),
        ([[0.5, -4.0, 1.0]], "the largest by its size: -4 becomes -127"),
        ([[1.0, -2.0, 0.5], [0.01, 0.02, -0.005]], "each row has a scale of its own"),
        ([[127.0, 0.6, -0.6, 3.5, -1.4]], "round to the nearest whole number, as np.rint does; astype cuts off"),
        ([[0.0, 0.0], [1.0, 0.25]], "a row of zeros cannot be divided by its largest: let its scale be 1"),
    )
    for rows, hint in cases:
        weights = np.array(rows)
        found = attempt(weights.copy(), shown=f"weights {rows}")
        is_pair = isinstance(found, list | tuple) and len(found) == 2
        attempt.require(is_pair, f"returned {describe(found)}", hint="return two arrays: the numbers and the scales")
        numbers, scales = found
        expected_numbers, expected_scales = _parts10.quantise(weights)
        _same_array(attempt, scales, expected_scales, f"of the scales: {hint}", tolerance=1e-6)
        _same_array(attempt, numbers, expected_numbers, hint, tolerance=0)
        attempt.require(
            numbers.dtype == np.int8, f"the numbers are {numbers.dtype}", hint="eight bits: astype(np.int8)"
        )


@Check
def record(attempt: Attempt) -> None:
    """Check a function that writes a line of JSON about an answer."""
    digest = "19bc75e6490478b0f6b33c3ecb6e0edf93afaa3f6cc963af50deca4c456b9b56"
    food, signs = ["pizza", "steak", "sushi"], ["披萨", "寿司"]
    noon = datetime(2026, 5, 1, 12, 0, 30, 250_000, UTC)
    india = datetime(2026, 1, 1, 4, 30, 0, tzinfo=timezone(timedelta(hours=5, minutes=30)))
    cases = (
        (np.array([0.7, 0.2, 0.1]), food, 0.25, noon, "five keys: time, model, class, confidence, ms"),
        (np.array([0.1, 0.2, 0.7], np.float32), food, 0.0126, noon,
         "the class with the largest probability, by its name; the probability as a float of Python's"),
        (np.array([0.2, 0.8]), signs, 0.004, noon, "a class name may be in any script"),
        (np.array([0.4, 0.3, 0.3]), food, 1.5, india, "logs of several machines are compared: astimezone(UTC) first"),
    )  # fmt: skip
    for probabilities, names, seconds, when, hint in cases:
        shown = f"probabilities {_rounded(probabilities)}, {seconds} seconds, {when.isoformat()}"
        found = attempt(probabilities.copy(), list(names), digest, seconds, when, shown=shown)
        is_line = isinstance(found, str) and "\n" not in found
        attempt.require(is_line, f"returned {describe(found)}", hint="return one line of text: json.dumps makes it")
        try:
            told = json.loads(found)
        except ValueError:
            told = None
        attempt.require(isinstance(told, dict), f"returned {describe(found)}", hint="json.dumps of a dictionary")
        more = sorted(set(told) - {"time", "model", "class", "confidence", "ms"})
        attempt.require(not more, f"the line has {', '.join(more)}, too", hint="log what was asked for, and no more")
        attempt.compare(told, json.loads(_parts10.record(probabilities, names, digest, seconds, when)), hint=hint)


def _rounded(values: np.ndarray) -> list[float]:
    return [round(float(value), 3) for value in values]


class _Looked(NamedTuple):
    """What the model makes of the pictures that an alarm is tried on."""

    tables: np.ndarray  # (N,)
    clean: tuple[np.ndarray, np.ndarray]  # features (N, 1280) and probabilities (N, 3)
    changed: dict[str, tuple[np.ndarray, np.ndarray]]  # by what was done to the pictures


@Check
def alarm(attempt: Attempt) -> None:
    """Try an alarm on clean and on changed batches, of tables that it was not shown."""
    rng = np.random.default_rng(0)
    small = [rng.random((30, 8)), np.full((30, 3), 1 / 3), rng.random((BATCH, 8)), np.full((BATCH, 3), 1 / 3)]
    answer = attempt(*small, shown="random features (30, 8) and (24, 8)")
    is_bool = isinstance(answer, bool | np.bool_)
    attempt.require(is_bool, f"returned {describe(answer)}", hint="return True, for an alarm, or False")
    rates = alarm_rates(attempt)
    attempt.shown = f"batches of {BATCH} pictures of other tables, {DRAWS} times with other known ones"
    false, found = rates.pop("clean"), rates
    attempt.require(
        false <= MOST_FALSE, f"{100 * false:.0f} of 100 clean batches raised it, and 10 may",
        hint="the known images are few, so a limit that is read off them is uncertain, too: how far do a batch and the "
        "rest lie apart if you draw the batch from all of them at random?",
    )  # fmt: skip
    mean = sum(found.values()) / len(found)
    each = ", ".join(f"{name} {100 * share:.0f}" for name, share in found.items())
    attempt.require(
        mean >= LEAST_FOUND, f"{100 * mean:.0f} of 100 changed batches raised it, and 75 should ({each})",
        hint="the probabilities of three classes say little of a picture; the features say more",
    )  # fmt: skip


def alarm_rates(raised: Callable[..., bool]) -> dict[str, float]:
    """Return how often an alarm is raised: by `clean` batches, and by those of each kind of change.

    Args:
        raised: takes features and probabilities of known images, then those of a batch.
    """
    looked = _looked()
    counts: dict[str, list[bool]] = {name: [] for name in ("clean", *looked.changed)}
    names = np.unique(looked.tables)
    for draw in range(DRAWS):
        rng = np.random.default_rng(draw)
        is_known = np.isin(looked.tables, rng.permutation(names)[: len(names) // 2])
        known = [values[is_known] for values in looked.clean]
        for name, batches in [("clean", CLEAN), *((name, CHANGED) for name in looked.changed)]:
            source = looked.clean if name == "clean" else looked.changed[name]
            for _ in range(batches):
                rows = rng.choice(np.flatnonzero(~is_known), BATCH, replace=False)
                given = [values.copy() for values in (*known, *(values[rows] for values in source))]
                counts[name].append(bool(raised(*given)))
    return {name: float(np.mean(answers)) for name, answers in counts.items()}


@functools.cache
def _looked() -> _Looked:
    """Train a head on some tables of the sample, and look at pictures of others, as they are and changed."""
    from going_modular.data.images import open_image

    splits = data_setup.load_splits("sample")
    samples = splits.train.samples + splits.test.samples
    tables = np.array([*groups_of(splits.train, TABLE), *groups_of(splits.test, TABLE)])
    order = np.random.default_rng(10).permutation(np.unique(tables))
    learn = np.flatnonzero(np.isin(tables, order[:LEARN_TABLES]))
    used = np.flatnonzero(np.isin(tables, order[LEARN_TABLES : LEARN_TABLES + USED_TABLES]))
    opened = [open_image(samples[row][0]) for row in used]
    model, transform = model_builder.create_model(LITE0, len(splits.class_names))
    trunk = model_builder.fold(model_builder.backbone(model))

    @torch.inference_mode()
    def features_of(pictures: Sequence[Image.Image]) -> torch.Tensor:
        batches = [torch.stack([transform(picture) for picture in pictures[i : i + 16]])
                   for i in range(0, len(pictures), 16)]  # fmt: skip
        return torch.cat([trunk(batch).flatten(1) for batch in batches])

    head = _trained(features_of([open_image(samples[row][0]) for row in learn]), [samples[row][1] for row in learn])

    @torch.inference_mode()
    def look(pictures: Sequence[Image.Image]) -> tuple[np.ndarray, np.ndarray]:
        features = features_of(pictures)
        return features.numpy(), head(features).softmax(dim=1).numpy()

    changed = {
        "dimmed": [ImageEnhance.Brightness(picture).enhance(DIM) for picture in opened],
        "blurred": [picture.filter(ImageFilter.GaussianBlur(BLUR)) for picture in opened],
        "tinted": [Image.fromarray((np.asarray(picture) * np.array(TINT)).astype(np.uint8)) for picture in opened],
    }
    return _Looked(tables[used], look(opened), {name: look(pictures) for name, pictures in changed.items()})


def _trained(features: torch.Tensor, labels: list[int]) -> nn.Module:
    """Return a head that was trained on features (N, D)."""
    torch.manual_seed(0)
    head, targets = nn.Linear(features.shape[1], 3), torch.tensor(labels)
    optimizer = torch.optim.AdamW(head.parameters(), lr=1e-3)
    inputs = features.clone()  # what was made in inference mode cannot enter autograd
    for _ in range(UPDATES):
        loss = nn.functional.cross_entropy(head(inputs), targets)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return head


yours_or_ours = functools.partial(
    choose_part,
    {
        "resize": (resize, _parts10.resize),
        "port": (port, _parts10.see),
        "measure": (measure, _parts10.measure),
        "quantise": (quantise, _parts10.quantise),
        "record": (record, _parts10.record),
        "alarm": (alarm, _parts10.alarm),
    },
)
