"""What other draws of images, crops, sizes and numbers of updates change in what tuning gains: too long for lesson 06.

    python benchmarks/bench_tuning.py [--device cuda] [CASE ...]

The sample at 64 pixels, in the folds of lesson 06 and with its heads, updates and seeds: all of EfficientNet-Lite0,
also at other rates, without decay from block to block and from the head of logistic regression, and its last five
blocks; on the images enlarged to 224 all of it, and the last two blocks of ViT-S/14; and all of it on the images as
they are, the middle 224 of 256 pixels. With names of cases it trains these and leaves the others as they are. Prints a
line a seed and writes `results/bench_tuning.json`: by case and seed three strings with a character for each working
image, 1 where the network that did not see it is right. They are of the head; of the same head after as many updates
more alone (on cropped images where the blocks learn from such); and of the head and the blocks after these updates.

An hour on two cores, two on older ones; the cases of `GPU_CASES` take hours more there, and a few minutes on a GPU (the
kept ones are of an H100, in fp32), where a second run differs a little, since its sums have no fixed order.
"""

import argparse
import copy
import json
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from joblib import Parallel, delayed
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedGroupKFold, train_test_split
from sklearn.preprocessing import StandardScaler
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset, Subset, TensorDataset
from torchvision.transforms import v2

from going_modular import data_setup, engine, features, model_builder
from going_modular.common.device import choose_device, exact_fp32
from going_modular.data.splits import groups_of
from going_modular.fine_tuning import prefix, recipes

RESULTS = Path(__file__).resolve().parent / "results"
SEED, SMALL, LARGE = 42, 64, 224  # of the folds; pixels
CLASSES = 3
HEAD_UPDATES, VIT_HEAD_UPDATES, UPDATES, LONG, BATCH = 200, 100, 60, 240, 16
GPU_PROCESSES = 8  # that share a GPU: small networks leave most of it idle
HEAD_LR, LR, VIT_LR, LAYER_DECAY, WEIGHT_DECAY = 1e-3, 3e-4, 1e-5, 0.9, 0.05
CROP = v2.Compose([v2.RandomResizedCrop(SMALL, scale=(0.35, 1), antialias=True), v2.RandomHorizontalFlip()])


class Case(NamedTuple):
    """What is trained, and how."""

    name: str  # a key of the file
    network: str  # a key of what `prepare` returns
    count: int  # of the images that are learned from
    lr: float  # of the last block
    updates: int = UPDATES
    cropped: bool = False
    decay: float = LAYER_DECAY  # of the rate from block to block
    strength: float | None = None  # of logistic regression that makes the first head; None: the head is trained
    seeds: int = 6


class Prepared(NamedTuple):
    """A network without its head's training, and what it and its head learn from."""

    network: nn.Module  # the model, or what `prefix.split` leaves of it
    inputs: TensorDataset  # images or maps, with labels
    features: TensorDataset  # what the head reads, with labels
    blocks: int | None  # that learn; None for all
    head_updates: int


CASES = (
    *(Case(f"Lite0, 12 images, {updates} updates", "lite0", 12, LR, updates) for updates in (30, UPDATES)),
    Case(f"Lite0, 12 images, cropped, {LONG} updates", "lite0", 12, LR, LONG, cropped=True),
    *(
        Case(f"Lite0, 150 images, {updates} updates", "lite0", 150, LR, updates)
        for updates in (30, UPDATES, 120, LONG, 2 * LONG)
    ),
    *(
        Case(f"Lite0, 150 images, {LONG} updates, rate {lr:.0e}", "lite0", 150, lr, LONG, seeds=3)
        for lr in (1e-4, 1e-3)
    ),
    Case(f"Lite0, 150 images, {LONG} updates, one rate", "lite0", 150, LR, LONG, decay=1.0, seeds=3),
    Case(f"Lite0, 150 images, last 5 blocks, {LONG} updates", "lite0, last 5", 150, LR, LONG),
    Case(f"Lite0, 150 images, {LONG} updates, from logistic regression", "lite0", 150, LR, LONG, strength=10),
)
GPU_CASES = (
    Case(f"Lite0, 12 images, {LONG} updates", "lite0", 12, LR, LONG),
    Case(f"Lite0, 150 images at 224 pixels, all blocks, {LONG} updates", "lite0, large", 150, LR, LONG),
    Case(f"Lite0, 150 sharp images, all blocks, {LONG} updates", "lite0, sharp", 150, LR, LONG),
    *(
        Case(f"ViT-S/14, 150 images, {LONG} updates, rate {lr:.0e}", "vit", 150, lr, LONG)
        for lr in (VIT_LR, 3e-5, 1e-4)
    ),
)


class Cropped(Dataset):
    """The images of a data set, each cropped and mirrored anew whenever it is read."""

    def __init__(self, dataset: Dataset) -> None:
        self.dataset = dataset

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.dataset)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Return an image, changed, and its label."""
        image, label = self.dataset[index]
        return CROP(image), label


def load(side: int, *, sharp: bool = False) -> tuple[nn.Module, TensorDataset, TensorDataset, np.ndarray]:
    """Return the frozen model, the images at a size with labels, their features with labels, and their tables.

    They are shrunk to 64 pixels first, unless they are to be sharp.
    """
    model, transform = model_builder.create_model("efficientnet_lite0", CLASSES)
    if not sharp:
        transform.resize_size = transform.crop_size = [SMALL]
    splits = data_setup.load_splits("sample", seed=SEED, validation=True, group_by=r"(\d+)")
    working = splits.train.joined_with(splits.validation)
    read = torch.stack([image for image, _ in working.with_transform(transform)])
    shown = read if read.shape[-1] == side else F.interpolate(read, size=side, mode="bicubic", antialias=True)
    images = TensorDataset(shown, torch.tensor(working.targets))
    tables = np.unique(groups_of(working, r"(\d+)"), return_inverse=True)[1]
    return model, images, features.extract(model, images, precision="fp32", cache=False, progress=False), tables


def train(
    network: nn.Module,
    dataset: Dataset,
    optimizer: torch.optim.Optimizer,
    updates: int,
    warmup: int,
) -> None:
    """Train in so many batches, rounded up to whole epochs, with a cosine where there is a warm-up."""
    device = next(network.parameters()).device
    # an order of its own: what a network drops at random must not change its batches
    loader = DataLoader(dataset, BATCH, shuffle=True, generator=torch.Generator().manual_seed(torch.initial_seed()))
    epochs = -(-updates // len(loader))
    steps = epochs * len(loader)
    options = {}
    if warmup:
        schedule = recipes.schedule(optimizer, "cosine", warmup_steps=warmup, total_steps=steps)
        options = {"scheduler": schedule, "max_grad_norm": 1}
    for _ in range(epochs):
        engine.train_step(network, loader, nn.CrossEntropyLoss(), optimizer, device, **options)


def is_right(network: nn.Module, dataset: Dataset) -> np.ndarray:
    """Return for each image whether the network's answer is right."""
    network.eval()
    device = next(network.parameters()).device
    with torch.inference_mode(), exact_fp32():
        return torch.cat([network(x.to(device)).argmax(dim=1).cpu() == y for x, y in DataLoader(dataset, 25)]).numpy()


def prepare(needed: set[str]) -> tuple[dict[str, Prepared], np.ndarray]:
    """Return what is needed of what learns, by name, and the table of each working image."""
    lite0, small, small_features, tables = load(SMALL)
    lite0.to(memory_format=torch.channels_last)
    _, large, large_features, _ = load(LARGE)
    makers = {
        "lite0": lambda: Prepared(lite0, small, small_features, None, HEAD_UPDATES),
        "lite0, large": lambda: Prepared(lite0, large, large_features, None, HEAD_UPDATES),
        "lite0, sharp": lambda: Prepared(lite0, *load(LARGE, sharp=True)[1:3], None, HEAD_UPDATES),
        "lite0, last 5": lambda: prepare_last(lite0, small, small_features, 5),
        "vit": lambda: prepare_vit(large),
    }
    return {name: makers[name]() for name in sorted(needed)}, tables


def prepare_last(lite0: nn.Module, images: TensorDataset, read: TensorDataset, blocks: int) -> Prepared:
    """Return the last blocks of EfficientNet-Lite0 and what they and its head read."""
    below, rest = prefix.split(lite0, blocks=blocks)
    maps = prefix.extract(below, images, precision="fp32", progress=False)
    return Prepared(rest, maps, read, blocks, HEAD_UPDATES)


def prepare_vit(large: TensorDataset) -> Prepared:
    """Return the last two blocks of ViT-S/14 and what they and its head read of images normalised for Lite0."""
    vit, transform = model_builder.create_model("vit_s_14", CLASSES)
    _, lite0_transform = model_builder.create_model("efficientnet_lite0", CLASSES)
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (lite0_transform.mean, lite0_transform.std))
    colours = v2.functional.normalize(large.tensors[0] * std + mean, transform.mean, transform.std)
    below, rest = prefix.split(vit, blocks=2)
    tokens = prefix.extract(below, TensorDataset(colours, large.tensors[1]), precision="fp32", progress=False)
    reader = copy.deepcopy(rest)
    reader.model.head = nn.Identity()
    with torch.no_grad():
        read = torch.cat([reader(batch) for batch, _ in DataLoader(tokens, 25)])
    return Prepared(rest, tokens, TensorDataset(read, large.tensors[1]), 2, VIT_HEAD_UPDATES)


def with_head(prepared: Prepared, case: Case, learn: np.ndarray, device: str) -> tuple[nn.Module, nn.Module]:
    """Return a network on a device whose head has learned from the features of some images, and the model in it."""
    network = copy.deepcopy(prepared.network)
    model = getattr(network, "model", network)
    if not hasattr(model, "put_head"):
        model.classifier = nn.Sequential(nn.Dropout(0.2), nn.Linear(prepared.features[0][0].shape[0], CLASSES))
    else:
        model.put_head(CLASSES)
        model_builder.standardise(model, prepared.features.tensors[0][learn])
    network.to(device)
    head = model_builder.head(model)
    if case.strength is None:
        optimizer = torch.optim.AdamW(head.parameters(), lr=HEAD_LR)
        train(head, Subset(prepared.features, learn), optimizer, prepared.head_updates, 0)
    else:
        put_logistic(head[-1], *(tensor[learn].numpy() for tensor in prepared.features.tensors), case.strength)
    return network, model


def put_logistic(linear: nn.Linear, values: np.ndarray, labels: np.ndarray, strength: float) -> None:
    """Give a layer the weights of logistic regression on features (N, D) that are scaled to standard deviation 1."""
    scaler = StandardScaler().fit(values)
    found = LogisticRegression(C=strength, max_iter=5000).fit(scaler.transform(values), labels)
    weight = found.coef_ / scaler.scale_
    with torch.no_grad():
        linear.weight.copy_(torch.from_numpy(weight))
        linear.bias.copy_(torch.from_numpy(found.intercept_ - weight @ scaler.mean_))


def tune(trained: nn.Module, model: nn.Module, dataset: Dataset, case: Case, *, blocks: int | None) -> None:
    """Train a network, or its head alone, as lesson 06 does; `model` is what holds the blocks."""
    recipes.unfreeze(model, blocks)
    groups = recipes.parameter_groups(
        model, lr=case.lr, head_lr=HEAD_LR, layer_decay=case.decay, weight_decay=WEIGHT_DECAY
    )
    optimizer = torch.optim.AdamW(groups, fused=True)
    train(trained, dataset, optimizer, case.updates, case.updates // 10)


def compare(prepared: Prepared, case: Case, fold: tuple, seed: int, device: str) -> list[np.ndarray]:
    """Return which held-out images are answered rightly by the networks of a case, as the file has them."""
    torch.set_num_threads(1)
    learn, held = fold
    if case.count < len(learn):
        labels = prepared.features.tensors[1][learn]
        learn = train_test_split(learn, train_size=case.count, stratify=labels, random_state=seed)[0]
    engine.set_seeds(seed)
    network, model = with_head(prepared, case, learn, device)
    right = [is_right(model_builder.head(model), Subset(prepared.features, held))]

    alone = copy.deepcopy(network)
    alone_model = getattr(alone, "model", alone)
    head = model_builder.head(alone_model)
    images = Subset(prepared.inputs, learn)
    seen = Cropped(images) if case.cropped else images
    engine.set_seeds(seed)
    if case.cropped:  # no features are kept of images that change
        tune(alone, alone_model, seen, case, blocks=0)
    else:
        tune(head, alone_model, Subset(prepared.features, learn), case, blocks=0)
    right.append(is_right(head, Subset(prepared.features, held)))

    engine.set_seeds(seed)
    tune(network, model, seen, case, blocks=prepared.blocks)
    right.append(is_right(network, Subset(prepared.inputs, held)))
    return right


def main() -> None:
    """Train cases, by default all that two cores can, in all folds with all their seeds."""
    cases = {case.name: case for case in CASES + GPU_CASES}
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0], allow_abbrev=False)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("names", nargs="*", metavar="CASE", help=f"one of: {'; '.join(cases)}")
    arguments = parser.parse_args()
    if unknown := set(arguments.names) - set(cases):
        parser.error(f"no such case: {', '.join(sorted(unknown))}; there are {'; '.join(cases)}")
    device = choose_device(arguments.device)
    chosen = [cases[name] for name in arguments.names] or CASES

    file = RESULTS / "bench_tuning.json"
    kept: dict[str, list[list[str]]] = json.loads(file.read_text(encoding="utf-8"))
    networks, tables = prepare({case.network for case in chosen})
    labels = next(iter(networks.values())).inputs.tensors[1].numpy()
    folds = list(StratifiedGroupKFold(3, shuffle=True, random_state=SEED).split(labels, labels, tables))
    for case in chosen:
        jobs = [(seed, number) for seed in range(case.seeds) for number in range(len(folds))]
        answers = Parallel(n_jobs=2 if device == "cpu" else GPU_PROCESSES)(
            delayed(compare)(networks[case.network], case, folds[number], 10 * seed + number, device)
            for seed, number in jobs
        )
        right = np.zeros((case.seeds, 3, len(labels)), dtype=bool)
        for (seed, number), answer in zip(jobs, answers, strict=True):
            right[seed][:, folds[number][1]] = answer
        kept[case.name] = [["".join("01"[value] for value in row) for row in rows] for rows in right.astype(int)]
        for seed, networks_right in enumerate(right):
            shares = ", ".join(f"{marks.mean():.3f}" for marks in networks_right)
            print(f"{case.name}, seed {seed}: head, head that goes on, with blocks {shares}", flush=True)
        file.write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
