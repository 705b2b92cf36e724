"""A head in training: settings resolved into a job, its features or its images, and the epochs it finished."""

import copy
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import nn
from torch.utils.data import ConcatDataset, DataLoader, TensorDataset

from going_modular import cli, data_setup, download, engine, features, images, model_builder, runs
from going_modular import weights as pretrained
from going_modular.errors import InputError

if TYPE_CHECKING:
    from going_modular.train import Settings

DEFAULT_MODEL, OFFLINE_MODEL = "efficientnet_b0", "efficientnet_lite0"


@dataclass(frozen=True)
class Job:
    """A run that is about to start: the settings, resolved."""

    settings: "Settings"
    model_name: str
    model: nn.Module
    splits: data_setup.Splits
    device: str
    precision: str
    finished: dict = field(default_factory=dict)  # `results` and `head` as the last finished epoch left them

    @cached_property
    def output(self) -> Path:
        """The folder to write into, made when there is something to write."""
        if self.settings.output is None:
            return runs.make_folder(self.model_name)
        self.settings.output.mkdir(parents=True, exist_ok=True)
        return self.settings.output


def prepare(settings: "Settings", clock: runs.Clock) -> Job:
    """Find data and weights and build the model; nothing is written.

    Raises:
        InputError: settings or data that cannot be used.
    """
    cli.check_writable(settings.output or runs.RUNS)
    device = cli.choose_device(settings.device)
    if settings.model:  # a typing error is told before anything is downloaded
        pretrained.entry(settings.model, settings.weights)
    splits = data_setup.load_splits(settings.data, seed=settings.seed)
    print(f"Data: {splits.name}, {splits.origin}; {len(splits.train)} training and {len(splits.test)} test images")
    clock.lap("data")

    name = settings.model
    if name is None and settings.weights == "DEFAULT":
        name = model_builder.first_available(DEFAULT_MODEL, OFFLINE_MODEL)
    name = name or DEFAULT_MODEL
    engine.set_seeds(settings.seed)
    model, transform = model_builder.create_model(name, len(splits.class_names), weights=settings.weights)
    splits.train.transform = splits.test.transform = transform
    precision = features.resolve_precision(settings.precision, device)
    clock.lap("model")
    return Job(settings, name, model.to(device), splits, device, precision)


def fit(job: Job, clock: runs.Clock) -> tuple[engine.Results, torch.Tensor]:
    """Train the head and return the results by epoch and the features (N, D) of the test images.

    Raises:
        InputError: unreadable images (all are named), or a loss that is not finite.
        KeyboardInterrupt: Ctrl-C; `job.finished` has the last finished epoch, if any.
    """
    return _fit_images(job, clock) if job.settings.augment else _fit_features(job, clock)


def _fit_features(job: Job, clock: runs.Clock) -> tuple[engine.Results, torch.Tensor]:
    """Run the backbone once over every image, then train the head on its features."""
    settings, splits = job.settings, job.splits
    try:
        # both splits in one pass: the processes start once
        values, labels = features.extract(
            job.model,
            ConcatDataset([splits.train, splits.test]),
            device=job.device,
            precision=job.precision,
            cache=settings.cache,
        ).tensors
    except KeyboardInterrupt:
        kept = f"the features so far are kept in {download.cache_folder()}" if settings.cache else "nothing was kept"
        raise KeyboardInterrupt(kept) from None
    clock.lap("features")
    train, test = (
        TensorDataset(values[part], labels[part]) for part in (slice(len(splits.train)), slice(len(splits.train), None))
    )
    loaders = data_setup.make_loaders(train, test, batch_size=settings.batch_size, num_workers=0)
    return _train(job, model_builder.head(job.model), loaders, clock), test.tensors[0]


def _fit_images(job: Job, clock: runs.Clock) -> tuple[engine.Results, torch.Tensor]:
    """Train on augmented images by the usual loop: the backbone runs in every epoch."""
    splits = job.splits
    if problems := images.find_unreadable([path for path, _ in splits.train.samples + splits.test.samples]):
        raise InputError(f"{len(problems)} unreadable: {'; '.join(problems)}")
    clock.lap("data")
    splits.train.transform = data_setup.augment(splits.test.transform)
    loaders = data_setup.make_loaders(splits.train, splits.test, batch_size=job.settings.batch_size)
    results = _train(job, job.model, loaders, clock)
    extracted = features.extract(job.model, splits.test, device=job.device, precision=job.precision, cache=False)
    clock.lap("features")
    return results, extracted.tensors[0]


def _train(job: Job, module: nn.Module, loaders: tuple[DataLoader, DataLoader], clock: runs.Clock) -> engine.Results:
    """Train what learns in a module, and remember each finished epoch."""
    head = model_builder.head(job.model)

    def remember(results: engine.Results) -> None:
        job.finished.update(results=copy.deepcopy(results), head=copy.deepcopy(head.state_dict()))

    optimizer = torch.optim.Adam(head.parameters(), lr=job.settings.lr)
    # cached features already are in the precision that was asked for
    autocast_dtype = torch.bfloat16 if module is job.model and job.precision == "bf16" else None
    results = engine.train(
        module,
        *loaders,
        optimizer,
        nn.CrossEntropyLoss(),
        job.settings.epochs,
        job.device,
        autocast_dtype=autocast_dtype,
        on_epoch_end=remember,
    )
    clock.lap("head")
    return results
