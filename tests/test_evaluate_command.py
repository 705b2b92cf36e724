"""evaluate.py as a user runs it."""

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from commands import LITE0, assert_drawn, isolation, refusal, succeed, write_classes
from PIL import Image

from going_modular import model_builder
from going_modular.data import image_folder
from going_modular.saving import checkpoint

COMMAND = "evaluate.py"
KEYS = {"accuracy", "error_rate", "balanced_accuracy", "matthews_correlation", "log_loss", "brier",
        "expected_calibration_error", "auc"}  # fmt: skip
FIGURES = {"confusion_matrix", "roc", "precision_recall", "reliability", "rejection", "least_sure", "looked_at"}


@pytest.fixture(autouse=True)
def inside(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def data(make_classes) -> Path:
    return make_classes("data", images=15)


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    """Return the folder of one run of train.py on images like those of `data`."""
    folder = tmp_path_factory.mktemp("trained")
    with pytest.MonkeyPatch.context() as patch:
        for name, value in isolation(folder).items():
            patch.setenv(name, value)
        data = write_classes(folder, "data", images=15)
        succeed("train.py", "--data", data, *LITE0, "--epochs", 2, "--output", folder / "run")
    return folder / "run"


@pytest.fixture
def trained(run, inside) -> Path:
    """Return the checkpoint in a copy of the run, beside which a test may write."""
    return Path(shutil.copytree(run, "runs/run")) / "model.safetensors"


def report(folder: str = "runs/run/evaluation") -> dict:
    return json.loads((Path(folder) / "report.json").read_text(encoding="utf-8"))


@pytest.mark.slow
def test_the_accuracy_is_that_of_training(trained, data, capsys):
    succeed(COMMAND, "--data", data)
    out = capsys.readouterr().out
    measured, metrics = report(), json.loads(Path("runs/run/metrics.json").read_text())
    assert measured["accuracy"]["value"] == metrics["test_accuracy"]
    assert measured["accuracy"]["interval"] == pytest.approx(metrics["test_accuracy_interval"])
    assert measured["log_loss"]["value"] == pytest.approx(metrics["test_loss"], rel=1e-5)
    assert measured["confusion_matrix"] == metrics["confusion_matrix"]
    assert measured["n"] == 6
    assert f"{metrics['test_accuracy']:.3f}" in out
    assert measured.keys() >= KEYS
    for name, entries in measured["per_class"].items():
        assert name in ("cat", "dog")
        assert entries.keys() >= {"precision", "sensitivity", "specificity", "f1"}


@pytest.mark.slow
def test_on_real_photos_the_accuracy_is_that_of_training(photos):
    succeed("train.py", "--data", photos, *LITE0, "--output", "runs/run", "--seed", 0)
    succeed(COMMAND, "--data", photos)
    measured, metrics = report(), json.loads(Path("runs/run/metrics.json").read_text())
    assert measured["accuracy"]["value"] == metrics["test_accuracy"]
    assert measured["confusion_matrix"] == metrics["confusion_matrix"]


@pytest.mark.slow
def test_figures_stand_beside_the_report_and_in_it(trained, data):
    succeed(COMMAND, "--data", data, "--output", "there")
    made = {path.stem for path in Path("there").glob("*.png")}
    assert made >= FIGURES
    for path in Path("there").glob("*.png"):
        assert_drawn(path)
    page = Path("there/report.html").read_text(encoding="utf-8")
    assert len(re.findall(r'<img alt="[^"]+" src="data:image/png;base64,', page)) == page.count("<img") == len(made)
    assert "<script" not in page
    assert not re.findall(r'(?:src|href)="(?!data:)', page), "the page asks for something from elsewhere"


@pytest.mark.slow
def test_a_positive_class_reads_as_a_physician_expects(trained, data):
    succeed(COMMAND, "--data", data, "--positive", "dog")
    measured = report()
    (true_negative, false_positive), (false_negative, true_positive) = measured["confusion_matrix"]
    assert measured["positive"] == "dog"
    assert measured["sensitivity"]["value"] == true_positive / (true_positive + false_negative)
    assert measured["specificity"]["value"] == true_negative / (true_negative + false_positive)
    page = Path("runs/run/evaluation/report.html").read_text(encoding="utf-8")
    assert "The positive class, the one looked for, is dog." in page
    assert "Sensitivity" in page


@pytest.mark.slow
def test_two_checkpoints_are_compared_on_the_same_images(trained, data, capsys):
    succeed("train.py", "--data", data, *LITE0, "--epochs", 1, "--seed", 9, "--output", "other")
    succeed(COMMAND, "--data", data, "--checkpoint", trained, "--against", "other/model.safetensors")
    against = report()["against"]
    assert against["checkpoint"] == "other/model.safetensors"
    assert 0 <= against["p_value"] <= 1
    assert "McNemar's p is" in capsys.readouterr().out
    succeed(COMMAND, "--data", data, "--checkpoint", trained, "--against", trained)
    assert (report()["against"]["only_a_right"], report()["against"]["p_value"]) == (0, 1.0)


@pytest.mark.slow
def test_the_training_images_can_be_measured_too(trained, data):
    succeed(COMMAND, "--data", data, "--split", "train")
    assert report()["n"] == 24
    assert "The model learned from these images" in Path("runs/run/evaluation/report.html").read_text()


@pytest.mark.slow
def test_images_in_both_splits_are_named(make_classes, capsys):
    for name in ("train", "test"):
        make_classes(f"data/{name}", images=4)
    rng = np.random.default_rng(0)
    smooth = Image.fromarray(rng.integers(0, 256, (6, 6, 3), dtype=np.uint8)).resize((90, 80), Image.Resampling.BICUBIC)
    smooth.save("data/train/cat/leak.png")
    smooth.save("data/test/cat/leak.jpg", quality=70)
    shutil.rmtree("data/test/dog")
    shutil.copytree("data/train/dog", "data/test/dog")
    succeed("train.py", "--data", "data", *LITE0, "--epochs", 1, "--output", "runs/run")
    capsys.readouterr()
    succeed(COMMAND, "--data", "data")
    found = {(Path(pair["train"]).name, pair["kind"]) for pair in report()["in_both_splits"]}
    assert ("leak.png", "nearly identical") in found
    assert {(f"{i}.png", "identical") for i in range(4)} <= found
    assert "Warning: " in capsys.readouterr().out


def test_labels_follow_the_models_order_of_classes(data):
    dataset = image_folder.ImageFolder(data)
    names = ["dog", "bird", "cat"]
    renamed = dataset.relabel(names)
    assert [names[label] for label in renamed.targets] == [dataset.classes[label] for label in dataset.targets]
    assert [path for path, _ in renamed.samples] == [path for path, _ in dataset.samples]
    assert dataset.classes == ["cat", "dog"]


@pytest.mark.slow
def test_a_class_without_images_is_a_warning_and_no_crash(data, capsys):
    model, _ = model_builder.create_model("efficientnet_lite0", 3)
    names = ["bird", "cat", "dog"]
    checkpoint.save("birds.safetensors", model, model_name="efficientnet_lite0", weights="DEFAULT", class_names=names)
    succeed(COMMAND, "--data", data, "--checkpoint", "birds.safetensors")
    assert report("evaluation")["per_class"]["bird"]["sensitivity"]["value"] is None
    assert "No sample of 'bird'" in capsys.readouterr().out


@pytest.mark.parametrize(("arguments", "message"), [
    (("--checkpoint", "none.safetensors"), "no such file"),
    (("--data", "nowhere"), "Data 'nowhere': no such folder or zip"),
    (("--positive", "cow"), "--positive 'cow' needs one of cat, dog"),
    (("--against", "none.safetensors"), "no such file"),
    (("--split", "validation"), "invalid choice: 'validation'"),
    (("--device", "tpu"), "Device 'tpu' is not available"),
    (("--data", "others"), "has the class cow, which the model does not know: it knows cat, dog"),
])  # fmt: skip
def test_what_cannot_be_used_is_refused_in_one_line(trained, data, make_classes, capsys, arguments, message):
    make_classes("others", ("cat", "cow"), images=3)
    given = arguments if "--data" in arguments else ("--data", data, *arguments)
    assert message in refusal(capsys, COMMAND, *given)


@pytest.mark.slow
def test_rejecting_gives_no_class_to_what_is_unsure(trained, data, capsys):
    capsys.readouterr()
    succeed("predict.py", data, "--json")
    every = json.loads(capsys.readouterr().out)
    border = sorted(row["probability"] for row in every)[10]
    succeed("predict.py", data, "--json", "--reject-below", border)
    kept = json.loads(capsys.readouterr().out)
    assert [row["label"] is None for row in kept] == [row["probability"] < border for row in every]
    succeed("predict.py", data, "--reject-below", border)
    assert capsys.readouterr().out.count("(rejected)") == 10
    assert "is not a number from 0 to 1" in refusal(capsys, "predict.py", data, "--reject-below", 1.5)
