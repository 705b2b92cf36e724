"""A learning-rate range test: what each learning rate does to the loss, before one is chosen.

    found = find_learning_rate(head, train_dataloader, nn.CrossEntropyLoss(), optimizer, device)
    plots.learning_rates(found.rates, found.losses, found.smoothed, found.suggestion)

The rate rises from update to update (Smith, 2017, section 3.3, https://arxiv.org/abs/1506.01186). While it is too low
the loss stays where it is, then it falls, and where the rate is too high it rises.
"""

import contextlib
import copy
import random
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader

from going_modular import engine
from going_modular.common.errors import InputError
from going_modular.common.progress import bar as progress_bar

LOWEST, HIGHEST, UPDATES = 1e-7, 10.0, 200  # 25 updates a decade
MEMORY = 10  # updates that the smoothed loss remembers: an update weighs 9/10 of the one after it
STOP = 4  # times its best: the smoothed loss will not come back
NOISE = 0.1  # of the loss: a fall of less is none


@dataclass(frozen=True)
class RangeTest:
    """What came out, a value an update; the last rates are not reached where the loss rises before."""

    rates: list[float]
    losses: list[float]  # of the update's batch, before the update
    smoothed: list[float]  # their exponential moving average, by samples

    @property
    def suggestion(self) -> float | None:
        """The rate, of two digits, at which the smoothed loss falls fastest; None where it does not fall.

        The loss is smoothed backwards, so that the fastest fall shows a little late: before the minimum all the same,
        where the rate is too high already. Of the two usual rules this one varies less from seed to seed than a tenth
        of the minimum's rate. (Howard and Gugger, 2020, https://arxiv.org/abs/2002.04688, have both.) The first
        updates, which are averaged over too few, do not count.
        """
        smoothed = np.array(self.smoothed[MEMORY:])
        lowest = int(smoothed.argmin()) if len(smoothed) else 0
        if lowest == 0 or smoothed[lowest] > (1 - NOISE) * smoothed[0]:
            return None
        steepest = int(np.gradient(smoothed)[: lowest + 1].argmin())  # equal steps of the rate's logarithm
        return float(f"{self.rates[MEMORY + steepest]:.2g}")


def find_learning_rate(
    model: nn.Module,
    dataloader: DataLoader,
    loss_fn: nn.Module,
    optimizer: torch.optim.Optimizer,
    device: torch.device | str,
    *,
    autocast_dtype: torch.dtype | None = None,
    progress: bool = True,
) -> RangeTest:
    """Train a copy of a model for 200 updates, while the learning rate rises from 1e-7 to 10, and watch the loss.

    It ends before where the smoothed loss is more than four times its best, or the loss is not finite. Model,
    optimizer and random generators are afterwards as they were: training goes as if there had been no test.

    Args:
        model: on `device`; the arguments are those of `engine.train_step`.
        dataloader: of the training images; it is passed through as often as it takes.
        loss_fn: as for `train_step`; never negative.
        optimizer: over parameters of `model`; each of its groups gets the same rate.
        device: where the model is.
        autocast_dtype: as for `train_step`.
        progress: show a bar; the result is the same without.

    Raises:
        DivergedError: the loss is not finite before anything was learned: no learning rate mends that.
        InputError: the DataLoader is empty, or the loss function returns something else than one number.
    """
    model, optimizer = copy.deepcopy((model, optimizer))  # together: the copied optimizer has the copy's parameters
    losses, smoothed, loss_sum, weight = [], [], 0.0, 0.0
    rates = np.geomspace(LOWEST, HIGHEST, UPDATES).tolist()
    with _same_randomness_afterwards(dataloader, device):
        batches = zip(rates, _endless(dataloader), strict=False)
        for rate, batch in progress_bar(batches, desc="Updates", unit="update", total=UPDATES, disable=not progress):
            for group in optimizer.param_groups:
                group["lr"] = rate
            try:
                loss, _ = engine.train_step(model, [batch], loss_fn, optimizer, device, autocast_dtype=autocast_dtype)
            except engine.DivergedError:
                if not losses:
                    raise
                break
            samples, decay = len(batch[1]), 1 - 1 / MEMORY
            loss_sum, weight = decay * loss_sum + samples * loss, decay * weight + samples
            losses.append(loss)
            smoothed.append(loss_sum / weight)  # by the weights so far: else the 0 at the start would count
            if smoothed[-1] > STOP * min(smoothed):
                break
    return RangeTest(rates[: len(losses)], losses, smoothed)


def _endless(dataloader: DataLoader) -> Iterator[list[torch.Tensor]]:
    """Yield the batches of pass after pass."""
    while True:
        count = 0
        for batch in dataloader:
            count += 1
            yield batch
        if not count:
            raise InputError("The training DataLoader has no batch; give it samples, or a smaller batch_size")


@contextlib.contextmanager
def _same_randomness_afterwards(dataloader: DataLoader, device: torch.device | str) -> Iterator[None]:
    """Leave every random generator that training draws from as it was: Python's, NumPy's, torch's, the loader's own."""
    mine = (dataloader.generator, getattr(dataloader.sampler, "generator", None))
    generators = [torch.default_generator, *(generator for generator in mine if generator is not None)]
    accelerator = torch.get_device_module(device)
    python, numpy, states = random.getstate(), np.random.get_state(), [g.get_state() for g in generators]
    drawn = accelerator.get_rng_state(device) if hasattr(accelerator, "get_rng_state") else None
    try:
        yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)
        for generator, state in zip(generators, states, strict=True):
            generator.set_state(state)
        if drawn is not None:
            accelerator.set_rng_state(drawn, device)
