"""Checks of the exercises of notebook 05: probes of blocks, PCA, neighbours, positions, a choice with few images.

`yours_or_ours("pca", my_pca)` gives the functions that the notebook's later cells use.
"""

from collections.abc import Callable
from functools import partial

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold
from sklearn.neighbors import KNeighborsClassifier
from torch.nn import functional as F

from going_modular.checks._check import Attempt, Check, choose_part, describe

SAME_DIRECTION = 0.999  # of two directions that differ in rounding


@Check
def ask_blocks(attempt: Attempt) -> None:
    """Check a function that says which held-out images probes on each block predict rightly."""
    rng = np.random.default_rng(0)
    for blocks, images, count in ((3, 13, 3), (2, 20, 4)):
        labels = rng.permutation(np.arange(images) % 2)
        features = rng.normal(size=(blocks, images, 3)) + labels[:, None] * np.arange(blocks)[:, None, None]
        parts = np.array_split(rng.permutation(images), count)  # folds of unequal size, in no order
        folds = [(np.setdiff1d(np.arange(images), part), part) for part in parts]
        expected = _ask_blocks(features, labels, folds, _one_neighbour)
        shown = f"{blocks} blocks, {images} images, {count} folds"
        found = np.asarray(attempt(features.copy(), labels.copy(), folds, _one_neighbour, shown=shown))
        attempt.require(
            found.shape == expected.shape and found.dtype == bool,
            f"returned {found.dtype} of shape {found.shape} instead of bool {expected.shape}",
            hint="a row a block, a column an image: was its prediction equal to its label?",
        )
        attempt.require(
            not (found.all() and not expected.all()),
            "every image was predicted rightly",
            hint="fit on the fold's training images alone, and predict those held out",
        )
        attempt.require(
            bool((found == expected).all()),
            f"{int((found != expected).sum())} of {found.size} places differ",
            hint="a new probe for each block and fold; its answers belong at right[block, held_out]",
        )


@Check
def pca(attempt: Attempt) -> None:
    """Check a function that maps tokens to coordinates along their principal components, whatever their signs."""
    generator = torch.Generator().manual_seed(0)
    for rows, width, k in ((40, 6, 3), (30, 5, 2), (8, 20, 3)):
        tokens = torch.randn(rows, width, generator=generator) * torch.arange(width, 0, -1)
        tokens += 20 * torch.randn(width, generator=generator)  # far from 0: who does not centre sees the mean alone
        expected = _pca(tokens, k)
        found = attempt(tokens.clone(), k, shown=f"{rows} tokens of {width} numbers, k = {k}")
        attempt.require(
            isinstance(found, torch.Tensor) and found.shape == expected.shape,
            f"returned {describe(found)} instead of one of shape {tuple(expected.shape)}",
            hint="a row a token, a column a direction: centred @ directions.T",
        )
        attempt.require(
            bool((found.mean(dim=0).abs() < 1e-2 * expected.std()).all()),
            f"the columns' means are {describe(found.mean(dim=0))} instead of 0",
            hint="subtract the mean row first",
        )
        cosines = F.cosine_similarity(found, expected, dim=0).abs()
        attempt.require(
            bool((cosines > SAME_DIRECTION).all()),
            f"the columns agree with the components by {describe(cosines)} instead of 1",
            hint="the first k rows of V transposed, the largest singular value first",
        )
        attempt.compare(
            found.std(dim=0), expected.std(dim=0), what="the columns' spread is", hint="coordinates, not scaled to 1"
        )


@Check
def neighbours(attempt: Attempt) -> None:
    """Check a function that classifies by the cosine of neighbours."""
    generator = torch.Generator().manual_seed(0)
    for images, queries, classes, k in ((9, 4, 3, 1), (30, 12, 3, 5), (40, 15, 4, 4)):
        labels = torch.arange(images) % classes
        # of very different lengths, so that neither a distance nor a dot product will do
        features = torch.randn(images, 6, generator=generator) * torch.rand(images, 1, generator=generator) * 9
        asked = torch.randn(queries, 6, generator=generator)
        nearest, predicted = _neighbours(asked, features, labels, k)
        found = attempt(
            asked.clone(), features.clone(), labels.clone(), k, shown=f"{queries} queries, {images} images, k = {k}"
        )
        attempt.require(
            isinstance(found, tuple | list) and len(found) == 2,
            f"returned {describe(found)} instead of two tensors",
            hint="return the neighbours' indices and the predicted classes",
        )
        attempt.compare(
            found[0],
            nearest,
            what="the neighbours are",
            hint="scale queries and features to length 1, multiply, take the k largest, the largest first",
        )
        attempt.compare(
            found[1],
            predicted,
            what="the classes are",
            hint="sum the cosines of the neighbours of each class, and take the class with the largest sum",
        )


@Check
def interpolate(attempt: Attempt) -> None:
    """Check a function that resizes position embeddings."""
    generator = torch.Generator().manual_seed(0)
    for grid, new_grid in ((3, 5), (4, 2), (3, 3)):
        positions = torch.randn(1, 1 + grid**2, 6, generator=generator)
        expected = _interpolate(positions, new_grid)
        found = attempt(positions.clone(), new_grid, shown=f"a grid of {grid} x {grid} to {new_grid} x {new_grid}")
        attempt.require(
            isinstance(found, torch.Tensor) and found.shape == expected.shape,
            f"returned {describe(found)} instead of one of shape {tuple(expected.shape)}",
            hint="the class token's position stays, one for each patch of the new grid follows",
        )
        attempt.compare(
            found[:, 0], positions[:, 0], what="the class token's position is", hint="it has no place to move"
        )
        attempt.compare(
            found,
            expected,
            hint="(1, N, D) to (1, D, N) to (1, D, G, G), row by row, and back so; bicubic, align_corners=False",
        )


@Check
def choice(attempt: Attempt) -> None:
    """Check a function that chooses features and a probe's setting by cross-validation.

    One candidate is wide noise, which a probe learns by heart: on the images that it was fitted on it is never wrong.
    """
    settings = [("as they are", strength) for strength in (0.001, 0.1, 10.0)]
    for seed in (0, 5, 7):
        rng = np.random.default_rng(seed)
        labels = rng.permutation(np.arange(24) % 3)
        candidates = {
            "wide noise": rng.normal(size=(24, 200)),
            "a weak signal": rng.normal(size=(24, 6)) + 1.3 * np.eye(3, 6)[labels],
            "a signal": rng.normal(size=(24, 6)) + 1.8 * np.eye(3, 6)[labels] + 3,
            "narrow noise": rng.normal(size=(24, 2)),
        }
        folds = list(StratifiedKFold(4, shuffle=True, random_state=seed).split(labels, labels))
        right = _all_right(candidates, labels, folds, settings, _probe)
        copies = {name: values.copy() for name, values in candidates.items()}
        found = attempt(
            copies, labels.copy(), folds, list(settings), _probe, shown=f"24 images, drawn with seed {seed}"
        )
        pair = tuple(found) if isinstance(found, tuple | list) else found
        attempt.require(
            isinstance(pair, tuple) and pair in right,
            f"returned {describe(found)} instead of a name and a setting",
            hint="return a pair (name, setting), such as ('a signal', settings[0]), of what was given",
        )
        attempt.require(
            right[pair] == max(right.values()),
            f"returned {pair}, with {right[pair]} of 24 right in cross-validation, instead of one with "
            f"{max(right.values())}",
            hint="fit on a fold's training images, count what is right among those held out, sum over all folds",
        )


def _ask_blocks(features: np.ndarray, labels: np.ndarray, folds: list, make_probe: Callable) -> np.ndarray:
    right = np.zeros(features.shape[:2], dtype=bool)
    for block, values in enumerate(features):
        for training, held_out in folds:
            probe = make_probe().fit(values[training], labels[training])
            right[block, held_out] = probe.predict(values[held_out]) == labels[held_out]
    return right


def _pca(tokens: torch.Tensor, k: int) -> torch.Tensor:
    centred = tokens - tokens.mean(dim=0)
    return centred @ torch.linalg.svd(centred, full_matrices=False)[2][:k].T


def _neighbours(
    queries: torch.Tensor, features: torch.Tensor, labels: torch.Tensor, k: int
) -> tuple[torch.Tensor, torch.Tensor]:
    weights, nearest = (F.normalize(queries, dim=1) @ F.normalize(features, dim=1).T).topk(k, dim=1)  # (M, k)
    votes = torch.zeros(len(queries), int(labels.max()) + 1).scatter_add_(1, labels[nearest], weights)
    return nearest, votes.argmax(dim=1)


def _interpolate(positions: torch.Tensor, new_grid: int) -> torch.Tensor:
    class_position, patches = positions[:, :1], positions[:, 1:]
    grid = round(patches.shape[1] ** 0.5)
    square = patches.transpose(1, 2).unflatten(2, (grid, grid))  # (1, D, G, G)
    resized = F.interpolate(square, size=(new_grid, new_grid), mode="bicubic", align_corners=False)
    return torch.cat([class_position, resized.flatten(2).transpose(1, 2)], dim=1)


def _choice(
    candidates: dict[str, np.ndarray], labels: np.ndarray, folds: list, settings: list[tuple], make_probe: Callable
) -> tuple[str, tuple]:
    right = _all_right(candidates, labels, folds, settings, make_probe)
    return max(right, key=right.get)


def _all_right(
    candidates: dict[str, np.ndarray], labels: np.ndarray, folds: list, settings: list[tuple], make_probe: Callable
) -> dict[tuple[str, tuple], int]:
    """Return for each name and setting how many images are predicted rightly while they are held out."""
    return {
        (name, setting): int(_ask_blocks(values[None], labels, folds, partial(make_probe, setting)).sum())
        for name, values in candidates.items()
        for setting in settings
    }


def _one_neighbour() -> KNeighborsClassifier:
    """Return a probe that is never wrong on what it was fitted on."""
    return KNeighborsClassifier(1)


def _probe(setting: tuple[str, float]) -> LogisticRegression:
    return LogisticRegression(C=setting[1], max_iter=1000)


yours_or_ours = partial(
    choose_part,
    {
        "ask_blocks": (ask_blocks, _ask_blocks),
        "pca": (pca, _pca),
        "neighbours": (neighbours, _neighbours),
        "interpolate": (interpolate, _interpolate),
        "choice": (choice, _choice),
    },
)
