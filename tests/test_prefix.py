"""Frozen blocks run once: a model in two parts is the model, and what is trained on maps is what images give."""

import dataclasses
from pathlib import Path

import ddp_worker
import lightning as L
import pytest
import torch
import yaml
from commands import LITE0, call, succeed
from torch import nn
from torch.utils.data import TensorDataset

from going_modular import engine, model_builder
from going_modular.common import cli
from going_modular.common.errors import InputError, Terminated
from going_modular.data.image_folder import ImageFolder
from going_modular.fine_tuning import cut, launch, prefix, recipes, stages
from going_modular.fine_tuning.job import prepare
from going_modular.fine_tuning.settings import Settings
from going_modular.models.vit_s import ViTS14

RUNS_ONCE = "frozen blocks ran once"


def noise(count: int, side: int, seed: int = 1) -> torch.Tensor:
    return torch.randn(count, 3, side, side, generator=torch.Generator().manual_seed(seed))


def gradients(run: nn.Module, inputs: torch.Tensor, model: nn.Module) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    """Return logits of a model as it is trained, and the gradients of what learns."""
    model.zero_grad()
    engine.set_train_mode(model)
    torch.manual_seed(7)
    logits = run(inputs)
    logits.square().sum().backward()
    return logits.detach(), {name: p.grad for name, p in model.named_parameters() if p.requires_grad}


def check_parts(model: nn.Module, blocks: int, side: int) -> None:
    recipes.unfreeze(model, blocks)
    below, rest = prefix.split(model, blocks=blocks)
    images = noise(3, side)
    with torch.no_grad():
        maps = below.eval()(images)
        torch.testing.assert_close(rest.eval()(maps), model.eval()(images))
    logits, expected = gradients(model, images, model)
    given_logits, given = gradients(rest, maps, model)
    torch.testing.assert_close(given_logits, logits)
    assert given.keys() == expected.keys()
    for name, gradient in expected.items():
        scale = gradient.abs().max().item()
        torch.testing.assert_close(given[name], gradient, rtol=1e-3, atol=1e-5 * scale, msg=name)


def test_the_parts_of_a_cnn_are_the_model():
    model, _ = model_builder.create_model(LITE0[1], 3)
    check_parts(model, 3, 96)  # of them block 16 is left out at random


def test_the_parts_of_a_transformer_are_the_model():
    engine.set_seeds(1)
    model = ViTS14(blocks=4)
    model.put_head(3)
    model.requires_grad_(False)
    check_parts(model, 2, 224)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["resnet18", "mobilenet_v3_small", "efficientnet_b0", "hybrid_efficientnet_b0",
                                  "convnext_tiny", "vit_b_16", "swin_t", "densenet121", "vit_s_14", "timm/resnet18",
                                  "timm/vit_tiny_patch16_224", "timm/convnext_atto"])  # fmt: skip
def test_the_parts_of_other_families_are_the_model(name):
    if name.startswith("timm/"):
        pytest.importorskip("timm")
    engine.set_seeds(1)
    model, _ = model_builder.create_model(name, 3, weights=None)
    check_parts(model, 2, 224)


def test_splitting_changes_nothing_in_a_model():
    model, _ = model_builder.create_model(LITE0[1], 3)
    recipes.unfreeze(model, 1)
    engine.set_train_mode(model)
    state = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    learns = [parameter.requires_grad for parameter in model.parameters()]
    modes = [module.training for module in model.modules()]
    drawn = torch.get_rng_state()
    below, rest = prefix.split(model, blocks=2)
    assert torch.equal(torch.get_rng_state(), drawn)
    assert all(torch.equal(tensor, state[name]) for name, tensor in model.state_dict().items())
    assert [parameter.requires_grad for parameter in model.parameters()] == learns
    assert [module.training for module in model.modules()] == modes
    rest(below(noise(2, 64)))  # and neither part leaves anything behind
    assert not any("forward" in vars(module) or module._forward_pre_hooks for module in model.modules())
    assert {id(p) for p in rest.parameters()} == {id(p) for p in model.parameters()}


class Odd(nn.Module):
    """A backbone of three blocks and a head, and something between them that does not go through the cut."""

    def __init__(self, what: str) -> None:
        super().__init__()
        self.what = what
        self.stem, self.first, self.second = (nn.Conv2d(3, 3, 3, padding=1) for _ in range(3))
        self.dropout = nn.Dropout(0.5)
        self.head = nn.Linear(3, 2)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        stem = self.stem(images)
        if self.what == "random":
            stem = self.dropout(stem)
        if self.what == "early":
            stem = stem * self.second.bias.sum()
        maps = self.second(self.first(stem))
        if self.what == "skip":
            maps = maps + stem
        if self.what == "batch":
            maps = maps * len(images)
        return self.head(maps.mean(dim=(2, 3)))


@pytest.mark.parametrize("what", ["skip", "early", "random", "batch"])
def test_a_model_that_cannot_be_cut_says_so(what):
    with pytest.raises(prefix.NoPrefixError, match="Odd cannot be cut before its last 1 blocks: "):
        prefix.split(Odd(what), blocks=1)
    prefix.split(Odd("none"), blocks=1)
    for blocks in (0, 3):
        with pytest.raises(cut.NoPrefixError, match="leave none to run once"):
            prefix.split(Odd("none"), blocks=blocks)


def doubled(images: torch.Tensor) -> torch.Tensor:
    return images.repeat_interleave(2, dim=1)


class Doubled(nn.Module):
    forward = staticmethod(doubled)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_maps_are_those_of_each_image_in_order_in_memory_or_in_a_file(tmp_path, monkeypatch, precision):
    dataset = TensorDataset(noise(7, 4), torch.arange(7) % 3)
    kept = [prefix.extract(Doubled(), dataset, precision=precision, progress=False)]
    monkeypatch.setattr(prefix, "MEMORY_BYTES", 0)
    kept.append(prefix.extract(Doubled(), dataset, precision=precision, folder=tmp_path, progress=False))
    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    for maps, labels in (extracted.tensors for extracted in kept):
        assert torch.equal(maps, doubled(dataset.tensors[0]).to(dtype))
        assert torch.equal(labels, dataset.tensors[1])
    assert list(tmp_path.iterdir()) == [], "the file is still there for others"


def test_maps_that_are_too_large_are_told(tmp_path, monkeypatch):
    dataset = TensorDataset(noise(7, 4), torch.arange(7) % 3)
    monkeypatch.setattr(prefix, "MEMORY_BYTES", 10)
    monkeypatch.setattr(prefix, "FILE_BYTES", 2000)
    with pytest.raises(prefix.NoPrefixError, match=r"The maps of 7 images take 0\.0 GB, more than 0\.0 GB"):
        prefix.extract(Doubled(), dataset, precision="fp32", folder=tmp_path)
    monkeypatch.setattr(prefix, "FILE_BYTES", 10**4)
    monkeypatch.setattr(prefix, "FREE_PART", 0.0)
    with pytest.raises(prefix.NoPrefixError, match=f"and '{tmp_path}' has 0.0 GB for them"):
        prefix.extract(Doubled(), dataset, precision="fp32", folder=tmp_path)
    monkeypatch.setattr(prefix, "FREE_PART", 1.0)
    with pytest.raises(prefix.NoPrefixError, match="cannot hold them: No such file"):
        prefix.extract(Doubled(), dataset, precision="fp32", folder=tmp_path / "none")


def test_images_that_cannot_be_read_are_named(make_classes):
    folder = make_classes("data", images=3)
    for name in ("cat/0.png", "dog/1.png"):
        (folder / name).write_bytes(b"no image")
    model, transform = model_builder.create_model(LITE0[1], 2)
    below, _ = prefix.split(model, blocks=1)
    with pytest.raises(InputError, match=r"2 unreadable: .*cat/0\.png.*dog/1\.png"):
        prefix.extract(below, ImageFolder(folder, transform=transform), progress=False)
    for path in folder.rglob("*.png"):
        path.write_bytes(b"no image")
    with pytest.raises(InputError, match="No image can be read: "):
        prefix.extract(below, ImageFolder(folder, transform=transform), progress=False)


@pytest.fixture
def data(make_classes, tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return make_classes("data", images=12)  # of 24: 16 to train on, 3 to validate with, 5 to test


def fine_tune(output: str, *arguments: object, status: int = 0, **settings: object) -> None:
    fixed = {
        "recipe": "last-2",
        "augment": "none",
        "epochs": 2,
        "batch_size": 6,
        "precision": "fp32",
        "model": LITE0[1],
    }
    Path("settings.yaml").write_text(yaml.safe_dump(fixed | settings))
    assert call("fine_tune.py", "--config", "settings.yaml", "--data", "data", "--output", output, *arguments) == status


def last(output: str) -> dict:
    [path] = Path(output, "checkpoints").glob("*/last.ckpt")
    return torch.load(path, weights_only=True)


def assert_same_run(here: str, there: str) -> None:
    ours, theirs = last(here), last(there)
    assert ours["state_dict"].keys() == theirs["state_dict"].keys()
    for name, tensor in theirs["state_dict"].items():
        torch.testing.assert_close(ours["state_dict"][name], tensor, rtol=1e-4, atol=1e-5, msg=name)
    assert_same_history(ours, theirs)


def assert_same_history(ours: dict, theirs: dict) -> None:
    assert {len(values) for values in theirs["history"].values()} == {theirs["epoch"] + 1}
    for name, values in theirs["history"].items():
        assert ours["history"][name] == pytest.approx(values, rel=1e-4), name


@pytest.fixture
def usual_way(monkeypatch):
    """Return a function that runs a command with the frozen blocks in every epoch."""

    def run(output: str, **settings: object) -> None:
        with monkeypatch.context() as patched:
            patched.setattr(stages, "_what_changes", lambda _: "the test wants it")
            start = launch.start
            patched.setattr(launch, "start", lambda _, *rest: start(ddp_worker.take_part_on_images, *rest))
            fine_tune(output, **settings)

    return run


@pytest.mark.slow
@pytest.mark.parametrize("settings", [
    {"recipe": "last-3"},
    {"recipe": "last-1", "accumulate": 2, "weight_averaging": 0.9, "label_smoothing": 0.1},
    {"model": "vit_s_14", "weights": None},
], ids=["plain", "averaged", "transformer"])  # fmt: skip
def test_a_run_on_maps_gives_what_a_run_on_images_gives(data, usual_way, capfd, settings):
    fine_tune("maps", **settings)
    assert RUNS_ONCE in capfd.readouterr().out
    usual_way("images", **settings)
    out = capfd.readouterr().out
    assert RUNS_ONCE not in out
    assert "frozen blocks: the test wants it" in out
    assert_same_run("maps", "images")


@pytest.mark.slow
@pytest.mark.parametrize("settings", [{"batch_norm": True, "batch_size": 8}, {"devices": 2}], ids=["batch norm", "two"])
def test_a_run_on_maps_learns_what_a_run_on_images_learns(data, usual_way, capfd, settings):
    fine_tune("maps", recipe="last-3", **settings)
    assert RUNS_ONCE in capfd.readouterr().out
    usual_way("images", recipe="last-3", **settings)
    assert RUNS_ONCE not in capfd.readouterr().out
    ours, theirs = last("maps"), last("images")
    assert_same_history(ours, theirs)
    for name, old in model_builder.create_model(LITE0[1], 2)[0].features.state_dict().items():
        here, there = (run["state_dict"][f"model.features.{name}"] for run in (ours, theirs))
        learns = name.startswith(("6.3", "7", "8"))
        if old.ndim > 1 and learns:
            # small batches turn rounding into other signs of gradients near 0, and Adam these into whole steps
            assert (here - there).norm() < 0.2 * (there - old).norm(), name
        elif learns and settings.get("batch_norm"):
            torch.testing.assert_close(here, there, rtol=1e-3, atol=3e-4, msg=name)
            assert "running" not in name or not torch.equal(here, old), name
        else:
            assert torch.equal(here, old), name


class End(L.Callback):
    """End as SIGTERM does, when two epochs are finished."""

    def on_train_epoch_start(self, trainer, pl_module):
        if trainer.current_epoch == 2:
            raise Terminated


@pytest.mark.slow
def test_interrupted_and_resumed_equals_uninterrupted(data, monkeypatch, capfd):
    fine_tune("whole", epochs=4)
    with monkeypatch.context() as patched:
        callbacks = stages._callbacks
        patched.setattr(stages, "_callbacks", lambda *some: [*callbacks(*some), End()])
        fine_tune("ended", epochs=4, status=cli.TERMINATED)
    assert len(last("ended")["history"]["val_loss"]) == 2
    capfd.readouterr()
    succeed("fine_tune.py", "--resume", "ended")
    assert RUNS_ONCE in capfd.readouterr().out
    for name, tensor in last("whole")["state_dict"].items():
        assert torch.equal(last("ended")["state_dict"][name], tensor), name
    assert last("ended")["history"] == last("whole")["history"]
    saved = [Path(name, "model.safetensors").read_bytes() for name in ("whole", "ended")]
    assert saved[0] == saved[1]


def told(capfd: pytest.CaptureFixture) -> str:
    """Return the line that says why each epoch runs all blocks."""
    out = capfd.readouterr().out
    assert RUNS_ONCE not in out
    [line] = [line for line in out.splitlines() if "every epoch runs the" in line]
    return line


@pytest.mark.slow
@pytest.mark.parametrize(("settings", "reason"), [
    ({"augment": "crop"}, "last-2: every epoch runs the 16 frozen blocks: images are augmented (augment: crop)"),
    ({"mixup": 0.4}, "images are mixed"),
    ({"cutmix": 0.4}, "images are mixed"),
])  # fmt: skip
def test_what_changes_in_every_epoch_is_told(data, capfd, settings, reason):
    fine_tune("run", epochs=1, **settings)
    assert reason in told(capfd)


@pytest.mark.slow
def test_where_maps_are_too_large_the_run_takes_the_usual_way(data, monkeypatch, capfd):
    monkeypatch.setattr(prefix, "MEMORY_BYTES", 10)
    fine_tune("file", epochs=1)
    assert RUNS_ONCE in capfd.readouterr().out
    monkeypatch.setattr(prefix, "FILE_BYTES", 10)
    fine_tune("images", epochs=1)
    assert "The maps of 19 images take 0.0 GB, more than 0.0 GB" in told(capfd)
    assert_same_run("file", "images")


@pytest.mark.slow
def test_a_model_that_cannot_be_cut_takes_the_usual_way(data, capfd):
    pytest.importorskip("timm")
    fine_tune("run", epochs=1, model="timm/densenet121", weights=None)
    assert "DenseNet cannot be cut before its last 2 blocks: more than one tensor goes in" in told(capfd)


def test_nothing_is_said_where_no_blocks_are_below(data, capfd):
    fine_tune("run", epochs=1, recipe="last-18")
    out = capfd.readouterr().out
    assert RUNS_ONCE not in out
    assert "frozen blocks" not in out


def test_only_gpus_that_share_statistics_keep_a_model_whole(data):
    job = prepare(Settings(data="data", model=LITE0[1], augment="none", batch_norm=True, device="cpu"))
    assert stages._what_changes(job) is None
    shared = dataclasses.replace(job, device="cuda", settings=dataclasses.replace(job.settings, devices=2))
    assert "those of all GPUs" in stages._what_changes(shared)
    compiled = dataclasses.replace(job, settings=dataclasses.replace(job.settings, compile=True))
    assert "compiled" in stages._what_changes(compiled)
