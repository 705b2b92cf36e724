"""train.py: where its images and weights come from, and what the same command gives again."""

import json
import os
import warnings
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from commands import LITE0, call, messages, succeed
from PIL import Image
from safetensors.torch import load_file, save_file

from going_modular import data_setup, features
from going_modular.common import cli
from going_modular.common.files import file_sha256
from going_modular.data import feature_store
from going_modular.models.efficientnet_lite import EfficientNetLite0Weights
from going_modular.saving import checkpoint, run_folder

QUICK = (*LITE0, "--epochs", 1)


@pytest.fixture(autouse=True)
def inside(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def train(output: str, *arguments: object) -> dict:
    """Run train.py; return its metrics."""
    succeed("train.py", *arguments, "--output", output)
    return json.loads(Path(output, "metrics.json").read_text(encoding="utf-8"))


def head_of(output: str) -> bytes:
    return Path(output, "model.safetensors").read_bytes()


def pack(folder: Path, archive: Path, root: str) -> Path:
    with zipfile.ZipFile(archive, "w") as packed:
        for path in folder.rglob("*.png"):
            packed.write(path, Path(root) / path.relative_to(folder))
    return archive


@pytest.mark.slow
def test_a_folder_of_class_folders_is_split_80_20_and_stratified(make_classes):
    metrics = train("out", "--data", make_classes("pets", tuple("abcdef"), images=5), *QUICK)
    assert (metrics["data"], metrics["n_train"], metrics["n_test"]) == ("pets", 24, 6)
    assert np.sum(metrics["confusion_matrix"], axis=1).tolist() == [1] * 6
    assert metrics["majority_baseline"] == pytest.approx(1 / 6)


@pytest.mark.slow
@pytest.mark.parametrize("root", ["", "holiday/pets"])
@pytest.mark.parametrize("split", [False, True])
def test_zips_with_and_without_an_enclosing_folder(make_classes, tmp_path, root, split):
    for part in ("train", "test") if split else ("",):
        make_classes(f"pets/{part}", images=5)
    metrics = train("out", "--data", pack(tmp_path / "pets", tmp_path / "pets.zip", root), *QUICK)
    assert metrics["class_names"] == ["cat", "dog"]
    assert (metrics["data"], metrics["n_train"], metrics["n_test"]) == ("pets", *((10, 10) if split else (8, 2)))


def photos_of_every_kind(folder: Path) -> None:
    """Write images of the kinds that cameras, scanners and the web make."""
    folder.mkdir(parents=True)
    noise = Image.fromarray(np.random.default_rng(7).integers(0, 256, (48, 64, 3), dtype=np.uint8))
    for mode in ("L", "LA", "P", "RGBA", "1"):
        noise.convert(mode).save(folder / f"{mode}.png")
    noise.convert("CMYK").save(folder / "cmyk.jpg")
    Image.fromarray(np.random.default_rng(8).integers(0, 2**16, (48, 64), dtype=np.uint16)).save(folder / "deep.png")
    noise.save(folder / "animated.gif", save_all=True, append_images=[noise.rotate(90)])
    for extension in ("tif", "webp", "bmp"):
        noise.save(folder / f"plain.{extension}")
    Image.new("RGB", (1, 1), "red").save(folder / "dot.png")
    Image.new("RGB", (1, 4000), "blue").save(folder / "strip.png")
    exif = Image.Exif()
    exif[0x0112] = 6
    noise.save(folder / "turned.jpg", exif=exif)
    noise.save(folder / "named.jpg", format="PNG")
    noise.save(folder / "纳豆 ñ.jpg")


@pytest.mark.slow
@pytest.mark.parametrize("flags", [(), ("--augment",)])
def test_photos_of_every_kind_and_class_names_of_every_script(make_classes, tmp_path, capsys, flags):
    make_classes("data", ("بيتزا",), images=16)
    photos_of_every_kind(tmp_path / "data" / "寿司")
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "No font here has all characters")
        warnings.filterwarnings("error", ".*missing from.*")  # matplotlib's word for a box in a figure
        metrics = train("out", "--data", "data", *QUICK, *flags)
    assert metrics["class_names"] == ["بيتزا", "寿司"]
    assert metrics["n_train"] + metrics["n_test"] == 32
    assert metrics["augment"] is bool(flags)

    capsys.readouterr()
    succeed("predict.py", "data", "--checkpoint", "out/model.safetensors")
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 32
    assert {line.split("\t")[1] for line in lines} <= {"بيتزا", "寿司"}
    assert any(line.startswith("data/寿司/纳豆 ñ.jpg\t") for line in lines)


@pytest.mark.slow
def test_the_same_command_gives_the_same_head_however_features_are_kept(make_classes):
    make_classes("data", images=8)
    cache = Path(os.environ["GOING_MODULAR_CACHE"])
    arguments = ("--data", "data", *LITE0, "--epochs", 3)
    without = train("without", *arguments, "--no-cache")
    assert not cache.exists()
    cold = train("cold", *arguments)
    assert list((cache / "features").rglob("*.safetensors"))
    warm = train("warm", *arguments)
    assert without["history"] == cold["history"] == warm["history"]
    assert head_of("without") == head_of("cold") == head_of("warm")
    train("other", *arguments, "--seed", 1)
    assert head_of("other") != head_of("cold")


@pytest.mark.slow
def test_no_cache_does_not_read_either(make_classes):
    make_classes("data")
    train("cold", "--data", "data", *QUICK)
    for shard in Path(os.environ["GOING_MODULAR_CACHE"], "features").rglob("*.safetensors"):
        stored = load_file(shard)
        stored["features"] += 1
        checksum = feature_store._checksum(stored["hashes"], stored["features"])
        save_file(stored, shard, metadata={feature_store.CHECKSUM: checksum})
    poisoned = train("poisoned", "--data", "data", *QUICK)
    assert poisoned["history"] != train("no", "--data", "data", *QUICK, "--no-cache")["history"]
    assert head_of("no") == head_of("cold")


@pytest.mark.slow
def test_augmented_training_repeats_itself(make_classes):
    make_classes("data")
    arguments = ("--data", "data", *LITE0, "--epochs", 2)
    first, second = (train(name, *arguments, "--augment") for name in ("first", "second"))
    assert first["history"] == second["history"]
    assert head_of("first") == head_of("second")
    assert not list(Path("first").glob("*.part"))


def test_augmentation_is_for_training_images_alone(make_classes, monkeypatch):
    loaded = []
    make_loaders = data_setup.make_loaders
    monkeypatch.setattr(
        data_setup,
        "make_loaders",
        lambda *parts, **options: loaded.extend(parts) or make_loaders(*parts, **options | {"num_workers": 0}),
    )
    train("out", "--data", make_classes("data"), *QUICK, "--augment")
    training, test = loaded
    assert not torch.equal(training[0][0], training[0][0])
    assert torch.equal(test[0][0], test[0][0])


def test_runs_that_end_at_the_same_moment_get_a_folder_each():
    assert len({run_folder.make("resnet18") for _ in range(20)}) == 20


@pytest.mark.slow
def test_random_weights_are_kept_whole_and_predict_reproduces_them(make_classes, capsys):
    for part in ("train", "test"):
        make_classes(f"data/{part}", ("cat", "dog", "owl"), images=5)
    metrics = train("out", "--data", "data", *LITE0, "--epochs", 2, "--weights", "none")
    assert metrics["weights"] is None
    assert len([name for name in load_file("out/model.safetensors") if not name.startswith("trained_on.")]) == 296
    capsys.readouterr()
    succeed("predict.py", "data/test", "--checkpoint", "out/model.safetensors", "--json")
    rows = json.loads(capsys.readouterr().out)
    right = [row["label"] == Path(row["path"]).parent.name for row in rows]
    assert np.mean(right) == metrics["test_accuracy"]
    true = [row["probabilities"][Path(row["path"]).parent.name] for row in rows]
    assert -np.log(true).mean() == pytest.approx(metrics["test_loss"], rel=1e-3)


@pytest.mark.slow
def test_a_weights_file_is_recorded_and_asked_for(make_classes, tmp_path, capsys):
    data = make_classes("data")
    weights = EfficientNetLite0Weights.DEFAULT.get_state_dict()
    torch.save(weights, tmp_path / "lite0.pth")
    torch.save({name: tensor + 0.01 for name, tensor in weights.items()}, tmp_path / "other.pth")
    metrics = train("out", "--data", data, *QUICK, "--weights", "lite0.pth")
    sha256 = file_sha256(tmp_path / "lite0.pth")
    assert metrics["weights"] == {"file": "lite0.pth", "sha256": sha256}
    assert Path("out/model.safetensors").stat().st_size < 25_000

    photo = next(data.rglob("*.png"))
    capsys.readouterr()
    assert call("predict.py", photo) == cli.BAD_INPUT  # no runs/ here
    assert "name a --checkpoint" in capsys.readouterr().err
    options = (photo, "--checkpoint", "out/model.safetensors")
    assert call("predict.py", *options) == cli.BAD_INPUT
    [message] = messages(capsys.readouterr().err)
    assert "'lite0.pth'" in message
    assert sha256[:12] in message
    assert "--weights" in message
    assert call("predict.py", *options, "--weights", "other.pth") == cli.BAD_INPUT
    [message] = messages(capsys.readouterr().err)
    assert "'other.pth' are not those" in message
    succeed("predict.py", *options, "--weights", "lite0.pth")
    assert capsys.readouterr().out.startswith(f"{photo}\t")


@pytest.mark.slow
def test_the_head_fits_features_of_the_recorded_precision(make_classes):
    data = make_classes("data")
    for precision in ("fp32", "bf16"):
        assert train(precision, "--data", data, *QUICK, "--precision", precision)["precision"] == precision
        assert checkpoint.load(f"{precision}/model.safetensors").precision == precision
    assert head_of("fp32") != head_of("bf16")


@pytest.mark.slow
def test_an_interrupt_after_the_last_epoch_keeps_them_all(make_classes, monkeypatch, capsys):
    data = make_classes("data")

    def interrupt(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(run_folder, "_draw", interrupt)  # no signal can be timed to fall here
    assert call("train.py", "--data", data, *LITE0, "--epochs", 2) == cli.INTERRUPTED
    [folder] = Path("runs").iterdir()
    assert messages(capsys.readouterr().err) == [f"train.py: interrupted; epochs 1 to 2 are kept in {folder}"]
    assert {path.name for path in folder.iterdir()} == {"model.safetensors", "metrics.json", "tensorboard"}
    assert checkpoint.load(folder / "model.safetensors").class_names == ["cat", "dog"]

    monkeypatch.setattr(features, "extract", interrupt)  # with --augment it comes after training
    assert call("train.py", "--data", data, *QUICK, "--augment", "--output", "augmented") == cli.INTERRUPTED
    assert "epochs 1 to 1 are kept in augmented" in capsys.readouterr().err


@pytest.mark.slow
def test_the_output_folder_may_exist_and_lie_deep(make_classes):
    data = make_classes("data")
    first = train("a/b/c", "--data", data, *QUICK)
    again = train("a/b/c", "--data", data, *QUICK)
    assert first["history"] == again["history"]
    assert not Path("runs").exists()


@pytest.mark.slow
def test_the_newest_run_is_the_default_checkpoint(make_classes, capsys):
    for name in ("old", "new"):
        data = make_classes(name, (f"{name} cat", f"{name} dog"))
        succeed("train.py", "--data", data, *QUICK)
    capsys.readouterr()
    succeed("predict.py", next(data.rglob("*.png")))
    assert capsys.readouterr().out.split("\t")[1].startswith("new ")
