import json
import pickle
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from going_modular import model_builder
from going_modular.common import files
from going_modular.common.errors import InputError
from going_modular.models import pretrained
from going_modular.saving import checkpoint

NAME = "efficientnet_lite0"  # its weights are installed
CLASSES = ["披萨", "بيتزا", "sushi 🍣"]
METRICS = {"test_accuracy": 0.92, "history": {"train_loss": [1.1, 0.5]}, "note": "é"}


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    """Images this small are not worth several, which wait for one another where the machine is busy."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def backbone_tensors():
    return pretrained.state_dict(NAME, "DEFAULT")


@pytest.fixture
def model():
    torch.manual_seed(0)
    return model_builder.create_model(NAME, 3)[0]


@pytest.fixture
def random_model():
    torch.manual_seed(0)
    return model_builder.create_model("mobilenet_v3_small", 3, weights=None)[0]


@pytest.fixture
def saved(model, tmp_path):
    """A checkpoint that holds a head only."""
    return save(tmp_path / "model.safetensors", model)


def save(path, model, **options):
    return checkpoint.save(
        path, model, **({"model_name": NAME, "weights": "DEFAULT", "class_names": CLASSES} | options)
    )


def error_of(function, *arguments, **options):
    with pytest.raises(InputError) as caught:
        function(*arguments, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def described(path):
    with safe_open(path, framework="pt") as file:
        return json.loads(file.metadata()[checkpoint.FORMAT])


@torch.inference_mode()
def logits(model):
    return model(torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(1)))


# what goes in comes out


def test_a_frozen_backbone_is_not_written(model, tmp_path):
    path = save(str(tmp_path / "头.safetensors"), model, metrics=METRICS, precision="bf16")
    assert path.stat().st_size < 20_000
    with safe_open(path, framework="pt") as file:
        assert sorted(file.keys()) == ["1.bias", "1.weight"]
    assert described(path) == {
        "model": NAME,
        "weights": "IMAGENET1K_V1",
        "part": "head",
        "class_names": CLASSES,
        "transform": repr(pretrained.entry(NAME, None).transforms()),
        "precision": "bf16",
        "metrics": METRICS,
    }
    loaded = checkpoint.load(str(path))
    assert torch.equal(logits(loaded.model), logits(model))
    assert not loaded.model.training
    assert repr(loaded.transform) == repr(model_builder.create_model(NAME, 3)[1])
    assert (loaded.class_names, loaded.model_name, loaded.weights) == (CLASSES, NAME, "IMAGENET1K_V1")
    assert (loaded.precision, loaded.metrics) == ("bf16", METRICS)


def test_saving_reads_no_weights_again(model, tmp_path, monkeypatch):
    def refuse(*_):
        raise AssertionError("weights are read")

    monkeypatch.setattr(pretrained, "state_dict", refuse)
    assert described(save(tmp_path / "head.safetensors", model))["part"] == "head"


def test_random_weights_are_written_whole(random_model, tmp_path):
    path = save(tmp_path / "model.safetensors", random_model, model_name="mobilenet_v3_small", weights=None)
    assert (described(path)["part"], described(path)["weights"], described(path)["metrics"]) == ("model", None, {})
    loaded = checkpoint.load(path)
    assert torch.equal(logits(loaded.model), logits(random_model))
    assert loaded.weights is None


def unfreeze(model):
    model.requires_grad_(True)


def fine_tune_and_freeze_again(model):
    with torch.no_grad():
        model.features[0][0].weight[0, 0, 0, 0] += 1


def loop_in_train_mode(model):
    """What a loop that calls `model.train()` does to a frozen BatchNorm."""
    logits(model.train())
    model.eval()


@pytest.mark.slow
@pytest.mark.parametrize("change", [unfreeze, fine_tune_and_freeze_again, loop_in_train_mode])
def test_a_backbone_that_is_no_longer_the_pretrained_one_is_written_whole(model, tmp_path, change):
    change(model)
    path = save(tmp_path / "model.safetensors", model)
    assert described(path)["part"] == "model"
    loaded = checkpoint.load(path)
    assert torch.equal(logits(loaded.model), logits(model))
    assert loaded.weights == "IMAGENET1K_V1"
    assert all(torch.equal(tensor, loaded.model.state_dict()[name]) for name, tensor in model.state_dict().items())


def test_equal_models_give_equal_files(model, random_model, tmp_path):
    for each, options in [(model, {}), (random_model, {"model_name": "mobilenet_v3_small", "weights": None})]:
        first, second = (save(tmp_path / name, each, metrics=METRICS, **options).read_bytes() for name in ("a", "b"))
        assert first == second
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b"]


@pytest.mark.parametrize("header", [896, 1152])
def test_a_header_that_starts_as_a_pickle_does_is_read(model, tmp_path, header):
    # a safetensors file starts with its header's length, a pickle with 0x80 and the number of its protocol
    length = int.from_bytes(save(tmp_path / "model.safetensors", model).read_bytes()[:8], "little")
    note = "x" * (header - length - len('\\"note\\": \\"\\"'))
    path = save(tmp_path / "model.safetensors", model, metrics={"note": note})
    assert path.read_bytes()[:8] == header.to_bytes(8, "little")
    assert checkpoint.load(path).metrics == {"note": note}


# backbones from a local file


@pytest.fixture
def file_saved(backbone_tensors, tmp_path):
    """A checkpoint of a head on a local file of weights; the file."""
    changed = {name: tensor * (1.01 if name.endswith("weight") else 1) for name, tensor in backbone_tensors.items()}
    file = tmp_path / "权重.safetensors"
    save_file({name: tensor.contiguous() for name, tensor in changed.items()}, file)
    model = model_builder.create_model(NAME, 3, weights=file)[0]
    return save(tmp_path / "model.safetensors", model, weights=file), file, model


def test_a_head_on_a_local_file_asks_for_that_file(file_saved, tmp_path):
    path, file, model = file_saved
    digest = files.file_sha256(file)
    assert described(path)["weights"] == {"file": file.name, "sha256": digest}
    assert described(path)["part"] == "head"
    moved = file.rename(tmp_path / "elsewhere.safetensors")
    assert torch.equal(logits(checkpoint.load(path, weights=moved).model), logits(model))
    assert torch.equal(logits(checkpoint.load(path, weights=str(moved)).model), logits(model))

    error = error_of(checkpoint.load, path)
    assert f"on the weights file {file.name!r} (SHA-256 {digest[:12]}...): pass that file as weights" in error
    assert "no such file" in error_of(checkpoint.load, path, weights=file)
    file.write_bytes(moved.read_bytes() + b"more")
    error = error_of(checkpoint.load, path, weights=file)
    assert f"{str(file)!r} are not those that {str(path)!r} was trained on" in error
    assert digest[:12] in error


def test_a_head_on_named_weights_takes_no_other_file(file_saved, model, tmp_path):
    path = save(tmp_path / "named.safetensors", model)
    assert "are not those that" in error_of(checkpoint.load, path, weights=file_saved[1])


def test_a_file_of_torchvisions_stands_for_its_name(tmp_path, random_model, monkeypatch):
    """For classrooms behind a firewall: the file's digest is the one in torchvision's name."""
    name = "mobilenet_v3_small"
    tensors = model_builder._build(name, pretrained.entry(name, None)).state_dict()
    torch.save(tensors, file := tmp_path / "file.pth")
    address = f"https://example.invalid/m-{files.file_sha256(file)[:8]}.pth"
    monkeypatch.setattr(pretrained.entry(name, None).value, "url", address)
    hub_file = pretrained.hub_path(pretrained.entry(name, None))
    hub_file.parent.mkdir(parents=True)
    hub_file.write_bytes(file.read_bytes())
    model = model_builder.create_model(name, 3)[0]
    path = save(tmp_path / "model.safetensors", model, model_name=name)

    hub_file.unlink()
    assert "are not in" in error_of(checkpoint.load, path)
    assert torch.equal(logits(checkpoint.load(path, weights=file).model), logits(model))


# files that are none


def test_a_file_cut_short_anywhere_is_damaged(saved):
    content = saved.read_bytes()
    header = int.from_bytes(content[:8], "little")
    for length in (1, 7, 8, 9, header // 2, header + 7, header + 8, header + 9, len(content) // 2, len(content) - 1):
        saved.write_bytes(content[:length])
        assert f"Checkpoint {str(saved)!r} is damaged" in error_of(checkpoint.load, saved), length
    saved.write_bytes(content + b"more")
    assert "is damaged" in error_of(checkpoint.load, saved)
    for content in (b"", b"text", bytes(100), b"\xff" * 100):
        saved.write_bytes(content)
        assert "is damaged" in error_of(checkpoint.load, saved)


def test_what_is_no_checkpoint_says_so(tmp_path):
    assert "is a folder; name the model.safetensors in it" in error_of(checkpoint.load, tmp_path)
    assert "no such file" in error_of(checkpoint.load, tmp_path / "missing.safetensors")
    for metadata in (None, {"format": "pt"}):
        save_file({"weight": torch.ones(2)}, tmp_path / "foreign.safetensors", metadata=metadata)
        assert "is not one of train.py's" in error_of(checkpoint.load, tmp_path / "foreign.safetensors")


class Bomb:
    """Leaves a mark where it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


@pytest.mark.parametrize("kind", ["torch.save", "old torch.save", *range(6)])
def test_a_pickle_is_never_opened(tmp_path, kind):
    mark, path = tmp_path / "mark", tmp_path / "model.safetensors"
    if isinstance(kind, str):
        torch.save(Bomb(mark), path, _use_new_zipfile_serialization=kind == "torch.save")
    else:
        path.write_bytes(pickle.dumps(Bomb(mark), protocol=kind))
    error = error_of(checkpoint.load, path)
    assert "which could run anything, and is not opened" in error or kind in (0, 1)
    assert not mark.exists()


# metadata that a stranger wrote


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model": "resnet19"}, "Unknown model 'resnet19'"),
        ({"model": "resnet18", "weights": None, "part": "model"}, "does not fit resnet18"),
        ({"model": "squeezenet1_1", "weights": None, "part": "model"}, "squeezenet1_1 has no Linear"),
        ({"model": ["x"]}, "(its model cannot be used)"),
        ({"weights": "IMAGENET1K_V9"}, "has no weights named"),
        ({"weights": __file__}, "has no weights named"),
        ({"weights": ["IMAGENET1K_V1"]}, "(its weights cannot be used)"),
        ({"weights": {"file": "a.pth"}}, "(its weights cannot be used)"),
        ({"weights": {"file": "a.pth", "sha256": 7}}, "(its weights cannot be used)"),
        ({"weights": None}, "(its part cannot be used)"),
        ({"part": "xyz"}, "(its part cannot be used)"),
        ({"part": ["head"]}, "(its part cannot be used)"),
        ({"part": "model"}, "does not fit efficientnet_lite0 with the 3 classes"),
        ({"class_names": "abc"}, "(its class_names cannot be used)"),
        ({"class_names": [1, 2, 3]}, "(its class_names cannot be used)"),
        ({"class_names": None}, "(its class_names cannot be used)"),
        ({"class_names": []}, "num_classes is 0"),
        ({"class_names": ["a", "b"]}, "does not fit efficientnet_lite0 with the 2 classes it names"),
        ({"class_names": ["a", "b", "c", "d"]}, "does not fit efficientnet_lite0 with the 4 classes it names"),
        ({"precision": "fp64"}, "(its precision cannot be used)"),
        ({"metrics": [], "model": 1}, "(its model, metrics cannot be used)"),
    ],
)
def test_hostile_metadata_is_refused_in_a_line(saved, model, change, message):
    tensors = model_builder.head(model).state_dict()
    save_file(tensors, saved, metadata={checkpoint.FORMAT: json.dumps(described(saved) | change)})
    assert message in error_of(checkpoint.load, saved)


@pytest.mark.parametrize("text", ["[]", "null", "7", "{}", '{"model": "resnet18"}', "{", "", "[" * 100_000])
def test_metadata_of_another_kind_is_refused_in_a_line(saved, text):
    save_file({"weight": torch.ones(2)}, saved, metadata={checkpoint.FORMAT: text})
    assert f"Checkpoint {str(saved)!r} is damaged" in error_of(checkpoint.load, saved)


@pytest.mark.slow
def test_tensors_that_do_not_fit_are_refused(saved, random_model, tmp_path):
    head = {"1.weight": torch.ones(3, 1280), "1.bias": torch.ones(3)}
    for tensors in ({}, {"1.bias": torch.ones(3)}, head | {"1.bias": torch.tensor(1.0)}, head | {"2.x": torch.ones(1)}):
        save_file(tensors, tmp_path / "other", metadata={checkpoint.FORMAT: json.dumps(described(saved))})
        assert "does not fit efficientnet_lite0" in error_of(checkpoint.load, tmp_path / "other")
    # the last tensor of a whole model is a BatchNorm's counter, which has no length
    path = save(tmp_path / "whole", random_model, model_name="mobilenet_v3_small", weights=None)
    state = random_model.state_dict() | {"classifier.3.bias": torch.ones(5)}
    save_file(state, path, metadata={checkpoint.FORMAT: json.dumps(described(path))})
    assert "does not fit mobilenet_v3_small with the 3 classes" in error_of(checkpoint.load, path)


# writing


@pytest.mark.parametrize("class_names", [[], ["one"], ["a", "b", "c", "d"]])
def test_as_many_names_as_logits(model, tmp_path, class_names):
    error = error_of(save, tmp_path / "model.safetensors", model, class_names=class_names)
    assert f"{len(class_names)} class names for 3 logits" in error
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("method", "error"), [("replace", OSError(28, "No space")), ("open", KeyboardInterrupt)])
def test_an_interrupted_write_leaves_the_old_file(model, saved, monkeypatch, method, error):
    before = saved.read_bytes()

    def interrupted(self, *_):
        self.write_text("half") if method != "open" else self.touch()
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(Path, method, interrupted)
        with pytest.raises(InputError if method == "replace" else KeyboardInterrupt):
            save(saved, model, metrics=METRICS)
    assert saved.read_bytes() == before
    assert [path.name for path in saved.parent.iterdir()] == [saved.name]
    save(saved, model, metrics=METRICS)
    assert checkpoint.load(saved).metrics == METRICS


def test_a_folder_that_cannot_be_written_is_named(model, tmp_path):
    (tmp_path / "file").touch()
    for path in (tmp_path / "missing" / "model.safetensors", tmp_path / "file" / "model.safetensors"):
        error = error_of(save, path, model)
        assert f"Cannot write the checkpoint {str(path)!r}" in error
        assert "name another folder" in error
