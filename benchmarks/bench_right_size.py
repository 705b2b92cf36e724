"""What tuning all of EfficientNet-Lite0 gains where its images have the right size: lesson 06 at 224 pixels.

    python benchmarks/bench_right_size.py

The sample, shrunk to 64 pixels and enlarged to 224, in the folds, with the heads, the rates, the updates and the seeds
of lesson 06: the head alone, and from this very head all 18 blocks. Prints and writes `results/bench_right_size.txt`;
some ten minutes on two cores.
"""

import copy
from pathlib import Path

import numpy as np
import torch
from joblib import Parallel, delayed
from sklearn.model_selection import StratifiedGroupKFold
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset, Subset, TensorDataset

from going_modular import data_setup, engine, features, model_builder
from going_modular.data.splits import groups_of
from going_modular.fine_tuning import recipes

RESULTS = Path(__file__).resolve().parent / "results"
SEED, SEEDS, SMALL, LARGE = 42, (0, 1), 64, 224  # of the folds; of the trainings; pixels
HEAD_UPDATES, UPDATES, WARMUP, BATCH = 200, 60, 6, 16
HEAD_LR, LR, LAYER_DECAY, WEIGHT_DECAY = 1e-3, 3e-4, 0.9, 0.05
DRAWS = 10_000  # of the bootstrap


def load(side: int) -> tuple[nn.Module, TensorDataset, TensorDataset, np.ndarray]:
    """Return the frozen model, the images at a size with labels, their features with labels, and their tables."""
    model, transform = model_builder.create_model("efficientnet_lite0", 3)
    transform.resize_size = transform.crop_size = [SMALL]
    splits = data_setup.load_splits("sample", seed=SEED, validation=True, group_by=r"(\d+)")
    working = splits.train.joined_with(splits.validation)
    small = torch.stack([image for image, _ in working.with_transform(transform)])
    shown = small if side == SMALL else F.interpolate(small, size=side, mode="bicubic", antialias=True)
    images = TensorDataset(shown, torch.tensor(working.targets))
    tables = np.unique(groups_of(working, r"(\d+)"), return_inverse=True)[1]
    return model, images, features.extract(model, images, cache=False, progress=False), tables


def train(
    network: nn.Module,
    dataset: Dataset,
    optimizer: torch.optim.Optimizer,
    updates: int,
    warmup: int,
    *,
    mixed: torch.dtype | None = None,
) -> None:
    """Train in so many batches, rounded up to whole epochs, with a cosine where there is a warm-up."""
    loader = DataLoader(dataset, BATCH, shuffle=True)
    epochs = -(-updates // len(loader))
    steps = epochs * len(loader)
    options = {}
    if warmup:
        schedule = recipes.schedule(optimizer, "cosine", warmup_steps=warmup, total_steps=steps)
        options = {"scheduler": schedule, "max_grad_norm": 1, "autocast_dtype": mixed}
    for _ in range(epochs):
        engine.train_step(network, loader, nn.CrossEntropyLoss(), optimizer, "cpu", **options)


def is_right(network: nn.Module, dataset: Subset) -> np.ndarray:
    """Return for each image whether the network's answer is right."""
    network.eval()
    with torch.inference_mode():
        return torch.cat([network(x).argmax(dim=1) == y for x, y in DataLoader(dataset, 25)]).numpy()


def compare(
    model: nn.Module, images: TensorDataset, extracted: TensorDataset, fold: tuple, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return which held-out images the head has right, and the head with all blocks."""
    torch.set_num_threads(1)
    engine.set_seeds(seed)
    learn, held = fold
    model = copy.deepcopy(model)
    model.classifier = nn.Sequential(nn.Dropout(0.2), nn.Linear(extracted[0][0].shape[0], 3))
    optimizer = torch.optim.AdamW(model.classifier.parameters(), lr=HEAD_LR)
    train(model.classifier, Subset(extracted, learn), optimizer, HEAD_UPDATES, 0)
    model.to(memory_format=torch.channels_last)
    before = is_right(model, Subset(images, held))
    recipes.unfreeze(model, None)
    groups = recipes.parameter_groups(model, lr=LR, head_lr=LR, layer_decay=LAYER_DECAY, weight_decay=WEIGHT_DECAY)
    train(model, Subset(images, learn), torch.optim.AdamW(groups, fused=True), UPDATES, WARMUP)
    return before, is_right(model, Subset(images, held))


def gain(before: np.ndarray, after: np.ndarray, tables: np.ndarray) -> str:
    """Return a difference in points of a hundred with its 95% interval over tables (bootstrap), as text."""
    difference = 100 * (after.astype(float) - before)
    sums, sizes = np.bincount(tables, difference), np.bincount(tables)
    drawn = np.random.default_rng(SEED).integers(len(sums), size=(DRAWS, len(sums)))
    low, high = np.quantile(sums[drawn].sum(axis=1) / sizes[drawn].sum(axis=1), [0.025, 0.975])
    return f"{difference.mean():+.1f} points (95% interval {low:+.1f} to {high:+.1f})"


def main() -> None:
    """Measure both seeds in all folds."""
    model, images, extracted, tables = load(LARGE)
    labels = images.tensors[1].numpy()
    folds = list(StratifiedGroupKFold(3, shuffle=True, random_state=SEED).split(labels, labels, tables))
    jobs = [(seed, number) for seed in SEEDS for number in range(len(folds))]
    answers = Parallel(n_jobs=2)(
        delayed(compare)(model, images, extracted, folds[number], 10 * seed + number) for seed, number in jobs
    )
    right = np.zeros((len(SEEDS), 2, len(labels)), dtype=bool)  # seeds, before and after, images
    for (seed, number), answer in zip(jobs, answers, strict=True):
        right[seed][:, folds[number][1]] = answer
    told = [
        f"224 px, seed {seed}: head {head.mean():.3f}, head, then all 18 blocks {tuned.mean():.3f}, "
        f"{gain(head, tuned, tables)}"
        for seed, (head, tuned) in enumerate(right)
    ]
    told.append(f"mean of both seeds: {gain(*right.mean(axis=0), tables)}")
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "bench_right_size.txt").write_text("\n".join(told) + "\n", encoding="utf-8")
    print("\n".join(told))


if __name__ == "__main__":
    main()
