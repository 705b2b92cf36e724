"""What test-time augmentation gains and costs: the same heads, with 1, 2, 5 and 10 views of each test image averaged.

    python benchmarks/bench_views.py --data pizza_steak_sushi.zip

On the bundled sample and on the data named: five heads of EfficientNet-Lite0, as `train.py --epochs 10 --lr 0.003`
makes them with seeds 0 to 4, on the same split. The test images' features are computed once a view, nothing cached:
seconds are of one such pass each. A gain is the difference on the same images from the same head with one view. Prints
and writes `results/bench_views.txt`; a minute.
"""

import argparse
import contextlib
import io
import os
import platform
import statistics
import tempfile
import time
from pathlib import Path

import torch

from going_modular import data_setup, features, model_builder, train
from going_modular.data.views import average, views_of
from going_modular.evaluation import uncertainty
from going_modular.saving import checkpoint

RESULTS = Path(__file__).resolve().parent / "results"
MODEL, EPOCHS, RATE = "efficientnet_lite0", 10, 0.003
SEEDS = range(5)
VIEWS = (1, 2, 5, 10)


def heads(data: str, folder: Path) -> list[checkpoint.Checkpoint]:
    """Train a head a seed."""
    made = []
    for seed in SEEDS:
        settings = train.Settings(
            data, MODEL, epochs=EPOCHS, lr=RATE, seed=seed, output=folder / str(seed), device="cpu"
        )
        with contextlib.redirect_stdout(io.StringIO()):
            made.append(checkpoint.load(train.run(settings) / "model.safetensors"))
    return made


def look(data: str, model: checkpoint.Checkpoint) -> tuple[list[torch.Tensor], torch.Tensor, list[float]]:
    """Return the test images' features in each view, their labels, and the seconds that each view took."""
    test = data_setup.load_splits(data).test
    seen, seconds = [], []
    for view in views_of(model.transform, max(VIEWS)):
        start = time.perf_counter()
        extracted = features.extract(
            model.model, test.with_transform(view), precision=model.precision, cache=False, progress=False
        )
        seconds.append(time.perf_counter() - start)
        seen.append(extracted.tensors[0])
    return seen, extracted.tensors[1], seconds


def spread(values: list[float]) -> str:
    """Return mean and standard deviation."""
    return f"{statistics.mean(values):.3f} +/- {statistics.stdev(values):.3f}"


def measure(name: str, data: str, folder: Path) -> list[str]:
    """Return the lines of the report on one data set."""
    trained = heads(data, folder)
    seen, labels, seconds = look(data, trained[0])  # the backbone is the same in all
    by_head = [torch.stack([model_builder.logits(one.model, values) for values in seen]) for one in trained]
    lines = ["", f"{name}: {len(labels)} test images", "  views  accuracy         gain             differ  seconds"]
    for count in VIEWS:
        answers = [average(logits[:count]).argmax(dim=1) for logits in by_head]
        usual = [logits[0].argmax(dim=1) for logits in by_head]
        right = [(answer == labels).double().mean().item() for answer in answers]
        gains = [a - (b == labels).double().mean().item() for a, b in zip(right, usual, strict=True)]
        differ = sum(uncertainty.mcnemar(labels, *pair)["differ"] for pair in zip(answers, usual, strict=True))
        gain = f"{spread(gains):18}{differ} of {len(SEEDS)}" if count > 1 else " " * 24
        lines.append(f"  {count:5}  {spread(right)}  {gain}  {sum(seconds[:count]):7.2f}")
    return lines


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, help="300 photos: a data set of train.py's")
    options = parser.parse_args()
    lines = [
        f"{platform.machine()}, torch {torch.__version__}, {os.cpu_count()} cores; {MODEL}, {EPOCHS} epochs at {RATE}",
        f"mean +/- standard deviation of {len(SEEDS)} heads; differ: by McNemar's test at 5%, each head on its own",
    ]
    with tempfile.TemporaryDirectory() as folder:
        lines += measure("bundled sample", "sample", Path(folder, "sample"))
        lines += measure("photos", options.data, Path(folder, "photos"))
    text = "\n".join(lines)
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "bench_views.txt").write_text(text + "\n")
    print(text)


if __name__ == "__main__":
    main()
