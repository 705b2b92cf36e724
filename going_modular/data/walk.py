"""Find the images in folders: one walk for training, testing and predicting.

Links to files and folders are followed, but each real file and folder is visited once: what a folder holds itself comes
before what links bring, and what a link names comes before what lies below another link. A link that leads up, to a
folder that holds the one it was found in, is not followed: it would make copies, or take in the disk.
"""

import os
import stat
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePath

from going_modular.common import files
from going_modular.common.errors import InputError
from going_modular.data import images

MOST_NAMED = 6  # extensions, links or folders in one line


@dataclass(frozen=True)
class FolderContents:
    """What lies in a folder, at any depth; hidden files and folders are left out."""

    folder: Path
    images: list[Path] = field(default_factory=list)
    unread: list[Path] = field(default_factory=list)  # all other files
    unfollowed: list[Path] = field(default_factory=list)  # links to what is visited already, that lead up or nowhere


def canonical(name: str) -> str:
    """Return the one spelling (Unicode's NFC) of a name that systems write in several: macOS may take an accent apart.

    Names that are equal so are one name there, look the same everywhere, and are one class here.
    """
    return unicodedata.normalize("NFC", name)


def order(path: PurePath) -> tuple[str, ...]:
    """Return what to sort paths by: on every system the same, where paths themselves ignore case on Windows."""
    return tuple(map(canonical, path.parts))


def walk(*folders: Path) -> list[FolderContents]:
    """Find what lies in folders that make one data set: what is in one of them is in no other.

    Args:
        folders: of class folders, or of images.

    Raises:
        InputError: a folder cannot be read.
    """
    contents = [FolderContents(folder) for folder in folders]
    visited: set[str] = set()  # real paths
    level = []
    for part in contents:
        here = os.path.realpath(part.folder)
        if here in visited:
            part.unfollowed.append(part.folder)
        else:
            visited.add(here)
            level.append((os.fspath(part.folder), (os.path.realpath(part.folder.absolute().parent), here), part))
    while level:
        links = [
            link for place in level for link in sorted(_visit(*place, visited), key=lambda link: order(Path(link[0])))
        ]
        level = [step for link in links if (step := _follow(*link, visited))]
    return contents


def visible_folders(folder: Path) -> list[Path]:
    """Return the folders in a folder, sorted by name, without hidden ones, `__MACOSX`, and links that lead up.

    Raises:
        InputError: the folder cannot be read.
    """
    here = os.path.realpath(folder)
    return [
        folder / entry.name
        for entry in _entries(folder)
        if (_leads_down(entry, here) if _is_link(entry) else entry.is_dir())
    ]


def notes(parts: Iterable[FolderContents]) -> list[str]:
    """Say in a line each what was not read and which links were not followed; without anything, nothing."""
    parts = list(parts)
    lines = []
    if unread := [path for part in parts for path in part.unread]:
        lines.append(f"Not read: {count_extensions(unread)}; convert those that are photos to JPEG")
    if links := [str(path) for part in parts for path in part.unfollowed]:
        lines.append(f"Not followed: {some(links)}; such links lead up, nowhere, or to what is read already")
    return lines


def count_extensions(paths: Iterable[Path]) -> str:
    """Count files by extension, the most frequent first: `12 .heic files, 1 .txt file`."""
    counts = sorted(Counter(path.suffix.lower() for path in paths).items(), key=lambda item: (-item[1], item[0]))
    return some([f"{n} {name or 'extensionless'} file{'s' if n > 1 else ''}" for name, n in counts])


def escaped(name: str) -> str:
    r"""Return a name as it can be shown: what is no UTF-8 in it as `\xe9`."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")


def _visit(folder: str, chain: tuple[str, ...], part: FolderContents, visited: set[str]) -> Iterator[tuple]:
    """Note what lies in a folder, of which `chain` ends in the real path; yield the links in it."""
    pending = [(folder, chain[-1])]
    while pending:
        logical, real = pending.pop()
        for entry in _entries(logical):
            path = os.path.join(real, entry.name)  # noqa: PTH118 - there may be a million
            if _is_link(entry):
                yield entry.path, chain, part
            elif not entry.is_dir():
                _note(entry.path, path, part, visited)
            elif path not in visited:
                visited.add(path)
                pending.append((entry.path, path))


def _follow(link: str, chain: tuple[str, ...], part: FolderContents, visited: set[str]) -> tuple | None:
    """Note the file that a link leads to, or return what `_visit` needs to visit the folder."""
    target = os.path.realpath(link)
    is_folder = _is_folder(target)
    leads_nowhere = is_folder is None and not images.is_image_file(link)  # who opens the image will say so
    if leads_nowhere or target in visited or (is_folder and any(_holds(target, place) for place in chain)):
        part.unfollowed.append(Path(link))
    elif is_folder:
        visited.add(target)
        return link, (*chain, target), part
    else:
        _note(link, target, part, visited)
    return None


def _note(path: str, real: str, part: FolderContents, visited: set[str]) -> None:
    if images.is_image_file(path):
        visited.add(real)
        part.images.append(Path(path))
    else:
        part.unread.append(Path(path))


def _entries(folder: str | Path) -> list[os.DirEntry]:
    """Return what is in a folder, sorted by name, without what is hidden."""
    try:
        with os.scandir(folder) as entries:
            shown = [entry for entry in entries if not files.is_hidden(entry.name)]
            return sorted(shown, key=lambda entry: (canonical(entry.name), entry.name))
    except OSError as error:
        raise InputError(f"Folder {str(folder)!r} cannot be read: {error.strerror}; mend or remove it") from error


def _leads_down(link: os.DirEntry, here: str) -> bool:
    return bool(_is_folder(link.path)) and not _holds(os.path.realpath(link.path), here)


def _is_folder(path: str) -> bool | None:
    """Tell whether a path is a folder, or return None where there is nothing that we may look at."""
    try:
        return stat.S_ISDIR(Path(path).stat().st_mode)
    except OSError:
        return None


def _is_link(entry: os.DirEntry) -> bool:
    if entry.is_symlink():
        return True
    junction = getattr(stat, "IO_REPARSE_TAG_MOUNT_POINT", None)  # Windows' older links to folders
    return junction is not None and entry.stat(follow_symlinks=False).st_reparse_tag == junction


def _holds(folder: str, path: str) -> bool:
    """Tell whether a path is a folder or lies below it; both are real paths."""
    return Path(path).is_relative_to(folder)


def some(names: list[str]) -> str:
    """Name the first few of many names, as they can be shown."""
    more = len(names) - MOST_NAMED
    return escaped(", ".join(names[:MOST_NAMED])) + (f" and {more} more" if more > 0 else "")
