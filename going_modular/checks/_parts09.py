"""What notebook 09 uses where an exercise was left out: the course's answers."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from going_modular.data.corrections import GROUP, KEEP, LEAVE_OUT, MOVE

NOTHING = "nothing"  # what a person saw on a photo of no class


def doubts(inputs: np.ndarray, labels: np.ndarray, groups: np.ndarray, ask: Callable) -> np.ndarray:
    """Return the probabilities (N, C) that each image gets from a head that knows nothing of its group.

    Args:
        inputs: features (N, D).
        labels: (N,).
        groups: (N,); images of one number show the same thing.
        ask: maps features (N, D), labels (N,) and other features (M, D) to probabilities (M, C).
    """
    _, group = np.unique(groups, return_inverse=True)
    dealt = [np.flatnonzero(group == number) for number in range(group.max() + 1)]
    found = [ask(np.delete(inputs, rows, axis=0), np.delete(labels, rows), inputs[rows]) for rows in dealt]
    return np.concatenate(found)[np.argsort(np.concatenate(dealt))]


def decisions(
    suspects: Mapping[str, str],
    seen: Mapping[str, str],
    given: Mapping[str, str],
    part: Mapping[str, str],
    scenes: Sequence[Sequence[str]],
) -> list[tuple[str, str, str]]:
    """Return rows of corrections, (file, action, class or group), of what somebody has looked at."""
    rows = []
    for file in (name for name in suspects if name in seen):
        moved = seen[file] not in (NOTHING, given[file])
        action = MOVE if moved else LEAVE_OUT if seen[file] == NOTHING else KEEP
        rows.append((file, action, seen[file] if moved else ""))
    return rows + [(file, GROUP, f"scene {n}") for n, files in enumerate(scenes, start=1) for file in files]


def images_for(sizes: Sequence[float], errors: Sequence[float], wanted: float) -> int:
    """Return how many images a class a power law, fitted to errors above 0, asks for to have an error of `wanted`."""
    line = np.polynomial.Polynomial.fit(np.log(sizes), np.log(errors), 1).convert()
    height, slope = line.coef
    return int(np.ceil(np.exp((np.log(wanted) - height) / slope)))
