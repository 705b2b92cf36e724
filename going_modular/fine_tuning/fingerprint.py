"""The images that a run began with, by their paths in the data and their contents: it goes on with no others."""

import os
from pathlib import Path

from going_modular.common import files, strict_json
from going_modular.common.errors import InputError
from going_modular.data import provenance
from going_modular.data.image_folder import ImageFolder
from going_modular.data.splits import Splits
from going_modular.data.walk import canonical

FILE = Path("checkpoints/images.json")  # in the run's folder: part -> path -> digest, 16 hex digits
# bytes that the list has at most: images may have gone since, yet most should be there
FEWEST_BYTES, MOST_TIMES, LINE_BYTES = 2**20, 10, 40
SHOWN, NAME_LENGTH = 3, 80  # names in an error line, and characters of each


def write(output: Path, splits: Splits) -> None:
    """Write down the images of a run that begins.

    Raises:
        InputError: the file cannot be written.
    """
    path = output / FILE
    try:
        path.parent.mkdir(exist_ok=True)
    except OSError as error:
        raise InputError(f"Cannot write {str(path)!r}: {error.strerror or error}; name another folder") from error
    files.write_json(path, _describe(splits))


def check(output: Path, splits: Splits) -> None:
    """Raise where a run would go on with other images than it began with, or with the same in other parts.

    Raises:
        InputError: names what differs; or the list of images is not there or damaged.
    """
    path, now = output / FILE, _describe(splits)
    room = sum(len(name.encode()) + LINE_BYTES for images in now.values() for name in images)
    try:
        before = strict_json.loads(files.read_bytes(path, most=FEWEST_BYTES + MOST_TIMES * room))
        parts = {name: part for part, images in before.items() for name in images}
        images = {name: digest for images in before.values() for name, digest in images.items()}
    except (OSError, ValueError, AttributeError, TypeError) as error:
        raise InputError(
            f"{str(path)!r}, the list of this run's images, is not there or damaged; start a new run"
        ) from error
    parts_now = {name: part for part, images in now.items() for name in images}
    images_now = {name: digest for images in now.values() for name, digest in images.items()}

    both = images.keys() & images_now.keys()
    differences = {
        "added": images_now.keys() - images.keys(),
        "removed": images.keys() - images_now.keys(),
        "changed": {name for name in both if images[name] != images_now[name]},
        "in another part": {name for name in both if parts[name] != parts_now[name]},
    }
    if told := [f"{len(names)} {what} ({_list(names)})" for what, names in differences.items() if names]:
        raise InputError(
            f"--resume {str(output)!r}: the images are not those that the run began with: {', '.join(told[:3])}; put "
            "them back, name the place where they are with --data, or start a new run"
        )


def _describe(splits: Splits) -> dict[str, dict[str, str]]:
    """Return the digest of each image by part and by its path in the data."""
    parts = {"train": splits.train, "validation": splits.validation, "test": splits.test}
    root = os.path.commonpath([Path(part.root).absolute() for part in parts.values()])  # of train/ and test/, or one
    return {
        name: {
            _relative(path, root) + _moved(part, path, label): f"{digest:016x}"
            for (path, label), digest in zip(part.samples, digests, strict=True)
        }
        for name, part, digests in ((name, part, provenance.digest(part).tolist()) for name, part in parts.items())
    }


def _moved(part: ImageFolder, path: str, label: int) -> str:
    """Return where an image was moved by a correction, to stand after its path; nothing for all others."""
    folder = canonical(Path(path).relative_to(part.root).parts[0])
    return "" if folder == part.classes[label] else f" -> {part.classes[label]}"


def _relative(path: str, root: str) -> str:
    """Return an image's path in the data, the same on every system; what is not UTF-8 in it is escaped."""
    relative = Path(os.path.relpath(path, root)).as_posix()
    return canonical(relative.encode("utf-8", "backslashreplace").decode("utf-8"))


def _list(names: set[str]) -> str:
    first = [repr(name if len(name) <= NAME_LENGTH else f"{name[:NAME_LENGTH]}...") for name in sorted(names)[:SHOWN]]
    return ", ".join(first) + (", ..." if len(names) > SHOWN else "")
