"""What evaluate.py takes, in time and memory, as the number of test images grows.

    python benchmarks/bench_evaluate.py --data food101_64px_10classes.zip

Each evaluation is a process of its own, its time without imports: once with no features cached, once more with them.
Each row is one run of each, no median. Memory is the main process's peak beyond its peak when model and data are open,
without the worker processes; room that was used and freed before that hides some of the growth. What evaluation must
hold is logits and features. The floor decodes each image once and runs one
forward pass over all cores, and does nothing else; it is measured on the smallest number of images. Prints and writes
`results/bench_evaluate.txt`; some ten minutes.
"""

import argparse
import contextlib
import io
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import floor
import torch
from jobs import peak_mib

from going_modular import data_setup, evaluate, features, metrics, train
from going_modular.common import device

RESULTS = Path(__file__).resolve().parent / "results"
MODEL = "efficientnet_lite0"
TRAIN_IMAGES = 100  # few, so that nearly all images are left for the test
TEST_IMAGES = (1_250, 2_500, 5_000, 10_000)
FEATURES = 1280  # that Lite0 makes of an image
MIB = 2**20


def make_folder(data: str, folder: Path, images: int) -> Path:
    """Copy images of all classes into train and test folders: `TRAIN_IMAGES`, and as many other ones for a test."""
    splits = data_setup.load_splits(data)
    paths = (path for part in (splits.train, splits.test) for path, _ in part.samples)
    files = sorted(paths, key=lambda path: Path(path).name)  # all classes mixed
    every = len(files) // (TRAIN_IMAGES + 1)
    trained = set(files[::every][:TRAIN_IMAGES])
    others = [path for path in files if path not in trained]
    for part, chosen in (("train", trained), ("test", [others[i % len(others)] for i in range(images)])):
        for number, path in enumerate(chosen):
            target = folder / part / Path(path).parent.name
            target.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, target / f"{number}_{Path(path).name}")
    return folder


def worker(checkpoint: str, data: str, output: str) -> None:
    """Evaluate once and print how long each part took, and the peak of memory."""
    settings = evaluate.Settings(data=data, checkpoint=Path(checkpoint), output=Path(output), device="cpu")
    measured: list = []
    compute = features.logits

    def watched(model: torch.nn.Module, dataset: torch.utils.data.Dataset, **options: object) -> torch.Tensor:
        before = peak_mib()  # model and data are open
        logits = compute(model, dataset, **options)
        measured.extend([before, logits, dataset])
        return logits

    features.logits = watched
    with contextlib.redirect_stdout(io.StringIO()):
        start = time.perf_counter()
        evaluate.run(settings)
        whole = time.perf_counter() - start
    before, logits, dataset = measured
    peak = peak_mib() - before
    start = time.perf_counter()
    metrics.report(logits, dataset.targets, dataset.classes)
    seconds = {"all": whole, "metrics": time.perf_counter() - start}
    print(json.dumps({"seconds": seconds, "mib": peak, "classes": logits.shape[1]}))


def run(checkpoint: Path, data: Path, cache: Path) -> dict:
    """Evaluate in a new process."""
    arguments = ["worker", "--data", str(data), "--checkpoint", str(checkpoint), "--output", str(cache / "report")]
    environment = os.environ | {"GOING_MODULAR_CACHE": str(cache)}
    done = subprocess.run(
        [sys.executable, __file__, *arguments], env=environment, stdout=subprocess.PIPE, text=True, check=True
    )
    return json.loads(done.stdout.splitlines()[-1])


def prepare(data: str, folder: Path) -> tuple[Path, float]:
    """Train a head; return its checkpoint and the floor in seconds an image."""
    dishes = make_folder(data, folder / "first", TEST_IMAGES[0])
    with contextlib.redirect_stdout(io.StringIO()):
        made = train.run(train.Settings(data=str(dishes), model=MODEL, output=folder / "run", device="cpu"))
    precision = device.resolve_precision("auto", torch.device("cpu"))
    return made / "model.safetensors", floor.measure(MODEL, str(dishes), precision) / (TEST_IMAGES[0] + TRAIN_IMAGES)


def measure(data: str, folder: Path) -> list[str]:
    """Return the lines of the report."""
    columns = ("test images", "first, s", "again, s", "floor, s", "first/floor", "metrics, s", "memory, MiB", "held")
    checkpoint, least = prepare(data, folder)
    rows = []
    for images in TEST_IMAGES:
        dishes, cache = make_folder(data, folder / str(images), images), folder / f"cache{images}"
        first, again = run(checkpoint, dishes, cache), run(checkpoint, dishes, cache)
        held = images * 4 * (FEATURES + first["classes"]) / MIB  # float32
        seconds = [one["seconds"]["all"] for one in (first, again)]
        ratio = seconds[0] / (images * least)
        rows.append((images, *seconds, images * least, ratio, first["seconds"]["metrics"], first["mib"], held))
        shutil.rmtree(dishes)
    memory, held = (rows[-1][i] - rows[0][i] for i in (-2, -1))
    grown = f"peak memory +{memory:.0f} MiB, logits and features +{held:.0f} MiB"
    return [
        f"{platform.machine()}, torch {torch.__version__}, {os.cpu_count()} cores; {MODEL} on small photos",
        "first: nothing cached; again: with the features; metrics: report's share; held: logits and features, MiB",
        "".join(f"{column:>13}" for column in columns),
        *("".join(f"{row[0]:13,}" if i == 0 else f"{value:13.2f}" for i, value in enumerate(row)) for row in rows),
        f"from {TEST_IMAGES[0]:,} to {TEST_IMAGES[-1]:,}: {grown}",
    ]


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", nargs="?", default="all", choices=("all", "worker"), help=argparse.SUPPRESS)
    parser.add_argument("--data", required=True, help="a zip of some 10,000 images in class folders")
    parser.add_argument("--checkpoint", help=argparse.SUPPRESS)
    parser.add_argument("--output", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.part == "worker":
        worker(options.checkpoint, options.data, options.output)
        return
    with tempfile.TemporaryDirectory() as folder:
        text = "\n".join(measure(options.data, Path(folder)))
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "bench_evaluate.txt").write_text(text + "\n")
    print(text)


if __name__ == "__main__":
    main()
