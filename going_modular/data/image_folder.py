"""Image folders: a folder a class, checked and paired."""

import copy
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path

from torchvision import datasets

from going_modular.common.errors import InputError, listed
from going_modular.data import images, own_split, resizing
from going_modular.data.walk import FolderContents, canonical, escaped, notes, some, visible_folders, walk


class ImageFolder(datasets.ImageFolder):
    """Labelled images, a folder a class, each opened upright as RGB whatever its format.

    An item is (image, label): a PIL image, or what `transform` makes of it, and the class's index in `classes`. Of a
    photo much larger than the transform's size only a fraction is decoded; see `images.open_image`.

    Args:
        root: a folder of class folders.
        transform: maps a PIL image to what an item shall hold.
        contents: what `walk` found in the folder, where it was not walked alone.

    Raises:
        InputError: a class folder without images, fewer than two classes, or a name that is not UTF-8.
    """

    def __init__(
        self, root: str | Path, transform: Callable | None = None, *, contents: FolderContents | None = None
    ) -> None:
        root = Path(root)
        contents = contents or walk(root)[0]
        self._images = contents.images
        _refuse_undecodable(root, contents)
        if empty := _empty_classes(root, contents):
            raise InputError(f"Data {str(root)!r}: {empty}")
        super().__init__(str(root), transform=transform, loader=images.open_image, is_valid_file=images.is_image_file)
        del self._images  # processes that read images get a copy of the data set
        self.left_out = _left_out(root, contents)
        self.groups: dict[str, str] = {}  # path -> the group that corrections put it into
        if len(self.classes) < 2:
            raise InputError(f"Data {str(root)!r} has one class only, {self.classes[0]!r}; a classifier needs two")

    @property
    def short_side(self) -> int | None:
        """What the transform will resize the short side of images to, in pixels; None: they are decoded whole."""
        return resizing.short_side(self.transform) if self.loader is images.open_image else None

    def __getitem__(self, index: int) -> tuple:
        """Return an image, through the transform, and its label."""
        path, label = self.samples[index]
        side = self.short_side
        image = self.loader(path) if side is None else self.loader(path, short_side=side)
        if self.transform is not None:
            image = self.transform(image)
        return image, label if self.target_transform is None else self.target_transform(label)

    def find_classes(self, directory: str) -> tuple[list[str], dict[str, int]]:
        """Return the class names, sorted, and their indices; hidden folders are no classes.

        Folders whose names differ only in how Unicode writes them are one class.
        """
        names = list(dict.fromkeys(canonical(folder.name) for folder in visible_folders(Path(directory))))
        return names, {name: index for index, name in enumerate(names)}

    def make_dataset(self, directory: str, class_to_idx: dict[str, int], **_: object) -> list[tuple[str, int]]:
        """Return (path, label) of each image that `walk` found, by class, then folder, then name.

        The order, and with it every split, is the same on each system, whatever its separator, case or Unicode form.
        """
        inside = [(path.relative_to(directory), path) for path in self._images]
        rows = [
            (canonical(place.parts[0]), canonical(place.parent.as_posix()), canonical(place.name), str(path))
            for place, path in inside
            if len(place.parts) > 1
        ]
        return [(path, class_to_idx[class_name]) for class_name, _, _, path in sorted(rows)]

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

    def joined_with(self, *others: "ImageFolder") -> "ImageFolder":
        """Return a data set of its own with the images of others, which have the same classes, after these."""
        joined = self.subset(range(len(self)))
        joined.samples = joined.imgs = [sample for part in (self, *others) for sample in part.samples]
        joined.targets = [label for part in (self, *others) for label in part.targets]
        joined.groups = {path: group for part in (self, *others) for path, group in part.groups.items()}
        return joined

    def relabel(self, class_names: Sequence[str]) -> "ImageFolder":
        """Return the images with the labels of a model; its classes may stand in another order, or lack images.

        Raises:
            InputError: the data has a class that the model does not know.
        """
        labels = {canonical(name): label for label, name in enumerate(class_names)}
        if unknown := sorted(set(self.classes) - set(labels)):
            raise InputError(
                f"Data {str(self.root)!r} has the class {listed(unknown, ', ')}, which the model does not know: "
                f"it knows {listed(class_names, ', ')}"
            )
        relabelled = self.subset(range(len(self)))
        relabelled.classes = list(class_names)
        relabelled.class_to_idx = {name: label for label, name in enumerate(class_names)}
        relabelled.samples = relabelled.imgs = [(path, labels[self.classes[label]]) for path, label in self.samples]
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
    if train_dir == test_dir:  # asked for so; a link that makes them one is no wish
        return ImageFolder(train_dir, transform), ImageFolder(test_dir, transform)
    train_classes, test_classes = ({canonical(p.name) for p in visible_folders(d)} for d in (train_dir, test_dir))
    if train_classes != test_classes:
        sides = [("train", train_classes - test_classes), ("test", test_classes - train_classes)]
        differences = "; ".join(f"only in {side}: {listed(sorted(names), ', ')}" for side, names in sides if names)
        raise InputError(f"Data {str(train_dir.parent)!r}: the classes of train and test differ ({differences})")
    train, test = open_together(train_dir, test_dir, transform=transform)
    return train, test


def open_together(*folders: Path, transform: Callable | None = None) -> list[ImageFolder]:
    """Open the parts of a data set; an image that links bring into several counts for one.

    Raises:
        InputError: a folder cannot be used.
    """
    contents = walk(*folders)
    return [ImageFolder(folder, transform, contents=part) for folder, part in zip(folders, contents, strict=True)]


def notes_of(datasets: Sequence[ImageFolder]) -> list[str]:
    """Say in a line each what in some data sets was not read; of all read, nothing."""
    parts = list({id(dataset.left_out): dataset.left_out for dataset in datasets}.values())  # of one folder once
    lines = notes(parts)
    if loose := sum(len(part.images) for part in parts):
        lines.append(f"Not read: {loose} image{'s' if loose > 1 else ''} beside the class folders, of no class")
    if alike := _alike(datasets[0].classes):
        lines.append(f"Classes by case alone: {some(alike)}; each is a class here, on Windows and macOS they are one")
    return lines


def _alike(class_names: Sequence[str]) -> list[str]:
    """Return the class names that differ from another in nothing but case."""
    count = Counter(map(str.casefold, class_names))
    return [name for name in class_names if count[name.casefold()] > 1]


def content_root(folder: Path) -> Path:
    """Step into a lone folder that holds the data set's folders, as zips often have one."""
    while len(inner := visible_folders(folder)) == 1 and visible_folders(inner[0]):
        if own_split.is_half(inner[0].name):
            break
        folder = inner[0]
    return folder


def _refuse_undecodable(root: Path, contents: FolderContents) -> None:
    """Refuse names that no file of ours could hold: all of those are UTF-8."""
    named = [path for path in (*visible_folders(root), *contents.images) if escaped(str(path)) != str(path)]
    # of a file in a folder with such a name, the folder
    bad = {[str(place) for place in (path, *path.parents) if escaped(place.name) != place.name][-1] for path in named}
    if bad:
        names = some(sorted(bad))
        raise InputError(f"Data '{escaped(str(root))}': names that are not UTF-8: {names}; rename them")


def _empty_classes(root: Path, contents: FolderContents) -> str | None:
    """Say which class folders are empty, and what was passed over in them; None if none is."""
    folders = visible_folders(root)
    if not folders:
        return "no class folders; put the images of each class into a folder of the class's name"
    held = defaultdict(list)
    for path in contents.images + contents.unread:
        held[path.relative_to(root).parts[0]].append(path)
    empty = [folder for folder in folders if not any(map(images.is_image_file, held[folder.name]))]
    if not empty:
        return None
    message = f"no images in the class folder {listed([folder.name for folder in empty], ', ')}; add some or remove it"
    if unread := {path.suffix.lower() for folder in empty for path in held[folder.name]} - {""}:
        message += f" ({listed(sorted(unread), ', ')} files are not read; convert photos to JPEG)"
    if any(link.is_relative_to(folder) for link in contents.unfollowed for folder in empty):
        message += " (what links there lead to is read elsewhere)"
    return message


def _left_out(root: Path, contents: FolderContents) -> FolderContents:
    """Keep of what was found the images beside the class folders, and what was not read in these."""

    def is_deep(path: Path) -> bool:
        return path.parent != root

    loose = [path for path in contents.images if not is_deep(path)]
    return FolderContents(root, loose, list(filter(is_deep, contents.unread)), contents.unfollowed)
