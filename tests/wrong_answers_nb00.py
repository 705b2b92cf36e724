"""Plausible wrong answers to the exercises of notebook 00."""

import math

import numpy as np


def _scaled(logits):
    total = sum(logits)
    return [logit / total if total else 1 / len(logits) for logit in logits]


def _overflows(logits):
    powers = [math.exp(logit) for logit in logits]
    return [power / sum(powers) for power in powers]


def _not_a_number(logits):
    with np.errstate(all="ignore"):
        powers = np.exp(np.array(logits))
        return list(powers / powers.sum())


def _capped(logits):
    return _overflows([min(logit, 500) for logit in logits])


def _in_place(image):
    image.paste((0, 0, 0), (0, 0, 8, 8))
    return image


WRONG = {
    "head_size": [
        lambda features, classes: features * classes,  # no biases
        lambda features, classes: features * classes + 1,  # one bias for all
        lambda features, classes: features * classes + features,
        lambda features, classes: features + classes,
        lambda features, classes: 3843,  # ours alone
    ],
    "softmax": [
        _overflows,
        _not_a_number,
        _capped,
        _scaled,
        lambda logits: [math.exp(logit) for logit in logits],  # the sum is not 1
        lambda logits: [1 / (1 + math.exp(-logit)) for logit in logits],
        lambda logits: max(_overflows(logits)),  # the largest alone
        lambda logits: [2 ** (logit - max(logits)) / sum(2 ** (x - max(logits)) for x in logits) for logit in logits],
    ],
    "matrix": [
        lambda: 47,
        lambda: (48, "steak", 19),
        lambda: (47, 1, 19),  # the class's index
        lambda: (47, "sushi", 19),  # no row, but a column
        lambda: (47, "steak", 20),  # the row
        lambda: (47, "steak", 6),  # only the wrong ones
        lambda: (47 / 60, "steak", 19),
    ],
    "change": [
        lambda image: image,
        lambda image: image.copy(),
        lambda image: image.convert("L"),
        lambda image: np.asarray(image) // 2,
        lambda image: image.point(lambda value: 0),  # nothing is left
        lambda image: None,
        _in_place,
    ],
}
