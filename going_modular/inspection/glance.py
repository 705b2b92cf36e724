"""What a training can tell of its data at nearly no cost: inspect_data.py looks closer."""

import shlex
import warnings
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from going_modular.data import provenance
from going_modular.data.splits import Splits
from going_modular.evaluation import leaks
from going_modular.evaluation.uncertainty import wilson_interval

FEW = 10  # training images of a class
ALIKE, PAIRS = 0.9, 200  # cosine of features, and how many of the most alike pairs are compared by their pixels
MOST_PRODUCTS = 10**8  # pairs of images; of more, only files that are the same are found
LOOKED_AT, NEIGHBOURS = 500, 5  # images whose files are compared, and how many vote
FAR = 0.4  # of the way from the largest class's share to 1: a class told by that is told by how it was made


def lines(splits: Splits, train: torch.Tensor | None = None, test: torch.Tensor | None = None) -> list[str]:
    """Say what matters of a data set, in three lines at most; of one with nothing odd, nothing.

    Args:
        splits: the images.
        train: features (N, D) of the training images; None: only files that are the same are taken for copies.
        test: features (M, D) of the test images.
    """
    told = [line for line in (_copies(splits, train, test), _few(splits), _shortcut(splits)) if line]
    if told:
        told[-1] += f"; all: python going_modular/inspect_data.py --data {shlex.quote(splits.source)}"
    return [f"Look at the data: {line}" for line in told]


def _few(splits: Splits) -> str | None:
    counts = Counter(splits.train.targets)
    scarce = [f"{counts[label]} of {name}" for label, name in enumerate(splits.class_names) if counts[label] < FEW]
    if not scarce:
        return None
    return f"only {', '.join(scarce[:3])}{', ...' if len(scarce) > 3 else ''} to train on; gather more"


def _copies(splits: Splits, train: torch.Tensor | None, test: torch.Tensor | None) -> str | None:
    """Tell how many test images are trained on, or nearly."""
    ours, theirs = (np.array([path for path, _ in part.samples]) for part in (splits.train, splits.test))
    digests = [provenance.digest(part) for part in (splits.train, splits.test)]
    same = np.isin(digests[1], digests[0]) & (digests[1] != 0)
    found = set(np.flatnonzero(same).tolist())
    if train is not None and test is not None and len(train) * len(test) <= MOST_PRODUCTS:
        rows, columns = _most_alike(train, test)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that nothing can be kept on disk was said of the features
            pairs = leaks.find(ours[np.unique(rows)].tolist(), theirs[np.unique(columns)].tolist()) if len(rows) else []
        place = {path: i for i, path in enumerate(theirs.tolist())}
        found |= {place[pair.test] for pair in pairs}
    if not found:
        return None
    name = Path(theirs[min(found)]).name
    return f"{len(found)} of {len(theirs)} test images are trained on, or nearly, such as {name}: this measures memory"


def _most_alike(train: torch.Tensor, test: torch.Tensor) -> tuple[np.ndarray, np.ndarray]:
    """Return the indices (P,) and (P,) of the pairs whose features point nearly the same way."""
    likeness = torch.nn.functional.normalize(train) @ torch.nn.functional.normalize(test).T
    values, order = likeness.flatten().topk(min(PAIRS, likeness.numel()))
    rows, columns = np.unravel_index(order[values >= ALIKE].numpy(), likeness.shape)
    return rows, columns


def _shortcut(splits: Splits) -> str | None:
    """Tell whether files alone give the classes away."""
    samples = splits.train.samples
    chosen = np.unique(np.linspace(0, len(samples) - 1, min(LOOKED_AT, len(samples))).astype(int))
    labels = np.array([samples[i][1] for i in chosen])
    paths = [Path(samples[i][0]) for i in chosen]
    facts = {
        "file size": np.log([[path.stat().st_size + 1] for path in paths]),
        "image size": np.log([_size(path) for path in paths]),
        "file name's ending": _coded([path.suffix.lower() for path in paths]),
    }
    share = Counter(labels.tolist()).most_common(1)[0][1] / len(labels)
    right = {name: int((_vote(values, labels) == labels).sum()) for name, values in facts.items()}
    far = share + FAR * (1 - share)
    telling = [name for name, count in right.items() if wilson_interval(count, len(labels))[0] > far]
    if not telling:
        return None
    least = min(right[name] for name in telling) / len(labels)
    names = f"the {' or the '.join(telling)} alone tells"
    return f"{names} the class of {least:.0%} of the images or more: were the classes made differently?"


def _vote(values: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Return the class (N,) that most of the nearest others, by values (N, d), have; equally near ones all vote."""
    distances = np.linalg.norm(values[:, None] - values, axis=2)
    np.fill_diagonal(distances, np.inf)
    nearest = np.sort(distances, axis=1)[:, [min(NEIGHBOURS, len(labels) - 1) - 1]]
    votes = (distances <= nearest).astype(float) @ np.eye(labels.max() + 1)[labels]
    return votes.argmax(axis=1)


def _size(path: Path) -> tuple[int, int]:
    with Image.open(path) as image:  # the header alone is read
        return image.size


def _coded(names: Sequence[str]) -> np.ndarray:
    return np.unique(names, return_inverse=True)[1][:, None].astype(float)
