"""When worker processes that read images help a CPU of few cores to train, and when not.

    python benchmarks/bench_workers.py --data pizza_steak_sushi.zip

An epoch of EfficientNet-Lite0 on 224-pixel images in batches of 32, on all cores: its head alone as `train.py
--augment` makes it (without augmentation), and all of it as `fine_tune.py` makes its first (there the workers stay for
the next ones). Read by the process that trains and by two workers, in turns, on the bundled sample, on that four times
over, and on the data set that is named. Beside them the floor: the same updates on images that are read already.
Prints, and writes `results/bench_workers.txt`, medians and ranges of the turns. Linux; seven minutes on two cores.
"""

import argparse
import os
import statistics
import time
from pathlib import Path

import torch
from torch import nn
from torch.utils.data import ConcatDataset, DataLoader, Dataset, default_collate

from going_modular import data_setup, engine, model_builder
from going_modular.fine_tuning import recipes

RESULT = Path(__file__).resolve().parent / "results" / "bench_workers.txt"
LITE0, BATCH, TURNS, MEMORY = "efficientnet_lite0", 32, 3, "in memory"
WAYS = (MEMORY, 0, 2)


def epoch_seconds(dataset: Dataset, way: int | str, *, blocks: int | None) -> float:
    """Return the seconds of an epoch, from the start of the workers to the last update."""
    model, _ = model_builder.create_model(LITE0, 3)
    recipes.unfreeze(model, blocks)
    model.to(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-5, fused=True)
    if way == MEMORY:
        items = [dataset[i] for i in range(len(dataset))]
        batches = [default_collate(items[i : i + BATCH]) for i in range(0, len(items), BATCH)]
    else:
        batches = DataLoader(dataset, BATCH, shuffle=True, num_workers=way)
    # an update before the clock starts: memory is kept at hand, as from any epoch but the first
    engine.train_step(model, [(torch.randn(BATCH, 3, 224, 224), torch.arange(BATCH) % 3)],
                      nn.CrossEntropyLoss(), optimizer, "cpu")  # fmt: skip
    start = time.perf_counter()
    engine.train_step(model, batches, nn.CrossEntropyLoss(), optimizer, "cpu")
    return time.perf_counter() - start


def main() -> None:
    """Measure each data set and recipe in all ways, in turns."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", default="pizza_steak_sushi", help="three classes, by name, folder or zip")
    _, transform = model_builder.create_model(LITE0, 3)
    sample, other = (
        data_setup.load_splits(name).train.with_transform(transform) for name in ("sample", parser.parse_args().data)
    )
    jobs = [
        ("head", 0, "sample", sample),
        ("head", 0, "sample, four times over", ConcatDataset([sample] * 4)),
        ("head", 0, "photos", other),
        ("all", None, "sample", sample),
    ]
    cores = len(os.sched_getaffinity(0))
    lines = [
        f"torch {torch.__version__}, {cores} cores; seconds of an epoch, medians of {TURNS} turns (range)",
        f"{'':40}{'in memory (the floor)':>26}{'no worker':>26}{'two workers':>26}{'two : none':>12}",
    ]
    print("\n".join(lines))
    for what, blocks, name, dataset in jobs:
        turns = [{way: epoch_seconds(dataset, way, blocks=blocks) for way in WAYS} for _ in range(TURNS)]
        line = f"{f'{what}, {name}, {len(dataset)} images':40}"
        for way in WAYS:
            seconds = [turn[way] for turn in turns]
            line += f"{f'{statistics.median(seconds):.1f} ({min(seconds):.1f} to {max(seconds):.1f})':>26}"
        lines.append(line + f"{statistics.median(turn[2] / turn[0] for turn in turns):12.2f}")
        print(lines[-1], flush=True)
    RESULT.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
