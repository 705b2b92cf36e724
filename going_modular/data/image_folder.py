"""Image folders: a folder a class, checked and paired."""

import copy
from collections.abc import Callable, Sequence
from pathlib import Path

from torchvision import datasets

from going_modular.common import files
from going_modular.common.errors import InputError
from going_modular.data import images

SPLITS = ("train", "test")  # the folders of a data set that brings its own split


class ImageFolder(datasets.ImageFolder):
    """Labelled images, a folder a class, each opened upright as RGB whatever its format.

    An item is (image, label): a PIL image, or what `transform` makes of it, and the class's index in `classes`.

    Raises:
        InputError: a class folder without images, or fewer than two classes.
    """

    def __init__(self, root: str | Path, transform: Callable | None = None) -> None:
        root = Path(root)

        def is_ours(path: str) -> bool:
            return images.is_visible_in(root, Path(path))

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

    def subset(self, indices: Sequence[int], *, transform: Callable | None = None) -> "ImageFolder":
        """Return a data set of its own with these images only and, where one is given, another transform."""
        part = copy.copy(self)
        part.samples = part.imgs = [self.samples[i] for i in indices]
        part.targets = [self.targets[i] for i in indices]
        part.transform = transform or self.transform
        return part

    def with_transform(self, transform: Callable) -> "ImageFolder":
        """Return a data set of its own with the same images and another transform."""
        return self.subset(range(len(self)), transform=transform)

    def relabel(self, class_names: Sequence[str]) -> "ImageFolder":
        """Return the images with the labels of a model; its classes may stand in another order, or lack images.

        Raises:
            InputError: the data has a class that the model does not know.
        """
        if unknown := sorted(set(self.classes) - set(class_names)):
            raise InputError(
                f"Data {str(self.root)!r} has the class {', '.join(unknown)}, which the model does not know: "
                f"it knows {', '.join(class_names)}"
            )
        relabelled = self.subset(range(len(self)))
        relabelled.classes = list(class_names)
        relabelled.class_to_idx = {name: label for label, name in enumerate(class_names)}
        relabelled.samples = relabelled.imgs = [
            (path, relabelled.class_to_idx[self.classes[label]]) for path, label in self.samples
        ]
        relabelled.targets = [label for _, label in relabelled.samples]
        return relabelled


def pair(train_dir: Path, test_dir: Path, transform: Callable | None = None) -> tuple[ImageFolder, ImageFolder]:
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
    return ImageFolder(train_dir, transform), ImageFolder(test_dir, transform)


def content_root(folder: Path) -> Path:
    """Step into a lone folder that holds the data set's folders, as zips often have one."""
    while len(inner := visible_folders(folder)) == 1 and visible_folders(inner[0]):
        if inner[0].name in SPLITS:
            break
        folder = inner[0]
    return folder


def visible_folders(folder: Path) -> list[Path]:
    """Return the folders in a folder, sorted, without hidden ones and `__MACOSX`."""
    return sorted(path for path in folder.iterdir() if path.is_dir() and not files.is_hidden(path.name))


def _empty_classes(folder: Path) -> str:
    """Say which class folders are empty, and what was passed over in them."""
    held = {path.name: [file for file in path.rglob("*") if file.is_file()] for path in visible_folders(folder)}
    empty = [name for name, inside in held.items() if not any(images.is_visible_in(folder, file) for file in inside)]
    if not empty:
        return "no class folders; put the images of each class into a folder of the class's name"
    message = f"no images in the class folder {', '.join(empty)}; add some or remove it"
    skipped = {file.suffix.lower() for name in empty for file in held[name] if not file.name.startswith(".")}
    if unread := sorted(skipped - images.EXTENSIONS - {""}):
        message += f" ({', '.join(unread)} files are not read; convert photos to JPEG)"
    return message
