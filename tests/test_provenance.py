"""The split travels with the model: what it was trained on is never measured as a test without a word."""

import json
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from commands import LITE0, call, messages, refusal, succeed
from matplotlib import pyplot as plt
from safetensors.torch import load_file, save_file

from going_modular import data_setup, evaluate, fine_tune, model_builder, predict, train
from going_modular.common import cli
from going_modular.data import images, provenance
from going_modular.data.provenance import Provenance
from going_modular.data.splits import SplitRule
from going_modular.evaluation import leaks
from going_modular.saving import checkpoint

CHECKPOINT = Path("runs/run/model.safetensors")


@pytest.fixture(autouse=True)
def inside(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def run(make_classes) -> dict:
    """Train with another seed than the default one on class folders; return its metrics."""
    make_classes("pets", images=15)
    succeed("train.py", "--data", "pets", *LITE0, "--epochs", 30, "--lr", 0.01, "--seed", 7, "--output", "runs/run")
    return json.loads(Path("runs/run/metrics.json").read_text())


def report(folder: str = "runs/run/evaluation") -> dict:
    return json.loads((Path(folder) / "report.json").read_text())


def measured(*arguments: object) -> dict:
    succeed("evaluate.py", *arguments)
    return report()


def pack(folder: str) -> str:
    with zipfile.ZipFile(f"{folder}.zip", "w") as packed:
        for path in sorted(Path(folder).rglob("*.png")):
            packed.write(path)
    return f"{folder}.zip"


def moved() -> str:
    shutil.move("pets", "elsewhere")
    return "elsewhere"


def renamed() -> str:
    for path in sorted(Path("pets").rglob("*.png")):
        path.rename(path.with_name(f"{hash(path.stem) % 97:02}-{path.name}"))
    return "pets"


def grown() -> str:
    for path in sorted(Path("pets").rglob("*.png")):
        if path.stem in ("0", "3", "7"):
            pixels = np.asarray(images.open_image(path))[:, ::-1]
            images.Image.fromarray(np.ascontiguousarray(pixels)).save(path.with_name(f"new{path.name}"))
    return "pets"


@pytest.mark.slow
@pytest.mark.parametrize("where", [lambda: "pets", lambda: pack("pets"), moved, renamed, grown])
def test_the_runs_own_test_images_are_measured_wherever_they_lie(run, where, capsys):
    data = where()
    capsys.readouterr()
    found = measured("--data", data, "--checkpoint", CHECKPOINT)
    assert found["accuracy"]["value"] == run["test_accuracy"]
    assert found["confusion_matrix"] == run["confusion_matrix"]
    assert (found["n"], found["seen_in_training"]) == (run["n_test"], [])
    lines = capsys.readouterr().out.splitlines()
    [line] = [line for line in lines if line.startswith("Images: ")]
    assert line.startswith("Images: 6 test images of the run")
    assert ("6 others were not there when it was trained" in line) == (where is grown)


@pytest.mark.slow
def test_without_data_the_runs_is_measured(run):
    assert measured()["confusion_matrix"] == run["confusion_matrix"]
    shutil.move("runs/run/model.safetensors", "model.safetensors")  # only the name is left, and the folder is here
    succeed("evaluate.py", "--checkpoint", "model.safetensors")
    assert report("evaluation")["confusion_matrix"] == run["confusion_matrix"]


@pytest.mark.slow
def test_data_that_is_gone_is_asked_for(run, capsys):
    moved()
    assert "'pets'" in (message := refusal(capsys, "evaluate.py"))
    assert "name it with --data" in message


@pytest.mark.slow
def test_seen_images_on_other_data_are_named_and_left_out_of_a_second_line(run, make_classes, capsys):
    make_classes("others/test", images=4)
    make_classes("others/train", images=4)
    for part in ("train", "test"):
        for path in Path(f"others/{part}").rglob("*.png"):
            pixels = 255 - np.asarray(images.open_image(path))
            images.Image.fromarray(pixels).save(path)
    [seen, *_] = data_setup.load_splits("pets", seed=7).train.samples
    shutil.copy(seen[0], "others/test/cat/copy.png")
    capsys.readouterr()
    found = measured("--data", "others")
    assert [Path(path).name for path in found["seen_in_training"]] == ["copy.png"]
    assert found["n"] == 9
    lines = capsys.readouterr().out.splitlines()
    accuracy = next(i for i, line in enumerate(lines) if line.startswith("accuracy "))
    assert any("1 of the 9 images were seen in training" in line for line in lines[:accuracy]), "said before the number"
    right = round(found["accuracy"]["value"] * 9)
    assert found["accuracy_unseen"]["value"] in (right / 8, (right - 1) / 8)
    assert lines[accuracy + 1].startswith("accuracy of unseen images")
    page = Path("runs/run/evaluation/report.html").read_text(encoding="utf-8")
    assert "Accuracy on images not seen in training" in page


@pytest.mark.slow
def test_a_test_of_nothing_but_seen_images_is_refused_unless_it_is_called_all(run, capsys):
    train_part = data_setup.load_splits("pets", seed=7).train
    for path, label in train_part.samples:
        for part in ("train", "test"):
            target = Path("seen", part, train_part.classes[label], Path(path).name)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, target)
    message = refusal(capsys, "evaluate.py", "--data", "seen")
    assert "All 24 test images of 'seen' were seen in training" in message
    assert "--split all" in message
    assert len(measured("--data", "seen", "--split", "all")["seen_in_training"]) == 48


@pytest.mark.slow
def test_one_image_in_common_does_not_make_it_the_runs_data(run, make_classes):
    make_classes("others", images=10)
    for path in Path("others").rglob("*.png"):
        images.Image.fromarray(255 - np.asarray(images.open_image(path))).save(path)
    shutil.copy(data_setup.load_splits("pets", seed=7).test.samples[0][0], "others/cat/known.png")
    expected = len(data_setup.load_splits("others").test)
    assert measured("--data", "others")["n"] == expected
    assert report()["images"] == f"{expected} test images of data that the run did not have"


@pytest.mark.slow
def test_test_images_that_are_gone_are_counted(run):
    Path(data_setup.load_splits("pets", seed=7).test.samples[0][0]).unlink()
    assert measured()["n"] == 5
    assert report()["images"] == "5 of the 6 test images of the run; the others are not there"


@pytest.mark.slow
def test_each_split_is_what_it_is_called(run):
    assert (measured("--split", "train")["n"], len(report()["seen_in_training"])) == (24, 24)
    assert (measured("--split", "all")["n"], len(report()["seen_in_training"])) == (30, 24)


@pytest.mark.slow
def test_an_older_checkpoint_loads_and_says_what_it_cannot_know(run, capsys):
    tensors = {name: value for name, value in load_file(CHECKPOINT).items() if not name.startswith("trained_on.")}
    with checkpoint.safe_open(CHECKPOINT, framework="pt") as file:
        described = json.loads(file.metadata()[checkpoint.FORMAT])
    del described["trained_on"]
    save_file(tensors, "old.safetensors", metadata={checkpoint.FORMAT: json.dumps(described)})
    assert checkpoint.load("old.safetensors").trained_on is None
    capsys.readouterr()
    succeed("evaluate.py", "--data", "pets", "--checkpoint", "old.safetensors")
    assert "whether it was trained on them the checkpoint does not say" in capsys.readouterr().out
    succeed("predict.py", "pets", "--json", "--checkpoint", "old.safetensors")
    assert {row["seen_in_training"] for row in json.loads(capsys.readouterr().out)} == {None}


@pytest.mark.slow
def test_predict_says_which_images_were_seen(run, capsys):
    seen = {path for path, _ in data_setup.load_splits("pets", seed=7).train.samples}
    capsys.readouterr()
    succeed("predict.py", "pets", "--json")
    rows = json.loads(capsys.readouterr().out)
    assert {row["path"]: row["seen_in_training"] for row in rows} == {row["path"]: row["path"] in seen for row in rows}
    assert sum(row["seen_in_training"] for row in rows) == 24


@pytest.mark.slow
def test_a_drawn_prediction_says_so_where_it_is_asked(run):
    loaded = checkpoint.load(CHECKPOINT)
    splits = data_setup.load_splits("pets", seed=7)
    for part, word in ((splits.train, " | seen in training"), (splits.test, "")):
        for known in (loaded.trained_on, None):
            image, _ = part.samples[0]
            predict.pred_and_plot_image(
                loaded.model, loaded.class_names, image, transform=loaded.transform, trained_on=known
            )
            title = plt.gca().get_title()
            assert title.partition(" | Prob: ")[2][5:] == (word if known else "")
            plt.close()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("field", "value"), [("data", 3), ("seed", "7"), ("seed", True), ("validation", 0), ("group_by", 1), (None, "text")]
)
def test_a_record_that_is_none_is_refused(run, field, value):
    with checkpoint.safe_open(CHECKPOINT, framework="pt") as file:
        described = json.loads(file.metadata()[checkpoint.FORMAT])
    described["trained_on"] = described["trained_on"] | {field: value} if field else value
    save_file(load_file(CHECKPOINT), "odd.safetensors", metadata={checkpoint.FORMAT: json.dumps(described)})
    with pytest.raises(ValueError, match="its trained_on cannot be used"):
        checkpoint.load("odd.safetensors")


def test_a_hundred_thousand_images_take_less_than_a_megabyte(tmp_path):
    model, _ = model_builder.create_model("efficientnet_lite0", 2)
    digests = np.sort(np.random.default_rng(0).integers(0, 2**64, 100_000, dtype=np.uint64))
    known = Provenance("pets", SplitRule(3, True, "(.)"), {"train": digests[:80_000], "test": digests[80_000:]})
    for trained_on in (None, known):
        checkpoint.save(
            tmp_path / f"{trained_on is None}.safetensors", model, model_name="efficientnet_lite0", weights="DEFAULT",
            class_names=["a", "b"], trained_on=trained_on,
        )  # fmt: skip
    assert (tmp_path / "False.safetensors").stat().st_size - (tmp_path / "True.safetensors").stat().st_size < 1e6
    loaded = checkpoint.load(tmp_path / "False.safetensors").trained_on
    assert (loaded.data, loaded.rule) == (known.data, known.rule)
    assert all(np.array_equal(loaded.digests[part], known.digests[part]) for part in ("train", "test"))


@pytest.mark.slow
def test_a_checkpoint_names_no_path(run, tmp_path):
    assert str(tmp_path).encode() not in CHECKPOINT.read_bytes()


def test_every_door_has_the_same_default_seed(make_classes):
    folder = make_classes("pets", images=15)
    seed = train.Settings().seed
    assert seed == fine_tune.Settings().seed == evaluate.Settings().seed
    assert data_setup.load_splits(folder).test.samples == data_setup.load_splits(folder, seed=seed).test.samples


def tables(folder: Path, *, count: int = 12) -> Path:
    """Write two classes that were photographed on the same tables, each table twice a class."""
    for name in ("cat", "dog"):
        for table in range(count):
            for shot in range(2):
                path = folder / name / f"{name}_table{table}_{shot}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                noise = np.random.default_rng([len(name), ord(name[0]), table, shot]).integers(0, 256, (32, 32, 3))
                images.Image.fromarray(noise.astype(np.uint8)).save(path)
    return folder


@pytest.mark.parametrize("validation", [False, True])
def test_no_group_stands_on_two_sides(tmp_path, validation):
    folder = tables(tmp_path / "data", count=20)
    splits = data_setup.load_splits(folder, validation=validation, group_by=r"table(\d+)_")
    parts = [part for part in (splits.train, splits.validation, splits.test) if part is not None]
    groups = [{Path(path).stem.split("_")[1] for path, _ in part.samples} for part in parts]
    assert sum(map(len, groups)) == len(set().union(*groups)) == 20
    assert len(groups) == 2 + validation
    assert len(splits.test) == 16
    for part in parts:
        assert np.bincount(part.targets).tolist() == [len(part) // 2] * 2
    again = data_setup.load_splits(folder, validation=not validation, group_by=r"table(\d+)_")
    assert again.test.samples == splits.test.samples


@pytest.mark.slow
@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ("table(", "is no regular expression"),
        ("table", "has no group"),
        (r"chair(\d+)", "names no group for 48 of 48 images"),
        ("(cat|dog)", "'(cat|dog)': 2 groups; a split needs 5"),
    ],
)
def test_a_pattern_that_makes_no_groups_is_refused(tmp_path, capsys, pattern, message):
    tables(tmp_path / "data")
    assert message in refusal(capsys, "train.py", "--data", "data", *LITE0, "--group-by", pattern)


@pytest.mark.slow
def test_groups_travel_with_the_model(tmp_path):
    tables(tmp_path / "data")
    arguments = ("--data", "data", *LITE0, "--epochs", 2, "--output", "runs/run")
    succeed("train.py", *arguments, "--group-by", r"table(\d+)_")
    run = json.loads(Path("runs/run/metrics.json").read_text())
    rule = {"seed": 42, "validation": False, "group_by": r"table(\d+)_", "corrections": None}
    assert run["split"] == rule
    assert measured()["confusion_matrix"] == run["confusion_matrix"]
    assert checkpoint.load(CHECKPOINT).trained_on.rule.group_by == r"table(\d+)_"


@pytest.mark.slow
def test_validation_images_count_as_seen(tmp_path):
    tables(tmp_path / "data", count=10)
    Path("settings.json").write_text(json.dumps({"recipe": "head", "epochs": 2}))
    succeed("fine_tune.py", "--config", "settings.json", "--data", "data", *LITE0, "--output", "runs/run")
    run = json.loads(Path("runs/run/metrics.json").read_text())
    assert measured()["confusion_matrix"] == run["confusion_matrix"]
    assert len(measured("--split", "all")["seen_in_training"]) == run["n_train"] + run["n_val"] == 40 - run["n_test"]


@pytest.mark.slow
def test_a_second_evaluation_opens_no_image_to_look_for_leaks(run, monkeypatch):
    first = measured("--split", "test")
    opened, fingerprint = [], leaks._fingerprint
    monkeypatch.setattr(leaks, "_fingerprint", lambda path: opened.append(path) or fingerprint(path))
    assert measured("--split", "test")["in_both_splits"] == first["in_both_splits"]
    assert opened == []


def test_digests_tell_contents_not_names(make_image):
    first, other = make_image("a.png", seed=1), make_image("b.png", seed=2)
    copy = Path(shutil.copy(first, first.with_name("copy.png")))
    digests = provenance.digest([first, other, copy, first.with_name("missing.png")])
    assert digests[0] == digests[2] != digests[1]
    assert digests[3] == 0
    known = Provenance("x", SplitRule(), {"train": digests[:1], "test": digests[1:2]})
    assert known.parts_of(digests).tolist() == ["train", "test", "train", ""]
    assert known.has_seen(digests).tolist() == [True, False, True, False]
    assert torch.is_tensor(checkpoint._bytes_of(digests))


@pytest.mark.slow
def test_a_damaged_image_is_named_and_nothing_written(run, capsys):
    next(Path("pets/cat").iterdir()).write_bytes(b"no image")
    before = sorted(Path("runs").rglob("*"))
    capsys.readouterr()
    status = call("evaluate.py", "--split", "all")
    assert (status, len(messages(capsys.readouterr().err))) == (cli.BAD_INPUT, 1)
    assert sorted(Path("runs").rglob("*")) == before
