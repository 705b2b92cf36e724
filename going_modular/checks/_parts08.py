"""The course's parts of notebook 08, which stand in for a learner's; the text of the first two becomes a script."""

from collections.abc import Callable

import torch
from torch import nn
from torch.nn import functional as F


def average_gradients(model: nn.Module, count: int, all_reduce: Callable) -> None:
    """Replace the gradients of this process's images by those of the images of all processes."""
    total = torch.tensor(float(count), device=next(model.parameters()).device)
    all_reduce(total)
    for parameter in model.parameters():
        if not parameter.requires_grad:
            continue  # frozen: nothing to send
        if parameter.grad is None:
            parameter.grad = torch.zeros_like(parameter)
        parameter.grad *= count
        all_reduce(parameter.grad)
        parameter.grad /= total


def train_shares(
    model: nn.Module,
    images: torch.Tensor,
    labels: torch.Tensor,
    rank: int,
    processes: int,
    all_reduce: Callable,
) -> float:
    """Train as one of several processes for two epochs; return the accuracy over all images."""
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for epoch in range(2):
        order = torch.randperm(len(images), generator=torch.Generator().manual_seed(epoch))
        for batch in order.split(8):
            mine = batch[rank::processes]
            loss = F.cross_entropy(model(images[mine]), labels[mine])
            optimizer.zero_grad()
            (loss * len(mine) / len(batch)).backward()
            for parameter in model.parameters():
                all_reduce(parameter.grad)
            optimizer.step()
    with torch.no_grad():
        answers = model(images[rank::processes]).argmax(dim=1)
    right = (answers == labels[rank::processes]).sum()
    all_reduce(right)
    return right.item() / len(images)


def largest_batch(parameters: int, learning: int, per_image: int, memory: int) -> int:
    """Return how many images fit."""
    left = memory - 4 * (parameters + 3 * learning)
    return max(left // per_image, 0)


def accumulate(model: nn.Module, loss_fn: Callable, images: torch.Tensor, labels: torch.Tensor, size: int) -> None:
    """Compute the gradients of a batch in parts."""
    model.zero_grad()
    for part, part_labels in zip(images.split(size), labels.split(size), strict=True):
        loss = loss_fn(model(part), part_labels) * len(part) / len(images)
        loss.backward()


def speed_up(devices: int, gradient: float, link: float, weak: bool) -> float:
    """Return how many times as fast as one device several are, for a batch that takes one of them a second.

    Args:
        devices: how many.
        gradient: its bytes, which are averaged in a ring after `backward`.
        link: bytes a second between two devices.
        weak: whether each device has a batch of its own, and not a share of one.
    """
    averaging = 2 * (devices - 1) / devices * gradient / link
    return devices / (1 + averaging) if weak else 1 / (1 / devices + averaging)
