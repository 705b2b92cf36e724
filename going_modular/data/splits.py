"""A data set in parts that share no image: its own, or made by a seed, every class in the same proportion."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from sklearn.model_selection import StratifiedKFold, train_test_split

from going_modular.common.errors import InputError
from going_modular.data.image_folder import SPLITS, ImageFolder, content_root, pair, visible_folders

TEST_SHARE = 0.2  # of the images, where a data set brings no split of its own
VALIDATION_SHARE = 0.1  # of the images; taken from those to train on
FOLDS = 10
# Each class is dealt out to ten folds in turn. Of any run of neighbours, these two and this one get their share to
# within one image, and so does the rest; adjoining folds would not.
TEST_FOLDS, VALIDATION_FOLD = (0, 6), 3


@dataclass(frozen=True)
class Splits:
    """A data set in parts that share no image: one to train on, one to test on, perhaps one to choose by."""

    name: str
    train: ImageFolder
    test: ImageFolder
    origin: str  # where the images come from, in a few words
    validation: ImageFolder | None = None

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


def split(folder: Path, name: str, origin: str, *, seed: int, validation: bool) -> Splits:
    """Split the images of a folder: as its own train/ and test/ say, else by seed.

    Args:
        folder: with train/ and test/, or of class folders.
        name: of the data set.
        origin: of the images, in a few words.
        seed: of the split.
        validation: make a validation part, too.

    Raises:
        InputError: the folder cannot be used.
    """
    if not folder.is_dir():
        raise InputError(f"Data {name!r}: {str(folder)!r} is missing; clone the repository anew, or name other data")
    folder = content_root(folder)
    subfolders = [path.name for path in visible_folders(folder)]
    held_out = None
    if set(SPLITS) <= set(subfolders):
        train, test = pair(folder / "train", folder / "test")
        if validation:
            train, held_out = hold_out(train, VALIDATION_SHARE / (1 - TEST_SHARE), seed=seed)
        return Splits(name, train, test, origin, held_out)
    if any(visible_folders(folder / split) for split in SPLITS if split in subfolders):
        folders = ", ".join(f"{subfolder}/" for subfolder in subfolders)
        raise InputError(f"Data {str(folder)!r} has {folders} but not both train/ and test/; add or rename one")
    everything = ImageFolder(folder)
    if validation:
        train, held_out, test = three_way_split(everything, seed=seed)
    else:
        train, test = stratified_split(everything, seed=seed)
    return Splits(name, train, test, origin, held_out)


def stratified_split(everything: ImageFolder, *, seed: int) -> tuple[ImageFolder, ImageFolder]:
    """Split a data set 80/20 into training and test images, every class in the same proportion.

    With ten images or more in every class, each class is within one image of its share.

    Raises:
        InputError: a class has fewer than two images.
    """
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
            f"Data {str(dataset.root)!r}: too few images to split ({', '.join(scarce)}); each class needs {least}"
        )


def _deal(everything: ImageFolder, seed: int) -> list[np.ndarray]:
    """Deal the images out to ten folds, each class in turn; return the indices of each."""
    dealer = StratifiedKFold(FOLDS, shuffle=True, random_state=seed)
    return [fold for _, fold in dealer.split(everything.targets, everything.targets)]
