"""Images that stand in both the training and the test split: a test on them measures memory.

    for leak in find(train_paths, test_paths):
        leak.train, leak.test, leak.kind

`benchmarks/bench_leaks.py` measures how many altered copies are found and how many different photos are taken for one.
"""

import hashlib
import os
from collections import defaultdict
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

import numpy as np
import PIL
import torch
from PIL import Image, ImageStat

from going_modular.data import download, images
from going_modular.data.feature_store import FeatureStore, hash_files
from going_modular.data.tiles import tiles

IDENTICAL, NEAR = "identical", "nearly identical"

HASH_SIDE = 16  # of the square of low frequencies that make a hash: 256 bits, where the usual 64 take strangers for one
BITS = HASH_SIDE**2  # of a hash
MAX_DISTANCE = 50  # bits that may differ between nearly identical images
MIN_DETAIL = 1.0  # standard deviation in grey levels; below, as in a plain colour, the hash is made of noise
_SHRUNK = 4 * HASH_SIDE  # pixels a side: what imagehash looks at
_DIGEST_BYTES = 32
_BLOCK = 64  # training images compared at a time: small enough for the processor's cache


class Leak(NamedTuple):
    """A training and a test image that are the same, or nearly so."""

    train: str | Path
    test: str | Path
    kind: str  # IDENTICAL or NEAR


def find(train_paths: Sequence[str | Path], test_paths: Sequence[str | Path]) -> list[Leak]:
    """Find the pairs of a training and a test image that show the same picture.

    Identical: the same pixels, as copies of a file have. Nearly identical: perceptual hashes that differ in at most
    `MAX_DISTANCE` of 256 bits, as after compression, resizing, a slight crop or a change of brightness; not mirrored or
    turned. Colour is not looked at. Images without detail, such as a plain colour, are identical or nothing.

    Args:
        train_paths: image files.
        test_paths: image files.

    Returns:
        The pairs, in the order of the training paths, then of the test paths.

    Raises:
        InputError: an image cannot be opened.
    """
    train, test = fingerprints(train_paths), fingerprints(test_paths)
    kinds = dict.fromkeys(_near(train, test), NEAR) | dict.fromkeys(_identical(train, test), IDENTICAL)
    return [Leak(train_paths[i], test_paths[j], kinds[i, j]) for i, j in sorted(kinds)]


def perceptual_hash(image: Image.Image) -> np.ndarray:
    """Return what the low frequencies of an image look like, as 4 words of 64 bits.

    The bits say which of the 16x16 lowest frequencies of the 64x64 grey image (discrete cosine transform) lie above
    their median: imagehash's `phash`.
    """
    import imagehash  # late, with SciPy: fingerprints that were kept need neither

    return np.packbits(imagehash.phash(image, hash_size=HASH_SIDE).hash).view(np.uint64)


def distances(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Return in how many bits hashes (N, 4) and hashes (M, 4) differ: (N, M), from 0 to 256."""
    words = zip(first.T, second.T, strict=True)
    # a word at a time: all at once would fill memory
    return sum(np.bitwise_count(ours[:, None] ^ theirs).astype(np.uint16) for ours, theirs in words)


class Fingerprints(NamedTuple):
    """What is kept of N images: `digests` tell which are identical, `hashes` which are nearly so."""

    digests: list[bytes]  # of size and pixels
    hashes: np.ndarray  # (N, 4)
    detailed: np.ndarray  # (N,) of bool; without detail a hash says nothing


def fingerprints(paths: Sequence[str | Path]) -> Fingerprints:
    """Return what is kept of image files: from disk, where it was kept before, else from their pixels.

    Raises:
        InputError: an image cannot be opened.
    """
    made_by = f"{PIL.__version__} {version('imagehash')} {HASH_SIDE} {MIN_DETAIL}".replace(" ", "-")
    store = FeatureStore(download.cache_folder() / "fingerprints" / made_by)
    hashes = hash_files(paths)
    rows = torch.empty(len(paths), _DIGEST_BYTES + BITS // 8 + 1, dtype=torch.uint8)
    missing = np.flatnonzero(~store.read(hashes, rows))
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        prints = list(pool.map(_fingerprint, [paths[i] for i in missing]))
    if prints:
        rows[missing] = torch.from_numpy(
            np.frombuffer(b"".join(prints), dtype=np.uint8).reshape(len(prints), -1).copy()
        )
        store.write([hashes[i] for i in missing], rows[missing])
    digests, words, detailed = np.split(rows.numpy(), [_DIGEST_BYTES, -1], axis=1)
    return Fingerprints([row.tobytes() for row in digests], words.copy().view(np.uint64), detailed[:, 0].astype(bool))


def _fingerprint(path: str | Path) -> bytes:
    """Return an image as a row of bytes: the digest of its pixels, its perceptual hash, whether it has detail."""
    image = images.open_image(path)
    pixels = hashlib.sha256(repr(image.size).encode())
    for _, tile in tiles(image):  # all at once would take memory twice
        pixels.update(tile.tobytes())
    small = image.convert("L").resize((_SHRUNK, _SHRUNK), Image.Resampling.LANCZOS)
    return pixels.digest() + perceptual_hash(small).tobytes() + bytes([ImageStat.Stat(small).stddev[0] >= MIN_DETAIL])


def _near(train: Fingerprints, test: Fingerprints) -> Iterator[tuple[int, int]]:
    for start in range(0, len(train.hashes), _BLOCK):
        block = slice(start, start + _BLOCK)
        near = distances(train.hashes[block], test.hashes) <= MAX_DISTANCE
        near &= train.detailed[block, None] & test.detailed
        for i, j in np.argwhere(near).tolist():
            yield start + i, j


def _identical(train: Fingerprints, test: Fingerprints) -> Iterator[tuple[int, int]]:
    places = defaultdict(list)
    for j, digest in enumerate(test.digests):
        places[digest].append(j)

    for i, digest in enumerate(train.digests):
        for j in places.get(digest, []):
            yield i, j
