"""What fine_tune.py costs and what it gains.

    python benchmarks/bench_fine_tune.py steps
    python benchmarks/bench_fine_tune.py steps --device cuda --batch-size 128
    python benchmarks/bench_fine_tune.py accuracy --data food101_64px_10classes.zip
    python benchmarks/bench_fine_tune.py scaling

`steps`: the time of an update of all of EfficientNet-Lite0, by Lightning with everything that fine_tune.py has it do in
a step, over that of a bare loop on the same model and batches; both take turns, medians of a few epochs. A last row has
a model that costs next to nothing: the difference is what Lightning adds to any update. The floor is
forward, backward and update alone, on one batch that is already there. On a GPU `--compile` adds a row for compiled
models.

`accuracy`: head-then-all against the head alone on the same split, a stated number of training images, over seeds.

`scaling`: the same updates in one process and in two, each on one core.

Prints and writes `results/bench_fine_tune_<part>_<device>.txt`.
"""

import argparse
import contextlib
import json
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import lightning
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset

from going_modular import engine, fine_tune, model_builder
from going_modular.fine_tuning import callbacks, launch, recipes, stages
from going_modular.fine_tuning.lightning_parts import Classifier, Data
from going_modular.fine_tuning.settings import Settings

RESULTS = Path(__file__).resolve().parent / "results"
MODEL, CLASSES = "efficientnet_lite0", 10
TARGET = 1.05
MANY = 100  # updates of it
TINY = 8  # pixels a side of the images of the model that costs next to nothing
DTYPES = {"fp32": None, "bf16": torch.bfloat16, "fp16": torch.float16}


class Ready(Dataset):
    """Samples that are there already: what is timed is the training, not the reading."""

    def __init__(self, length: int, side: int = 224) -> None:
        self.images = torch.randn(64, 3, side, side, generator=torch.Generator().manual_seed(0))
        self.length = length

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        return self.images[index % 64], index % CLASSES


class Clock(lightning.Callback):
    """Times each epoch of training by Lightning, without the validation after it."""

    def __init__(self, synchronize: Callable[[], None]) -> None:
        self.synchronize = synchronize
        self.seconds: list[float] = []

    def on_train_epoch_start(self, *_: object) -> None:
        """Start an epoch."""
        self.synchronize()
        self.start = time.perf_counter()

    def on_train_batch_end(self, trainer: lightning.Trainer, *_: object) -> None:
        """Note the time after the last batch."""
        if trainer.is_last_batch:
            self.synchronize()
            self.seconds.append(time.perf_counter() - self.start)


def build(device: str, compiled: bool, tiny: bool = False) -> nn.Module:
    """Return the model that both train, channels-last."""
    engine.set_seeds(0)
    if tiny:
        return nn.Sequential(nn.Flatten(), nn.Linear(3 * TINY * TINY, CLASSES)).to(device)
    model, _ = model_builder.create_model(MODEL, CLASSES)
    recipes.unfreeze(model, None)
    engine.set_train_mode(model)
    model.to(device, memory_format=torch.channels_last)
    if compiled:
        model.compile()
    return model


def groups_of(model: nn.Module) -> list[dict]:
    """Return the parameter groups that fine_tune.py trains."""
    if isinstance(model, nn.Sequential):
        return [{"name": "head", "params": list(model.parameters()), "lr": 1e-4, "weight_decay": 0.05}]
    return recipes.parameter_groups(model, lr=1e-4, head_lr=1e-3, layer_decay=0.9, weight_decay=0.05)


def bare_epoch(
    model: nn.Module, optimizer: torch.optim.Optimizer, scaler: torch.amp.GradScaler, loader: Iterable, precision: str
) -> None:
    """Train for one epoch as a tutorial would, and as fast."""
    device = next(model.parameters()).device
    dtype = DTYPES[precision]
    for images, labels in loader:
        images = images.to(device, non_blocking=True).contiguous(memory_format=torch.channels_last)
        labels = labels.to(device, non_blocking=True)
        with torch.autocast(device.type, dtype=dtype or torch.bfloat16, enabled=dtype is not None):
            loss = F.cross_entropy(model(images), labels)
        optimizer.zero_grad()
        scaler.scale(loss).backward()
        scaler.unscale_(optimizer)
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        scaler.step(optimizer)
        scaler.update()


def bare_epochs(
    device: str, precision: str, compiled: bool, batches: Iterable, epochs: int, tiny: bool = False
) -> list[float]:
    """Return the seconds of each epoch of a bare loop, from a new model: one that has memorised computes slower."""
    model = build(device, compiled, tiny)
    optimizer = torch.optim.AdamW(groups_of(model))
    scaler = torch.amp.GradScaler(device, enabled=precision == "fp16")
    wait, seconds = synchronizer(device), []
    for _ in range(epochs):
        wait()
        start = time.perf_counter()
        bare_epoch(model, optimizer, scaler, batches, precision)
        wait()
        seconds.append(time.perf_counter() - start)
    return seconds


def lightning_epochs(
    device: str, precision: str, compiled: bool, sizes: tuple[int, int], epochs: int, tiny: bool = False
) -> list[float]:
    """Return the seconds of each epoch by Lightning, as fine_tune.py has it train."""
    batch_size, updates = sizes
    model = build(device, compiled, tiny)
    module = Classifier(model, groups_of(model), num_classes=CLASSES, seed=0, warmup_epochs=1.0)
    side = TINY if tiny else 224
    train, validation = Ready(batch_size * updates, side), Ready(batch_size, side)
    data = Data(train, validation, batch_size=batch_size, seed=0, num_workers=0)
    clock = Clock(synchronizer(device))
    with tempfile.TemporaryDirectory() as folder, stages._quiet(), contextlib.redirect_stdout(None):
        logger = lightning.pytorch.loggers.TensorBoardLogger(folder)
        trainer = lightning.Trainer(
            accelerator={"cuda": "gpu"}.get(device, device), devices=1, max_epochs=epochs, logger=logger,
            precision=stages.PRECISIONS[precision], gradient_clip_val=1.0, callbacks=[clock, Rates()],
            log_every_n_steps=stages.LOG_EVERY, use_distributed_sampler=False, num_sanity_val_steps=0,
            enable_progress_bar=False, enable_model_summary=False, enable_checkpointing=False,
        )  # fmt: skip
        trainer.fit(module, data)
    return clock.seconds


class Rates(callbacks.TensorBoard):
    """What fine_tune.py logs in a step; the drawings of its epochs are left out."""

    def __init__(self) -> None:
        pass

    def on_train_epoch_end(self, *_: object) -> None:
        """Draw nothing."""


def synchronizer(device: str) -> Callable[[], None]:
    """Return what waits for the device."""
    return torch.cuda.synchronize if device == "cuda" else lambda: None


def steps(options: argparse.Namespace) -> Iterator[str]:
    """Time an update by Lightning and by a bare loop, and the floor."""
    device, batch_size, updates, runs = options.device, options.batch_size, options.updates, options.runs
    precisions = ("fp32", "bf16", "fp16") if device == "cuda" else ("fp32", "bf16")
    yield f"updates of all of {MODEL}, batches of {batch_size}, {updates} updates an epoch, medians of {runs} epochs"
    yield f"{'':24}{'ours':>10}{'bare loop':>12}{'ratio':>8}{'floor':>10}   (milliseconds an update; ratio <= {TARGET})"
    for precision in precisions:
        for compiled in (False, True) if options.compile else (False,):
            loader = DataLoader(Ready(batch_size * updates), batch_size, shuffle=True, pin_memory=device == "cuda")
            one = [tuple(tensor.to(device) for tensor in next(iter(loader)))]
            ours, bare, floor = [], [], []
            for _ in range(runs):  # in turn, so that a drift of the machine's speed hits all
                ours += lightning_epochs(device, precision, compiled, (batch_size, updates), 2)[1:]
                for seconds, batches in ((bare, loader), (floor, one * updates)):
                    seconds += bare_epochs(device, precision, compiled, batches, 2)[1:]
            a, b, c = (statistics.median(seconds) / updates * 1e3 for seconds in (ours, bare, floor))
            name = f"{precision}{', compiled' if compiled else ''}"
            yield f"{name:24}{a:10.1f}{b:12.1f}{a / b:8.3f}{c:10.1f}"
    loader = DataLoader(Ready(batch_size * MANY, TINY), batch_size, shuffle=True)
    ours, bare = [], []
    for _ in range(runs):
        ours += lightning_epochs(device, "fp32", False, (batch_size, MANY), 2, tiny=True)[1:]
        bare += bare_epochs(device, "fp32", False, loader, 2, tiny=True)[1:]
    a, b = (statistics.median(seconds) / MANY * 1e3 for seconds in (ours, bare))
    yield f"{'one Linear, 8 px, fp32':24}{a:10.2f}{b:12.2f}   a difference of {a - b:.2f} ms an update"


def accuracy(options: argparse.Namespace) -> Iterator[str]:
    """Fine-tune on the same splits by two recipes and compare test accuracies."""
    yield (
        f"{MODEL} on {Path(options.data).name}, {options.train_images} training images, images at 224 px; "
        f"{options.epochs} epochs of everything after the head's 20"
    )
    found: dict[str, list[float]] = {"head": [], "head-then-all": []}
    with tempfile.TemporaryDirectory() as folder:
        for seed in range(options.seeds):
            for recipe, values in found.items():
                start = time.perf_counter()
                output = Path(folder) / f"{recipe}-{seed}"
                settings = Settings(
                    data=options.data, model=MODEL, train_images=options.train_images, recipe=recipe, seed=seed,
                    epochs=20 if recipe == "head" else options.epochs, output=output,
                    lr=None if recipe == "head" else options.lr,
                )  # fmt: skip
                with contextlib.redirect_stdout(sys.stderr):
                    fine_tune.run(settings)
                run = json.loads((output / "metrics.json").read_text())
                values.append(run["test_accuracy"])
                yield (
                    f"seed {seed} {recipe:14} test accuracy {run['test_accuracy']:.4f} of {run['n_test']} images, "
                    f"validation {run['val_accuracy']:.4f}, best epoch {run['best_epoch']} of {run['epochs']}, "
                    f"{time.perf_counter() - start:.0f} s"
                )
    for recipe, values in found.items():
        yield f"{recipe:14} {statistics.mean(values):.4f} +/- {statistics.stdev(values):.4f} ({len(values)} seeds)"
    gains = [tuned - head for head, tuned in zip(*found.values(), strict=True)]
    yield f"gain, by seed: {', '.join(f'{gain:+.4f}' for gain in gains)}"


def scaling_worker(processes: int, threads: int, batch_size: int, updates: int) -> None:
    """Time updates in one of several processes; the first prints the median of the later epochs."""
    torch.set_num_threads(threads)
    model = build("cpu", False)
    module = Classifier(model, groups_of(model), num_classes=CLASSES, seed=0)
    data = Data(Ready(batch_size * updates), Ready(batch_size), batch_size=batch_size, seed=0, num_workers=0)
    clock = Clock(lambda: None)
    with stages._quiet():
        trainer = lightning.Trainer(
            accelerator="cpu", devices=processes, strategy="ddp" if processes > 1 else "auto", max_epochs=4,
            precision="bf16-mixed", logger=False, callbacks=[clock], use_distributed_sampler=False,
            num_sanity_val_steps=0, enable_progress_bar=False, enable_model_summary=False, enable_checkpointing=False,
        )  # fmt: skip
        torch.set_num_threads(threads)
        trainer.fit(module, data)
    if trainer.is_global_zero:
        print(statistics.median(clock.seconds[1:]) / updates, flush=True)


def scaling(options: argparse.Namespace) -> Iterator[str]:
    """Time the same updates in one process and in two."""
    yield f"updates of all of {MODEL}, {options.batch_size} images each, bf16, medians of 3 epochs; milliseconds"
    alone = None
    for name, processes, threads in (("1 process, 1 core", 1, 1), ("2 processes, 1 core each", 2, 1),
                                     ("1 process, 2 cores", 1, 2)):  # fmt: skip
        arguments = json.dumps([processes, threads, options.batch_size, options.updates])
        done = subprocess.run([sys.executable, __file__, "worker", "--job", arguments],
                              stdout=subprocess.PIPE, check=True, text=True)  # fmt: skip
        seconds = float(done.stdout.splitlines()[-1])
        alone = alone or seconds
        yield f"{name:26}{seconds * 1e3:10.1f}   {alone / seconds:.2f} times the first"


def main() -> None:
    """Run the part that is named, print what it finds and write it down."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0], allow_abbrev=False)
    parser.add_argument("part", choices=("steps", "accuracy", "scaling", "worker"))
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--updates", type=int, default=6, help="an epoch")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--compile", action="store_true", help="also time compiled models")
    parser.add_argument("--data", default="food101_64px_10classes.zip")
    parser.add_argument("--train-images", type=int, default=2000)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--lr", type=float, default=3e-4)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--job", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.part == "worker":
        processes, *rest = json.loads(options.job)
        if processes > 1:
            launch.start(scaling_worker, (processes, *rest), processes)
        else:
            scaling_worker(processes, *rest)
        return
    lines = [f"{platform.machine()}, torch {torch.__version__}, lightning {lightning.__version__}, {options.device}"]
    print(lines[0], flush=True)
    for line in {"steps": steps, "accuracy": accuracy, "scaling": scaling}[options.part](options):
        print(line, flush=True)
        lines.append(line)
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"bench_fine_tune_{options.part}_{options.device}.txt").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
