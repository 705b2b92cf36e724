"""Checks of the exercises of notebook 07, How good is it, really?"""

import copy

import numpy as np

from going_modular.checks._check import Attempt, Check

BITS = 256  # of a hash


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
def confusion_matrix(attempt: Attempt) -> None:
    """Check a function that counts which class was taken for which."""
    cases = (
        (
            [0, 1],
            [0, 1],
            2,
            [[1, 0], [0, 1]],
            "each image is right, and stands on the diagonal once; is each row a list of its own?",
        ),
        ([0, 0, 0, 1], [1, 1, 0, 1], 2, [[1, 2], [0, 1]], "the true class is the row, the predicted one the column"),
        ([0, 1], [0, 1], 3, [[1, 0, 0], [0, 1, 0], [0, 0, 0]], "a class without images has a row and a column, too"),
        ([2, 0, 2, 1, 2], [0, 0, 2, 2, 0], 3, [[1, 0, 0], [0, 0, 1], [2, 0, 1]], "every image is counted once"),
        ([], [], 2, [[0, 0], [0, 0]], "without images all counts are 0"),
    )
    for true, predicted, num_classes, expected, hint in cases:
        attempt.expect(expected, list(true), list(predicted), num_classes, hint=hint)


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
