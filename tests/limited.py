"""What tests of hostile input share: little memory, what a command said, and what lies in folders."""

import contextlib
import hashlib
import io
import re
import stat
import sys
from collections.abc import Iterator
from pathlib import Path

from commands import call, messages

from going_modular.common import cli

STATUS = Path("/proc/self/status")
UNSEEN = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u061c\u200b\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff]")


@contextlib.contextmanager
def memory(more: int) -> Iterator[None]:
    """Let this process take so many more bytes of memory, where the system (Linux) can hold it to that."""
    if not STATUS.exists():
        yield
        return
    import resource

    taken = 1024 * int(re.search(r"VmData:\s+(\d+) kB", STATUS.read_text())[1])
    before = resource.getrlimit(resource.RLIMIT_DATA)
    resource.setrlimit(resource.RLIMIT_DATA, (taken + more, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, before)


def outcome(script: str, *arguments: object) -> tuple[int, str, list[str]]:
    """Run a command in this process; return its exit status, what it printed, and its lines on standard error."""
    streams = [io.TextIOWrapper(io.BytesIO(), encoding="utf-8", errors="backslashreplace") for _ in range(2)]
    before = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = streams
    try:
        status = call(script, *arguments)
    finally:
        sys.stdout, sys.stderr = before
    for stream in streams:
        stream.flush()
    output, errors = (stream.buffer.getvalue().decode("utf-8") for stream in streams)
    return status, output, messages(errors)


def ended_well(script: str, *arguments: object) -> int:
    """Run a command on whatever it was handed; check that it succeeds or ends in one short line with status 2."""
    status, output, lines = outcome(script, *arguments)
    said = [line for line in lines if not line.startswith(f"{script}: warning: ")]
    assert status in (0, cli.BAD_INPUT), (status, lines)
    assert len(said) == (status != 0), lines
    assert all(line.startswith(f"{script}: error: ") and len(line) < 1200 for line in said), lines
    assert not UNSEEN.search(output + "".join(said)), "what steers a terminal was printed"
    return status


def snapshot(folder: Path) -> dict[str, str]:
    """Return what lies in a folder: the kind of each entry, and a digest of each file's contents."""
    return {str(path.relative_to(folder)): _told(path) for path in folder.rglob("*")}


def _told(path: Path) -> str:
    mode = path.lstat().st_mode
    if stat.S_ISLNK(mode):
        return f"link to {path.readlink()}"
    return hashlib.sha256(path.read_bytes()).hexdigest() if stat.S_ISREG(mode) else f"kind {stat.S_IFMT(mode):o}"
