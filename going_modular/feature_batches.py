"""Batches of features of a frozen backbone, computed in any number of processes."""

from collections.abc import Iterator, Sequence
from functools import partial

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset, Subset, default_collate

from going_modular.errors import InputError

CPU_BATCH = {"bf16": 8, "fp32": 16}  # the fastest for a core of its own: small enough for its caches
GPU_BATCH = 64

Batch = tuple[list[int], np.ndarray, list[int], list[str]]  # indices, features (B, D), labels, messages


def compute(
    trunk: nn.Module, dataset: Subset, device: torch.device | str, precision: str, num_workers: int
) -> Iterator[Batch]:
    """Yield batches of features, in any number of processes."""
    if not len(dataset):
        return
    on_cpu = torch.device(device).type == "cpu"
    forward = partial(_forward, trunk=trunk, device=device, precision=precision)
    loader = DataLoader(
        _Reader(dataset),
        CPU_BATCH[precision] if on_cpu else GPU_BATCH,
        num_workers=num_workers,
        # on a CPU the workers compute, too: a core each, nothing to hand over but features
        collate_fn=forward if on_cpu else _gather,
        # a generator of its own: the base seed of workers must not come out of the one that training uses
        generator=torch.Generator(),
    )
    for batch in loader:
        yield batch if on_cpu else forward(batch)


class _Reader(Dataset):
    """Items (index, image, label), or (index, message) where the image cannot be read."""

    def __init__(self, dataset: Dataset) -> None:
        self.dataset = dataset

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> tuple:
        try:
            image, label = self.dataset[index]
        except (InputError, OSError) as error:
            return index, " ".join(str(error).split())
        return index, image, int(label)


def _gather(items: Sequence[tuple]) -> tuple[list[int], torch.Tensor, list[int], list[str]]:
    good = [item for item in items if len(item) == 3]
    images = default_collate([image for _, image, _ in good]) if good else torch.empty(0)
    return (
        [index for index, _, _ in good],
        images,
        [label for _, _, label in good],
        [item[1] for item in items if len(item) == 2],
    )


@torch.inference_mode()
def _forward(items: Sequence[tuple], *, trunk: nn.Module, device: torch.device | str, precision: str) -> Batch:
    """Turn items, or what `_gather` made of them, into features as NumPy: small, and free of inference mode."""
    indices, images, labels, messages = items if isinstance(items, tuple) else _gather(items)
    if not indices:
        return indices, np.empty((0, 0), dtype=np.float32), labels, messages
    images = images.to(device, non_blocking=True).contiguous(memory_format=torch.channels_last)
    with torch.autocast(torch.device(device).type, dtype=torch.bfloat16, enabled=precision == "bf16"):
        values = trunk(images).flatten(1)  # (B, D)
    return indices, values.float().cpu().numpy(), labels, messages
