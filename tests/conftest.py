"""What tests share: no network, a cache of their own, images to train on."""

import http.server
import os
import signal
import threading
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from going_modular.data import download

ROOT = Path(__file__).resolve().parent.parent


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
    folder = tmp_path_factory.mktemp("home")
    monkeypatch.setenv("GOING_MODULAR_OFFLINE", "1")
    monkeypatch.setenv("GOING_MODULAR_CACHE", str(folder / "cache"))
    monkeypatch.setenv("TORCH_HOME", str(folder / "torch"))
    monkeypatch.setenv("MPLBACKEND", "agg")


@pytest.fixture
def make_image(tmp_path):
    """Return a function that writes an image of noise and returns its path."""

    def make(name: str, *, size: tuple[int, int] = (80, 64), seed: int = 0) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        noise = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
        Image.fromarray(noise).save(path)
        return path

    return make


@pytest.fixture
def make_classes(make_image, tmp_path):
    """Return a function that writes a folder of class folders and returns it."""

    def make(folder: str, class_names: tuple[str, ...] = ("cat", "dog"), *, images: int = 6) -> Path:
        for label, class_name in enumerate(class_names):
            for i in range(images):
                make_image(f"{folder}/{class_name}/{i}.png", seed=1000 * label + i)
        return tmp_path / folder

    return make


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
