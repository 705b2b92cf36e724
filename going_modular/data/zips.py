"""Unpack a zip from anyone: whole or not at all, and nothing outside its folder."""

import errno
import os
import shutil
import stat
import uuid
import zipfile
from pathlib import Path, PureWindowsPath

from going_modular.common import files
from going_modular.common.errors import InputError

MAX_MEMBERS = 200_000
MAX_UNPACKED_BYTES = 4 * 10**9
MAX_RATIO = 200  # unpacked to packed size, for archives that unpack to more than the next number
SMALL_BYTES = 100 * 10**6
# what a disk says of itself, whatever is written to it
_DISK = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.EFBIG, errno.EIO})


def unpack(archive: str | Path, folder: str | Path) -> Path:
    """Unpack a zip into a new folder, which appears in one step; leave out hidden files and folders.

    Returns:
        `folder`, as a Path; one that exists already stays as it is.

    Raises:
        InputError: If the archive is no zip, corrupt or encrypted, has members that leave the folder or are links, or
            unpacks to more than this module's limits; or if the folder cannot be written.
    """
    folder = Path(folder)
    if os.path.isdir(folder):  # noqa: PTH112 - where nobody may look, Path.is_dir raises
        return folder
    temporary = folder.with_name(f".{uuid.uuid4().hex}")
    try:
        _extract(Path(archive), temporary)
        try:
            temporary.rename(folder)
        except OSError:  # another process was faster
            if not os.path.isdir(folder):  # noqa: PTH112
                raise
    except Exception as error:  # on corrupt archives zipfile raises nearly anything, zlib.error to RuntimeError
        raise InputError(f"Cannot unpack {str(archive)!r}: {_why(error, Path(archive), temporary)}") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return folder


def _why(error: Exception, archive: Path, folder: Path) -> str:
    """Say why an archive was not unpacked into a folder, and what helps: it, or the place for it, is at fault."""
    reason = " ".join(str(error).split()) or type(error).__name__
    if isinstance(error, OSError) and error.errno == errno.ENAMETOOLONG:
        return f"{error.strerror}; give the zip, or what is in it, shorter names"
    if isinstance(error, OSError) and error.filename != str(archive):
        at = Path(error.filename or folder / "member")
        if error.errno in _DISK or folder not in at.parents:
            place = f"{str(folder.parent)!r} cannot be written: {error.strerror}"
            return f"{place}; make it writable, or name another folder in GOING_MODULAR_CACHE"
    return f"{reason}; name a sound zip, or download it anew"


def _extract(archive: Path, folder: Path) -> None:
    with zipfile.ZipFile(archive) as packed:
        members = packed.infolist()
        # zipfile stops reading a member at the size that it declares, so the declared sizes can be relied on.
        size = sum(member.file_size for member in members)
        limit = min(MAX_UNPACKED_BYTES, max(SMALL_BYTES, MAX_RATIO * archive.stat().st_size))
        if len(members) > MAX_MEMBERS or size > limit:
            raise InputError(f"{len(members)} members of {size} bytes exceed {MAX_MEMBERS} members or {limit} bytes")

        folder.mkdir(parents=True)
        for member in members:
            name = PureWindowsPath(member.filename)  # splits at slashes of either kind
            if name.anchor or ".." in name.parts or stat.S_ISLNK(member.external_attr >> 16):
                raise InputError(f"member {member.filename!r} is a link or leaves the folder")
            if any(map(files.is_hidden, name.parts)):
                continue
            target = folder.joinpath(*name.parts)
            (target if member.is_dir() else target.parent).mkdir(parents=True, exist_ok=True)
            if not member.is_dir():
                with packed.open(member) as source, target.open("xb") as sink:
                    shutil.copyfileobj(source, sink)
