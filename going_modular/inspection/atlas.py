"""A map of all images: those that a backbone finds alike lie close, and each has a small picture.

places = lay_out(features, seed=42)
places.pca, places.neighbours         # (N, 2) each, from 0 to 1
sheet = make_sheet(thumbnails)        # one JPEG that holds them all
"""

import math
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from going_modular.data import images

DIRECTIONS = 50  # of the features, before neighbours are looked for: what the rest holds is mostly noise
PERPLEXITY = 30  # neighbours that t-SNE looks at; fewer where there are few images
FEWEST = 5  # images; of fewer there are no neighbourhoods to draw
MOST_LAID_OUT = 1500  # images that t-SNE lays out itself, in some seconds; the others join their nearest
NEAREST = 3  # images that such another is put amidst

SHEET_PIXELS = 2**24  # of all small pictures together; telephones make less of a larger image
LARGEST_SIDE, SMALLEST_SIDE = 96, 24  # pixels of a small picture
CARD_SIDE = 192  # pixels of the longer side of a picture that is shown by itself
SHEET_QUALITY, CARD_QUALITY = 70, 80  # of the JPEGs
MOST_MAPPED = 10_000  # images on a map
FAR_ENDS, MARGIN = (0.002, 0.998), 1.05  # quantiles of places that fit on a map, and how much more than these


@dataclass(frozen=True)
class Layout:
    """Where N images lie on two maps, each from 0 to 1 in both directions."""

    pca: np.ndarray  # (N, 2) by the two directions in which the features differ most
    explained: float  # the share of all differences that these two hold, in [0, 1]
    neighbours: np.ndarray | None  # (N, 2) by t-SNE, which keeps neighbours together; None for a few images
    laid_out: int  # how many of the N t-SNE placed itself; the others lie amidst their nearest of these


@dataclass(frozen=True)
class Sheet:
    """Small pictures side by side in one JPEG."""

    jpeg: bytes
    side: int  # pixels of each
    columns: int


def lay_out(features: np.ndarray, *, seed: int) -> Layout:
    """Lay images out so that alike ones lie close.

    Args:
        features: (N, D), finite, N at least 2.
        seed: of PCA and t-SNE.
    """
    from sklearn.decomposition import PCA  # late: it takes half a second, here and below

    count = min(DIRECTIONS, *features.shape)
    model = PCA(count, svd_solver="randomized", random_state=seed)
    spread = features.std(axis=0).max()
    if not spread:  # all are the same, and PCA would divide by nothing
        middle = np.full((len(features), 2), 0.5)
        return Layout(middle, 0.0, None, 0)
    values = model.fit_transform(features)
    if count < 2:
        values = np.pad(values, ((0, 0), (0, 1)))
    neighbours, laid_out = _neighbours(values, seed) if len(features) >= FEWEST else (None, 0)
    return Layout(_into_square(values[:, :2]), float(model.explained_variance_ratio_[:2].sum()), neighbours, laid_out)


def choose(count: int, *, seed: int) -> list[int]:
    """Return which of so many images stand on a map: all, or `MOST_MAPPED` at random; in order."""
    if count <= MOST_MAPPED:
        return list(range(count))
    return np.sort(np.random.default_rng(seed).choice(count, MOST_MAPPED, replace=False)).tolist()


def _neighbours(values: np.ndarray, seed: int) -> tuple[np.ndarray, int]:
    """Return places (N, 2) by t-SNE, and how many it found itself."""
    from sklearn.manifold import TSNE
    from sklearn.neighbors import NearestNeighbors

    count = min(len(values), MOST_LAID_OUT)
    chosen = np.sort(np.random.default_rng(seed).choice(len(values), count, replace=False))
    perplexity = min(PERPLEXITY, (count - 1) / 3)
    placed = TSNE(perplexity=perplexity, init="pca", random_state=seed).fit_transform(values[chosen])
    places = np.empty((len(values), 2))
    places[chosen] = placed
    others = np.setdiff1d(np.arange(len(values)), chosen)
    if len(others):
        distances, nearest = NearestNeighbors(n_neighbors=NEAREST).fit(values[chosen]).kneighbors(values[others])
        weights = 1 / (distances + 1e-6)
        weights /= weights.sum(axis=1, keepdims=True)
        places[others] = (placed[nearest] * weights[..., None]).sum(axis=1)
    return _into_square(places), count


def _into_square(places: np.ndarray) -> np.ndarray:
    """Stretch places (N, 2) over [0, 1] in each direction; a far one shall not press the others together."""
    low, high = np.quantile(places, FAR_ENDS, axis=0)
    span = np.where(high > low, high - low, 1)
    return ((places - (low + high) / 2) / span / MARGIN + 0.5).clip(0, 1)


def make_sheet(paths: Sequence[str | Path]) -> Sheet:
    """Put small pictures of images, each its centre, side by side, in about as many rows as columns.

    The more there are, the smaller is each, so that a browser opens them all at once.

    Args:
        paths: N image files.

    Raises:
        InputError: an image cannot be opened.
    """
    columns = math.ceil(math.sqrt(len(paths)))
    fitting = int(math.sqrt(SHEET_PIXELS) / columns) // 8 * 8  # JPEG's blocks: no picture shines into the next
    side = min(max(fitting, SMALLEST_SIDE), LARGEST_SIDE)
    sheet = Image.new("RGB", (columns * side, math.ceil(len(paths) / columns) * side))
    with ThreadPoolExecutor(os.cpu_count()) as pool:  # Pillow releases the GIL
        for i, small in enumerate(pool.map(partial(_centre, side=side), paths)):
            sheet.paste(small, (i % columns * side, i // columns * side))
    return Sheet(_as_jpeg(sheet, SHEET_QUALITY), side, columns)


def thumbnails(paths: Sequence[str | Path]) -> list[bytes]:
    """Return each image as a JPEG of at most `CARD_SIDE` pixels a side.

    Raises:
        InputError: an image cannot be opened.
    """
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return list(pool.map(_thumbnail, paths))


def _centre(path: str | Path, side: int) -> Image.Image:
    return ImageOps.fit(images.open_image(path, short_side=side), (side, side), Image.Resampling.BICUBIC)


def _thumbnail(path: str | Path) -> bytes:
    small = images.open_image(path, short_side=CARD_SIDE)
    small.thumbnail((CARD_SIDE, CARD_SIDE), Image.Resampling.BICUBIC)
    return _as_jpeg(small, CARD_QUALITY)


def _as_jpeg(picture: Image.Image, quality: int) -> bytes:
    buffer = BytesIO()
    picture.save(buffer, format="jpeg", quality=quality)
    return buffer.getvalue()
