"""The training loop: train a step or an epoch, test, repeat.

It trains a whole model on images and a head on cached features alike; see notebook 03 for why both give the same head.
"""

import math
import random
from collections.abc import Callable

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader
from tqdm import tqdm

from going_modular.common.device import exact_fp32, sum_dtype
from going_modular.common.errors import InputError
from going_modular.common.memory import keep_freed
from going_modular.common.progress import bar as progress_bar
from going_modular.common.seeds import DEFAULT_SEED

History = dict[str, list[float]]


class DivergedError(InputError):
    """Report a loss that is not finite; `results` has what was measured in the epochs before.

    In a notebook it is at hand after the traceback, as `sys.last_value.results`.
    """

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.results: History = {}

    def keep(self, results: History) -> None:
        """Take the results of the finished epochs along, and say where they are."""
        self.results = results
        if results["train_loss"]:
            self.add_note("The results of the epochs before are kept: import sys; results = sys.last_value.results")


@exact_fp32()
def train_step(
    model: nn.Module,
    dataloader: DataLoader,
    loss_fn: nn.Module,
    optimizer: torch.optim.Optimizer,
    device: torch.device | str,
    *,
    autocast_dtype: torch.dtype | None = None,
    scheduler: torch.optim.lr_scheduler.LRScheduler | None = None,
    max_grad_norm: float | None = None,
) -> tuple[float, float]:
    """Train for one epoch.

    `model.train()` is called; then what is wholly frozen goes back to eval mode: frozen BatchNorm keeps its statistics,
    frozen Dropout and StochasticDepth stay inactive. What is computed in fp32 is: without TF32, whose convolutions give
    another head; for speed there is `autocast_dtype`.

    Args:
        model: maps a batch (B, ...) to logits (B, C).
        dataloader: yields (batch, labels), labels (B,) of type int64.
        loss_fn: maps logits and labels to a scalar: the mean over the batch, or the sum if its `reduction` says so. The
            class weights of torch's own loss functions are taken into account.
        optimizer: over the parameters that learn.
        device: where the model is; batches are moved there.
        autocast_dtype: run the forward pass in mixed precision of this type, such as `torch.bfloat16`.
        scheduler: sets the learning rate; it is stepped after every batch.
        max_grad_norm: scale gradients down where their norm over all parameters is larger.

    Returns:
        The loss and the accuracy (in [0, 1]) over the epoch's samples, each measured before the update it led to.

    Raises:
        DivergedError: the loss is not finite.
        InputError: the DataLoader is empty, or the loss function returns something else than one number.
    """
    keep_freed()
    set_train_mode(model)
    totals = _Totals(device)
    for batch, labels in dataloader:
        batch, labels = _to(batch, device), _to(labels, device)
        with _autocast(device, autocast_dtype):
            logits = model(batch)
            loss = _scalar(loss_fn(logits, labels))

        optimizer.zero_grad()
        loss.backward()
        if max_grad_norm is not None:
            nn.utils.clip_grad_norm_(model.parameters(), max_grad_norm)
        optimizer.step()
        if scheduler is not None:
            scheduler.step()

        totals.add(loss, logits, labels, loss_fn)
    return totals.means("training")


@exact_fp32()
def test_step(
    model: nn.Module,
    dataloader: DataLoader,
    loss_fn: nn.Module,
    device: torch.device | str,
    *,
    autocast_dtype: torch.dtype | None = None,
) -> tuple[float, float]:
    """Measure loss and accuracy over a DataLoader, in eval mode and without gradients.

    Arguments, returns and errors are as for `train_step`. The model is left in eval mode.
    """
    keep_freed()
    model.eval()
    totals = _Totals(device)
    with torch.inference_mode():
        for batch, labels in dataloader:
            batch, labels = _to(batch, device), _to(labels, device)
            with _autocast(device, autocast_dtype):
                logits = model(batch)
                loss = _scalar(loss_fn(logits, labels))

            totals.add(loss, logits, labels, loss_fn)
    return totals.means("test")


test_step.__test__ = False  # pytest would collect it where it is imported


def train(
    model: nn.Module,
    train_dataloader: DataLoader,
    test_dataloader: DataLoader,
    optimizer: torch.optim.Optimizer,
    loss_fn: nn.Module,
    epochs: int,
    device: torch.device | str,
    *,
    autocast_dtype: torch.dtype | None = None,
    scheduler: torch.optim.lr_scheduler.LRScheduler | None = None,
    max_grad_norm: float | None = None,
    progress: bool = True,
    on_epoch_end: Callable[[History], None] | None = None,
) -> History:
    """Train for some epochs, testing after each; the last epoch's weights are kept.

    Args:
        model: moved to `device`; the other arguments are those of `train_step`.
        train_dataloader: what is learned from.
        test_dataloader: for the curves alone: nothing is chosen by it.
        optimizer: over the parameters that learn.
        loss_fn: as for `train_step`.
        epochs: how many, at least 1.
        device: where to train.
        autocast_dtype: as for `train_step`.
        scheduler: as for `train_step`.
        max_grad_norm: as for `train_step`.
        progress: show a bar and print a line an epoch; the result is the same without.
        on_epoch_end: called after each epoch with the results so far.

    Returns:
        A list with a value an epoch under each of `train_loss`, `train_acc`, `test_loss` and `test_acc`.

    Raises:
        DivergedError: a loss is not finite; its `results` are those of the epochs before, as they would be returned.
        InputError: an empty DataLoader, or a loss function that does not return one number.
    """
    model.to(device)
    results: History = {"train_loss": [], "train_acc": [], "test_loss": [], "test_acc": []}
    for epoch in progress_bar(range(1, epochs + 1), desc="Epochs", unit="epoch", disable=not progress):
        try:
            train_loss, train_acc = train_step(
                model,
                train_dataloader,
                loss_fn,
                optimizer,
                device,
                autocast_dtype=autocast_dtype,
                scheduler=scheduler,
                max_grad_norm=max_grad_norm,
            )
            test_loss, test_acc = test_step(model, test_dataloader, loss_fn, device, autocast_dtype=autocast_dtype)
        except DivergedError as error:
            error.keep(results)
            raise

        for values, value in zip(results.values(), (train_loss, train_acc, test_loss, test_acc), strict=True):
            values.append(value)
        if on_epoch_end:  # before the line: who reads that an epoch is finished may rely on it
            on_epoch_end(results)
        if progress:
            tqdm.write(
                f"Epoch {epoch}/{epochs} | train_loss: {train_loss:.4f} | train_acc: {train_acc:.4f} | "
                f"test_loss: {test_loss:.4f} | test_acc: {test_acc:.4f}"
            )
    return results


def warmup_cosine(
    optimizer: torch.optim.Optimizer, *, warmup_steps: int, total_steps: int
) -> torch.optim.lr_scheduler.LRScheduler:
    """Return a schedule that raises the learning rate from near 0 to the optimizer's, then lowers it to 0.

    It rises along a line and falls along half a cosine (Loshchilov and Hutter, 2017,
    https://arxiv.org/abs/1608.03983); a step is a batch.

    Args:
        optimizer: its learning rates are the highest ones.
        warmup_steps: of the rise, at least 1.
        total_steps: of rise and fall.

    Raises:
        InputError: no step is left after the warm-up.
    """
    if not 0 < warmup_steps < total_steps:
        raise InputError(f"A warm-up of {warmup_steps} of {total_steps} steps; take at least 1 and fewer than all")
    cosine = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, total_steps - warmup_steps)
    return warm_up(optimizer, cosine, warmup_steps)


def warm_up(
    optimizer: torch.optim.Optimizer, main: torch.optim.lr_scheduler.LRScheduler, steps: int
) -> torch.optim.lr_scheduler.LRScheduler:
    """Return a schedule that first raises the learning rate from near 0 along a line in so many steps, 0 for none."""
    if not steps:
        return main
    rise = torch.optim.lr_scheduler.LinearLR(optimizer, 1 / (steps + 1), total_iters=steps)
    return torch.optim.lr_scheduler.SequentialLR(optimizer, [rise, main], [steps])


def set_seeds(seed: int = DEFAULT_SEED) -> None:
    """Seed Python, NumPy and torch, and with them DataLoader workers and shuffling."""
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)


class _Totals:
    """Sums over samples: averaging batch means would count a short last batch like a full one."""

    def __init__(self, device: torch.device | str) -> None:
        # the sums leave the device once an epoch
        dtype = sum_dtype(torch.device(device).type)
        self.loss_sum, self.weight, self.correct = torch.zeros(3, device=device, dtype=dtype)
        self.seen = 0

    def add(self, loss: torch.Tensor, logits: torch.Tensor, labels: torch.Tensor, loss_fn: nn.Module) -> None:
        weight = self._weight(labels, loss_fn)
        self.loss_sum += loss.detach() * (1 if getattr(loss_fn, "reduction", "mean") == "sum" else weight)
        self.weight += weight
        self.correct += (logits.detach().argmax(dim=1) == labels).sum()
        self.seen += len(labels)

    @staticmethod
    def _weight(labels: torch.Tensor, loss_fn: nn.Module) -> torch.Tensor | int:
        """Return what the batch's mean was divided by: the samples, or the sum of their class weights."""
        if not isinstance(loss_fn, nn.CrossEntropyLoss | nn.NLLLoss):
            return len(labels)  # a `weight` of others may be anything
        counted = labels != loss_fn.ignore_index
        if loss_fn.weight is None:
            return counted.sum()
        return (loss_fn.weight[labels.clamp(min=0)] * counted).sum()  # ignored labels may be negative

    def means(self, what: str) -> tuple[float, float]:
        if not self.seen:
            raise InputError(f"The {what} DataLoader has no batch; give it samples, or a smaller batch_size")
        loss = (self.loss_sum / self.weight).item()
        if not math.isfinite(loss):
            raise DivergedError(
                f"The {what} loss became {loss}; lower the learning rate or look for odd values in the data"
            )
        return loss, self.correct.item() / self.seen


def set_train_mode(module: nn.Module) -> None:
    """Put a module in training mode, save the parts all of whose parameters are frozen, with all they contain.

    `module.train()` is asked: a model may override it, to keep more of itself in eval mode.
    """
    module.train()
    _rest(module)


def _rest(module: nn.Module) -> None:
    """Put in eval mode what is wholly frozen."""
    parameters = list(module.parameters())
    if parameters and not any(parameter.requires_grad for parameter in parameters):
        module.eval()
        return
    for child in module.children():
        _rest(child)


def _scalar(loss: object) -> torch.Tensor:
    """Return what a loss function returned as a tensor without dimensions."""
    if not isinstance(loss, torch.Tensor) or loss.numel() != 1:
        is_tensor = isinstance(loss, torch.Tensor)
        what = f"tensor of shape {tuple(loss.shape)}" if is_tensor else type(loss).__name__
        raise InputError(
            f"The loss function returned a {what}; a tensor with one number is needed, as reduction='mean' makes it"
        )
    return loss.reshape(())


def _to(tensor: torch.Tensor, device: torch.device | str) -> torch.Tensor:
    return tensor.to(device, non_blocking=True)


def _autocast(device: torch.device | str, dtype: torch.dtype | None) -> torch.autocast:
    return torch.autocast(torch.device(device).type, dtype=dtype or torch.bfloat16, enabled=dtype is not None)
