"""What other draws of images, rates and crops change in what tuning gains: the part of lesson 06 that takes too long.

    python benchmarks/bench_tuning.py

The sample at 64 pixels, in the folds of lesson 06 and with its heads, updates and seeds: all of EfficientNet-Lite0; and
on the images enlarged to 224 the last two blocks, its own and those of ViT-S/14. Prints a line a training and writes
`results/bench_tuning.json`: by case and seed three strings with a character for each working image, 1 where the network
that did not see it is right. They are of the head, of the same head after as many updates more alone (on cropped images
where the blocks learn from such), and of the head and the blocks after these updates. Several minutes on two cores.
"""

import copy
import json
from typing import NamedTuple

import bench_right_size as right_size
import numpy as np
import torch
from joblib import Parallel, delayed
from sklearn.model_selection import StratifiedGroupKFold, train_test_split
from torch import nn
from torch.utils.data import DataLoader, Dataset, Subset, TensorDataset
from torchvision.transforms import v2

from going_modular import engine, model_builder
from going_modular.fine_tuning import prefix, recipes

RESULT = right_size.RESULTS / "bench_tuning.json"
CLASSES, SEEDS, TWO_SEEDS = 3, range(6), range(2)  # two for the rates that are only compared
VIT_UPDATES, VIT_HEAD_UPDATES = 15, 100
CROP = v2.Compose([v2.RandomResizedCrop(right_size.SMALL, scale=(0.35, 1), antialias=True), v2.RandomHorizontalFlip()])


class Case(NamedTuple):
    """What is trained, and how."""

    name: str  # a key of the file
    network: str  # a key of what `prepare` returns
    count: int  # of the images that are learned from
    lr: float
    seeds: range
    cropped: bool = False


class Prepared(NamedTuple):
    """A network without its head's training, and what it and its head learn from."""

    network: nn.Module  # the model, or what `prefix.split` leaves of it
    inputs: TensorDataset  # images or maps, with labels
    features: TensorDataset  # what the head reads, with labels
    blocks: int | None  # that learn; None for all
    updates: int
    head_updates: int
    mixed: torch.dtype | None = None


CASES = (
    Case("Lite0, 12 images", "lite0", 12, 3e-4, SEEDS),
    Case("Lite0, 12 images, cropped", "lite0", 12, 3e-4, SEEDS, cropped=True),
    Case("Lite0, 150 images, rate 3e-04", "lite0", 150, 3e-4, SEEDS),
    *(Case(f"Lite0, 150 images, rate {lr:.0e}", "lite0", 150, lr, TWO_SEEDS) for lr in (1e-4, 1e-3)),
    Case("Lite0, 150 images at 224 pixels, last 2 blocks", "lite0, last 2", 150, 3e-4, SEEDS),
    Case("ViT-S/14, 48 images, rate 1e-05", "vit", 48, 1e-5, SEEDS),
    *(Case(f"ViT-S/14, 48 images, rate {lr:.0e}", "vit", 48, lr, TWO_SEEDS) for lr in (3e-5, 1e-4)),
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


def prepare() -> tuple[dict[str, Prepared], np.ndarray]:
    """Return what learns, by name, and the table of each working image."""
    lite0, small, features, tables = right_size.load(right_size.SMALL)
    lite0.to(memory_format=torch.channels_last)
    _, large, large_features, _ = right_size.load(right_size.LARGE)
    updates = {"updates": right_size.UPDATES, "head_updates": right_size.HEAD_UPDATES}
    below, rest = prefix.split(lite0, blocks=2)
    maps = prefix.extract(below, large, precision="fp32", progress=False)
    networks = {
        "lite0": Prepared(lite0, small, features, None, **updates),
        "lite0, last 2": Prepared(rest, maps, large_features, 2, **updates),
        "vit": prepare_vit(large),
    }
    return networks, tables


def prepare_vit(large: TensorDataset) -> Prepared:
    """Return the last two blocks of ViT-S/14 and what they and its head read of images normalised for Lite0."""
    vit, transform = model_builder.create_model("vit_s_14", CLASSES)
    _, lite0_transform = model_builder.create_model("efficientnet_lite0", CLASSES)
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (lite0_transform.mean, lite0_transform.std))
    colours = v2.functional.normalize(large.tensors[0] * std + mean, transform.mean, transform.std)
    below, rest = prefix.split(vit, blocks=2)
    tokens = prefix.extract(below, TensorDataset(colours, large.tensors[1]), progress=False)
    mixed = torch.bfloat16 if tokens.tensors[0].dtype == torch.bfloat16 else None
    reader = copy.deepcopy(rest)
    reader.model.head = nn.Identity()
    with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16, enabled=mixed is not None):
        read = torch.cat([reader(batch).float() for batch, _ in DataLoader(tokens, 25)])
    return Prepared(rest, tokens, TensorDataset(read, large.tensors[1]), 2, VIT_UPDATES, VIT_HEAD_UPDATES, mixed=mixed)


def with_head(prepared: Prepared, learn: np.ndarray) -> tuple[nn.Module, nn.Module]:
    """Return a network whose head has learned from the features of some images, and the model in it."""
    network = copy.deepcopy(prepared.network)
    model = getattr(network, "model", network)
    if not hasattr(model, "put_head"):
        model.classifier = nn.Sequential(nn.Dropout(0.2), nn.Linear(prepared.features[0][0].shape[0], CLASSES))
    else:
        model.put_head(CLASSES)
        model_builder.standardise(model, prepared.features.tensors[0][learn])
    head = model_builder.head(model)
    optimizer = torch.optim.AdamW(head.parameters(), lr=right_size.HEAD_LR)
    right_size.train(head, Subset(prepared.features, learn), optimizer, prepared.head_updates, 0)
    return network, model


def tune(
    trained: nn.Module, model: nn.Module, dataset: Dataset, prepared: Prepared, *, blocks: int | None, lr: float
) -> None:
    """Train a network, or its head alone, as lesson 06 does; `model` is what holds the blocks."""
    recipes.unfreeze(model, blocks)
    groups = recipes.parameter_groups(
        model, lr=lr, head_lr=lr, layer_decay=right_size.LAYER_DECAY, weight_decay=right_size.WEIGHT_DECAY
    )
    optimizer, warmup = torch.optim.AdamW(groups, fused=True), prepared.updates // 10
    mixed = prepared.mixed if trained is not model_builder.head(model) else None
    right_size.train(trained, dataset, optimizer, prepared.updates, warmup, mixed=mixed)


def compare(prepared: Prepared, case: Case, fold: tuple, seed: int) -> list[np.ndarray]:
    """Return which held-out images the head has right, the head that went on, and the head with the blocks."""
    torch.set_num_threads(1)
    learn, held = fold
    if case.count < len(learn):
        labels = prepared.features.tensors[1][learn]
        learn = train_test_split(learn, train_size=case.count, stratify=labels, random_state=seed)[0]
    engine.set_seeds(seed)
    network, model = with_head(prepared, learn)
    right = [right_size.is_right(model_builder.head(model), Subset(prepared.features, held))]
    images = Subset(prepared.inputs, learn)
    seen = Cropped(images) if case.cropped else images
    engine.set_seeds(seed)
    alone = copy.deepcopy(network)
    alone_model = getattr(alone, "model", alone)
    head = model_builder.head(alone_model)
    if case.cropped:  # no features are kept of images that change
        tune(alone, alone_model, seen, prepared, blocks=0, lr=case.lr)
    else:
        tune(head, alone_model, Subset(prepared.features, learn), prepared, blocks=0, lr=case.lr)
    right.append(right_size.is_right(head, Subset(prepared.features, held)))
    engine.set_seeds(seed)
    tune(network, model, seen, prepared, blocks=prepared.blocks, lr=case.lr)
    right.append(right_size.is_right(network, Subset(prepared.inputs, held)))
    return right


def main() -> None:
    """Train every case in all folds with all its seeds."""
    networks, tables = prepare()
    labels = networks["lite0"].inputs.tensors[1].numpy()
    folds = list(StratifiedGroupKFold(3, shuffle=True, random_state=right_size.SEED).split(labels, labels, tables))
    kept: dict[str, list[list[str]]] = {}
    for case in CASES:
        jobs = [(seed, number) for seed in case.seeds for number in range(len(folds))]
        answers = Parallel(n_jobs=2)(
            delayed(compare)(networks[case.network], case, folds[number], 10 * seed + number) for seed, number in jobs
        )
        right = np.zeros((len(case.seeds), 3, len(labels)), dtype=bool)
        for (seed, number), answer in zip(jobs, answers, strict=True):
            right[seed][:, folds[number][1]] = answer
        kept[case.name] = [["".join("01"[value] for value in row) for row in rows] for rows in right.astype(int)]
        for seed, (head, alone, tuned) in enumerate(right):
            told = f"head {head.mean():.3f}, went on alone {alone.mean():.3f}, with blocks {tuned.mean():.3f}"
            print(f"{case.name}, seed {seed}: {told}, {right_size.gain(alone, tuned, tables)}", flush=True)
        RESULT.write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
