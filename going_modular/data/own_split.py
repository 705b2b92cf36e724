"""Recognise the training and test folders that a data set brings, however they are spelt."""

import re
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

from going_modular.common.errors import InputError
from going_modular.data.walk import MOST_NAMED, canonical, order, visible_folders, walk

TRAIN, VALIDATION, TEST = "train", "validation", "test"
_SPELLINGS = {
    TRAIN: "train|training|trn",
    VALIDATION: "val|valid|validate|validating|validation",
    TEST: "test|tests|testing|tst",
}
_SUFFIXES = "sets?|data|datasets?|images?|imgs?"
_IGNORED = re.compile(rf"{_SUFFIXES}|folders?|dir|splits?|parts?|samples?|photos?|pictures?|pics?|files?|my|the")


@dataclass(frozen=True)
class OwnSplit:
    """The folders of a data set that brings its own split."""

    train: Path
    test: Path
    validation: Path | None  # with the same class folders, or None
    others: list[Path]  # beside these

    def notes(self, *, uses_validation: bool) -> list[str]:
        """Say which folder is used for what, where it is not plain, and which are not used."""
        used = [(self.train, "to train on"), (self.test, "to test on")]
        others = list(self.others)
        if self.validation and uses_validation:
            used.insert(1, (self.validation, "to choose by"))
        elif self.validation:
            others.append(self.validation)
        lines = []
        if [folder.name for folder, _ in used] != ["train", "test"]:
            lines.append(f"Folders: {', '.join(f'{folder.name}/ {purpose}' for folder, purpose in used)}")
        if others:
            lines.append(f"Not used: {_named(sorted(others, key=order))}, beside {_named([self.train, self.test])}")
        return lines


def role(name: str) -> tuple[str | None, str]:
    """Return what a folder's name says that it is for, and the rest of the name: `seg_Train` gives "train", "seg".

    Returns:
        "train", "validation", "test" or, where the name says none of these or several, None; and the other words.
    """
    spaced = re.sub(r"(?<=[a-z])(?=[A-Z])|(?<=[^\W\d_])(?=\d)", " ", canonical(name))
    words = [word for word in re.split(r"[\W_]+", spaced.casefold()) if word]
    roles = [
        (word, part)
        for word in words
        for part, spellings in _SPELLINGS.items()
        if re.fullmatch(f"(?:{spellings})(?:{_SUFFIXES})?", word)
    ]
    if len(roles) != 1:
        return None, name
    [(said, part)] = roles
    return part, " ".join(word for word in words if word != said and not _IGNORED.fullmatch(word))


def is_half(name: str) -> bool:
    """Tell whether a folder's name says that it is one part of a data set, and nothing else."""
    return re.fullmatch(f"{_SPELLINGS[TRAIN]}|{_SPELLINGS[TEST]}", name, re.IGNORECASE) is not None


def find(folder: Path) -> OwnSplit | None:
    """Return the training and test folders in a folder, or None if it is one of class folders.

    Folders are taken by their names, whatever the case and the usual spelling, or because all folders hold the same
    class folders, and the names of one each speak of training and testing.

    Raises:
        InputError: the folders are parts of a data set, but which is to train on and which to test on is not clear.
    """
    folders = visible_folders(folder)
    by_name: dict[str, dict[str | None, list[Path]]] = defaultdict(lambda: defaultdict(list))
    for path in folders:
        part, rest = role(path.name)
        by_name[rest][part].append(path)
    for rest in sorted(by_name, key=len):  # "" first: train and test before test_more and train_more
        if by_name[rest][TRAIN] and by_name[rest][TEST]:
            return _settle(folder, folders, by_name[rest])

    if classes := _shared_classes(folders):
        parts = defaultdict(list)
        for path in folders:
            parts[role(path.name)[0]].append(path)
        if parts[TRAIN] and parts[TEST]:
            return _settle(folder, folders, parts)
        if not (parts[TRAIN] or parts[TEST]):
            raise InputError(
                f"Data {str(folder)!r}: {_named(folders)} hold the same folders ({', '.join(classes[:MOST_NAMED])}), "
                "as the parts of a data set do; name one train/ and one test/, or put the images of each class right "
                "into its folder"
            )
    if any(visible_folders(path) for part in (TRAIN, TEST) for path in by_name[""][part]) or classes:
        raise InputError(f"Data {str(folder)!r} has {_named(folders)} but not both train/ and test/; add or rename one")
    return None


def _settle(folder: Path, folders: list[Path], parts: dict[str | None, list[Path]]) -> OwnSplit:
    """Return the split where there is one training and one test folder, or raise."""
    for part in (TRAIN, TEST):
        if len(parts[part]) > 1:
            raise InputError(
                f"Data {str(folder)!r} has {_named(parts[part])}, which may each be the {part} folder; rename or move "
                "all but one"
            )
    train, test = (_inside(parts[part][0]) for part in (TRAIN, TEST))
    validations = [path for path in folders if role(path.name)[0] == VALIDATION]
    chosen = None
    if len(validations) == 1:
        names = [_names(inner) for inner in (train, _inside(validations[0]))]
        chosen = _inside(validations[0]) if names[0] == names[1] else None
    used = [parts[TRAIN][0], parts[TEST][0], *(validations if chosen else [])]
    return OwnSplit(train, test, chosen, [path for path in folders if path not in used])


def _inside(folder: Path) -> Path:
    """Step into a lone folder for the same purpose, such as `seg_train/seg_train`."""
    inner = visible_folders(folder)
    same = len(inner) == 1 and role(inner[0].name) == role(folder.name) and visible_folders(inner[0])
    return inner[0] if same else folder


def _shared_classes(folders: list[Path]) -> list[str]:
    """Return the names of two or more folders with images that every folder holds, and no images beside them."""
    names = list(map(_names, folders))
    if len(folders) < 2 or len(set.intersection(*names)) < 2:
        return []
    held = []
    for contents in walk(*folders):
        inner = [path.relative_to(contents.folder).parts for path in contents.images]
        if any(len(parts) == 1 for parts in inner):
            return []
        held.append({canonical(parts[0]) for parts in inner})
    shared = sorted(set.intersection(*held))
    return shared if len(shared) > 1 else []


def _names(folder: Path) -> set[str]:
    """Return the names of the folders in a folder, each in its one spelling."""
    return {canonical(path.name) for path in visible_folders(folder)}


def _named(folders: list[Path]) -> str:
    return ", ".join(f"{path.name}/" for path in folders[:MOST_NAMED]) + (", ..." if len(folders) > MOST_NAMED else "")
