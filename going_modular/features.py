"""Run the frozen backbone once: features in memory, and on disk for the next run.

    train_features = extract(model, train_dataset, device=device)
    engine.train(model_builder.head(model), DataLoader(train_features, 32, shuffle=True), ...)

A frozen backbone gives the same features for the same image every epoch, so that the head can train on features that
were computed once. Nothing random may stand before them: augmentation needs the usual loop.
"""

import hashlib
import random
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import PIL
import torch
import torchvision
from PIL import Image
from torch import nn
from torch.utils.data import ConcatDataset, Dataset, Subset, TensorDataset
from torchvision.datasets import DatasetFolder

from going_modular import download, feature_batches, images, model_builder
from going_modular.errors import InputError
from going_modular.feature_store import FeatureStore, hash_files, save_or_warn
from going_modular.progress import bar as progress_bar

MANY_IMAGES = 32  # fewer are read before worker processes have started
SHARD_IMAGES = 1024  # kept at a time: all that a kill loses


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

    On a CPU each worker process decodes images and computes, on a core of its own; on a GPU workers decode while it
    computes. Interrupted or stopped by an unreadable image, it keeps on disk what it finished; killed, all but the last
    1,024 images.

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
        InputError: a random transform, unreadable images (all are named), or nothing in the data set.
    """
    if not len(dataset):
        raise InputError("The data set is empty: there is nothing to extract features from")
    _refuse_randomness(dataset)
    precision = resolve_precision(precision, device)
    trunk = model_builder.backbone(model.to(device)).eval().to(memory_format=torch.channels_last)
    features = torch.empty(len(dataset), model_builder.feature_width(model))
    labels = torch.empty(len(dataset), dtype=torch.int64)

    done = np.zeros(len(dataset), dtype=bool)  # found on disk
    samples = _image_files(dataset) if cache else None
    store = _open_store(cache, dataset, trunk, f"{precision} {torch.device(device).type}") if samples else None
    hashes: list[bytes | None] = []
    if store:
        hashes = hash_files([path for path, _ in samples])
        labels[:] = torch.tensor([label for _, label in samples])
        done = store.read(hashes, features)

    missing = np.flatnonzero(~done)
    if num_workers is None:
        num_workers = images.default_num_workers() if len(missing) > MANY_IMAGES else 0
    batches = feature_batches.compute(trunk, Subset(dataset, missing), device, precision, num_workers)
    unsaved: list[int] = []
    try:
        for _ in _collect(batches, missing, features, labels, unsaved, progress):
            if len(unsaved) >= SHARD_IMAGES:
                _keep(store, hashes, features, unsaved)
                unsaved.clear()
    finally:
        _keep(store, hashes, features, unsaved)
    return TensorDataset(features, labels)


def extract_sharded(
    model: nn.Module, dataset: Dataset, *, device: torch.device | str = "cpu", progress: bool = True, **options: object
) -> TensorDataset:
    """Do what `extract` does, each process of a torch.distributed group for its part of the data set.

    Every process gets all features. Without a group it is `extract`.

    Args:
        model: the same in every process.
        dataset: the same in every process, with at least as many items as processes.
        device: of this process.
        progress: show a bar, in the first process.
        options: as for `extract`.

    Raises:
        InputError: as `extract` does, in the process that met it.
    """
    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        return extract(model, dataset, device=device, progress=progress, **options)
    rank, processes = torch.distributed.get_rank(), torch.distributed.get_world_size()
    mine = range(rank, len(dataset), processes)
    values, labels = extract(
        model, Subset(dataset, mine), device=device, progress=progress and rank == 0, **options
    ).tensors

    # a row is filled by one process and 0 in the others: their sum is the whole
    features = torch.zeros(len(dataset), values.shape[1], device=device)
    all_labels = torch.zeros(len(dataset), dtype=torch.int64, device=device)
    features[mine], all_labels[mine] = values.to(device), labels.to(device)
    for tensor in (features, all_labels):
        torch.distributed.all_reduce(tensor)
    return TensorDataset(features.cpu(), all_labels.cpu())


def resolve_precision(precision: str, device: torch.device | str) -> str:
    """Return `fp32` or `bf16`; `auto` is bf16 where the device multiplies it natively, else fp32.

    Features in bf16 differ from fp32's in the third digit; the accuracy of a head trained on them does not (see
    `benchmarks/`).

    Raises:
        InputError: not one of `auto`, `fp32`, `bf16`.
    """
    if precision in ("fp32", "bf16"):
        return precision
    if precision != "auto":
        raise InputError(f"Unknown precision {precision!r}; choose auto, fp32 or bf16")
    kind = torch.device(device).type
    if kind == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp32"
    if kind == "cpu":
        able = getattr(torch.cpu, "get_capabilities", dict)()  # older torch, such as 2.10, cannot say
        return "bf16" if any(able.get(name) for name in ("avx512_bf16", "amx_bf16", "sve_bf16")) else "fp32"
    return "fp32"


def _collect(
    batches: Iterator[feature_batches.Batch],
    missing: np.ndarray,
    features: torch.Tensor,
    labels: torch.Tensor,
    finished: list[int],
    progress: bool,
) -> Iterator[None]:
    """Write batches of features into their rows, and add these to the finished ones; yield after each batch."""
    unreadable: list[str] = []
    with progress_bar(
        total=len(missing), desc="Features", unit="image", disable=not progress or not len(missing)
    ) as bar:
        for indices, values, batch_labels, messages in batches:
            rows = missing[indices].tolist()
            if rows:  # else no image of the batch could be read, and no width is known
                features[rows] = torch.from_numpy(values)
            labels[rows] = torch.tensor(batch_labels, dtype=torch.int64)
            finished += rows  # before the bar shows them: an interrupt can come any time
            unreadable += messages
            bar.update(len(rows) + len(messages))
            yield
    if unreadable:
        raise InputError(f"{len(unreadable)} unreadable: {'; '.join(unreadable)}")


def _keep(store: FeatureStore | None, hashes: list[bytes | None], features: torch.Tensor, rows: list[int]) -> None:
    """Write rows to the store, if there is one, but those of files that could not be hashed."""
    if store and (hashed := [i for i in rows if hashes[i]]):
        save_or_warn(store, [hashes[i] for i in hashed], features[hashed])


def _leaves(dataset: Dataset) -> list[Dataset]:
    """Return the data sets behind any Subset and ConcatDataset."""
    if isinstance(dataset, Subset):
        return _leaves(dataset.dataset)
    if isinstance(dataset, ConcatDataset):
        return [leaf for part in dataset.datasets for leaf in _leaves(part)]
    return [dataset]


def _image_files(dataset: Dataset) -> list[tuple[str, int]] | None:
    """Return (path, label) of each item, or None where items do not come straight from image files."""
    if isinstance(dataset, Subset):
        samples = _image_files(dataset.dataset)
        return samples and [samples[i] for i in dataset.indices]
    if isinstance(dataset, ConcatDataset):
        parts = [_image_files(part) for part in dataset.datasets]
        return None if None in parts else [sample for part in parts for sample in part]
    plain = isinstance(dataset, DatasetFolder) and type(dataset).__getitem__ is DatasetFolder.__getitem__
    return dataset.samples if plain and dataset.transform and dataset.target_transform is None else None


def _probe_image() -> Image.Image:
    """Return an image that any change of a transform's settings shows in."""
    noise = np.random.default_rng(0).integers(0, 256, (301, 257, 3), dtype=np.uint8)
    return Image.fromarray(noise)


def _random_states() -> tuple:
    _, key, position, *_ = np.random.get_state()
    return random.getstate(), (key.tobytes(), position), torch.get_rng_state().numpy().tobytes()


def _refuse_randomness(dataset: Dataset) -> None:
    """Raise where a transform draws random numbers: its features would be one draw, kept for ever."""
    for transform in {id(t): t for leaf in _leaves(dataset) if (t := getattr(leaf, "transform", None))}.values():
        before = _random_states()
        first, second = (torch.as_tensor(transform(_probe_image())) for _ in range(2))
        if before != _random_states() or not torch.equal(first, second):
            raise InputError(
                f"The transform is random ({' '.join(repr(transform).split())[:80]}...): features can be cached "
                "for a fixed one only; use weights.transforms(), or the usual loop for augmentation"
            )


def _open_store(cache: bool | Path, dataset: Dataset, trunk: nn.Module, computed: str) -> FeatureStore | None:
    """Return the store for this backbone, transform and precision, or None where there are several transforms."""
    readings = {
        f"{leaf.loader.__module__}.{leaf.loader.__qualname__} {leaf.transform!r} ".encode()
        + torch.as_tensor(leaf.transform(_probe_image())).numpy().tobytes()
        for leaf in _leaves(dataset)
    }
    if len(readings) > 1:
        return None
    key = hashlib.sha256(*readings)
    key.update(f"{computed} {torch.__version__} {torchvision.__version__} {PIL.__version__} {trunk!r}".encode())
    for tensor in trunk.state_dict().values():
        key.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
    folder = download.cache_folder() / "features" if cache is True else Path(cache)
    return FeatureStore(folder / key.hexdigest()[:32])
