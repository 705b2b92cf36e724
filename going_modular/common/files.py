"""Files that are whole or not there, folders that can be written, and what a file's name and contents tell."""

import contextlib
import hashlib
import json
import uuid
from pathlib import Path

from going_modular.common.errors import InputError


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


def check_writable(folder: Path) -> None:
    """Raise where a folder cannot be made or written; leave nothing behind.

    Raises:
        InputError: names the folder and the reason.
    """
    made: list[Path] = []
    try:
        made += [path for path in (folder, *folder.parents) if not path.exists()]
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / ".going_modular_probe"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise InputError(f"Output folder {str(folder)!r} cannot be written: {error.strerror}; name another") from error
    finally:
        for path in made:
            if path.is_dir():
                path.rmdir()


def file_sha256(path: Path) -> str:
    """Return the SHA-256 of a file's contents, 64 hex digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def is_hidden(name: str) -> bool:
    """Tell by its name a file or folder that is nobody's image: `._photo.jpg`, `.ipynb_checkpoints`, `__MACOSX`."""
    return name.startswith(".") or name in ("__MACOSX", "__pycache__")
