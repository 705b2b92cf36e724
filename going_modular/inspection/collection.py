"""All images of a data set, whatever part of it they stand in: what an inspection looks at."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np

from going_modular.common.errors import InputError, listed
from going_modular.data import own_split, sources, splits
from going_modular.data.corrections import Corrections, place
from going_modular.data.image_folder import ImageFolder, content_root, notes_of
from going_modular.data.splits import SplitRule

TRAIN, VALIDATION, TEST = "train", "validation", "test"


@dataclass(frozen=True)
class Collection:
    """N images, corrected where corrections were given, with what is known of each before anybody looks at it."""

    name: str  # of the data set
    origin: str  # of its images, in a few words
    source: str  # names the same data from any folder
    folder: Path  # that holds all of it
    dataset: ImageFolder  # the N images with their labels
    parts: tuple[str, ...]  # (N,) TRAIN, VALIDATION or TEST; "" of all where they cannot be split
    groups: tuple[int, ...]  # (N,) images of one number must stay together
    why_unsplit: str  # why they cannot be split, or ""
    notes: tuple[str, ...]  # lines to print, as of `splits.Splits`
    kept: frozenset[str] = frozenset()  # files that somebody looked at and found right

    @cached_property
    def paths(self) -> list[str]:
        """Where each image lies."""
        return [path for path, _ in self.dataset.samples]

    @cached_property
    def files(self) -> list[str]:
        """Where each image lies below the folder, as corrections name it."""
        return [place(path, self.folder) for path in self.paths]

    @property
    def labels(self) -> list[int]:
        """The label of each image, from 0 to C - 1."""
        return self.dataset.targets

    @property
    def class_names(self) -> list[str]:
        """The C names of the classes, in the order of their labels."""
        return self.dataset.classes

    @cached_property
    def names(self) -> list[str]:
        """The name of each image's class."""
        return [self.class_names[label] for label in self.labels]

    def without(self, problems: Mapping[int, str]) -> tuple["Collection", dict[str, str]]:
        """Return a collection without some images, and by file what is wrong with these.

        Args:
            problems: a line each, by the image's place among the N.

        Raises:
            InputError: a class has no image left.
        """
        if not problems:
            return self, {}
        left = [i for i in range(len(self.labels)) if i not in problems]
        if emptied := sorted(set(self.labels) - {self.labels[i] for i in left}):
            names = listed([self.class_names[label] for label in emptied], ", ")
            raise InputError(
                f"Data {self.name!r}: no image of {names} can be opened; {listed(list(problems.values()))}"
            )
        parts, groups = (tuple(column[i] for i in left) for column in (self.parts, self.groups))
        readable = replace(self, dataset=self.dataset.subset(left), parts=parts, groups=groups)
        reasons = {i: text.removeprefix(f"Cannot open image {self.paths[i]!r}: ") for i, text in problems.items()}
        return readable, {self.files[i]: reason for i, reason in reasons.items()}


def collect(
    data: str | Path | None, *, seed: int, group_by: str | None = None, corrections: Corrections | None = None
) -> Collection:
    """Find a data set and take all of its images: those of every part that it brings, or as train.py would split it.

    Where a class has too few images to be split, the images are taken as they are.

    Args:
        data: as for `data_setup.load_splits`.
        seed: of the split.
        group_by: a regular expression on the file's name whose first group names what must stay together.
        corrections: to make first.

    Raises:
        InputError: the data, the pattern or the corrections cannot be used.
    """
    with sources.found(data) as (folder, name, origin):
        own = own_split.find(content_root(folder)) if folder.is_dir() else None
        rule = SplitRule(seed, validation=bool(own and own.validation), group_by=group_by)
        source = sources.from_anywhere(data or name)
        try:
            split = splits.split(folder, name, origin, rule, source=source, corrections=corrections)
        except InputError as error:
            if own or not folder.is_dir():
                raise
            return _unsplit(folder, name, origin, rule, source, corrections, str(error))
    parts = {TRAIN: split.train, VALIDATION: split.validation, TEST: split.test}
    parts = {part: images for part, images in parts.items() if images is not None}
    first, *others = parts.values()
    dataset = first.joined_with(*others)
    return Collection(
        name,
        origin,
        source,
        split.folder,
        dataset,
        tuple(part for part, images in parts.items() for _ in range(len(images))),
        tuple(splits.together(dataset, group_by)),
        "",
        split.notes,
        corrections.kept if corrections else frozenset(),
    )


def _unsplit(
    folder: Path,
    name: str,
    origin: str,
    rule: SplitRule,
    source: str,
    corrections: Corrections | None,
    reason: str,
) -> Collection:
    """Return what `collect` does of images that cannot be split.

    Raises:
        InputError: what was wrong was not the split.
    """
    root = content_root(folder)
    dataset = ImageFolder(root)
    notes = notes_of([dataset])
    if corrections:
        notes += corrections.notes(root, [dataset])
        dataset = corrections.apply(dataset, root)
    return Collection(
        name,
        origin,
        source,
        root,
        dataset,
        ("",) * len(dataset),
        tuple(splits.together(dataset, rule.group_by)),
        reason,
        tuple(notes),
        corrections.kept if corrections else frozenset(),
    )


def joined(first: Sequence[int], second: Sequence[int]) -> np.ndarray:
    """Return numbers (N,) that are the same for images of which either of two numberings, directly or not, is.

    Args:
        first: (N,) whole numbers.
        second: (N,) others.
    """
    from scipy.sparse import coo_array  # late: it takes a quarter of a second
    from scipy.sparse.csgraph import connected_components

    _, rows = np.unique(first, return_inverse=True)
    _, columns = np.unique(second, return_inverse=True)
    count = rows.max() + 1
    edges = coo_array((np.ones(len(rows)), (rows, count + columns)), shape=(2 * len(rows),) * 2)
    return connected_components(edges, directed=False)[1][rows]
