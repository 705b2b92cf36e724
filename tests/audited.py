"""Run commands and record what they do to files, processes and the network: `python audited.py LOG < steps.json`.

The steps are a JSON list of [script, arguments]. Each line of the log is a JSON list: the step's number, the event and
the real path of what it is about, as it was at that moment. Worker processes that are forked write there, too.
"""

import json
import os
import sys
from pathlib import Path

WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
OWN_NAME = os.O_EXCL | getattr(os, "O_NOFOLLOW", 0)  # flags that keep from following a link
# the places of a path, and of the folder that it is relative to, in an event's arguments; whether a link is followed
PATHS = {
    "os.chmod": [(0, 2, True)],
    "os.chown": [(0, 3, True)],
    "os.link": [(1, 3, False)],
    "os.mkdir": [(0, 2, False)],
    "os.remove": [(0, 1, False)],
    "os.rename": [(0, 2, False), (1, 3, False)],
    "os.rmdir": [(0, 1, False)],
    "os.symlink": [(1, 2, False)],
    "os.truncate": [(0, None, True)],
    "os.utime": [(0, 3, True)],
}
NAMES = {"subprocess.Popen": 0, "os.system": 0, "os.exec": 0, "os.posix_spawn": 0, "socket.connect": 1}


def real(path: object, folder: int | None, *, follows: bool) -> str | None:
    """Return the real path of what a call is about; None for an open file."""
    if isinstance(path, int):
        return None
    path = os.fsdecode(path)
    if folder is not None and folder >= 0:
        path = str(Path(f"/proc/self/fd/{folder}").readlink() / path)
    parent, name = os.path.split(path.rstrip("/"))
    if follows or name in ("", ".", ".."):
        return os.path.realpath(path)
    return str(Path(os.path.realpath(parent)) / name)


def about(event: str, arguments: tuple) -> list[str]:
    """Return what an event is about, where it changes anything or leaves this process."""
    if event == "open":
        path, _, flags = arguments
        if not flags & WRITING:
            return []
        places = [real(path, None, follows=not flags & OWN_NAME)]
    elif event in NAMES:
        places = [str(arguments[NAMES[event]])]
    else:
        places = [
            real(arguments[path], None if folder is None else arguments[folder], follows=follows)
            for path, folder, follows in PATHS.get(event, [])
        ]
    return [place for place in places if place is not None]


def record(log: str) -> list[int]:
    """Record from now on; return a list whose one item is the number of the step, to be changed."""
    step, file = [0], os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def hook(event: str, arguments: tuple) -> None:
        for place in about(event, arguments):
            os.write(file, (json.dumps([step[0], event, place]) + "\n").encode())

    sys.addaudithook(hook)
    return step


def main() -> None:
    """Run the steps in turn; print their exit statuses."""
    steps = json.load(sys.stdin)
    step = record(sys.argv[1])
    if steps and steps[0][0] == "-c":  # code, to see that this sees what it does
        exec(steps[0][1][0], {})
        return
    from commands import call

    for step[0], (script, arguments) in enumerate(steps):
        status = call(script, *arguments)
        sys.stdout.write(f"{status}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parent))
    main()
