"""What a model was trained on, told by the contents of the images: moved, renamed or zipped they are the same.

An image is known by the first 8 bytes of the SHA-256 of its file: 100,000 images take 0.8 MB, and the chance that any
of 100,000 others is taken for one of them is 5e-10. A copy that was saved anew is another file; near duplicates are for
`evaluation/leaks.py`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from going_modular.data.feature_store import hash_files
from going_modular.data.image_folder import ImageFolder
from going_modular.data.splits import SplitRule, Splits

DIGEST_BYTES = 8
PARTS = ("train", "validation", "test")


@dataclass(frozen=True)
class Provenance:
    """The images that a model was trained, chosen and tested on, and how they were split."""

    data: str  # the name of a data set, folder or zip; no path, since checkpoints are handed on
    rule: SplitRule
    digests: Mapping[str, np.ndarray]  # by part: (N,) uint64, sorted; without a validation part there is none

    def parts_of(self, digests: np.ndarray) -> np.ndarray:
        """Return the part that each image with these digests (N,) stood in, (N,) of text; "" for none.

        One that stood in several counts for the first of `PARTS`.
        """
        parts = np.full(len(digests), "", dtype=f"<U{max(map(len, PARTS))}")
        for part in reversed([part for part in PARTS if part in self.digests]):
            parts[np.isin(digests, self.digests[part])] = part
        return parts

    def has_seen(self, digests: np.ndarray) -> np.ndarray:
        """Tell of images with these digests (N,) whether the model was trained on, or chosen by them: (N,) bool."""
        return np.isin(self.parts_of(digests), ["train", "validation"])


def record(splits: Splits) -> Provenance:
    """Describe the images that a model is trained on."""
    parts = {"train": splits.train, "validation": splits.validation, "test": splits.test}
    digests = {name: np.sort(digest(part)) for name, part in parts.items() if part is not None}
    return Provenance(Path(splits.source).name, splits.rule, digests)


def digest(images: ImageFolder | Sequence[str | Path]) -> np.ndarray:
    """Return the digest of each image file, (N,) uint64; 0 for one that cannot be read."""
    paths = [path for path, _ in images.samples] if isinstance(images, ImageFolder) else images
    hashes = [full[:DIGEST_BYTES] if full else bytes(DIGEST_BYTES) for full in hash_files(paths)]
    return np.frombuffer(b"".join(hashes), dtype="<u8").astype(np.uint64)
