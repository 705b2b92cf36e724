"""The first command of a newcomer: train.py without arguments, offline; and predict.py with what it left."""

import json
import os
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from commands import HANGS, PACKAGE, assert_drawn, count_colours, isolation, messages, run, start, succeed
from PIL import Image

from going_modular.common import cli
from going_modular.data import sources
from going_modular.saving import run_folder

pytestmark = pytest.mark.slow

SAMPLE = sources.DATA_FOLDER / "sample"
CLASSES = ["pizza", "steak", "sushi"]
CURVES = ("train_loss", "train_acc", "test_loss", "test_acc")


@pytest.fixture(scope="module")
def first_run(tmp_path_factory):
    """`train.py` without arguments, in a fresh clone, offline: the folder it ran in, and what it printed."""
    clone, cwd = tmp_path_factory.mktemp("clone"), tmp_path_factory.mktemp("first")
    shutil.copytree(PACKAGE, clone / "going_modular")  # ours may have the photos by now
    (clone / "data").mkdir()
    (clone / "data" / "sample").symlink_to(SAMPLE)
    return cwd, run(
        clone / "going_modular" / "train.py",
        cwd=cwd,
        PYTHONPATH=str(clone),
        **isolation(cwd),
    )


@pytest.fixture(scope="module")
def output(first_run):
    [folder] = (first_run[0] / "runs").iterdir()
    return folder


@pytest.fixture(scope="module")
def metrics(output):
    return json.loads((output / "metrics.json").read_text(encoding="utf-8"))


def test_no_arguments_train_on_what_is_there_and_say_so(first_run):
    cwd, finished = first_run
    assert finished.returncode == 0, finished.stderr
    lines = finished.stdout.splitlines()
    assert [line for line in lines if "the bundled sample of rendered images (offline)" in line] == lines[:1]
    assert "225 training and 75 test images" in lines[0]
    assert [line for line in lines if "efficientnet_lite0, its ImageNet weights are installed" in line] == lines[1:2]
    assert "efficientnet_b0 has no weights here" in lines[1]

    epochs = [line for line in lines if re.match(r"Epoch \d/5 \| train_loss: ", line)]
    assert epochs == lines[2:7]
    assert re.match(r"Test accuracy: \d\.\d+ \(95% interval \d\.\d+ to \d\.\d+, 75 images\); .* 0\.333$", lines[7])
    assert re.match(r"Time: data .* s, .*features .* s, head .* s, .*total .* s$", lines[8])
    assert lines[9] == "Wrote:"
    assert [Path(line.strip()).name for line in lines[10:]] == list(run_folder.FILES)
    assert all((cwd / line.strip()).exists() for line in lines[10:])


def test_progress_bars_go_to_stderr_and_nothing_else_does(first_run):
    _, finished = first_run
    assert re.search(r"Features: +100%.*300/300", finished.stderr)
    assert re.search(r"Epochs: +100%.*5/5", finished.stderr)
    assert messages(finished.stderr) == []


def test_a_run_writes_its_files_and_nothing_else(first_run, output):
    assert {path.name for path in output.iterdir()} == set(run_folder.FILES)
    assert {path.name for path in first_run[0].iterdir()} == {"cache", "runs"}
    assert (output / "model.safetensors").stat().st_size < 25_000  # the head only


def test_metrics_say_what_was_done(metrics):
    assert metrics["model"] == "efficientnet_lite0"
    assert metrics["weights"] == "IMAGENET1K_V1"
    assert metrics["data"] == "sample"
    assert metrics["class_names"] == CLASSES
    assert (metrics["n_train"], metrics["n_test"], metrics["epochs"], metrics["seed"]) == (225, 75, 5, 42)
    assert (metrics["batch_size"], metrics["lr"], metrics["augment"]) == (32, 1e-3, False)
    assert metrics["precision"] in ("fp32", "bf16")
    assert metrics["majority_baseline"] == pytest.approx(1 / 3)
    assert {"python", "torch", "torchvision"} <= metrics["versions"].keys()
    assert all(re.match(r"\d+\.\d+", version) for version in metrics["versions"].values())


def test_metrics_say_what_came_out(metrics):
    assert list(metrics["history"]) == list(CURVES)
    assert all(len(values) == 5 for values in metrics["history"].values())
    assert all(isinstance(value, float) for values in metrics["history"].values() for value in values)
    assert metrics["history"]["train_loss"][-1] < metrics["history"]["train_loss"][0]

    matrix = np.array(metrics["confusion_matrix"])
    assert matrix.shape == (3, 3)
    assert matrix.sum(axis=1).tolist() == [25, 25, 25]
    assert metrics["test_accuracy"] == np.trace(matrix) / 75 > metrics["majority_baseline"]
    low, high = metrics["test_accuracy_interval"]
    assert 0 <= low <= metrics["test_accuracy"] <= high <= 1
    assert low < high
    # the last epoch's weights are kept, and tested
    assert metrics["history"]["test_acc"][-1] == metrics["test_accuracy"]
    assert metrics["history"]["test_loss"][-1] == pytest.approx(metrics["test_loss"], rel=1e-4)


def test_seconds_add_up(metrics):
    seconds = dict(metrics["seconds"])
    total = seconds.pop("total")
    assert {"data", "features", "head"} <= seconds.keys()
    assert all(value >= 0 for value in seconds.values())
    assert sum(seconds.values()) == pytest.approx(total, rel=0.01)


def test_the_figures_show_something(output):
    for name in (name for name in run_folder.FILES if name.endswith(".png")):
        assert_drawn(output / name)
    with Image.open(output / "predictions.png") as image:
        pixels = np.asarray(image.convert("RGB"))
    rows = np.array_split(pixels, 3)
    cells = [cell for row in rows for cell in np.array_split(row, 4, axis=1)]  # 12 images, 4 a row
    assert min(count_colours(cell) for cell in cells) > 1000


def test_predict_reproduces_the_accuracy_with_the_newest_run(first_run, metrics, monkeypatch, capsys):
    monkeypatch.chdir(first_run[0])
    succeed("predict.py", SAMPLE / "test")
    captured = capsys.readouterr()
    assert messages(captured.err) == []
    matrix = np.zeros((3, 3), dtype=int)
    for line in captured.out.splitlines():
        path, label, probability = line.split("\t")
        matrix[CLASSES.index(Path(path).parent.name), CLASSES.index(label)] += 1
        assert 1 / 3 <= float(probability) <= 1
    assert matrix.tolist() == metrics["confusion_matrix"]


def test_predict_writes_json(output, metrics, tmp_path, monkeypatch, capsys):
    photos = sorted((SAMPLE / "test").rglob("*.jpg"))
    monkeypatch.chdir(tmp_path)
    succeed("predict.py", *photos, "--json", "--checkpoint", output / "model.safetensors")
    rows = json.loads(capsys.readouterr().out)
    assert [row["path"] for row in rows] == list(map(str, photos))
    for row in rows:
        assert list(row["probabilities"]) == CLASSES
        assert sum(row["probabilities"].values()) == pytest.approx(1)
        assert row["probability"] == max(row["probabilities"].values()) == row["probabilities"][row["label"]]
    true = [row["probabilities"][Path(row["path"]).parent.name] for row in rows]
    assert -np.log(true).mean() == pytest.approx(metrics["test_loss"], rel=0.02)


def test_a_reader_that_has_enough_ends_the_command_quietly(first_run, output, tmp_path):
    photo = next((SAMPLE / "test").rglob("*.jpg"))
    read_end, write_end = os.pipe()
    os.close(read_end)
    with start("predict.py", photo, cwd=output.parent.parent, stdout=write_end) as process:
        os.close(write_end)
        _, stderr = process.communicate(timeout=HANGS)
    assert (process.returncode, stderr) == (cli.BROKEN_PIPE, "")
