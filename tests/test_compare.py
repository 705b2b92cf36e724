"""compare.py: runs side by side, those that were tested on other images apart."""

import json
import re
import shutil
from pathlib import Path

import pytest
import torch
from commands import LITE0, call, refusal, succeed

from going_modular import compare, data_setup, model_builder
from going_modular.data import provenance
from going_modular.saving import checkpoint
from going_modular.serving import comparison, run_curves, runs

COMMAND = "compare.py"
NASTY = "<script>alert(1)</script>"


@pytest.fixture(autouse=True)
def inside(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def write_run(name, splits, *, accuracy, head_seed=0, **changes):
    """Write what a run of train.py leaves that compare.py reads; its head was never trained."""
    folder = Path(name)
    folder.mkdir(parents=True)
    torch.manual_seed(head_seed)
    model, _ = model_builder.create_model("efficientnet_lite0", len(splits.class_names))
    checkpoint.save(
        folder / "model.safetensors",
        model,
        model_name="efficientnet_lite0",
        weights="DEFAULT",
        class_names=splits.class_names,
        trained_on=provenance.record(splits),
    )
    told = {
        "model": "efficientnet_lite0",
        "data": splits.name,
        "data_source": splits.source,
        "epochs": 2,
        "augment": False,
        "n_test": len(splits.test),
        "test_accuracy": accuracy,
        "test_accuracy_interval": [accuracy / 2, 1.0],
        "seconds": {"total": 1.25},
        "history": {name: [0.9, 0.5] for name in ("train_loss", "train_acc", "test_loss", "test_acc")},
    } | changes
    (folder / "metrics.json").write_text(json.dumps(told), encoding="utf-8")
    return folder


@pytest.fixture
def splits(make_classes):
    return data_setup.load_splits(make_classes("data", images=8))


@pytest.mark.slow
def test_runs_on_the_same_images_stand_together_sorted(splits, make_classes, capsys):
    other = data_setup.load_splits(make_classes("other", ("owl", "yak"), images=7))
    write_run("runs/a", splits, accuracy=0.5)
    write_run("runs/deep/er/b", splits, accuracy=0.75, head_seed=1, recipe="head-then-all")
    write_run("runs/c", other, accuracy=1.0)
    shutil.copytree("data", "moved")  # the images, not the place, tell data
    moved = data_setup.load_splits("moved")
    write_run("runs/d", moved, accuracy=0.625, augment=True)
    (old := write_run("runs/e", splits, accuracy=0.9) / "model.safetensors").unlink()
    assert not old.exists()

    succeed(COMMAND, "runs/")
    tables = [part.splitlines() for part in capsys.readouterr().out.strip().split("\n\n")]
    assert [len(re.findall(r"runs/[a-e]|runs/deep/er/b", "\n".join(part[2:5]))) for part in tables] == [3, 1, 1]
    assert tables[0][0].startswith(f"{len(splits.test)} test images of data (digest ")
    assert [line.split()[0] for line in tables[0][2:5]] == ["runs/deep/er/b", "runs/d", "runs/a"]
    assert "head-then-all" in tables[0][2]
    assert "head, augmented" in tables[0][3]
    assert "0.750 (0.375 to 1.000)" in tables[0][2]
    parameters = sum(p.numel() for p in model_builder.create_model("efficientnet_lite0", 2)[0].parameters())
    assert f"{parameters:,}" in tables[0][2]
    assert "kB" in tables[0][2]
    assert tables[0][5].startswith(f"The best two, on {len(splits.test)} images: runs/deep/er/b alone is right on ")
    assert tables[1][0].startswith(f"{len(other.test)} test images of other (digest ")
    assert tables[2][0].startswith("Test images not known")
    assert "none" in tables[2][2]


def test_mcnemar_is_that_of_the_two_models(splits):
    best = write_run("runs/a", splits, accuracy=0.75, head_seed=1)
    other = write_run("runs/b", splits, accuracy=0.5, head_seed=2)
    test = comparison.compare(runs.read(best), runs.read(other))
    assert test["n"] == len(splits.test)
    assert 0 <= test["p_value"] <= 1
    turned = comparison.compare(runs.read(other), runs.read(best))
    assert (test["only_a_right"], test["only_b_right"]) == (turned["only_b_right"], turned["only_a_right"])
    same = comparison.compare(runs.read(best), runs.read(best))
    assert (same["only_a_right"], same["only_b_right"], same["p_value"]) == (0, 0, 1.0)


@pytest.mark.slow
def test_data_that_has_moved_is_said_and_named(splits, capsys):
    for name in "ab":
        write_run(f"runs/{name}", splits, accuracy=0.5)
    Path("data").rename("elsewhere")
    succeed(COMMAND)
    assert "cannot be compared: The data 'data' that" in capsys.readouterr().out
    succeed(COMMAND, "--data", "elsewhere")
    assert "McNemar's p is 1: at 5% they may be equally good" in capsys.readouterr().out


def test_the_best_of_many_is_called_flattered(splits, monkeypatch):
    told = {"n": 4, "only_a_right": 1, "only_b_right": 0, "p_value": 1.0, "differ": False}
    monkeypatch.setattr(comparison, "compare", lambda *_: told)
    many = [runs.read(write_run(f"runs/{i}", splits, accuracy=0.5)) for i in range(5)]
    [group] = comparison.group(many)
    assert "owes some of its lead to chance" in comparison.verdict(group)
    assert "chance" not in comparison.verdict(comparison.Group(group.test_images, group.runs[:2]))
    assert comparison.verdict(comparison.Group(group.test_images, group.runs[:1])) is None
    assert comparison.verdict(comparison.Group(runs.NOT_KNOWN, group.runs)) is None


@pytest.mark.parametrize(
    "content",
    [
        "",
        "[]",
        "{}",
        "{" * 5000,
        '{"model": 3}',
        '{"interrupted": true}',
        json.dumps({"data": "d", "model": "m", "epochs": 10**30}),
    ],
)
def test_what_is_no_finished_run_is_left_out(splits, capsys, content):
    write_run("runs/good", splits, accuracy=0.5)
    Path("runs/bad").mkdir()
    Path("runs/bad/metrics.json").write_text(content)
    succeed(COMMAND)
    out = capsys.readouterr().out
    assert "runs/good" in out
    assert re.search(r"^Left out: '?runs/bad.*left out$", out, re.MULTILINE)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("test_accuracy", 1.5),
        ("test_accuracy", float("nan")),
        ("test_accuracy", "0.5"),
        ("test_accuracy_interval", [0.1]),
        ("seconds", {"total": 10**399}),
        ("seconds", {}),
        ("history", [1, 2]),
        ("history", {"train_loss": "abc"}),
        ("epochs", True),
        ("data", "d" * 100_000),
    ],
)
def test_an_odd_value_leaves_a_run_out(splits, field, value, capsys):
    write_run("runs/odd", splits, accuracy=0.5, **{field: value})
    assert "runs/odd" in refusal(capsys, COMMAND)


def test_bad_input_is_one_line(splits, capsys):
    Path("runs").mkdir()
    assert "No finished run in 'runs'" in refusal(capsys, COMMAND, "runs")
    assert "is no folder" in refusal(capsys, COMMAND, "nowhere")
    write_run("runs/a", splits, accuracy=0.5)
    assert "is a folder" in refusal(capsys, COMMAND, "--html", "runs")
    assert compare.Settings().folders == (Path("runs"),)


def test_a_damaged_checkpoint_costs_its_columns_alone(splits, capsys):
    (write_run("runs/a", splits, accuracy=0.5) / "model.safetensors").write_bytes(b"\x80 no checkpoint")
    succeed(COMMAND)
    out = capsys.readouterr().out
    assert "Test images not known" in out
    assert "0.500 (0.250 to 1.000)" in out


def test_the_page_needs_nothing_else_and_names_break_nothing(splits, capsys):
    write_run(f"runs/{NASTY.replace('/', '')}", splits, accuracy=0.5, recipe=NASTY, head_seed=3)
    history = {"train_loss": [None, 0.5], "val_loss": [0.4, 0.3], "train_acc": [0.1, 0.2], "val_acc": [0.2, 0.3]}
    write_run("runs/b$x_$", splits, accuracy=0.75, history=history)
    succeed(COMMAND, "--html", "pages/runs.html")
    assert "Wrote: pages/runs.html" in capsys.readouterr().out
    page = Path("pages/runs.html").read_text(encoding="utf-8")
    assert "<script" not in page
    assert "&lt;script&gt;" in page
    assert page.count('src="data:image/png;base64,') == page.count("<img") == 1
    assert not re.findall(r'(?:src|href)="(?!data:)', page)
    assert "McNemar" in page


def test_curves_lie_over_each_other(splits):
    several = [runs.read(write_run(f"runs/{i}", splits, accuracy=0.5)) for i in range(3)]
    figure = run_curves.draw(several)
    assert [len(axes.lines) for axes in figure.axes] == [6, 6]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == [f"runs/{i}" for i in range(3)]
    for lines in (axes.lines for axes in figure.axes):
        assert {line.get_color() for line in lines[:2]} != {line.get_color() for line in lines[2:4]}


@pytest.mark.slow
def test_real_runs_of_both_commands(make_classes, capsys):
    data = make_classes("data", images=15)
    succeed("train.py", "--data", data, *LITE0, "--epochs", 2, "--output", "runs/first")
    succeed("train.py", "--data", data, *LITE0, "--epochs", 1, "--seed", 7, "--output", "runs/other-split")
    succeed(
        "fine_tune.py", "--data", data, *LITE0, "--recipe", "head", "--epochs", 2, "--output", "runs/tuned"
    )  # fmt: skip
    assert call("train.py", "--data", data, *LITE0, "--find-lr", "--output", "runs/rates") == 0
    capsys.readouterr()
    succeed(COMMAND, "runs", "--html", "runs.html")
    out = capsys.readouterr().out
    assert "runs/rates" not in out
    first, tuned = (json.loads(Path(f"runs/{name}/metrics.json").read_text()) for name in ("first", "tuned"))
    for told in (first, tuned):
        assert f"{told['test_accuracy']:.3f}" in out
    assert out.count("test images of data (digest ") == 2
    assert "McNemar's p is" in out
    succeed("evaluate.py", "--checkpoint", "runs/first/model.safetensors", "--against", "runs/tuned/model.safetensors")
    against = json.loads(Path("runs/first/evaluation/report.json").read_text())["against"]
    assert f"McNemar's p is {against['p_value']:.3g}:" in out
