"""Source of the exercises of notebook 10: cells, with the solutions between `# solution` and `# end`."""

# %% [markdown]
# # 10 Ship it: exercises
#
# Replace each `raise NotImplementedError`, run the cell and the check below it. All six together take some
# 120 minutes; a seventh, a card for a model of your own, stands in the notebook.

# %%
import json
from collections.abc import Callable
from datetime import UTC, datetime

import numpy as np
from PIL import Image

from going_modular import checks

# %% [markdown]
# ### Exercise 1: Five bugs in a port (find the bug; medium, 20 minutes)
#
# A colleague has written the transform anew, for a server without PyTorch. `picture` is an upright RGB picture of
# Pillow's, and `told` is a contract, such as `{"resize": [256], "crop": 224, "interpolation": "BICUBIC", "mean": [0.5,
# 0.5, 0.5], "std": [0.5, 0.5, 0.5]}`. His function runs, and five things are wrong:
#
# ```python
# def see(picture, told):
#     side, short = told["crop"], told["resize"][0]
#     size = [int(short * length / min(picture.size)) for length in picture.size]
#     picture = picture.resize(size, Image.Resampling.BILINEAR)
#     left, top = size[0] - side, size[1] - side
#     pixels = np.asarray(picture.crop((left, top, left + side, top + side)), np.float32)
#     pixels = pixels / 256
#     pixels = (pixels - np.float32(told["std"])) / np.float32(told["mean"])
#     return pixels.reshape(3, side, side)
# ```
#
# Write it without them. Return an array (3, side, side) of float32: the middle of the picture, red first. `told` may
# come from another model, with other numbers and another filter; its `resize` always has one number here.


# %%
def my_see(picture: Image.Image, told: dict) -> np.ndarray:
    """Return what the model sees of a picture, (3, side, side), float32."""
    # solution
    side, short = told["crop"], told["resize"][0]
    size = [int(short * length / min(picture.size)) for length in picture.size]
    picture = picture.resize(size, Image.Resampling[told["interpolation"]])  # 1 the filter that `told` names
    left, top = (round((length - side) / 2) for length in size)  # 2 the middle
    pixels = np.asarray(picture.crop((left, top, left + side, top + side)), np.float32)
    pixels = pixels / np.float32(255)  # 3 white is 255, and becomes 1
    pixels = (pixels - np.float32(told["mean"])) / np.float32(told["std"])  # 4 first the mean, then the deviation
    return pixels.transpose(2, 0, 1)  # 5 moves the axes; reshape only counts the numbers anew
    # end


# %%
checks.nb10.port(my_see)

# %% [markdown]
# ### Exercise 2: Shrink as Pillow does (write it; hard, 30 minutes)
#
# Where there is no Pillow, in a browser or on a phone, resizing has to be written, too. `picture` holds numbers from 0
# to 255, (H, W, C). Return it as (height, width, C), in floats: nothing is rounded and nothing cut off at 0 or 255.
#
# A row and a column are treated in the same way, one after the other. Take one of `old` pixels that shall have `new`:
#
# 1. `scale = old / new`. Old pixel `j` has its middle at `j + 0.5`. New pixel `i` has its middle at
#    `(i + 0.5) * scale`, in old pixels.
# 2. The weight of old pixel `j` in new pixel `i` is $f(d)$, where `d` is the distance between the two middles, divided
#    by `max(scale, 1)`. That division is called *antialiasing*: who shrinks by 4 has to look at four times as many
#    pixels, or fine patterns turn into coarse ones.
# 3. $f(d)$ is $1.5 d^3 - 2.5 d^2 + 1$ up to $d = 1$, then $-0.5 d^3 + 2.5 d^2 - 4 d + 2$ up to $d = 2$, and 0 beyond.
#    That is the *bicubic* filter.
# 4. The weights of each new pixel are divided by their sum.
#
# A table of weights (new, old) and a product of matrices do it for all rows at once.


# %%
def my_resize(picture: np.ndarray, height: int, width: int) -> np.ndarray:
    """Return a picture (H, W, C) as (height, width, C), by the bicubic filter with antialiasing."""

    # solution
    def weights(old, new):
        scale = old / new
        middles = (np.arange(new) + 0.5) * scale
        d = np.abs(np.arange(old) + 0.5 - middles[:, None]) / max(scale, 1)  # (new, old)
        near, far = 1.5 * d**3 - 2.5 * d**2 + 1, -0.5 * d**3 + 2.5 * d**2 - 4 * d + 2
        table = np.where(d <= 1, near, np.where(d <= 2, far, 0))
        return table / table.sum(axis=1, keepdims=True)

    rows = np.tensordot(weights(picture.shape[0], height), picture, axes=1)  # (height, W, C)
    columns = np.tensordot(weights(picture.shape[1], width), rows.transpose(1, 0, 2), axes=1)
    return columns.transpose(1, 0, 2)
    # end


# %%
checks.nb10.resize(my_resize)

# %% [markdown]
# ### Exercise 3: A fair race (write it; medium, 15 minutes)
#
# `calls` has functions without arguments by their names. `clock()` returns the time in seconds. First call each once;
# that is the warm-up, and does not count. Then come `rounds` rounds, in each of which every function is called once.
# Round 0 begins with the first function, round 1 with the second (and ends with the first), and so on in turn. Return a
# dictionary: for each name the list of its seconds, one number a round.
#
# With two functions `a` and `b` and two rounds the order is a, b; then a, b; then b, a.


# %%
def my_measure(calls: dict[str, Callable], rounds: int, clock: Callable[[], float]) -> dict[str, list[float]]:
    """Return the seconds that each call took, a number for each round."""
    # solution
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
    # end


# %%
checks.nb10.measure(my_measure)

# %% [markdown]
# ### Exercise 4: Eight bits (write it; easy, 10 minutes)
#
# `weights` is a table (C, N), a row for each channel. Replace each row by whole numbers and one *scale*: the whole
# number times the scale is about the weight. The largest number of a row by its size becomes 127 or -127. Return two
# arrays: the whole numbers (C, N), as `np.int8`, each rounded to the nearest; and the scales (C,). The scale of a row
# of zeros is 1.
#
# For `[[1.0, -2.0, 0.5]]` the scale is 2 / 127, and the numbers are 64, -127 and 32.


# %%
def my_quantise(weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return whole numbers (C, N), int8, and a scale for each row (C,)."""
    # solution
    largest = np.abs(weights).max(axis=1)
    scales = np.where(largest > 0, largest / 127, 1.0)
    return np.rint(weights / scales[:, None]).astype(np.int8), scales
    # end


# %%
checks.nb10.quantise(my_quantise)

# %% [markdown]
# ### Exercise 5: A line for the log (write it; easy, 10 minutes)
#
# Return what is to be remembered of an answer as one line of JSON, with five keys and no more: `time`, when it was
# given, in UTC, as ISO 8601 to the second, such as `"2026-05-01T12:00:30+00:00"`; `model`, the first 12 characters of
# the digest of the model's file; `class`, the name of the most probable class; `confidence`, its probability, rounded
# to three digits; `ms`, the milliseconds that it took, as a whole number. `when` is a `datetime` that knows its time
# zone, whichever that is, and `probabilities` is an array.


# %%
def my_record(
    probabilities: np.ndarray, class_names: list[str], digest: str, seconds: float, when: datetime
) -> str:  # fmt: skip
    """Return one line of JSON about an answer."""
    # solution
    best = int(probabilities.argmax())
    told = {
        "time": when.astimezone(UTC).isoformat(timespec="seconds"),
        "model": digest[:12],
        "class": class_names[best],
        "confidence": round(float(probabilities[best]), 3),
        "ms": round(1000 * seconds),
    }
    return json.dumps(told, ensure_ascii=False)
    # end


# %%
checks.nb10.record(my_record)

# %% [markdown]
# ### Exercise 6: A better alarm (beat this score; hard, 35 minutes)
#
# You get features (N, 1280) and probabilities (N, 3) of images that are known to be as they should be, and those of a
# batch of 24 images of other tables. Return `True` if the batch looks unlike the known ones, else `False`. Nobody gives
# you labels, and you may draw random numbers, with a seed.
#
# The check asks your function about 72 clean batches and 108 changed ones (dimmed, blurred, tinted), several times with
# 60 other known images. At most 10 of 100 clean batches may raise the alarm, and at least 75 of 100 changed ones have
# to. An alarm by mean confidence, with a limit that 5% of the known batches exceed, manages neither.


# %%
def my_alarm(
    known_features: np.ndarray, known_probabilities: np.ndarray, features: np.ndarray, probabilities: np.ndarray
) -> bool:  # fmt: skip
    """Return whether a batch looks unlike the known images."""
    # solution
    # If the batch were like the known images, any 24 of all these images would lie as far from the rest as it does.
    rng = np.random.default_rng(0)
    everything = np.concatenate([known_features, features])
    everything = everything / np.linalg.norm(everything, axis=1, keepdims=True)

    def apart(is_batch):
        return np.linalg.norm(everything[is_batch].mean(axis=0) - everything[~is_batch].mean(axis=0))

    is_batch = np.arange(len(everything)) >= len(known_features)
    seen = apart(is_batch)
    by_chance = [apart(rng.permutation(is_batch)) for _ in range(300)]
    return bool(np.mean([value >= seen for value in by_chance]) < 0.01)
    # end


# %%
checks.nb10.alarm(my_alarm)
