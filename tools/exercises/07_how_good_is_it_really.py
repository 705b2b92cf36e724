"""Source of the exercises of notebook 07: cells, with the solutions between `# solution` and `# end`."""

# %% [markdown]
# # 07 How good is it, really?: exercises
#
# Replace each `raise NotImplementedError`, run the cell and the check below it. All six together take some
# 85 minutes.

# %%
import itertools
import math

import numpy as np

from going_modular import checks

# %% [markdown]
# ### Exercise 1: How many images? (medium, 15 minutes)
#
# Notebook 03 had Wilson's interval by hand: for a share $p$ right of $n$ images it goes from $m - h$ to $m + h$, with
#
# $$h = \frac{z}{1 + z^2/n} \sqrt{\frac{p (1 - p)}{n} + \frac{z^2}{4 n^2}}$$
#
# Turn it around, before you collect a test set: you expect a share of `p` right. Return the smallest `n` for which the
# interval is no wider, from end to end, than `width`.


# %%
def my_test_images(p: float, width: float, z: float = 1.96) -> int:
    """Return how many test images are needed; z is 1.96 for 95%."""
    # solution
    n = 1
    while 2 * z / (1 + z**2 / n) * math.sqrt(p * (1 - p) / n + z**2 / (4 * n**2)) > width:
        n += 1
    return n
    # end


# %%
checks.nb07.test_images(my_test_images)

# %% [markdown]
# ### Exercise 2: A confusion matrix (easy, 10 minutes)
#
# `true` and `predicted` have a class, 0 to `num_classes - 1`, for each image. Return the confusion matrix: a list of
# rows, one for each true class, of counts, one for each predicted class.


# %%
def my_confusion_matrix(true: list[int], predicted: list[int], num_classes: int) -> list[list[int]]:
    """Count how often which class was taken for which."""
    # solution
    matrix = [[0] * num_classes for _ in range(num_classes)]
    for row, column in zip(true, predicted, strict=True):
        matrix[row][column] += 1
    return matrix
    # end


# %%
checks.nb07.confusion_matrix(my_confusion_matrix)

# %% [markdown]
# ### Exercise 3: Sensitivity, specificity, precision (easy, 10 minutes)
#
# `matrix` is a confusion matrix, rows are true classes; `c` is the class looked for, all others are "the rest". Return
# its sensitivity, its specificity and its precision, as a tuple.


# %%
def my_rates(matrix: list[list[int]], c: int) -> tuple[float, float, float]:
    """Return (sensitivity, specificity, precision) of class c."""
    # solution
    found = matrix[c][c]
    positives = sum(matrix[c])
    called_positive = sum(row[c] for row in matrix)
    negatives = sum(map(sum, matrix)) - positives
    true_negatives = negatives - (called_positive - found)
    return found / positives, true_negatives / negatives, found / called_positive
    # end


# %%
checks.nb07.rates(my_rates)

# %% [markdown]
# ### Exercise 4: A ROC curve (medium, 20 minutes)
#
# `positive` says of each image whether it is of the class looked for, `scores` what the model gave it. For each score
# that occurs, the largest first, call every image of at least that score positive. Return the points
# (1 - specificity, sensitivity), in this order, after a first point (0.0, 0.0).


# %%
def my_roc_curve(positive: list[bool], scores: list[float]) -> list[tuple[float, float]]:
    """Return the points of the ROC curve, the highest threshold's first."""
    # solution
    positives = sum(positive)
    negatives = len(positive) - positives
    points = [(0.0, 0.0)]
    for threshold in sorted(set(scores), reverse=True):
        called = [is_positive for is_positive, score in zip(positive, scores, strict=True) if score >= threshold]
        points.append(((len(called) - sum(called)) / negatives, sum(called) / positives))
    return points
    # end


# %%
checks.nb07.roc_curve(my_roc_curve)

# %% [markdown]
# ### Exercise 5: The expected calibration error (medium, 15 minutes)
#
# `confidence` is the probability of each predicted class, `right` whether the prediction is right. Cut 0 to 1 into
# `bins` bins of equal width; a confidence on an edge belongs to the bin below. A bin's distance is that between its
# mean confidence and its accuracy. Return the mean of the distances, each weighted by its bin's share of the images;
# empty bins have none.


# %%
def my_calibration_error(confidence: np.ndarray, right: np.ndarray, bins: int) -> float:
    """Return the expected calibration error, in [0, 1]."""
    # solution
    edges = np.linspace(0, 1, bins + 1)
    error = 0.0
    for low, high in itertools.pairwise(edges):
        inside = (confidence > low) & (confidence <= high)
        if inside.any():
            error += inside.mean() * abs(confidence[inside].mean() - right[inside].mean())
    return float(error)
    # end


# %%
checks.nb07.calibration_error(my_calibration_error)

# %% [markdown]
# ### Exercise 6: Find the leaks (medium, 15 minutes)
#
# A row of `train` and of `test` is the hash of an image: 256 values, True or False. Return the pairs (row of `train`,
# row of `test`) whose hashes differ in at most `max_distance` places, in the order of the rows of `train`, then of
# `test`.


# %%
def my_leaks(train: np.ndarray, test: np.ndarray, max_distance: int) -> list[tuple[int, int]]:
    """Return which training and test images are nearly the same."""
    # solution
    distances = (train[:, None] != test[None]).sum(axis=2)  # (N, 1, 256), (1, M, 256) -> (N, M)
    return [(int(i), int(j)) for i, j in np.argwhere(distances <= max_distance)]
    # end


# %%
checks.nb07.leaks(my_leaks)
