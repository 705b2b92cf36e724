"""Image folders: a folder a class, checked, paired and split."""

import copy
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from sklearn.model_selection import StratifiedKFold, train_test_split
from torchvision import datasets

from going_modular import images
from going_modular.errors import InputError

SPLITS = ("train", "test")  # the folders of a data set that brings its own split
TEST_SHARE = 0.2  # of the images, where a data set brings no split of its own
VALIDATION_SHARE = 0.1  # of the images; taken from those to train on
FOLDS = 10
# Each class is dealt out to ten folds in turn. Of any run of neighbours, these two and this one get their share to
# within one image, and so does the rest; adjoining folds would not.
TEST_FOLDS, VALIDATION_FOLD = (0, 6), 3


class ImageFolder(datasets.ImageFolder):
    """Labelled images, a folder a class, each opened upright as RGB whatever its format.

    An item is (image, label): a PIL image, or what `transform` makes of it, and the class's index in `classes`.

    Raises:
        InputError: a class folder without images, or fewer than two classes.
    """

    def __init__(self, root: str | Path, transform: Callable | None = None) -> None:
        root = Path(root)

        def is_ours(path: str) -> bool:
            return _is_visible_image(Path(path), root)

        try:
            super().__init__(str(root), transform=transform, loader=images.open_image, is_valid_file=is_ours)
        except FileNotFoundError as error:
            raise InputError(f"Data {str(root)!r}: {_empty_classes(root)}") from error
        if len(self.classes) < 2:
            raise InputError(f"Data {str(root)!r} has one class only, {self.classes[0]!r}; a classifier needs two")

    def find_classes(self, directory: str) -> tuple[list[str], dict[str, int]]:
        """Return the class names, sorted, and their indices; hidden folders are no classes."""
        names = [folder.name for folder in visible_folders(Path(directory))]
        if not names:
            raise FileNotFoundError(f"no class folders in {directory}")
        return names, {name: index for index, name in enumerate(names)}

    def subset(self, indices: Sequence[int]) -> "ImageFolder":
        """Return a data set of its own with these images only; its transform can be another."""
        part = copy.copy(self)
        part.samples = part.imgs = [self.samples[i] for i in indices]
        part.targets = [self.targets[i] for i in indices]
        return part


def pair(train_dir: Path, test_dir: Path) -> tuple[ImageFolder, ImageFolder]:
    """Open a training and a test folder that must have the same classes.

    Raises:
        InputError: a folder cannot be used, or the classes differ.
    """
    for folder in (train_dir, test_dir):
        if not folder.is_dir():
            raise InputError(f"Data {str(folder)!r}: no such folder")
    train_classes, test_classes = ({p.name for p in visible_folders(d)} for d in (train_dir, test_dir))
    if train_classes != test_classes:
        sides = [("train", train_classes - test_classes), ("test", test_classes - train_classes)]
        differences = "; ".join(f"only in {side}: {', '.join(sorted(names))}" for side, names in sides if names)
        raise InputError(f"Data {str(train_dir.parent)!r}: the classes of train and test differ ({differences})")
    return ImageFolder(train_dir), ImageFolder(test_dir)


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


def content_root(folder: Path) -> Path:
    """Step into a lone folder that holds the data set's folders, as zips often have one."""
    while len(inner := visible_folders(folder)) == 1 and visible_folders(inner[0]):
        if inner[0].name in SPLITS:
            break
        folder = inner[0]
    return folder


def visible_folders(folder: Path) -> list[Path]:
    """Return the folders in a folder, sorted, without hidden ones and `__MACOSX`."""
    return sorted(path for path in folder.iterdir() if path.is_dir() and not _is_hidden(path.name))


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


def _is_hidden(name: str) -> bool:
    return name.startswith((".", "__"))


def _is_visible_image(path: Path, root: Path) -> bool:
    """Tell an image from other files; copies in `.ipynb_checkpoints` and the like are none of the data set's."""
    return images.is_image_file(path) and not any(map(_is_hidden, path.relative_to(root).parts[:-1]))


def _empty_classes(folder: Path) -> str:
    """Say which class folders are empty, and what was passed over in them."""
    files = {path.name: [file for file in path.rglob("*") if file.is_file()] for path in visible_folders(folder)}
    empty = [name for name, inside in files.items() if not any(_is_visible_image(file, folder) for file in inside)]
    if not empty:
        return "no class folders; put the images of each class into a folder of the class's name"
    message = f"no images in the class folder {', '.join(empty)}; add some or remove it"
    skipped = {file.suffix.lower() for name in empty for file in files[name] if not file.name.startswith(".")}
    if unread := sorted(skipped - images.EXTENSIONS - {""}):
        message += f" ({', '.join(unread)} files are not read; convert photos to JPEG)"
    return message
