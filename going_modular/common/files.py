"""Files that are whole or not there, folders that can be written, and what a file's name and contents tell."""

import contextlib
import errno
import hashlib
import json
import math
import os
import stat
import tempfile
import time
import uuid
from collections.abc import Iterable
from pathlib import Path
from typing import BinaryIO

from going_modular.common.errors import InputError

# what evaluate.py writes into its folder
EVALUATION = (
    "report.html",
    "report.json",
    *(f"{name}.png" for name in ("confusion_matrix", "roc", "precision_recall", "reliability", "rejection")),
    *(f"{name}.png" for name in ("least_sure", "most_wrong", "looked_at")),
)


# What Windows says of a file that another program has open, most often one that looks for viruses: access denied, used
# by another, locked. Such a program is done soon.
_HELD = (5, 32, 33)
RETRIES, FIRST_WAIT_SECONDS = 6, 0.03  # each wait is twice the one before


def rename(source: Path, target: Path) -> None:
    """Give a file or folder another name in one step, in the place of a file that has it.

    Raises:
        OSError: as `os.replace`; where another program has the file open on Windows, after some 2 s of waiting.
    """
    for attempt in range(RETRIES):
        try:
            source.replace(target)
            return
        except PermissionError as error:
            # Windows denies access to a folder's name for good, too
            if getattr(error, "winerror", None) not in _HELD or target.is_dir():
                raise
            time.sleep(FIRST_WAIT_SECONDS * 2**attempt)
    source.replace(target)


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
        rename(temporary, path)
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


def json_text(content: object, *, indent: int | None = None, ensure_ascii: bool = False) -> str:
    """Return JSON: infinities and what is not a number, which it does not know, are null.

    Args:
        content: what `json.dumps` takes.
        indent: spaces a level; None for one line.
        ensure_ascii: escape all but ASCII, for where the encoding is not ours to choose.
    """
    return json.dumps(_with_null(content), allow_nan=False, ensure_ascii=ensure_ascii, indent=indent)


def _with_null(content: object) -> object:
    if isinstance(content, dict):
        return {key: _with_null(value) for key, value in content.items()}
    if isinstance(content, list | tuple):
        return [_with_null(value) for value in content]
    return None if isinstance(content, float) and not math.isfinite(content) else content


def write_json(path: Path, content: dict) -> None:
    r"""Write JSON in one step, as UTF-8; bytes of a file's name that are no UTF-8 are escaped, as `\udce9`.

    Raises:
        InputError: the file cannot be written.
    """
    write_bytes(path, (json_text(content, indent=2) + "\n").encode("utf-8", "backslashreplace"))


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


def refuse_links(folder: Path, names: Iterable[str]) -> None:
    """Raise where one of these in a folder, or what lies in it, is a link, a pipe or a device.

    Who writes there would write elsewhere.

    Raises:
        InputError: names the first of them.
    """
    pending = [folder / name for name in names]
    while pending:
        path = pending.pop()
        try:
            mode = path.lstat().st_mode
            if stat.S_ISDIR(mode):
                pending += path.iterdir()
        except OSError:  # it is not there; what cannot be read is told by who wants to
            continue
        if not stat.S_ISDIR(mode) and not stat.S_ISREG(mode):
            what = "link" if stat.S_ISLNK(mode) else "pipe or device"
            raise InputError(f"{str(path)!r} is a {what}, and what is written there would land elsewhere; remove it")


def make_private(folder: Path) -> None:
    """Make a folder, and those above it that are missing, where nobody else can look or write.

    Raises:
        OSError: it cannot be made.
    """
    missing = [place for place in (folder, *folder.parents) if not place.exists()]
    for place in reversed(missing):
        place.mkdir(mode=0o700, exist_ok=True)  # another process may be faster


def why_not_private(folder: Path) -> str | None:
    """Say who else can write what lies in a folder; None where nobody can, or where the system cannot tell.

    A folder that is not there yet is judged by those above it. These may be everybody's, as /tmp is, where nobody can
    rename what is another's.
    """
    if not hasattr(os, "geteuid"):
        return None
    me = os.geteuid()
    for path in (folder, *folder.parents):
        if os.path.islink(path) and path.lstat().st_uid not in (0, me):  # noqa: PTH114 - where nobody may look
            return f"{str(path)!r} is another user's link"
    real = Path(os.path.realpath(folder))
    for place in (real, *real.parents):
        try:
            status = place.stat()
        except OSError:  # it is not there, or nobody may look: who writes will see
            continue
        if place == real and status.st_uid != me:
            return f"{str(place)!r} belongs to another user"
        if place == real and status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
            return f"others can write to {str(place)!r} (chmod go-w would keep them out)"
        if status.st_mode & stat.S_IWOTH and not status.st_mode & stat.S_ISVTX:
            return f"others can write to {str(place)!r}"
    return None


def open_regular(path: Path) -> BinaryIO:
    """Open a file for reading, at once: a named pipe might wait for ever, and a device do anything.

    Raises:
        InputError: it is a folder, a pipe, a socket or a device.
        OSError: it cannot be opened.
    """
    _refuse_irregular(path.stat())  # to open a device may do something already
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)
    file = os.fdopen(os.open(path, flags), "rb")
    try:
        _refuse_irregular(os.fstat(file.fileno()))  # another may have taken its place
    except InputError:
        file.close()
        raise
    return file


def read_bytes(path: Path, *, most: int) -> bytes:
    """Return what a file holds that anyone may have put there.

    Args:
        path: the file.
        most: bytes; a file of more is not read.

    Raises:
        OSError: it cannot be opened, is no ordinary file, or has more.
    """
    try:
        with open_regular(path) as file:
            content = file.read(most + 1)
    except InputError as error:
        raise OSError(errno.EINVAL, str(error), str(path)) from error
    if len(content) > most:
        raise OSError(errno.EFBIG, f"it has more than {most:,} bytes", str(path))
    return content


def _refuse_irregular(status: os.stat_result) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise InputError(f"it is a {'folder' if stat.S_ISDIR(status.st_mode) else 'device or pipe'}")


def file_sha256(path: Path) -> str:
    """Return the SHA-256 of a file's contents, 64 hex digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def is_hidden(name: str) -> bool:
    """Tell by its name a file or folder that is nobody's image: `._photo.jpg`, `.ipynb_checkpoints`, `__MACOSX`."""
    return name.startswith(".") or name in ("__MACOSX", "__pycache__")
