"""The learning-rate range test: what it measures, what it suggests, and that it leaves no trace."""

import copy
import json
import math
import random
import shlex
import subprocess
import sys
from pathlib import Path
from statistics import mean

import numpy as np
import pytest
import torch
import twin
from commands import LITE0, assert_drawn, call, refusal, succeed
from PIL import Image
from torch import nn
from torch.utils.data import DataLoader, RandomSampler, TensorDataset

from going_modular import data_setup, engine, features, model_builder, train
from going_modular.common.errors import InputError
from going_modular.evaluation import range_test
from going_modular.evaluation.range_test import RangeTest, find_learning_rate

slow = pytest.mark.slow


ON_TWO_DEVICES = """
import json, torch, twin
from torch import nn
from torch.utils.data import DataLoader
from going_modular.evaluation.range_test import find_learning_rate
from test_range_test import rows

twin.install()
torch.__future__.set_swap_module_params_on_conversion(True)
curves = []
for device in ("cpu", twin.NAME):
    torch.manual_seed(0)
    model = nn.Linear(8, 2).to(device)
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
    found = find_learning_rate(model, DataLoader(rows(), 16), nn.CrossEntropyLoss(), optimizer, device, progress=False)
    curves.append({"losses": found.losses, "suggestion": found.suggestion})
print(json.dumps(curves))
"""


class Point(nn.Module):
    """A point that learns: of whatever batch it gives its coordinates (B, 2)."""

    def __init__(self) -> None:
        super().__init__()
        self.at = nn.Parameter(torch.tensor([3.0, -2.0]))

    def forward(self, batch: torch.Tensor) -> torch.Tensor:
        return self.at.expand(len(batch), -1)


class Bowl(nn.Module):
    """A quadratic loss; gradient descent on it is stable below a rate of 2 over the curvature."""

    def __init__(self, curvature: float) -> None:
        super().__init__()
        self.curvature = curvature

    def forward(self, logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        return self.curvature / 2 * (logits**2).sum(dim=1).mean()


class LostAt(nn.Module):
    """A loss that is not finite from some call on."""

    def __init__(self, call: int, value: float) -> None:
        super().__init__()
        self.left, self.value = call, value

    def forward(self, logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        self.left -= 1
        return (logits**2).mean() * (1 if self.left > 0 else self.value)


def rows(count: int = 64) -> TensorDataset:
    """Return features (N, 8) of two classes that a line divides."""
    generator = torch.Generator().manual_seed(0)
    values = torch.randn(count, 8, generator=generator)
    return TensorDataset(values, (values[:, 0] > 0).long())


def classifier() -> nn.Sequential:
    torch.manual_seed(1)
    return nn.Sequential(nn.BatchNorm1d(8), nn.Dropout(0.2), nn.Linear(8, 2))


def find(model: nn.Module, loader: DataLoader, loss_fn: nn.Module | None = None) -> RangeTest:
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
    return find_learning_rate(model, loader, loss_fn or nn.CrossEntropyLoss(), optimizer, "cpu", progress=False)


def everything(model: nn.Module, optimizer: torch.optim.Optimizer, generator: torch.Generator) -> bytes:
    """Return all that a range test could change, as bytes."""
    tensors = [*model.state_dict().values(), *(parameter.grad for parameter in model.parameters())]
    tensors += [value for state in optimizer.state.values() for value in state.values()]
    states = [torch.get_rng_state(), generator.get_state(), torch.from_numpy(np.random.get_state()[1].astype(np.int64))]
    told = repr((random.getstate(), np.random.get_state()[2], optimizer.param_groups[0]["lr"]))
    modes = repr([module.training for module in model.modules()])
    return b"".join(tensor.numpy().tobytes() for tensor in [*tensors, *states]) + told.encode() + modes.encode()


@pytest.mark.parametrize("curvature", [0.3, 1, 100, 10_000])
def test_on_a_quadratic_the_suggestion_lies_where_descent_is_stable(curvature):
    found = find(Point(), DataLoader(rows(), 16), Bowl(curvature))
    assert 0 < found.suggestion < 2 / curvature
    point = Point()
    optimizer = torch.optim.SGD(point.parameters(), lr=found.suggestion)
    losses = [engine.train_step(point, DataLoader(rows(), 16), Bowl(curvature), optimizer, "cpu")[0] for _ in range(5)]
    assert losses == sorted(losses, reverse=True)
    assert losses[-1] < losses[0] / 2


def test_the_rate_rises_by_the_same_factor_and_the_test_ends_where_the_loss_is_lost():
    found = find(Point(), DataLoader(rows(), 16), Bowl(100))
    assert found.rates[0] == range_test.LOWEST
    factors = np.diff(np.log(found.rates))
    assert factors == pytest.approx(factors[0])
    assert len(found.rates) == len(found.losses) == len(found.smoothed) < range_test.UPDATES
    assert found.smoothed[-1] > range_test.STOP * min(found.smoothed)
    assert found.smoothed[-2] <= range_test.STOP * min(found.smoothed)
    whole = find(Point(), DataLoader(rows(), 16), Bowl(1e-6))
    assert whole.rates[-1] == pytest.approx(range_test.HIGHEST)
    assert len(whole.rates) == range_test.UPDATES


def test_the_smoothed_loss_is_a_mean_by_samples_of_those_so_far():
    found = find(classifier(), DataLoader(rows(20), 16))  # batches of 16 and 4
    sizes, decay = [16, 4] * 100, 1 - 1 / range_test.MEMORY
    for last in (0, 1, 2, 50):
        weights = [size * decay ** (last - i) for i, size in enumerate(sizes[: last + 1])]
        expected = np.average(found.losses[: last + 1], weights=weights)
        assert found.smoothed[last] == pytest.approx(expected)


def test_model_optimizer_and_random_generators_are_as_they_were():
    generator = torch.Generator().manual_seed(3)
    loader = DataLoader(rows(), sampler=RandomSampler(rows(), generator=generator), batch_size=16)
    model = classifier()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.25)
    engine.train_step(model, loader, nn.CrossEntropyLoss(), optimizer, "cpu")
    model[0].eval()
    before = everything(model, optimizer, generator)
    find_learning_rate(model, loader, nn.CrossEntropyLoss(), optimizer, "cpu", progress=False)
    assert everything(model, optimizer, generator) == before
    with pytest.raises(InputError, match="no batch"):
        find_learning_rate(model, DataLoader(rows(3), 4, drop_last=True), nn.CrossEntropyLoss(), optimizer, "cpu")
    with pytest.raises(KeyboardInterrupt):
        find_learning_rate(model, loader, interrupted, optimizer, "cpu", progress=False)
    assert everything(model, optimizer, generator) == before


def interrupted(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    np.random.random(), random.random()
    raise KeyboardInterrupt


def test_training_goes_on_as_if_there_had_been_no_test():
    histories = []
    for is_tested in (False, True):
        engine.set_seeds(5)
        model, loader = classifier(), DataLoader(rows(), 16, shuffle=True)
        optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
        if is_tested:
            find_learning_rate(model, loader, nn.CrossEntropyLoss(), optimizer, "cpu", progress=False)
        histories.append(
            engine.train(model, loader, loader, optimizer, nn.CrossEntropyLoss(), 3, "cpu", progress=False)
        )
    assert histories[0] == histories[1]


def test_the_same_seed_gives_the_same_curve():
    curves = []
    for _ in range(2):
        engine.set_seeds(5)
        curves.append(find(classifier(), DataLoader(rows(), 16, shuffle=True)))
    assert curves[0] == curves[1]


@pytest.mark.parametrize("count", [1, 3])
def test_a_small_data_set_is_passed_through_again_and_again(count):
    found = find(Point(), DataLoader(rows(count), 2), Bowl(1))
    assert len(found.rates) > 100
    assert 0 < found.suggestion < 2


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_loss_that_is_not_finite_ends_the_test(value):
    found = find(Point(), DataLoader(rows(), 16), LostAt(31, value))
    assert len(found.rates) == len(found.losses) == 30
    assert np.isfinite(found.smoothed).all()
    with pytest.raises(engine.DivergedError, match=f"became {value}"):  # whatever the rate
        find(Point(), DataLoader(rows(), 16), LostAt(1, value))


def test_nothing_is_suggested_where_the_loss_does_not_fall():
    rates = np.geomspace(1e-7, 10, 200).tolist()
    noise = (1 + np.random.default_rng(0).normal(0, 0.01, 200)).tolist()
    for losses in ([1.0] * 200, noise, np.linspace(1, 3, 200).tolist(), [1.0, 0.5], []):
        assert RangeTest(rates[: len(losses)], losses, losses).suggestion is None


def test_a_fall_after_the_minimum_is_none():
    falling = [1.0] * 50 + np.linspace(1, 0.2, 50).tolist()
    spike = [0.7, 0.7, 0.3]  # steeper than the slope
    rates = np.geomspace(1e-7, 10, 103).tolist()
    assert rates[50] < RangeTest(rates, falling + spike, falling + spike).suggestion < rates[100]


def test_images_in_mixed_precision_with_a_frozen_part():
    torch.manual_seed(0)
    images = torch.rand(12, 3, 8, 8)
    loader = DataLoader(TensorDataset(images, (images.mean((1, 2, 3)) > 0.5).long()), 4, shuffle=True)
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(144, 2))
    model[:2].requires_grad_(False)
    optimizer = torch.optim.Adam(model[3].parameters())
    loss_fn, options = nn.CrossEntropyLoss(), {"autocast_dtype": torch.bfloat16, "progress": False}
    before = copy.deepcopy(model.state_dict())
    found = find_learning_rate(model, loader, loss_fn, optimizer, "cpu", **options)
    assert 1e-5 < found.suggestion < 1
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name])


@slow
@pytest.mark.skipif(not twin.IS_POSSIBLE, reason="this torch cannot stand in for a second device")
@pytest.mark.skipif(
    torch.cuda.is_available(), reason="a GPU takes the stand-in's place; CUDA_VISIBLE_DEVICES= hides it"
)
def test_on_another_device_the_curve_is_the_cpus():
    # in a process of its own: torch asks once, at the first backward pass, which devices there are
    done = subprocess.run(
        [sys.executable, "-c", ON_TWO_DEVICES], cwd=Path(__file__).parent, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    here, there = json.loads(done.stdout)
    assert there["losses"] == pytest.approx(here["losses"], rel=1e-3)
    assert there["suggestion"] == here["suggestion"] is not None


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA GPU here")
def test_a_gpus_random_generator_is_as_it_was():
    model = classifier().to("cuda")
    optimizer, before = torch.optim.Adam(model.parameters()), torch.cuda.get_rng_state()
    found = find_learning_rate(model, DataLoader(rows(), 16), nn.CrossEntropyLoss(), optimizer, "cuda", progress=False)
    assert found.suggestion
    assert torch.equal(torch.cuda.get_rng_state(), before)


@pytest.mark.parametrize(
    "settings",
    [
        train.Settings(),
        train.Settings(data="my photos; and more", model="resnet18", weights=None, epochs=7, lr=1e-5, seed=3),
        train.Settings(augment=True, cache=False, output=Path("a b"), group_by=r"p(\d+)", precision="fp32"),
    ],
)
def test_the_command_to_go_on_with_has_the_same_settings(settings, tmp_path, monkeypatch):
    monkeypatch.chdir(Path(train.__file__).parent.parent)
    python, script, *arguments = shlex.split(train._command(settings))
    assert (python, script) == ("python", str(Path("going_modular", "train.py")))
    seen = []
    monkeypatch.setattr(train, "run", seen.append)
    train._main(arguments)
    assert seen == [settings]
    monkeypatch.chdir(tmp_path)
    assert shlex.split(train._command(settings))[1] == train.__file__


def test_a_rate_and_the_search_for_one_exclude_each_other(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert "--find-lr: not allowed with argument --lr" in refusal(capsys, "train.py", "--lr", 0.1, "--find-lr")


@slow
@pytest.mark.parametrize("flags", [(), ("--augment",)])
def test_the_command_suggests_a_rate_and_trains_nothing(make_classes, tmp_path, monkeypatch, capsys, flags):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(range_test, "UPDATES", 60)  # augmented images go through the backbone at each
    data = make_classes("data", images=6)
    for path in (data / "dog").iterdir():  # in noise there is nothing to learn but each image by heart
        Image.new("RGB", (80, 64), "green").save(path)
    arguments = ("--data", data, *LITE0, "--epochs", 2, *flags)
    succeed("train.py", *arguments, "--find-lr")
    out = capsys.readouterr().out
    [folder] = Path("runs").iterdir()
    assert {path.name for path in folder.iterdir()} == {"learning_rate.png", "learning_rate.json"}
    assert_drawn(folder / "learning_rate.png")
    kept = json.loads((folder / "learning_rate.json").read_text())
    assert kept["augment"] is bool(flags)
    assert len(kept["rates"]) == len(kept["losses"]) == len(kept["smoothed"]) > 30
    assert f"Learning rate: {kept['suggestion']:g} is suggested" in out
    assert "no run" not in out
    assert call("predict.py", tmp_path / "data") == 2  # there is no model

    [line] = [line for line in out.splitlines() if line.startswith("Go on with: python ")]
    command = shlex.split(line.removeprefix("Go on with: python "))[1:]
    assert f"--lr {kept['suggestion']}" in line
    succeed("train.py", *command, "--output", "run")
    told = json.loads(Path("run/metrics.json").read_text())
    assert (told["lr"], told["epochs"], told["augment"]) == (kept["suggestion"], 2, bool(flags))


@slow
def test_on_the_sample_the_suggestion_is_as_good_as_the_default(tmp_path):
    splits = data_setup.load_splits("sample")
    model, transform = model_builder.create_model("efficientnet_lite0", 3)
    parts = [part.with_transform(transform) for part in (splits.train, splits.test)]
    made = [features.extract(model, part, cache=False, progress=False) for part in parts]
    accuracies: dict[str, list[float]] = {"default": [], "suggested": []}
    for seed in range(5):
        for name in accuracies:
            engine.set_seeds(seed)
            head = model_builder.head(model_builder.create_model("efficientnet_lite0", 3)[0])
            loaders = data_setup.make_loaders(*made, batch_size=32, num_workers=0)
            optimizer, loss_fn = torch.optim.Adam(head.parameters(), lr=train.Settings().lr), nn.CrossEntropyLoss()
            if name == "suggested":
                found = find_learning_rate(head, loaders[0], loss_fn, optimizer, "cpu", progress=False)
                optimizer.param_groups[0]["lr"] = found.suggestion
            history = engine.train(head, *loaders, optimizer, loss_fn, 5, "cpu", progress=False)
            accuracies[name].append(history["test_acc"][-1])
    # an image of 75 is worth 0.013: what a mean over five seeds may move by chance
    assert mean(accuracies["suggested"]) > mean(accuracies["default"]) - 0.013, accuracies
