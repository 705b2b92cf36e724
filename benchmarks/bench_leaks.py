"""What leaks.py finds, what it takes for a leak by mistake, and how long it takes.

    python benchmarks/bench_leaks.py --data pizza_steak_sushi.zip --many food101_64px_10classes.zip

Every image of a data set is compared with every other: pairs within the distance are false, unless the data set holds a
photo twice; the closest pairs are named, so that they can be looked at. Then each image is compared with altered copies
of itself. Last, the time: of fingerprints, and of the comparison of as many hashes as Food-101 would need for 27,000
training and 5,400 test images. Prints and writes `results/bench_leaks.txt`; about a minute.
"""

import argparse
import io
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image, ImageEnhance

from going_modular import data_setup
from going_modular.data import images, sources
from going_modular.evaluation import leaks

RESULTS = Path(__file__).resolve().parent / "results"
LIMITS = (10, 20, 30, 40, leaks.MAX_DISTANCE, 60, 70, 80)
NAMED = 15  # closest pairs of a data set
ROWS = 500  # hashes compared with all others at a time
LARGE = (27_000, 5_400)


def compress(image: Image.Image) -> Image.Image:
    """Return the image after JPEG of quality 60."""
    file = io.BytesIO()
    image.save(file, "JPEG", quality=60)
    return Image.open(file).convert("RGB")


def crop(image: Image.Image, share: float) -> Image.Image:
    """Return the image without a share of its width and height on each side."""
    left, top = round(image.width * share), round(image.height * share)
    return image.crop((left, top, image.width - left, image.height - top))


COPIES: dict[str, Callable[[Image.Image], Image.Image]] = {
    "JPEG, quality 60": compress,
    "half the size": lambda image: image.resize((image.width // 2, image.height // 2)),
    "2% cropped a side": lambda image: crop(image, 0.02),
    "5% cropped a side": lambda image: crop(image, 0.05),
    "brightness x 1.3": lambda image: ImageEnhance.Brightness(image).enhance(1.3),
    "brightness x 0.7": lambda image: ImageEnhance.Brightness(image).enhance(0.7),
    "mirrored": lambda image: image.transpose(Image.Transpose.FLIP_LEFT_RIGHT),
}


def row(label: str, values: list[int]) -> str:
    """Return a line of the table: a number for each limit."""
    return f"{label:26}" + "".join(f"{value:9,}" for value in values)


def strangers(paths: list[str], hashes: np.ndarray) -> tuple[list[int], list[str]]:
    """Count the pairs of different files within each limit; describe the closest."""
    counts = np.zeros(len(LIMITS), dtype=int)
    closest: list[tuple[int, str, str]] = []
    for start in range(0, len(hashes), ROWS):
        apart = leaks.distances(hashes[start : start + ROWS], hashes)
        apart[np.tri(*apart.shape, k=start, dtype=bool)] = np.iinfo(apart.dtype).max  # each pair once, none with itself
        counts += [(apart <= limit).sum() for limit in LIMITS]
        near = np.argwhere(apart <= max(LIMITS)).tolist()
        closest += [(int(apart[i, j]), paths[start + i], paths[j]) for i, j in near]
    names = [(apart, *("/".join(Path(path).parts[-2:]) for path in pair)) for apart, *pair in sorted(closest)[:NAMED]]
    return counts.tolist(), [f"  {apart:3} {first} {second}" for apart, first, second in names]


def measure(name: str, data: str | Path, *, copies: bool) -> list[str]:
    """Return the lines of the report on one data set."""
    splits = data_setup.load_splits(data)
    train, test = ([path for path, _ in part.samples] for part in (splits.train, splits.test))
    paths = train + test
    hashes = np.array([leaks.perceptual_hash(images.open_image(path)) for path in paths])
    counts, closest = strangers(paths, hashes)
    lines = ["", f"{name}: {len(paths):,} images, {len(paths) * (len(paths) - 1) // 2:,} pairs"]
    lines += [row("  bits at most", list(LIMITS)), row("  pairs of different files", counts)]
    for kind, alter in COPIES.items() if copies else ():
        altered = np.array([leaks.perceptual_hash(alter(images.open_image(path))) for path in paths])
        apart = np.bitwise_count(hashes ^ altered).sum(axis=1)
        lines.append(row(f"  {kind}", [int((apart <= limit).sum()) for limit in LIMITS]))
    found = leaks.find(train, test)
    lines.append(f"  between its training and test split: {len(found)} leaks")
    return [*lines, *(["  closest:", *closest] if closest else [])]


def speed(data: str | Path) -> list[str]:
    """Return the lines of the report on time."""
    train = [path for path, _ in data_setup.load_splits(data).train.samples]
    start = time.perf_counter()
    leaks.find(train, [])
    read = time.perf_counter() - start
    random = np.random.default_rng(0)
    first, second = (random.integers(2**64, size=(n, 4), dtype=np.uint64) for n in LARGE)
    start = time.perf_counter()
    for block in range(0, len(first), 64):
        leaks.distances(first[block : block + 64], second)
    compared = time.perf_counter() - start
    return [
        "",
        f"fingerprints: {len(train) / read:.0f} images a second",
        f"comparison of {LARGE[0]:,} with {LARGE[1]:,}: {compared:.2f} s",
    ]


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, help="300 photos: a data set of train.py's")
    parser.add_argument("--many", required=True, help="a zip of some 10,000 images in class folders")
    options = parser.parse_args()
    lines = [f"Perceptual hashes of 256 bits; leaks.py takes at most {leaks.MAX_DISTANCE} for a leak"]
    lines += measure("photos", options.data, copies=True)
    lines += measure("bundled sample", sources.DATA_FOLDER / "sample", copies=True)
    lines += measure("many small photos", options.many, copies=False)
    lines += speed(options.data)
    text = "\n".join(lines)
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "bench_leaks.txt").write_text(text + "\n")
    print(text)


if __name__ == "__main__":
    main()
