"""Labels that are probably wrong: a classifier that never saw an image's label says something else of it.

    doubts = doubtful_labels(features, labels, groups, seed=42)
    for i in doubts.order[:20]:
        doubts.given[i], doubts.proposed[i], doubts.probability_given[i], doubts.probability_proposed[i]

The method is plain cross-validation with a strong penalty, ranked by how far the likeliest class is ahead of the given
one. Confident learning (Northcutt et al., 2021, https://doi.org/10.1613/jair.1.12125) finds no more of planted wrong
labels, of the same probabilities or of cleanlab's own: see `benchmarks/bench_inspect.py`.
"""

from dataclasses import dataclass

import numpy as np

from going_modular.inspection import folds

FOLDS = 10
STRENGTH = 0.001  # inverse of the penalty (scikit-learn's C): wrong labels must not be learnt by heart
ITERATIONS = 200
MOST_DIRECTIONS = 256  # of the features; what the rest holds tells no classes apart


@dataclass(frozen=True)
class Doubts:
    """What a classifier says of each of N images after training on the others."""

    order: np.ndarray  # (M,) indices of the images that could be judged, the most doubtful first
    given: np.ndarray  # (N,) the labels
    proposed: np.ndarray  # (N,) the likeliest class; the given one where an image could not be judged
    probability_given: np.ndarray  # (N,) from 0 to 1; NaN where an image could not be judged
    probability_proposed: np.ndarray  # (N,) likewise

    @property
    def suspects(self) -> np.ndarray:
        """Return the indices, most doubtful first, for which another class is likelier than the given one."""
        return self.order[(self.proposed != self.given)[self.order]]


def doubtful_labels(features: np.ndarray, labels: np.ndarray, groups: np.ndarray | None = None, *, seed: int) -> Doubts:
    """Rank images by how unlikely their label is to a classifier that was trained without them.

    An image of a class that has no other group cannot be judged: without it nothing shows what the class looks like.

    Args:
        features: (N, D), float32, finite.
        labels: (N,) integers from 0.
        groups: (N,) of integers or strings; copies and scenes of one group never judge each other. None: each image
            stands alone.
        seed: of the folds.
    """
    given = np.asarray(labels)
    probabilities = out_of_fold(features, given, groups, seed=seed)
    rows = np.arange(len(given))
    judged = np.flatnonzero(~np.isnan(probabilities[:, 0]))
    proposed = given.copy()
    proposed[judged] = probabilities[judged].argmax(axis=1)
    of_given, of_proposed = probabilities[rows, given], probabilities[rows, proposed]
    order = judged[np.argsort((of_given - of_proposed)[judged], kind="stable")]
    return Doubts(order, given, proposed, of_given, of_proposed)


def out_of_fold(features: np.ndarray, labels: np.ndarray, groups: np.ndarray | None = None, *, seed: int) -> np.ndarray:
    """Return probabilities (N, C) that logistic regression gives each image after training on the other folds.

    A row is NaN where the other folds have no image of the label.

    Args: as for `doubtful_labels`.
    """
    from sklearn.linear_model import LogisticRegression  # late: it takes half a second

    fold = folds.deal(labels, groups, folds=FOLDS, seed=seed)
    values = directions(features, MOST_DIRECTIONS)
    probabilities = np.full((len(labels), labels.max() + 1), np.nan)
    for held_out in range(fold.max() + 1):
        inside, outside = np.flatnonzero(fold != held_out), np.flatnonzero(fold == held_out)
        known = np.unique(labels[inside])
        outside = outside[np.isin(labels[outside], known)]
        if len(known) < 2 or not len(outside):
            continue
        model = LogisticRegression(C=STRENGTH, max_iter=ITERATIONS).fit(values[inside], labels[inside])
        probabilities[outside] = 0.0
        probabilities[np.ix_(outside, known)] = model.predict_proba(values[outside])
    return probabilities


def directions(features: np.ndarray, most: int) -> np.ndarray:
    """Return standardised features, turned so that their strongest directions come first, and cut to `most`.

    Turning changes no result of a classifier with a quadratic penalty; 225 images of 1,280 features have no more than
    224 directions, which is quicker. Of 10,000 images the weakest directions are left out.

    Args:
        features: (N, D).
        most: columns at most.
    """
    spread = features.std(axis=0)
    standardised = (features - features.mean(axis=0)) / np.where(spread > 0, spread, 1)
    if len(features) < features.shape[1]:
        left, sizes, _ = np.linalg.svd(standardised, full_matrices=False)
        return (left * sizes)[:, :most]
    _, axes = np.linalg.eigh(standardised.T @ standardised)  # in rising order
    return standardised @ axes[:, ::-1][:, :most]
