"""The app as a process, for the tests that need one: served in a folder of its own, ended by Ctrl-C."""

import contextlib
import os
import signal
import socket
import threading
from pathlib import Path

from commands import HANGS, isolation, start


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextlib.contextmanager
def serving(
    folder: Path, *arguments: object, port: int | None = None, script: str | Path = "app.py", refusals: int = 0
):
    """Run the app in a folder; yield its process and address, and see that Ctrl-C ends it cleanly.

    Gradio itself tells of so many `refusals` of requests that no browser makes.
    """
    environment = os.environ | isolation(folder) | {"TMPDIR": str(folder)}
    port = port or free_port()
    with start(script, "--port", port, *arguments, cwd=folder, env=environment) as process:
        said = threading.Timer(HANGS, process.kill)
        said.start()
        lines = []
        for line in process.stdout:
            lines.append(line)
            if line.startswith("Open http"):
                break
        said.cancel()
        try:
            assert lines, process.stderr.read()
            assert lines[-1].startswith("Open http"), (lines, process.stderr.read())
            yield process, f"http://127.0.0.1:{port}/"
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGINT)
            out, errors = process.communicate(timeout=HANGS)
    assert process.returncode in (0, -signal.SIGKILL), errors
    if process.returncode == 0:
        assert errors.count("Traceback") == refusals, errors
        assert out == "Ended: what was not saved is gone\n"
        assert not list(folder.glob("going-modular-app-*")), "it left images behind"
