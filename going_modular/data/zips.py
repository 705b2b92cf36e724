"""Unpack a zip from anyone: whole or not at all, and nothing outside its folder."""

import errno
import io
import os
import re
import shutil
import stat
import sys
import unicodedata
import uuid
import zipfile
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path, PureWindowsPath

from going_modular.common import files
from going_modular.common.errors import InputError, shortened

MAX_MEMBERS = 200_000  # files and folders, those too that are only named on the way to a file
MAX_DEPTH = 32  # folders in folders
MAX_DIRECTORY_BYTES = 64 * 10**6  # of the list of members, which is read whole
BLOCK_BYTES = 4096  # a file or folder takes some of these on disk
MAX_UNPACKED_BYTES = 4 * 10**9
MAX_RATIO = 200  # unpacked to packed size, for archives that unpack to more than the next number
SMALL_BYTES = 100 * 10**6
_WINDOWS = sys.platform == "win32"
_ONE_NAME = _WINDOWS or sys.platform == "darwin"  # for names that differ in case or in how accents are written
_DEVICE = re.compile(r"(CON|PRN|AUX|NUL|CONIN\$|CONOUT\$|(COM|LPT)[0-9¹²³])\s*(\..*)?", re.IGNORECASE | re.DOTALL)
_LOCAL_HEADER_BYTES = 30
# what a disk says of itself, whatever is written to it
_DISK = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.EFBIG, errno.EIO})


def unpack(archive: str | Path, folder: str | Path) -> Path:
    """Unpack a zip into a new folder, which appears in one step; leave out hidden files and folders.

    Returns:
        `folder`, as a Path; one that exists already stays as it is.

    Raises:
        InputError: If the archive is no zip, corrupt or encrypted, has members that leave the folder, are links, lie
            upon one another or have names that this system cannot keep apart, or unpacks to more than this module's
            limits; or if the folder cannot be written.
    """
    folder = Path(folder)
    if os.path.isdir(folder):  # noqa: PTH112 - where nobody may look, Path.is_dir raises
        return folder
    temporary = folder.with_name(f".{uuid.uuid4().hex}")
    try:
        _extract(Path(archive), temporary)
        try:
            files.rename(temporary, folder)
        except OSError:  # another process was faster
            if not os.path.isdir(folder):  # noqa: PTH112
                raise
    except Exception as error:  # on corrupt archives zipfile raises nearly anything, zlib.error to RuntimeError
        raise InputError(f"Cannot unpack {str(archive)!r}: {_why(error, Path(archive), temporary)}") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return folder


def unpacked_bytes(archive: str | Path) -> int:
    """Return how many bytes a zip's members take unpacked, by its list of them; `unpack` gets no more out of it.

    Raises:
        InputError: the archive is no zip, or its list of members cannot be read.
    """
    try:
        with files.open_regular(Path(archive)) as file, zipfile.ZipFile(_BoundedReader(file)) as packed:
            return sum(member.file_size for member in packed.infolist())
    except Exception as error:  # as in `unpack`
        reason = shortened(" ".join(str(error).split()) or type(error).__name__)
        raise InputError(f"Cannot unpack {str(archive)!r}: {reason}; name a sound zip") from error


def _why(error: Exception, archive: Path, folder: Path) -> str:
    """Say why an archive was not unpacked into a folder, and what helps: it, or the place for it, is at fault."""
    reason = shortened(" ".join(str(error).split()) or type(error).__name__)
    if isinstance(error, OSError) and error.errno == errno.ENAMETOOLONG:
        return f"{error.strerror}; give the zip, or what is in it, shorter names"
    if isinstance(error, OSError) and error.filename != str(archive):
        at = Path(error.filename or folder / "member")
        if error.errno in _DISK or folder not in at.parents:
            place = f"{str(folder.parent)!r} cannot be written: {error.strerror}"
            return f"{place}; make it writable, or name another folder in GOING_MODULAR_CACHE"
    return f"{reason}; name a sound zip, or download it anew"


def _extract(archive: Path, folder: Path) -> None:
    """Unpack a zip of which all that its list of members tells is sound."""
    with files.open_regular(archive) as file, zipfile.ZipFile(_BoundedReader(file)) as packed:
        members = packed.infolist()
        if len(members) > MAX_MEMBERS:
            raise InputError(f"{len(members)} members exceed {MAX_MEMBERS}")
        _refuse_overlaps(members)
        wanted = [(member, parts) for member in members if (parts := _parts(member))]
        folders = _folders(wanted)
        _refuse_size(archive, [member for member, _ in wanted if not member.is_dir()], len(folders))

        files.make_private(folder.parent)
        folder.mkdir()
        for parts in folders:  # those above others first
            folder.joinpath(*parts).mkdir()
        for member, parts in wanted:
            if not member.is_dir():
                with packed.open(member) as source, folder.joinpath(*parts).open("xb") as sink:
                    shutil.copyfileobj(source, sink)


class _BoundedReader(io.BufferedIOBase):
    """A file that does not give more at a time than a list of members may have, which zipfile reads at once."""

    def __init__(self, file: io.BufferedIOBase) -> None:
        self.file = file
        self.seek, self.tell = file.seek, file.tell

    def seekable(self) -> bool:
        """Tell that any place in it can be read."""
        return True

    def read(self, size: int = -1) -> bytes:
        """Return so many bytes, or all that are left."""
        content = self.file.read(min(size, MAX_DIRECTORY_BYTES + 1) if size >= 0 else MAX_DIRECTORY_BYTES + 1)
        if len(content) > MAX_DIRECTORY_BYTES:
            raise InputError(f"its list of members exceeds {MAX_DIRECTORY_BYTES} bytes")
        return content


def _refuse_overlaps(members: Sequence[zipfile.ZipInfo]) -> None:
    """Raise where packed bytes belong to several members: a small file that unpacks to any size is made so."""
    for before, after in pairwise(sorted(members, key=lambda member: member.header_offset)):
        if before.header_offset + _LOCAL_HEADER_BYTES + before.compress_size > after.header_offset:
            raise InputError(f"members {before.filename!r} and {after.filename!r} lie upon one another")


def _parts(member: zipfile.ZipInfo) -> tuple[str, ...]:
    """Return the names of the folders that lead to a member, and its own; none where one of them is hidden."""
    shown = repr(shortened(member.filename))
    name = PureWindowsPath(member.filename)  # splits at slashes of either kind
    if name.anchor or ".." in name.parts or stat.S_ISLNK(member.external_attr >> 16):
        raise InputError(f"member {shown} is a link or leaves the folder")
    if len(name.parts) > MAX_DEPTH:
        raise InputError(f"member {shown} lies in {len(name.parts) - 1} folders, which exceeds {MAX_DEPTH - 1}")
    for part in name.parts:
        # Windows drops dots and blanks at the end: it takes ".. " for the folder above
        if not part.rstrip(". ") or (_WINDOWS and (part[-1] in ". " or ":" in part or _DEVICE.fullmatch(part))):
            raise InputError(f"member {shown} has a name that cannot be used here; rename it")
    return () if any(map(files.is_hidden, name.parts)) else name.parts


def _folders(wanted: Sequence[tuple[zipfile.ZipInfo, tuple[str, ...]]]) -> list[tuple[str, ...]]:
    """Return every folder that members lie in or are, by the names that lead to it, those above others first.

    Raises:
        InputError: there are too many, or a name is there twice, be it as the system tells names apart.
    """
    folders: dict[tuple[str, ...], tuple[str, ...]] = {}  # as they are told apart, and as they are called
    named: dict[tuple[str, ...], tuple[str, ...]] = {}  # files
    for member, parts in wanted:
        for depth in range(1, len(parts) + member.is_dir()):
            _note(folders, parts[:depth])
        if not member.is_dir() and _note(named, parts):
            raise InputError(f"it has two files {shortened('/'.join(parts))!r}; rename one")
        if len(folders) + len(named) > MAX_MEMBERS:
            raise InputError(f"its files and the folders in it exceed {MAX_MEMBERS}")
    if both := folders.keys() & named.keys():
        raise InputError(f"it has a file and a folder {shortened('/'.join(min(both)))!r}; rename one")
    return sorted(folders.values(), key=len)


def _note(known: dict[tuple[str, ...], tuple[str, ...]], parts: tuple[str, ...]) -> bool:
    """Tell whether a path is known, else add it; raise where this system would take it for another."""
    key = tuple(unicodedata.normalize("NFC", part).casefold() for part in parts) if _ONE_NAME else parts
    is_known = key in known
    before = known.setdefault(key, parts)
    if before != parts:
        one, other = ("/".join(names) for names in (before, parts))
        raise InputError(f"{shortened(one)!r} and {shortened(other)!r} are one name on this system; rename one")
    return is_known


def _refuse_size(archive: Path, packed: Sequence[zipfile.ZipInfo], folders: int) -> None:
    """Raise where an archive would take more room on disk than is plausible."""
    # zipfile stops reading a member at the size that it declares, so the declared sizes can be relied on.
    blocks = folders + sum(-(-member.file_size // BLOCK_BYTES) for member in packed)
    size, limit = blocks * BLOCK_BYTES, min(MAX_UNPACKED_BYTES, max(SMALL_BYTES, MAX_RATIO * archive.stat().st_size))
    if size > limit:
        raise InputError(f"{len(packed)} files in {folders} folders, {size} bytes on disk, exceed {limit} bytes")
