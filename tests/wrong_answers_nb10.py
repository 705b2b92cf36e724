"""Wrong answers to the exercises of notebook 10 that a learner might give."""

import json
from datetime import UTC

import numpy as np
from PIL import Image

from going_modular.checks import _parts10


def see(*, told_filter=True, middle=True, white=255, right_order=True, move=True, dtype=np.float32, cut=round):
    def my_see(picture, told):
        side, short = told["crop"], told["resize"][0]
        size = [int(short * length / min(picture.size)) for length in picture.size]
        chosen = Image.Resampling[told["interpolation"]] if told_filter else Image.Resampling.BILINEAR
        picture = picture.resize(size, chosen)
        left, top = (cut((length - side) / (2 if middle else 1)) for length in size)
        pixels = np.asarray(picture.crop((left, top, left + side, top + side)), np.float32) / np.float32(white)
        mean, std = (np.float32(told[key]) for key in (("mean", "std") if right_order else ("std", "mean")))
        pixels = (pixels - mean) / std
        return (pixels.transpose(2, 0, 1) if move else pixels.reshape(3, side, side)).astype(dtype)

    return my_see


def bgr(picture, told):
    return see()(picture, told)[::-1]


def squashed(picture, told):
    return see()(picture.resize((told["resize"][0],) * 2), told)


def resize(*, antialias=True, half=0.5, normalise=True, a=-0.5, rounded=False, swapped=False, clipped=False):
    def weights(old, new):
        scale = old / new
        middles = (np.arange(new) + half) * scale
        d = np.abs(np.arange(old) + half - middles[:, None]) / (max(scale, 1) if antialias else 1)
        near = (a + 2) * d**3 - (a + 3) * d**2 + 1
        far = a * d**3 - 5 * a * d**2 + 8 * a * d - 4 * a
        table = np.where(d <= 1, near, np.where(d <= 2, far, 0))
        return table / table.sum(axis=1, keepdims=True) if normalise else table / max(scale, 1)

    def my_resize(picture, height, width):
        if swapped:
            height, width = width, height
        rows = np.tensordot(weights(picture.shape[0], height), picture, axes=1)
        columns = np.tensordot(weights(picture.shape[1], width), rows.transpose(1, 0, 2), axes=1)
        made = columns.transpose(1, 0, 2)
        made = made.clip(0, 255) if clipped else made
        return made.round() if rounded else made

    return my_resize


def nearest(picture, height, width):
    rows = (np.arange(height) + 0.5) * picture.shape[0] / height
    columns = (np.arange(width) + 0.5) * picture.shape[1] / width
    return picture[rows.astype(int)][:, columns.astype(int)]


def measure(*, warm=True, turn=True, one_by_one=False, count_warm=False, late=False, mean=False):
    def my_measure(calls, rounds, clock):
        seconds, names = {name: [] for name in calls}, list(calls)
        if warm:
            for name in names:
                start = clock()
                calls[name]()
                if count_warm:
                    seconds[name].append(clock() - start)
        order = [name for number in range(rounds) for name in np.roll(names, -number if turn else 0).tolist()]
        begin = clock()
        for name in sorted(order) if one_by_one else order:
            start = begin if late else clock()
            calls[name]()
            seconds[name].append(clock() - start)
        return {name: sum(values) / len(values) for name, values in seconds.items()} if mean else seconds

    return my_measure


def quantise(*, size=True, by_row=True, step=np.rint, dtype=np.int8, top=127, guard=True):
    def my_quantise(weights):
        largest = (np.abs(weights) if size else weights).max(axis=1)
        if not by_row:
            largest = np.full_like(largest, largest.max())
        scales = np.where(largest > 0, largest / top, 1.0) if guard else largest / top
        with np.errstate(all="ignore"):
            return step(weights / scales[:, None]).astype(dtype), scales

    return my_quantise


def record(*, change=lambda told: told, utc=True, name=True, most=np.argmax, line=json.dumps):
    def my_record(probabilities, class_names, digest, seconds, when):
        best = int(most(probabilities))
        told = {
            "time": (when.astimezone(UTC) if utc else when).isoformat(timespec="seconds"),
            "model": digest[:12],
            "class": class_names[best] if name else best,
            "confidence": round(float(probabilities[best]), 3),
            "ms": round(1000 * seconds),
        }
        return line(change(told))

    return my_record


def by_confidence(tail):
    def my_alarm(known_features, known_probabilities, features, probabilities):
        rng, sure = np.random.default_rng(0), known_probabilities.max(axis=1)
        drawn = [rng.choice(sure, len(features), replace=False).mean() for _ in range(200)]
        return bool(probabilities.max(axis=1).mean() < np.quantile(drawn, tail))

    return my_alarm


def by_distance_to_the_nearest(known_features, known_probabilities, features, probabilities):
    """A limit that is read off the known images as if they were all there are."""
    known, batch = (values / np.linalg.norm(values, axis=1, keepdims=True) for values in (known_features, features))
    alike = known @ known.T
    np.fill_diagonal(alike, -1)
    rng, usual = np.random.default_rng(0), 1 - alike.max(axis=1)
    drawn = [rng.choice(usual, len(batch), replace=False).mean() for _ in range(200)]
    return bool((1 - (batch @ known.T).max(axis=1)).mean() > np.quantile(drawn, 0.95))


WRONG = {
    "port": [
        see(told_filter=False),
        see(middle=False),
        see(white=256),
        see(white=1),
        see(right_order=False),
        see(move=False),
        see(dtype=np.float64),
        see(cut=int),
        bgr,
        squashed,
    ],
    "resize": [
        resize(antialias=False),
        resize(half=0),
        resize(normalise=False),
        resize(a=-0.75),
        resize(rounded=True),
        resize(swapped=True),
        resize(clipped=True),
        nearest,
    ],
    "measure": [
        measure(warm=False),
        measure(turn=False),
        measure(one_by_one=True),
        measure(count_warm=True),
        measure(late=True),
        measure(mean=True),
        lambda calls, rounds, clock: {name: [0.0] * rounds for name in calls},
    ],
    "quantise": [
        quantise(size=False),
        quantise(by_row=False),
        quantise(step=np.trunc),
        quantise(step=np.floor),
        quantise(dtype=np.int16),
        quantise(top=128),
        quantise(guard=False),
        lambda weights: quantise()(weights)[0],
        lambda weights: quantise()(weights)[::-1],
    ],
    "record": [
        record(utc=False),
        record(name=False),
        record(most=np.argmin),
        record(line=lambda told: json.dumps(told, indent=2)),
        record(line=lambda told: told),
        record(line=str),
        record(change=lambda told: told | {"path": "photo.jpg"}),
        record(change=lambda told: told | {"ms": told["ms"] / 1000}),
        record(change=lambda told: {key: value for key, value in told.items() if key != "model"}),
        lambda probabilities, names, digest, seconds, when: json.dumps({"confidence": probabilities.max()}),
    ],
    "alarm": [
        by_confidence(0.05),
        by_confidence(0.5),
        by_distance_to_the_nearest,
        lambda known_features, known_probabilities, features, probabilities: True,
        lambda known_features, known_probabilities, features, probabilities: False,
        lambda known_features, known_probabilities, features, probabilities: 0.3,
        lambda known_features, known_probabilities, features, probabilities: (
            not _parts10.alarm(known_features, known_probabilities, features, probabilities)
        ),
    ],
}
