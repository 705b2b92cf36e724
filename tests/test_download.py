import hashlib
import http.server
import socket
import subprocess
import sys
import threading
import time

import pytest

from going_modular.common.errors import InputError
from going_modular.data import download as downloads
from going_modular.data import transfer

CONTENT = bytes(range(256)) * 4096  # 1 MiB
HALF = len(CONTENT) // 2
BLOB_ID = hashlib.sha1(b"blob %d\0" % len(CONTENT) + CONTENT).hexdigest()
SHA256 = hashlib.sha256(CONTENT).hexdigest()


class Handler(http.server.BaseHTTPRequestHandler):
    """Misbehave as the path says, the first `failures` times; then serve CONTENT."""

    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def do_GET(self):
        server = self.server
        server.ranges.append(self.headers.get("Range"))
        if len(server.ranges) > server.failures:
            # Half of a compressed body could not be resumed, so nobody may ask for one.
            return self.send_content() if self.headers["Accept-Encoding"] == "identity" else self.send_status(406)
        return getattr(self, self.path.strip("/"))()

    do_HEAD = do_GET  # noqa: N815

    def send_content(self, content=CONTENT, sent=None, ignore_range=False):
        requested = None if ignore_range else self.headers.get("Range")
        start = int(requested.removeprefix("bytes=").removesuffix("-")) if requested else 0
        if start >= len(content):
            return self.send_status(416)
        self.send_response(206 if requested else 200)
        if requested:
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        self.send_header("Content-Length", str(len(content) - start))
        self.end_headers()
        self.wfile.write(content[start:sent])
        self.close_connection = sent is not None
        return None

    def send_status(self, status):
        self.send_response(status)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def piece(self):
        self.send_response(206)
        self.send_header("Content-Range", f"bytes 100-149/{len(CONTENT)}")
        self.send_header("Content-Length", "50")
        self.end_headers()
        self.wfile.write(CONTENT[100:150])

    def missing(self):
        self.send_status(404)

    def busy(self):
        self.send_status(503)

    def ignores_range(self):
        self.send_content(ignore_range=True)

    def short(self):
        self.send_content(sent=HALF)

    def reset(self):
        self.send_content(sent=HALF)
        # Closing with SO_LINGER of zero seconds sends a reset, not an orderly end.
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        self.connection.close()

    def wrong(self):
        self.send_content(content=CONTENT[::-1])

    def hangs_halfway(self):
        self.send_content(sent=HALF)
        self.server.release.wait(60)

    def slow(self):
        self.server.release.wait(60)
        self.send_content()


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setattr(downloads, "BACKOFF_SECONDS", 0.01)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.delenv("GOING_MODULAR_OFFLINE", raising=False)
    downloads._answers.cache_clear()
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.handle_error = lambda *_: None  # clients go away here, as intended
        server.ranges, server.failures, server.release = [], 10**9, threading.Event()
        server.url = f"http://127.0.0.1:{server.server_port}"
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield server
        server.release.set()
        server.shutdown()


def fetch(server, route, path, failures=10**9, **options):
    server.failures = failures
    options = {"git_blob_id": BLOB_ID} | options
    return downloads.download(f"{server.url}/{route}", path, **options)


def assert_only(path, content=CONTENT):
    assert path.read_bytes() == content
    assert [entry.name for entry in path.parent.iterdir()] == [path.name]


@pytest.mark.parametrize("hashes", [{"git_blob_id": BLOB_ID}, {"sha256": SHA256}, {"sha256": SHA256[:8].upper()}, {}])
def test_a_download_arrives_once(server, tmp_path, capsys, hashes):
    path = tmp_path / "new folder" / "数据.zip"
    for _ in range(2):
        assert fetch(server, "", path, failures=0, **({"git_blob_id": None} | hashes)) == path
    assert_only(path)
    assert server.ranges == [None]
    assert "1.05M/1.05M" in capsys.readouterr().err


@pytest.mark.parametrize("hashed", [True, False])
@pytest.mark.parametrize("route", ["reset", "short"])
def test_a_broken_connection_is_resumed_only_if_the_whole_can_be_verified(server, tmp_path, route, hashed):
    fetch(server, route, tmp_path / "file", failures=1, git_blob_id=BLOB_ID if hashed else None)
    assert_only(tmp_path / "file")
    assert len(server.ranges) == 2
    # After a reset the kernel may drop what had arrived; after an orderly end the half is there.
    assert hashed or server.ranges[1] is None
    assert not hashed or route == "reset" or server.ranges[1] == f"bytes={HALF}-"


@pytest.mark.parametrize("route", ["busy", "wrong"])
def test_what_may_pass_is_tried_again(server, tmp_path, route):
    fetch(server, route, tmp_path / "file", failures=1)
    assert_only(tmp_path / "file")
    assert server.ranges == [None, None]


@pytest.mark.parametrize(
    ("left", "route", "ranges"),
    [
        (CONTENT[:100], "", ["bytes=100-"]),
        (CONTENT[:100], "ignores_range", ["bytes=100-"]),
        (CONTENT[:100], "piece", ["bytes=100-", "bytes=150-"]),
        (CONTENT + b"more", "", [f"bytes={len(CONTENT) + 4}-", None]),
        (b"?", "", ["bytes=1-", None]),
    ],
)
def test_what_an_earlier_run_left_is_used_or_thrown_away(server, tmp_path, left, route, ranges):
    (tmp_path / "file").write_bytes(b"wrong, so replaced")
    (tmp_path / "file.part").write_bytes(left)
    fetch(server, route, tmp_path / "file", failures=1 if route else 0)
    assert_only(tmp_path / "file")
    assert server.ranges == ranges


@pytest.mark.parametrize(
    ("route", "options", "requests_seen", "reason"),
    [
        ("missing", {}, 1, "404"),
        ("busy", {}, 4, "503"),
        ("wrong", {}, 2, f"expected git blob {BLOB_ID}, got "),
        ("wrong", {"sha256": SHA256, "git_blob_id": None}, 2, f"expected SHA-256 {SHA256}, got "),
        ("short", {"git_blob_id": None}, 4, "the connection closed before all had come"),
        ("slow", {}, 4, "timed out: not a byte for 0.1 s"),
    ],
)
def test_a_failure_is_one_line_and_leaves_no_file(server, tmp_path, monkeypatch, route, options, requests_seen, reason):
    if route == "slow":
        monkeypatch.setattr(transfer, "SILENCE_SECONDS", 0.1)
    with pytest.raises(InputError, match=reason) as caught:
        fetch(server, route, tmp_path / "file", **options)
    assert str(caught.value).startswith(f"Cannot download {server.url}/{route}: ")
    assert str(caught.value).endswith("check the network, or pass a local copy")
    assert "\n" not in str(caught.value)
    assert len(server.ranges) == requests_seen
    assert not (tmp_path / "file").exists()


def test_a_slow_first_byte_is_waited_for(server, tmp_path, monkeypatch):
    monkeypatch.setattr(downloads, "TRIES", 1)
    timer = threading.Timer(0.3, server.release.set)
    timer.start()
    fetch(server, "slow", tmp_path / "file")
    assert_only(tmp_path / "file")
    timer.join()


@pytest.mark.slow
def test_a_socket_that_never_answers_is_given_up(server, tmp_path, monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/"
        begin = time.monotonic()
        monkeypatch.setattr(transfer, "SILENCE_SECONDS", 0.2)
        with pytest.raises(InputError, match="timed out"):
            downloads.download(url, tmp_path / "file")
        monkeypatch.setattr(transfer, "PROBE_SECONDS", 0.2)
        assert "no answer within 0.2 s" in downloads.obstacle(url)
        assert time.monotonic() - begin < 30  # it ends


def test_a_folder_that_cannot_be_written_and_a_hash_that_verifies_nothing(server, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="Cannot write"):
        fetch(server, "", tmp_path / "file" / "inside", failures=0)
    with pytest.raises(ValueError, match="8 to 64"):
        fetch(server, "", tmp_path / "new", sha256="")


KILLED = """
import os, signal, sys, threading
from pathlib import Path
from going_modular.data import download
url, path, blob_id = sys.argv[1:]
options = dict(git_blob_id=blob_id)
threading.Thread(target=download.download, args=(url, path), kwargs=options, daemon=True).start()
part = Path(path + ".part")
while not (part.exists() and part.stat().st_size > 0):
    assert threading.main_thread().is_alive()
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="needs SIGKILL")
def test_a_kill_leaves_nothing_and_the_next_run_resumes(server, tmp_path):
    path = tmp_path / "file"
    command = [sys.executable, "-c", KILLED, f"{server.url}/hangs_halfway", str(path), BLOB_ID]
    assert subprocess.run(command, timeout=60, capture_output=True).returncode == -9
    assert not path.exists()
    left = (tmp_path / "file.part").stat().st_size
    assert 0 < left <= HALF
    fetch(server, "", path, failures=0)
    assert server.ranges == [None, f"bytes={left}-"]
    assert_only(path)


WAITING = """
import sys
from going_modular.data import download
lock = download.FileLock
download.FileLock = lambda path: print("waits for its turn", flush=True) or lock(path)
download.download(*sys.argv[1:3], git_blob_id=sys.argv[3])
"""


def test_processes_that_want_the_same_file_take_turns(server, tmp_path):
    command = [sys.executable, "-c", WAITING, f"{server.url}/slow", str(tmp_path / "file"), BLOB_ID]
    server.failures = 1
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    running = [subprocess.Popen(command, **pipes) for _ in range(3)]
    assert [process.stdout.readline() for process in running] == [b"waits for its turn\n"] * 3
    server.release.set()
    assert [(process.communicate(timeout=60), process.returncode)[1] for process in running] == [0, 0, 0]
    assert_only(tmp_path / "file")
    assert server.ranges == [None]


@pytest.mark.parametrize("value", ["1", "true", "yes"])
def test_offline_opens_no_connection(server, tmp_path, monkeypatch, value):
    monkeypatch.setenv("GOING_MODULAR_OFFLINE", value)
    server.failures = 0
    assert downloads.obstacle(server.url) == "GOING_MODULAR_OFFLINE is set"
    with pytest.raises(InputError, match="GOING_MODULAR_OFFLINE"):
        fetch(server, "", tmp_path / "file", failures=0)
    assert server.ranges == []
    for off in ("", "0", "false", "NO"):
        monkeypatch.setenv("GOING_MODULAR_OFFLINE", off)
        assert not downloads.is_offline()


def test_a_host_that_answered_is_not_asked_again(server):
    server.failures = 0
    assert [downloads.obstacle(f"{server.url}/{route}") for route in ("missing", "busy", "missing")] == [None] * 3
    assert len(server.ranges) == 1
    with socket.create_server(("127.0.0.1", 0)) as closed:
        url = f"http://127.0.0.1:{closed.getsockname()[1]}/"
    assert downloads.obstacle(url).startswith(f"{url} cannot be reached (")
    # one address that answers is enough
    assert downloads.obstacle((url, server.url)) is None


def test_reachable_does_not_wait_for_name_resolution(server, monkeypatch):
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_: [server.release.wait(60)][:0])
    monkeypatch.setattr(transfer, "PROBE_SECONDS", 0.2)
    begin = time.monotonic()
    assert "no answer within 0.2 s" in downloads.obstacle("http://resolves.invalid/")
    assert time.monotonic() - begin < 30  # it ends, and before the name is resolved
    assert not server.release.is_set()


def test_cache_folder(monkeypatch, tmp_path):
    monkeypatch.setenv("GOING_MODULAR_CACHE", str(tmp_path / "cache"))
    assert downloads.cache_folder() == tmp_path / "cache"
    monkeypatch.delenv("GOING_MODULAR_CACHE")
    assert "going_modular" in downloads.cache_folder().name
    assert not (tmp_path / "cache").exists()
