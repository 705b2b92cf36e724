"""What tests share: no network, a cache of their own, images to train on.

Every test is quick, and `python -m pytest -m quick` runs it, unless it or its file is marked `pytest.mark.slow`. Mark
what takes more than a second or starts processes.

`--start-method spawn` starts processes as Windows and macOS do, `forkserver` as Python does on Linux from 3.14 on.
"""

import http.server
import multiprocessing
import os
import signal
import sys
import threading
from functools import partial
from pathlib import Path

import pytest
from commands import isolation, write_classes, write_image

from going_modular.data import download

ROOT = Path(__file__).resolve().parent.parent

# Tests run side by side: torch has one thread in each process, those that tests start included. Where a notebook sets
# more, they sleep while they wait for one another: threads that spin on shared cores take many times as long. Torch
# reads both when it is imported, which nothing above does.
os.environ |= {"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"}


def pytest_addoption(parser):
    methods = multiprocessing.get_all_start_methods()
    parser.addoption("--start-method", choices=methods, help="how processes are started; None: as this Python does")


def pytest_configure(config):
    if method := config.getoption("--start-method"):
        multiprocessing.set_start_method(method)


@pytest.hookimpl(tryfirst=True)  # before pytest selects what `-m quick` asks for
def pytest_collection_modifyitems(items):
    for item in items:
        if not item.get_closest_marker("slow"):
            item.add_marker("quick")


@pytest.fixture(autouse=True, scope="session")
def interruptible():
    """Let processes that tests start be interrupted: a shell starts jobs in the background with SIGINT ignored.

    A handler of our own is not inherited, but that the signal is ignored would be.
    """
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def isolated(tmp_path_factory, monkeypatch):
    """Keep every test off the network and out of the user's cache folders."""
    for name, value in isolation(tmp_path_factory.mktemp("home")).items():
        monkeypatch.setenv(name, value)


@pytest.fixture(autouse=True)
def no_open_figures():
    """Close what a test drew through pyplot: the next one in this process counts its own."""
    yield
    if pyplot := sys.modules.get("matplotlib.pyplot"):
        pyplot.close("all")


@pytest.fixture
def make_image(tmp_path):
    """Return a function that writes an image of noise and returns its path."""
    return partial(write_image, tmp_path)


@pytest.fixture
def make_classes(tmp_path):
    """Return a function that writes a folder of class folders and returns it."""
    return partial(write_classes, tmp_path)


@pytest.fixture(scope="session")
def photos() -> Path:
    """Return the zip of real photos, which is not part of the repository.

    It is looked for at GOING_MODULAR_PHOTOS, then in a folder beside the clone.
    """
    path = Path(os.environ.get("GOING_MODULAR_PHOTOS", ROOT.parent / "shared/data/pizza_steak_sushi.zip"))
    if not path.is_file():
        pytest.skip(f"no real photos at {path}; set GOING_MODULAR_PHOTOS to pizza_steak_sushi.zip")
    return path


@pytest.fixture
def server(monkeypatch):
    """Serve `server.files`, contents by path, on loopback; `server.asked` lists the paths of GET requests."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def log_message(self, *_):
            pass

        def do_GET(self):
            self.server.asked.append(self.path)
            self.do_HEAD()
            self.wfile.write(self.server.files.get(self.path, b""))

        def do_HEAD(self):  # asks whether the server can be reached
            content = self.server.files.get(self.path)
            self.send_response(404 if content is None else 200)
            self.send_header("Content-Length", str(len(content or b"")))
            self.end_headers()

    monkeypatch.setattr(download, "BACKOFF_SECONDS", 0.01)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.delenv("GOING_MODULAR_OFFLINE", raising=False)
    download._answers.cache_clear()
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.files, server.asked, server.url = {}, [], f"http://127.0.0.1:{server.server_port}"
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield server
        server.shutdown()
