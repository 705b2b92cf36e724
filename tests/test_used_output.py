"""A folder that is written into again: nothing of an earlier run stands beside another's numbers, all else stays."""

import json
import threading
from pathlib import Path

import pytest
import torch
from commands import LITE0, call, refusal, succeed
from PIL import Image

from going_modular.common import cli, files
from going_modular.common.errors import InputError
from going_modular.saving import run_folder

THEIRS = ("notes.txt", "evaluation/mine.png", "tensorboard/mine/notes.txt", "checkpoints/notes.txt", "settings.yaml")
WRITTEN = {"model.safetensors", "metrics.json"}

slow = pytest.mark.slow


@pytest.fixture(autouse=True)
def inside(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def train(data: Path, *arguments: object) -> int:
    return call("train.py", "--data", data, *LITE0, "--epochs", 1, "--output", "out", *arguments)


def ours() -> dict[str, int]:
    """Return when each file of the run was written, in nanoseconds, without those that nobody's run wrote."""
    paths = [path for path in Path("out").rglob("*") if path.is_file()]
    return {
        name: path.stat().st_mtime_ns for path in paths if (name := path.relative_to("out").as_posix()) not in THEIRS
    }


def interrupt(*_: object, **__: object) -> None:
    raise KeyboardInterrupt


def add_theirs() -> None:
    for name in THEIRS:
        path = Path("out", name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)


def assert_theirs() -> None:
    assert [Path("out", name).read_text() for name in THEIRS] == list(THEIRS)


@slow
def test_an_interrupted_second_run_leaves_nothing_of_the_first(make_classes, monkeypatch):
    assert train(make_classes("first", ("cat", "dog"))) == 0
    succeed("evaluate.py", "--checkpoint", "out/model.safetensors")
    add_theirs()
    before = ours()
    assert len(before) > 12

    second = make_classes("second", ("owl", "rat"))
    monkeypatch.setattr(run_folder, "_draw", interrupt)  # no signal can be timed to fall here
    assert train(second) == cli.INTERRUPTED
    after = ours()
    assert {name for name in after if not name.startswith("tensorboard/")} == WRITTEN
    assert min(after.values()) > max(before.values())
    assert json.loads(Path("out/metrics.json").read_text())["class_names"] == ["owl", "rat"]
    assert_theirs()


@slow
def test_a_run_that_fails_before_it_writes_leaves_the_one_before_whole(make_classes, monkeypatch):
    from going_modular import engine

    data = make_classes("data")
    assert train(data) == 0
    before = {path: path.read_bytes() for path in Path("out").rglob("*") if path.is_file()}
    monkeypatch.setattr(engine, "train", interrupt)
    assert train(data) == cli.INTERRUPTED
    assert train(data, "--lr", 1e6, "--weights", "nonsense") == cli.BAD_INPUT
    assert {path: path.read_bytes() for path in Path("out").rglob("*") if path.is_file()} == before


@slow
def test_fine_tuning_into_the_folder_of_a_training_can_go_on(make_classes, monkeypatch):
    from going_modular.fine_tuning import run

    data = make_classes("data", images=12)
    assert train(data) == 0
    monkeypatch.setattr(run, "_write", interrupt)
    arguments = ("--data", data, *LITE0, "--recipe", "head", "--epochs", 1, "--output", "out")
    assert call("fine_tune.py", *arguments) == cli.INTERRUPTED
    assert not {name for name in ours() if name in run_folder.FILES}
    monkeypatch.undo()
    monkeypatch.chdir(data.parent)
    # it has a run to go on with: no other may take its place
    assert train(data) == cli.BAD_INPUT
    succeed("fine_tune.py", "--resume", "out")
    assert {"metrics.json", "model.safetensors", "confusion_matrix.png"} <= ours().keys()


def test_training_over_a_run_that_can_go_on_is_refused_by_name(make_classes, capsys):
    data = make_classes("data")
    Path("out/checkpoints/head").mkdir(parents=True)
    Path("out/checkpoints/head/last.ckpt").write_bytes(b"")
    message = refusal(capsys, "train.py", "--data", data, *LITE0, "--output", "out")
    assert "'out' has a run: go on with --resume, or name another (fine_tune.py wrote it)" in message


def test_what_links_lead_to_stays(tmp_path):
    elsewhere = tmp_path / "elsewhere.json"
    elsewhere.write_text("{}")
    folder = tmp_path / "out"
    folder.mkdir()
    (folder / "metrics.json").symlink_to(elsewhere)
    run_folder.clear(folder)
    assert list(folder.iterdir()) == []
    assert elsewhere.read_text() == "{}"


@slow
def test_a_second_evaluation_replaces_every_figure_of_the_first(make_classes):
    data = make_classes("data")
    assert train(data) == 0
    folder = Path("out/evaluation")
    folder.mkdir()
    for name in files.EVALUATION:
        Image.new("RGB", (1, 1)).save(folder / name, format="PNG")
    (folder / "mine.png").write_text("mine")
    succeed("evaluate.py", "--checkpoint", "out/model.safetensors")
    written = {path.name for path in folder.iterdir()}
    assert written <= {*files.EVALUATION, "mine.png"}
    assert {"report.html", "report.json", "confusion_matrix.png", "least_sure.png", "mine.png"} <= written
    assert all(path.stat().st_size > 500 for path in folder.iterdir() if path.name != "mine.png")


# check_writable


def test_another_process_may_make_the_folder_while_it_is_checked(tmp_path):
    folders = [tmp_path / str(i) / "run" for i in range(300)]
    wanted, problems = [folders[0]], []

    def make_them() -> None:
        try:
            for folder in folders:
                wanted[0] = folder
                folder.mkdir(parents=True, exist_ok=True)
                (folder / "metrics.json").write_text("{}")
        except OSError as error:
            problems.append(error)

    thread = threading.Thread(target=make_them)
    thread.start()
    while thread.is_alive():
        files.check_writable(wanted[0])
    thread.join()
    assert problems == []
    assert [path.read_text() for path in tmp_path.rglob("*") if path.is_file()] == ["{}"] * len(folders)


@pytest.mark.parametrize("name", ["new", "new/and/deep", "new/../other", "there/below", "."])
def test_a_check_leaves_nothing(tmp_path, name):
    (tmp_path / "there").mkdir()
    files.check_writable(Path(name))
    assert [path.name for path in tmp_path.rglob("*")] == ["there"]


def test_what_cannot_be_a_folder_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    (tmp_path / "nowhere").symlink_to(tmp_path / "gone")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    for name, why in {
        "file": "File exists",
        "file/out": "Not a directory",
        "nowhere": "File exists",
        "loop": "File exists",
        "n" * 300: "File name too long",
        "a/../" + "n" * 300: "File name too long",
    }.items():
        with pytest.raises(InputError, match=rf"^Output folder '{name}' cannot be written: {why}; name another$"):
            files.check_writable(Path(name))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "loop", "nowhere"]


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="needs a file system where nobody can write")
def test_a_file_system_that_nobody_can_write_is_refused():
    with pytest.raises(InputError, match=r"'/proc/out' cannot be written: .*; name another"):
        files.check_writable(Path("/proc/out"))


def test_every_file_that_an_interrupt_keeps_is_made_once(tmp_path):
    folder = tmp_path / "out"
    folder.mkdir()
    (folder / "metrics.json").write_text("old")
    trained = type("Trained", (), {"model_name": "resnet18", "model": torch.nn.Linear(1, 1)})()
    kept = run_folder.KeepFinishedEpochs(trained, folder, run_folder.Clock(), diverged=InputError)
    assert kept.make_folder() == folder
    (folder / "metrics.json").write_text("new")
    assert kept.make_folder() == folder
    assert (folder / "metrics.json").read_text() == "new"
