"""A run of fine_tune.py that is about to start: settings resolved into data, a model and the stages to train."""

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import nn

from going_modular import data_setup, engine, model_builder
from going_modular.common.device import choose_device, resolve_precision
from going_modular.common.errors import InputError
from going_modular.common.files import check_writable
from going_modular.data import images, sources
from going_modular.data.splits import Splits, hold_out
from going_modular.fine_tuning import fingerprint, launch, recipes
from going_modular.fine_tuning.settings import Settings, check
from going_modular.fine_tuning.update_batches import UpdateBatches
from going_modular.models import pretrained
from going_modular.saving import run_folder


@dataclass(frozen=True)
class Job:
    """A run that is about to start."""

    settings: Settings  # model and data by name, so that they come out the same when it is run again
    stages: list[recipes.Stage]  # to train one after the other
    model: nn.Module  # as `create_model` returns it, on the CPU
    transform: Callable  # a PIL image to a tensor (3, H, W): what validation and test images go through
    splits: Splits  # training, validation and test images, with this transform
    device: str  # a torch device; of several processes each takes its own of that kind
    precision: str  # of the updates: fp32, bf16 or fp16
    clock: run_folder.Clock = field(default_factory=run_folder.Clock)

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


def prepare(settings: Settings) -> Job:
    """Find data and weights and build the model; nothing is written.

    Raises:
        InputError: settings or data that cannot be used.
    """
    clock = run_folder.Clock()
    check(settings)
    stages = recipes.stages(settings.recipe)
    launch.check(settings.devices, settings.nodes)
    _check_processes(settings)
    if settings.resume:
        check_writable(settings.output)
        run_folder.check_inside(settings.output)
    else:
        run_folder.check_output(settings.output)
    device = _choose_device(settings)
    model_builder.check_name(settings.model, settings.weights)  # a typing error is told before anything is downloaded
    if settings.resume and not _is_same_anywhere(settings):
        raise InputError(
            f"--resume {str(settings.resume)!r}: the weights {settings.weights!r} in settings.json are no name of that "
            "model's, and no full path; write the file's full path there"
        )
    splits = _load(settings)
    if settings.resume:
        fingerprint.check(settings.resume, splits)
    clock.lap("data")

    name = model_builder.resolve_name(settings.model, settings.weights)
    engine.set_seeds(settings.seed)
    model, transform = model_builder.create_model(name, len(splits.class_names), weights=settings.weights)
    for stage in stages:  # fewer blocks than asked for
        recipes.unfreeze(model, stage.blocks)
    precision = "fp16" if settings.precision == "fp16" else resolve_precision(settings.precision, device)
    clock.lap("model")
    weights = pretrained.from_anywhere(name, settings.weights)
    corrections = settings.corrections and str(Path(settings.corrections).resolve())
    settings = dataclasses.replace(settings, model=name, data=splits.source, weights=weights, corrections=corrections)
    return Job(settings, stages, model, transform, splits.with_transform(transform), device, precision, clock)


def _is_same_anywhere(settings: Settings) -> bool:
    """Tell whether weights are named so that no file in the current folder can stand in for them."""
    weights, name = settings.weights, settings.model or model_builder.DEFAULT_MODEL
    return weights is None or Path(weights).is_absolute() or pretrained.is_known(name, weights)


def _check_processes(settings: Settings) -> None:
    if settings.devices * settings.nodes > 1 and launch.is_launched() and settings.output is None:
        raise InputError("Processes that torchrun or SLURM starts need one folder to write: name it with --output")
    if settings.nodes > 1 and not launch.is_launched():
        raise InputError(f"--nodes {settings.nodes}: start the command with torchrun or SLURM on each of them")


def _choose_device(settings: Settings) -> str:
    device = choose_device(settings.device)
    kind, _, index = device.partition(":")
    if settings.precision == "fp16" and kind != "cuda":
        raise InputError(f"precision fp16 needs a CUDA GPU, not {device}; use bf16 or fp32")
    if settings.devices > 1 and kind == "mps":  # which auto takes on a Mac
        raise InputError(
            f"--devices {settings.devices}: an Apple GPU is one device; use one, or --device cpu for several processes"
        )
    if settings.devices > 1 and index:
        raise InputError(f"--devices {settings.devices} with --device {device}: use --device {kind}, or one device")
    if kind == "cuda" and settings.devices > torch.cuda.device_count():
        raise InputError(f"--devices {settings.devices}: there are {torch.cuda.device_count()} GPUs here")
    return device


def _load(settings: Settings) -> Splits:
    if settings.resume and settings.data is not None and not sources.is_here(settings.data):
        raise InputError(f"Data {settings.data!r} of this run is not there; name its new place with --data")
    splits = data_setup.load_splits(
        settings.data,
        seed=settings.seed,
        validation=True,
        group_by=settings.group_by,
        corrections=settings.corrections,
    )
    if settings.train_images is not None and settings.train_images < len(splits.train):
        _, chosen = hold_out(splits.train, settings.train_images / len(splits.train), seed=settings.seed)
        splits = dataclasses.replace(splits, train=chosen)
    parts = (splits.train, splits.validation, splits.test)
    images.check_readable([path for part in parts for path, _ in part.samples])

    processes = settings.devices * settings.nodes
    UpdateBatches(len(splits.train), settings.batch_size, seed=0, processes=processes, accumulate=settings.accumulate)
    if (fewest := min(len(splits.validation), len(splits.test))) < processes:
        raise InputError(f"{fewest} validation or test images for {processes} processes; use fewer")
    return splits
