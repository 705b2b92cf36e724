"""What decoding large photos at a fraction of their size saves, and what it changes.

    python benchmarks/bench_decoding.py --data pizza_steak_sushi.zip

Photos of a data set are enlarged to 12 megapixels (4032x3024 or upright, JPEG of quality 90) in a temporary folder, as
they are and with grain, such as a sensor leaves, which more than doubles the files. Features of EfficientNet-Lite0 are
computed from the whole images and from the fraction in turn, nothing cached. The floor beside them: each file decoded
at the fraction by Pillow alone, and as many images in one forward pass, over all cores. Last, what changes: the cosine
between both features of an image, and the test accuracy of heads trained on either. Prints and writes
`results/bench_decoding.txt`; ten minutes on two cores; Linux and macOS.
"""

import argparse
import functools
import multiprocessing
import os
import platform
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import torch
from PIL import Image, ImageChops, ImageOps
from torch import nn
from torch.utils.data import Dataset, TensorDataset
from torchvision import datasets

from going_modular import data_setup, engine, features, model_builder
from going_modular.common import device
from going_modular.data import images, resizing, splits, upright

RESULTS = Path(__file__).resolve().parent / "results"
MODEL = "efficientnet_lite0"
SIZE = (4032, 3024)
QUALITY = 90
GRAIN = 5.0  # standard deviation of the noise, of 255
TARGET = 5  # times as fast
SEEDS = range(5)
BATCH_SIZE = 8


def enlarge(source: str, target: Path, grain: float) -> None:
    """Write a photo with 12 megapixels."""
    image = images.open_image(source)
    size = SIZE if image.width >= image.height else SIZE[::-1]
    large = ImageOps.fit(image, size, Image.Resampling.LANCZOS)
    if grain:
        noise = Image.merge("RGB", [Image.effect_noise(size, grain) for _ in range(3)])  # about 128
        large = ImageChops.add(large, noise, offset=-128)
    target.parent.mkdir(parents=True, exist_ok=True)
    large.save(target, quality=QUALITY)


def make(data: str, folder: Path, count: int, grain: float) -> float:
    """Write so many large photos into class folders; return the mean size of their files in MB."""
    parts = data_setup.load_splits(data)
    samples = parts.train.samples + parts.test.samples
    chosen = [samples[i * len(samples) // count] for i in range(count)]
    targets = [folder / parts.class_names[label] / f"{i:04}.jpg" for i, (_, label) in enumerate(chosen)]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        list(pool.map(enlarge, [path for path, _ in chosen], targets, [grain] * count))
    return sum(target.stat().st_size for target in targets) / count / 1e6


def seconds_of(work: Callable[[], object]) -> float:
    """Return the seconds that something takes."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def decode(path: str, side: int) -> None:
    """Decode a file at the fraction, and nothing else."""
    with Image.open(path) as image:
        image.draft(None, (upright.SCALED_MARGIN * side,) * 2)
        image.load()


@functools.cache
def network(precision: str) -> Callable[[], object]:
    """Return what runs a batch through the folded backbone on one thread."""
    torch.set_num_threads(1)
    trunk = model_builder.fold(model_builder.backbone(model_builder.create_model(MODEL, 3)[0]))
    trunk = trunk.to(memory_format=torch.channels_last)
    batch = torch.zeros(BATCH_SIZE, 3, 224, 224).contiguous(memory_format=torch.channels_last)

    @torch.inference_mode()
    def forward() -> None:
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
            trunk(batch)

    forward()
    return forward


def run_batches(precision: str, count: int) -> None:
    """Run some batches."""
    for _ in range(count):
        network(precision)()


def floor(paths: Sequence[str], side: int, precision: str, runs: int) -> tuple[float, float]:
    """Return the median seconds of decoding all files at the fraction, and of as many images in forward passes."""
    cores = max(device.default_num_workers(), 1)
    batches = [-(-len(paths) // BATCH_SIZE // cores)] * cores
    with multiprocessing.Pool(cores) as pool:
        compute = functools.partial(pool.map, functools.partial(run_batches, precision), chunksize=1)
        compute([1] * cores)
        decoding = [
            seconds_of(lambda: pool.map(functools.partial(decode, side=side), paths, chunksize=4)) for _ in range(runs)
        ]
        computing = [seconds_of(lambda: compute(batches)) for _ in range(runs)]
    return statistics.median(decoding), statistics.median(computing)


def accuracies(values: torch.Tensor, dataset: data_setup.ImageFolder) -> list[float]:
    """Return the test accuracy of heads trained on features as `train.py` does, each with a seed and a split."""
    found = []
    for seed in SEEDS:
        parts = splits.stratified_split(dataset, seed=seed)
        rows = [[dataset.samples.index(sample) for sample in part.samples] for part in parts]
        labels = torch.tensor(dataset.targets)
        loaders = data_setup.make_loaders(
            *(TensorDataset(values[part], labels[part]) for part in rows), batch_size=32, num_workers=0
        )
        engine.set_seeds(seed)
        head = model_builder.head(model_builder.create_model(MODEL, len(dataset.classes))[0])
        optimizer = torch.optim.Adam(head.parameters(), lr=3e-3)
        history = engine.train(head, *loaders, optimizer, nn.CrossEntropyLoss(), 10, "cpu", progress=False)
        found.append(history["test_acc"][-1])
    return found


def measure(name: str, data: str, folder: Path, grain: float, options: argparse.Namespace) -> list[str]:
    """Return the lines of the report on one kind of photos."""
    megabytes = make(data, folder, options.images, grain)
    precision = device.resolve_precision("auto", "cpu")
    model, transform = model_builder.create_model(MODEL, 3)
    ours = data_setup.ImageFolder(folder, transform=transform)
    whole = datasets.ImageFolder(str(folder), transform, loader=images.open_image)
    seconds: dict[str, list[float]] = {"whole": [], "fraction": []}
    values: dict[str, torch.Tensor] = {}

    def extract(kind: str, dataset: Dataset) -> None:
        values[kind] = features.extract(model, dataset, precision=precision, cache=False, progress=False).tensors[0]

    for _ in range(options.runs):
        for kind, dataset in (("whole", whole), ("fraction", ours)):
            seconds[kind].append(seconds_of(functools.partial(extract, kind, dataset)))
    slow, quick = (statistics.median(runs) for runs in seconds.values())
    decoding, computing = floor([path for path, _ in ours.samples], ours.short_side, precision, options.runs)
    least = decoding + computing
    cosine = nn.functional.cosine_similarity(values["whole"], values["fraction"])
    looked_at = range(0, len(ours), max(len(ours) // 10, 1))
    pixels = [(transform(images.open_image(ours.samples[i][0])) - ours[i][0]).abs().mean() for i in looked_at]
    scale = 255 * torch.tensor(transform.std).mean()
    accuracy = {kind: accuracies(found, ours) for kind, found in values.items()}
    spread = {kind: f"{statistics.mean(a):.3f} +/- {statistics.stdev(a):.3f}" for kind, a in accuracy.items()}
    return [
        "",
        f"{name}: {len(ours)} files of {megabytes:.1f} MB",
        f"  features, whole images      {slow:8.2f} s {len(ours) / slow:8.1f} images/s",
        f"  features, at the fraction   {quick:8.2f} s {len(ours) / quick:8.1f} images/s",
        f"  times as fast               {slow / quick:8.2f}   (target {TARGET})",
        f"  floor                       {least:8.2f} s   decoding {decoding:.2f}, forward {computing:.2f}; ours is "
        f"{quick / least:.2f} times that",
        f"  pixels after the transform differ by {torch.stack(pixels).mean() * scale:.2f} of 255 on average",
        f"  features: cosine {cosine.mean():.5f} on average, {cosine.min():.5f} at least",
        f"  heads' test accuracy ({len(SEEDS)} seeds): whole {spread['whole']}, at the fraction {spread['fraction']}",
    ]


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, help="photos: a data set of train.py's")
    parser.add_argument("--images", type=int, default=200, help="how many large photos")
    parser.add_argument("--runs", type=int, default=3, help="of each kind, in turn; the median counts")
    options = parser.parse_args()
    transform = model_builder.create_model(MODEL, 3)[1]
    lines = [
        f"Photos of {SIZE[0]}x{SIZE[1]}, JPEG of quality {QUALITY}; {MODEL} on {device.default_num_workers()} cores, "
        f"{device.resolve_precision('auto', 'cpu')}; torch {torch.__version__}, Python {platform.python_version()}",
        f"The transform resizes the short side to {resizing.short_side(transform)} px; at least "
        f"{upright.SCALED_MARGIN} times that is decoded. Medians of {options.runs} runs",
    ]
    for name, grain in (("enlarged photos", 0.0), ("the same with grain", GRAIN)):
        with tempfile.TemporaryDirectory() as folder:
            lines += measure(name, options.data, Path(folder, "large"), grain, options)
    text = "\n".join(lines)
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "bench_decoding.txt").write_text(text + "\n")
    print(text)


if __name__ == "__main__":
    main()
