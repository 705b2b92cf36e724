"""What differs between systems, and shall not show: starting processes, names and their order, encodings, signals.

Windows and macOS are simulated here, by what they would answer; the README says what was run where.
"""

import ast
import io
import json
import math
import multiprocessing
import os
import runpy
import stat
import sys
import unicodedata
from pathlib import Path, PurePath, PurePosixPath, PureWindowsPath
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import torch.distributed as dist
from commands import LITE0, PACKAGE, refusal, succeed, write_image
from safetensors import safe_open
from test_launch import ALLOCATION, set_variables

from going_modular import data_setup, features, model_builder, predict
from going_modular.common import device, files
from going_modular.common.errors import InputError
from going_modular.data import own_split, provenance, splits, walk
from going_modular.data.image_folder import ImageFolder, notes_of
from going_modular.fine_tuning import fingerprint, job, launch, lightning_parts
from going_modular.fine_tuning.settings import Settings
from going_modular.models import pretrained
from going_modular.saving import checkpoint, run_folder

CAFE = "caf\N{LATIN SMALL LETTER E WITH ACUTE}"  # one character more than letters on old Macs
APART = unicodedata.normalize("NFD", CAFE)
LOWEST = SimpleNamespace(**runpy.run_path(str(PACKAGE.parent / "tools" / "lowest_versions.py")))


@pytest.fixture(autouse=True)
def inside(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def strict(text: str | bytes) -> object:
    """Parse JSON as the standard has it, without NaN and infinities."""

    def refuse(name: str) -> None:
        raise ValueError(name)

    return json.loads(text, parse_constant=refuse)


# how processes are started


@pytest.fixture
def spawned(monkeypatch):
    """Start processes as Windows and macOS do, two that read where none is asked for."""
    before = multiprocessing.get_start_method(allow_none=True)
    multiprocessing.set_start_method("spawn", force=True)
    monkeypatch.setattr(features, "default_num_workers", lambda: 2)
    for module in (data_setup, lightning_parts):
        monkeypatch.setattr(module, "reading_workers", lambda: 2)
    yield
    multiprocessing.set_start_method(before, force=True)


def test_the_suite_runs_with_the_start_method_that_was_asked_for(request):
    wanted = request.config.getoption("--start-method")
    assert wanted is None or multiprocessing.get_start_method(allow_none=True) == wanted


@pytest.mark.parametrize(("methods", "workers"), [(["fork", "spawn"], 3), (["spawn", "fork"], 0), (["spawn"], 0)])
def test_how_many_read_is_asked_without_settling_the_start_method(monkeypatch, methods, workers):
    asked = []
    monkeypatch.setattr(multiprocessing, "get_start_method", lambda allow_none=False: asked.append(allow_none))
    monkeypatch.setattr(multiprocessing, "get_all_start_methods", lambda: methods)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1, 2}, raising=False)
    assert device.default_num_workers() == workers
    assert asked == [True]


@pytest.mark.parametrize(("cores", "accelerator", "workers"), [
    (1, False, 0), (2, False, 0), (3, False, 3), (2, True, 2), (64, False, 8),
])  # fmt: skip
def test_nobody_reads_for_one_or_two_cores_that_compute(monkeypatch, cores, accelerator, workers):
    monkeypatch.setattr(multiprocessing, "get_start_method", lambda allow_none: "fork")
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(cores)), raising=False)
    monkeypatch.setattr(torch.accelerator, "is_available", lambda: accelerator)
    assert device.reading_workers() == workers


@pytest.mark.slow
def test_features_are_the_same_from_spawned_processes(make_classes, spawned):
    model, transform = model_builder.create_model("efficientnet_lite0", 2)
    dataset = ImageFolder(make_classes("data"), transform)
    extracted = [features.extract(model, dataset, cache=False, num_workers=workers).tensors for workers in (0, 2)]
    assert torch.equal(extracted[0][0], extracted[1][0])
    assert extracted[0][1].tolist() == extracted[1][1].tolist()


@pytest.mark.slow
@pytest.mark.parametrize(("script", "flags"), [
    ("train.py", ("--augment", "--epochs", 1)),
    ("fine_tune.py", ("--recipe", "last-1", "--epochs", 1, "--batch-size", 6)),
])  # fmt: skip
def test_spawned_processes_read_for_training(make_classes, spawned, script, flags):
    succeed(script, "--data", make_classes("data", images=8), *LITE0, "--output", "run", *flags)
    assert strict(Path("run/metrics.json").read_bytes())["epochs"] == 1


# names and their order


def in_order(system: type[PurePath], root: str, names: list[str]) -> list[str]:
    """Return names in the order of a data set on a system."""
    paths = [system(root, *name.split("/")) for name in names]
    labels = {walk.canonical(name.partition("/")[0]): 0 for name in names}
    rows = ImageFolder.make_dataset(SimpleNamespace(_images=paths), root, labels)
    return [system(path).relative_to(root).as_posix() for path, _ in rows]


def test_images_have_one_order_on_every_system():
    names = ["b/1.png", "B/2.png", "a/x y/3.png", "a/x/y/4.png", "a/xY/5.png", "a/x.y/6.png", "a/X/7.png", "a/8.png"]
    here = in_order(PurePosixPath, "/data", names)
    assert here == in_order(PureWindowsPath, r"C:\data", names[::-1])
    assert here[0] == "B/2.png"  # by code points
    windows = sorted(map(PureWindowsPath, names), key=walk.order)
    assert [path.as_posix() for path in windows] == [str(path) for path in sorted(map(PurePosixPath, names))]


def test_accents_taken_apart_change_no_order():
    names = [f"a/{letter}.png" for letter in ("f", "e", CAFE, "cafz", "caff")]
    here = in_order(PurePosixPath, "/data", names)
    mac = in_order(PurePosixPath, "/data", [unicodedata.normalize("NFD", name) for name in names])
    assert [walk.canonical(name) for name in mac] == here


def test_folders_are_sorted_by_code_points(tmp_path):
    for name in ("b", "C", "a", APART, "cafz", "caff"):
        (tmp_path / "data" / name).mkdir(parents=True)
    found = [path.name for path in walk.visible_folders(tmp_path / "data")]
    assert found == ["C", "a", "b", "caff", "cafz", APART]


def test_a_class_whose_name_is_written_in_two_ways_is_one(make_classes):
    data = make_classes("data", (CAFE, "tea"))
    for i in range(3):
        write_image(data, f"{APART}/apart{i}.png", seed=50 + i)
    dataset = ImageFolder(data)
    assert dataset.classes == [CAFE, "tea"]
    assert np.bincount(dataset.targets).tolist() == [9, 6]
    for names in (["tea", APART], ["tea", CAFE]):
        assert np.bincount(dataset.relabel(names).targets).tolist() == [6, 9]


def test_both_forms_of_a_name_split_alike_and_go_on_with_each_other(make_classes, monkeypatch):
    make_classes("pictures", ("tea", CAFE), images=20)
    apart = make_classes("apart/pictures", ("tea", APART), images=20)
    rule = splits.SplitRule(validation=True)
    one, other = (splits.split(folder, "pictures", "", rule) for folder in (Path("pictures"), apart))
    assert one.class_names == other.class_names == [CAFE, "tea"]
    for part in ("train", "validation", "test"):
        digests = [provenance.digest(getattr(whole, part)).tolist() for whole in (one, other)]
        assert digests[0] == digests[1]
    Path("run/checkpoints").mkdir(parents=True)
    fingerprint.write(Path("run"), one)
    fingerprint.check(Path("run"), other)


def test_train_and_test_may_write_a_name_in_two_ways(make_classes, tmp_path):
    make_classes(f"data/{CAFE}_train", ("tea", CAFE))
    make_classes(f"data/{APART}_test", ("tea", APART))
    found = own_split.find(tmp_path / "data")
    assert (found.train.name, found.test.name) == (f"{CAFE}_train", f"{APART}_test")
    parts = splits.split(tmp_path / "data", "data", "", splits.SplitRule())
    assert parts.train.classes == parts.test.classes == [CAFE, "tea"]


def test_groups_are_told_by_names_in_either_form(make_image, tmp_path):
    for i, name in enumerate([CAFE, APART, "tea", "milk"]):
        make_image(f"data/{'ab'[i % 2]}/{name}_{i}.png", seed=i)
    groups = splits.groups_of(ImageFolder(tmp_path / "data"), rf"({CAFE}|tea|milk)_")
    assert sorted(groups) == sorted([CAFE, CAFE, "tea", "milk"])


def test_classes_that_differ_by_case_alone_are_told(make_classes):
    data = make_classes("data", ("Pizza", "pizza", "steak"))
    dataset = ImageFolder(data)
    if len(dataset.classes) == 2:
        pytest.skip("this file system takes both names for one folder")
    [note] = notes_of([dataset])
    assert note.startswith("Classes by case alone: Pizza, pizza;")
    assert notes_of([ImageFolder(make_classes("other", ("Pizza", "steak")))]) == []


def test_a_junction_is_a_link(monkeypatch):
    """Windows' older links to folders, which Python takes for folders until 3.12: a loop of them would have no end."""
    monkeypatch.setattr(stat, "IO_REPARSE_TAG_MOUNT_POINT", 0xA0000003, raising=False)

    def entry(tag: int) -> SimpleNamespace:
        status = SimpleNamespace(st_reparse_tag=tag)
        return SimpleNamespace(is_symlink=lambda: False, stat=lambda follow_symlinks: status)

    assert walk._is_link(entry(0xA0000003))
    assert not walk._is_link(entry(0))


def test_a_run_folder_has_a_name_that_every_system_takes(tmp_path):
    name = run_folder.make("efficientnet_lite0").name
    assert not set(name) & set('<>:"/\\|?*')
    assert name.rstrip(" .") == name


# a name that is taken


def held(monkeypatch, times: int, winerror: int | None) -> list[Path]:
    """Let a file be held by another program as often as said; return what was tried."""
    tried, replace = [], Path.replace

    def refuse(source: Path, target: Path) -> Path:
        tried.append(target)
        if len(tried) > times:
            return replace(source, target)
        error = PermissionError(13, "Permission denied")
        if winerror:
            error.winerror = winerror
        raise error

    monkeypatch.setattr(Path, "replace", refuse)
    monkeypatch.setattr(files, "FIRST_WAIT_SECONDS", 0)
    return tried


@pytest.mark.parametrize("winerror", [5, 32, 33])
def test_what_a_scanner_holds_is_replaced_once_it_lets_go(tmp_path, monkeypatch, winerror):
    path = tmp_path / "a.json"
    files.write_json(path, {"a": 1})
    tried = held(monkeypatch, 3, winerror)
    files.write_json(path, {"a": 2})
    assert len(tried) == 4
    assert strict(path.read_bytes()) == {"a": 2}


@pytest.mark.parametrize(("winerror", "tries"), [(32, files.RETRIES + 1), (None, 1), (183, 1)])
def test_what_is_never_let_go_is_one_line_and_the_old_file_stays(tmp_path, monkeypatch, winerror, tries):
    path = tmp_path / "a.json"
    files.write_json(path, {"a": 1})
    tried = held(monkeypatch, 10**6, winerror)
    with pytest.raises(InputError, match="Permission denied; name another folder"):
        files.write_json(path, {"a": 2})
    assert len(tried) == tries
    assert [file.name for file in tmp_path.iterdir()] == ["a.json"]
    assert strict(path.read_bytes()) == {"a": 1}


def test_a_folder_takes_no_folders_place_however_often_it_is_tried(tmp_path, monkeypatch):
    for name in ("fresh", "taken"):
        (tmp_path / name).mkdir()
    tried = held(monkeypatch, 10**6, 5)
    with pytest.raises(PermissionError):
        files.rename(tmp_path / "fresh", tmp_path / "taken")
    assert len(tried) == 1


# JSON


def test_what_is_no_number_is_null():
    content = {"a": [math.nan, math.inf, 1.5], "b": (-math.inf, "NaN", None), "c": {"d": math.nan}}
    assert strict(files.json_text(content)) == {"a": [None, None, 1.5], "b": [None, "NaN", None], "c": {"d": None}}


def test_json_on_disk_is_utf_8_whatever_a_file_is_called(tmp_path):
    name = os.fsdecode(b"caf\xe9")
    files.write_json(tmp_path / "a.json", {"latin": name, "utf": CAFE})
    assert strict((tmp_path / "a.json").read_bytes().decode("utf-8")) == {"latin": name, "utf": CAFE}


def test_all_json_is_written_by_one_function():
    """Python's own writes NaN, which is no JSON, and what standard output's encoding may lack."""
    sources = {path.name: path.read_text(encoding="utf-8") for path in PACKAGE.rglob("*.py")}
    writers = {name for name, source in sources.items() if "json.dump(" in source or "json.dumps(" in source}
    assert writers == {"files.py", "cli.py"}  # the latter escapes single characters


@pytest.fixture
def a_checkpoint() -> Path:
    """Write a head that nobody trained, with measures that are no numbers."""
    model, _ = model_builder.create_model("efficientnet_lite0", 3)
    names = [APART, "\N{CJK UNIFIED IDEOGRAPH-5BFF}\N{CJK UNIFIED IDEOGRAPH-53F8}", "tea \u202e"]
    options = {"model_name": "efficientnet_lite0", "weights": "DEFAULT", "class_names": names}
    return checkpoint.save("head.safetensors", model, **options, metrics={"loss": math.nan, "all": [math.inf]})


def test_a_checkpoint_holds_json_and_one_spelling_of_a_class(a_checkpoint):
    with safe_open(a_checkpoint, framework="pt") as file:
        assert strict(file.metadata()[checkpoint.FORMAT])["metrics"] == {"loss": None, "all": [None]}
    assert checkpoint.load(a_checkpoint).class_names[0] == CAFE


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252", "utf-8", "utf-16"])
def test_json_is_json_in_any_encoding(a_checkpoint, make_image, monkeypatch, encoding):
    names = [f"{CAFE}.png", os.fsdecode(b"caf\xe9.png") if os.name == "posix" else "b.png"]
    try:
        paths = [make_image(name) for name in names]
    except OSError:  # macOS takes no such name
        paths = [make_image(name) for name in names[:1]]
    output = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    monkeypatch.setattr(sys, "stdout", output)
    succeed("predict.py", *paths, "--checkpoint", a_checkpoint, "--json")
    rows = strict(output.buffer.getvalue().decode(encoding))
    assert [row["path"] for row in rows] == [str(path) for path in paths]
    assert CAFE in rows[0]["probabilities"]


def test_a_probability_that_is_no_number_is_null(a_checkpoint, make_image, capsys):
    row = predict.Prediction("tea", math.nan, {"tea": math.nan})
    predict._print([make_image("a.png")], [row], checkpoint.load(a_checkpoint), as_json=True)
    assert strict(capsys.readouterr().out)[0]["probability"] is None


def test_a_weights_file_may_have_any_name(tmp_path):
    path = tmp_path / os.fsdecode(b"caf\xe9.pth")
    try:
        path.write_bytes(b"weights")
    except OSError as error:
        pytest.skip(f"no such name here: {error}")
    assert pretrained.describe("efficientnet_lite0", path)["file"] == r"caf\xe9.pth"


# several processes


@pytest.mark.parametrize(("kind", "has_nccl", "backend"), [
    ("cuda", True, "nccl"), ("cuda", False, "gloo"), ("cpu", True, "gloo"), ("cpu", False, "gloo"),
])  # fmt: skip
def test_processes_talk_by_what_the_system_has(monkeypatch, kind, has_nccl, backend):
    monkeypatch.setattr(dist, "is_nccl_available", lambda: has_nccl)
    strategy = launch.strategy(kind)
    strategy.parallel_devices = [torch.device(kind, 0)]
    strategy.cluster_environment = launch.environment()
    assert strategy._get_process_group_backend() == backend


@pytest.mark.parametrize(("platform", "set_before", "seen"), [
    ("win32", None, "0"), ("win32", "1", "1"), ("linux", None, None), ("darwin", None, None),
])  # fmt: skip
def test_windows_has_no_libuv(monkeypatch, platform, set_before, seen):
    monkeypatch.setattr(os, "environ", {"USE_LIBUV": set_before} if set_before else {})
    monkeypatch.setattr(sys, "platform", platform)
    found = []
    launch._enter(0, lambda: found.append(os.environ.get("USE_LIBUV")), (), 29500, 1)
    assert found == [seen]


def test_several_processes_on_an_apple_gpu_are_refused_with_what_helps(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    with pytest.raises(InputError, match="an Apple GPU is one device; use one, or --device cpu") as refused:
        job._choose_device(Settings(devices=2))
    assert "--device mps" not in str(refused.value)


def test_a_device_that_a_mac_lacks_is_not_advised(make_classes, capsys, monkeypatch):
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    message = refusal(capsys, "train.py", "--data", make_classes("data"), *LITE0, "--device", "tpu")
    assert "mps" not in message


@pytest.mark.parametrize("tasks", ["2", "4"])
@pytest.mark.parametrize("name", ["mine", "bash"])
def test_sbatch_without_srun_starts_as_many_as_asked_for(make_classes, monkeypatch, tasks, name):
    """They are not started here; tests/test_launch.py starts some."""
    set_variables(monkeypatch, ALLOCATION | {"SLURM_NTASKS": tasks, "SLURM_JOB_NAME": name})
    started = []
    monkeypatch.setattr(launch, "start", lambda worker, given, processes: started.append(processes))
    data = make_classes("data", images=12)
    on_cpu = ("--device", "cpu", "--devices", 2)
    succeed("fine_tune.py", "--data", data, *LITE0, "--recipe", "head", *on_cpu, "--output", "run")
    assert started == [2]


@pytest.mark.parametrize(("exit_code", "told"), [
    (-9, "was ended by"), (-50, "was ended by signal 50"), (3221225477, "ended with status 3221225477"),
])  # fmt: skip
def test_a_process_that_died_is_told_on_every_system(exit_code, told):
    """Windows has no signals: a crash there is a large status."""
    error = launch.ProcessExitedException("", 0, 1, exit_code=exit_code)
    assert told in str(launch._explain(error, [SimpleNamespace(exitcode=exit_code)]))


# what POSIX alone has

POSIX_ONLY = {
    "os": "O_CLOEXEC O_DIRECTORY O_NOFOLLOW O_NONBLOCK WNOHANG chown chroot fchmod fork forkpty getegid geteuid getgid "
    "getgroups getloadavg getpgid getpgrp getpriority getuid killpg lchown lockf mkfifo mknod nice openpty pipe2 pread "
    "posix_fadvise posix_fallocate pwrite sched_getaffinity sched_setaffinity sendfile setpgid setsid setuid statvfs "
    "sync sysconf uname wait wait3 wait4 waitid",
    "signal": "SIGALRM SIGBUS SIGCHLD SIGCONT SIGHUP SIGKILL SIGPIPE SIGQUIT SIGSTOP SIGTSTP SIGUSR1 SIGUSR2 SIGXCPU "
    "alarm pause pthread_kill pthread_sigmask setitimer sigwait",
}
POSIX_MODULES = {"fcntl", "grp", "posix", "pty", "pwd", "resource", "syslog", "termios", "tty"}


def unguarded(source: str) -> set[str]:
    """Return the names that Windows lacks and that a function uses without asking for them by `hasattr`."""
    found = set()
    tree = ast.parse(source)
    functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else [node.module]
            found |= POSIX_MODULES.intersection(names)
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            module, name = node.value.id, node.attr
            if name in POSIX_ONLY.get(module, "").split():
                around = [function for function in functions if node in ast.walk(function)]
                if not any(f"hasattr({module}, '{name}')" in ast.unparse(function) for function in around):
                    found.add(f"{module}.{name}")
    return found


def test_what_windows_lacks_is_asked_for_before_it_is_used():
    found = {path.name: unguarded(path.read_text(encoding="utf-8")) for path in PACKAGE.rglob("*.py")}
    assert {name: names for name, names in found.items() if names} == {}


@pytest.mark.parametrize(("source", "names"), [
    ("import resource", {"resource"}),
    ("import os\ndef f():\n    return os.getuid()", {"os.getuid"}),
    ("import os\ndef f():\n    return os.getuid() if hasattr(os, 'getuid') else 0", set()),
    ("import signal\nsignal.signal(signal.SIGHUP, print)", {"signal.SIGHUP"}),
    ("import signal\nsignal.signal(signal.SIGTERM, print)", set()),
])  # fmt: skip
def test_a_planted_name_is_seen(source, names):
    assert unguarded(source) == names


# the lowest versions


def test_the_lowest_versions_are_those_that_all_requirements_allow():
    wanted = ["numpy>=2.0.2", "torch>=2.6,!=2.13.0", "numpy>=2", "x==1.5"]
    assert LOWEST.lowest(wanted) == {"numpy": "2.0.2", "torch": "2.6", "x": "1.5"}
    for text in ("numpy", "numpy<3", "torch>=2.6,!=2.6"):
        with pytest.raises(ValueError, match="names no lowest version"):
            LOWEST.lowest([text])


def test_every_requirement_of_this_package_has_a_lowest_version():
    pyproject = PACKAGE.parent / "pyproject.toml"
    lowest = LOWEST.lowest(LOWEST.runtime_requirements(pyproject))
    assert {"torch", "numpy", "lightning", "imagehash"} <= lowest.keys()
    others = LOWEST.maintainers_pins(pyproject, PACKAGE.parent / "requirements.txt")
    assert any(pin.startswith("pytest==") for pin in others)
    assert not {pin.partition("==")[0] for pin in others} & lowest.keys()
