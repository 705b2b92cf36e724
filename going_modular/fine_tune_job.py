"""A run of fine_tune.py: settings resolved, its stages trained one after the other, its files."""

import dataclasses
import math
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import nn

from going_modular import (
    cli,
    data_setup,
    engine,
    features,
    fine_tune_files,
    images,
    launch,
    model_builder,
    recipes,
    runs,
    settings_file,
    stage_training,
)
from going_modular import weights as pretrained
from going_modular.errors import InputError
from going_modular.head_training import DEFAULT_MODEL, OFFLINE_MODEL
from going_modular.image_folder import hold_out
from going_modular.update_batches import UpdateBatches

if TYPE_CHECKING:
    from collections.abc import Callable

    from going_modular.fine_tune import Settings

_CHOICES = {
    "schedule": ("cosine", "step", "constant"),
    "augment": ("none", "crop", "randaugment"),
    "precision": ("auto", "fp32", "bf16", "fp16"),
}
# inclusive; None stands for a setting that is left out
_RANGES = {
    "train_images": (2, math.inf),
    "epochs": (1, math.inf),
    "head_epochs": (1, math.inf),
    "batch_size": (1, math.inf),
    "accumulate": (1, math.inf),
    "lr": (1e-12, 1e6),
    "head_lr": (1e-12, 1e6),
    "layer_decay": (1e-6, 1),
    "weight_decay": (0, 1e6),
    "warmup_epochs": (0, math.inf),
    "label_smoothing": (0, 0.99),
    "mixup": (0, 100),
    "cutmix": (0, 100),
    "max_grad_norm": (1e-12, 1e12),
    "weight_averaging": (0, 1),
    "patience": (1, math.inf),
    "devices": (1, math.inf),
    "nodes": (1, math.inf),
    "seed": (0, 2**32 - 1),
}


@dataclass(frozen=True)
class Job:
    """A run that is about to start: the settings, resolved."""

    settings: "Settings"  # model and data by name, so that they come out the same when it is run again
    stages: list[recipes.Stage]
    model: nn.Module
    transform: "Callable"
    splits: data_setup.Splits
    device: str
    precision: str
    clock: runs.Clock = field(default_factory=runs.Clock)

    @cached_property
    def output(self) -> Path:
        """The folder to write into, made when there is something to write."""
        if self.settings.output is None:
            return runs.make_folder(self.settings.model)
        self.settings.output.mkdir(parents=True, exist_ok=True)
        return self.settings.output

    @property
    def is_finished(self) -> bool:
        """Whether the run that is to be resumed has written all there is."""
        return self.settings.resume is not None and (self.output / "metrics.json").is_file()

    @property
    def feature_precision(self) -> str:
        """What frozen features are computed in, and what to predict in: fp32 or bf16."""
        return "bf16" if self.precision == "bf16" else "fp32"

    def learning_rates(self, stage: recipes.Stage, *, is_first: bool) -> tuple[float, float]:
        """Return the learning rates of the head and of the last block."""
        settings = self.settings
        if stage.blocks == 0:
            rate = settings.lr if settings.recipe == "head" and settings.lr else settings.head_lr
            return rate, 0.0
        lr = settings.lr or 1e-4
        return (settings.head_lr if is_first else lr), lr


def prepare(settings: "Settings") -> Job:
    """Find data and weights and build the model; nothing is written.

    Raises:
        InputError: settings or data that cannot be used.
    """
    clock = runs.Clock()
    _check(settings)
    stages = recipes.stages(settings.recipe)
    cli.check_writable(settings.output or runs.RUNS)
    if settings.output and not settings.resume and any((settings.output / "checkpoints").glob("*/last.ckpt")):
        raise InputError(f"Output folder {str(settings.output)!r} has a run: go on with --resume, or name another")
    device = _choose_device(settings)
    if settings.model:  # a typing error is told before anything is downloaded
        pretrained.entry(settings.model, settings.weights)
    splits = _load(settings)
    clock.lap("data")

    name = settings.model
    if name is None and settings.weights == "DEFAULT":
        name = model_builder.first_available(DEFAULT_MODEL, OFFLINE_MODEL)
    name = name or DEFAULT_MODEL
    engine.set_seeds(settings.seed)
    model, transform = model_builder.create_model(name, len(splits.class_names), weights=settings.weights)
    splits.train.transform = splits.validation.transform = splits.test.transform = transform
    for stage in stages:  # fewer blocks than asked for
        recipes.unfreeze(model, stage.blocks)
    precision = "fp16" if settings.precision == "fp16" else features.resolve_precision(settings.precision, device)
    clock.lap("model")
    settings = dataclasses.replace(settings, model=name, data=_same_again(settings.data or splits.name))
    return Job(settings, stages, model, transform, splits, device, precision, clock)


def begin(job: Job) -> Job:
    """Say what is about to be done, write down with which settings, and return the job with its folder settled.

    Under torchrun or SLURM the first process writes.
    """
    if launch.rank() == 0 and job.settings.resume is None:
        runs.write_json(job.output / "settings.json", settings_file.content(job.settings))
    splits = job.splits
    print(
        f"Data: {splits.name}, {splits.origin}; {len(splits.train)} training, {len(splits.validation)} validation and "
        f"{len(splits.test)} test images"
    )
    return dataclasses.replace(job, settings=dataclasses.replace(job.settings, output=job.output))


def finish(job: Job) -> None:
    """Train the stages, test the best weights, and write the run's files from the first process."""
    histories = {}
    for number, stage in enumerate(job.stages):
        histories[stage.name], data, trainer = stage_training.fit(job, stage, is_first=number == 0)
        job.clock.lap(stage.name)
    if isinstance(data, stage_training.FeatureData):
        test_features = data.test.tensors[0]
    else:
        test_features, _ = features.extract_sharded(
            job.model,
            job.splits.test,
            device=trainer.strategy.root_device,
            precision=job.feature_precision,
            cache=False,
        ).tensors
    logits = model_builder.logits(job.model, test_features)
    job.clock.lap("test")
    if trainer.is_global_zero:
        fine_tune_files.write(job, histories, logits)
    launch.leave()


def what_is_kept(job: Job) -> str:
    """Say what an interrupted run leaves behind."""
    if any((job.output / "checkpoints").glob("*/last.ckpt")):
        return f"the finished epochs are kept; go on with --resume {job.output}"
    return f"no epoch was finished; start again with --resume {job.output}"


def _check(settings: "Settings") -> None:
    """Raise where a setting is out of range: a file may hold what the flags would refuse."""
    for name, choices in _CHOICES.items():
        if (value := getattr(settings, name)) not in choices:
            raise InputError(f"{name} is {value!r}; choose one of {', '.join(choices)}")
    for name, (low, high) in _RANGES.items():
        value = getattr(settings, name)
        if value is not None and not low <= value <= high:
            wanted = f"at least {low:g}" if math.isinf(high) else f"from {low:g} to {high:g}"
            raise InputError(f"{name} is {value}; it must be {wanted}")
    if settings.devices * settings.nodes > 1 and launch.is_launched() and settings.output is None:
        raise InputError("Processes that torchrun or SLURM starts need one folder to write: name it with --output")
    if settings.nodes > 1 and not launch.is_launched():
        raise InputError(f"--nodes {settings.nodes}: start the command with torchrun or SLURM on each of them")


def _choose_device(settings: "Settings") -> str:
    device = cli.choose_device(settings.device)
    kind, _, index = device.partition(":")
    if settings.precision == "fp16" and kind != "cuda":
        raise InputError(f"precision fp16 needs a CUDA GPU, not {device}; use bf16 or fp32")
    if settings.devices > 1 and (index or kind == "mps"):
        raise InputError(f"--devices {settings.devices} with --device {device}: use --device {kind}, or one device")
    if kind == "cuda" and settings.devices > torch.cuda.device_count():
        raise InputError(f"--devices {settings.devices}: there are {torch.cuda.device_count()} GPUs here")
    return device


def _load(settings: "Settings") -> data_setup.Splits:
    splits = data_setup.load_splits(settings.data, seed=settings.seed, validation=True)
    if settings.train_images is not None and settings.train_images < len(splits.train):
        _, chosen = hold_out(splits.train, settings.train_images / len(splits.train), seed=settings.seed)
        splits = dataclasses.replace(splits, train=chosen)
    parts = (splits.train, splits.validation, splits.test)
    if problems := images.find_unreadable([path for part in parts for path, _ in part.samples]):
        raise InputError(f"{len(problems)} unreadable: {'; '.join(problems)}")

    processes = settings.devices * settings.nodes
    UpdateBatches(len(splits.train), settings.batch_size, seed=0, processes=processes, accumulate=settings.accumulate)
    if (fewest := min(len(splits.validation), len(splits.test))) < processes:
        raise InputError(f"{fewest} validation or test images for {processes} processes; use fewer")
    return splits


def _same_again(data: str) -> str:
    """Return data that names the same from another current folder."""
    is_name = data in data_setup.DOWNLOADS or data in (data_setup.EUROSAT, data_setup.SAMPLE)
    return data if is_name else str(Path(data).resolve())
