"""Data sets by name, folder or zip, split and ready for a DataLoader."""

from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch.utils.data import DataLoader, Dataset, TensorDataset, default_collate

from going_modular.common.device import reading_workers, workers_that_fit
from going_modular.common.errors import InputError
from going_modular.common.seeds import DEFAULT_SEED
from going_modular.data import corrections as corrected
from going_modular.data import sources, splits
from going_modular.data.image_folder import ImageFolder, pair
from going_modular.data.splits import SplitRule, Splits


def __getattr__(name: str) -> int:
    """Return `NUM_WORKERS`, as code written for the well-known course calls `reading_workers()`."""
    if name == "NUM_WORKERS":
        return reading_workers()
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def create_dataloaders(
    train_dir: str | Path,
    test_dir: str | Path,
    transform: Callable,
    batch_size: int,
    num_workers: int | None = None,
) -> tuple[DataLoader, DataLoader, list[str]]:
    """Make DataLoaders of two image folders with the same classes.

    Args:
        train_dir: a folder of class folders; shuffled anew each epoch, from torch's global generator.
        test_dir: a folder of the same class folders; kept in order.
        transform: maps a PIL image to a float tensor (3, H, W).
        batch_size: images a batch; the last batch may be smaller.
        num_workers: processes that read images; by default as `reading_workers` says.

    Returns:
        The two DataLoaders, of images (B, 3, H, W) and labels (B,), and the class names.

    Raises:
        InputError: a folder cannot be used, or the classes differ.
    """
    train, test = pair(Path(train_dir), Path(test_dir), transform)
    return (*make_loaders(train, test, batch_size=batch_size, num_workers=num_workers), train.classes)


def make_loaders(
    train: ImageFolder | TensorDataset,
    test: ImageFolder | TensorDataset,
    *,
    batch_size: int,
    num_workers: int | None = None,
) -> tuple[DataLoader, DataLoader]:
    """Make a shuffled DataLoader of `train` and an ordered one of `test`.

    After the same seed each gives the same batches, however often it was used; a changed `dataset.transform` is seen at
    the next pass. Of features, a TensorDataset, the rows of a batch are taken at once: the same batches, sooner.
    """
    workers = workers_that_fit(reading_workers(), test, batch_size) if num_workers is None else num_workers
    # workers start anew at each pass: those that stay would keep their first seed and transform
    options = {"num_workers": workers, "pin_memory": torch.cuda.is_available()}
    return (
        DataLoader(_by_batch(train), batch_size, shuffle=True, collate_fn=_collate, **options),
        DataLoader(_by_batch(test), batch_size, shuffle=False, collate_fn=_collate, **options),
    )


class _Batch(list):
    """Tensors of which each is a batch already."""


class _Rows(TensorDataset):
    """A TensorDataset that gives a DataLoader a whole batch at a time."""

    def __getitems__(self, indices: Sequence[int]) -> _Batch:
        """Return the rows with these indices, as the DataLoader asks for them."""
        rows = torch.tensor(indices)
        return _Batch(tensor[rows] for tensor in self.tensors)


def _by_batch(dataset: Dataset) -> Dataset:
    """Return the data set, or where it is tensors and nothing else what gives them by the batch."""
    return _Rows(*dataset.tensors) if type(dataset) is TensorDataset else dataset


def _collate(samples: Sequence) -> list[torch.Tensor]:
    """Make a batch of samples, unless they are one."""
    return list(samples) if isinstance(samples, _Batch) else default_collate(samples)


def load_splits(
    data: str | Path | None = None,
    *,
    seed: int = DEFAULT_SEED,
    validation: bool = False,
    group_by: str | None = None,
    corrections: str | Path | None = None,
) -> Splits:
    """Find a data set and split it into a training and a test part.

    Args:
        data: `pizza_steak_sushi`, `pizza_steak_sushi_20_percent` or `eurosat` (downloaded to the clone's `data/` once),
            `sample` (bundled); a folder with `train/` and `test/`; a folder of class folders, split 80/20, stratified;
            or a zip of either. None takes the photos of `pizza_steak_sushi`, or the sample where they cannot be had.
        seed: of the split.
        validation: take a validation part from the training part: class folders are split 70/10/20, of `train/` an
            eighth is taken, unless there is a `validation/` with the same classes. The test part stays the same.
        group_by: a regular expression on the file's name. Images in whose names its first group matches the same text,
            such as a patient or a table, are not split up; `train/` and `test/` stay as they are.
        corrections: a CSV file of images that belong elsewhere, such as inspect_data.py's page makes it; see
            `data/corrections.py`.

    Raises:
        InputError: what was named cannot be had or used.
    """
    decided = corrected.read(corrections) if corrections else None
    with sources.found(data) as (folder, name, origin):
        source = sources.from_anywhere(data or name)
        rule = SplitRule(seed, validation, group_by)
        return splits.split(folder, name, origin, rule, source=source, corrections=decided)


def augment(transform: Callable, *, randaugment: bool = False) -> Callable:
    """Return a random training variant of a `weights.transforms()`: crops, mirroring and colour, then the same scale.

    Args:
        transform: what comes with a model's weights.
        randaugment: in place of colour, two operations drawn from a list, such as rotating or sharpening (Cubuk et
            al., 2020, https://arxiv.org/abs/1909.13719).

    Raises:
        InputError: the transform is not one of torchvision's for image classification.
    """
    from torchvision.transforms import v2

    try:
        size, mean, std, interpolation = transform.crop_size, transform.mean, transform.std, transform.interpolation
    except AttributeError as error:
        raise InputError("Augmentation needs the transform that comes with a model's weights") from error
    return v2.Compose(
        [
            v2.RandomResizedCrop(size * 2 if len(size) == 1 else size, scale=(0.35, 1), interpolation=interpolation),
            v2.RandomHorizontalFlip(),
            v2.RandAugment() if randaugment else v2.ColorJitter(brightness=0.2, contrast=0.2, saturation=0.2),
            v2.PILToTensor(),
            v2.ToDtype(torch.float32, scale=True),
            v2.Normalize(mean, std),
        ]
    )
