"""Checks of the exercises of notebook 08, Scaling up."""

from numbers import Integral

import torch
from torch import nn

from going_modular.checks._check import Attempt, Check, describe


@Check
def shard(attempt: Attempt) -> None:
    """Check a function that deals images out to processes."""
    for length, processes in ((8, 2), (7, 2), (10, 3), (5, 1), (3, 4)):
        dealt = []
        for rank in range(processes):
            mine = attempt(length, rank, processes, shown=f"length={length}, rank={rank}, processes={processes}")
            attempt.require(
                isinstance(mine, list) and all(isinstance(index, Integral) for index in mine),
                f"returned {describe(mine)} instead of a list of indices",
                hint="a list of whole numbers from 0 to length - 1",
            )
            dealt.append(mine)
        attempt.shown = f"length={length}, processes={processes}, all ranks"
        everything = sorted(index for mine in dealt for index in mine)
        attempt.require(
            everything == list(range(length)),
            f"the processes together have {everything}",
            hint="every index from 0 to length - 1, and none of them twice",
        )
        sizes = [len(mine) for mine in dealt]
        attempt.require(
            max(sizes) - min(sizes) <= 1,
            f"the processes have {sizes} images",
            hint="the slowest process decides: no more than one image of difference",
        )


@Check
def together(attempt: Attempt) -> None:
    """Check a function that brings accuracies of processes together."""
    cases = (
        ([3, 2], [4, 4], "5 of 8 are right"),
        ([10, 0], [10, 2], "a process with fewer images counts less: 10 of 12 are right"),
        ([3, 0], [4, 0], "a process without images counts nothing, and must not divide by zero"),
        ([1, 1, 4], [1, 2, 8], "add up what is right and what was seen, then divide once"),
    )
    for right, seen, hint in cases:
        attempt.expect(sum(right) / sum(seen), list(right), list(seen), hint=hint)


@Check
def accumulate(attempt: Attempt) -> None:
    """Check a function that computes gradients in parts."""
    generator = torch.Generator().manual_seed(0)
    for batch, size in ((8, 4), (7, 3), (4, 10)):
        model = _Counting(nn.Linear(5, 3))
        images = torch.randn(batch, 5, generator=generator)
        labels = torch.randint(0, 3, (batch,), generator=generator)
        loss_fn = nn.CrossEntropyLoss()
        loss_fn(model.inner(images), labels).backward()
        expected = model.inner.weight.grad.clone()
        # what an earlier update left there must not count
        attempt(model, loss_fn, images, labels, size, shown=f"{batch} images in parts of at most {size}")
        attempt.require(
            model.largest <= size, f"the model was called with {model.largest} images", hint="images.split(size)"
        )
        attempt.require(
            model.seen == batch, f"the model saw {model.seen} images", hint="each image once, the last part's, too"
        )
        found = model.inner.weight.grad
        attempt.require(found is not None, "there are no gradients", hint="backward adds them up; keep them")
        attempt.compare(
            found,
            expected,
            what="the gradients have",
            hint="begin with zero_grad; weigh each part's mean loss by its images over all of the batch's",
        )


class _Counting(nn.Module):
    """Counts the images that it is called with."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner
        self.largest = self.seen = 0

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        self.largest, self.seen = max(self.largest, len(images)), self.seen + len(images)
        return self.inner(images)


@Check
def scaling(attempt: Attempt) -> None:
    """Check a function that reckons how devices scale."""
    cases = (
        (1.0, 1000, 1e9, 1, "one device averages nothing: once as fast"),
        (1.0, 0, 1e9, 4, "without gradients to average, four devices are four times as fast"),
        (0.1, 10**7, 4e9, 2, "the images take 0.05 s, averaging 2 * 1/2 * 40 MB at 4 GB/s = 0.01 s"),
        (0.1, 85_800_963, 0.125e9, 8, "over a slow link more devices can be slower than one"),
    )
    for seconds, parameters, bandwidth, devices, hint in cases:
        averaging = 2 * (devices - 1) / devices * 4 * parameters / bandwidth
        attempt.expect(
            seconds / (seconds / devices + averaging),
            seconds,
            parameters,
            bandwidth,
            devices,
            shown=f"seconds={seconds}, parameters={parameters}, bandwidth={bandwidth:g}, devices={devices}",
            hint=hint,
        )
