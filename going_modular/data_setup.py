"""Data sets by name, folder or zip, split and ready for a DataLoader."""

import hashlib
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch.utils.data import DataLoader
from torchvision.datasets import EuroSAT
from torchvision.transforms import v2

from going_modular import download, images
from going_modular.errors import InputError
from going_modular.image_folder import (
    SPLITS,
    TEST_SHARE,
    VALIDATION_SHARE,
    ImageFolder,
    content_root,
    hold_out,
    pair,
    stratified_split,
    three_way_split,
    visible_folders,
)

DATA_FOLDER = Path(__file__).resolve().parent.parent / "data"
_PHOTOS = (
    "https://raw.githubusercontent.com/mrdbourke/pytorch-deep-learning/baa27b691617461c173ecf3439793cd8cde74e13/data"
)
# photos from Food-101 (Bossard et al., 2014): the zip's address and its git blob id
DOWNLOADS = {
    "pizza_steak_sushi": (f"{_PHOTOS}/pizza_steak_sushi.zip", "65f3915a380f5efd456a6a5750f0365350de8dd0"),
    "pizza_steak_sushi_20_percent": (
        f"{_PHOTOS}/pizza_steak_sushi_20_percent.zip",
        "dfc8ad2ae9415304d69cc6a0ee443c340cb29049",
    ),
}
# 27,000 satellite images of 64 px in 10 classes (Helber et al., 2019, https://arxiv.org/abs/1709.00029)
EUROSAT, EUROSAT_HOST = "eurosat", "https://huggingface.co"
SAMPLE = "sample"
DEFAULT = "pizza_steak_sushi"


@dataclass(frozen=True)
class Splits:
    """A data set in parts that share no image: one to train on, one to test on, perhaps one to choose by."""

    name: str
    train: ImageFolder
    test: ImageFolder
    origin: str  # where the images come from, in a few words
    validation: ImageFolder | None = None

    @property
    def class_names(self) -> list[str]:
        """The names of the classes, in the order of their labels."""
        return self.train.classes


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
        num_workers: processes that read images; by default as `images.default_num_workers` says.

    Returns:
        The two DataLoaders, of images (B, 3, H, W) and labels (B,), and the class names.

    Raises:
        InputError: a folder cannot be used, or the classes differ.
    """
    train, test = pair(Path(train_dir), Path(test_dir))
    train.transform = test.transform = transform
    return (*make_loaders(train, test, batch_size=batch_size, num_workers=num_workers), train.classes)


def make_loaders(
    train: ImageFolder, test: ImageFolder, *, batch_size: int, num_workers: int | None = None
) -> tuple[DataLoader, DataLoader]:
    """Make a shuffled DataLoader of `train` and an ordered one of `test`."""
    workers = images.default_num_workers() if num_workers is None else num_workers
    options = {
        "num_workers": workers,
        "persistent_workers": workers > 0,
        "pin_memory": torch.cuda.is_available(),
    }
    return (
        DataLoader(train, batch_size, shuffle=True, **options),
        DataLoader(test, batch_size, shuffle=False, **options),
    )


def load_splits(data: str | Path | None = None, *, seed: int = 0, validation: bool = False) -> Splits:
    """Find a data set and split it into a training and a test part.

    Args:
        data: `pizza_steak_sushi`, `pizza_steak_sushi_20_percent` or `eurosat` (downloaded to the clone's `data/` once),
            `sample` (bundled); a folder with `train/` and `test/`; a folder of class folders, split 80/20, stratified;
            or a zip of either. None takes the photos of `pizza_steak_sushi`, or the sample where they cannot be had.
        seed: of the split.
        validation: take a validation part from the training part: class folders are split 70/10/20, of `train/` an
            eighth is taken. The test part stays the same.

    Raises:
        InputError: what was named cannot be had or used.
    """
    folder, name, origin = _find(data)
    return _split(folder, name, origin, seed, validation)


def augment(transform: Callable, *, randaugment: bool = False) -> Callable:
    """Return a random training variant of a `weights.transforms()`: crops, mirroring and colour, then the same scale.

    Args:
        transform: what comes with a model's weights.
        randaugment: in place of colour, two operations drawn from a list, such as rotating or sharpening (Cubuk et
            al., 2020, https://arxiv.org/abs/1909.13719).

    Raises:
        InputError: the transform is not one of torchvision's for image classification.
    """
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


def _find(data: str | Path | None) -> tuple[Path, str, str]:
    """Return the folder of a data set, its name, and where its images come from."""
    if data is None:
        return _default()
    name = str(data)
    if not name:
        raise InputError("Data '' is no name; give a folder, a zip or a data set")
    if name in DOWNLOADS:
        return _download(name), name, "photos"
    if name == EUROSAT:
        return _download_eurosat(), name, "satellite images"
    if name == SAMPLE:
        return DATA_FOLDER / SAMPLE, name, "the bundled sample of rendered images"
    path = Path(data)
    if path.is_dir():
        return path, path.resolve().name, f"the folder {path}"
    if path.is_file():
        return _unpack(path), path.stem, f"the zip {path}"
    known = ", ".join([*DOWNLOADS, EUROSAT, SAMPLE])
    raise InputError(f"Data {name!r}: no such folder or zip, nor one of {known}")


def _default() -> tuple[Path, str, str]:
    if not (DATA_FOLDER / DEFAULT).is_dir():
        try:
            _download(DEFAULT)
        except InputError as error:
            reason = "offline" if download.is_offline() else f"the photos cannot be had: {error}"
            return DATA_FOLDER / SAMPLE, SAMPLE, f"the bundled sample of rendered images ({reason})"
    return DATA_FOLDER / DEFAULT, DEFAULT, "photos"


def _download(name: str) -> Path:
    """Return the folder of a named data set, downloaded if it is not there."""
    folder = DATA_FOLDER / name
    if folder.is_dir():
        return folder
    url, git_blob_id = DOWNLOADS[name]
    if not download.is_reachable(url):
        why = "GOING_MODULAR_OFFLINE is set" if download.is_offline() else f"{url} cannot be reached"
        raise InputError(
            f"Data {name!r}: {why}; get that zip elsewhere and pass it as data, or use the data '{SAMPLE}'"
        )
    archive = download.download(url, DATA_FOLDER / f"{name}.zip", git_blob_id=git_blob_id, description=name)
    download.unpack(archive, folder)
    archive.unlink(missing_ok=True)
    return folder


def _download_eurosat() -> Path:
    """Return the folder of EuroSAT, downloaded by torchvision if it is not there; whole or not at all."""
    folder = DATA_FOLDER / EUROSAT
    if folder.is_dir():
        return folder
    remedy = f"get EuroSAT.zip (RGB) elsewhere and pass it as data, or use the data '{SAMPLE}'"
    if not download.is_reachable(EUROSAT_HOST):
        why = "GOING_MODULAR_OFFLINE is set" if download.is_offline() else f"{EUROSAT_HOST} cannot be reached"
        raise InputError(f"Data {EUROSAT!r}: {why}; {remedy}")
    DATA_FOLDER.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{EUROSAT}-", dir=DATA_FOLDER) as unfinished:
        try:
            EuroSAT(unfinished, download=True)
            (Path(unfinished) / EUROSAT / "2750").rename(folder)
        except (OSError, RuntimeError) as error:  # RuntimeError: not the file that torchvision knows
            if not folder.is_dir():  # else another process was faster
                raise InputError(f"Data {EUROSAT!r} cannot be downloaded: {error}; {remedy}") from error
    return folder


def _unpack(archive: Path) -> Path:
    """Return the folder of a zip's contents, unpacked once for each content."""
    with archive.open("rb") as file:
        content = hashlib.file_digest(file, "sha256").hexdigest()
    folder = download.cache_folder() / "datasets" / f"{archive.stem}-{content[:12]}"
    return download.unpack(archive, folder)


def _split(folder: Path, name: str, origin: str, seed: int, validation: bool) -> Splits:
    if not folder.is_dir():
        raise InputError(f"Data {name!r}: {str(folder)!r} is missing; clone the repository anew, or name other data")
    folder = content_root(folder)
    subfolders = [path.name for path in visible_folders(folder)]
    held_out = None
    if set(SPLITS) <= set(subfolders):
        train, test = pair(folder / "train", folder / "test")
        if validation:
            train, held_out = hold_out(train, VALIDATION_SHARE / (1 - TEST_SHARE), seed=seed)
        return Splits(name, train, test, origin, held_out)
    if any(visible_folders(folder / split) for split in SPLITS if split in subfolders):
        found = ", ".join(f"{subfolder}/" for subfolder in subfolders)
        raise InputError(f"Data {str(folder)!r} has {found} but not both train/ and test/; add or rename one")
    everything = ImageFolder(folder)
    if validation:
        train, held_out, test = three_way_split(everything, seed=seed)
    else:
        train, test = stratified_split(everything, seed=seed)
    return Splits(name, train, test, origin, held_out)
