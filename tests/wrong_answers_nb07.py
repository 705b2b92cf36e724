"""Wrong answers to the exercises of notebook 07 that a learner might give."""

import itertools
import math

import numpy as np


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


def transposed(true, predicted, num_classes):
    matrix = [[0] * num_classes for _ in range(num_classes)]
    for row, column in zip(true, predicted, strict=True):
        matrix[column][row] += 1
    return matrix


def seen_classes(true, predicted, num_classes):
    classes = sorted({*true, *predicted})
    pairs = list(zip(true, predicted, strict=True))
    return [[pairs.count((row, column)) for column in classes] for row in classes]


def shared_rows(true, predicted, num_classes):
    matrix = [[0] * num_classes] * num_classes
    for row, column in zip(true, predicted, strict=True):
        matrix[row][column] += 1
    return matrix


def only_once(true, predicted, num_classes):
    matrix = [[0] * num_classes for _ in range(num_classes)]
    for row, column in zip(true, predicted, strict=True):
        matrix[row][column] = 1
    return matrix


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
    "confusion_matrix": [transposed, seen_classes, shared_rows, only_once],
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
    "calibration_error": [
        calibration(signed=True),
        calibration(weighted=False),
        calibration(left=True),
        calibration(middles=True),
        lambda confidence, right, bins: float(abs(confidence.mean() - right.mean())),
        lambda confidence, right, bins: float(abs(confidence - right).mean()),
        each_image,
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
