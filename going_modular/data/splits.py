"""A data set in parts that share no image: its own, or made by a seed, every class in the same proportion."""

import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from going_modular.common.errors import InputError, listed
from going_modular.common.seeds import DEFAULT_SEED
from going_modular.data import own_split
from going_modular.data.corrections import Corrections
from going_modular.data.image_folder import ImageFolder, content_root, notes_of, open_together, pair
from going_modular.data.walk import canonical, escaped

TEST_SHARE = 0.2  # of the images, where a data set brings no split of its own
VALIDATION_SHARE = 0.1  # of the images; taken from those to train on
FOLDS = 10
# Each class is dealt out to ten folds in turn. Of any run of neighbours, these two and this one get their share to
# within one image, and so does the rest; adjoining folds would not.
TEST_FOLDS, VALIDATION_FOLD = (0, 6), 3


@dataclass(frozen=True)
class SplitRule:
    """How a data set is split, so that the same images fall into the same parts again."""

    seed: int = DEFAULT_SEED
    validation: bool = False  # make a validation part, too
    group_by: str | None = None  # a regular expression; images whose names have the same first group stay together
    corrections: str | None = None  # the digest of those that were made first


@dataclass(frozen=True)
class Splits:
    """A data set in parts that share no image: one to train on, one to test on, perhaps one to choose by."""

    name: str
    train: ImageFolder
    test: ImageFolder
    origin: str  # where the images come from, in a few words
    validation: ImageFolder | None = None
    rule: SplitRule = SplitRule()
    source: str = ""  # names the same data from any folder: a data set's name, or a path
    notes: tuple[str, ...] = ()  # lines to print: what was not read, and which folders are used for what
    folder: Path = Path()  # that holds all of it; corrections name images by their paths below

    @property
    def class_names(self) -> list[str]:
        """The names of the classes, in the order of their labels."""
        return self.train.classes

    def with_transform(self, transform: Callable) -> "Splits":
        """Return the same parts, every image seen through this transform."""
        validation = self.validation and self.validation.with_transform(transform)
        return replace(
            self,
            train=self.train.with_transform(transform),
            test=self.test.with_transform(transform),
            validation=validation,
        )


def split(
    folder: Path, name: str, origin: str, rule: SplitRule, *, source: str = "", corrections: Corrections | None = None
) -> Splits:
    """Split the images of a folder: as its own train/ and test/ say, else by the rule.

    Args:
        folder: with train/ and test/, or of class folders.
        name: of the data set.
        origin: of the images, in a few words.
        rule: of the split.
        source: what names the same data from any folder.
        corrections: to make before it is split.

    Raises:
        InputError: the folder or the corrections cannot be used.
    """
    if not folder.is_dir():
        raise InputError(f"Data {name!r}: {str(folder)!r} is missing; clone the repository anew, or name other data")
    if undecodable := [text for text in (str(folder), source) if escaped(text) != text]:
        raise InputError(f"Data '{escaped(undecodable[0])}': that name is not UTF-8; rename it")
    folder = content_root(folder)
    own = own_split.find(folder)
    parts = _open(own, rule) if own else [ImageFolder(folder)]
    notes = own.notes(uses_validation=rule.validation) if own else []
    notes += notes_of(parts)
    if corrections:
        notes += corrections.notes(folder, parts)
        rule = replace(rule, corrections=corrections.digest)
        parts = [corrections.apply(part, folder) for part in parts]
        parts[0], taken = _apart(parts[0], parts[1:])
        if taken:
            notes.append(f"Corrections: {taken} training images left out, of groups that stand in another part")
    train, validation, test = _bring(parts, rule) if own else _make(parts[0], rule)
    return Splits(name, train, test, origin, validation, rule, source, tuple(notes), folder)


def _open(own: own_split.OwnSplit, rule: SplitRule) -> list[ImageFolder]:
    """Open the parts that a data set brings: to train on, to test on, and to choose by if that is wanted and there."""
    if rule.validation and own.validation:
        return open_together(own.train, own.test, own.validation)
    return list(pair(own.train, own.test))


def _apart(train: ImageFolder, others: Sequence[ImageFolder]) -> tuple[ImageFolder, int]:
    """Return the training images of groups that stand in no other part, and how many they are fewer."""
    elsewhere = {group for part in others for group in part.groups.values()}
    kept = [i for i, (path, _) in enumerate(train.samples) if train.groups.get(path) not in elsewhere]
    return train.subset(kept), len(train) - len(kept)


def _bring(parts: list[ImageFolder], rule: SplitRule) -> tuple[ImageFolder, ImageFolder | None, ImageFolder]:
    """Return the parts that a data set brings; a validation part that is wanted, and not there, comes from training."""
    train, test, *validation = parts
    if validation or not rule.validation:
        return train, validation[0] if validation else None, test
    share = VALIDATION_SHARE / (1 - TEST_SHARE)
    if _is_grouped(train, rule):
        return *hold_out_groups(train, round(1 / share), rule), test
    return *hold_out(train, share, seed=rule.seed), test


def _make(everything: ImageFolder, rule: SplitRule) -> tuple[ImageFolder, ImageFolder | None, ImageFolder]:
    """Make a training, perhaps a validation, and a test part."""
    if _is_grouped(everything, rule):
        train, test = hold_out_groups(everything, round(1 / TEST_SHARE), rule)
        if not rule.validation:
            return train, None, test
        return *hold_out_groups(train, round((1 - TEST_SHARE) / VALIDATION_SHARE), rule), test
    if rule.validation:
        return three_way_split(everything, seed=rule.seed)
    train, test = stratified_split(everything, seed=rule.seed)
    return train, None, test


def _is_grouped(dataset: ImageFolder, rule: SplitRule) -> bool:
    return rule.group_by is not None or bool(dataset.groups)


def together(dataset: ImageFolder, pattern: str | None) -> list[int]:
    """Return for each image the number of what it must stay together with.

    Args:
        dataset: image files, some of which corrections may have put into groups.
        pattern: as `groups_of` takes it; images that it and corrections link, directly or not, are one group. None:
            what no correction groups stands for itself.

    Raises:
        InputError: as `groups_of`.
    """
    named = [path for path, _ in dataset.samples] if pattern is None else groups_of(dataset, pattern)
    leader: dict[object, object] = {}

    def find(name: object) -> object:
        while (above := leader.setdefault(name, name)) != name:
            name = above
        return name

    for (path, _), by_name in zip(dataset.samples, named, strict=True):
        if path in dataset.groups:
            leader[find(("named", by_name))] = find(("corrected", dataset.groups[path]))
    found = [find(("named", by_name)) for by_name in named]
    numbers = {name: number for number, name in enumerate(dict.fromkeys(found))}
    return [numbers[name] for name in found]


def groups_of(dataset: ImageFolder, pattern: str) -> list[str]:
    """Return the group of each image: what the pattern's first group matches in the file's name.

    Args:
        dataset: image files.
        pattern: a regular expression with a group, such as `(.*)_slice`.

    Raises:
        InputError: no regular expression, one without a group, or one that a file's name does not match.
    """
    try:
        compiled = re.compile(canonical(pattern))
    except re.error as error:
        raise InputError(f"--group-by {pattern!r} is no regular expression: {error}") from error
    if not compiled.groups:
        raise InputError(f"--group-by {pattern!r} has no group; put the part that names it in brackets")
    matches = [compiled.search(canonical(Path(path).name)) for path, _ in dataset.samples]
    if without := [path for (path, _), match in zip(dataset.samples, matches, strict=True) if not (match and match[1])]:
        raise InputError(
            f"--group-by {pattern!r} names no group for {len(without)} of {len(matches)} images, such as {without[0]!r}"
        )
    return [match[1] for match in matches]


def hold_out_groups(dataset: ImageFolder, folds: int, rule: SplitRule) -> tuple[ImageFolder, ImageFolder]:
    """Split off about one image in `folds`, every class in about the same proportion, no group on both sides.

    Raises:
        InputError: there are fewer groups than folds, or a class falls into one part only.
    """
    from sklearn.model_selection import StratifiedGroupKFold  # late: it takes half a second, here and below

    groups = together(dataset, rule.group_by)
    said = "The corrections" if rule.group_by is None else f"--group-by {rule.group_by!r}"
    if len(set(groups)) < folds:
        raise InputError(f"{said}: {len(set(groups))} groups; a split needs {folds}")
    dealer = StratifiedGroupKFold(folds, shuffle=True, random_state=rule.seed)
    kept, out = next(dealer.split(dataset.targets, dataset.targets, groups))
    for part in (kept, out):
        if lacking := set(range(len(dataset.classes))) - {dataset.targets[i] for i in part}:
            names = listed([dataset.classes[label] for label in sorted(lacking)], ", ")
            raise InputError(f"{said}: {names} cannot be split; each class needs more groups")
    return dataset.subset(kept), dataset.subset(out)


def stratified_split(everything: ImageFolder, *, seed: int) -> tuple[ImageFolder, ImageFolder]:
    """Split a data set 80/20 into training and test images, every class in the same proportion.

    With ten images or more in every class, each class is within one image of its share.

    Raises:
        InputError: a class has fewer than two images.
    """
    from sklearn.model_selection import train_test_split

    _check_each_class(everything, 2)
    if min(Counter(everything.targets).values()) >= FOLDS:
        folds = _deal(everything, seed)
        test = np.concatenate([folds[i] for i in TEST_FOLDS])
        train = np.setdiff1d(range(len(everything)), test)
    else:
        test_size = max(round(TEST_SHARE * len(everything)), len(everything.classes))
        train, test = train_test_split(
            range(len(everything)), test_size=test_size, stratify=everything.targets, random_state=seed
        )
    return everything.subset(sorted(train)), everything.subset(sorted(test))


def three_way_split(everything: ImageFolder, *, seed: int) -> tuple[ImageFolder, ImageFolder, ImageFolder]:
    """Split a data set 70/10/20 into training, validation and test images, every class in the same proportion.

    The test images are those of `stratified_split`. With ten images or more in every class, each class is within one
    image of its share in all three.

    Raises:
        InputError: a class has fewer than three images.
    """
    _check_each_class(everything, 3)
    train, test = stratified_split(everything, seed=seed)
    if min(Counter(everything.targets).values()) >= FOLDS:
        validation = _deal(everything, seed)[VALIDATION_FOLD]
        chosen = {everything.samples[i][0] for i in validation}
        kept = [i for i, (path, _) in enumerate(train.samples) if path not in chosen]
        return train.subset(kept), everything.subset(sorted(validation)), test
    return *hold_out(train, VALIDATION_SHARE / (1 - TEST_SHARE), seed=seed), test


def hold_out(dataset: ImageFolder, share: float, *, seed: int) -> tuple[ImageFolder, ImageFolder]:
    """Split a data set in two, every class in the same proportion.

    Args:
        dataset: what to split.
        share: of the images, in (0, 1), that go to the second part; at least as many as there are classes do.
        seed: of the choice.

    Raises:
        InputError: a class has fewer than two images, or the first part would have fewer than one a class.
    """
    from sklearn.model_selection import train_test_split

    _check_each_class(dataset, 2)
    held_out = max(round(share * len(dataset)), len(dataset.classes))
    if held_out > len(dataset) - len(dataset.classes):
        raise InputError(
            f"Data {str(dataset.root)!r}: of {len(dataset)} images {held_out} would be held out, which leaves fewer "
            f"than one for each of the {len(dataset.classes)} classes"
        )
    kept, out = train_test_split(range(len(dataset)), test_size=held_out, stratify=dataset.targets, random_state=seed)
    return dataset.subset(sorted(kept)), dataset.subset(sorted(out))


def _check_each_class(dataset: ImageFolder, least: int) -> None:
    counts = Counter(dataset.targets)
    scarce = [f"{counts[label]} in {name}" for label, name in enumerate(dataset.classes) if counts[label] < least]
    if scarce:
        raise InputError(
            f"Data {str(dataset.root)!r}: too few images to split ({listed(scarce, ', ')}); each class needs {least}"
        )


def _deal(everything: ImageFolder, seed: int) -> list[np.ndarray]:
    """Deal the images out to ten folds, each class in turn; return the indices of each."""
    from sklearn.model_selection import StratifiedKFold

    dealer = StratifiedKFold(FOLDS, shuffle=True, random_state=seed)
    return [fold for _, fold in dealer.split(everything.targets, everything.targets)]
