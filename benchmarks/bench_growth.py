"""How time and memory grow with the number of images: 1,000, 10,000 and, if asked for, 100,000.

    python benchmarks/bench_growth.py --many food101_64px_10classes.zip
    python benchmarks/bench_growth.py --many food101_64px_10classes.zip --sizes 1000 10000 100000

Images of the zip are written into a temporary folder; where more are asked for than it has, altered copies of them:
cropped, mirrored, brighter or darker. For each number two processes do the same, one after the other: split the folder,
take the features of EfficientNet-Lite0 and train a head on them for some epochs. The first computes the features; the
second finds them on disk. Seconds start after the imports; memory is the peak of the main process, without those that
compute. Prints and writes `results/bench_growth.txt`; three minutes on two cores, with 100,000 images twenty more.
"""

import argparse
import io
import itertools
import json
import platform
import random
import statistics
import subprocess
import sys
import tempfile
import time
import zipfile
from pathlib import Path, PurePosixPath

import sklearn.model_selection  # noqa: F401 - which splitting imports late
import torch
from jobs import peak_mib
from PIL import Image, ImageEnhance
from torch import nn
from torch.utils.data import ConcatDataset

from going_modular import data_setup, engine, features, model_builder
from going_modular.common import device

RESULTS = Path(__file__).resolve().parent / "results"
MODEL = "efficientnet_lite0"
EPOCHS = 5
LOOKUP_TARGET, EPOCH_TARGET = 5, 1  # seconds, for 100,000 images
CROPPED = 8  # pixels of a side, at most, that a copy lacks


def altered(content: bytes, draw: random.Random) -> Image.Image:
    """Return a photo cropped a little, perhaps mirrored, and brighter or darker."""
    image = Image.open(io.BytesIO(content)).convert("RGB")
    left, top = draw.randrange(CROPPED), draw.randrange(CROPPED)
    box = (left, top, left + image.width - CROPPED, top + image.height - CROPPED)
    copy = image.resize(image.size, box=box)
    if draw.random() < 0.5:
        copy = copy.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    return ImageEnhance.Brightness(copy).enhance(draw.uniform(0.8, 1.2))


def make(zipped: Path, folder: Path, count: int) -> None:
    """Write so many images into class folders: spread over the zip, or all of it and altered copies."""
    draw = random.Random(0)
    with zipfile.ZipFile(zipped) as archive:
        names = sorted(name for name in archive.namelist() if name.endswith(".jpg"))
        step = max(len(names) / count, 1)
        for i in range(count):
            name = names[int(i * step) % len(names)]
            target = folder / PurePosixPath(name).parent.name / f"{i:06}.jpg"
            target.parent.mkdir(parents=True, exist_ok=True)
            if i < len(names):
                target.write_bytes(archive.read(name))
            else:
                altered(archive.read(name), draw).save(target, quality=90)


def job(folder: str, cache: Path) -> dict:
    """Split, take features, train; return what each took, in this process."""
    times = {}
    start = time.perf_counter()
    splits = data_setup.load_splits(folder)
    times["split"] = time.perf_counter() - start

    engine.set_seeds(0)
    model, transform = model_builder.create_model(MODEL, len(splits.class_names))
    splits = splits.with_transform(transform)
    parts = [splits.train, splits.test]
    start = time.perf_counter()
    extracted = features.extract(model, ConcatDataset(parts), cache=cache, progress=False)
    times["features"] = time.perf_counter() - start

    loaders = data_setup.make_loaders(*features.divide(extracted, parts), batch_size=32, num_workers=0)
    head = model_builder.head(model)
    optimizer = torch.optim.Adam(head.parameters(), lr=1e-3)
    ends = [time.perf_counter()]
    engine.train(
        head, *loaders, optimizer, nn.CrossEntropyLoss(), EPOCHS, "cpu",
        progress=False, on_epoch_end=lambda _: ends.append(time.perf_counter()),
    )  # fmt: skip
    times["epoch"] = statistics.median(later - earlier for earlier, later in itertools.pairwise(ends))
    return times | {"mib": peak_mib(), "images": len(extracted), "bytes": extracted.tensors[0][0].nbytes}


def run(folder: Path, cache: Path) -> dict:
    """Run a job in a process of its own."""
    line = [sys.executable, __file__, "--job", str(folder), str(cache)]
    return json.loads(subprocess.run(line, stdout=subprocess.PIPE, check=True, text=True).stdout.splitlines()[-1])


def report(cold: list[dict], warm: list[dict]) -> list[str]:
    """Return the table, and what a further image takes."""
    columns = [("images", 9), ("split", 9), ("features", 10), ("a 1,000", 9), ("lookup", 9), ("epoch", 8)]
    lines = ["".join(f"{name:>{width}}" for name, width in (*columns, ("MiB, cold", 11), ("warm", 8)))]
    for first, second in zip(cold, warm, strict=True):
        lines.append(
            f"{first['images']:9,}{second['split']:8.2f}s{first['features']:9.1f}s"
            f"{first['features'] / first['images'] * 1000:8.2f}s{second['features']:8.2f}s{second['epoch']:7.2f}s"
            f"{first['mib']:11.0f}{second['mib']:8.0f}"
        )
    smallest, largest = warm[0], warm[-1]
    if more := largest["images"] - smallest["images"]:
        grown = (largest["mib"] - smallest["mib"]) * 2**20 / more
        lines.append(
            f"A further image takes {grown:,.0f} bytes of the main process, of which its features, in float32, are "
            f"{largest['bytes']:,}"
        )
    return lines


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--many", type=Path, help="a zip of some 10,000 images in class folders")
    parser.add_argument("--sizes", type=int, nargs="+", default=[1000, 10_000], help="how many images")
    parser.add_argument("--job", nargs=2, metavar=("DATA", "CACHE"), help="one of the processes: print its JSON")
    options = parser.parse_args()
    if options.job:
        print(json.dumps(job(options.job[0], Path(options.job[1]))))
        return
    if options.many is None:
        parser.error("--many is missing")
    cold, warm = [], []
    for count in sorted(options.sizes):
        with tempfile.TemporaryDirectory() as folder:
            make(options.many, Path(folder, "images"), count)
            for measured in (cold, warm):
                measured.append(run(Path(folder, "images"), Path(folder, "cache")))
    lines = [
        f"{MODEL}, {device.resolve_precision('auto', 'cpu')}, on {device.default_num_workers()} cores; torch "
        f"{torch.__version__}, Python {platform.python_version()}",
        f"Targets for 100,000 images: lookup {LOOKUP_TARGET} s, an epoch of the head {EPOCH_TARGET} s",
        "",
        *report(cold, warm),
    ]
    text = "\n".join(lines)
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "bench_growth.txt").write_text(text + "\n")
    print(text)


if __name__ == "__main__":
    main()
