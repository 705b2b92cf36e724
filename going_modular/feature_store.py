"""Features on disk: what a frozen backbone made of an image, found again by the image's contents.

A store is a folder of shards, safetensors files that are written once, whole, and never changed: any number of
processes may read and write at the same time, and a kill leaves no half of one.
"""

import contextlib
import hashlib
import uuid
import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import safetensors.torch
import torch
from safetensors import SafetensorError, safe_open

HASH_BYTES = 32


def hash_files(paths: Sequence[str | Path]) -> list[bytes | None]:
    """Return the SHA-256 of each file's contents, 32 bytes, or None for a file that cannot be read."""
    hashes: list[bytes | None] = []
    for path in paths:
        try:
            hashes.append(hashlib.sha256(Path(path).read_bytes()).digest())
        except OSError:
            hashes.append(None)
    return hashes


class FeatureStore:
    """Features (D,) by image hash, for one backbone, transform and precision: the folder is named after these."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def read(self, hashes: Sequence[bytes | None], features: torch.Tensor) -> np.ndarray:
        """Fill the rows of `features` (N, D) that are in the store; return which, as N booleans."""
        found = np.zeros(len(hashes), dtype=bool)
        for shard in sorted(self.folder.glob("*.safetensors")):
            try:
                with safe_open(shard, framework="pt") as file:
                    stored = file.get_tensor("hashes").numpy()
                    row_of = {row.tobytes(): index for index, row in enumerate(stored)}
                    wanted = [i for i, key in enumerate(hashes) if not found[i] and key in row_of]
                    if wanted:
                        rows = [row_of[hashes[i]] for i in wanted]
                        features[wanted] = file.get_tensor("features")[rows]
                        found[wanted] = True
            except (SafetensorError, OSError, RuntimeError):
                with contextlib.suppress(OSError):
                    shard.unlink()  # damaged: what it held is computed again
        return found

    def write(self, hashes: Sequence[bytes], features: torch.Tensor) -> None:
        """Add rows of `features` (N, D); where the folder cannot be written, warn and go on without."""
        self.folder.mkdir(parents=True, exist_ok=True)
        stored = torch.from_numpy(np.frombuffer(b"".join(hashes), dtype=np.uint8).reshape(-1, HASH_BYTES).copy())
        name = hashlib.sha256(b"".join(hashes)).hexdigest()[:16]
        temporary = self.folder / f"{name}.{uuid.uuid4().hex}.part"
        try:
            temporary.write_bytes(safetensors.torch.save({"hashes": stored, "features": features.contiguous()}))
            temporary.replace(self.folder / f"{name}.safetensors")
        finally:
            temporary.unlink(missing_ok=True)


def save_or_warn(store: FeatureStore, hashes: Sequence[bytes], features: torch.Tensor) -> None:
    """Write to a store; a full or read-only disk costs the next run time, not this one its result."""
    try:
        store.write(hashes, features)
    except OSError as error:
        warnings.warn(f"Features are not kept in {store.folder}: {error}", stacklevel=3)
