"""One try at bringing a file by HTTP: it goes on where an earlier one stopped, or says in a line why it failed.

Connections are opened by requests, so that what the environment says holds: HTTP_PROXY, HTTPS_PROXY, NO_PROXY,
REQUESTS_CA_BUNDLE.
"""

import contextlib
import http.client
import itertools
import math
import os
import re
import socket
import ssl
import stat
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO
from urllib.parse import urlsplit

import requests
import urllib3

from going_modular.common.progress import bar as progress_bar

PROBE_SECONDS = 3.0
CONNECT_SECONDS = 5.0
SILENCE_SECONDS = 30.0  # a try is over that brings nothing for so long, or less than SLOWEST on average
SLOWEST = 1000  # bytes a second
LIMITED_SECONDS = 15.0  # to wait after a 429 that does not say for how long
CHUNK_BYTES = 2**16

_WEB_PAGE = re.compile(rb"(\xef\xbb\xbf)?\s*<(!doctype\s+html|html|head|script|meta)\b", re.IGNORECASE)
_CERTIFICATE = "where the network has a certificate of its own, name its file in REQUESTS_CA_BUNDLE"
# asking again would end the same way
_FINAL = (
    requests.exceptions.InvalidURL,
    requests.exceptions.InvalidSchema,
    requests.exceptions.MissingSchema,
    requests.exceptions.TooManyRedirects,
)


class TransferError(Exception):
    """Report a try that failed.

    Args:
        reason: what happened, in a line.
        wait: seconds after which the server wants to be asked again; 0 where it says nothing, infinite where asking
            again is of no use.
    """

    def __init__(self, reason: str, wait: float = 0.0) -> None:
        super().__init__(reason)
        self.wait = wait


def probe(url: str) -> None:
    """Ask within `PROBE_SECONDS` whether a host answers, directly or by the environment's proxy.

    Raises:
        TransferError: it does not, or what it is cannot be verified.
    """
    outcome: list[TransferError | None] = []

    def ask() -> None:
        try:
            requests.head(url, timeout=PROBE_SECONDS, allow_redirects=False).close()
            outcome.append(None)
        except requests.Timeout:
            pass  # the line below says for how long was waited
        except (OSError, ValueError, urllib3.exceptions.HTTPError) as error:
            outcome.append(_failure(error, url))

    # The timeout of requests leaves name resolution out; a thread can be left behind.
    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(PROBE_SECONDS)
    if error := outcome[0] if outcome else TransferError(f"no answer within {PROBE_SECONDS:g} s"):
        raise error


def left(part: Path) -> int:
    """Return how many bytes an earlier try left in `part`; remove what is not a plain file with this name alone.

    A link that somebody planted would lead to another file, which is not ours to write.
    """
    try:
        status = part.lstat()
    except FileNotFoundError:
        return 0
    if stat.S_ISREG(status.st_mode) and status.st_nlink == 1:
        return status.st_size
    part.unlink()
    return 0


def fetch(url: str, part: Path, *, label: str, resume: bool) -> None:
    """Open one connection and write what it brings to `part`, or after what is there.

    Silence for `SILENCE_SECONDS` ends it, and so does a body that only trickles. What had come stays in `part`.

    Args:
        url: HTTP or HTTPS address; redirections are followed.
        part: the file to write; no link is followed.
        label: of the progress bar.
        resume: ask for what is missing in `part`; else it is written anew.

    Raises:
        TransferError: the file did not come, or not all of it.
        OSError: `part` cannot be written.
    """
    offset = left(part) if resume else 0
    with contextlib.closing(_open(url, offset)) as response:
        start, total = _span(response, offset, part)
        chunks = _chunks(response, url)
        if start == 0:
            chunks = _without_web_page(chunks)
        with (
            _writable(part, start) as file,
            progress_bar(desc=label, initial=start, total=total, unit="B", unit_scale=True) as progress,
        ):
            for chunk in chunks:
                file.write(chunk)
                progress.update(len(chunk))
    if total is not None and part.stat().st_size != total:
        raise TransferError(f"{part.stat().st_size} bytes came of the {total} that the server promised")


def _open(url: str, offset: int) -> requests.Response:
    headers = {"Accept-Encoding": "identity"}  # the number of bytes of a compressed body says nothing about the file
    if offset:
        headers["Range"] = f"bytes={offset}-"
    try:
        return requests.get(url, headers=headers, stream=True, timeout=(CONNECT_SECONDS, SILENCE_SECONDS))
    except (OSError, ValueError, urllib3.exceptions.HTTPError) as error:
        raise _failure(error, url) from error


def _span(response: requests.Response, offset: int, part: Path) -> tuple[int, int | None]:
    """Read from the headers where in the file the body starts, and the file's size in bytes, or None."""
    status = response.status_code
    encoded = response.headers.get("Content-Encoding", "identity").strip().lower() != "identity"
    if status == 200:  # also from a server that ignores Range
        length = re.fullmatch(r"\d{1,18}", response.headers.get("Content-Length", ""))
        return 0, int(length[0]) if length and not encoded else None
    span = re.fullmatch(r"bytes (\d{1,18})-\d{1,18}/(\d{1,18}|\*)", response.headers.get("Content-Range", ""))
    if status == 206 and span and int(span[1]) == offset and not encoded:
        return offset, None if span[2] == "*" else int(span[2])

    answer = f"the server answers {status} {http.client.responses.get(status, '')}".rstrip()
    if offset and status in (206, 416):
        part.unlink()  # what is left from before does not fit this file
        raise TransferError(answer)
    wait = _asked_wait(response)
    if wait:
        answer += f" and asks to wait {math.ceil(wait)} s"
    elif wait is None:
        wait = LIMITED_SECONDS if status == 429 else 0 if status == 408 or status >= 500 else math.inf
    raise TransferError(answer, wait)


def _asked_wait(response: requests.Response) -> float | None:
    """Return the seconds, a day at most, for which a busy server wants to be left alone; None where it says nothing."""
    if response.status_code not in urllib3.Retry.RETRY_AFTER_STATUS_CODES:  # 413, 429, 503
        return None
    try:
        return min(urllib3.Retry().parse_retry_after(response.headers["Retry-After"]), 86400)
    except (KeyError, urllib3.exceptions.InvalidHeader, ValueError, OverflowError):
        return None


def _chunks(response: requests.Response, url: str) -> Iterator[bytes]:
    """Yield what comes as soon as it comes; raise TransferError where it breaks off or hardly moves."""
    since, came = time.monotonic(), 0
    try:
        while chunk := response.raw.read1(CHUNK_BYTES, decode_content=True):
            yield chunk
            came += len(chunk)
            seconds = time.monotonic() - since
            if seconds >= SILENCE_SECONDS:
                if came < SLOWEST * seconds:
                    raise TransferError(f"only {came} bytes came in {seconds:.0f} s")
                since, came = time.monotonic(), 0
    except (OSError, urllib3.exceptions.HTTPError) as error:
        raise _failure(error, url) from error


def _without_web_page(chunks: Iterator[bytes]) -> Iterator[bytes]:
    """Look at the first bytes before any is written: a web page is not to replace what an earlier try left."""
    head = b""
    for chunk in chunks:
        head += chunk
        if len(head) >= 64:
            break
    if _WEB_PAGE.match(head):
        raise TransferError(
            "a web page came instead of the file, as from a network that wants you to log in first: open a browser"
        )
    return itertools.chain([head], chunks)


def _writable(part: Path, start: int) -> BinaryIO:
    """Open `part` to write from its end on or, where `start` is 0, anew; never what a link of that name leads to."""
    if start:
        no_link = getattr(os, "O_NOFOLLOW", 0)  # Windows has none
        return open(part, "ab", opener=lambda name, flags: os.open(name, flags | no_link))
    part.unlink(missing_ok=True)
    return part.open("xb")


def _failure(error: Exception, url: str) -> TransferError:
    """Say in a line why a connection failed, with the remedy where it is on this side."""
    root = _root(error)
    detail = getattr(root, "strerror", None) or str(root) or type(root).__name__
    detail = " ".join("".join(c if c.isprintable() else " " for c in detail).split())[:160]
    wait = math.inf if isinstance(error, _FINAL) else 0.0
    if isinstance(root, ssl.SSLCertVerificationError):
        return TransferError(f"its certificate is refused ({root.verify_message}): {_CERTIFICATE}", math.inf)
    if isinstance(error, OSError) and not isinstance(error, requests.RequestException):  # the file is not there
        return TransferError(f"{detail}; correct REQUESTS_CA_BUNDLE", math.inf)
    if isinstance(error, requests.exceptions.ProxyError):
        detail = f"the proxy of this network fails ({detail}); look at HTTP_PROXY and HTTPS_PROXY"
    elif isinstance(error, requests.exceptions.SSLError):
        detail = f"no secure connection ({detail}): {_CERTIFICATE}"
    elif "SOCKS" in detail:
        detail = f"the proxy of this network needs a package, requests[socks] ({detail})"
    elif isinstance(root, socket.gaierror):
        detail = f"no host {urlsplit(url).hostname} is known here ({detail})"
    elif isinstance(error, requests.ConnectTimeout):
        detail = f"timed out: no connection within {CONNECT_SECONDS:g} s"
    elif isinstance(root, TimeoutError):
        detail = f"timed out: not a byte for {SILENCE_SECONDS:g} s"
    elif isinstance(root, http.client.IncompleteRead):
        detail = "the connection closed before all had come"
    return TransferError(detail, wait)


def _root(error: BaseException) -> BaseException:
    """Return what an error of requests or urllib3 wraps, down to the system's."""
    inner = (getattr(error, "reason", None), *error.args, error.__cause__)
    found = next((one for one in inner if isinstance(one, BaseException)), None)
    return error if found is None else _root(found)
