"""Checks of the exercises of notebook 08, Scaling up.

`average_gradients`, `train_shares` (find five bugs), `largest_batch`, `accumulate`, `speed_up` and `read_curves` (which
curve is which). `yours_or_ours("accumulate", my_accumulate)` gives the functions that the notebook's later cells use,
and `speed_ups` the curves of its last figure.
"""

import copy
import functools
import weakref
from collections.abc import Callable, Sequence

import torch
from torch import nn
from torch.nn import functional as F

from going_modular.checks import _parts08
from going_modular.checks._check import Attempt, Check, choose_part, describe
from going_modular.checks._processes import Processes

FLOAT = 4  # bytes
EPOCHS, BATCH, RATE = 2, 8, 0.1  # of train_shares
SERIAL, BANDWIDTH, GRADIENTS = 0.05, 1.25e9, 4 * 85_800_963  # of the curves: a share, bytes a second, bytes
CURVES = {"A": "amdahl", "B": "ideal", "C": "strong", "D": "weak"}


@Check
def average_gradients(attempt: Attempt) -> None:
    """Check a function that averages gradients over processes with shares of any size."""
    cases = (
        ((4, 4), "all_reduce gives the sum over the processes, not the mean"),
        ((3, 1), "3 of the 4 images are in the first process: its gradient counts three times as much as the other"),
        ((2, 5, 1), "divide by the images of all processes, which all_reduce can count, too"),
        ((3, 0), "a process without images adds nothing, and ends with the gradients of all"),
    )
    for sizes, hint in cases:
        models, expected = _with_gradients(sizes)
        shown = f"{len(sizes)} processes with {', '.join(map(str, sizes))} images"

        def work(rank: int, all_reduce: Callable, models=models, sizes=sizes, shown=shown) -> None:
            attempt(models[rank], sizes[rank], all_reduce, shown=shown)

        Processes(len(sizes), shown).run(work)
        for rank, model in enumerate(models):
            for name, parameter in model.named_parameters():
                what, tip = f"in process {rank} the gradient of {name} is", hint
                if not parameter.requires_grad:
                    what, tip = f"{what}, which is frozen,", "leave out what is frozen: nobody has its gradient"
                attempt.compare(parameter.grad, expected[name], what=what, hint=tip, tolerance=1e-6)


def _with_gradients(sizes: Sequence[int]) -> tuple[list[nn.Module], dict[str, torch.Tensor]]:
    """Return a model a process with the gradients of its share, and those of all images by their names."""
    generator = torch.Generator().manual_seed(0)
    total = sum(sizes)
    inputs = 3 * torch.randn(total, 5, generator=generator, dtype=torch.float64)
    labels = torch.randint(0, 3, (total,), generator=generator)
    whole = nn.Sequential(nn.Linear(5, 5).requires_grad_(False), nn.Linear(5, 3)).double()
    models = [copy.deepcopy(whole) for _ in sizes]
    F.cross_entropy(whole(inputs), labels).backward()
    for model, share, truth in zip(models, inputs.split(list(sizes)), labels.split(list(sizes)), strict=True):
        if len(share):
            F.cross_entropy(model(share), truth).backward()
    return models, {name: parameter.grad for name, parameter in whole.named_parameters()}


@Check
def train_shares(attempt: Attempt) -> None:
    """Check a mended loop over several processes: its five faults are told one by one."""
    images = 2 * torch.randn(20, 5, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    labels = torch.arange(20) % 3
    for processes in (3, 2):
        first = nn.Linear(5, 3).double()
        models = [_Recording(copy.deepcopy(first), images) for _ in range(processes)]
        shown = f"20 images, {processes} processes"

        def work(rank: int, all_reduce: Callable, models=models, processes=processes, shown=shown) -> float:
            return attempt(models[rank], images.clone(), labels.clone(), rank, processes, all_reduce, shown=shown)

        returned = Processes(processes, shown).run(work)
        updates = _updates(attempt, [model.batches for model in models], len(images))
        for rank, model in enumerate(models[1:], start=1):
            attempt.require(
                torch.equal(model.inner.weight, models[0].inner.weight),
                f"process {rank} ended with other weights than process 0",
                hint="which gradients does optimizer.step() use, and when are they averaged?",
            )
        _train_whole(first, images, labels, updates)
        attempt.compare(
            models[0].inner.weight.detach(), first.weight.detach(), what="the weights are", tolerance=1e-9,
            hint="each update has to be that of one process with the whole batch; the shares differ in size",
        )  # fmt: skip
        right = (first(images).argmax(dim=1) == labels).double().mean().item()
        for value in returned:
            attempt.compare(
                value, right, hint="the accuracy is over all images: add up what is right, and what was measured"
            )


def _updates(attempt: Attempt, batches: list[list[list[int]]], length: int) -> list[list[int]]:
    """Return which images each update saw in all processes together; raise Wrong where the shares are not right."""
    per_epoch = -(-length // BATCH)
    for rank, own in enumerate(batches):
        attempt.require(
            len(own) >= EPOCHS * per_epoch,
            f"process {rank} computed gradients {len(own)} times, not {EPOCHS} x {per_epoch}",
            hint="two epochs of batches of 8, and every process has a share of each",
        )
    updates = [
        [index for own in batches for index in own[update]] for update in range(EPOCHS * per_epoch)
    ]  # fmt: skip
    epochs = [updates[:per_epoch], updates[per_epoch:]]
    for epoch in epochs:
        seen = [index for update in epoch for index in update]
        attempt.require(
            len(seen) >= length,
            f"an epoch used {len(seen)} images in all",
            hint="what becomes of the images of a batch that the processes cannot share evenly?",
        )
        counts = [seen.count(index) for index in range(length)]
        attempt.require(
            set(counts) == {1},
            f"in one epoch an image was used {max(counts)} times, and {counts.count(0)} images not at all",
            hint="do the processes cut up the same order, and does each take a part of its own?",
        )
        attempt.require(
            max(map(len, epoch)) <= BATCH, f"an update saw {max(map(len, epoch))} images", hint="a batch has 8"
        )
    attempt.require(
        [set(update) for update in epochs[0]] != [set(update) for update in epochs[1]],
        "both epochs had the same batches",
        hint="the order is the same for all processes, and new in each epoch",
    )
    return updates


def _train_whole(model: nn.Module, images: torch.Tensor, labels: torch.Tensor, updates: list[list[int]]) -> None:
    """Train in one process on the batches that several shared."""
    optimizer = torch.optim.SGD(model.parameters(), lr=RATE)
    for batch in updates:
        loss = F.cross_entropy(model(images[batch]), labels[batch])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


class _Recording(nn.Module):
    """Writes down which images it computes gradients for."""

    def __init__(self, inner: nn.Module, images: torch.Tensor) -> None:
        super().__init__()
        self.inner, self._images = inner, images
        self.batches: list[list[int]] = []

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Map images (B, D) to logits."""
        if torch.is_grad_enabled():
            same = (images[:, None] == self._images).all(dim=2)
            self.batches.append(same.int().argmax(dim=1).tolist())
        return self.inner(images)


@Check
def largest_batch(attempt: Attempt) -> None:
    """Check a function that says how many images fit in memory."""
    cases = (
        (1000, 1000, 100, 18_000, "all of it learns: weights, gradients and two states of 4,000 bytes each"),
        (1000, 500, 100, 12_000, "what is frozen has weights alone: no gradient, no states"),
        (1000, 10, 100, 10_000, "with little that learns nearly all memory is left for images"),
        (1000, 1000, 300, 17_000, "only whole images count"),
        (1000, 1000, 100, 15_000, "where not even the weights' own part fits, no image does"),
        (1000, 1000, 100, 16_050, "what is left is less than an image takes"),
    )
    for parameters, learning, per_image, memory, hint in cases:
        left = memory - FLOAT * (parameters + 3 * learning)
        attempt.expect(
            max(left // per_image, 0), parameters, learning, per_image, memory, hint=hint,
            shown=f"parameters={parameters}, learning={learning}, per_image={per_image}, memory={memory}",
        )  # fmt: skip


@Check
def accumulate(attempt: Attempt) -> None:
    """Check a function that computes gradients in parts, and keeps no more than a part at a time."""
    generator = torch.Generator().manual_seed(0)
    for batch, size in ((8, 4), (7, 3), (4, 10), (9, 2)):
        inner = nn.Sequential(nn.Linear(5, 40), nn.Tanh(), nn.Linear(40, 3))
        model = _Counting(inner)
        images = torch.randn(batch, 5, generator=generator)
        labels = torch.randint(0, 3, (batch,), generator=generator)
        loss_fn = nn.CrossEntropyLoss()
        with _Kept() as one_part:
            loss_fn(inner(images[:size]), labels[:size]).backward()
        inner.zero_grad()
        loss_fn(inner(images), labels).backward()
        expected = {name: parameter.grad.clone() for name, parameter in inner.named_parameters()}
        # what an earlier update left there must not count
        with _Kept() as kept:
            attempt(model, loss_fn, images, labels, size, shown=f"{batch} images in parts of at most {size}")
        attempt.require(
            model.largest <= size, f"the model was called with {model.largest} images", hint="images.split(size)"
        )
        attempt.require(
            model.seen == batch, f"the model saw {model.seen} images", hint="each image once, the last part's, too"
        )
        for name, parameter in inner.named_parameters():
            found = parameter.grad
            attempt.require(found is not None, "there are no gradients", hint="backward adds them up; keep them")
            attempt.compare(
                found, expected[name], what=f"the gradient of {name} has",
                hint="begin with zero_grad; weigh each part's mean loss by its images over all of the batch's",
            )  # fmt: skip
        attempt.require(
            kept.most < 1.5 * one_part.most,
            f"{kept.most / one_part.most:.1f} parts were kept for the way back at the same time",
            hint="a part's activations go with its backward: call it before the next part goes forward",
        )


class _Counting(nn.Module):
    """Counts the images that it is called with."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner
        self.largest = self.seen = 0

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Map images (B, D) to logits."""
        self.largest, self.seen = max(self.largest, len(images)), self.seen + len(images)
        return self.inner(images)


class _Held:
    """A tensor that the graph keeps for the way back."""

    def __init__(self, tensor: torch.Tensor) -> None:
        self.tensor = tensor


class _Kept:
    """Counts the bytes that the graph keeps for the way back while it is entered, and the most of them."""

    def __init__(self) -> None:
        self.now = self.most = 0
        self._hooks = torch.autograd.graph.saved_tensors_hooks(self._keep, lambda held: held.tensor)

    def __enter__(self) -> "_Kept":
        self._hooks.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        self._hooks.__exit__(*error)

    def _keep(self, tensor: torch.Tensor) -> _Held:
        held = _Held(tensor.detach())
        self.now += tensor.nbytes
        self.most = max(self.most, self.now)
        weakref.finalize(held, self._let_go, tensor.nbytes)
        return held

    def _let_go(self, nbytes: int) -> None:
        self.now -= nbytes


@Check
def speed_up(attempt: Attempt) -> None:
    """Check a function that calculates how many times as fast several devices are."""
    cases = (
        (2, 1e9, 2e9, False, "each sends 2 (2 - 1) / 2 = 1 times the gradient: 0.5 s; and half a second of computing"),
        (2, 1e9, 2e9, True, "each computes a whole batch, so in a step of 1.5 s there are two batches"),
        (8, 343e6, 1.25e9, False, "in a ring each device sends 2 (N - 1) / N times the bytes of the gradient"),
        (8, 343e6, 1.25e9, True, "images a second, over those of one device: 8 batches in a step"),
        (1, 343e6, 1.25e9, False, "one device has nobody to average with"),
        (1, 343e6, 1.25e9, True, "one device has nobody to average with"),
        (32, 343e6, 25e9, False, "a faster link makes averaging shorter, and computing as long as it was"),
    )
    for devices, gradient, link, weak, hint in cases:
        attempt.expect(_parts08.speed_up(devices, gradient, link, weak), devices, gradient, link, weak, hint=hint)


def speed_ups(devices: Sequence[int]) -> dict[str, list[float]]:
    """Return four curves of speed-up against the number of devices, by letter.

    Args:
        devices: numbers of them.
    """
    curves = {
        "ideal": [float(n) for n in devices],
        "amdahl": [1 / (SERIAL + (1 - SERIAL) / n) for n in devices],
        "strong": [_parts08.speed_up(n, GRADIENTS, BANDWIDTH, weak=False) for n in devices],
        "weak": [_parts08.speed_up(n, GRADIENTS, BANDWIDTH, weak=True) for n in devices],
    }
    return {letter: curves[kind] for letter, kind in CURVES.items()}


@Check
def read_curves(attempt: Attempt) -> None:
    """Check what a learner read from the curves; it does not tell the right answers."""
    found = attempt(shown="the figure of section 7")
    hints = {
        "ideal": "N devices that lose nothing are N times as fast",
        "amdahl": "at first nearly all is shared; in the end only what cannot be shared is left",
        "strong": "every device has less to do, while averaging takes no less",
        "weak": "every device has as much to do as one alone; past a few devices a step gets hardly longer",
        "limit": "let N grow without end: what is left of the time of one device?",
        "strong_at_32": "read it off at the right end, as a whole number",
    }
    keys = isinstance(found, dict) and set(found) == set(hints)
    attempt.require(keys, f"returned {describe(found)}", hint=f"return a dictionary with the keys {', '.join(hints)}")
    letters = {kind: letter for letter, kind in CURVES.items()}
    expected = letters | {"limit": round(1 / SERIAL), "strong_at_32": round(speed_ups([32])[letters["strong"]][0])}
    for key, hint in hints.items():
        value = found[key]
        is_right = isinstance(value, str) == isinstance(expected[key], str) and value == expected[key]
        attempt.require(is_right, f"{key} is not {describe(value)}", hint=hint)


yours_or_ours = functools.partial(
    choose_part,
    {
        "average_gradients": (average_gradients, _parts08.average_gradients),
        "train_shares": (train_shares, _parts08.train_shares),
        "largest_batch": (largest_batch, _parts08.largest_batch),
        "accumulate": (accumulate, _parts08.accumulate),
        "speed_up": (speed_up, _parts08.speed_up),
    },
)
