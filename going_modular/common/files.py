"""Files that are whole or not there, folders that can be written, and what a file's name and contents tell."""

import contextlib
import errno
import hashlib
import json
import os
import tempfile
import uuid
from collections.abc import Iterable
from pathlib import Path

from going_modular.common.errors import InputError

# what evaluate.py writes into its folder
EVALUATION = (
    "report.html",
    "report.json",
    *(f"{name}.png" for name in ("confusion_matrix", "roc", "precision_recall", "reliability", "rejection")),
    *(f"{name}.png" for name in ("least_sure", "most_wrong", "looked_at")),
)


def replace(path: Path, content: bytes) -> None:
    """Write a file in one step: whoever reads `path` finds all of the old file or all of the new one.

    Raises:
        OSError: the file cannot be written; the old one, if there was one, is as it was.
    """
    # in the same folder, so that the last step is a rename; a name of its own, so that no two writers share it
    temporary = path.with_name(f".{uuid.uuid4().hex}.part")
    try:
        with temporary.open("xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())  # else a power cut may leave the new name with nothing in it
        temporary.replace(path)
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink()


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file that a user named, or one beside it, in one step.

    Raises:
        InputError: the file cannot be written.
    """
    try:
        replace(path, content)
    except OSError as error:
        raise InputError(f"Cannot write {str(path)!r}: {error.strerror or error}; name another folder") from error


def write_json(path: Path, content: dict) -> None:
    """Write JSON in one step, as UTF-8.

    Raises:
        InputError: the file cannot be written.
    """
    write_bytes(path, (json.dumps(content, ensure_ascii=False, indent=2) + "\n").encode("utf-8"))


def remove_known(folder: Path, names: Iterable[str]) -> None:
    """Remove the files of these names from a folder; whatever else is there stays, and what links lead to.

    Raises:
        InputError: a file cannot be removed.
    """
    for name in names:
        path = folder / name
        try:
            if path.is_file():
                path.unlink()
        except OSError as error:
            raise InputError(f"Cannot replace {str(path)!r}: {error.strerror or error}; name another folder") from error


def check_writable(folder: Path) -> None:
    """Raise where a folder cannot be made or written; leave nothing behind.

    Another process may want the same folder at the same time, so what is not there is tried under another name.

    Raises:
        InputError: names the folder and the reason.
    """
    try:
        there = _nearest(folder)
        if not there.is_dir():  # a file, or a link to nothing
            number = errno.EEXIST if there == folder else errno.ENOTDIR
            raise OSError(number, os.strerror(number))
        real = Path(os.path.realpath(folder))  # without .., which would lead out of the probe
        there = _nearest(real)
        with tempfile.TemporaryDirectory(prefix=".probe-", dir=there) as probe:
            inside = Path(probe) / real.relative_to(there)
            inside.mkdir(parents=True, exist_ok=True)
            (inside / "probe").write_bytes(bytes(1))  # a full disk may have room for an empty file
    except OSError as error:
        raise InputError(f"Output folder {str(folder)!r} cannot be written: {error.strerror}; name another") from error


def _nearest(folder: Path) -> Path:
    """Return the nearest of a folder and its parents that is there, be it a link to nothing."""
    return next(path for path in (folder, *folder.parents) if os.path.lexists(path))


def file_sha256(path: Path) -> str:
    """Return the SHA-256 of a file's contents, 64 hex digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def is_hidden(name: str) -> bool:
    """Tell by its name a file or folder that is nobody's image: `._photo.jpg`, `.ipynb_checkpoints`, `__MACOSX`."""
    return name.startswith(".") or name in ("__MACOSX", "__pycache__")
