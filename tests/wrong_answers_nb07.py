"""Wrong answers to the exercises of notebook 07 that a learner might give."""

import itertools
import math

import numpy as np
import torch
from PIL import ImageEnhance
from torch import nn


def test_images(*, inner=4.0, scaled=True, fixed=False, half=False, strict=False, start=1):
    def my_test_images(p, width, z=1.96):
        z = 1.96 if fixed else z
        for n in range(start, 100_000):
            scale = 1 + z**2 / n if scaled else 1
            found = (1 if half else 2) * z / scale * math.sqrt(p * (1 - p) / n + z**2 / (inner * n**2))
            if found <= width:
                return n - strict
        return None

    return my_test_images


def textbook(p, width, z=1.96):
    return math.ceil(p * (1 - p) * (2 * z / width) ** 2)


def interval(*, paired=True, by_table=True, tail=0.025, sign=1, by_image=True, seeded=True):
    """Return a function that draws again, with or without one of the mistakes that people make."""

    def my_interval(before, after, tables, draws=2000, seed=0):
        rng = np.random.default_rng(seed if seeded else None)
        groups = tables if by_table else np.arange(len(tables))
        row = np.unique(groups, return_inverse=True)[1]
        sizes = np.bincount(row)

        def means(values, drawn):
            sums = np.bincount(row, values)
            if not by_image:
                return (sums / sizes)[drawn].mean(axis=1)
            return sums[drawn].sum(axis=1) / sizes[drawn].sum(axis=1)

        first = rng.integers(len(sizes), size=(draws, len(sizes)))
        second = first if paired else rng.integers(len(sizes), size=(draws, len(sizes)))
        differences = sign * (means(after, second) - means(before, first))
        low, high = np.quantile(differences, [tail, 1 - tail])
        return float(low), float(high)

    return my_interval


def as_the_colleague_has_it(before, after, tables, draws=2000, seed=0):
    rng = np.random.default_rng(seed)
    differences = []
    for _ in range(draws):
        first = rng.integers(len(before), size=len(before))
        second = rng.integers(len(after), size=len(after))
        differences.append(after[second].mean() - before[first].mean())
    low, high = np.quantile(differences, [0.05, 0.95])
    return float(low), float(high)


def rates(change):
    def my_rates(matrix, c):
        found, positives = matrix[c][c], sum(matrix[c])
        called = sum(row[c] for row in matrix)
        total = sum(map(sum, matrix))
        right_elsewhere = sum(matrix[k][k] for k in range(len(matrix))) - found
        negatives = total - positives
        sensitivity, specificity, precision = (
            found / positives,
            (negatives - called + found) / negatives,
            found / called,
        )
        return change(sensitivity, specificity, precision, right_elsewhere / negatives, negatives, called - found)

    return my_rates


def roc(*, strict=False, rising=False, swapped=False, start=True, over_all=False, each=False):
    def my_roc_curve(positive, scores):
        positives = len(positive) if over_all else sum(positive)
        negatives = len(positive) if over_all else len(positive) - sum(positive)
        points = [(0.0, 0.0)] if start else []
        for threshold in sorted(scores if each else set(scores), reverse=not rising):
            called = [p for p, s in zip(positive, scores, strict=True) if (s > threshold if strict else s >= threshold)]
            point = ((len(called) - sum(called)) / negatives, sum(called) / positives)
            points.append(point[::-1] if swapped else point)
        return points

    return my_roc_curve


def one_by_one(positive, scores):
    order = sorted(range(len(scores)), key=lambda i: -scores[i])
    points, found, wrong = [(0.0, 0.0)], 0, 0
    for i in order:
        found, wrong = found + positive[i], wrong + (not positive[i])
        points.append((wrong / (len(positive) - sum(positive)), found / sum(positive)))
    return points


def cheapest(*, strict=False, swapped=False, smallest=False, infinity=True, shares=False, free=False):
    def my_threshold(positive, scores, missed, false_alarm):
        if swapped:
            missed, false_alarm = false_alarm, missed
        if free:
            missed = false_alarm = 1
        if shares:
            missed, false_alarm = missed / max(sum(positive), 1), false_alarm / max(len(positive) - sum(positive), 1)
        tried = [math.inf] * infinity + sorted(scores, reverse=True)

        def cost(threshold):
            called = [score > threshold if strict else score >= threshold for score in scores]
            pairs = list(zip(positive, called, strict=True))
            return missed * pairs.count((True, False)) + false_alarm * pairs.count((False, True))

        return float(min(tried[::-1] if smallest else tried, key=cost))

    return my_threshold


def halfway(positive, scores, missed, false_alarm):
    right = cheapest()(positive, scores, missed, false_alarm)
    below = [score for score in scores if score < right]
    return (right + max(below)) / 2 if below and right < math.inf else right


def calibration(*, signed=False, weighted=True, left=False, middles=False):
    def my_calibration_error(confidence, right, bins):
        edges = np.linspace(0, 1, bins + 1)
        error, used = 0.0, 0
        for low, high in itertools.pairwise(edges):
            above, below = (np.greater_equal, np.less) if left else (np.greater, np.less_equal)
            inside = above(confidence, low) & below(confidence, high)
            if inside.any():
                said = (low + high) / 2 if middles else confidence[inside].mean()
                gap = said - right[inside].mean()
                error += (inside.mean() if weighted else 1) * (gap if signed else abs(gap))
                used += 1
        return float(error if weighted else error / used)

    return my_calibration_error


def each_image(confidence, right, bins):
    error = 0.0
    for low, high in itertools.pairwise(np.linspace(0, 1, bins + 1)):
        inside = (confidence > low) & (confidence <= high)
        if inside.any():
            error += abs(confidence[inside] - right[inside].mean()).sum() / len(confidence)
    return float(error)


def pairs(near, *, swapped=False):
    def my_leaks(train, test, max_distance):
        distances = (train[:, None] != test[None]).sum(axis=2)
        found = [(int(i), int(j)) for i, j in np.argwhere(near(distances, max_distance))]
        return sorted((j, i) for i, j in found) if swapped else found

    return my_leaks


def closest_only(train, test, max_distance):
    distances = (train[:, None] != test[None]).sum(axis=2)
    best = distances.argmin(axis=1)
    return [(i, int(j)) for i, j in enumerate(best) if distances[i, j] <= max_distance]


def within_train(train, test, max_distance):
    everything = np.concatenate([train, test])
    distances = (everything[:, None] != everything[None]).sum(axis=2)
    return [(int(i), int(j)) for i, j in np.argwhere(distances <= max_distance) if i < j]


def sliced(*, key=lambda value, right, count: right / count, alphabet=True, last=False, wrong=False, entry=None):
    def my_slices(values, right):
        found = []
        for value in sorted(set(values)) if alphabet else dict.fromkeys(values):
            own = [is_right for other, is_right in zip(values, right, strict=True) if other == value]
            found.append((value, len(own) - sum(own) if wrong else sum(own), len(own)))
        found = sorted(found, key=lambda triple: key(*triple), reverse=last)
        return [entry(triple) for triple in found] if entry else found

    return my_slices


def head_of(versions, *, learning=True):
    """Return a function that trains a head on versions of the pictures, each brightness times a factor."""

    def my_dark_head(pictures, labels, features_of):
        torch.manual_seed(0)
        made = [[ImageEnhance.Brightness(picture).enhance(factor) for picture in pictures] for factor in versions]
        inputs, targets = torch.cat([features_of(version) for version in made]), labels.repeat(len(made))
        head = nn.Linear(inputs.shape[1], 3)
        optimizer = torch.optim.AdamW(head.parameters(), lr=1e-3)
        for _ in range(200 if learning else 0):
            loss = nn.functional.cross_entropy(head(inputs), targets)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        return head

    return my_dark_head


WRONG = {
    "test_images": [
        textbook,
        test_images(inner=2),
        test_images(inner=math.inf),
        test_images(scaled=False),
        test_images(fixed=True),
        test_images(half=True),
        test_images(strict=True),
        test_images(start=2),
        lambda p, width, z=1.96: test_images()(max(p, 1 - p), 2 * width, z),
    ],
    "interval": [
        as_the_colleague_has_it,
        interval(paired=False),
        interval(by_table=False),
        interval(tail=0.05),
        interval(sign=-1),
        interval(by_image=False),
        interval(seeded=False),
        lambda before, after, tables, draws=2000, seed=0: None,
        lambda before, after, tables, draws=2000, seed=0: (after.mean() - before.mean(),) * 2,
    ],
    "rates": [
        rates(lambda sensitivity, specificity, precision, *_: (specificity, sensitivity, precision)),
        rates(lambda sensitivity, specificity, precision, *_: (precision, specificity, sensitivity)),
        rates(lambda sensitivity, _, precision, elsewhere, *__: (sensitivity, elsewhere, precision)),
        rates(lambda sensitivity, specificity, precision, *_: (sensitivity, 1 - specificity, precision)),
        lambda matrix, c: rates(lambda *rates: rates[:3])([list(row) for row in zip(*matrix, strict=True)], c),
    ],
    "roc_curve": [
        roc(strict=True),
        roc(rising=True),
        roc(swapped=True),
        roc(start=False),
        roc(over_all=True),
        roc(each=True),
        one_by_one,
    ],
    "threshold": [
        cheapest(strict=True),
        cheapest(swapped=True),
        cheapest(smallest=True),
        cheapest(infinity=False),
        cheapest(shares=True),
        cheapest(free=True),
        halfway,
        lambda positive, scores, missed, false_alarm: 0.5,
        lambda positive, scores, missed, false_alarm: false_alarm / (missed + false_alarm),
    ],
    "calibration_error": [
        calibration(signed=True),
        calibration(weighted=False),
        calibration(left=True),
        calibration(middles=True),
        lambda confidence, right, bins: float(abs(confidence.mean() - right.mean())),
        lambda confidence, right, bins: float(abs(confidence - right).mean()),
        each_image,
    ],
    "slices": [
        sliced(last=True),
        sliced(key=lambda value, right, count: count),
        sliced(key=lambda value, right, count: right),
        sliced(key=lambda value, right, count: value),
        sliced(alphabet=False),
        sliced(wrong=True),
        sliced(entry=lambda triple: (triple[0], triple[1] / triple[2])),
        sliced(entry=lambda triple: (triple[0], triple[2], triple[1])),
        lambda values, right: dict.fromkeys(values),
    ],
    "dark_head": [
        head_of([1]),
        head_of([1], learning=False),
        lambda pictures, labels, features_of: features_of(pictures),
        lambda pictures, labels, features_of: nn.Linear(1280, 4),
        lambda pictures, labels, features_of: nn.Sequential(nn.Linear(1280, 3), nn.Flatten(0)),
    ],
    "leaks": [
        pairs(lambda distances, limit: distances == 0),
        pairs(lambda distances, limit: distances < limit),
        pairs(lambda distances, limit: distances > limit),
        pairs(lambda distances, limit: distances <= limit, swapped=True),
        pairs(lambda distances, limit: distances <= 2 * limit),
        closest_only,
        within_train,
    ],
}
