"""fine_tune.py as a user runs it: in this process where that shows it, as processes where they are killed."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
import yaml
from commands import HANGS, LITE0, assert_drawn, call, messages, refusal, start, succeed
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from going_modular import data_setup, features, fine_tune, metrics, model_builder
from going_modular.fine_tuning import recipes, stages
from going_modular.fine_tuning import run as story
from going_modular.fine_tuning.callbacks import DRAWINGS, EpochLines, TensorBoard
from going_modular.fine_tuning.job import _load, prepare
from going_modular.fine_tuning.settings import Settings
from going_modular.saving import checkpoint

COMMAND = "fine_tune.py"
FILES = {"model.safetensors", "metrics.json", "settings.json", "loss_curves.png", "predictions.png",
         "confusion_matrix.png", "checkpoints", "tensorboard"}  # fmt: skip


@pytest.fixture(autouse=True)
def inside(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def data(make_classes) -> Path:
    return make_classes("data", images=12)  # of 24: 16 to train on, 3 to validate with, 5 to test


def config(**values: object) -> Path:
    path = Path("settings.yaml")
    path.write_text(yaml.safe_dump({"batch_size": 6, "precision": "fp32"} | values))
    return path


def summary(folder: str | Path) -> dict:
    return json.loads((Path(folder) / "metrics.json").read_text(encoding="utf-8"))


def last(folder: str | Path, stage: str) -> dict:
    return torch.load(Path(folder) / "checkpoints" / stage / "last.ckpt", weights_only=True)


@pytest.mark.slow
def test_a_run_writes_what_train_writes_and_more(data, capsys):
    arguments = ("--config", config(head_epochs=3), "--data", data, *LITE0, "--epochs", 2, "--output", "run")
    succeed(COMMAND, *arguments)
    out = capsys.readouterr().out
    assert {path.name for path in Path("run").iterdir()} == FILES
    assert all(f"run/{name}" in out for name in FILES)
    assert "Data: data, the folder" in out
    for name in ("loss_curves.png", "predictions.png", "confusion_matrix.png"):
        assert_drawn(Path("run") / name)

    written = summary("run")
    assert (written["n_train"], written["n_val"], written["n_test"]) == (16, 3, 5)
    assert written["recipe"] == "head-then-all"
    assert written["epochs"] == 2
    assert set(written["history"]) == {"train_loss", "train_acc", "val_loss", "val_acc"}
    assert {len(values) for values in written["history"].values()} == {2}
    assert len(written["earlier_stages"]["head"]["val_loss"]) == 3
    assert written["history"]["val_loss"][written["best_epoch"] - 1] == min(written["history"]["val_loss"])
    assert f"Test accuracy: {written['test_accuracy']:.3f}" in out

    # the checkpoint is the whole, tuned model; it gives the test images what the run says
    loaded = checkpoint.load("run/model.safetensors")
    splits = data_setup.load_splits(data, seed=42, validation=True)
    splits.test.transform = loaded.transform
    extracted = features.extract(loaded.model, splits.test, precision="fp32", cache=False).tensors[0]
    measured = metrics.evaluate(model_builder.logits(loaded.model, extracted), splits.test.targets)
    assert measured["loss"] == pytest.approx(written["test_loss"], rel=1e-4)
    frozen, _ = model_builder.create_model("efficientnet_lite0", 2)
    came_with = model_builder.backbone(frozen).state_dict()
    moved = {name for name, tensor in model_builder.backbone(loaded.model).state_dict().items()
             if not torch.equal(tensor, came_with[name])}  # fmt: skip
    convolutions = {name for name, tensor in came_with.items() if tensor.ndim == 4}
    assert moved == convolutions  # and BatchNorm stayed as pretrained
    succeed("predict.py", data / "cat", "--checkpoint", "run/model.safetensors")


def test_the_head_alone_leaves_the_backbone_and_writes_a_small_file(data):
    succeed(COMMAND, "--data", data, *LITE0, "--recipe", "head", "--epochs", 2, "--batch-size", 6, "--output", "run")
    assert (Path("run") / "model.safetensors").stat().st_size < 50_000
    assert summary("run")["earlier_stages"] == {}
    assert {path.name for path in Path("run").iterdir()} == set(story.FILES) == FILES


@pytest.mark.slow
def test_the_test_images_are_those_of_train(data):
    succeed(COMMAND, "--data", data, *LITE0, "--recipe", "head", "--epochs", 1, "--batch-size", 6, "--output", "a")
    succeed("train.py", "--data", data, *LITE0, "--epochs", 1, "--output", "b", "--precision", "fp32")
    assert summary("a")["n_test"] == summary("b")["n_test"]
    test = [data_setup.load_splits(data, seed=42, validation=validation).test for validation in (False, True)]
    assert test[0].samples == test[1].samples


@pytest.mark.slow
def test_early_stopping_tests_the_best_weights_not_the_last(data):
    # noise cannot be learned: at this learning rate the validation loss soon rises
    succeed(COMMAND, "--config", config(head_lr=0.05, schedule="constant"), "--data", data, *LITE0, "--recipe", "head",
            "--epochs", 40, "--patience", 3, "--output", "run")  # fmt: skip
    written = summary("run")
    losses = written["history"]["val_loss"]
    assert written["epochs"] == written["best_epoch"] + 3 < 40
    assert losses[-1] > min(losses)
    assert last("run", "head")["epoch"] + 1 == written["epochs"]

    best = torch.load("run/checkpoints/head/best.ckpt", weights_only=True)
    head = {name.removeprefix("model."): tensor for name, tensor in best["state_dict"].items()}
    saved = model_builder.head(checkpoint.load("run/model.safetensors").model).state_dict()
    assert all(torch.equal(saved[name], tensor) for name, tensor in head.items())
    assert best["epoch"] + 1 == written["best_epoch"]
    ended = last("run", "head")["state_dict"]
    assert not all(torch.equal(ended[f"model.{name}"], tensor) for name, tensor in saved.items())

    # going on with a run that has stopped early does not train it further
    (Path("run") / "metrics.json").unlink()
    before = (Path("run") / "model.safetensors").read_bytes()
    succeed(COMMAND, "--resume", "run")
    assert summary("run")["history"] == written["history"]
    assert (Path("run") / "model.safetensors").read_bytes() == before


@pytest.mark.slow
def test_augmentation_reaches_the_training_images_alone(data):
    for augment in ("crop", "randaugment", "none"):
        settings = Settings(
            data=str(data), model="efficientnet_lite0", recipe="all", augment=augment, batch_size=6, precision="fp32"
        )
        job = prepare(settings)
        [stage] = recipes.stages("all")
        images = stages.ImageData(job, stage, is_first=True)
        splits = job.splits
        for part, is_random in ((images.train, augment != "none"), (splits.validation, False), (splits.test, False)):
            first, again = (torch.stack([image for image, _ in part]) for _ in range(2))
            assert torch.equal(first, again) != is_random
            if not is_random:
                assert part.transform is job.transform
        assert images.train.samples == splits.train.samples
        assert images.validation is splits.validation


EVERYTHING = {  # all that draws random numbers or keeps a state
    "recipe": "all", "augment": "randaugment", "mixup": 0.2, "cutmix": 1.0, "label_smoothing": 0.1, "accumulate": 2,
    "weight_averaging": 0.9, "schedule": "step", "warmup_epochs": 0.5, "epochs": 3, "lr": 1e-3,
}  # fmt: skip


def equal(first: object, second: object, where: str = "") -> None:
    """Check that checkpoints are equal to the bit, and name the first difference."""
    if isinstance(first, torch.Tensor):
        assert torch.equal(first, second), where
    elif isinstance(first, dict):
        assert first.keys() == second.keys(), where
        for key, value in first.items():
            equal(value, second[key], f"{where}.{key}")
    elif isinstance(first, list | tuple):
        assert len(first) == len(second), where
        for index, (one, other) in enumerate(zip(first, second, strict=True)):
            equal(one, other, f"{where}[{index}]")
    else:
        assert first == second, where


def same_run(first: str, second: str, stages: tuple[str, ...]) -> None:
    a, b = summary(first), summary(second)
    for key in a.keys() - {"seconds"}:
        assert a[key] == b[key], key
    assert (Path(first) / "model.safetensors").read_bytes() == (Path(second) / "model.safetensors").read_bytes()
    for stage in stages:
        equal(*(state(last(folder, stage)) for folder in (first, second)))


def state(checkpoint: dict) -> dict:
    """Return what training goes on from; the rest names folders and counts since the start of the process."""
    optional = ("current_model_state", "averaging_state")  # of weight averaging
    keys = ("state_dict", "optimizer_states", "lr_schedulers", "history", "epoch", "global_step")
    [stopping] = [value for key, value in checkpoint["callbacks"].items() if key.startswith("EarlyStopping")]
    return {key: checkpoint[key] for key in (*keys, *optional) if key in checkpoint or key in keys} | stopping


@pytest.mark.slow
@pytest.mark.parametrize("settings", [
    {"recipe": "head-then-all", "head_epochs": 2, "epochs": 3},
    EVERYTHING,
], ids=["head-then-all", "everything"])  # fmt: skip
def test_killed_and_resumed_equals_uninterrupted(data, capsys, settings):
    """SIGKILL comes at moments of every kind: while images are read, within epochs, after checkpoints.

    Only what is killed is a process of its own.
    """
    stages = ("head", "all") if "then" in settings["recipe"] else ("all",)
    arguments = ("--config", config(**settings), "--data", data, *LITE0)
    succeed(COMMAND, *arguments, "--output", "whole")

    moments = [r"Data: ", *([r"head, epoch 1/2 \|"] if "head" in stages else []),
               r"all, epoch 1/3: +[3-9]\d%", r"all, epoch 1/3 \|", r"all, epoch 3/3: +\d"]  # fmt: skip
    arguments = (*arguments, "--output", "killed")
    for moment in moments:
        with start(COMMAND, *arguments, cwd=Path.cwd(), stderr=-2) as process:  # bars and lines in one stream
            seen = ""
            while not re.search(moment, seen) and (character := process.stdout.read(1)):
                seen += character
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate(timeout=HANGS)
        assert re.search(moment, seen), f"ended before {moment}: {seen}"
        arguments = ("--resume", "killed")
    capsys.readouterr()
    succeed(COMMAND, *arguments)
    assert "epoch 2/3" not in capsys.readouterr().out, "an epoch that was finished is trained again"
    same_run("whole", "killed", stages)

    succeed(COMMAND, "--resume", "killed")
    assert "killed is finished; nothing to do" in capsys.readouterr().out


@pytest.mark.slow
def test_watching_changes_no_result(data, monkeypatch):
    arguments = ("--config", config(recipe="all", epochs=2, mixup=0.2), "--data", data, *LITE0)
    succeed(COMMAND, *arguments, "--output", "watched")
    callbacks = stages._callbacks

    def unwatched(*some):
        return [callback for callback in callbacks(*some) if not isinstance(callback, EpochLines | TensorBoard)]

    monkeypatch.setattr(stages, "_callbacks", unwatched)
    monkeypatch.setattr(stages, "TensorBoardLogger", lambda *_, **__: False)
    succeed(COMMAND, *arguments, "--output", "unwatched")
    assert not list(Path("unwatched/tensorboard/").glob("all/*"))
    assert Path("watched/model.safetensors").read_bytes() == Path("unwatched/model.safetensors").read_bytes()
    assert summary("watched")["history"] == summary("unwatched")["history"]


@pytest.mark.slow
def test_tensorboard_has_curves_learning_rates_pictures_and_results(data):
    settings = config(head_epochs=2, epochs=4, patience=4, batch_size=2)
    succeed(COMMAND, "--config", settings, "--data", data, *LITE0, "--output", "run")
    events = EventAccumulator("run/tensorboard/all").Reload()
    tags = events.Tags()
    assert {"train_loss", "train_acc", "val_loss", "val_acc"} <= set(tags["scalars"])
    assert {"learning rate/head", "learning rate/block 18", "learning rate/block 1"} <= set(tags["scalars"])
    assert set(tags["images"]) == {"validation/confusion matrix", "validation/predictions"}
    epochs = [event.step for event in events.Scalars("val_loss")]
    drawn = [event.step for event in events.Images("validation/predictions")]
    assert len(epochs) == 4
    assert len(drawn) == DRAWINGS
    assert drawn[-1] >= epochs[-1]
    logged = [event.value for event in events.Scalars("val_loss")]
    assert logged == pytest.approx(summary("run")["history"]["val_loss"])
    results = EventAccumulator("run/tensorboard/results").Reload()
    assert results.Scalars("test_accuracy")[0].value == pytest.approx(summary("run")["test_accuracy"])
    assert "_hparams_/session_start_info" in results.Tags()["tensors"] or results.summary_metadata


@pytest.mark.slow
def test_sigterm_ends_with_143_and_keeps_the_last_finished_epoch(data):
    arguments = ("--config", config(recipe="all", epochs=50), "--data", data, *LITE0, "--output", "run")
    with start(COMMAND, *arguments, cwd=Path.cwd()) as process:
        for line in process.stdout:
            if line.startswith("all, epoch 2/50"):
                break
        process.send_signal(signal.SIGTERM)
        _, stderr = process.communicate(timeout=HANGS)
    assert process.returncode == 143
    assert len(messages(stderr)) == 1, stderr
    [message] = messages(stderr)
    assert message == "fine_tune.py: terminated; the finished epochs are kept; go on with --resume run"
    assert len(last("run", "all")["history"]["val_loss"]) >= 2
    assert not Path("run/metrics.json").exists()


@pytest.mark.slow
def test_ctrl_c_ends_with_130_and_says_how_to_go_on(data):
    arguments = ("--config", config(recipe="all", epochs=50), "--data", data, *LITE0, "--output", "run")
    with start(COMMAND, *arguments, cwd=Path.cwd()) as process:
        for line in process.stdout:
            if line.startswith("Data: "):
                break
        seen = ""
        while not re.search(r"all, epoch 1/50: +[3-9]\d", seen) and (character := process.stderr.read(1)):
            seen += character
        os.killpg(process.pid, signal.SIGINT)
        _, stderr = process.communicate(timeout=HANGS)
    assert process.returncode == 130, stderr
    assert messages(stderr)[-1] == "fine_tune.py: interrupted; no epoch was finished; start again with --resume run"


def alive(group: int) -> list[str]:
    """Return the processes of a group that are not only waiting to be reaped."""
    found = []
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            name, _, fields = status.read_text().rpartition(")")
            state, _, process_group = fields.split()[:3]
        except OSError:
            continue
        if int(process_group) == group and state != "Z":
            found.append(name)
    return found


def two_processes(data: Path, **settings: object):
    arguments = ("--config", config(recipe="all", epochs=50, **settings), "--data", data, *LITE0, "--output", "run")
    return start(COMMAND, *arguments, "--devices", 2, cwd=Path.cwd())


def wait_for(process, text: str) -> None:
    for line in process.stdout:
        if line.startswith(text):
            return
    raise AssertionError(process.stderr.read())


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc").is_dir(), reason="looks for processes in /proc")
@pytest.mark.parametrize(("victim", "signum", "status", "message"), [
    ("worker", signal.SIGKILL, 1, "error: process 1 of 2 was ended by SIGKILL; the finished epochs are kept; go on "
                                  "with --resume run"),
    ("main", signal.SIGTERM, 143, "terminated; the finished epochs are kept; go on with --resume run"),
    ("main", signal.SIGKILL, -9, None),
    ("all", signal.SIGINT, 130, "interrupted; the finished epochs are kept; go on with --resume run"),
])  # fmt: skip
def test_however_one_of_two_processes_ends_no_orphan_is_left(data, victim, signum, status, message):
    with two_processes(data) as process:
        wait_for(process, "all, epoch 1/50")
        if victim == "worker":
            children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
            spawned = [pid for pid in children if "spawn_main" in Path(f"/proc/{pid}/cmdline").read_text()]
            assert len(spawned) == 2
            os.kill(int(spawned[-1]), signum)
        elif victim == "main":
            process.send_signal(signum)
        else:
            os.killpg(process.pid, signum)
        _, stderr = process.communicate(timeout=HANGS)  # until all that could write to it are gone
    assert process.returncode == status, stderr
    deadline = time.monotonic() + HANGS
    while left := alive(process.pid):  # a process closes its files a moment before it is gone
        assert time.monotonic() < deadline, left
    if message:
        # Python's resource tracker may add that a killed process left semaphores behind, which it removes
        assert [text for text in messages(stderr) if text.startswith("fine_tune.py")] == [f"fine_tune.py: {message}"]
        assert "Traceback" not in stderr


@pytest.mark.slow
def test_torchrun_starts_the_processes(data):
    settings = config(recipe="head-then-all", head_epochs=1, epochs=1)
    script = Path(fine_tune.__file__)
    torchrun = (sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", 2)
    arguments = ("--config", settings, "--data", data, *LITE0, "--devices", 2, "--output", "run")
    finished = subprocess.run(
        [str(part) for part in (*torchrun, script, *arguments)],
        cwd=Path.cwd(), capture_output=True, encoding="utf-8", timeout=HANGS, check=False,
    )  # fmt: skip
    assert finished.returncode == 0, finished.stderr
    assert finished.stdout.count("Test accuracy:") == finished.stdout.count("Data: ") == 1
    assert {path.name for path in Path("run").iterdir()} == FILES
    assert summary("run")["devices"] == 2


@pytest.mark.slow
def test_settings_run_again_and_flags_win(data, tmp_path):
    succeed(COMMAND, "--config", config(recipe="head", epochs=2), "--data", "data", *LITE0, "--output", "first")
    os.chdir("first")
    succeed(COMMAND, "--config", "settings.json", "--output", "../second")
    succeed(COMMAND, "--config", "settings.json", "--output", "../third", "--epochs", 1)
    os.chdir("..")
    assert Path("first/model.safetensors").read_bytes() == Path("second/model.safetensors").read_bytes()
    assert Path("first/settings.json").read_text() == Path("second/settings.json").read_text()
    assert summary("third")["epochs"] == 1


@pytest.mark.parametrize(("arguments", "message"), [
    (("--recipe", "most"), "Unknown recipe 'most'"),
    (("--recipe", "last-40"), "the backbone has 18 blocks only"),
    (("--config", "none.yaml"), "Settings 'none.yaml': no such file"),
    (("--config", "wrong.yaml"), "unknown learning_rate; the keys are data, train_images, model"),
    (("--config", "range.yaml"), "epochs is 0; it must be at least 1"),
    (("--config", "nan.yaml"), "mixup is nan; it must be from 0 to 100"),
    (("--config", "choice.yaml"), "schedule is 'linear'; choose one of cosine, step, constant"),
    (("--resume", "data"), "no settings.json there"),
    (("--resume", "data", "--epochs", 2), "--epochs with --resume"),
    (("--precision", "fp16"), "precision fp16 needs a CUDA GPU"),
    (("--devices", 4, "--batch-size", 3), "cannot be shared by 4 processes"),
    (("--devices", 4), "3 validation or test images for 4 processes"),
    (("--nodes", 2), "start the command with torchrun or SLURM"),
    (("--device", "tpu"), "Device 'tpu' is not available"),
    (("--data", "nowhere"), "Data 'nowhere': no such folder or zip, nor one of"),
    (("--model", "efficientnet_lite9"), "efficientnet_lite9"),
    (("--epochs", 0), "argument --epochs: '0' is not a whole number of at least 1"),
    (("--output", "data/cat/0.png"), "Output folder"),
])  # fmt: skip
def test_what_cannot_be_used_is_refused_in_one_line(data, capsys, arguments, message):
    for name, content in (
        ("wrong", "learning_rate: 1"), ("range", "epochs: 0"), ("nan", "mixup: .nan"), ("choice", "schedule: linear")
    ):  # fmt: skip
        Path(f"{name}.yaml").write_text(content)
    defaults = ("--data", data, *LITE0, "--device", "cpu")
    given = arguments if "--resume" in arguments else (*defaults, *arguments)
    assert message in refusal(capsys, COMMAND, *given)


@pytest.mark.slow
def test_a_folder_with_a_run_is_not_written_over(data, capsys):
    arguments = ("--data", data, *LITE0, "--recipe", "head", "--epochs", 1, "--batch-size", 6, "--output", "run")
    succeed(COMMAND, *arguments)
    assert "'run' has a run: go on with --resume, or name another" in refusal(capsys, COMMAND, *arguments)


def test_an_unreadable_image_is_named_before_training(data, capsys):
    (data / "cat/3.png").write_bytes(b"no image")
    message = refusal(capsys, COMMAND, "--data", data, *LITE0)
    assert "1 unreadable" in message
    assert "3.png" in message


@pytest.mark.slow
def test_a_loss_that_is_not_finite_ends_the_run(data, capsys):
    assert call(COMMAND, "--config", config(recipe="head", max_grad_norm=None), "--data", data, *LITE0, "--lr", 1e6,
                "--epochs", 30, "--output", "run") == 2  # fmt: skip
    assert "The training loss became" in capsys.readouterr().err


def test_a_subset_of_the_training_images_leaves_the_others_alone(data):
    splits = [_load(Settings(data=str(data), train_images=images)) for images in (None, 8)]
    assert [len(part.train) for part in splits] == [16, 8]
    assert sorted(splits[1].train.targets) == [0] * 4 + [1] * 4
    assert {path for path, _ in splits[1].train.samples} < {path for path, _ in splits[0].train.samples}
    assert splits[0].test.samples == splits[1].test.samples
    assert splits[0].validation.samples == splits[1].validation.samples
