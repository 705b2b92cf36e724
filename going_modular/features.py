"""Run the frozen backbone once: features in memory, and on disk for the next run.

    train_features = extract(model, train_dataset, device=device)
    engine.train(model_builder.head(model), DataLoader(train_features, 32, shuffle=True), ...)

A frozen backbone gives the same features for the same image every epoch, so that the head can train on features that
were computed once. Nothing random may stand before them: augmentation needs the usual loop.
"""

import contextlib
import math
import warnings
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset, Subset, TensorDataset, default_collate

from going_modular import model_builder
from going_modular.common.device import (
    default_num_workers,
    exact_fp32,
    is_out_of_memory,
    memory_format,
    resolve_precision,
    workers_that_fit,
)
from going_modular.common.errors import InputError, listed
from going_modular.common.memory import keep_freed
from going_modular.common.progress import bar as progress_bar
from going_modular.data import download, feature_store

MANY_IMAGES = 32  # fewer are read before worker processes have started
SHARD_IMAGES = 1024  # kept at a time: all that a kill loses
CPU_BATCH = {"bf16": 8, "fp32": 16}  # the fastest for a core of its own: small enough for its caches
GPU_BATCH, GPU_SIDE = 64, 224  # images of this side (px), or fewer larger ones of as many pixels in all
GPU_BYTES = 1024  # of a GPU's free memory for a pixel of a batch; see `benchmarks/bench_gpu.py`

Batch = tuple[list[int], np.ndarray, list[int], dict[int, str]]  # indices, features (B, D), labels; problems by index


def extract(
    model: nn.Module,
    dataset: Dataset,
    *,
    device: torch.device | str = "cpu",
    precision: str = "auto",
    cache: bool | Path = True,
    num_workers: int | None = None,
    progress: bool = True,
) -> TensorDataset:
    """Run the backbone of a model once over each image of a data set.

    BatchNorms run folded into the convolutions before them, as `model_builder.fold` does it. On a CPU each worker
    process decodes images and computes, on a core of its own; on a GPU workers decode while it computes. Interrupted
    or stopped by an unreadable image, it keeps on disk what it finished; killed, all but the last 1,024 images.

    Args:
        model: a classifier as `model_builder.create_model` returns it; moved to `device`. Its head is not used.
        dataset: items (image (3, H, W), label), without any randomness; Subset and ConcatDataset of such are fine.
        device: where to compute.
        precision: `fp32`, `bf16`, or `auto`: see `resolve_precision`.
        cache: keep features in this folder (True: in the platform's cache folder) and read them from there. Features
            are found by the image file's contents, the backbone's weights, the transform and the precision; data sets
            other than image folders are not kept.
        num_workers: processes; by default one a core where they can be forked, else none.
        progress: show a bar.

    Returns:
        Features (N, D), float32, and labels (N,), int64, in the order of the data set, on the CPU.

    Raises:
        InputError: a random transform, unreadable images (the first of many are named), or nothing in the data set.
    """
    extracted, problems = extract_readable(
        model, dataset, device=device, precision=precision, cache=cache, num_workers=num_workers, progress=progress
    )
    if problems:
        raise InputError(f"{len(problems)} unreadable: {listed(list(problems.values()))}")
    return extracted


def extract_readable(
    model: nn.Module,
    dataset: Dataset,
    *,
    device: torch.device | str = "cpu",
    precision: str = "auto",
    cache: bool | Path = True,
    num_workers: int | None = None,
    progress: bool = True,
) -> tuple[TensorDataset, dict[int, str]]:
    """Do what `extract` does, and pass over images that cannot be opened.

    Args: as for `extract`.

    Returns:
        Features and labels of the readable items, in the order of the data set; and what is wrong with the others, a
        line each, by index in the data set, in order.

    Raises:
        InputError: a random transform, or nothing in the data set.
    """
    if not len(dataset):
        raise InputError("The data set is empty: there is nothing to extract features from")
    feature_store.refuse_randomness(dataset)
    precision = resolve_precision(precision, device)
    trunk = model_builder.backbone(model.to(device)).eval()
    features = torch.empty(len(dataset), model_builder.feature_width(model))
    labels = torch.empty(len(dataset), dtype=torch.int64)

    is_done = np.zeros(len(dataset), dtype=bool)  # read from disk
    samples = feature_store.image_files(dataset) if cache else None
    computed = f"{precision} {torch.device(device).type} folded"
    store = feature_store.open_store(cache, dataset, trunk, computed) if samples else None
    hashes: list[bytes | None] = []
    if store:
        hashes = feature_store.hash_files([path for path, _ in samples])
        labels[:] = torch.tensor([label for _, label in samples])
        is_done = store.read(hashes, features)

    missing = np.flatnonzero(~is_done)
    if num_workers is None:
        num_workers = default_num_workers() if len(missing) > MANY_IMAGES else 0
    if len(missing):
        trunk = model_builder.fold(trunk).to(memory_format=memory_format(device))
    batches = _compute(trunk, Subset(dataset, missing), device, precision, num_workers)
    problems: dict[int, str] = {}
    unsaved: list[int] = []

    def keep_unsaved() -> None:
        if store:
            store.write([hashes[i] for i in unsaved], features[unsaved])
        unsaved.clear()

    try:
        for _ in _collect(batches, missing, features, labels, unsaved, problems, progress):
            if len(unsaved) >= SHARD_IMAGES:
                keep_unsaved()
    except KeyboardInterrupt:
        place = download.cache_folder() if cache is True else cache
        kept = f"the features so far are kept in {place}" if store else "nothing was kept"
        raise KeyboardInterrupt(kept) from None
    finally:
        keep_unsaved()
    readable = [i for i in range(len(dataset)) if i not in problems] if problems else slice(None)
    return TensorDataset(features[readable], labels[readable]), dict(sorted(problems.items()))


def extract_distributed(
    model: nn.Module,
    dataset: Dataset,
    *,
    device: torch.device | str = "cpu",
    precision: str = "auto",
    cache: bool | Path = True,
) -> TensorDataset:
    """Do what `extract` does, each process of a torch.distributed group for its part of the data set.

    Every process gets all features. Without a group it is `extract`. The first process shows a bar.

    Args:
        model: the same in every process.
        dataset: the same in every process, with at least as many items as processes.
        device: of this process.
        precision: as for `extract`.
        cache: as for `extract`.

    Raises:
        InputError: as `extract` does, in the process that met it.
    """
    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        return extract(model, dataset, device=device, precision=precision, cache=cache)
    rank, processes = torch.distributed.get_rank(), torch.distributed.get_world_size()
    mine = range(rank, len(dataset), processes)
    values, labels = extract(
        model, Subset(dataset, mine), device=device, precision=precision, cache=cache, progress=rank == 0
    ).tensors

    # a row is filled by one process and 0 in the others: their sum is the whole
    features = torch.zeros(len(dataset), values.shape[1], device=device)
    all_labels = torch.zeros(len(dataset), dtype=torch.int64, device=device)
    features[mine], all_labels[mine] = values.to(device), labels.to(device)
    for tensor in (features, all_labels):
        torch.distributed.all_reduce(tensor)
    return TensorDataset(features.cpu(), all_labels.cpu())


def fill(
    rows: torch.Tensor,
    trunk: nn.Module,
    dataset: Dataset,
    *,
    device: torch.device | str,
    precision: str,
    progress: bool = True,
) -> tuple[torch.Tensor, dict[int, str]]:
    """Fill rows (N, D) with what a part of a model makes of each image, flattened, as `extract` runs a backbone.

    Args:
        rows: of any float type, on the CPU.
        trunk: maps images (B, 3, H, W) to (B, ...), D numbers for each; in eval mode, on `device`.
        dataset: as for `extract`; that its transform is fixed is the caller's to check.
        device: where to compute.
        precision: `fp32` or `bf16`.
        progress: show a bar.

    Returns:
        Labels (N,), and what is wrong with images that cannot be read, by index, as `extract_readable` tells it.
    """
    labels, everything = torch.zeros(len(dataset), dtype=torch.int64), np.arange(len(dataset))
    num_workers = default_num_workers() if len(dataset) > MANY_IMAGES else 0
    batches = _compute(trunk, Subset(dataset, everything), device, precision, num_workers)
    problems: dict[int, str] = {}
    for _ in _collect(batches, everything, rows, labels, [], problems, progress):
        pass
    return labels, dict(sorted(problems.items()))


def divide(extracted: TensorDataset, parts: Sequence[Dataset]) -> list[TensorDataset]:
    """Divide features that were extracted in one pass over several data sets, a ConcatDataset, into one for each."""
    sizes = [len(part) for part in parts]
    return [TensorDataset(*part) for part in zip(*(tensor.split(sizes) for tensor in extracted.tensors), strict=True)]


def logits(
    model: nn.Module,
    dataset: Dataset,
    *,
    device: torch.device | str = "cpu",
    precision: str = "auto",
) -> torch.Tensor:
    """Return the logits (N, C), float32, on the CPU, that a model gives the images of a data set, in its order.

    The backbone runs as in `extract`, then the head, in eval mode.

    Args, errors: as for `extract`.
    """
    extracted = extract(model, dataset, device=device, precision=precision)
    return model_builder.logits(model, extracted.tensors[0])


def _collect(
    batches: Iterator[Batch],
    missing: np.ndarray,
    features: torch.Tensor,
    labels: torch.Tensor,
    finished: list[int],
    problems: dict[int, str],
    progress: bool,
) -> Iterator[None]:
    """Write batches of features into their rows, add these to the finished ones, and yield after each batch."""
    with progress_bar(
        total=len(missing), desc="Features", unit="image", disable=not progress or not len(missing)
    ) as bar:
        for indices, values, batch_labels, batch_problems in batches:
            rows = missing[indices].tolist()
            if rows:  # else no image of the batch could be read, and no width is known
                features[rows] = torch.from_numpy(values).to(features.dtype)
            labels[rows] = torch.tensor(batch_labels, dtype=torch.int64)
            finished += rows  # before the bar shows them: an interrupt can come any time
            problems.update({int(missing[index]): message for index, message in batch_problems.items()})
            bar.update(len(rows) + len(batch_problems))
            yield


def _compute(
    trunk: nn.Module, dataset: Subset, device: torch.device | str, precision: str, num_workers: int
) -> Iterator[Batch]:
    """Yield batches of features, computed in any number of processes."""
    if not len(dataset):
        return
    forward = partial(_forward, trunk=trunk, device=device, precision=precision)
    on_cpu = torch.device(device).type == "cpu"
    batch_size = CPU_BATCH[precision] if on_cpu else _gpu_batch(dataset, device)
    loader = DataLoader(
        _Reader(dataset),
        batch_size,
        num_workers=num_workers if on_cpu else workers_that_fit(num_workers, dataset, batch_size),
        # on a CPU the workers compute, too: a core each, nothing to hand over but features
        collate_fn=partial(_gather, forward=forward if on_cpu else None),
        # a generator of its own: the base seed of workers must not come out of the one that training uses
        generator=torch.Generator(),
    )
    for indices, images, labels, problems in loader:
        values = images
        if not on_cpu:
            values, batch_size = _in_parts(forward, images, batch_size, device)
        yield indices, values, labels, problems


def _gpu_batch(dataset: Subset, device: torch.device | str) -> int:
    """Return how many images of a data set a GPU takes at a time, by their pixels and its free memory."""
    pixels = GPU_SIDE**2
    with contextlib.suppress(InputError, OSError):  # an image that cannot be read is told when its turn comes
        pixels = math.prod(dataset[0][0].shape[-2:])
    fitting = GPU_BATCH * GPU_SIDE**2 // pixels
    if torch.device(device).type == "cuda":
        fitting = min(fitting, torch.cuda.mem_get_info(device)[0] // (pixels * GPU_BYTES))
    return min(max(fitting, 1), GPU_BATCH)


def _in_parts(forward: Callable, images: torch.Tensor, size: int, device: torch.device | str) -> tuple[np.ndarray, int]:
    """Return the features of images, so many at a time, or half as many wherever memory is out, and how many it was."""
    while True:
        try:
            return np.concatenate([forward(part) for part in images.split(size)]), size
        except RuntimeError as error:
            if size == 1 or not is_out_of_memory(error):
                raise
        size //= 2  # here the error is gone, and with it what it held
        torch.get_device_module(device).empty_cache()
        warnings.warn(f"{device} has no memory for so many images at a time: {size} from here on", stacklevel=2)


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


def _gather(items: Sequence[tuple], *, forward: Callable | None) -> tuple:
    """Return a batch of images, or with `forward` of their features, between their indices, labels and problems."""
    good = [item for item in items if len(item) == 3]
    images = default_collate([image for _, image, _ in good]) if good else torch.empty(0)
    problems = dict(item for item in items if len(item) == 2)
    values = forward(images) if forward else images
    return [index for index, _, _ in good], values, [label for _, _, label in good], problems


@torch.inference_mode()
def _forward(images: torch.Tensor, *, trunk: nn.Module, device: torch.device | str, precision: str) -> np.ndarray:
    """Turn images (B, 3, H, W) into features (B, D) as NumPy: small, and free of inference mode."""
    if not len(images):
        return np.empty((0, 0), dtype=np.float32)
    keep_freed()
    images = images.to(device, non_blocking=True).contiguous(memory_format=memory_format(device))
    with exact_fp32(), torch.autocast(torch.device(device).type, dtype=torch.bfloat16, enabled=precision == "bf16"):
        values = trunk(images).flatten(1)  # (B, D)
    return values.float().cpu().numpy()
