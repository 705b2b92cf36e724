"""Whatever is handed over, a command succeeds or ends in one line: checkpoints, settings, zips, run folders, mutated.

Nothing outside the output folder changes, and 2 GB of memory are enough. In a usual run all four take a minute at most,
and try the same cases each time. By hand, `GOING_MODULAR_FUZZ_SECONDS=3600 python -m pytest -n 0 tests/test_fuzz.py`
tries new cases for as many seconds, shared by the four; Hypothesis keeps what fails in .hypothesis/.
"""

import contextlib
import copy
import io
import json
import os
import shutil
import struct
import tempfile
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from commands import LITE0, succeed, write_classes, write_image
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from limited import ended_well, memory, snapshot

from going_modular import model_builder
from going_modular.common.errors import InputError
from going_modular.data import zips
from going_modular.saving import checkpoint

pytestmark = pytest.mark.slow

SECONDS = float(os.environ.get("GOING_MODULAR_FUZZ_SECONDS", 0))
USUAL_SECONDS, PARTS = 48, 4
GIB = 2**30
KEPT = "kept.txt"  # in a folder beside, which paths in the mutated files name
PLACES = [
    "../beside",
    "../beside/kept.txt",
    "/dev/zero",
    "/dev/null/x",
    "..",
    ".",
    "~",
    "beside\\kept.txt",
    "IMAGENET1K_V1",
]

texts = st.one_of(
    st.sampled_from(
        [*PLACES, "", "\0", "\x1b[2J", "\u202etxt", "\ud800", "a\nb", "x" * 5000, "none", "NaN", "{path!r}", "%s"]
    ),
    st.text(max_size=20),
)
numbers = st.one_of(
    st.integers(-3, 300),
    st.sampled_from([2**31, 2**63, -(2**63), 10**30, 10**500, 2**16, 10**9]),
    st.floats(allow_nan=True, allow_infinity=True),
)
plain = st.one_of(st.none(), st.booleans(), numbers, texts)
values = st.recursive(plain, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3))


class TimeIsUp(BaseException):
    """Ends a search; Hypothesis lets it through."""


def search(examples: int, *strategies: st.SearchStrategy) -> Callable:
    """Try a test on what strategies make, with 2 GB of memory: `examples` times, or by hand for a part of SECONDS."""

    def decorate(test: Callable) -> Callable:
        def wrapped(tmp_path: Path, request: pytest.FixtureRequest) -> None:
            end = time.monotonic() + (SECONDS or USUAL_SECONDS) / PARTS
            base, has_failed = request.getfixturevalue(test.__name__.removeprefix("test_")), []

            @settings(
                max_examples=10**6 if SECONDS else examples,
                deadline=None,
                derandomize=not SECONDS,
                suppress_health_check=list(HealthCheck),
            )
            @given(st.tuples(*strategies))
            def attempt(drawn: tuple) -> None:
                if time.monotonic() > end and not has_failed:
                    raise TimeIsUp
                try:
                    with apart(tmp_path), memory(2 * GIB):
                        test(base, *drawn)
                except Exception:
                    has_failed.append(True)  # now the smallest case is looked for
                    raise

            with contextlib.suppress(TimeIsUp):
                attempt()

        wrapped.__name__, wrapped.__doc__ = test.__name__, test.__doc__
        return wrapped

    return decorate


@contextlib.contextmanager
def apart(tmp_path: Path) -> Iterator[None]:
    """Work in a new folder whose neighbours must stay as they are."""
    before = Path.cwd()
    with tempfile.TemporaryDirectory(dir=tmp_path) as place:
        work, beside = Path(place, "work"), Path(place, "beside")
        work.mkdir()
        (beside / "inner").mkdir(parents=True)
        (beside / KEPT).write_text("kept")
        there = snapshot(beside)
        os.chdir(work)
        try:
            yield
        finally:
            os.chdir(before)
        assert snapshot(beside) == there, "something outside has changed"
        assert names_in(place) == ["beside", "work"], "something outside was written"


def names_in(folder: str | Path) -> list[str]:
    return sorted(path.name for path in Path(folder).iterdir())


def paths_in(value: object, here: tuple = ()) -> list[tuple]:
    """Return the way to every value in dicts and lists, the whole first."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [here, *(path for key, item in inner for path in paths_in(item, (*here, key)))]


def changed(value: object, which: float, new: object, *, removes: bool = False) -> object:
    """Return a copy of dicts and lists with one value in it, the `which`-th part of the way through, replaced."""
    value = copy.deepcopy(value)
    paths = paths_in(value)
    *way, last = paths[min(int(which * len(paths)), len(paths) - 1)] or (None,)
    if last is None:
        return new
    place = value
    for key in way:
        place = place[key]
    if removes:
        del place[last]
    else:
        place[last] = new
    return value


def mangled(content: bytes, changes: list[tuple[float, int, bytes]]) -> bytes:
    """Return bytes with some of them, at parts of the way through, replaced, cut out or inserted before."""
    for where, cut, new in changes:
        at = int(where * len(content))
        content = content[:at] + new + content[at + cut :]
    return content


part = st.floats(0, 1, exclude_max=True)
changes = st.lists(st.tuples(part, st.sampled_from([0, 1, 1, 4, 100]), st.binary(max_size=8)), min_size=1, max_size=3)


@pytest.fixture(scope="module")
def handed(tmp_path_factory) -> Path:
    """Return a folder with an image, class folders, a checkpoint of a head, and a run that has an epoch to go."""
    place = tmp_path_factory.mktemp("handed")
    write_image(place, "photo.png")
    write_classes(place, "data", images=12)
    model, _ = model_builder.create_model("efficientnet_lite0", 2)
    checkpoint.save(place / "x", model, model_name="efficientnet_lite0", weights="DEFAULT", class_names=["cat", "dog"])
    arguments = ("--data", place / "data", *LITE0, "--recipe", "head", "--batch-size", 6, "--precision", "fp32")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GOING_MODULAR_OFFLINE", "1")
        succeed("fine_tune.py", *arguments, "--epochs", 2, "--output", place / "run")
    (place / "run/metrics.json").unlink()
    written = json.loads((place / "run/settings.json").read_text()) | {"epochs": 3}
    (place / "run/settings.json").write_text(json.dumps(written))
    return place


# checkpoints


@pytest.fixture
def any_checkpoint(handed):
    return handed


def packed(header: object, data: bytes) -> bytes:
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


@search(120, st.sampled_from(["description", "header", "bytes", "text"]), part, values, st.booleans(), changes)
def test_any_checkpoint(handed, kind, which, new, removes, mangling):
    content = (handed / "x").read_bytes()
    end = 8 + int.from_bytes(content[:8], "little")
    header = json.loads(content[8:end])
    if kind == "bytes":
        content = mangled(content[:end], mangling) + content[end:]
    elif kind == "header":
        content = packed(changed(header, which, new, removes=removes), content[end:])
    else:
        described = json.loads(header["__metadata__"][checkpoint.FORMAT])
        text = json.dumps(changed(described, which, new, removes=removes))
        if kind == "text":
            text = mangled(text.encode(), mangling).decode("utf-8", "replace")
        header["__metadata__"][checkpoint.FORMAT] = text
        content = packed(header, content[end:])
    Path("x").write_bytes(content)
    ended_well("predict.py", handed / "photo.png", "--checkpoint", "x", *(["--json"] if removes else []))
    assert names_in(".") == ["x"]


# settings


@pytest.fixture
def any_settings(handed):
    return json.loads((handed / "run/settings.json").read_text())


PARTS_OF_YAML = (
    "epochs model lr : - [ ] { } &a *a !!int !x << | > ? %YAML --- ... \" ' 1e999 0x1F 1:30 .nan 2020-01-01 ~"
)
yaml_parts = st.sampled_from([*PARTS_OF_YAML.split(), " ", "\n", "\t", ": "])
yaml_text = st.lists(yaml_parts | texts, max_size=12).map("".join)


@search(150, part, values, st.booleans(), yaml_text, changes)
def test_any_settings(sound, which, new, is_json, text, mangling):
    if is_json:
        content = json.dumps(changed(sound, which, new)).encode()
        content = mangled(content, mangling) if text else content
    else:
        content = text.encode("utf-8", "surrogatepass")
    Path("settings.yaml").write_bytes(content)
    # no data of that name: it is refused at the latest then, and nothing is trained
    ended_well("fine_tune.py", "--config", "settings.yaml", "--data", "nowhere", *LITE0, "--output", "out")
    assert names_in(".") == ["settings.yaml"]


# zips


@pytest.fixture
def any_zip():
    return None


names = st.one_of(
    st.sampled_from(
        ["../beside/kept.txt", "/tmp/x", "a/../../beside/x", "..\\beside\\x", "C:\\x", "a", "a/", "a/b", "A/b"]
    ),
    st.lists(st.sampled_from(["a", "..", ".", "", "b", "con", "x" * 300]), max_size=4).map("/".join),
    texts,
)
members = st.lists(
    st.tuples(names, st.binary(max_size=30), st.sampled_from([0, 0o120777, 0o010644, 0o40755]), st.booleans()),
    max_size=5,
)


@search(300, members, changes, st.booleans())
@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_any_zip(nothing, members, mangling, mangles):
    with zipfile.ZipFile("x.zip", "w") as archive:
        for name, content, mode, is_packed in members:
            member = zipfile.ZipInfo()
            member.filename = name.replace("\ud800", "?")
            member.external_attr = mode << 16
            member.compress_type = zipfile.ZIP_DEFLATED if is_packed else zipfile.ZIP_STORED
            archive.writestr(member, content)
    if mangles:
        Path("x.zip").write_bytes(mangled(Path("x.zip").read_bytes(), mangling))
    with contextlib.suppress(InputError):
        zips.unpack("x.zip", "unpacked")
    assert set(names_in(".")) <= {"x.zip", "unpacked"}
    assert not any(path.is_symlink() for path in Path("unpacked").rglob("*"))


# folders of runs


@pytest.fixture
def any_run(handed):
    return handed


KINDS = ["leaf", "leaf", "leaf", "bytes", "folder", "pipe", "link", "gone", "settings", "images"]


@search(
    30, st.sampled_from(KINDS), st.integers(0, 5), part, values | st.builds(torch.zeros, st.integers(0, 3)), changes
)
def test_any_run(handed, kind, file, which, new, mangling):
    shutil.copytree(handed / "run", "run")
    files = sorted(path for path in Path("run").rglob("*") if path.is_file())
    path = files[file % len(files)]
    if kind == "leaf":
        for stage in Path("run/checkpoints/head").glob("*.ckpt"):  # both, else the other is used
            content = changed(torch.load(stage, weights_only=True), which, new)
            with contextlib.suppress(Exception):  # a value that torch cannot write
                torch.save(content, buffer := io.BytesIO())
                stage.write_bytes(buffer.getvalue())
    elif kind in ("settings", "images"):
        path = Path("run/settings.json" if kind == "settings" else "run/checkpoints/images.json")
        new = None if isinstance(new, torch.Tensor) else new
        content = changed(json.loads(path.read_text()), which, new)
        if isinstance(content, dict) and isinstance(content.get("epochs"), int):
            content["epochs"] = min(content["epochs"], 3)  # more only take time
        path.write_text(json.dumps(content))
    elif kind == "bytes":
        path.write_bytes(mangled(path.read_bytes(), mangling))
    else:
        path.unlink()
        if kind == "folder":
            path.mkdir()
        elif kind == "link":
            path.symlink_to(Path("../beside", "kept.txt" if file % 2 else "new.txt").resolve())
        elif kind == "pipe" and hasattr(os, "mkfifo"):
            os.mkfifo(path)
    ended_well("fine_tune.py", "--resume", "run")
    assert names_in(".") == ["run"]
