"""Going on with a run of fine_tune.py: moved, with other data, with checkpoints that are damaged or a stranger's."""

import json
import os
import pickle
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import lightning as L
import pytest
import torch
import yaml
from commands import LITE0, call, messages, refusal, succeed
from lightning.pytorch.callbacks import ModelCheckpoint

from going_modular.common import cli
from going_modular.common.errors import InputError, Terminated
from going_modular.fine_tuning import checkpoints, fingerprint, stages
from going_modular.fine_tuning.settings import Settings, check, read_file

COMMAND = "fine_tune.py"
# noise cannot be learned: at this learning rate the best epoch is an early one
SETTINGS = {"recipe": "head", "head_lr": 0.05, "schedule": "constant", "batch_size": 6, "precision": "fp32"}
EPOCHS, ENDED_AFTER = 7, 5


class End(L.Callback):
    """End as SIGTERM does, when this many epochs are finished."""

    def on_train_epoch_start(self, trainer, pl_module):
        if trainer.current_epoch == ENDED_AFTER:
            raise Terminated


def start(output: str, status: int = 0) -> None:
    Path("settings.yaml").write_text(yaml.safe_dump(SETTINGS))
    arguments = ("--config", "settings.yaml", "--data", "data", *LITE0, "--epochs", EPOCHS, "--output", output)
    assert call(COMMAND, *arguments) == status


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    """Return where the runs are made once; each test copies them."""
    return tmp_path_factory.mktemp("runs")


@pytest.fixture
def runs(made, make_classes, tmp_path, monkeypatch) -> dict:
    """Make the current folder hold `data`, `whole`, a run to its end, and `ended`, one that ended before."""
    monkeypatch.chdir(tmp_path)
    make_classes("data", images=12)  # of 24: 16 to train on, 3 to validate with, 5 to test
    if not (made / "ended").exists():
        start("whole")
        with monkeypatch.context() as patched:
            callbacks = stages._callbacks
            patched.setattr(stages, "_callbacks", lambda *some: [*callbacks(*some), End()])
            start("ended", cli.TERMINATED)
        for name in ("whole", "ended"):
            shutil.copytree(name, made / name)
    for name in ("whole", "ended"):
        shutil.copytree(made / name, name, dirs_exist_ok=True)
    content = json.loads(Path("ended/settings.json").read_text()) | {"data": str(tmp_path / "data")}
    Path("ended/settings.json").write_text(json.dumps(content))
    best = json.loads(Path("whole/metrics.json").read_text())["best_epoch"]
    assert best < ENDED_AFTER, "for these tests the best epoch must not be the last"
    return content


def same_as_whole(folder: str | Path) -> None:
    ours, whole = (json.loads((Path(name) / "metrics.json").read_text()) for name in (folder, "whole"))
    for key in ("best_epoch", "history", "val_accuracy", "test_accuracy", "confusion_matrix"):
        assert ours[key] == whole[key], key
    assert (Path(folder) / "model.safetensors").read_bytes() == Path("whole/model.safetensors").read_bytes()


@pytest.mark.slow
def test_a_run_that_was_moved_tests_the_best_epoch(runs):
    shutil.move("ended", "elsewhere")
    succeed(COMMAND, "--resume", "elsewhere")
    same_as_whole("elsewhere")
    best = torch.load("elsewhere/checkpoints/head/best.ckpt", weights_only=True)
    assert best["epoch"] + 1 == json.loads(Path("elsewhere/metrics.json").read_text())["best_epoch"]


@pytest.mark.slow
@pytest.mark.parametrize("victim", ["{folder}/../../victim", "local://{here}/victim", "local://~/victim"])
def test_no_path_in_a_checkpoint_is_removed(runs, monkeypatch, victim):
    here = Path.cwd()
    monkeypatch.setenv("HOME", str(here))
    for folder in (here / "victim", here / "ended/victim"):
        folder.mkdir()
        (folder / "kept.txt").touch()
    folder = (here / "ended/checkpoints/head").resolve()
    path = victim.format(folder=folder, here=here)
    score = torch.tensor(99.0)
    state = {"best_model_path": path, "kth_best_model_path": path, "last_model_path": path, "dirpath": str(folder),
             "best_k_models": {path: score}, "best_model_score": score, "kth_value": score}  # fmt: skip
    for file in folder.glob("*.ckpt"):
        content = torch.load(file, weights_only=True)
        for monitor in (None, "val_loss"):
            plain = ModelCheckpoint(folder, file.stem, monitor=monitor, save_on_train_epoch_end=True)
            ours = checkpoints.Keep(file, monitor=monitor)
            content["callbacks"] |= {callback.state_key: state for callback in (plain, ours)}
        torch.save(content, file)
    succeed(COMMAND, "--resume", "ended")
    assert all((folder / "kept.txt").exists() for folder in (here / "victim", here / "ended/victim"))
    same_as_whole("ended")


def add(make_image: Callable) -> None:
    for i in range(5):
        make_image(f"data/cat/new{i}.png", seed=5000 + i)


@pytest.mark.parametrize(("change", "told"), [
    (add, "5 added ('cat/new0.png', 'cat/new1.png', 'cat/new2.png', ...)"),
    (lambda _: Path("data/dog/3.png").unlink(), "1 removed ('dog/3.png')"),
    (lambda make_image: make_image("data/dog/3.png", seed=77), "1 changed ('dog/3.png')"),
    (lambda make_image: [make_image(f"data/bird/{i}.png", seed=900 + i) for i in range(12)],
     "12 added ('bird/0.png', 'bird/1.png', 'bird/10.png', ...)"),
    (lambda _: Path("data/dog/3.png").rename("data/cat/33.png"), "1 added ('cat/33.png'), 1 removed ('dog/3.png')"),
], ids=["added", "removed", "changed", "class", "moved"])  # fmt: skip
def test_a_run_does_not_go_on_with_other_images(runs, make_image, capsys, change, told):
    change(make_image)
    message = refusal(capsys, COMMAND, "--resume", "ended")
    assert f"the images are not those that the run began with: {told}" in message


@pytest.mark.slow
def test_data_that_has_moved_is_named(runs, capsys):
    Path("data").rename("moved")
    message = refusal(capsys, COMMAND, "--resume", "ended")
    assert message.endswith("data' of this run is not there; name its new place with --data")
    succeed(COMMAND, "--resume", "ended", "--data", "moved")
    assert (Path("ended") / "settings.json").read_text().count(str(Path("moved").resolve())) == 1
    ours, whole = (json.loads(Path(name, "metrics.json").read_text()) for name in ("ended", "whole"))
    assert ours["history"] == whole["history"]
    assert ours["best_epoch"] == whole["best_epoch"]


def test_a_list_of_images_that_is_damaged_is_named(runs, capsys):
    for content in ("", "[]", '{"train": 3}', "[" * 100_000):
        Path("ended", fingerprint.FILE).write_text(content)
        assert "the list of this run's images" in refusal(capsys, COMMAND, "--resume", "ended")


DAMAGES = {
    "cut": lambda path: path.write_bytes(path.read_bytes()[:-1000]),
    "empty": lambda path: path.write_bytes(b""),
    "pickle": lambda path: path.write_bytes(pickle.dumps(Path("never unpickled"))),
    "other": lambda path: torch.save({"weights": torch.zeros(3)}, path),
}


@pytest.mark.slow
@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_last_checkpoint_costs_epochs_and_no_more(runs, capsys, damage):
    DAMAGES[damage](Path("ended/checkpoints/head/last.ckpt"))
    succeed(COMMAND, "--resume", "ended")
    captured = capsys.readouterr()
    what = "is no checkpoint of this run" if damage == "other" else "is damaged, or holds more than tensors"
    assert f"'ended/checkpoints/head/last.ckpt' {what}" in captured.out
    same_as_whole("ended")


@pytest.mark.slow
def test_without_a_sound_checkpoint_one_line_says_so(runs, capsys):
    DAMAGES["pickle"](Path("ended/checkpoints/head/last.ckpt"))
    DAMAGES["empty"](Path("ended/checkpoints/head/best.ckpt"))
    assert call(COMMAND, "--resume", "ended") == cli.BAD_INPUT
    [message] = messages(capsys.readouterr().err)
    assert "remove the folder 'ended/checkpoints/head' to train this stage anew" in message
    shutil.rmtree("ended/checkpoints/head")
    succeed(COMMAND, "--resume", "ended")
    same_as_whole("ended")


def test_weights_of_another_shape_are_no_checkpoint_of_this_run(runs, capsys):
    for path in Path("ended/checkpoints/head").glob("*.ckpt"):
        content = torch.load(path, weights_only=True)
        content["state_dict"] = {name: tensor[..., :1] for name, tensor in content["state_dict"].items()}
        torch.save(content, path)
    assert call(COMMAND, "--resume", "ended") == cli.BAD_INPUT
    [message] = messages(capsys.readouterr().err)
    assert "last.ckpt' is no checkpoint of this run" in message


def test_what_lightning_cannot_restore_is_told_in_one_line(runs, capsys):
    for path in Path("ended/checkpoints/head").glob("*.ckpt"):
        content = torch.load(path, weights_only=True)
        content["loops"] = {}
        torch.save(content, path)
    assert call(COMMAND, "--resume", "ended") == cli.BAD_INPUT
    [message] = messages(capsys.readouterr().err)
    assert "The checkpoints in 'ended/checkpoints/head' are none of this run" in message


def test_a_lost_best_epoch_is_not_replaced_by_a_worse_one(runs, capsys):
    Path("ended/checkpoints/head/best.ckpt").write_bytes(b"")
    assert call(COMMAND, "--resume", "ended") == cli.BAD_INPUT
    [message] = messages(capsys.readouterr().err)
    assert "the weights of the best epoch are lost" in message
    assert not Path("ended/metrics.json").exists()


@pytest.mark.slow
def test_the_newest_checkpoint_is_taken_whichever_file_has_it(runs):
    """A kill between the two files leaves the newer epoch in best.ckpt; a lost best epoch may stand in last.ckpt."""
    folder = Path("ended/checkpoints/head")
    (folder / "last.ckpt").unlink()
    succeed(COMMAND, "--resume", "ended")
    same_as_whole("ended")

    (Path("ended") / "metrics.json").unlink()
    best = folder / "best.ckpt"
    best.replace(folder / "last.ckpt")  # as it was when the best epoch was the last
    best.write_bytes(b"damaged")
    succeed(COMMAND, "--resume", "ended")
    same_as_whole("ended")


@pytest.mark.slow
def test_a_new_run_does_not_go_on_from_what_another_left(runs):
    Path("other/checkpoints/head").mkdir(parents=True)
    shutil.copy("ended/checkpoints/head/best.ckpt", "other/checkpoints/head")
    start("other")
    same_as_whole("other")


def test_a_checkpoint_is_written_beside_its_place_and_whole(tmp_path, monkeypatch):
    path = tmp_path / "last.ckpt"
    checkpoints.WholeFiles().save_checkpoint({"epoch": 1}, path)
    synced, rename = [], Path.replace

    def full(*_) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", lambda number: synced.append(Path(f"/proc/self/fd/{number}").readlink()))
    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(InputError, match=r"last\.ckpt': No space left on device"):
        checkpoints.WholeFiles().save_checkpoint({"epoch": 2}, path)
    assert checkpoints.read(path) == {"epoch": 1}
    assert [file.parent for file in synced] == [tmp_path], "not synced, or not beside its place"
    assert list(tmp_path.iterdir()) == [path], "a half-written file is left"
    monkeypatch.setattr(Path, "replace", rename)
    checkpoints.WholeFiles().save_checkpoint({"epoch": 2}, path)
    assert checkpoints.read(path) == {"epoch": 2}


@pytest.mark.slow
def test_what_a_kill_left_half_written_goes(runs):
    left = Path(f"ended/checkpoints/head/.{'0a' * 16}.part")
    left.write_bytes(b"half")
    others = Path("ended/checkpoints/head/.mine.part")
    others.touch()
    succeed(COMMAND, "--resume", "ended")
    assert not left.exists()
    assert others.exists()


@pytest.fixture
def small_disk(tmp_path):
    """Return a function that mounts a file system of some KB at a folder."""
    mounted = []

    def mount(name: str, kilobytes: int) -> Path:
        folder = tmp_path / name
        folder.mkdir()
        line = ["mount", "-t", "tmpfs", "-o", f"size={kilobytes}k", "tmpfs", str(folder)]
        try:
            finished = subprocess.run(line, capture_output=True, check=False)
        except OSError as error:
            pytest.skip(f"no mount: {error}")
        if finished.returncode:
            pytest.skip(f"mounting is not allowed here: {finished.stderr.decode().strip()}")
        mounted.append(folder)
        return folder

    yield mount
    for folder in mounted:
        subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.mark.slow
@pytest.mark.parametrize("kilobytes", [12, 60, 200])  # full at TensorBoard's file, a checkpoint, or the model
def test_a_full_disk_ends_in_one_line_that_says_what_is_kept(runs, small_disk, capsys, kilobytes):
    small_disk("disk", kilobytes)
    start("disk/run", cli.BAD_INPUT)
    captured = capsys.readouterr()
    [message] = messages(captured.err)
    assert "No space left on device" in message
    assert message.endswith(("start again with --resume disk/run", "go on with --resume disk/run"))
    subprocess.run(["mount", "-o", "remount,size=100m", "disk"], check=True)
    succeed(COMMAND, "--resume", "disk/run")
    same_as_whole("disk/run")


HUGE = [
    ("batch_size", 10**30),
    ("epochs", 10**400),
    ("head_epochs", 10**12),
    ("patience", 10**400),
    ("train_images", 10**400),
    ("accumulate", 10**30),
    ("devices", 10**30),
    ("nodes", 10**30),
    ("seed", 10**400),
    ("lr", 10**400),
    ("mixup", -(10**400)),
    *((name, float("inf")) for name in ("warmup_epochs", "weight_decay", "lr", "max_grad_norm")),
    *((name, float("nan")) for name in ("warmup_epochs", "head_lr", "weight_averaging")),
]


@pytest.mark.parametrize(("name", "value"), HUGE, ids=[f"{name}-{i}" for i, (name, _) in enumerate(HUGE)])
def test_every_number_has_two_ends(tmp_path, name, value):
    path = tmp_path / "settings.yaml"
    path.write_text(yaml.safe_dump({name: value}))
    with pytest.raises(InputError, match=f"^{name} is .*; it must be from ") as error:
        check(Settings(**read_file(path, Settings)))
    assert len(str(error.value)) < 200


def test_a_number_or_text_of_any_length_is_refused_in_one_line(tmp_path):
    path = tmp_path / "settings.yaml"
    for text in ("epochs: " + "9" * 10_000, "epochs: " + "x" * 10_000, "schedule: " + "x" * 10_000, "epochs: .inf"):
        path.write_text(text)
        with pytest.raises(InputError) as error:
            check(Settings(**read_file(path, Settings)))
        assert len(str(error.value)) < 300
