"""Corrections of a data set: what a person decided about its images, in a file of its own; no image is touched.

A CSV file with the columns `file`, `action`, `class_or_group` and `reason`, such as inspect_data.py's page makes it:

    file,action,class_or_group,reason
    pizza/0017.jpg,move,steak,"a steak, by eye"
    sushi/0003.jpg,leave out,,a drawing
    steak/0040.jpg,group,burst 1,the same plate again
    steak/0041.jpg,group,burst 1,
    sushi/0009.jpg,keep,,looked odd but is right

`file` is the path below the data's folder, with `/` on every system. `move` gives the image another class, `leave out`
takes it out of every part, images of a `group` never stand on both sides of a split, and `keep` says that somebody
looked. An image may be moved and in a group.
"""

import csv
import hashlib
import io
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from going_modular.common import files
from going_modular.common.errors import InputError, listed
from going_modular.data.image_folder import ImageFolder
from going_modular.data.walk import canonical

COLUMNS = ("file", "action", "class_or_group", "reason")
KEEP, MOVE, LEAVE_OUT, GROUP = ACTIONS = ("keep", "move", "leave out", "group")
MOST_BYTES = 2**26  # of a file of corrections
DIGEST_LENGTH = 16  # hex digits


@dataclass(frozen=True)
class Corrections:
    """What was decided about the images of a data set, by their paths below its folder."""

    name: str  # of the file
    moved: Mapping[str, str] = field(default_factory=dict)  # path -> class
    left_out: frozenset[str] = frozenset()
    groups: Mapping[str, str] = field(default_factory=dict)  # path -> group
    kept: frozenset[str] = frozenset()
    reasons: Mapping[tuple[str, str], str] = field(default_factory=dict)  # (path, action) -> why; they change nothing

    @property
    def digest(self) -> str:
        """Return 16 hex digits that tell these decisions from others: the order of rows and reasons do not count."""
        rows = [
            *((place, MOVE, name) for place, name in self.moved.items()),
            *((place, LEAVE_OUT, "") for place in self.left_out),
            *((place, GROUP, name) for place, name in self.groups.items()),
            *((place, KEEP, "") for place in self.kept),
        ]
        return hashlib.sha256(repr(sorted(rows)).encode()).hexdigest()[:DIGEST_LENGTH]

    def notes(self, folder: Path, parts: Iterable[ImageFolder]) -> list[str]:
        """Say in a line what was corrected, and in another which files are not in the data any more.

        Args:
            folder: of the data set.
            parts: its images before they were corrected.
        """
        there = {place(path, folder) for part in parts for path, _ in part.samples}
        done = {
            "moved to another class": len(self.moved.keys() & there),
            "left out": len(self.left_out & there),
            "kept": len(self.kept & there),
        }
        if grouped := self.groups.keys() & there:
            done[f"in {_plural(len({self.groups[name] for name in grouped}), 'group')}"] = len(grouped)
        told = ", ".join(f"{count} {what}" for what, count in done.items() if count) or "nothing"
        lines = [f"Corrections: {told}, by {self.name} ({self.digest})"]
        named = self.moved.keys() | self.left_out | self.groups.keys() | self.kept
        if gone := sorted(named - there):
            lines.append(f"Corrections: {_plural(len(gone), 'file')} that the data has not: {listed(gone, ', ')}")
        return lines

    def apply(self, dataset: ImageFolder, folder: Path) -> ImageFolder:
        """Return the images as they were corrected; what is corrected already stays as it is.

        Args:
            dataset: images below `folder`, which stays as it is.
            folder: of the data set.

        Raises:
            InputError: an image is moved to a class that the data has not, or a class has no image left.
        """
        if unknown := sorted({name for name in self.moved.values() if name not in dataset.class_to_idx}):
            raise InputError(
                f"Corrections {self.name!r}: no class {listed(unknown, ', ')} in the data; it has "
                f"{listed(dataset.classes, ', ')}"
            )
        places = [place(path, folder) for path, _ in dataset.samples]
        corrected = dataset.subset([i for i, name in enumerate(places) if name not in self.left_out])
        corrected.samples = corrected.imgs = [
            (path, dataset.class_to_idx.get(self.moved.get(place(path, folder)), label))
            for path, label in corrected.samples
        ]
        corrected.targets = [label for _, label in corrected.samples]
        corrected.groups = {path: self.groups[name] for path, name in _placed(corrected, folder) if name in self.groups}
        had, has = Counter(dataset.targets), Counter(corrected.targets)
        if emptied := [dataset.classes[label] for label in sorted(had.keys() - has.keys())]:
            raise InputError(f"Corrections {self.name!r} leave no image of {listed(emptied, ', ')} in {dataset.root!r}")
        return corrected


def read(path: str | Path) -> Corrections:
    """Read a file of corrections.

    Raises:
        InputError: it cannot be read, is not such a file, or decides two things about one image; names the line.
    """
    path = Path(path)
    try:
        text = files.read_bytes(path, most=MOST_BYTES).decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not UTF-8"
        raise InputError(f"Corrections {str(path)!r}: {reason}; name a CSV file, as inspect_data.py makes") from None
    separator = ";" if ";" in text.partition("\n")[0] else ","  # which some spreadsheets write
    rows = csv.DictReader(io.StringIO(text, newline=""), delimiter=separator)
    if lacking := [name for name in COLUMNS[:3] if name not in (rows.fieldnames or ())]:
        raise InputError(f"Corrections {str(path)!r}: its first line does not name the column {listed(lacking, ', ')}")
    decided: dict[str, dict[str, str]] = {action: {} for action in ACTIONS}
    reasons: dict[tuple[str, str], str] = {}
    try:
        for row in rows:
            decision = _decide(decided, *((row[name] or "").strip() for name in COLUMNS[:3]))
            reasons[decision] = (row.get(COLUMNS[3]) or "").strip()
    except (InputError, csv.Error) as error:
        raise InputError(f"Corrections {str(path)!r}, line {rows.line_num}: {error}") from None
    return Corrections(
        path.name, decided[MOVE], frozenset(decided[LEAVE_OUT]), decided[GROUP], frozenset(decided[KEEP]), reasons
    )


def place(path: str | Path, folder: Path) -> str:
    """Return where an image lies below its data's folder, as corrections name it: the same on every system."""
    return canonical(Path(path).relative_to(folder).as_posix())


def _decide(decided: dict[str, dict[str, str]], file: str, action: str, target: str) -> tuple[str, str]:
    """Take down one row and return its file and action, or raise where it is none or another row decided otherwise."""
    name, action, target = canonical(file).replace("\\", "/").removeprefix("./"), action.lower(), canonical(target)
    if not name:
        raise InputError("it names no file")
    if action not in ACTIONS:
        raise InputError(f"no action {action!r}; there are {', '.join(ACTIONS)}")
    if action in (MOVE, GROUP) and not target:
        raise InputError(f"{action!r} needs the name of a {'class' if action == MOVE else 'group'}")
    target = target if action in (MOVE, GROUP) else ""
    before = decided[action].setdefault(name, target)
    if before != target:
        raise InputError(f"{name!r} has {action!r} to {before!r} and to {target!r}; leave one of them")
    for one, other in ((KEEP, MOVE), (KEEP, LEAVE_OUT), (MOVE, LEAVE_OUT)):
        if name in decided[one] and name in decided[other]:
            raise InputError(f"{name!r} has {one!r} and {other!r}; leave one of them")
    return name, action


def _placed(dataset: ImageFolder, folder: Path) -> list[tuple[str, str]]:
    return [(path, place(path, folder)) for path, _ in dataset.samples]


def _plural(count: int, noun: str) -> str:
    return f"{count} {noun}" + ("" if count == 1 else "s")
