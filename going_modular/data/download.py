"""Fetch a file: verified, resumable, atomic, from several addresses if need be."""

import contextlib
import dataclasses
import functools
import hashlib
import math
import os
import random
import re
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from urllib.parse import urlsplit

from filelock import FileLock, Timeout
from platformdirs import user_cache_dir
from tqdm import tqdm

from going_modular.common import files
from going_modular.common.errors import InputError

TRIES = 4  # of one address, in a row, that bring nothing new
WRONG = 2  # times that one address may bring something else
PROGRESS_BYTES = 10**6  # what a broken try must have brought for the next to be a first one
BACKOFF_SECONDS = 0.5  # before the second try, at least; before each later one twice as long
LONGEST_WAIT = 60.0  # seconds that a server may ask us to wait: longer, and its address is given up
WAITS_IN_ALL = 300.0  # seconds for all the waits of one download

_jitter = random.SystemRandom()  # not the generator that training uses; and a class that sets one seed waits apart
_Check = Callable[[Path], str | None]


def is_offline() -> bool:
    """Tell whether the environment variable GOING_MODULAR_OFFLINE forbids connections."""
    return os.environ.get("GOING_MODULAR_OFFLINE", "").strip().lower() not in ("", "0", "false", "no")


def cache_folder() -> Path:
    """Name the folder for what can be made again: GOING_MODULAR_CACHE, or the platform's; it may not exist yet.

    For a user without a home, or where others could write to that folder, it is one that goes when the process ends,
    with a warning.
    """
    try:
        folder = Path(os.environ.get("GOING_MODULAR_CACHE") or user_cache_dir("going_modular", appauthor=False))
    except RuntimeError:
        return Path(_cache_without_home().name)
    if reason := files.why_not_private(folder):
        return Path(_cache_in_place_of_anothers(reason).name)
    return folder


@functools.cache
def _cache_without_home() -> tempfile.TemporaryDirectory:
    return _cache_for_now("There is no home folder")


@functools.cache
def _cache_in_place_of_anothers(reason: str) -> tempfile.TemporaryDirectory:
    return _cache_for_now(f"The cache folder is not used, since {reason}")


def _cache_for_now(reason: str) -> tempfile.TemporaryDirectory:
    warnings.warn(
        f"{reason}: features and unpacked zips are kept for this run only; name a folder for them in "
        "GOING_MODULAR_CACHE",
        stacklevel=4,
    )
    return tempfile.TemporaryDirectory(prefix="going_modular-")


def obstacle(urls: str | Sequence[str]) -> str | None:
    """Say why nothing can be fetched from any of these addresses, within `transfer.PROBE_SECONDS` each; None if it can.

    That a host answered holds for the process; that it did not is asked anew.
    """
    if is_offline():
        return "GOING_MODULAR_OFFLINE is set"
    from going_modular.data import transfer  # late, here and below: it brings the network

    reasons = []
    for url in _listed(urls):
        parts = urlsplit(url)
        try:
            _answers(f"{parts.scheme}://{parts.netloc}/")
        except transfer.TransferError as error:
            reasons.append(f"{url} cannot be reached ({error})")
        else:
            return None
    return ", ".join(reasons)


@functools.cache  # which keeps answers, not errors
def _answers(origin: str) -> None:
    from going_modular.data import transfer

    transfer.probe(origin)


def _listed(urls: str | Sequence[str]) -> Sequence[str]:
    return (urls,) if isinstance(urls, str) else urls


def download(
    urls: str | Sequence[str],
    path: str | Path,
    *,
    git_blob_id: str | None = None,
    sha256: str | None = None,
    description: str | None = None,
) -> Path:
    """Download a file, unless one that verifies is there already.

    It grows as `<path>.part` and moves into place once it verifies: at `path` there is nothing, or all of it. With a
    hash, a later try or call goes on where an earlier one stopped, at whichever address. A server that is busy and
    says for how long is left alone for as long, up to `LONGEST_WAIT`, with a line on standard error. Processes that
    want the same file take turns.

    Args:
        urls: HTTP or HTTPS address, or several of the same content: where one fails, the next is asked.
        path: Where the file goes, which is returned; missing folders are made.
        git_blob_id: Git's name for the content, 40 hex digits.
        sha256: SHA-256 of the content, or its first 8 or more hex digits.
        description: Label of the progress bar on stderr; None means the file's name.

    Raises:
        InputError: If connections are forbidden, the servers refuse or keep failing, the content is wrong twice, or
            the file cannot be written.
    """
    if sha256 is not None and not re.fullmatch("[0-9a-fA-F]{8,64}", sha256):
        raise ValueError(f"sha256 {sha256!r} cannot verify a file; give 8 to 64 hex digits")
    path = Path(path)
    mismatch = functools.partial(_mismatch, git_blob_id=git_blob_id, sha256=sha256)
    # Half a file is only worth keeping if the whole can be verified: the server may have another version by now.
    resume = git_blob_id is not None or sha256 is not None
    part = path.with_name(path.name + ".part")
    try:
        if path.is_file() and not mismatch(path):
            return path
        if is_offline():
            raise InputError(f"Cannot download {_listed(urls)[0]}: GOING_MODULAR_OFFLINE is set; pass a local copy")
        from going_modular.data import transfer

        fetch = functools.partial(transfer.fetch, part=part, label=description or path.name, resume=resume)
        with turn(path):
            if not path.is_file() or mismatch(path):  # another process may have finished while this one waited
                _fetch_verified([_Address(url) for url in _listed(urls)], fetch, part, mismatch if resume else None)
                files.rename(part, path)
    except OSError as error:
        raise InputError(f"Cannot write {str(path)!r} ({error.strerror or error}); name another folder") from error
    return path


@contextlib.contextmanager
def turn(path: Path) -> Iterator[None]:
    """Let processes that want the same file or folder take turns, by `<path>.lock`; its folder is made if need be.

    Whoever has waited finds what the one before has made.
    """
    from going_modular.data import transfer

    path.parent.mkdir(parents=True, exist_ok=True)
    name = path.with_name(path.name + ".lock")
    transfer.left(name)  # no link: older versions of filelock empty the file that one leads to
    lock = FileLock(name)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        _say(f"Another process is about to make {path.name}: waiting for it")
        lock.acquire()
    try:
        yield
        # Whoever waits on this lock file, or makes a new one, finds what is finished and writes nothing.
        with contextlib.suppress(OSError):
            name.unlink()
    finally:
        lock.release()


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


@dataclasses.dataclass(eq=False)
class _Address:
    """One address of the file, and how asking there went."""

    url: str
    failures: int = 0  # in a row
    wrong: int = 0
    reason: str = "not asked"
    due: float = 0.0  # when it may be asked again, by the clock of time.monotonic
    asked_to_wait: bool = False

    def put_off(self, reason: str, wait: float = 0.0) -> None:
        """Note why a try failed, and when the next makes sense: after `wait` seconds, or what we think fit for 0."""
        self.reason, self.asked_to_wait = reason, 0 < wait <= LONGEST_WAIT
        if wait > LONGEST_WAIT:
            self.failures = TRIES
        elif wait == 0:
            self.failures += 1
            wait = BACKOFF_SECONDS * 2 ** (self.failures - 1)
        # Apart, so that a class that was sent away together does not come back together.
        self.due = time.monotonic() + wait + _jitter.uniform(0, max(BACKOFF_SECONDS, wait / 4))


def _fetch_verified(
    addresses: list[_Address], fetch: Callable[[str], None], part: Path, mismatch: _Check | None
) -> None:
    """Ask the addresses in turn until the content is right.

    Raises:
        InputError: none of them is worth asking again, or that would take too long.
    """
    from going_modular.data import transfer

    waited, furthest = 0.0, transfer.left(part)
    while useful := [one for one in addresses if one.failures < TRIES and one.wrong < WRONG]:
        if mismatch and transfer.left(part) and not mismatch(part):
            return  # an earlier try brought all of it, and the server promised more
        address = min(useful, key=lambda one: one.due)
        pause = max(0.0, address.due - time.monotonic())
        if waited + pause > WAITS_IN_ALL:
            break
        waited += pause
        if address.asked_to_wait:
            _say(f"{urlsplit(address.url).hostname}: {address.reason}; next try in {math.ceil(pause)} s")
        time.sleep(pause)
        try:
            fetch(address.url)
        except transfer.TransferError as error:
            if mismatch and transfer.left(part) >= furthest + PROGRESS_BYTES:
                address.failures = 0
            furthest = max(furthest, transfer.left(part))
            address.put_off(str(error), error.wait)
            continue
        reason = mismatch(part) if mismatch else None
        if reason is None:
            return
        part.unlink()
        address.wrong += 1
        address.put_off(reason)
    tried = "; nor ".join(f"{one.url}: {one.reason}" for one in addresses)
    waits = f" (waited {waited:.0f} s)" if waited > 10 else ""
    raise InputError(f"Cannot download {tried}{waits}; check the network, or pass a local copy")


def _say(line: str) -> None:
    tqdm.write(line, file=sys.stderr)
