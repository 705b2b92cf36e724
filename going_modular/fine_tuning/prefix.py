"""Run the frozen blocks below those that learn once, and train the rest on what they gave: on maps, not on images.

    below, rest = split(model, blocks=2)
    maps = extract(below, train_dataset, device=device)
    engine.train(rest, DataLoader(maps, 32, shuffle=True), ...)

Frozen blocks give the same maps for the same image in each epoch. Nothing random may stand before them.
"""

import copy
import os
import shutil
import tempfile
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.utils.data import Dataset, Subset, TensorDataset

from going_modular import features, model_builder
from going_modular.common.device import memory_format, resolve_precision
from going_modular.common.errors import InputError, listed
from going_modular.data import feature_store
from going_modular.fine_tuning.cut import NoPrefixError
from going_modular.fine_tuning.cut import split as split

MEMORY_BYTES = 2**30  # of maps that are kept in memory; more lie in a file
FILE_BYTES = 32 * 2**30  # of such a file, at most
FREE_PART = 0.9  # of a disk's free room that it may take


def extract(
    below: nn.Module,
    dataset: Dataset,
    *,
    device: torch.device | str = "cpu",
    precision: str = "auto",
    folder: Path | None = None,
    progress: bool = True,
) -> TensorDataset:
    """Run the blocks below once over each image of a data set, as `features.extract` runs a backbone.

    Up to `MEMORY_BYTES` of maps are kept in memory, more in a file that is gone with the process. The processes of a
    torch.distributed group share the work, and each has all maps in memory.

    Args:
        below: as `split` returns it; moved to `device` and left in eval mode.
        dataset: as for `features.extract`.
        device: where to compute.
        precision: `fp32`, `bf16`, or `auto`: see `resolve_precision`.
        folder: where the file may lie; by default that of temporary files.
        progress: show a bar.

    Returns:
        Maps, float32 or bfloat16 as the precision, and labels (N,), int64, in the order of the data set, on the CPU.

    Raises:
        NoPrefixError: so many maps are too large for the limits, or for the disk.
        InputError: as for `features.extract`.
    """
    feature_store.refuse_randomness(dataset)
    precision = resolve_precision(precision, device)
    is_shared = torch.distributed.is_available() and torch.distributed.is_initialized()
    rank, processes = (torch.distributed.get_rank(), torch.distributed.get_world_size()) if is_shared else (0, 1)
    shared = [*below.to(device).eval().parameters(), *below.buffers()]
    # modules of a copy are replaced, tensors stay the model's
    folded = model_builder.fold(copy.deepcopy(below, {id(tensor): tensor for tensor in shared}))
    folded.to(memory_format=memory_format(device))
    shape = _map_shape(folded, dataset, device)
    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    maps = _room(len(dataset), shape, dtype, None if is_shared else folder or Path(tempfile.gettempdir()))
    mine, labels = range(rank, len(dataset), processes), torch.zeros(len(dataset), dtype=torch.int64)
    labels[mine], problems = features.fill(
        maps[rank::processes], folded, Subset(dataset, mine), device=device, precision=precision, progress=progress
    )
    if problems:
        raise InputError(f"{len(problems)} unreadable: {listed(list(problems.values()))}")
    if is_shared:  # a row is filled by one process and 0 in the others: their sum is the whole, byte by byte
        maps, labels = (_sum(tensor.view(torch.uint8), device).view(tensor.dtype) for tensor in (maps, labels))
    return TensorDataset(maps.unflatten(1, shape), labels)


@torch.inference_mode()
def _map_shape(below: nn.Module, dataset: Dataset, device: torch.device | str) -> torch.Size:
    """Return the shape of the map of the first image that can be read.

    Raises:
        InputError: none can, or there is none.
    """
    problem = InputError("The data set is empty: there is nothing to run the blocks on")
    for index in range(len(dataset)):
        try:
            image = dataset[index][0]
        except (InputError, OSError) as error:
            problem = error
            continue
        return below(image.unsqueeze(0).to(device)).shape[1:]
    raise InputError(f"No image can be read: {problem}")


def _room(count: int, shape: torch.Size, dtype: torch.dtype, folder: Path | None) -> torch.Tensor:
    """Return a tensor (count, D) of zeros to be filled with maps, in memory or in a file.

    Args:
        count: of the maps.
        shape: of each.
        dtype: of each.
        folder: of the file; None where there must not be one.

    Raises:
        NoPrefixError: they would be too large.
    """
    size = count * shape.numel() * dtype.itemsize
    what = f"The maps of {count} images take {size / 1e9:.1f} GB"
    if size <= MEMORY_BYTES:
        return torch.zeros(count, shape.numel(), dtype=dtype)
    if folder is None or size > FILE_BYTES:
        most = MEMORY_BYTES if folder is None else FILE_BYTES
        raise NoPrefixError(f"{what}, more than {most / 1e9:.1f} GB")
    try:
        if size > (free := FREE_PART * shutil.disk_usage(folder).free):
            raise NoPrefixError(f"{what}, and {str(folder)!r} has {free / 1e9:.1f} GB for them")
        file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 - for as long as the maps are used
        # a file with holes would end the process when the disk is full
        (os.posix_fallocate if hasattr(os, "posix_fallocate") else _lengthen)(file.fileno(), 0, size)
        rows = torch.from_numpy(np.memmap(file, np.uint8, "r+", shape=(size,)))
    except OSError as error:
        raise NoPrefixError(f"{what}, and {str(folder)!r} cannot hold them: {error.strerror or error}") from error
    return rows.view(dtype).view(count, -1)


def _lengthen(file: int, _: int, size: int) -> None:
    os.truncate(file, size)


def _sum(tensor: torch.Tensor, device: torch.device | str) -> torch.Tensor:
    """Return the sum of a tensor over all processes, on the CPU."""
    total = tensor.to(device)
    torch.distributed.all_reduce(total)
    return total.cpu()
