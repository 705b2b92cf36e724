"""What happens beside training: a bar and a line an epoch, TensorBoard, and stops. None of it changes a result."""

import random
import signal

import lightning as L
import torch
from tqdm import tqdm

from going_modular import plots
from going_modular.common.errors import Terminated
from going_modular.common.progress import bar as progress_bar
from going_modular.data import images
from going_modular.data.image_folder import ImageFolder
from going_modular.fine_tuning.lightning_parts import Classifier
from going_modular.saving.run_folder import GRID_IMAGES

DRAWINGS = 3  # a stage, the last after its last epoch: one takes a third of a second, as an epoch of kept maps does


class EpochLines(L.Callback):
    """A bar over the batches of each epoch, and a line for it once its checkpoint is written.

    Args:
        stage: what is trained, named in both.
    """

    def __init__(self, stage: str) -> None:
        self.stage = stage
        self.bar: tqdm | None = None
        self.printed = 0

    def on_train_start(self, trainer: L.Trainer, pl_module: Classifier) -> None:
        """Open the bar, one for all epochs, and leave out what a resumed run has printed before."""
        self.printed = len(pl_module.history["val_loss"])
        self.bar = progress_bar(
            total=trainer.num_training_batches,
            desc=self.stage,
            unit="batch",
            leave=False,
            disable=not trainer.is_global_zero,
        )

    def on_train_epoch_start(self, trainer: L.Trainer, pl_module: Classifier) -> None:
        """Print the last epoch and start the bar anew."""
        self._print(trainer, pl_module)
        self.bar.set_description(f"{self.stage}, epoch {trainer.current_epoch + 1}/{trainer.max_epochs}", refresh=False)
        self.bar.reset()

    def on_train_batch_end(self, *_: object) -> None:
        """Move the bar."""
        self.bar.update()

    def on_train_end(self, trainer: L.Trainer, pl_module: Classifier) -> None:
        """Take the bar away and print the last epoch."""
        self.bar.close()
        self._print(trainer, pl_module)

    def on_exception(self, *_: object) -> None:
        """Leave the terminal tidy."""
        if self.bar is not None:
            self.bar.close()

    def _print(self, trainer: L.Trainer, pl_module: Classifier) -> None:
        history, epoch = pl_module.history, len(pl_module.history["val_loss"])
        if trainer.is_global_zero and epoch > self.printed:
            measured = " | ".join(f"{name}: {values[-1]:.4f}" for name, values in history.items())
            tqdm.write(f"{self.stage}, epoch {epoch}/{trainer.max_epochs} | {measured}")
        self.printed = epoch


class TensorBoard(L.Callback):
    """Learning rates, and every few epochs predictions and the confusion matrix, on validation images.

    Args:
        validation: the images, in the order of the data module's validation samples.
        seed: of the choice of images to draw, from a generator of its own.
    """

    def __init__(self, validation: ImageFolder, *, seed: int) -> None:
        self.validation = validation
        count = min(GRID_IMAGES, len(validation))
        self.chosen = sorted(random.Random(seed).sample(range(len(validation)), count))

    def on_train_batch_end(self, trainer: L.Trainer, pl_module: Classifier, *_: object) -> None:
        """Log the learning rates, now and then."""
        if trainer.is_global_zero and trainer.global_step % trainer.log_every_n_steps == 0:
            for group in trainer.optimizers[0].param_groups:
                if "," not in group["name"]:  # what is not decayed learns at the same rate
                    pl_module.logger.experiment.add_scalar(
                        f"learning rate/{group['name']}", group["lr"], trainer.global_step
                    )

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: Classifier) -> None:
        """Draw the confusion matrix, of all processes, and predictions."""
        epoch, epochs = trainer.current_epoch, trainer.max_epochs
        if (epoch + 1) * DRAWINGS // epochs == epoch * DRAWINGS // epochs:
            return
        matrix = pl_module.val_confusion.compute()
        if trainer.is_global_zero:
            draw = pl_module.logger.experiment.add_figure
            figure = plots.confusion_matrix(matrix.tolist(), self.validation.classes)
            draw("validation/confusion matrix", figure, trainer.global_step)
            draw("validation/predictions", self._predictions(trainer, pl_module), trainer.global_step)

    @torch.no_grad()
    def _predictions(self, trainer: L.Trainer, pl_module: Classifier) -> plots.Figure:
        samples = trainer.datamodule.validation
        batch = torch.stack([samples[i][0] for i in self.chosen]).to(pl_module.device)
        pl_module.model.eval()  # the next epoch puts in training mode what learns
        probabilities, labels = pl_module(batch).float().softmax(dim=1).max(dim=1)
        classes = self.validation.classes
        return plots.prediction_grid(
            [images.open_image(self.validation.samples[i][0]) for i in self.chosen],
            [classes[label] for label in labels.tolist()],
            probabilities.tolist(),
            [classes[self.validation.targets[i]] for i in self.chosen],
        )


class StopOnSigterm(L.Callback):
    """End at the next batch when SIGTERM comes: the checkpoints of finished epochs are whole.

    Lightning's own handler, set up just before training, would wait for the other processes.
    """

    def __init__(self) -> None:
        self.asked = False

    def on_train_start(self, *_: object) -> None:
        """Put a handler in Lightning's place; Lightning puts back the one before, which ends at once."""

        def ask(*_: object) -> None:
            self.asked = True

        signal.signal(signal.SIGTERM, ask)

    def on_train_batch_start(self, *_: object) -> None:
        """End, if asked to."""
        if self.asked:
            raise Terminated

    def on_validation_batch_start(self, *_: object) -> None:
        """End, if asked to."""
        if self.asked:
            raise Terminated


class StayStopped(L.Callback):
    """Let a resumed run that had stopped early stay stopped."""

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Ask the early stopping, as the checkpoint has it."""
        stopping = trainer.early_stopping_callback
        if stopping.wait_count >= stopping.patience:
            trainer.should_stop = True
