"""What the commands cannot use: one line that names it and the remedy, status 2, and nothing is written."""

import json
import pickle
import shutil
from pathlib import Path

import pytest
import torch
import torchvision
from commands import LITE0, assert_drawn, call, messages, refusal, run
from PIL import Image
from safetensors import safe_open
from safetensors.torch import save_file

from going_modular import model_builder
from going_modular.common import cli
from going_modular.data import sources
from going_modular.saving import checkpoint

QUICK = (*LITE0, "--epochs", 1)


@pytest.fixture(autouse=True)
def inside(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def refused(capsys):
    """Return a function that runs a command that must refuse its input, and returns its one line."""
    return lambda script, *arguments: refusal(capsys, script, *arguments)


@pytest.fixture
def head(tmp_path):
    """A checkpoint for two classes, of a model that nobody trained."""
    model, _ = model_builder.create_model("efficientnet_lite0", 2)
    return checkpoint.save(
        tmp_path / "head.safetensors",
        model,
        model_name="efficientnet_lite0",
        weights="DEFAULT",
        class_names=["cat", "dog"],
    )


class Bomb:
    """A pickle that writes a file when it is opened."""

    def __reduce__(self):
        return Path.touch, (Path("exploded"),)


def half(photo: Path, name: str) -> Path:
    """Write the first half of a photo, as a JPEG."""
    whole = photo.with_name("whole.jpg")
    Image.open(photo).save(whole)
    path = photo.with_name(name)
    path.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    whole.unlink()
    return path


def bad_photos(photo: Path) -> dict[str, str]:
    """Write files that are no photos beside a good one; return a word of what is wrong with each."""
    (photo.parent / "empty.png").touch()
    photo.with_name("text.jpg").write_text("no photo")
    half(photo, "half.jpg")
    Image.new("1", (20_000, 20_000)).save(photo.with_name("huge.png"))
    return {"empty.png": "is empty", "text.jpg": "no image", "half.jpg": "truncated", "huge.png": "400 megapixels"}


@pytest.mark.slow
@pytest.mark.parametrize("flags", [(), ("--augment",), ("--no-cache",)])
def test_all_unreadable_training_images_are_named(make_classes, refused, flags):
    data = make_classes("data")
    words = bad_photos(data / "cat" / "0.png")
    message = refused("train.py", "--data", data, *QUICK, *flags, "--output", "out")
    for name, word in words.items():
        assert f"{data / 'cat' / name}': " in message
        assert word in message
    assert "4 unreadable" in message
    assert "dog" not in message


@pytest.mark.slow
def test_predict_prints_the_good_ones_and_names_the_bad(make_image, head, capsys):
    good = make_image("photos/good.png"), make_image("photos/zoo/also good.png")
    words = bad_photos(good[0])
    assert call("predict.py", "photos", "missing.jpg", "--checkpoint", head, "--plot", "out.png") == cli.BAD_INPUT
    captured = capsys.readouterr()
    assert [line.split("\t")[0] for line in captured.out.splitlines()] == [
        "photos/good.png",
        "photos/zoo/also good.png",
    ]
    [message] = messages(captured.err)
    for name, word in [*words.items(), ("missing.jpg", "no such file")]:
        assert name in message
        assert word in message
    assert "good.png" not in message
    assert_drawn(Path("out.png"))

    assert call("predict.py", "photos", "--checkpoint", head, "--json") == cli.BAD_INPUT
    assert len(json.loads(capsys.readouterr().out)) == 2


@pytest.mark.slow
@pytest.mark.parametrize("name", ["missing.jpg", "half.jpg", "huge.png", "empty.png", "text.jpg"])
def test_predict_on_one_bad_file(make_image, head, refused, name):
    bad_photos(make_image("photos/good.png"))
    assert f"'photos/{name}'" in refused("predict.py", f"photos/{name}", "--checkpoint", head)


def test_predict_on_what_holds_no_image(tmp_path, head, refused):
    (tmp_path / "empty").mkdir()
    assert "'empty' has no images" in refused("predict.py", "empty", "--checkpoint", head)
    message = refused("predict.py")
    assert "IMAGE" in message


def test_data_that_is_not_there_or_no_data(refused, tmp_path):
    message = refused("train.py", "--data", "nowhere")
    assert "'nowhere'" in message
    assert "pizza_steak_sushi" in message
    (tmp_path / "notes.zip").write_text("no zip")
    assert "'notes.zip'" in refused("train.py", "--data", "notes.zip")
    (tmp_path / "nothing").mkdir()
    assert "nothing" in refused("train.py", "--data", "nothing")


def test_classes_that_cannot_be_learned(make_classes, refused, tmp_path):
    data = make_classes("data")
    (data / "owl").mkdir()
    message = refused("train.py", "--data", data, *QUICK)
    assert "owl" in message
    assert "remove it" in message
    assert "one class only, 'cat'" in refused("train.py", "--data", make_classes("one", ("cat",)), *QUICK)
    (tmp_path / "no images" / "cat").mkdir(parents=True)
    (tmp_path / "no images" / "dog").mkdir()
    assert "no images in the class folder cat, dog" in refused("train.py", "--data", "no images", *QUICK)

    make_classes("differ/train", ("cat", "dog"))
    make_classes("differ/test", ("cat", "owl"))
    assert "only in train: dog; only in test: owl" in refused("train.py", "--data", "differ", *QUICK)


def test_unknown_models_and_models_without_a_head(make_classes, refused):
    data = make_classes("data")
    message = refused("train.py", "--data", data, "--model", "efficientnet_bo")
    assert "Unknown model 'efficientnet_bo'; try one of efficientnet_b0" in message
    assert "squeezenet1_1 has no Linear" in refused(
        "train.py", "--data", data, "--model", "squeezenet1_1", "--weights", "none"
    )
    # told before anything is downloaded
    assert "Unknown model" in refused("train.py", "--data", "pizza_steak_sushi", "--model", "resnet81")


def test_what_was_asked_for_by_name_never_falls_back(make_classes, refused, tmp_path, monkeypatch):
    message = refused("train.py", "--data", make_classes("data"), "--model", "efficientnet_b0")
    assert "efficientnet_b0" in message
    assert "pass the file as weights" in message
    monkeypatch.setattr(sources, "DATA_FOLDER", tmp_path / "data")  # the clone's may have the photos by now
    for name in sources.DOWNLOADS:
        message = refused("train.py", "--data", name, *QUICK)
        assert f"'{name}'" in message
        assert "GOING_MODULAR_OFFLINE" in message
        assert "'sample'" in message


def test_weights_that_do_not_fit_or_are_no_weights(make_classes, refused, tmp_path, recwarn):
    arguments = ("--data", make_classes("data"), *QUICK, "--output", "out", "--weights")
    torch.save(torchvision.models.resnet18(weights=None).state_dict(), tmp_path / "resnet18.pth")
    assert "Weights do not fit efficientnet_lite0" in refused("train.py", *arguments, "resnet18.pth")
    (tmp_path / "notes.pth").write_text("no weights")
    (tmp_path / "bomb.pth").write_bytes(pickle.dumps({"weights": Bomb()}))
    torch.save({"weights": Bomb()}, tmp_path / "bomb.zip.pth")
    for name in ("notes.pth", "bomb.pth", "bomb.zip.pth"):
        assert f"Cannot read weights from '{name}'" in refused("train.py", *arguments, name)
    assert not recwarn.list  # on a terminal each would be more than the one line
    message = refused("train.py", *arguments, "IMAGENET1K_V9")
    assert "'IMAGENET1K_V9': no such file" in message
    assert "IMAGENET1K_V1" in message


def test_checkpoints_that_are_none(make_image, head, refused, tmp_path):
    photo = make_image("photo.png")
    (tmp_path / "run").mkdir()
    (tmp_path / "truncated.safetensors").write_bytes(head.read_bytes()[:9_000])
    (tmp_path / "empty.safetensors").touch()
    (tmp_path / "text.safetensors").write_text("no checkpoint")
    save_file({"weight": torch.zeros(2)}, tmp_path / "foreign.safetensors")
    (tmp_path / "bomb.safetensors").write_bytes(pickle.dumps(Bomb()))
    torch.save({"weights": Bomb()}, tmp_path / "torch.safetensors")
    words = {
        "missing": "no such file",
        "run": "is a folder",
        "truncated.safetensors": "is damaged",
        "empty.safetensors": "is damaged",
        "text.safetensors": "is damaged",
        "foreign.safetensors": "is not one of train.py's",
        "bomb.safetensors": "is a pickle",
        "torch.safetensors": "is a pickle",
    }
    for name, word in words.items():
        assert f"Checkpoint '{name}'" in (message := refused("predict.py", photo, "--checkpoint", name))
        assert word in message
    assert "run train.py first" in refused("predict.py", photo)


def test_a_checkpoint_of_other_classes(make_image, head, refused, tmp_path):
    photo = make_image("photo.png")
    with safe_open(head, framework="pt") as file:
        described = json.loads(file.metadata()[checkpoint.FORMAT])
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a dict
    described["class_names"].append("owl")
    save_file(tensors, tmp_path / "three.safetensors", {checkpoint.FORMAT: json.dumps(described)})
    message = refused("predict.py", photo, "--checkpoint", "three.safetensors")
    assert "does not fit efficientnet_lite0 with the 3 classes it names" in message


@pytest.mark.parametrize("script", ["train.py", "predict.py"])
@pytest.mark.parametrize("device", ["cuda", "nonsense", "meta", ""])
def test_devices_that_are_not_here(make_classes, head, refused, script, device):
    if device == "cuda" and torch.cuda.is_available():
        pytest.skip("CUDA is available here: asking for it is no error")
    data = make_classes("data")
    arguments = ("--data", data, *QUICK) if script == "train.py" else (data, "--checkpoint", head)
    message = refused(script, *arguments, "--device", device)
    assert f"Device {device!r} is not available here" in message
    assert "--device cpu" in message


def test_output_that_cannot_be_written(make_classes, head, refused, tmp_path):
    data = make_classes("data")
    (tmp_path / "file").touch()
    for output in ("file", "file/out", "file/deep/out", "/proc/out", "x" * 300):
        assert f"'{output}'" in refused("train.py", "--data", data, *QUICK, "--output", output)
    (tmp_path / "runs").touch()
    assert "'runs'" in refused("train.py", "--data", data, *QUICK)
    photo = next(data.rglob("*.png"))
    assert "'file'" in refused("predict.py", photo, "--checkpoint", head, "--plot", "file/plot.png")
    assert "is a folder" in refused("predict.py", photo, "--checkpoint", head, "--plot", data)


@pytest.mark.slow
def test_a_process_that_refuses_exits_with_2_and_one_line(make_classes, tmp_path):
    data = make_classes("data")
    shutil.copy(__file__, data / "cat" / "text.jpg")
    finished = run("train.py", "--data", data, *QUICK, cwd=tmp_path)
    assert finished.returncode == cli.BAD_INPUT
    [message] = messages(finished.stderr)
    assert message.startswith("train.py: error: 1 unreadable: Cannot open image ")
    assert {path.name for path in tmp_path.iterdir()} == {"data"}
