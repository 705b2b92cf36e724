"""The checkpoints of a stage: two files of fixed names, written whole, and read as what they may be, a stranger's.

`best.ckpt` has the best epoch so far, `last.ckpt` the last one; training can go on from either. Which epoch is the best
and how good it is stands in the history that a checkpoint has; paths that it names are never used.
"""

import contextlib
import io
import math
import re
import sys
import warnings
from pathlib import Path

import torch
from lightning.fabric.plugins import CheckpointIO
from lightning.pytorch.callbacks import ModelCheckpoint

from going_modular.common import files
from going_modular.common.errors import InputError
from going_modular.fine_tuning import launch, sound
from going_modular.fine_tuning.lightning_parts import HISTORY, Classifier

BEST, LAST = "best.ckpt", "last.ckpt"
MONITOR = "val_loss"
UNFINISHED = re.compile(r"\.[0-9a-f]{32}\.part")  # what `files.replace` leaves where it is killed


class Keep(ModelCheckpoint):
    """Write an epoch's checkpoint to one file of the stage's folder, over the one before.

    Lightning would keep paths in the checkpoint and, in a run that goes on, remove what they name; where the folder has
    moved, it would forget the best score. So nothing is kept: the score comes from the history.

    Args:
        path: of the file.
        monitor: what must be lower than in all epochs before; None writes every epoch.
    """

    def __init__(self, path: Path, *, monitor: str | None = None) -> None:
        super().__init__(
            path.parent, path.stem, monitor=monitor, save_on_train_epoch_end=True, enable_version_counter=False
        )

    def state_dict(self) -> dict:
        """Return nothing to keep."""
        return {}

    def load_state_dict(self, state_dict: dict) -> None:
        """Use nothing that a checkpoint says of files."""

    def on_load_checkpoint(self, trainer: object, pl_module: object, checkpoint: dict) -> None:
        """Take the best score from the history."""
        if self.monitor is None:
            return
        path = self.format_checkpoint_name({})
        score = torch.tensor(min(checkpoint["history"][self.monitor]))  # in float32, as it is monitored
        self.best_model_path = self.kth_best_model_path = path
        self.best_model_score = self.kth_value = score
        self.best_k_models = {path: score}


class WholeFiles(CheckpointIO):
    """Write checkpoints beside their place and move them there: after a kill the file before is whole.

    Args:
        start: the checkpoint to go on from, as `newest` returns it.
    """

    def __init__(self, start: dict | None = None) -> None:
        self.start = start

    def save_checkpoint(self, checkpoint: dict, path: str | Path, storage_options: object = None) -> None:
        """Write a checkpoint.

        Raises:
            InputError: it cannot be written; the one before is as it was.
        """
        path = Path(path)
        content = io.BytesIO()
        torch.save(checkpoint, content)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            files.replace(path, content.getbuffer())
        except OSError as error:
            raise InputError(f"Cannot write {str(path)!r}: {error.strerror or error}") from error

    def load_checkpoint(self, path: str | Path, map_location: object = None, weights_only: bool | None = None) -> dict:
        """Return the checkpoint to go on from, once: it has been read and checked."""
        start, self.start = self.start, None
        return start

    def remove_checkpoint(self, path: str | Path) -> None:
        """Remove nothing: both files are written over."""


def any_in(output: Path) -> bool:
    """Tell whether a run's folder has a finished epoch."""
    return any(any((output / "checkpoints").glob(f"*/{name}")) for name in (BEST, LAST))


def clear(output: Path) -> None:
    """Remove what another run left of an epoch that it did not finish: a new run must not go on from it.

    Raises:
        InputError: a file cannot be removed.
    """
    for folder in (output / "checkpoints").glob("*/"):
        files.remove_known(folder, (BEST, LAST))


def read(path: Path, *, most: int = sys.maxsize) -> dict:
    """Read a checkpoint, tensors and plain values only.

    Args:
        path: of the file.
        most: bytes that it may have, and take.

    Raises:
        InputError: one line that names it and says that it cannot be used.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch's advice is for those who wrote the file
            sound.check_archive(path, most)
            content = torch.load(path, map_location="cpu", weights_only=True)
            sound.check_content(content, most)
            return content
    except Exception as error:  # whatever damaged or hostile bytes lead torch to
        raise InputError(f"{str(path)!r} is damaged, or holds more than tensors; it was not opened") from error


def newest(folder: Path, module: Classifier, *, max_epochs: int) -> tuple[dict | None, list[str]]:
    """Return the checkpoint to go on from and what to tell of those that cannot be used.

    That is the one with the most epochs; None where there is none at all. Afterwards `best.ckpt` is sound.

    Args:
        folder: of the stage.
        module: what is trained; the checkpoint must fit it.
        max_epochs: of the stage.

    Raises:
        InputError: there are checkpoints, but none to go on from, or the best epoch is lost.
    """
    _sweep(folder)
    usable, unusable = {}, []
    for path in (folder / LAST, folder / BEST):
        if path.exists():
            try:
                usable[path.name] = _fitting(path, module, max_epochs)
            except InputError as error:
                unusable.append(str(error))
    again = f"remove the folder {str(folder)!r} to train this stage anew with --resume"
    if not usable:
        if unusable:
            raise InputError(f"{'; '.join(unusable)}; {again}")
        return None, []
    start = max(usable.values(), key=lambda checkpoint: checkpoint["epoch"])  # of equals the last
    if _best_epoch(start) != usable.get(BEST, {}).get("epoch"):
        if _best_epoch(start) != start["epoch"]:
            problem = unusable[0] if unusable else f"{str(folder / BEST)!r} is not the best epoch of this run"
            raise InputError(f"{problem}; the weights of the best epoch are lost: {again}")
        if launch.rank() == 0:
            WholeFiles().save_checkpoint(start, folder / BEST)
    notes = [f"{problem}; going on after epoch {start['epoch'] + 1}" for problem in unusable]
    return start, notes


def _sweep(folder: Path) -> None:
    """Remove what a kill left half-written."""
    for path in folder.glob(".*.part"):
        if UNFINISHED.fullmatch(path.name):
            with contextlib.suppress(OSError):
                path.unlink()


def _best_epoch(checkpoint: dict) -> int:
    """Return the epoch, from 0, that `Keep` found the best: the first lowest, in float32."""
    return int(torch.tensor(checkpoint["history"][MONITOR]).argmin())


def _fitting(path: Path, module: Classifier, max_epochs: int) -> dict:
    """Read a checkpoint and check that it is one of this stage.

    Raises:
        InputError: it is not.
    """
    checkpoint = read(path, most=sound.most_bytes(module))
    try:
        fits = _fits(checkpoint, module, max_epochs)
    except (AttributeError, IndexError, KeyError, OverflowError, TypeError, ValueError):
        fits = False
    if not fits:
        raise InputError(f"{str(path)!r} is no checkpoint of this run; it was not used")
    return checkpoint


def _fits(checkpoint: dict, module: Classifier, max_epochs: int) -> bool:
    """Tell whether counts, history, weights and optimiser state are such as this stage writes; errors say no, too."""
    epoch, history = checkpoint["epoch"], checkpoint["history"]
    weights = {name: (tensor.shape, tensor.dtype) for name, tensor in module.state_dict().items()}
    parameters = [parameter for group in module.groups for parameter in group["params"]]
    [optimizer] = checkpoint["optimizer_states"]
    moments = [
        (value.shape, parameters[index].shape)
        for index, state in optimizer["state"].items()
        for value in state.values()
        if isinstance(value, torch.Tensor) and value.ndim
    ]
    return (
        type(epoch) is int
        and 0 <= epoch < max_epochs
        and type(checkpoint["global_step"]) is int
        and 0 < checkpoint["global_step"] < 2**62
        and set(history) == set(HISTORY)
        and all(len(values) == epoch + 1 and all(map(math.isfinite, values)) for values in history.values())
        and {name: (tensor.shape, tensor.dtype) for name, tensor in checkpoint["state_dict"].items()} == weights
        and all(shape == wanted for shape, wanted in moments)
        and all(isinstance(checkpoint[key], dict) for key in ("callbacks", "loops"))
    )
