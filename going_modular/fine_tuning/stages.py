"""One stage of fine-tuning, trained by Lightning: on cached features where only the head learns, else on images."""

import contextlib
import logging
import warnings
from collections.abc import Iterator
from pathlib import Path

import lightning as L
import torch
from lightning.pytorch.callbacks import Callback, EarlyStopping, EMAWeightAveraging, ModelCheckpoint
from lightning.pytorch.loggers import TensorBoardLogger
from lightning.pytorch.plugins.environments import SLURMEnvironment
from torch.utils.data import ConcatDataset, TensorDataset

from going_modular import data_setup, features, model_builder
from going_modular.fine_tuning import recipes
from going_modular.fine_tuning.callbacks import EpochLines, StayStopped, StopOnSigterm, TensorBoard
from going_modular.fine_tuning.job import Job
from going_modular.fine_tuning.lightning_parts import Classifier, Data
from going_modular.saving.run_folder import TENSORBOARD

PRECISIONS = {"fp32": "32-true", "bf16": "bf16-mixed", "fp16": "16-mixed"}
LOG_EVERY = 10  # updates


class FeatureData(Data):
    """Cached features of all splits, computed when the processes are there to share the work."""

    def __init__(self, job: Job) -> None:
        super().__init__(
            job.splits.train,
            job.splits.validation,
            batch_size=job.settings.batch_size,
            seed=job.settings.seed,
            accumulate=job.settings.accumulate,
            num_workers=0,
        )
        self.job = job
        self.test: TensorDataset | None = None

    def setup(self, stage: str) -> None:
        """Run the frozen backbone once over every image."""
        splits = self.job.splits
        parts = [splits.train, splits.validation, splits.test]
        extracted = features.extract_distributed(
            self.job.model,
            ConcatDataset(parts),
            device=self.trainer.strategy.root_device,
            precision=self.job.feature_precision,
        )
        self.train, self.validation, self.test = features.divide(extracted, parts)
        super().setup(stage)


def fit(job: Job, stage: recipes.Stage, *, is_first: bool) -> tuple[dict[str, list[float]], Data, L.Trainer]:
    """Train a stage, from its last checkpoint where there is one, and leave the model with its best weights.

    Returns:
        The history, the data and the Trainer that it was trained with.

    Raises:
        InputError: unreadable images, or a loss that is not finite.
    """
    settings, model = job.settings, job.model
    on_features = stage.blocks == 0
    recipes.unfreeze(model, stage.blocks, batch_norm=settings.batch_norm)
    data = FeatureData(job) if on_features else _image_data(job)
    head_lr, lr = job.learning_rates(stage, is_first=is_first)
    groups = recipes.parameter_groups(
        model, lr=lr, head_lr=head_lr, layer_decay=settings.layer_decay, weight_decay=settings.weight_decay
    )
    module = Classifier(
        model_builder.head(model) if on_features else model,
        groups,
        num_classes=len(job.splits.class_names),
        seed=settings.seed,
        schedule=settings.schedule,
        warmup_epochs=settings.warmup_epochs,
        label_smoothing=settings.label_smoothing,
        mixup=0.0 if on_features else settings.mixup,
        cutmix=0.0 if on_features else settings.cutmix,
        channels_last=not on_features,
    )
    if not on_features:
        model.to(memory_format=torch.channels_last)
        if settings.compile:
            model.compile()  # in place: the names of the weights stay
    folder = job.settings.output / "checkpoints" / stage.name
    with _quiet():
        trainer = _trainer(job, stage, folder)
        last = folder / "last.ckpt"
        try:
            trainer.fit(module, data, ckpt_path=last if last.is_file() else None, weights_only=True)
        except SystemExit as end:
            if isinstance(end.__context__, KeyboardInterrupt):  # Lightning makes an exit of Ctrl-C
                raise KeyboardInterrupt from None
            raise
    best = torch.load(folder / "best.ckpt", map_location="cpu", weights_only=True)
    module.load_state_dict(best["state_dict"])
    return module.history, data, trainer


def _image_data(job: Job) -> Data:
    """Return images, the training ones augmented."""
    settings, train = job.settings, job.splits.train
    if settings.augment != "none":
        randaugment = settings.augment == "randaugment"
        train = train.with_transform(data_setup.augment(job.transform, randaugment=randaugment))
    return Data(
        train,
        job.splits.validation,
        batch_size=settings.batch_size,
        seed=settings.seed,
        accumulate=settings.accumulate,
    )


def _trainer(job: Job, stage: recipes.Stage, folder: Path) -> L.Trainer:
    settings = job.settings
    on_features = stage.blocks == 0
    kind, _, index = job.device.partition(":")
    processes = settings.devices * settings.nodes
    logger = TensorBoardLogger(
        job.settings.output,
        name=TENSORBOARD,
        version=stage.name,
        default_hp_metric=False,
        purge_step=_steps_kept(folder),
    )
    return L.Trainer(
        accelerator={"cuda": "gpu"}.get(kind, kind),
        devices=[int(index)] if index else settings.devices,
        num_nodes=settings.nodes,
        strategy="ddp" if processes > 1 else "auto",
        sync_batchnorm=settings.batch_norm and processes > 1 and kind == "cuda",
        precision="32-true" if on_features else PRECISIONS[job.precision],
        max_epochs=settings.head_epochs if on_features and "-then-" in settings.recipe else settings.epochs,
        accumulate_grad_batches=settings.accumulate,
        gradient_clip_val=settings.max_grad_norm,
        callbacks=_callbacks(job, stage, folder),
        logger=logger,
        log_every_n_steps=LOG_EVERY,
        num_sanity_val_steps=0,
        use_distributed_sampler=False,  # ours deals every sample out once
        enable_progress_bar=False,
        enable_model_summary=False,
        # going on after a stop is for --resume; Lightning's way would write checkpoints of its own
        plugins=[SLURMEnvironment(auto_requeue=False)] if SLURMEnvironment.detect() else None,
    )


def _callbacks(job: Job, stage: recipes.Stage, folder: Path) -> list[Callback]:
    settings = job.settings
    keep = {"dirpath": folder, "save_on_train_epoch_end": True, "enable_version_counter": False}
    callbacks = [
        StopOnSigterm(),
        EpochLines(stage.name),
        TensorBoard(job.splits.validation, seed=settings.seed),
        EarlyStopping("val_loss", patience=settings.patience, check_on_train_epoch_end=True),
        StayStopped(),
        ModelCheckpoint(filename="best", monitor="val_loss", **keep),
        ModelCheckpoint(filename="last", **keep),  # after the best: it knows which that is
    ]
    if settings.weight_averaging is not None:
        callbacks.append(EMAWeightAveraging(decay=settings.weight_averaging))
    return callbacks


def _steps_kept(folder: Path) -> int | None:
    """Return the updates in the last checkpoint: what TensorBoard has of later ones will be written again."""
    last = folder / "last.ckpt"
    return torch.load(last, map_location="cpu", weights_only=True)["global_step"] + 1 if last.is_file() else None


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep Lightning's notes on the hardware and its advice on workers off the terminal; errors still come."""
    loggers = [logging.getLogger(name) for name in ("lightning.pytorch", "lightning.fabric")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module="lightning.*")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
