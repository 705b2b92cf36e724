"""Fetch a file: verified, resumable, atomic."""

import contextlib
import functools
import hashlib
import os
import re
import tempfile
import threading
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

import requests
from filelock import FileLock
from platformdirs import user_cache_dir

from going_modular.common.errors import InputError
from going_modular.common.progress import bar as progress_bar

CHUNK_BYTES = 2**16
PROBE_SECONDS = 3.0
BACKOFF_SECONDS = 0.5  # before the second try; then 3 and 7 times as long

_Fetch = Callable[[Path], None]
_Check = Callable[[Path], str | None]


def is_offline() -> bool:
    """Tell whether the environment variable GOING_MODULAR_OFFLINE forbids connections."""
    return os.environ.get("GOING_MODULAR_OFFLINE", "").strip().lower() not in ("", "0", "false", "no")


def cache_folder() -> Path:
    """Name the folder for what can be made again: GOING_MODULAR_CACHE, or the platform's; it may not exist yet.

    For a user without a home it is one that goes when the process ends, with a warning.
    """
    try:
        return Path(os.environ.get("GOING_MODULAR_CACHE") or user_cache_dir("going_modular", appauthor=False))
    except RuntimeError:
        return Path(_cache_without_home().name)


@functools.cache
def _cache_without_home() -> tempfile.TemporaryDirectory:
    warnings.warn(
        "There is no home folder: features and unpacked zips are kept for this run only; name a folder for them in "
        "GOING_MODULAR_CACHE",
        stacklevel=3,
    )
    return tempfile.TemporaryDirectory(prefix="going_modular-")


def is_reachable(url: str) -> bool:
    """Tell within `PROBE_SECONDS` whether the host of a URL answers, directly or by the environment's proxy.

    The first answer of a host and port holds for the process: a firewall that drops packets costs that once.
    """
    parts = urlsplit(url)
    return not is_offline() and _answers(f"{parts.scheme}://{parts.netloc}/")


@functools.cache
def _answers(origin: str) -> bool:
    answered = threading.Event()

    def ask() -> None:
        with contextlib.suppress(OSError, ValueError):  # every error of requests is one of these
            requests.head(origin, timeout=PROBE_SECONDS, allow_redirects=False).close()
            answered.set()

    # The timeout of requests leaves name resolution out; a thread can be left behind.
    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(PROBE_SECONDS)
    return answered.is_set()


def download(
    url: str,
    path: str | Path,
    *,
    git_blob_id: str | None = None,
    sha256: str | None = None,
    description: str | None = None,
    timeouts: tuple[float, float] = (5.0, 20.0),
    tries: int = 4,
) -> Path:
    """Download a file, unless one that verifies is there already.

    It grows as `<path>.part` and moves into place once it verifies: at `path` there is nothing, or all of it. With a
    hash, a later call resumes what an earlier one left. Processes that want the same file take turns.

    Args:
        url: HTTP or HTTPS address.
        path: Where the file goes, which is returned; missing folders are made.
        git_blob_id: Git's name for the content, 40 hex digits.
        sha256: SHA-256 of the content, or its first 8 or more hex digits.
        description: Label of the progress bar on stderr; None means the file's name.
        timeouts: Seconds to wait for a connection, and for the next bytes.
        tries: Connections to open at most.

    Raises:
        InputError: If connections are forbidden, the server refuses or keeps failing, the content is wrong twice, or
            the file cannot be written.
    """
    if sha256 is not None and not re.fullmatch("[0-9a-fA-F]{8,64}", sha256):
        raise ValueError(f"sha256 {sha256!r} cannot verify a file; give 8 to 64 hex digits")
    path = Path(path)
    mismatch = functools.partial(_mismatch, git_blob_id=git_blob_id, sha256=sha256)
    # Half a file is only worth keeping if the whole can be verified: the server may have another version by now.
    resume = git_blob_id is not None or sha256 is not None
    fetch = functools.partial(_fetch, url, label=description or path.name, timeouts=timeouts, resume=resume)
    try:
        _fetch_in_turn(fetch, path, mismatch, tries=tries)
    except InputError as error:
        raise InputError(f"Cannot download {url}: {error}; check the network, or pass a local copy") from error
    except OSError as error:
        raise InputError(f"Cannot write {str(path)!r} ({error.strerror or error}); name another folder") from error
    return path


def _fetch_in_turn(fetch: _Fetch, path: Path, mismatch: _Check, *, tries: int) -> None:
    """Fetch a file by way of `<path>.part`, one process at a time, unless it is there already."""
    if path.is_file() and not mismatch(path):
        return
    if is_offline():
        raise InputError("GOING_MODULAR_OFFLINE is set")
    path.parent.mkdir(parents=True, exist_ok=True)
    part, lock = (path.with_name(path.name + suffix) for suffix in (".part", ".lock"))
    with FileLock(lock):
        if not path.is_file() or mismatch(path):  # another process may have finished while this one waited
            _fetch_verified(fetch, part, mismatch, tries=tries)
            part.replace(path)
        # Whoever waits on this lock file, or makes a new one, finds the finished file and writes nothing.
        with contextlib.suppress(OSError):
            lock.unlink()


def _mismatch(path: Path, git_blob_id: str | None, sha256: str | None) -> str | None:
    """Say how a file differs from the hashes that are known, or None."""
    with path.open("rb") as file:
        if sha256 is not None:
            got = hashlib.file_digest(file, "sha256").hexdigest()
            if not got.startswith(sha256.lower()):
                return f"expected SHA-256 {sha256}, got {got}"
        if git_blob_id is not None:
            file.seek(0)
            digest = hashlib.sha1(b"blob %d\0" % path.stat().st_size, usedforsecurity=False)
            got = hashlib.file_digest(file, lambda: digest).hexdigest()
            if got != git_blob_id.lower():
                return f"expected git blob {git_blob_id}, got {got}"
    return None


def _fetch_verified(fetch: _Fetch, part: Path, mismatch: _Check, *, tries: int) -> None:
    """Fetch until the content is right; raise InputError after so many tries, or when it is wrong twice."""
    wrong = 0
    for attempt in range(tries):
        time.sleep(BACKOFF_SECONDS * (2**attempt - 1))
        try:
            fetch(part)
        except requests.RequestException as error:
            reason = " ".join(str(error).split())
            continue
        reason = mismatch(part)
        if reason is None:
            return
        part.unlink()
        wrong += 1
        if wrong == 2:
            break
    raise InputError(reason)


def _fetch(url: str, part: Path, *, label: str, timeouts: tuple[float, float], resume: bool) -> None:
    """Open one connection and write what it brings; raise requests.RequestException if it is worth another try."""
    offset = part.stat().st_size if resume and part.exists() else 0
    headers = {"Accept-Encoding": "identity"}  # the number of bytes of a compressed body says nothing about the file
    if offset:
        headers["Range"] = f"bytes={offset}-"
    with requests.get(url, headers=headers, stream=True, timeout=timeouts) as response:
        offset, total = _span(response, offset, part)
        progress = progress_bar(desc=label, initial=offset, total=total, unit="B", unit_scale=True)
        with part.open("ab" if offset else "wb") as file, progress:
            for chunk in response.iter_content(CHUNK_BYTES):
                file.write(chunk)
                progress.update(len(chunk))
    if total is not None and part.stat().st_size != total:
        raise requests.ConnectionError(f"the connection closed before all {total} bytes had come")


def _span(response: requests.Response, offset: int, part: Path) -> tuple[int, int | None]:
    """Read from the headers where in the file the body starts, and the file's size in bytes, or None."""
    status = response.status_code
    span = re.match(r"bytes (\d+)-\d+/(\d+|\*)", response.headers.get("Content-Range", ""))
    if status == 200:  # also from a server that ignores Range
        length = None if "Content-Encoding" in response.headers else response.headers.get("Content-Length")
        return 0, int(length) if length else None
    if status == 206 and span and int(span[1]) == offset:
        return offset, None if span[2] == "*" else int(span[2])
    if offset and status in (206, 416):
        part.unlink()  # what is left from before does not fit this file
    elif status < 500 and status not in (408, 429):  # those two ask for another try
        raise InputError(f"the server answers {status} {response.reason}")
    raise requests.ConnectionError(f"the server answers {status} {response.reason}")
