"""What Lightning trains: a LightningModule over any classifier, and a LightningDataModule over any data set.

The loop is Lightning's; loss, updates and measures are those of `engine.py` (notebook 08 proves it for an epoch).
"""

import math
from collections.abc import Sequence

import lightning as L
import torch
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset, Subset
from torchmetrics import MeanMetric
from torchmetrics.classification import MulticlassConfusionMatrix
from torchvision.transforms import v2

from going_modular import engine
from going_modular.common.device import memory_format, reading_workers, sum_dtype, workers_that_fit
from going_modular.common.errors import InputError
from going_modular.fine_tuning import recipes
from going_modular.fine_tuning.update_batches import Augmented, UpdateBatches, seed_of, share_of

HISTORY = ("train_loss", "train_acc", "val_loss", "val_acc")


class Data(L.LightningDataModule):
    """Training and validation samples, dealt out to the processes of a run.

    Args:
        train: items (image or features, label); its transform may be random.
        validation: the same, without randomness.
        batch_size: samples an update, over all processes.
        seed: of the order and the augmentation.
        accumulate: batches an update in each process.
        num_workers: processes that read, shared by the processes that train. None: as many as are of use and fit.
    """

    def __init__(
        self,
        train: Dataset,
        validation: Dataset,
        *,
        batch_size: int,
        seed: int,
        accumulate: int = 1,
        num_workers: int | None = None,
    ) -> None:
        super().__init__()
        self.train, self.validation = train, validation
        self.batch_size, self.seed, self.accumulate = batch_size, seed, accumulate
        self.num_workers = num_workers

    def setup(self, stage: str) -> None:
        """Deal the batches out, now that the processes are known.

        Raises:
            InputError: too few samples for the processes.
        """
        self.rank, self.processes = self.trainer.global_rank, self.trainer.world_size
        if len(self.validation) < self.processes:
            raise InputError(f"{len(self.validation)} validation samples for {self.processes} processes; use fewer")
        self.batches = UpdateBatches(
            len(self.train),
            self.batch_size,
            seed=self.seed,
            rank=self.rank,
            processes=self.processes,
            accumulate=self.accumulate,
        )
        self.workers = self._workers(self.trainer.num_devices)

    def train_dataloader(self) -> DataLoader:
        """Return this process's batches of every update.

        Lightning sets the epoch before it asks for batches, save in a resumed run, where workers start reading first.
        """
        self.batches.set_epoch(self.trainer.fit_loop.epoch_progress.current.processed)
        return DataLoader(Augmented(self.train, self.seed), batch_sampler=self.batches, **self._options())

    def val_dataloader(self) -> DataLoader:
        """Return this process's share of the validation samples, none of them twice."""
        mine = Subset(self.validation, share_of(len(self.validation), self.rank, self.processes))
        return DataLoader(mine, -(-self.batch_size // self.processes), **self._options())

    def _workers(self, here: int) -> int:
        """Return how many processes read for this one, of those that train on this computer."""
        if self.num_workers is not None:
            return -(-self.num_workers // here)
        batch_size = -(-self.batch_size // self.processes)
        return workers_that_fit(-(-reading_workers() // here), self.validation, batch_size, processes=here)

    def _options(self) -> dict:
        return {
            "num_workers": self.workers,
            "persistent_workers": self.workers > 0,
            "pin_memory": torch.cuda.is_available(),
            # the base seed of workers must not come out of the generator that training uses
            "generator": torch.Generator(),
        }


class Classifier(L.LightningModule):
    """A classifier in training, measured over samples and over all processes.

    Args:
        model: maps a batch (B, ...) to logits (B, C).
        groups: of parameters, for AdamW.
        num_classes: C.
        seed: with the epoch and the batch it seeds what is random in training, so that a resumed run repeats it.
        schedule: of learning rates, as in `recipes.schedule`.
        warmup_epochs: over which learning rates rise.
        label_smoothing: in [0, 1).
        mixup: the Beta distribution's parameter; 0 for none (Zhang et al., 2018, https://arxiv.org/abs/1710.09412).
        cutmix: likewise (Yun et al., 2019, https://arxiv.org/abs/1905.04899); with both, one of them by chance.
    """

    def __init__(
        self,
        model: nn.Module,
        groups: Sequence[dict],
        *,
        num_classes: int,
        seed: int,
        schedule: str = "cosine",
        warmup_epochs: float = 0.0,
        label_smoothing: float = 0.0,
        mixup: float = 0.0,
        cutmix: float = 0.0,
    ) -> None:
        super().__init__()
        self.model = model
        # in place of it, on other inputs; in a tuple, so that checkpoints have the model's weights once, by their names
        self.stand_in: tuple[nn.Module, ...] = ()
        self.groups = groups
        self.seed, self.schedule, self.warmup_epochs = seed, schedule, warmup_epochs
        self.label_smoothing = label_smoothing
        mixes = [(v2.MixUp, mixup), (v2.CutMix, cutmix)]
        chosen = [mix(num_classes=num_classes, alpha=alpha) for mix, alpha in mixes if alpha]
        self.mix = v2.RandomChoice(chosen) if chosen else None
        for name in HISTORY:
            # NaN stays NaN: a loss that is not finite must show ("disable" would leave out the weights)
            setattr(self, name, MeanMetric(nan_strategy=math.nan))
        self.val_confusion = MulticlassConfusionMatrix(num_classes)
        self.history: dict[str, list[float]] = {name: [] for name in HISTORY}
        self.epochs_begun = 0  # here, whatever a checkpoint brings

    def setup(self, stage: str) -> None:
        """Choose what to add losses up in, now that the device is known, and before the module moves there."""
        dtype = sum_dtype(self.trainer.strategy.root_device.type)
        for name in HISTORY:
            getattr(self, name).set_dtype(dtype)

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """Return AdamW and the schedule, stepped after every update."""
        optimizer = torch.optim.AdamW([dict(group) for group in self.groups])
        updates = len(self.trainer.datamodule.batches.sizes)
        total = updates * self.trainer.max_epochs
        warmup = min(round(self.warmup_epochs * updates), total - 1)
        rates = recipes.schedule(optimizer, self.schedule, warmup_steps=warmup, total_steps=total)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": rates, "interval": "step"}}

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Map a batch, as the data module gives it, to logits (B, C)."""
        [model] = self.stand_in or (self.model,)
        return model(_lay_out(inputs))

    def on_train_epoch_start(self) -> None:
        """Put in training mode what learns; the rest, with its BatchNorm statistics, stays as it is."""
        self.epochs_begun += 1
        engine.set_train_mode(self.model)

    def on_train_batch_start(self, batch: object, batch_idx: int) -> None:
        """Seed what is random in a step: Dropout, stochastic depth, mixing."""
        torch.manual_seed(seed_of(self.seed, self.current_epoch, batch_idx, self.global_rank))

    def training_step(self, batch: tuple[torch.Tensor, torch.Tensor], batch_idx: int) -> torch.Tensor:
        """Return the loss of a batch, weighted by its part of the update."""
        inputs, labels = batch
        if self.mix:
            inputs, labels = self.mix(inputs, labels)  # labels (B,) -> (B, C)
        logits = self(inputs)
        loss = F.cross_entropy(logits, labels, label_smoothing=self.label_smoothing)

        self.train_loss.update(loss.detach(), len(labels))
        labels = labels.argmax(dim=1) if labels.ndim > 1 else labels  # of a mixed image, the larger part
        self.train_acc.update(logits.argmax(dim=1) == labels)
        return loss * self.trainer.datamodule.batches.share(batch_idx, len(labels))

    def on_validation_epoch_start(self) -> None:
        """Start an epoch's confusion matrix; it stays to be drawn until the next one."""
        self.val_confusion.reset()

    def validation_step(self, batch: tuple[torch.Tensor, torch.Tensor], batch_idx: int) -> None:
        """Measure a batch; the loss is the plain one, without smoothing or mixing."""
        inputs, labels = batch
        logits = self(inputs)
        self.val_loss.update(F.cross_entropy(logits.float(), labels), len(labels))
        self.val_acc.update(logits.argmax(dim=1) == labels)
        self.val_confusion.update(logits, labels)

    def on_train_epoch_end(self) -> None:
        """Add an epoch, measured over all processes, to the history; Lightning has validated before.

        Raises:
            InputError: a loss is not finite.
        """
        for name, values in self.history.items():
            metric = getattr(self, name)
            value = metric.compute()
            metric.reset()
            values.append(value.item())
            self.log(name, value.float(), rank_zero_only=False)
        for name, what in (("train_loss", "training"), ("val_loss", "validation")):
            if not math.isfinite(loss := self.history[name][-1]):
                raise InputError(f"The {what} loss became {loss}; lower the learning rate")

    def on_save_checkpoint(self, checkpoint: dict) -> None:
        """Keep the history."""
        checkpoint["history"] = self.history

    def on_load_checkpoint(self, checkpoint: dict) -> None:
        """Take the history up."""
        self.history = checkpoint["history"]


def _lay_out(inputs: torch.Tensor) -> torch.Tensor:
    """Lay images (B, C, H, W) out as the device's convolutions like it; features (B, D) stay."""
    return inputs.contiguous(memory_format=memory_format(inputs.device)) if inputs.ndim == 4 else inputs
