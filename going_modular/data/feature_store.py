"""Features on disk: what a frozen backbone made of an image, found again by the image's contents.

A store is a folder of shards, safetensors files that are written once, whole, and never changed: any number of
processes may read and write at the same time, and a kill leaves no half of one. A shard has the SHA-256 of what is in
it, which tells when that has changed; whoever can write to the folder could change both, so a store is used only where
nobody else can. (Reading 1 GB of features takes 0.5 s longer for it; CRC-32, the quickest at hand, would take 0.15 s.)
"""

import contextlib
import hashlib
import os
import random
import stat
import warnings
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np
import PIL
import safetensors.torch
import torch
import torchvision
from PIL import Image
from safetensors import SafetensorError, safe_open
from torch import nn
from torch.utils.data import ConcatDataset, Dataset, Subset
from torchvision.datasets import DatasetFolder

from going_modular.common import files
from going_modular.common.errors import InputError
from going_modular.data import download, images
from going_modular.data.image_folder import ImageFolder

HASH_BYTES = 32
CHECKSUM = "sha256"  # in a shard's metadata
READ_BYTES = 2**20  # of a file at a time
TRIES = 3  # to see a transform that leaves the random generators alone


class _DamagedError(Exception):
    """A shard is not as it was written."""


class _OutdatedError(_DamagedError):
    """A shard is of an earlier version, without a checksum."""


class FeatureStore:
    """Features (D,) by image hash, for one backbone, transform and precision: the folder is named after these.

    Where others can write to it, it warns and keeps nothing.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        if reason := files.why_not_private(folder):
            warnings.warn(f"Cached features are not used: {reason}", stacklevel=3)
        self.is_usable = reason is None

    def read(self, hashes: Sequence[bytes | None], features: torch.Tensor) -> np.ndarray:
        """Fill the rows of `features` (N, D) that are in the store; return which, as N booleans.

        A damaged shard is removed, with a warning, and one without a checksum: what they held is computed again. One
        that cannot be read now stays as it is.
        """
        is_filled = np.zeros(len(hashes), dtype=bool)
        first: dict[bytes | None, int] = {}
        twins = np.array([first.setdefault(key, i) for i, key in enumerate(hashes)], dtype=int)  # copies of one image
        damaged = []
        for shard in self._shards():
            try:
                _read_shard(shard, first, features, is_filled)
            except _DamagedError as error:
                if not isinstance(error, _OutdatedError):
                    damaged.append(shard)
                with contextlib.suppress(OSError):
                    shard.unlink()
            except (OSError, RuntimeError):  # such as too many open files, which safetensors calls either
                continue
        if damaged:
            warnings.warn(
                f"{len(damaged)} damaged file{'s' if len(damaged) > 1 else ''} of cached features in {self.folder}, "
                f"such as {damaged[0].name!r}: what was in them is computed again",
                stacklevel=3,
            )
        copies = np.flatnonzero(is_filled[twins] & ~is_filled)
        features[copies] = features[twins[copies]]
        is_filled[copies] = True
        return is_filled

    def _shards(self) -> list[Path]:
        try:
            return sorted(self.folder.glob("*.safetensors")) if self.is_usable else []
        except OSError:  # somebody else's folder
            return []

    def write(self, hashes: Sequence[bytes | None], features: torch.Tensor) -> None:
        """Add rows of `features` (N, D), but those without a hash.

        A full or read-only disk costs the next run time, not this one its result: there it warns.
        """
        hashed = [i for i, key in enumerate(hashes) if key]
        if not hashed or not self.is_usable:
            return
        keys = b"".join(hashes[i] for i in hashed)
        stored = torch.from_numpy(np.frombuffer(keys, dtype=np.uint8).reshape(-1, HASH_BYTES).copy())
        kept = features[hashed].contiguous()
        content = safetensors.torch.save(
            {"hashes": stored, "features": kept}, metadata={CHECKSUM: _checksum(stored, kept)}
        )
        try:
            files.make_private(self.folder)
            files.replace(self.folder / f"{hashlib.sha256(keys).hexdigest()[:16]}.safetensors", content)
        except OSError as error:
            warnings.warn(f"Features are not kept in {self.folder}: {error}", stacklevel=3)


def open_store(cache: bool | Path, dataset: Dataset, trunk: nn.Module, computed: str) -> FeatureStore | None:
    """Return the store for a backbone, a data set's transform and a way to compute; None where there are several.

    Args:
        cache: a folder of stores; True for the one in the platform's cache folder.
        dataset: image folders, as `image_files` takes them.
        trunk: the backbone; its weights and its structure are part of the key.
        computed: how, such as in which precision on what kind of device.
    """
    readings = {
        f"{_reader(leaf)} {leaf.transform!r} ".encode()
        + torch.as_tensor(leaf.transform(_probe_image())).numpy().tobytes()
        for leaf in _leaves(dataset)
    }
    if len(readings) > 1:
        return None
    key = hashlib.sha256(*readings)
    key.update(images.READING)
    key.update(f"{computed} {torch.__version__} {torchvision.__version__} {PIL.__version__} {trunk!r}".encode())
    for tensor in trunk.state_dict().values():
        key.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
    folder = download.cache_folder() / "features" if cache is True else Path(cache)
    return FeatureStore(folder / key.hexdigest()[:32])


def hash_files(paths: Sequence[str | Path]) -> list[bytes | None]:
    """Return the SHA-256 of each file's contents, 32 bytes, or None for one that cannot be read or is too large."""
    hashes: list[bytes | None] = []
    for path in paths:
        try:
            status = os.stat(path)  # noqa: PTH116 - there may be a million
            is_image = stat.S_ISREG(status.st_mode) and status.st_size <= images.MAX_FILE_BYTES
            key = str(path), status.st_size, status.st_mtime_ns, status.st_ino
            hashes.append(_hash(*key) if is_image else None)
        except (InputError, OSError):
            hashes.append(None)
    return hashes


@lru_cache(maxsize=2**18)
def _hash(path: str, *_: int) -> bytes:
    """Return the SHA-256 of a file; size, time and inode are for the cache: one of them changes with the contents."""
    with files.open_regular(Path(path)) as file:
        # whole, as most are: `file_digest` makes a buffer of its own for each file, which takes longer than hashing it
        digest = hashlib.sha256(file.read(READ_BYTES))
        while rest := file.read(READ_BYTES):
            digest.update(rest)
        return digest.digest()


def image_files(dataset: Dataset) -> list[tuple[str, int]] | None:
    """Return (path, label) of each item, or None where items do not come straight from image files."""
    if isinstance(dataset, Subset):
        samples = image_files(dataset.dataset)
        return samples and [samples[i] for i in dataset.indices]
    if isinstance(dataset, ConcatDataset):
        parts = [image_files(part) for part in dataset.datasets]
        return None if None in parts else [sample for part in parts for sample in part]
    known = (DatasetFolder.__getitem__, ImageFolder.__getitem__)
    plain = isinstance(dataset, DatasetFolder) and type(dataset).__getitem__ in known
    return dataset.samples if plain and dataset.transform and dataset.target_transform is None else None


def _reader(leaf: DatasetFolder) -> str:
    """Name the function that a data set opens images with and, where it decodes them at a fraction, for which side."""
    name = f"{leaf.loader.__module__}.{leaf.loader.__qualname__}"
    side = getattr(leaf, "short_side", None)
    return name if side is None else f"{name} short_side={side}"


def refuse_randomness(dataset: Dataset) -> None:
    """Raise where a transform draws random numbers: its features would be one draw, kept for ever.

    Raises:
        InputError: shows the transform.
    """
    for transform in {id(t): t for leaf in _leaves(dataset) if (t := getattr(leaf, "transform", None))}.values():
        if _draws(transform):
            raise InputError(
                f"The transform is random ({' '.join(repr(transform).split())[:80]}...): features can be cached "
                "for a fixed one only; use weights.transforms(), or the usual loop for augmentation"
            )


def _read_shard(
    shard: Path, row_wanted: Mapping[bytes | None, int], features: torch.Tensor, is_filled: np.ndarray
) -> None:
    """Fill the rows, known by their hashes, that a shard has and note them.

    Raises:
        _DamagedError: it is not as it was written.
        OSError, RuntimeError: it cannot be read.
    """
    if not stat.S_ISREG(shard.lstat().st_mode):  # opening a named pipe could wait for ever
        raise _DamagedError
    try:
        with safe_open(shard, framework="pt") as file:
            stored = file.get_tensor("hashes")
            row_of = {row.tobytes(): index for index, row in enumerate(stored.numpy())}
            found = [key for key in row_of if key in row_wanted and not is_filled[row_wanted[key]]]
            is_sound = stored.dtype == torch.uint8 and stored.shape[1:] == (HASH_BYTES,)
            if is_sound and not found:
                return
            kept, written = file.get_tensor("features"), (file.metadata() or {}).get(CHECKSUM)
        is_sound &= kept.dtype == features.dtype and kept.shape == (len(stored), *features.shape[1:])
        if not is_sound or _checksum(stored, kept) != written:
            raise _DamagedError if written else _OutdatedError
    except (SafetensorError, LookupError, TypeError, ValueError) as error:
        raise _DamagedError from error
    wanted = [row_wanted[key] for key in found]
    features[wanted] = kept[[row_of[key] for key in found]]
    is_filled[wanted] = True


def _checksum(*tensors: torch.Tensor) -> str:
    """Return the SHA-256 of the values of tensors, 64 hex digits."""
    digest = hashlib.sha256()
    for tensor in tensors:
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy())
    return digest.hexdigest()


def _leaves(dataset: Dataset) -> list[Dataset]:
    """Return the data sets behind any Subset and ConcatDataset."""
    if isinstance(dataset, Subset):
        return _leaves(dataset.dataset)
    if isinstance(dataset, ConcatDataset):
        return [leaf for part in dataset.datasets for leaf in _leaves(part)]
    return [dataset]


def _probe_image() -> Image.Image:
    """Return an image that any change of a transform's settings shows in."""
    noise = np.random.default_rng(0).integers(0, 256, (301, 257, 3), dtype=np.uint8)
    return Image.fromarray(noise)


def _draws(transform: Callable) -> bool:
    """Tell whether a transform draws random numbers.

    The generators are the process's, and another thread may draw from them meanwhile: what does so again and again is
    the transform.
    """
    for _ in range(TRIES):
        before = _random_states()
        first, second = (torch.as_tensor(transform(_probe_image())) for _ in range(2))
        if not torch.equal(first, second):
            return True
        if before == _random_states():
            return False
    return True


def _random_states() -> tuple:
    _, key, position, *_ = np.random.get_state()
    return random.getstate(), (key.tobytes(), position), torch.get_rng_state().numpy().tobytes()
