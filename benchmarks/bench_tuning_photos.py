"""What tuning gains with 2,000 photos of ten dishes, against a head that sees the same crops: lesson 06's last line.

    python benchmarks/bench_tuning_photos.py --data food101_64px_10classes.zip [--heads | --logistic [crops]]

The images have 64 pixels and are enlarged to 224. Each seed draws other images to learn from; all are tested on the
same ones. All of EfficientNet-Lite0 goes on from a head, for three epochs of random crops; so do, on the very same
crops, two copies of the head alone, at the blocks' rate and at its own. Prints a line a seed and writes
`results/bench_tuning_photos.json`: by seed four strings with a character for each test image, as `bench_tuning.py`
has them. Half an hour on two cores. `--heads` lets heads alone go on, at more rates and on crops of their own, and
writes `results/bench_tuning_photos_heads.json`, by seed a string for each rate. `--logistic` fits logistic regression
to the features of the whole images, scaled and then as they are, at some strengths of its penalty (minutes), and
writes `results/bench_tuning_photos_logistic.json`, by seed a string for each. `--logistic crops` gives it three random
crops of each image as well, as many as the heads see, and writes `results/bench_tuning_photos_logistic_crops.json`.
"""

import argparse
import copy
import json

import numpy as np
import torch
from bench_tuning import HEAD_LR, LARGE, LAYER_DECAY, LR, RESULTS, SEED, WEIGHT_DECAY
from joblib import Parallel, delayed
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset
from torchvision.transforms import v2

from going_modular import data_setup, engine, model_builder
from going_modular.common.memory import keep_freed
from going_modular.fine_tuning import recipes

IMAGES, EPOCHS, HEAD_EPOCHS, BATCH, SEEDS = 2000, 3, 20, 32, range(4)
HEAD_LRS = (1e-3, 3e-3, 1e-2)  # of `--heads`
STRENGTHS = (0.001, 0.01, 0.1, 1, 10, 100)  # scikit-learn's C, of `--logistic`: a larger one is a weaker penalty
CROP = v2.Compose([v2.RandomResizedCrop(LARGE, scale=(0.35, 1), antialias=True), v2.RandomHorizontalFlip()])


def load(data: str) -> tuple[nn.Module, TensorDataset, TensorDataset]:
    """Return the frozen model, and the images that may be learned from and those to test on, (N, 3, 64, 64)."""
    splits = data_setup.load_splits(data, seed=SEED)
    model, transform = model_builder.create_model("efficientnet_lite0", len(splits.class_names))
    transform.resize_size = transform.crop_size = [64]
    parts = []
    for part in (splits.train, splits.test):
        images = torch.stack([image for image, _ in part.with_transform(transform)])
        parts.append(TensorDataset(images, torch.tensor(part.targets)))
    return model, *parts


def enlarged(images: torch.Tensor) -> torch.Tensor:
    """Return images (N, 3, 64, 64) with 224 pixels a side."""
    return F.interpolate(images, size=LARGE, mode="bicubic", antialias=True)


def on_whole_images(model: nn.Module, dataset: TensorDataset) -> TensorDataset:
    """Return the frozen backbone's features of images that are enlarged and not cropped."""
    model = model_builder.backbone(model).eval()
    with torch.inference_mode():
        found = [model(enlarged(images).contiguous(memory_format=torch.channels_last))
                 for images, _ in DataLoader(dataset, BATCH)]  # fmt: skip
    return TensorDataset(torch.cat(found).clone(), dataset.tensors[1])


def on_crops(model: nn.Module, dataset: TensorDataset) -> torch.Tensor:
    """Return the frozen backbone's features of a random crop of each image."""
    model = model_builder.backbone(model).eval()
    with torch.inference_mode():
        return torch.cat([model(crop(images)) for images, _ in DataLoader(dataset, BATCH)]).clone()


def optimizer_of(model: nn.Module, blocks: int | None, lr: float, steps: int) -> tuple:
    """Return what lets a model's head, and its last blocks, learn: an optimizer and the schedule of its rates."""
    recipes.unfreeze(model, blocks)
    groups = recipes.parameter_groups(model, lr=lr, head_lr=lr, layer_decay=LAYER_DECAY, weight_decay=WEIGHT_DECAY)
    optimizer = torch.optim.AdamW(groups, fused=True)
    return optimizer, recipes.schedule(optimizer, "cosine", warmup_steps=steps // 10, total_steps=steps)


def step(outputs: torch.Tensor, labels: torch.Tensor, module: nn.Module, optimizer: tuple) -> None:
    """Make an update."""
    rule, schedule = optimizer
    rule.zero_grad()
    F.cross_entropy(outputs, labels).backward()
    nn.utils.clip_grad_norm_(module.parameters(), 1)
    rule.step()
    schedule.step()


def is_right(head: nn.Module, extracted: TensorDataset) -> np.ndarray:
    """Return for each row of features whether a head's answer is right."""
    with torch.inference_mode():
        return (head.eval()(extracted.tensors[0]).argmax(dim=1) == extracted.tensors[1]).numpy()


def draw(pool: TensorDataset, seed: int) -> TensorDataset:
    """Return the images that a seed draws to learn from."""
    learn, _ = train_test_split(range(len(pool)), train_size=IMAGES, stratify=pool.tensors[1], random_state=seed)
    return TensorDataset(*pool[learn])


def compare_logistic(model: nn.Module, pool: TensorDataset, tested: TensorDataset, seed: int, crops: int) -> list:
    """Return which test images logistic regression answers rightly, on scaled and on plain features, by strength.

    It learns from whole images and so many random crops of each. All rows of an image together weigh as much as one, so
    that a strength means the same with crops and without.
    """
    torch.set_num_threads(1)
    keep_freed()
    dataset = draw(pool, seed)
    engine.set_seeds(seed)
    rows = [on_whole_images(model, dataset).tensors[0], *(on_crops(model, dataset) for _ in range(crops))]
    values, labels = torch.cat(rows), dataset.tensors[1].repeat(len(rows))
    weights = np.full(len(labels), 1 / len(rows))
    right = []
    for scaler in (StandardScaler(), "passthrough"):
        for strength in STRENGTHS:
            classifier = Pipeline([("scaler", scaler), ("head", LogisticRegression(C=strength, max_iter=5000))])
            answers = classifier.fit(values, labels, head__sample_weight=weights).predict(tested.tensors[0])
            right.append(answers == tested.tensors[1].numpy())
    return right


def with_head(model: nn.Module, pool: TensorDataset, seed: int) -> tuple[nn.Module, TensorDataset]:
    """Return a copy of a model whose head has learned from images that a seed draws, and these images."""
    torch.set_num_threads(1)
    keep_freed()
    dataset = draw(pool, seed)
    engine.set_seeds(seed)
    model = copy.deepcopy(model).to(memory_format=torch.channels_last)
    learned = on_whole_images(model, dataset)
    head = model_builder.head(model)
    rule = torch.optim.AdamW(head.parameters(), lr=HEAD_LR)
    for _ in range(HEAD_EPOCHS):
        engine.train_step(head, DataLoader(learned, BATCH, shuffle=True), nn.CrossEntropyLoss(), rule, "cpu")
    return model, dataset


def crop(images: torch.Tensor) -> torch.Tensor:
    """Return a random crop of each image, in the layout that convolves fastest."""
    return torch.stack([CROP(image) for image in images]).contiguous(memory_format=torch.channels_last)


def compare_heads(model: nn.Module, pool: TensorDataset, tested: TensorDataset, seed: int) -> list:
    """Return which test images are answered rightly by a head that goes on alone, at each of some rates, in fp32."""
    trained, dataset = with_head(model, pool, seed)
    copies = [copy.deepcopy(trained) for _ in HEAD_LRS]
    steps = EPOCHS * -(-IMAGES // BATCH)
    rules = [optimizer_of(alone, 0, lr, steps) for alone, lr in zip(copies, HEAD_LRS, strict=True)]
    heads = [model_builder.head(alone).train() for alone in copies]
    frozen = model_builder.backbone(trained).eval()
    for _ in range(EPOCHS):
        for images, labels in DataLoader(dataset, BATCH, shuffle=True):
            with torch.no_grad():
                read = frozen(crop(images))
            for alone, its_rule in zip(heads, rules, strict=True):
                step(alone(read), labels, alone, its_rule)
    return [is_right(alone, tested) for alone in heads]


def compare(model: nn.Module, pool: TensorDataset, test: TensorDataset, tested: TensorDataset, seed: int) -> list:
    """Return which test images are answered rightly by a head, the two that go on, and the head with all blocks."""
    tuned, dataset = with_head(model, pool, seed)
    right = [is_right(model_builder.head(tuned), tested)]

    copies = [copy.deepcopy(tuned) for _ in range(2)]  # heads that go on alone, with their frozen backbone
    steps = EPOCHS * -(-IMAGES // BATCH)
    rules = [optimizer_of(alone, 0, lr, steps) for alone, lr in zip(copies, (LR, HEAD_LR), strict=True)]
    rule = optimizer_of(tuned, None, LR, steps)
    heads = [model_builder.head(alone).train() for alone in copies]
    frozen = model_builder.backbone(copies[0]).eval()
    for _ in range(EPOCHS):
        engine.set_train_mode(tuned)
        for images, labels in DataLoader(dataset, BATCH, shuffle=True):
            cropped = crop(images)
            with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16):
                read = frozen(cropped)
            step(tuned(cropped), labels, tuned, rule)
            for alone, its_rule in zip(heads, rules, strict=True):
                step(alone(read.float()), labels, alone, its_rule)
    right += [is_right(alone, tested) for alone in heads]
    right.append(is_right(model_builder.head(tuned), on_whole_images(tuned, test)))
    return right


def main() -> None:
    """Train with every seed, two at a time."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0], allow_abbrev=False)
    parser.add_argument("--data", default="food101_64px_10classes.zip")
    others = parser.add_mutually_exclusive_group()
    others.add_argument("--heads", action="store_true", help="heads alone, at more rates")
    others.add_argument(
        "--logistic", nargs="?", choices=("whole", "crops"), const="whole", help="logistic regression, not a head"
    )
    options = parser.parse_args()
    model, pool, test = load(options.data)
    tested = on_whole_images(model.to(memory_format=torch.channels_last), test)
    if options.heads:
        file, jobs = "bench_tuning_photos_heads.json", (delayed(compare_heads)(model, pool, tested, s) for s in SEEDS)
    elif options.logistic:
        file, crops = "bench_tuning_photos_logistic.json", 0
        if options.logistic == "crops":
            file, crops = "bench_tuning_photos_logistic_crops.json", EPOCHS  # as many as the heads see
        jobs = (delayed(compare_logistic)(model, pool, tested, s, crops) for s in SEEDS)
    else:
        file, jobs = "bench_tuning_photos.json", (delayed(compare)(model, pool, test, tested, s) for s in SEEDS)
    kept = []
    for seed, right in enumerate(Parallel(n_jobs=2, return_as="generator")(jobs)):
        kept.append(["".join("01"[value] for value in marks.astype(int)) for marks in right])
        (RESULTS / file).write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")
        line = f"seed {seed}: {', '.join(f'{marks.mean():.4f}' for marks in right)}"
        if not (options.heads or options.logistic):
            line += f"; blocks, over the head at its own rate: {100 * (right[3].mean() - right[2].mean()):+.1f} points"
        print(line, flush=True)


if __name__ == "__main__":
    main()
