"""One stage of fine-tuning, trained by Lightning: on what frozen blocks gave once, where that stays, else on images."""

import contextlib
import logging
import threading
import time
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import lightning as L
from lightning.fabric.utilities.rank_zero import rank_zero_only
from lightning.pytorch.callbacks import Callback, EarlyStopping, EMAWeightAveraging
from lightning.pytorch.loggers import TensorBoardLogger
from torch.utils.data import ConcatDataset, TensorDataset
from tqdm import tqdm

from going_modular import data_setup, features, model_builder
from going_modular.common.device import exact_fp32, explain_lost_worker, is_out_of_memory, memory_format
from going_modular.common.errors import InputError
from going_modular.common.memory import keep_freed
from going_modular.fine_tuning import checkpoints, launch, prefix, recipes
from going_modular.fine_tuning.callbacks import EpochLines, StayStopped, StopOnSigterm, TensorBoard
from going_modular.fine_tuning.job import Job
from going_modular.fine_tuning.lightning_parts import Classifier, Data
from going_modular.saving.run_folder import TENSORBOARD

PRECISIONS = {"fp32": "32-true", "bf16": "bf16-mixed", "fp16": "16-mixed"}
LOG_EVERY = 10  # updates


class ImageData(Data):
    """Images, or the maps of them that frozen blocks below give in every epoch alike.

    A head that standardises has seen the training images' features before it trains.

    Args:
        job: the run.
        stage: which part of it.
        is_first: whether no stage was before.
    """

    def __init__(self, job: Job, stage: recipes.Stage, *, is_first: bool) -> None:
        settings, train = job.settings, job.splits.train
        if settings.augment != "none":
            randaugment = settings.augment == "randaugment"
            train = train.with_transform(data_setup.augment(job.transform, randaugment=randaugment))
        super().__init__(
            train,
            job.splits.validation,
            batch_size=settings.batch_size,
            seed=settings.seed,
            accumulate=settings.accumulate,
        )
        self.job, self.part, self.is_first = job, stage, is_first

    def setup(self, stage: str) -> None:
        """Let the head see the frozen features, if it has to, and run once what need not run in every epoch."""
        if self.is_first and model_builder.standardises(self.job.model):
            seen = features.extract_distributed(
                self.job.model,
                self.job.splits.train,
                device=self.trainer.strategy.root_device,
                precision=self.job.feature_precision,
            )
            model_builder.standardise(self.job.model, seen.tensors[0])
        below = len(recipes.blocks(self.job.model)) - self.part.blocks if self.part.blocks else 0
        if below:
            try:
                self._run_once(below)
            except prefix.NoPrefixError as reason:
                tqdm.write(f"{self.part.name}: every epoch runs the {below} frozen blocks: {reason}")
        super().setup(stage)

    def _run_once(self, below: int) -> None:
        """Run the frozen blocks over every image, and train the others on what they gave.

        Args:
            below: how many they are.

        Raises:
            NoPrefixError: they have to run in every epoch.
        """
        if reason := _what_changes(self.job):
            raise prefix.NoPrefixError(reason)
        start = time.perf_counter()
        frozen, rest = prefix.split(self.job.model, blocks=self.part.blocks)
        extracted = prefix.extract(
            frozen,
            ConcatDataset([self.train, self.validation]),
            device=self.trainer.strategy.root_device,
            precision=self.job.feature_precision,
            folder=self.job.settings.output,
        )
        self.train, self.validation = features.divide(extracted, [self.train, self.validation])
        self.num_workers = 0
        self.trainer.lightning_module.stand_in = (rest,)
        tqdm.write(
            f"{self.part.name}: the {below} frozen blocks ran once, for {len(extracted)} images, in "
            f"{time.perf_counter() - start:.1f} s; {extracted.tensors[0].nbytes / 1e6:.1f} MB are kept"
        )


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
        model_builder.standardise(self.job.model, self.train.tensors[0])
        super().setup(stage)


@dataclass(frozen=True)
class Fitted:
    """What came of a stage; the model has the weights of its best epoch."""

    history: dict[str, list[float]]  # by epoch
    best_epoch: int  # from 0
    data: Data
    trainer: L.Trainer


def fit(job: Job, stage: recipes.Stage, *, is_first: bool) -> Fitted:
    """Train a stage, from its newest checkpoint where a run goes on, and leave the model with its best weights.

    Raises:
        InputError: unreadable images, a loss that is not finite, checkpoints that cannot be used or written.
    """
    keep_freed()
    module, data = _module(job, stage, is_first=is_first), _data(job, stage, is_first=is_first)
    folder, start = job.settings.output / "checkpoints" / stage.name, None
    if job.settings.resume is not None:
        start, notes = checkpoints.newest(folder, module, max_epochs=_epochs(job, stage))
        for note in notes:
            tqdm.write(note)
    with _quiet(), exact_fp32():
        _train(_trainer(job, stage, folder, start), module, data, folder if start else None)
    best = checkpoints.read(folder / checkpoints.BEST)
    module.load_state_dict(best["state_dict"])
    job.model.cpu()  # Lightning moves back what it trained, not the backbone that features were extracted with
    return Fitted(module.history, best["epoch"], data, module.trainer)


def _module(job: Job, stage: recipes.Stage, *, is_first: bool) -> Classifier:
    """Return what learns in a stage, the rest of the model frozen."""
    settings, model = job.settings, job.model
    on_features = stage.blocks == 0
    recipes.unfreeze(model, stage.blocks, batch_norm=settings.batch_norm)
    head_lr, lr = job.learning_rates(stage, is_first=is_first)
    groups = recipes.parameter_groups(
        model, lr=lr, head_lr=head_lr, layer_decay=settings.layer_decay, weight_decay=settings.weight_decay
    )
    if not on_features:
        model.to(memory_format=memory_format(job.device))
        if settings.compile:
            model.compile()  # in place: the names of the weights stay
    return Classifier(
        model_builder.head(model) if on_features else model,
        groups,
        num_classes=len(job.splits.class_names),
        seed=settings.seed,
        schedule=settings.schedule,
        warmup_epochs=settings.warmup_epochs,
        label_smoothing=settings.label_smoothing,
        mixup=0.0 if on_features else settings.mixup,
        cutmix=0.0 if on_features else settings.cutmix,
    )


def _train(trainer: L.Trainer, module: Classifier, data: Data, start: Path | None) -> None:
    """Let Lightning train, and say in one line what is no fault of the program.

    Args:
        trainer: what trains.
        module: what learns.
        data: what from.
        start: the folder of the checkpoint that the trainer goes on from; None for a start.

    Raises:
        InputError: a file cannot be written, shared memory is full, or the checkpoint does not fit.
    """
    try:
        trainer.fit(module, data, ckpt_path=start, weights_only=True)
    except SystemExit as end:
        if isinstance(end.__context__, KeyboardInterrupt):  # Lightning makes an exit of Ctrl-C
            raise KeyboardInterrupt from None
        raise
    except (InputError, BrokenPipeError):
        raise
    except OSError as error:
        if error.errno is None:
            raise
        # TensorBoard's writer names no file
        raise InputError(f"Cannot write in {trainer.logger.save_dir!r}: {error.strerror}") from error
    except RuntimeError as error:
        if (told := explain_lost_worker(error)) is not None:
            raise told from error
        if is_out_of_memory(error) or not _is_from_checkpoint(start, module):
            raise
        raise _none_of_this_run(start) from error
    except (ArithmeticError, AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
        if not _is_from_checkpoint(start, module):
            raise
        raise _none_of_this_run(start) from error


def _is_from_checkpoint(start: Path | None, module: Classifier) -> bool:
    """Tell whether an error comes from what a checkpoint brought: it shows until an epoch has passed, if ever."""
    return start is not None and module.epochs_begun < 2


def _none_of_this_run(folder: Path) -> InputError:
    return InputError(
        f"The checkpoints in {str(folder)!r} are none of this run; remove that folder to train this stage anew"
    )


def _data(job: Job, stage: recipes.Stage, *, is_first: bool) -> Data:
    return FeatureData(job) if stage.blocks == 0 else ImageData(job, stage, is_first=is_first)


def _what_changes(job: Job) -> str | None:
    """Say why frozen blocks have other work in every epoch, or None where they have not."""
    settings = job.settings
    if settings.augment != "none":
        return f"images are augmented (augment: {settings.augment})"
    if settings.mixup or settings.cutmix:
        return "images are mixed"  # a mixture of maps is another
    if settings.compile:
        return "the model is compiled as a whole"
    if _syncs_batch_norm(job):
        return "BatchNorm's statistics are those of all GPUs"
    return None


def _syncs_batch_norm(job: Job) -> bool:
    """Tell whether Lightning replaces BatchNorm by one that several GPUs share."""
    settings = job.settings
    return settings.batch_norm and settings.devices * settings.nodes > 1 and job.device.startswith("cuda")


def _epochs(job: Job, stage: recipes.Stage) -> int:
    is_head_first = stage.blocks == 0 and "-then-" in job.settings.recipe
    return job.settings.head_epochs if is_head_first else job.settings.epochs


def _trainer(job: Job, stage: recipes.Stage, folder: Path, start: dict | None) -> L.Trainer:
    """Return what trains a stage; `start` is the checkpoint that it goes on from."""
    settings = job.settings
    rank_zero_only.rank = launch.rank()  # Lightning guesses it from variables that others may have set
    on_features = stage.blocks == 0
    kind, _, index = job.device.partition(":")
    processes = settings.devices * settings.nodes
    logger = TensorBoardLogger(
        job.settings.output,
        name=TENSORBOARD,
        version=stage.name,
        default_hp_metric=False,
        purge_step=start and start["global_step"] + 1,  # what TensorBoard has of later updates is written again
    )
    return L.Trainer(
        default_root_dir=folder,  # where, under SLURM, Lightning looks for checkpoints of its own
        accelerator={"cuda": "gpu"}.get(kind, kind),
        devices=[int(index)] if index else settings.devices,
        num_nodes=settings.nodes,
        strategy=launch.strategy(kind) if processes > 1 else "auto",
        sync_batchnorm=_syncs_batch_norm(job),
        precision="32-true" if on_features else PRECISIONS[job.precision],
        max_epochs=_epochs(job, stage),
        accumulate_grad_batches=settings.accumulate,
        gradient_clip_val=settings.max_grad_norm,
        callbacks=_callbacks(job, stage, folder),
        logger=logger,
        log_every_n_steps=LOG_EVERY,
        num_sanity_val_steps=0,
        use_distributed_sampler=False,  # ours deals every sample out once
        enable_progress_bar=False,
        enable_model_summary=False,
        plugins=[launch.environment(), checkpoints.WholeFiles(start)],
    )


def _callbacks(job: Job, stage: recipes.Stage, folder: Path) -> list[Callback]:
    settings = job.settings
    callbacks = [
        StopOnSigterm(),
        EpochLines(stage.name),
        TensorBoard(job.splits.validation, seed=settings.seed),
        EarlyStopping("val_loss", patience=settings.patience, check_on_train_epoch_end=True),
        StayStopped(),
        checkpoints.Keep(folder / checkpoints.BEST, monitor=checkpoints.MONITOR),
        checkpoints.Keep(folder / checkpoints.LAST),
    ]
    if settings.weight_averaging is not None:
        callbacks.append(EMAWeightAveraging(decay=settings.weight_averaging))
    return callbacks


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep Lightning's notes on the hardware and its advice on workers off the terminal; errors still come.

    An error of TensorBoard's writing thread comes from the next call that writes, too: once is enough.
    """
    before = threading.excepthook

    def report(arguments: threading.ExceptHookArgs) -> None:
        if not isinstance(arguments.exc_value, OSError):
            before(arguments)

    loggers = [logging.getLogger(name) for name in ("lightning.pytorch", "lightning.fabric")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    threading.excepthook = report
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module="lightning.*")
            yield
    finally:
        threading.excepthook = before
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
