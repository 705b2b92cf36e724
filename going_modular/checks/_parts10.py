"""What notebook 10 uses where an exercise was left out: the course's answers, built on the libraries' functions."""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime

import numpy as np
from PIL import Image

from going_modular.common import files

PERMUTATIONS, RAISED_AT = 500, 0.01


def resize(picture: np.ndarray, height: int, width: int) -> np.ndarray:
    """Return a picture (H, W, C) in another size: bicubic, over all pixels that a new one covers, in floats.

    Height and width are two products with tables of weights; nothing of Pillow is in it, so it can be held against it.
    """
    rows = np.tensordot(_bicubic(picture.shape[0], height), picture, axes=1)  # (height, W, C)
    return np.tensordot(_bicubic(picture.shape[1], width), rows.transpose(1, 0, 2), axes=1).transpose(1, 0, 2)


def _bicubic(old: int, new: int) -> np.ndarray:
    """Return the weight (new, old) of each old pixel in each new one."""
    scale = old / new
    d = np.abs(np.arange(old) + 0.5 - (np.arange(new)[:, None] + 0.5) * scale) / max(scale, 1)
    near, far = 1.5 * d**3 - 2.5 * d**2 + 1, -0.5 * d**3 + 2.5 * d**2 - 4 * d + 2
    weights = np.where(d <= 1, near, np.where(d <= 2, far, 0))
    return weights / weights.sum(axis=1, keepdims=True)


def see(picture: Image.Image, told: Mapping[str, object]) -> np.ndarray:
    """Return what a model sees of an upright RGB picture, (3, side, side), float32, by the numbers in `told`."""
    side, short = told["crop"], told["resize"][0]
    size = [int(short * length / min(picture.size)) for length in picture.size]
    picture = picture.resize(size, Image.Resampling[told["interpolation"]])
    left, top = (round((length - side) / 2) for length in size)
    pixels = np.asarray(picture.crop((left, top, left + side, top + side)), np.float32) / np.float32(255)
    return ((pixels - np.float32(told["mean"])) / np.float32(told["std"])).transpose(2, 0, 1)


def measure(calls: Mapping[str, Callable], rounds: int, clock: Callable[[], float]) -> dict[str, list[float]]:
    """Return the seconds of each call in each round; every call runs once before, and each round begins elsewhere."""
    for call in calls.values():
        call()
    names, seconds = list(calls), {name: [] for name in calls}
    for number in range(rounds):
        first = number % len(names)
        for name in names[first:] + names[:first]:
            start = clock()
            calls[name]()
            seconds[name].append(clock() - start)
    return seconds


def quantise(weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return weights (C, N) as whole numbers from -127 to 127, int8, and what each row's are to be multiplied by."""
    largest = np.abs(weights).max(axis=1)
    scales = np.where(largest > 0, largest / 127, 1)
    return np.rint(weights / scales[:, None]).astype(np.int8), scales


def record(probabilities: np.ndarray, class_names: list[str], digest: str, seconds: float, when: datetime) -> str:
    """Return a line of JSON about an answer: when, by which model, what and how sure, how long it took."""
    best = int(np.argmax(probabilities))
    told = {
        "time": when.astimezone(UTC).isoformat(timespec="seconds"),
        "model": digest[:12],
        "class": class_names[best],
        "confidence": round(float(probabilities[best]), 3),
        "ms": round(1000 * seconds),
    }
    return files.json_text(told)


def alarm(
    known_features: np.ndarray, known_probabilities: np.ndarray, features: np.ndarray, probabilities: np.ndarray
) -> bool:
    """Tell whether a batch is unlike the known images: a permutation test of the means of their features.

    If all came from one source, any division into known ones and a batch would be as good: how far do the means of
    such divisions lie apart? (Good, 2005, "Permutation, Parametric and Bootstrap Tests of Hypotheses", chapter 3.)
    """
    everything = np.concatenate([known_features, features])
    everything = everything / np.linalg.norm(everything, axis=1, keepdims=True)
    size, count = len(features), len(everything)
    rng = np.random.default_rng(0)
    chosen = np.zeros((PERMUTATIONS + 1, count), everything.dtype)
    chosen[0, -size:] = 1  # the batch itself
    for row in chosen[1:]:
        row[rng.permutation(count)[:size]] = 1
    sums = chosen @ everything
    apart = sums / size - (everything.sum(axis=0) - sums) / (count - size)
    distances = np.linalg.norm(apart, axis=1)
    return bool((distances >= distances[0]).mean() <= RAISED_AT)
