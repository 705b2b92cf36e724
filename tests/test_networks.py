"""Networks that misbehave, each on loopback: servers, proxies, certificates, limits; and planted links."""

import email.utils
import gzip
import hashlib
import http.server
import inspect
import io
import os
import random
import re
import shutil
import socket
import ssl
import subprocess
import threading
import time
import zipfile
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from urllib.parse import urlsplit

import pytest
import torchvision
from torchvision.models import ResNet18_Weights

from going_modular import model_builder
from going_modular.common.errors import InputError
from going_modular.data import download, sources, transfer

CONTENT = b"PK" + bytes(range(256)) * 1024
HALF = len(CONTENT) // 2
SHA256 = hashlib.sha256(CONTENT).hexdigest()
PAGE = b"\n <!DOCTYPE html><html><title>Log in to this network</title></html>"
CLASS = 30


class Handler(http.server.BaseHTTPRequestHandler):
    """Misbehave as the path says, as often as `server.times` says; then serve `server.content`."""

    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def do_HEAD(self):
        self.answer(200)

    def do_GET(self):
        server = self.server
        with server.lock:
            server.asked.append((self.path, self.headers.get("Range")))
            right = len(server.asked) > server.times
        route = self.path.strip("/").partition("?")[0]
        return self.right() if right or not hasattr(self, route) else getattr(self, route)()

    def do_CONNECT(self):
        """Open a tunnel, as a proxy does, always to `server.tunnel`."""
        self.server.asked.append((self.path, "CONNECT"))
        if self.server.tunnel is None:
            return self.answer(407)
        self.send_response(200)
        self.end_headers()
        with socket.create_connection(self.server.tunnel) as other:
            back = threading.Thread(target=pump, args=(other, self.connection), daemon=True)
            back.start()
            pump(self.connection, other)
            back.join(10)
        self.close_connection = True
        return None

    def answer(self, status, body=b"", length=None, **headers):
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", len(body) if length is None else length)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)
        self.close_connection |= length is not None

    def right(self):
        content, asked = self.server.content, self.headers.get("Range")
        if not asked:
            return self.answer(200, content)
        start = int(asked.removeprefix("bytes=").removesuffix("-"))
        span = f"bytes {start}-{len(content) - 1}/{len(content)}"
        return self.answer(206, content[start:], Content_Range=span) if start < len(content) else self.answer(416)

    def missing(self):
        self.answer(404)

    def unwell(self):
        self.answer(500)

    def limited(self):
        self.answer(429, **self.server.headers)

    def busy(self):
        self.answer(503, **self.server.headers)

    def closes(self):
        self.answer(200, CONTENT[:HALF], len(CONTENT))

    def closes_soon(self):
        start = int((self.headers.get("Range") or "bytes=0-").removeprefix("bytes=").removesuffix("-"))
        span = f"bytes {start}-{len(CONTENT) - 1}/{len(CONTENT)}"
        self.answer(206 if start else 200, CONTENT[start:][:40_000], len(CONTENT) - start, Content_Range=span)

    def promises_more(self):
        self.answer(200, CONTENT, len(CONTENT) + 10)

    def promises_less(self):
        self.answer(200, CONTENT, HALF)

    def promises_nonsense(self):
        self.answer(200, CONTENT, "plenty")

    def part_unasked(self):
        self.answer(206, CONTENT[5:], Content_Range=f"bytes 5-{len(CONTENT) - 1}/{len(CONTENT)}")

    def ignores_range(self):
        self.answer(200, CONTENT)

    def other_range(self):
        self.answer(206, CONTENT[9:], Content_Range=f"bytes 9-{len(CONTENT) - 1}/{len(CONTENT)}")

    def out_of_range(self):
        self.answer(416)

    def compressed(self):
        self.answer(200, gzip.compress(CONTENT), Content_Encoding="gzip")

    def compressed_part(self):
        span = f"bytes {HALF}-{len(CONTENT) - 1}/{len(CONTENT)}"
        self.answer(206, gzip.compress(CONTENT[HALF:]), Content_Encoding="gzip", Content_Range=span)

    def not_compressed(self):
        self.answer(200, CONTENT, Content_Encoding="gzip")

    def moved(self):
        self.answer(302, Location="/file")

    def moved_away(self):
        self.answer(302, Location=self.server.elsewhere)

    def moved_to_a_file(self):
        self.answer(302, Location="file:///etc/passwd")

    def in_circles(self):
        self.answer(302, Location="/in_circles")

    def login_page(self):
        self.answer(200, PAGE, Content_Type="text/html")

    def hidden_login_page(self):
        self.answer(200, gzip.compress(PAGE), Content_Encoding="gzip", Content_Type="application/zip")

    def rubbish(self):
        self.wfile.write(b"\x1b[2J\xff not HTTP \r\n\r\n")
        self.close_connection = True

    def silent(self):
        self.server.release.wait(60)
        self.close_connection = True

    def falls_silent(self):
        self.closes()
        self.server.release.wait(60)

    def trickles(self):
        self.answer(200, CONTENT[:HALF], len(CONTENT))
        for at in range(HALF, len(CONTENT)):
            if self.server.release.wait(0.01):
                break
            self.wfile.write(CONTENT[at : at + 1])


def pump(source, sink):
    """Hand on what comes until nothing more does."""
    try:
        while data := source.recv(2**16):
            sink.sendall(data)
        sink.shutdown(socket.SHUT_WR)
    except OSError:
        pass


@pytest.fixture
def start():
    """Return a function that starts a server, and stop them all at the end."""
    running = []

    def start(certificate=None):
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        server.handle_error = lambda *_: None  # clients go away here, as intended
        server.asked, server.times, server.headers, server.tunnel = [], 10**9, {}, None
        server.content, server.lock, server.release = CONTENT, threading.Lock(), threading.Event()
        if certificate:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate, certificate.with_name("key.pem"))
            server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
        server.url = f"http{'s' if certificate else ''}://127.0.0.1:{server.server_port}"
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        running.append(server)
        return server

    yield start
    for server in running:
        stop(server)


def stop(server):
    server.release.set()
    server.shutdown()
    server.server_close()


@pytest.fixture(autouse=True)
def network(monkeypatch):
    """Let connections be opened, to loopback without a proxy; wait for moments where users wait for seconds."""
    monkeypatch.setattr(download, "BACKOFF_SECONDS", 0.001)
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.delenv("GOING_MODULAR_OFFLINE", raising=False)
    download._answers.cache_clear()


@pytest.fixture
def server(start):
    return start()


class Clock:
    """Time that passes as fast as it is waited for; `waits` are the seconds of each wait that was one."""

    def __init__(self):
        self.now, self.waits = 1000.0, []

    def monotonic(self):
        return self.now

    def sleep(self, seconds):
        self.now += seconds
        if seconds:
            self.waits.append(seconds)


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(download, "time", clock)
    return clock


def fetch(urls, path, **options):
    return download.download(urls, path, **({"sha256": SHA256} | options))


def error_of(urls, path, **options):
    with pytest.raises(InputError) as caught:
        fetch(urls, path, **options)
    assert "\n" not in str(caught.value)
    assert str(caught.value).isprintable()
    assert str(caught.value).endswith("check the network, or pass a local copy")
    assert not path.exists()
    return str(caught.value)


def assert_only(path):
    assert path.read_bytes() == CONTENT
    assert [entry.name for entry in path.parent.iterdir()] == [path.name]


# a server that misbehaves


@pytest.mark.parametrize(
    ("route", "left", "ranges"),
    [
        ("closes", 0, [None, f"bytes={HALF}-"]),
        ("closes", HALF, [f"bytes={HALF}-", f"bytes={HALF}-"]),
        ("unwell", HALF, [f"bytes={HALF}-", f"bytes={HALF}-"]),
        ("promises_more", 0, [None]),
        ("promises_less", 0, [None, None]),
        ("promises_nonsense", 0, [None]),
        ("ignores_range", HALF, [f"bytes={HALF}-"]),
        ("other_range", HALF, [f"bytes={HALF}-", None]),
        ("out_of_range", HALF, [f"bytes={HALF}-", None]),
        ("compressed", 0, [None]),
        ("compressed", HALF, [f"bytes={HALF}-"]),
        ("compressed_part", HALF, [f"bytes={HALF}-", None]),
        ("not_compressed", 0, [None, None]),
        ("moved", 0, [None, None]),
        ("moved", HALF, [f"bytes={HALF}-", f"bytes={HALF}-"]),
        ("login_page", HALF, [f"bytes={HALF}-", f"bytes={HALF}-"]),
        ("hidden_login_page", HALF, [f"bytes={HALF}-", f"bytes={HALF}-"]),
        ("rubbish", HALF, [f"bytes={HALF}-", f"bytes={HALF}-"]),
        ("silent", HALF, [f"bytes={HALF}-", f"bytes={HALF}-"]),
        ("falls_silent", 0, [None, f"bytes={HALF}-"]),
    ],
)
def test_after_one_misbehaviour_the_file_comes(server, tmp_path, monkeypatch, route, left, ranges):
    monkeypatch.setattr(transfer, "SILENCE_SECONDS", 0.2)
    server.times = 1
    if left:
        (tmp_path / "file.part").write_bytes(CONTENT[:left])
    fetch(f"{server.url}/{route}", tmp_path / "file")
    assert_only(tmp_path / "file")
    assert [asked for _, asked in server.asked] == ranges


def test_a_body_that_trickles_is_a_stall_and_goes_on_where_it_stopped(server, tmp_path, monkeypatch):
    monkeypatch.setattr(transfer, "SILENCE_SECONDS", 0.1)
    monkeypatch.setattr(transfer, "SLOWEST", 10**7)  # bytes a second: what is sent at once is not enough for long
    server.times = 1
    fetch(f"{server.url}/trickles", tmp_path / "file")
    assert_only(tmp_path / "file")
    assert int(server.asked[1][1].removeprefix("bytes=").removesuffix("-")) >= HALF


@pytest.mark.parametrize(
    ("route", "asked", "reason"),
    [
        ("missing", 1, "the server answers 404 Not Found"),
        ("part_unasked", 1, "the server answers 206 Partial Content"),
        ("closes", 4, "the connection closed before all had come"),
        ("in_circles", 31, "Exceeded 30 redirects"),
        ("moved_to_a_file", 1, "No connection adapters were found for 'file:///etc/passwd'"),
        ("login_page", 4, "a web page came instead of the file, as from a network that wants you to log in first"),
        ("hidden_login_page", 4, "a web page came instead of the file"),
        ("promises_less", 2, f"expected SHA-256 {SHA256}, got "),
        ("silent", 4, "timed out: not a byte for 0.05 s"),
        ("rubbish", 4, "not HTTP"),
    ],
)
def test_a_server_that_goes_on_so_is_given_up_in_one_line(server, tmp_path, monkeypatch, route, asked, reason):
    monkeypatch.setattr(transfer, "SILENCE_SECONDS", 0.05)
    error = error_of(f"{server.url}/{route}", tmp_path / "file")
    assert error.startswith(f"Cannot download {server.url}/{route}: ")
    assert reason in error
    assert len(server.asked) == asked


def test_what_had_come_outlives_a_login_page(server, tmp_path):
    (tmp_path / "file.part").write_bytes(CONTENT[:HALF])
    error_of(f"{server.url}/login_page", tmp_path / "file")
    assert (tmp_path / "file.part").read_bytes() == CONTENT[:HALF]


def test_tries_that_bring_something_new_do_not_count(server, tmp_path, monkeypatch):
    monkeypatch.setattr(download, "PROGRESS_BYTES", 40_000)
    assert len(CONTENT) / 40_000 > download.TRIES + 1
    fetch(f"{server.url}/closes_soon", tmp_path / "file")
    assert_only(tmp_path / "file")
    assert len(server.asked) == 7


def test_another_host_is_followed_to_and_its_answer_verified(server, start, tmp_path):
    other = start()
    server.elsewhere = f"http://localhost:{other.server_port}/file"
    other.times = 0
    fetch(f"{server.url}/moved_away", tmp_path / "file")
    assert_only(tmp_path / "file")
    other.content = CONTENT[::-1]
    assert "expected SHA-256" in error_of(f"{server.url}/moved_away", tmp_path / "new")


# proxies, names and certificates


def test_a_name_that_is_not_known_is_told(tmp_path, monkeypatch):
    def unknown(*_, **__):
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)  # a real question would leave the computer
    error = error_of("http://photos.invalid/file", tmp_path / "file")
    assert "no host photos.invalid is known here" in error
    assert "no host photos.invalid is known here" in download.obstacle("http://photos.invalid/file")


def test_the_proxy_of_the_environment_is_asked(server, tmp_path, monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", server.url)
    server.times = 0
    assert download.obstacle("http://photos.invalid/file") is None
    fetch("http://photos.invalid/file", tmp_path / "file")
    assert_only(tmp_path / "file")
    assert server.asked == [("http://photos.invalid/file", None)]


@pytest.mark.parametrize(
    ("variable", "proxy", "reason"),
    [
        ("HTTP_PROXY", "http://127.0.0.1:1", r"the proxy of this network fails \(.*refused.*\); look at HTTP_PROXY"),
        ("HTTPS_PROXY", "{}", "the proxy of this network fails .*407 Proxy Authentication Required"),
        pytest.param(
            *("ALL_PROXY", "socks5h://127.0.0.1:1", r"needs a package, requests\[socks\]"),
            marks=pytest.mark.skipif(find_spec("socks") is not None, reason="the package is installed"),
        ),
    ],
)
def test_a_proxy_that_refuses_is_named(server, tmp_path, monkeypatch, variable, proxy, reason):
    monkeypatch.setenv(variable, proxy.format(server.url))
    url = f"{'https' if variable == 'HTTPS_PROXY' else 'http'}://photos.invalid/file"
    for message in (error_of(url, tmp_path / "file"), download.obstacle(url)):
        assert re.search(reason, message)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    """A certificate that nobody has signed, for loopback and for photos.invalid."""
    if shutil.which("openssl") is None:
        pytest.skip("no openssl here, which makes the certificate")
    folder = tmp_path_factory.mktemp("certificate")
    names = "subjectAltName=IP:127.0.0.1,DNS:photos.invalid"
    command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=loopback"
    files = ["-addext", names, "-keyout", str(folder / "key.pem"), "-out", str(folder / "certificate.pem")]
    subprocess.run([*command.split(), *files], check=True, capture_output=True)
    return folder / "certificate.pem"


def test_a_certificate_is_verified_against_the_bundle_of_the_environment(start, certificate, tmp_path, monkeypatch):
    server = start(certificate)
    url, path = f"{server.url}/file", tmp_path / "new" / "file"
    for message in (error_of(url, path), download.obstacle(url)):
        assert "its certificate is refused (self-signed certificate)" in message
        assert "name its file in REQUESTS_CA_BUNDLE" in message
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / "nowhere.pem"))
    for message in (error_of(url, path), download.obstacle(url)):
        assert "nowhere.pem; correct REQUESTS_CA_BUNDLE" in message
    (tmp_path / "nowhere.pem").write_text("no certificate")
    for message in (error_of(url, path), download.obstacle(url)):
        assert "REQUESTS_CA_BUNDLE" in message
    assert server.asked == []

    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate))
    assert download.obstacle(url) is None
    fetch(url, path)
    assert_only(path)


def test_a_tunnel_through_a_proxy_with_its_own_certificate(start, certificate, tmp_path, monkeypatch):
    target, proxy = start(certificate), start()
    proxy.tunnel = target.server_address
    monkeypatch.setenv("HTTPS_PROXY", proxy.url)
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate))
    target.times = 0
    fetch("https://photos.invalid/file", tmp_path / "file")
    assert_only(tmp_path / "file")
    assert proxy.asked == [("photos.invalid:443", "CONNECT")]
    assert target.asked == [("/file", None)]


def test_data_and_weights_by_name_tell_of_the_certificate(start, certificate, tmp_path, monkeypatch):
    server = start(certificate)
    monkeypatch.setattr(sources, "DATA_FOLDER", tmp_path)
    monkeypatch.setattr(sources, "EUROSAT_URLS", (f"{server.url}/a", f"{server.url}/b"))
    monkeypatch.setattr(ResNet18_Weights.DEFAULT.value, "url", f"{server.url}/resnet18-01234567.pth")
    with pytest.raises(InputError, match=r"'eurosat': .*REQUESTS_CA_BUNDLE.*use the data 'sample'"):
        sources.find("eurosat")
    with pytest.raises(InputError, match=r"REQUESTS_CA_BUNDLE.*use the model efficientnet_lite0"):
        model_builder.create_model("resnet18", 3)
    assert list(tmp_path.iterdir()) == []


def test_only_success_is_remembered():
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler, bind_and_activate=False)
    server.server_bind()  # the port is taken, but nobody listens
    url = f"http://127.0.0.1:{server.server_port}/file"
    assert download.obstacle(url).startswith(f"{url} cannot be reached (")
    server.server_activate()
    server.release = threading.Event()
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    assert download.obstacle(url) is None
    stop(server)
    assert download.obstacle(url) is None


# servers that ask to be left alone


def in_30_seconds():
    return email.utils.formatdate(time.time() + 30, usegmt=True)


@pytest.mark.parametrize(
    ("route", "header", "seconds"),
    [
        ("limited", "7", (7, 8.8)),
        ("busy", " 40 ", (40, 50)),
        ("limited", in_30_seconds, (25, 40)),
        ("busy", in_30_seconds, (25, 40)),
        ("limited", None, (transfer.LIMITED_SECONDS, 1.25 * transfer.LIMITED_SECONDS)),
        ("limited", "soon", (transfer.LIMITED_SECONDS, 1.25 * transfer.LIMITED_SECONDS)),
        ("limited", "Thu, 01 Jan 1970 00:00:00 GMT", (0, 0.01)),
        ("limited", "0", (0, 0.01)),
        ("busy", "9" * 5000, (0, 0.01)),
    ],
)
def test_retry_after_is_honoured(server, tmp_path, clock, capsys, route, header, seconds):
    value = header() if callable(header) else header
    server.headers = {} if value is None else {"Retry-After": value}
    server.times = 1
    fetch(f"{server.url}/{route}", tmp_path / "file")
    assert_only(tmp_path / "file")
    least, most = seconds
    assert len(clock.waits) == 1
    assert least <= clock.waits[0] <= most
    lines = [line for line in capsys.readouterr().err.splitlines() if "next try in" in line]
    assert len(lines) == (least > 1)
    assert all(line.startswith("127.0.0.1: the server answers ") for line in lines)
    assert not lines or ("asks to wait" in lines[0]) == (header not in (None, "soon"))


def test_a_server_that_asks_for_long_is_not_waited_for(server, tmp_path, clock):
    server.headers = {"Retry-After": "3600"}
    assert "429 Too Many Requests and asks to wait 3600 s;" in error_of(f"{server.url}/limited", tmp_path / "file")
    assert (clock.waits, len(server.asked)) == ([], 1)


@pytest.mark.parametrize("header", ["50", "1", "0"])
def test_waits_have_an_end(server, tmp_path, clock, header):
    server.headers = {"Retry-After": header}
    assert "429 Too Many Requests" in error_of(f"{server.url}/limited", tmp_path / "file")
    assert sum(clock.waits) <= download.WAITS_IN_ALL
    assert len(server.asked) == len(clock.waits) + 1


def test_backoff_grows_and_leaves_the_generator_of_training_alone(server, tmp_path, clock, monkeypatch):
    monkeypatch.setattr(download, "BACKOFF_SECONDS", 0.5)
    random.seed(1)
    before = random.getstate()
    waits = []
    for name in ("one", "two"):
        clock.waits.clear()
        error_of(f"{server.url}/unwell", tmp_path / name)
        waits.append(tuple(clock.waits))
    assert random.getstate() == before
    assert waits[0] != waits[1]  # so that a class does not come back all at once
    assert all(len(w) == 3 and 0.5 <= w[0] <= 1 <= w[1] <= 1.5 < 2 <= w[2] <= 2.5 for w in waits)


# several addresses


@pytest.mark.parametrize("route", ["missing", "limited", "busy", "unwell", "in_circles", "login_page", "rubbish"])
def test_the_second_address_is_asked_at_once(server, start, tmp_path, clock, route):
    server.headers = {"Retry-After": "50"}
    other = start()
    other.times = 0
    fetch((f"{server.url}/{route}", f"{other.url}/file"), tmp_path / "file")
    assert_only(tmp_path / "file")
    assert clock.waits == []
    assert other.asked == [("/file", None)]


@pytest.mark.parametrize("route", ["closes", "falls_silent"])
def test_the_second_address_goes_on_where_the_first_stopped(server, start, tmp_path, monkeypatch, route):
    monkeypatch.setattr(transfer, "SILENCE_SECONDS", 0.2)
    other = start()
    fetch((f"{server.url}/{route}", f"{other.url}/file"), tmp_path / "file")
    assert_only(tmp_path / "file")
    assert other.asked == [("/file", f"bytes={HALF}-")]


def test_when_every_address_fails_each_is_told(server, start, tmp_path):
    other = start()
    urls = (f"{server.url}/missing", f"{other.url}/promises_less")
    error = error_of(urls, tmp_path / "file")
    assert f"Cannot download {urls[0]}: the server answers 404 Not Found; nor {urls[1]}: expected SHA-256" in error
    assert (len(server.asked), len(other.asked)) == (1, 2)


def test_the_addresses_of_our_data():
    assert f'"{sources.EUROSAT_URLS[0]}"' in inspect.getsource(torchvision.datasets.EuroSAT)
    for urls in (sources.EUROSAT_URLS, *(urls for urls, _ in sources.DOWNLOADS.values())):
        assert all(url.startswith("https://") for url in urls)
        assert len({urlsplit(url).hostname for url in urls}) == len(urls)  # limits are a host's


# data sets: whole or not at all, once


@pytest.fixture
def eurosat(server, tmp_path, monkeypatch):
    """EuroSAT of two files, which two addresses serve."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("2750/Forest/Forest_1.jpg", os.urandom(50_000))
        archive.writestr("2750/River/River_1.jpg", os.urandom(50_000))
    server.content = packed.getvalue()
    monkeypatch.setattr(sources, "DATA_FOLDER", tmp_path / "data")
    monkeypatch.setattr(sources, "EUROSAT_URLS", (f"{server.url}/closes", f"{server.url}/EuroSAT.zip"))
    monkeypatch.setattr(sources, "EUROSAT_SHA256", hashlib.sha256(server.content).hexdigest())
    return tmp_path / "data"


def test_eurosat_has_its_classes_on_top(server, eurosat):
    server.times = 0
    assert sources.find("eurosat") == (eurosat / "eurosat", "eurosat", "satellite images")
    assert sorted(path.name for path in (eurosat / "eurosat").iterdir()) == ["Forest", "River"]
    assert [path.name for path in eurosat.iterdir()] == ["eurosat"]


def test_eurosat_goes_on_where_it_stopped(server, eurosat):
    eurosat.mkdir()
    (eurosat / "eurosat.zip.part").write_bytes(server.content[:70_000])
    server.times = 0
    sources.find("eurosat")
    assert server.asked == [("/closes", "bytes=70000-")]


def test_eurosat_does_not_wait_for_a_silent_server(server, eurosat, monkeypatch):
    monkeypatch.setattr(transfer, "SILENCE_SECONDS", 0.2)
    monkeypatch.setattr(sources, "EUROSAT_URLS", (f"{server.url}/silent", f"{server.url}/EuroSAT.zip"))
    server.times = 1
    sources.find("eurosat")
    assert server.asked == [("/silent", None), ("/EuroSAT.zip", None)]


def test_a_disk_that_cannot_hold_it_leaves_no_half_a_data_set(server, eurosat, monkeypatch):
    server.times = 0
    real = sources.zips._extract

    def fails_late(archive, folder):
        real(archive, folder)
        raise OSError(28, "No space left on device", str(folder / "2750"))

    monkeypatch.setattr(sources.zips, "_extract", fails_late)  # a disk that is full cannot be made here
    with pytest.raises(InputError, match="No space left on device"):
        sources.find("eurosat")
    assert sorted(path.name for path in eurosat.iterdir() if path.suffix != ".lock") == ["eurosat.zip"]
    monkeypatch.setattr(sources.zips, "_extract", real)
    asked = len(server.asked)
    sources.find("eurosat")
    assert [path.name for path in eurosat.iterdir()] == ["eurosat"]
    assert len(server.asked) == asked


def test_a_place_that_cannot_be_written_is_named(server, eurosat):
    eurosat.write_text("a file where the folder should be")
    with pytest.raises(InputError, match=r"cannot be written .*; make it writable, or get EuroSAT.zip"):
        sources.find("eurosat")


# a class of 30 behind one address


class FastClock:
    """A clock on which a second takes a hundredth of one."""

    def __init__(self):
        self._wait = threading.Event().wait

    def monotonic(self):
        return 100 * time.monotonic()

    def sleep(self, seconds):
        self._wait(seconds / 100)


@pytest.fixture
def limit(server, monkeypatch):
    """Return a function that lets a few requests pass in each window of 10 s, and some in all.

    The first window ends when the whole class has asked.
    """
    fast = FastClock()
    monkeypatch.setattr(download, "time", fast)

    def limit(each, in_all):
        passed = []

        def answer(handler):
            with server.lock:
                window = int(fast.monotonic() // 10) if len(server.asked) >= CLASS else 0
                passes = passed.count(window) < each and len(passed) < in_all
                passed.extend([window] * passes)
                server.asked.append((handler.path, passes))
            return handler.right() if passes else handler.answer(429, Retry_After="10")

        monkeypatch.setattr(Handler, "do_GET", answer)

    return limit


def outcome(url, path):
    try:
        return fetch(url, path).read_bytes() == CONTENT
    except InputError as error:
        return str(error)


@pytest.mark.slow
def test_a_class_behind_a_limited_address_waits_and_all_get_the_data(server, limit, tmp_path):
    limit(each=12, in_all=CLASS)
    with ThreadPoolExecutor(CLASS) as learners:
        got = list(learners.map(lambda i: outcome(f"{server.url}/file", tmp_path / str(i) / "file"), range(CLASS)))
    assert got == [True] * CLASS
    assert [passes for _, passes in server.asked[:CLASS]].count(True) == 12


@pytest.mark.slow
def test_a_class_that_is_kept_out_gets_the_sample_and_a_line(server, limit, tmp_path, monkeypatch):
    limit(each=5, in_all=5)
    monkeypatch.setattr(download, "WAITS_IN_ALL", 25.0)
    with ThreadPoolExecutor(CLASS) as learners:
        got = list(learners.map(lambda i: outcome(f"{server.url}/file", tmp_path / str(i) / "file"), range(CLASS)))
    assert got.count(True) == 5
    lines = [line for line in got if line is not True]
    assert all("429 Too Many Requests and asks to wait 10 s" in line for line in lines)

    monkeypatch.setattr(sources, "DATA_FOLDER", tmp_path / "data")
    monkeypatch.setattr(sources, "DOWNLOADS", {sources.DEFAULT: ((f"{server.url}/file",), "0" * 40)})
    folder, name, origin = sources.find(None)
    assert (folder, name) == (tmp_path / "data" / "sample", "sample")
    assert origin.startswith("the bundled sample of rendered images (the photos cannot be had: Cannot download ")
    assert "429 Too Many Requests" in origin


@pytest.mark.slow
def test_a_class_that_shares_a_folder_downloads_once(server, eurosat, capsys):
    server.times = 0
    with ThreadPoolExecutor(CLASS) as learners:
        found = set(learners.map(lambda _: sources.find("eurosat")[0], range(CLASS)))
    assert found == {eurosat / "eurosat"}
    assert sorted(path.name for path in found.pop().iterdir()) == ["Forest", "River"]
    assert len(server.asked) == 1
    assert [path.name for path in eurosat.iterdir()] == ["eurosat"]


# what somebody planted


def symlink(path, victim):
    try:
        path.symlink_to(victim)
    except OSError:
        pytest.skip("links cannot be made here")


@pytest.mark.parametrize("plant", [symlink, lambda path, victim: path.hardlink_to(victim)], ids=["symlink", "hardlink"])
@pytest.mark.parametrize("route", ["file", "closes", "promises_less"])
@pytest.mark.parametrize("name", ["file", "file.part", "file.lock"])
def test_no_link_leads_out(server, tmp_path, name, route, plant):
    victim = tmp_path / "mine"
    victim.write_bytes(CONTENT[: HALF - 7])  # as if it were half of the file
    folder = tmp_path / "data"
    folder.mkdir()
    plant(folder / name, victim)
    server.times = 1
    fetch(f"{server.url}/{route}", folder / "file")
    assert victim.read_bytes() == CONTENT[: HALF - 7]
    assert (folder / "file").read_bytes() == CONTENT
    assert not (folder / "file").is_symlink()
    assert server.asked[0] == (f"/{route}", None)


def test_a_link_that_appears_between_two_looks_is_not_followed(server, tmp_path, monkeypatch):
    if not hasattr(os, "O_NOFOLLOW"):
        pytest.skip("this system cannot open a file without following links")
    victim, part = tmp_path / "mine", tmp_path / "data" / "file.part"
    part.parent.mkdir()
    victim.write_bytes(b"mine")
    part.symlink_to(victim)
    monkeypatch.setattr(transfer, "left", lambda _: HALF)  # what it found a moment ago
    with pytest.raises(InputError, match="Cannot write"):
        fetch(f"{server.url}/file", tmp_path / "data" / "file")
    assert victim.read_bytes() == b"mine"


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no named pipes here")
def test_a_pipe_does_not_hang(server, tmp_path):
    os.mkfifo(tmp_path / "file.part")
    os.mkfifo(tmp_path / "file")
    server.times = 0
    fetch(f"{server.url}/file", tmp_path / "file")
    assert_only(tmp_path / "file")
