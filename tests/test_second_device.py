"""Every path that moves data or models, on another device than the CPU: `twin`, which stands in for one, or a CUDA GPU.

`python -m pytest -m gpu` runs what needs a GPU.
"""

import json
import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path

import lightning as L
import pytest
import torch
import twin
import yaml
from commands import LITE0, call, messages, succeed
from lightning.pytorch.accelerators import Accelerator
from lightning.pytorch.strategies import SingleDeviceStrategy
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from going_modular import engine, features, model_builder, predict, vit
from going_modular.common import cli, device
from going_modular.common.errors import InputError, Terminated
from going_modular.evaluation import interpret
from going_modular.fine_tuning import prefix, stages
from going_modular.saving import checkpoint

if twin.IS_POSSIBLE and not torch.cuda.is_available():  # one process has one of them, says torch's backward pass
    twin.install()  # while tests are collected, before any of them trains

SIDE = 64  # px; 32 are few for a MobileNet
CLOSE = {"rtol": 1e-3, "atol": 1e-4}  # of two devices in fp32, as in notebook 03; TF32 is not


class TwinAccelerator(Accelerator):
    """What Lightning asks of a kind of device."""

    def setup_device(self, device: torch.device) -> None:
        assert device.type == twin.NAME

    def get_device_stats(self, device: torch.device) -> dict:
        return {}

    def teardown(self) -> None:
        """Leave everything where it is."""

    @staticmethod
    def parse_devices(devices: int) -> int:
        return devices

    @staticmethod
    def get_parallel_devices(devices: int) -> list[torch.device]:
        return [torch.device(twin.NAME, 0)]

    @staticmethod
    def auto_device_count() -> int:
        return 1

    @staticmethod
    def is_available() -> bool:
        return True

    @staticmethod
    def name() -> str:
        return twin.NAME


class TwinTrainer(L.Trainer):
    """Lightning's Trainer, which knows no such device by name."""

    def __init__(self, **options: object) -> None:
        if options["accelerator"] == twin.NAME:
            strategy = SingleDeviceStrategy(torch.device(twin.NAME, 0), TwinAccelerator())
            options |= {"accelerator": "auto", "strategy": strategy}
        super().__init__(**options)


@pytest.fixture
def stand_in(monkeypatch) -> str:
    """Return the device that stands in for a GPU."""
    if not twin.IS_POSSIBLE:
        pytest.skip(f"torch {torch.__version__} has no devices written in Python; 2.9 does")
    if torch.cuda.is_available():
        pytest.skip("there is a GPU, which takes the stand-in's place; CUDA_VISIBLE_DEVICES= hides it")
    before = torch.__future__.get_swap_module_params_on_conversion()
    torch.__future__.set_swap_module_params_on_conversion(True)  # parameters stay the same objects, as on a GPU
    for name in ("tensor", "as_tensor"):
        monkeypatch.setattr(torch, name, twin.by_way_of_the_cpu(getattr(torch, name)))
    monkeypatch.setattr(stages.L, "Trainer", TwinTrainer)
    yield twin.NAME
    torch.__future__.set_swap_module_params_on_conversion(before)


@pytest.fixture(params=[twin.NAME, pytest.param("cuda", marks=pytest.mark.gpu)])
def second(request) -> str:
    """Return a device that is not the CPU."""
    if request.param == twin.NAME:
        return request.getfixturevalue("stand_in")
    if not torch.cuda.is_available():
        pytest.skip("there is no CUDA GPU here")
    return request.param


@pytest.fixture
def data(make_classes, tmp_path, monkeypatch) -> Path:
    """Return class folders of 24 images, with room for what commands write beside them."""
    monkeypatch.chdir(tmp_path)
    return make_classes("data", images=12)


def images_and_labels(count: int = 10) -> TensorDataset:
    return TensorDataset(
        torch.rand(count, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(1)), torch.arange(count) % 3
    )


def metrics_of(folder: str) -> dict:
    return json.loads((Path(folder) / "metrics.json").read_text())


def test_the_stand_in_refuses_what_a_gpu_refuses(stand_in):
    here = torch.ones(3).to(stand_in)
    torch.testing.assert_close((here * 2 + 1).cpu(), torch.full((3,), 3.0))
    with pytest.raises(RuntimeError, match="same device"):
        here + torch.ones(3)
    with pytest.raises((RuntimeError, TypeError)):
        here.numpy()
    with pytest.raises(TypeError, match="float64"):
        here.double()
    layer = nn.Linear(3, 1).to(stand_in)
    with pytest.raises(RuntimeError, match="same device"):
        layer(torch.ones(1, 3))


def test_features_and_logits_are_those_of_the_cpu(second):
    model, _ = model_builder.create_model(LITE0[1], 3)
    options = {"precision": "fp32", "cache": False, "progress": False}
    on_cpu = features.extract(model, images_and_labels(), **options)
    logits = model_builder.logits(model, on_cpu.tensors[0])
    elsewhere = features.extract(model, images_and_labels(), device=second, **options)
    assert {tensor.device.type for tensor in elsewhere.tensors} == {"cpu"}
    torch.testing.assert_close(elsewhere.tensors, on_cpu.tensors, **CLOSE)
    torch.testing.assert_close(model_builder.logits(model, elsewhere.tensors[0]), logits, **CLOSE)


def test_logits_come_where_only_the_head_moved_back(second):
    model, _ = model_builder.create_model(LITE0[1], 3)
    extracted = features.extract(model, images_and_labels(4), device=second, cache=False, progress=False)
    model_builder.head(model).cpu()
    assert model_builder.logits(model, extracted.tensors[0]).shape == (4, 3)


def train_head(place: str, on_features: bool) -> tuple[dict, dict]:
    """Return the head and the results of two epochs, of the usual loop or on features."""
    engine.set_seeds(7)
    model, _ = model_builder.create_model(LITE0[1], 3)
    head = model_builder.head(model)
    head[0].p = 0.0  # the two draw their Dropout in different orders
    dataset = images_and_labels()
    if on_features:
        dataset = features.extract(model, dataset, device=place, precision="fp32", cache=False, progress=False)
    loaders = (DataLoader(dataset, 4), DataLoader(dataset, 3))
    optimizer = torch.optim.SGD(head.parameters(), lr=0.1)
    learner = head if on_features else model
    results = engine.train(learner, *loaders, optimizer, nn.CrossEntropyLoss(), 2, place, progress=False)
    return {name: value.cpu() for name, value in head.state_dict().items()}, results


def test_the_usual_loop_and_the_loop_on_features_give_the_same_head(second):
    """In fp32 on a GPU from Ampere on this holds without TF32 alone."""
    expected, expected_results = train_head("cpu", on_features=True)
    for on_features in (True, False):
        weights, results = train_head(second, on_features)
        torch.testing.assert_close(weights, expected, **CLOSE)
        torch.testing.assert_close(results, expected_results, **CLOSE)


@pytest.mark.slow
@pytest.mark.parametrize("augment", [(), ("--augment",)])
def test_a_head_is_trained_measured_and_used(second, data, capsys, augment):
    common = (*LITE0, "--data", data, "--epochs", "1", "--batch-size", "4", "--precision", "fp32", *augment)
    for place in ("cpu", second):
        succeed("train.py", *common, "--device", place, "--output", place)
    here, there = metrics_of("cpu"), metrics_of(second)
    assert there["device"] == second
    # a GPU draws other numbers for Dropout
    near = CLOSE if second == twin.NAME else {"rtol": 0.05, "atol": 0.02}
    torch.testing.assert_close(there["history"]["test_loss"], here["history"]["test_loss"], **near)

    for place in ("cpu", second):
        file = f"{second}/model.safetensors"
        succeed("evaluate.py", "--checkpoint", file, "--device", place, "--output", f"report-{place}")
        capsys.readouterr()
        succeed("predict.py", data / "cat", "--checkpoint", file, "--device", place, "--json")
        rows = json.loads(capsys.readouterr().out)
        Path(f"{place}.json").write_text(json.dumps([row["probabilities"] for row in rows]))
    reports = [json.loads(Path(f"report-{place}/report.json").read_text()) for place in ("cpu", second)]
    assert [report["n"] for report in reports] == [5, 5]
    assert reports[0]["accuracy"] == reports[1]["accuracy"]
    probabilities = [json.loads(Path(f"{place}.json").read_text()) for place in ("cpu", second)]
    torch.testing.assert_close(*probabilities, **CLOSE)


def fine_tune(place: str, data: Path, output: str, status: int = 0, **settings: object) -> None:
    Path("settings.yaml").write_text(yaml.safe_dump({"epochs": 2, "batch_size": 8, "precision": "fp32"} | settings))
    arguments = ("--config", "settings.yaml", "--data", data, *LITE0, "--device", place, "--output", output)
    assert call("fine_tune.py", *arguments) == status


@pytest.mark.slow
@pytest.mark.parametrize("recipe", ["head", "last-1", "head-then-all", "all"])
def test_every_recipe_is_trained(second, data, recipe):
    for place in ("cpu", second):
        # not at random: a GPU draws other numbers
        fine_tune(place, data, place, recipe=recipe, epochs=1, head_epochs=1, augment="none")
    here, there = metrics_of("cpu"), metrics_of(second)
    assert there["device"] == second
    for name in ("train_loss", "val_loss"):
        torch.testing.assert_close(there["history"][name], here["history"][name], rtol=0.05, atol=0.02)
    loaded = checkpoint.load(f"{second}/model.safetensors")
    assert predict.predict(data / "cat/0.png", loaded).label in ("cat", "dog")


@pytest.mark.slow
def test_what_mixes_averages_and_augments_is_on_the_device(second, data):
    mixed = {"mixup": 0.2, "cutmix": 0.2, "weight_averaging": 0.9, "augment": "randaugment", "accumulate": 2}
    fine_tune(
        second, data, "mixed", recipe="all", epochs=1, batch_norm=True, label_smoothing=0.1, max_grad_norm=1.0, **mixed
    )
    assert len(metrics_of("mixed")["history"]["val_loss"]) == 1


def test_frozen_blocks_run_once(second):
    model, _ = model_builder.create_model(LITE0[1], 3)
    dataset = images_and_labels()
    expected = features.logits(model, dataset, precision="fp32")
    below, rest = prefix.split(model.to(second), blocks=2)
    maps, labels = prefix.extract(below, dataset, device=second, precision="fp32", progress=False).tensors
    assert maps.device.type == labels.device.type == "cpu"
    with torch.inference_mode(), device.exact_fp32():
        torch.testing.assert_close(rest.eval()(maps.to(second)).cpu(), expected, **CLOSE)


class End(L.Callback):
    """End as SIGTERM does, when an epoch is finished."""

    def on_train_epoch_start(self, trainer, pl_module):
        if trainer.current_epoch == 1:
            raise Terminated


@pytest.mark.slow
@pytest.mark.parametrize("recipe", ["head", "last-1"])
def test_a_run_goes_on(second, data, monkeypatch, recipe):
    fine_tune(second, data, "whole", recipe=recipe, augment="none")
    with monkeypatch.context() as patched:
        callbacks = stages._callbacks
        patched.setattr(stages, "_callbacks", lambda *some: [*callbacks(*some), End()])
        fine_tune(second, data, "ended", cli.TERMINATED, recipe=recipe, augment="none")
    succeed("fine_tune.py", "--resume", "ended")
    whole, ended = metrics_of("whole"), metrics_of("ended")
    torch.testing.assert_close(ended["history"], whole["history"], rtol=1e-2, atol=1e-3)
    assert ended["best_epoch"] == whole["best_epoch"]


def test_what_a_cnn_looks_at_is_drawn(second):
    model, _ = model_builder.create_model(LITE0[1], 3)
    images = images_and_labels(2).tensors[0]
    expected = interpret.grad_cam(model, images, [0, 1])
    maps = interpret.grad_cam(model.to(second), images, [0, 1])
    assert maps.device.type == "cpu"
    torch.testing.assert_close(maps, expected, rtol=0, atol=0.02)


@pytest.mark.parametrize("kind", ["vit", "hybrid"])
def test_what_a_transformer_looks_at_is_drawn(second, kind):
    if kind == "vit":
        shape = {"image_size": 32, "patch_size": 8, "num_layers": 2, "num_heads": 2, "hidden_dim": 16, "mlp_dim": 32}
        model, side = vit.VisionTransformer(**shape, num_classes=3).eval(), 32
    else:
        model, side = model_builder.create_model("hybrid_efficientnet_b0", 3, weights=None)[0], 224
    images = torch.rand(2, 3, side, side, generator=torch.Generator().manual_seed(2))
    expected = interpret.attention_rollout(model, images)
    maps = interpret.attention_rollout(model.to(second), images)
    assert maps.device.type == "cpu"
    torch.testing.assert_close(maps, expected, rtol=0, atol=0.02)


def test_a_checkpoint_has_the_same_weights_whatever_the_device(second, tmp_path):
    model, _ = model_builder.create_model(LITE0[1], 2)
    described = {"model_name": LITE0[1], "weights": "DEFAULT", "class_names": ["a", "b"]}
    checkpoint.save(tmp_path / "here", model, **described)
    checkpoint.save(tmp_path / "there", model.to(second), **described)
    assert (tmp_path / "here").read_bytes() == (tmp_path / "there").read_bytes()
    loaded = checkpoint.load(tmp_path / "there", device=second)
    assert {parameter.device.type for parameter in loaded.model.parameters()} == {second}


def test_sums_are_in_float64_where_the_device_has_it(stand_in):
    assert device.sum_dtype("cpu") == torch.float64
    assert device.sum_dtype(stand_in) == torch.float32


@pytest.mark.gpu
def test_a_gpu_trains_in_mixed_precision(data):
    if not torch.cuda.is_available():
        pytest.skip("there is no CUDA GPU here")
    for precision in ("bf16", "fp16"):
        fine_tune("cuda", data, precision, recipe="head-then-all", head_epochs=1, precision=precision)
        assert metrics_of(precision)["precision"] == precision
    succeed("train.py", *LITE0, "--data", data, "--epochs", "1", "--augment", "--precision", "bf16", "--output", "aug")
    assert metrics_of("aug")["precision"] == "bf16"


class Greedy(nn.Module):
    """A backbone for which memory is out above so many images."""

    def __init__(self, most: int) -> None:
        super().__init__()
        self.most = most
        self.fc = nn.Linear(3, 2)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        if len(images) > self.most:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 1.00 GiB. GPU 0 has ...")
        return self.fc(images.mean(dim=(2, 3)))


def test_a_batch_that_does_not_fit_is_halved_until_it_does(stand_in):
    dataset = images_and_labels(40)
    with pytest.warns(UserWarning, match="has no memory for so many images at a time") as told:
        extracted = features.extract(Greedy(5), dataset, device=stand_in, cache=False, progress=False)
    sizes = [str(warning.message).partition(": ")[2] for warning in told if warning.category is UserWarning]
    assert sizes == [f"{size} from here on" for size in (32, 16, 8, 4)]
    torch.testing.assert_close(extracted.tensors[0], dataset.tensors[0].mean(dim=(2, 3)))
    assert torch.equal(extracted.tensors[1], dataset.tensors[1])
    with pytest.warns(UserWarning, match="1 from"), pytest.raises(torch.OutOfMemoryError):
        features.extract(Greedy(0), dataset, device=stand_in, cache=False, progress=False)


@pytest.mark.parametrize(("side", "images"), [(32, 64), (224, 64), (448, 16), (600, 8), (4000, 1)])
def test_a_gpu_takes_fewer_images_the_larger_they_are(stand_in, side, images):
    dataset = TensorDataset(torch.zeros(1, 3, side, side), torch.zeros(1))
    assert features._gpu_batch(dataset, stand_in) == images


def test_a_command_whose_memory_is_out_says_so_in_a_line(capsys):
    def work() -> None:
        Greedy(0)(torch.zeros(1, 3, 2, 2))

    assert cli.run(work, "train.py") == cli.BAD_INPUT
    [message] = messages(capsys.readouterr().err)
    assert message == "train.py: error: CUDA out of memory; use a smaller batch or model, or --device cpu"
    lost = RuntimeError("DataLoader worker (pid 7) is killed by signal: Bus error. It is possible that ...")
    assert cli.run(lambda: (_ for _ in ()).throw(lost), "train.py") == cli.BAD_INPUT
    [message] = messages(capsys.readouterr().err)
    assert message.startswith("train.py: error: Shared memory, /dev/shm, is full")
    with pytest.raises(RuntimeError, match="something else"):
        cli.run(lambda: (_ for _ in ()).throw(RuntimeError("something else")), "train.py")


def test_a_checkpoint_in_bf16_is_used_in_fp32_where_there_is_no_bf16(stand_in, data, capsys, monkeypatch):
    succeed("train.py", *LITE0, "--data", data, "--epochs", "1", "--precision", "bf16", "--output", "run")
    monkeypatch.setattr(device, "can_bf16", lambda place: torch.device(place).type == "cpu")
    capsys.readouterr()
    arguments = (data / "cat", "--checkpoint", "run/model.safetensors", "--json")
    succeed("predict.py", *arguments, "--device", "cpu")
    outputs = [capsys.readouterr().out]
    with pytest.warns(UserWarning, match="twin:0 has no convolutions in bf16"):
        succeed("predict.py", *arguments, "--device", stand_in)
    outputs.append(capsys.readouterr().out)
    predictions = [[row["probabilities"] for row in json.loads(output)] for output in outputs]
    torch.testing.assert_close(*predictions, rtol=0, atol=0.02)
    assert predictions[0] != predictions[1]
    with pytest.raises(InputError, match="has no convolutions in it; use --precision auto or fp32"):
        device.resolve_precision("bf16", stand_in)
    assert device.resolve_precision("auto", stand_in) == "fp32"


def test_a_gpu_before_ampere_convolves_in_no_bf16(monkeypatch):
    """`is_bf16_supported()` says yes for what a T4 or V100 only emulates."""
    monkeypatch.setattr(torch.cuda, "device", lambda _: nullcontext())
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation=True: including_emulation)
    assert not device.can_bf16("cuda")
    assert device.resolve_precision("auto", "cuda") == "fp32"


def reads_fp32_precision() -> str:
    return torch.backends.cudnn.conv.fp32_precision, torch.backends.cuda.matmul.fp32_precision


def test_fp32_is_fp32_while_something_is_computed():
    """Without a GPU all that can be seen is how the switches stand while a model runs."""
    if not hasattr(torch.backends.cudnn, "conv"):
        pytest.skip(f"torch {torch.__version__} has other switches; 2.9 has these")
    seen = []

    class Sees(nn.Linear):
        def forward(self, batch: torch.Tensor) -> torch.Tensor:
            seen.append(reads_fp32_precision())
            return super().forward(batch.flatten(1)[:, :4])

    model = nn.Sequential(Sees(4, 3))
    before = reads_fp32_precision()
    loader = DataLoader(images_and_labels(4), 4)
    engine.train_step(model, loader, nn.CrossEntropyLoss(), torch.optim.SGD(model.parameters()), "cpu")
    engine.test_step(model, loader, nn.CrossEntropyLoss(), "cpu")
    model_builder.logits(model, torch.zeros(2, 4))
    assert seen == [("ieee", "ieee")] * 3
    with pytest.raises(ZeroDivisionError), device.exact_fp32(), device.exact_fp32():
        raise ZeroDivisionError
    assert reads_fp32_precision() == before


def test_two_threads_that_overlap_leave_fp32_as_it_was():
    if not hasattr(torch.backends.cudnn, "conv"):
        pytest.skip(f"torch {torch.__version__} has other switches; 2.9 has these")
    before = reads_fp32_precision()
    first, second = device.exact_fp32(), device.exact_fp32()
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    assert reads_fp32_precision() == ("ieee", "ieee")  # the second is still at work
    second.__exit__(None, None, None)
    assert reads_fp32_precision() == before


@pytest.mark.parametrize(("name", "chosen"), [("cpu", "cpu"), ("cpu:0", "cpu")])
def test_a_device_has_one_name(name, chosen):
    assert device.choose_device(name) == chosen


@pytest.mark.parametrize("name", ["", "meta", "cuda:99", "cuda:-1", "xyz", "cpu:x", "mps:0"])
def test_a_device_that_is_not_here_is_refused_in_a_line(name):
    with pytest.raises(InputError, match="is not available here; use --device cpu, or auto"):
        device.choose_device(name)


def test_a_gpu_is_chosen_without_a_touch(monkeypatch):
    """Every process of a run chooses: a tensor on the first GPU would take its memory once a process."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch, "zeros", lambda *_, **__: pytest.fail("a tensor was made"))
    assert device.choose_device("cuda") == "cuda"
    assert device.choose_device("cuda:1") == "cuda:1"
    with pytest.raises(InputError):
        device.choose_device("cuda:2")


@pytest.mark.slow
@pytest.mark.parametrize("script", ["train.py", "fine_tune.py"])
def test_the_cpu_may_be_numbered(data, script):
    succeed(script, *LITE0, "--data", data, "--epochs", "1", "--device", "cpu:0", "--output", "run")
    assert metrics_of("run")["device"] == "cpu"


def test_a_warning_of_a_command_is_a_line():
    code = "import warnings; from going_modular.common import cli; cli.run(lambda: warnings.warn('one\\ntwo'), 'x.py')"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ended.stderr == "x.py: warning: one two\n"
