"""Commands write, remove and rename nothing outside the folders that are named for it, whatever they are handed.

Each command runs in a process of its own, which `audited.py` watches by audit hooks; and what lies outside is compared
before and after, since extension modules are not seen by these.
"""

import hashlib
import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import torch
from commands import HANGS, LITE0, isolation, messages, write_classes, write_image

WATCH = Path(__file__).with_name("audited.py")
RECIPE = ("--recipe", "head", "--epochs", 1, "--batch-size", 8, *LITE0)
PROGRAMS = {"fc-list", "ldconfig", "gcc", "cc", "ld", "objdump"}  # that find fonts and libraries

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="open folders are resolved by Linux's /proc")


class Place:
    """Folders for a test: `work` to run in, `outside` that nothing may touch, and those that commands may write to."""

    def __init__(self, folder: Path) -> None:
        self.work, self.outside, self.log = folder / "work", folder / "outside", folder / "log"
        self.own = [folder / "home/cache", folder / "home/torch", folder / "home/mpl", folder / "tmp"]
        for made in (self.work, self.outside, folder / "tmp"):
            made.mkdir()
        # without the place of a cache that torch notes down where something was compiled in the tests' own process
        left_out = ("PROXY", "TORCHINDUCTOR")
        kept = [name for name in os.environ if not any(part in name.upper() for part in left_out)]
        self.environment = {name: os.environ[name] for name in kept}
        self.environment |= isolation(folder / "home") | {
            "HOME": str(folder / "home"),
            "MPLCONFIGDIR": str(folder / "home/mpl"),
            "TMPDIR": str(folder / "tmp"),
            "PYTHONDONTWRITEBYTECODE": "1",
        }

    def link(self, path: str, target: str) -> None:
        """Plant a link in `work` to what lies `outside`."""
        (self.work / path).parent.mkdir(parents=True, exist_ok=True)
        (self.work / path).symlink_to(self.outside / target)

    def victim(self, *names: str) -> None:
        """Write files outside, a folder for each name that ends in a slash."""
        for name in names:
            path = self.outside / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.mkdir() if name.endswith("/") else path.write_text(f"mine: {name}")

    def run(self, *steps: tuple, outputs: tuple[str, ...] = ()) -> list[int]:
        """Run commands one after another; return their exit statuses after checking what they touched.

        Args:
            steps: script and arguments.
            outputs: folders in `work` that may be written.
        """
        self.log.unlink(missing_ok=True)
        before = {root: snapshot(root) for root in (self.outside, *self.unwritten(outputs))}
        done = self.start(*steps)
        assert done.returncode == 0, done.stderr[-3000:]
        self.told = messages(done.stderr)
        assert self.violations([*self.own, *(self.work / name for name in outputs)]) == [], self.told
        assert {root: snapshot(root) for root in before} == before
        assert "Traceback" not in done.stderr, done.stderr[-3000:]
        return [int(line) for line in done.stdout.splitlines() if line.isdigit()]

    def start(self, *steps: tuple) -> subprocess.CompletedProcess:
        """Run commands, or code, under the watch."""
        listed = [[script, [str(argument) for argument in arguments]] for script, *arguments in steps]
        return subprocess.run(
            [sys.executable, str(WATCH), str(self.log)],
            input=json.dumps(listed),
            cwd=self.work,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=5 * HANGS,
            check=False,
        )

    def unwritten(self, outputs: tuple[str, ...]) -> list[Path]:
        """Return what lies in `work` before a run and is not to be written."""
        named = {Path(name).parts[0] for name in outputs}
        return [path for path in self.work.iterdir() if path.name not in named]

    def violations(self, allowed: list[Path]) -> list:
        """Return the events in the log that are about anything but allowed folders."""
        allowed = [Path(os.path.realpath(path)) for path in allowed]
        events = [json.loads(line) for line in self.log.read_text().splitlines()]
        return [event for event in events if not self.is_allowed(*event[1:], allowed)]

    def is_allowed(self, event: str, place: str, allowed: list[Path]) -> bool:
        if event == "socket.connect":
            return not place.startswith("(")  # pairs are addresses on a network
        if event in ("subprocess.Popen", "os.system", "os.exec", "os.posix_spawn"):
            return Path(place).name in PROGRAMS
        path = Path(place)
        if path.is_relative_to(self.work) and path.relative_to(self.work).parts[:1][0].startswith(".probe-"):
            return True  # whether a folder can be made is tried under such a name, beside it
        if event in ("os.mkdir", "os.chmod") and path in [parent for folder in allowed for parent in folder.parents]:
            return True  # a folder is made with those above it
        return path.is_relative_to("/dev") or any(path.is_relative_to(folder) for folder in allowed)


def snapshot(root: Path) -> dict:
    """Return what can be told of a file, or a folder and all in it."""
    states = {}
    for path in (root, *sorted(root.rglob("*"))):
        status = path.lstat()
        content = hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() and not path.is_symlink() else None
        states[str(path)] = (status.st_mode, status.st_ino, status.st_mtime_ns, status.st_size, content)
    return states


@pytest.fixture
def place(tmp_path):
    return Place(tmp_path)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A place with class folders, `pets`, and the run of fine_tune.py on them, `run`."""
    place = Place(tmp_path_factory.mktemp("finished"))
    write_classes(place.work, "pets", images=10)
    assert place.run(("fine_tune.py", "--data", "pets", "--output", "run", *RECIPE), outputs=("run",)) == [0]
    return place.work


@pytest.fixture
def run(place, finished):
    """That run and its class folders, copied here."""
    shutil.copytree(finished / "pets", place.work / "pets")
    return shutil.copytree(finished / "run", place.work / "run")


# what the watch sees


PLANTED = {
    "a file written": "open(there + '/new', 'w')",
    "a file added to": "open(there + '/file', 'a')",
    "a file written by its number": "import os; os.open(there + '/file', os.O_RDWR)",
    "a file written through a link": "open('link', 'w')",
    "a file in a linked folder": "open('linked/new', 'x')",
    "a file removed": "import os; os.remove(there + '/file')",
    "a file removed in a linked folder": "import pathlib; pathlib.Path('linked/file').unlink()",
    "a tree removed": "import shutil; shutil.rmtree(there + '/tree')",
    "a file moved away": "import os; os.rename(there + '/file', 'here')",
    "a file moved there": "import os; open('here', 'w'); os.replace('here', there + '/file')",
    "a folder made": "import os; os.mkdir('linked/new')",
    "a link made": "import os; os.symlink('x', there + '/new')",
    "a hard link made": "import os; os.link(there + '/file', there + '/new')",
    "rights changed": "import os; os.chmod('link', 0o600)",
    "a time changed": "import os; os.utime('link')",
    "a file cut": "import os; os.truncate('link', 0)",
    "a program": "import subprocess; subprocess.run(['true'])",
    "a connection": "import socket; s = socket.socket(); s.settimeout(1); s.connect_ex(('127.0.0.1', 9))",
    "a file written by a child": "import os\nif os.fork(): os.wait()\nelse: open('link', 'w')",
}


@pytest.mark.parametrize("kind", PLANTED)
def test_a_planted_violation_is_seen(place, kind):
    place.victim("file", "tree/file")
    place.link("link", "file")
    place.link("linked", "")
    done = place.start(("-c", f"there = {str(place.outside)!r}\n{PLANTED[kind]}"))
    assert done.returncode == 0, done.stderr
    assert place.violations([place.work])


def test_what_is_allowed_is_no_violation(place):
    place.victim("file")
    place.link("out/link", "file")
    code = (
        "import os, pathlib, tempfile, shutil\n"
        "pathlib.Path('out/new').write_text('x'); os.replace('out/new', 'out/link'); os.remove('out/link')\n"
        f"open({str(place.outside / 'file')!r}).read(); shutil.rmtree(tempfile.mkdtemp())"
    )
    place.run(("-c", code), outputs=("out",))
    assert "os.remove" in place.log.read_text()


def test_a_change_that_no_hook_sees_is_seen_by_comparison(place):
    place.victim("file")
    code = f"import ctypes; ctypes.CDLL(None).unlink({str(place.outside / 'file')!r}.encode())"
    with pytest.raises(AssertionError, match="outside"):
        place.run(("-c", code))
    assert place.violations([]) == []


# sound input


@pytest.mark.slow
def test_sound_input(place, run):
    (run / "metrics.json").unlink()  # as if it had been killed
    shutil.make_archive(str(place.work / "zipped"), "zip", place.work / "pets")
    statuses = place.run(
        ("train.py", "--data", "zipped.zip", "--output", "out", "--epochs", 1, *LITE0),
        ("train.py", "--data", "pets", "--epochs", 1, "--augment", *LITE0),
        ("fine_tune.py", "--resume", "run"),
        ("evaluate.py", "--data", "pets", "--checkpoint", "out/model.safetensors"),
        ("predict.py", "pets", "--checkpoint", "run/model.safetensors", "--plot", "drawn/plot.png"),
        outputs=("out", "runs", "run", "drawn"),
    )
    assert statuses == [0] * 5


# hostile input


@pytest.mark.slow
def test_zips_that_climb_or_link(place):
    place.victim("victim.jpg")
    for name, member in (("climbing", "../../../outside/victim.jpg"), ("absolute", str(place.outside / "victim.jpg"))):
        with zipfile.ZipFile(place.work / f"{name}.zip", "w") as packed:
            packed.writestr("a/1.jpg", b"")
            packed.writestr(member, b"theirs")
    with zipfile.ZipFile(place.work / "linking.zip", "w") as packed:
        link = zipfile.ZipInfo("a/link")
        link.create_system, link.external_attr = 3, 0o120777 << 16
        packed.writestr(link, str(place.outside))
        packed.writestr("a/link/victim.jpg", b"theirs")
    zips = [f"{name}.zip" for name in ("climbing", "absolute", "linking")]
    statuses = place.run(
        *(("train.py", "--data", name, *LITE0) for name in zips),
        *(("fine_tune.py", "--data", name, *RECIPE) for name in zips),
    )
    assert statuses == [2] * 6


@pytest.mark.slow
def test_class_folders_with_links_outwards(place):
    write_classes(place.work, "pets", images=10)
    write_classes(place.outside, "theirs", images=2)
    place.link("pets/cat/more", "theirs/cat")
    place.link("pets/dog/one.png", "theirs/dog/0.png")
    place.link("pets/dog/nowhere.png", "nothing.png")
    (place.work / "pets/dog/nowhere.png").unlink()
    statuses = place.run(
        ("train.py", "--data", "pets", "--output", "out", "--epochs", 1, *LITE0),
        ("evaluate.py", "--data", "pets", "--checkpoint", "out/model.safetensors", "--split", "all"),
        ("predict.py", "pets", "--checkpoint", "out/model.safetensors"),
        outputs=("out",),
    )
    assert statuses == [0] * 3


def plant(place: Place, output: str) -> None:
    """Put links to files outside under every name that a run's folder has, and under usual temporary names."""
    names = ("model.safetensors", "metrics.json", "settings.json", "predictions.png", "loss_curves.png")
    names += ("confusion_matrix.png", "report.html", "data.json", "split.json")
    for name in names:
        place.victim(name)
        for planted in (name, f"{name}.part", f".{name}.tmp"):
            path = place.work / output / planted
            if not path.exists():
                place.link(f"{output}/{planted}", name)


@pytest.mark.slow
def test_files_of_an_output_folder_that_are_links(place, run):
    for output in ("out", "tuned", "report", "drawn"):
        plant(place, output)
    checkpoint = ("--checkpoint", run / "model.safetensors")
    statuses = place.run(
        ("train.py", "--data", "pets", "--output", "out", "--epochs", 1, *LITE0),
        ("fine_tune.py", "--data", "pets", "--output", "tuned", *RECIPE),
        ("evaluate.py", "--data", "pets", *checkpoint, "--output", "report"),
        ("predict.py", "pets", *checkpoint, "--plot", "drawn/predictions.png"),
        outputs=("out", "tuned", "report", "drawn"),
    )
    assert statuses == [2, 2, 0, 0]
    assert not (place.work / "report/report.html").is_symlink()
    assert not (place.work / "drawn/predictions.png").is_symlink()


FOLDERS = {
    "tensorboard": ("head/events.out.tfevents.1", "head/hparams.yaml", "results/events.out.tfevents.2"),
    "tensorboard/head": ("events.out.tfevents.1", "hparams.yaml"),
    "checkpoints": ("head/last.ckpt", "head/best.ckpt"),
    "checkpoints/head": ("last.ckpt", "best.ckpt"),
    "evaluation": ("report.html", "report.json", "roc.png"),
}


@pytest.mark.slow
def test_folders_of_an_output_folder_that_are_links(place):
    write_classes(place.work, "pets", images=10)
    outputs = []
    for i, (folder, names) in enumerate(FOLDERS.items()):
        place.victim(*(f"{i}/{name}" for name in names))
        outputs.append(f"out{i}")
        place.link(f"out{i}/{folder}", str(i))
    statuses = place.run(
        *(("train.py", "--data", "pets", "--output", output, "--epochs", 1, *LITE0) for output in outputs),
        *(("fine_tune.py", "--data", "pets", "--output", output, *RECIPE) for output in outputs),
        outputs=tuple(outputs),
    )
    assert statuses == [2] * 10
    assert [
        line for line in place.told if "is a link, and what is written there would land elsewhere" not in line
    ] == []


@pytest.mark.slow
def test_a_run_folder_from_a_stranger(place, run):
    outputs = []
    for i, (folder, names) in enumerate(FOLDERS.items()):
        output = shutil.copytree(run, place.work / f"theirs{i}")
        (output / "metrics.json").unlink()  # unfinished: there is something to go on with
        place.victim(*(f"{i}/{name}" for name in names))
        shutil.rmtree(output / folder, ignore_errors=True)
        place.link(f"theirs{i}/{folder}", str(i))
        plant(place, output.name)
        (output / "metrics.json").unlink()  # whose run is finished is not gone on with
        outputs.append(output.name)
    single = shutil.copytree(run, place.work / "single")
    (single / "metrics.json").unlink()
    place.victim("hparams.yaml", "last.ckpt")
    for name, victim in (
        ("tensorboard/head/hparams.yaml", "hparams.yaml"),
        ("checkpoints/head/last.ckpt", "last.ckpt"),
    ):
        (single / name).unlink(missing_ok=True)
        place.link(f"single/{name}", victim)
    statuses = place.run(
        *(("fine_tune.py", "--resume", output) for output in (*outputs, "single")),
        ("evaluate.py", "--data", "pets", "--checkpoint", "theirs0/model.safetensors"),
        ("evaluate.py", "--data", "pets", "--checkpoint", f"{outputs[-1]}/model.safetensors"),
        outputs=(*outputs, "single"),
    )
    assert statuses == [2] * 6 + [0, 2]


@pytest.mark.slow
def test_checkpoints_and_settings_that_name_paths(place, run):
    place.victim("precious/file", "file")
    state = torch.load(run / "checkpoints/head/last.ckpt", weights_only=True)
    outputs = []
    for i, path in enumerate(
        (f"{run}/../../outside/precious", f"local://{place.outside}/precious", "../../outside/file")
    ):
        output = shutil.copytree(run, place.work / f"theirs{i}")
        (output / "metrics.json").unlink()
        callbacks = {name: dict.fromkeys(values, path) for name, values in (state.get("callbacks") or {}).items()}
        callbacks["ModelCheckpoint"] = {"best_model_path": path, "last_model_path": path, "dirpath": path}
        torch.save(state | {"callbacks": callbacks, "best": path}, output / "checkpoints/head/last.ckpt")
        outputs.append(output.name)
    settings = json.loads((run / "settings.json").read_text())
    for i, changed in enumerate(
        ({"output": str(place.outside)}, {"data": str(place.outside)}, {"weights": str(place.outside / "file")})
    ):
        output = shutil.copytree(run, place.work / f"named{i}")
        (output / "metrics.json").unlink()
        (output / "settings.json").write_text(json.dumps(settings | changed))
        outputs.append(output.name)
    statuses = place.run(*(("fine_tune.py", "--resume", output) for output in outputs), outputs=tuple(outputs))
    assert set(statuses) <= {0, 2}
    assert statuses[-3:] == [2] * 3


@pytest.mark.slow
def test_a_cache_from_a_stranger(place):
    write_classes(place.work, "pets", images=10)
    place.victim("features/a.safetensors", "large_image.lock", "datasets/file", "fingerprints/file")
    cache = Path(place.environment["GOING_MODULAR_CACHE"])
    cache.mkdir(parents=True)
    cache.chmod(0o777)
    for name in ("features", "datasets", "fingerprints", "large_image.lock"):
        (cache / name).symlink_to(place.outside / name)
    shutil.make_archive(str(place.work / "zipped"), "zip", place.work / "pets")
    write_image(place.work, "large.png", size=(8200, 8200))
    statuses = place.run(
        ("train.py", "--data", "zipped.zip", "--output", "out", "--epochs", 1, *LITE0),
        ("evaluate.py", "--checkpoint", "out/model.safetensors"),
        ("predict.py", "large.png", "--checkpoint", "out/model.safetensors"),
        outputs=("out",),
    )
    assert statuses == [0] * 3
