"""Measure how hard the sample is, and whether anything but the food gives the class away.

Run from the repository's root, in the course's environment (this command needs no Blender):

    python -m tools.render_sample.measure data/sample --without-food FOLDER --photos ZIP --write

FOLDER holds the same scenes without their food, made by

    python -m tools.render_sample render --without-food data/sample --out FOLDER

and ZIP real photos of the same classes. Either may be left out. `--write` puts the tables into the sample's README.
"""

import argparse
import csv
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from sklearn.feature_extraction import DictVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import nn
from torch.utils.data import DataLoader, TensorDataset
from torchvision.transforms import v2

from going_modular import data_setup, engine, features, model_builder

SEEDS = 5
NUM_CLASSES = 3
BATCH_SIZE = 32
LEARNING_RATE = 1e-3
HEAD_EPOCHS, VGG_EPOCHS = 5, 30
VGG_SIZE, VGG_UNITS = 64, 10
BINS = 4  # of the histogram, per colour
SCENE_COLUMNS = ["table", "tableware", "light", "side", "accent", "neighbour", "view", "framing"]
START, END = "<!-- measured: start -->", "<!-- measured: end -->"

Features = tuple[TensorDataset, TensorDataset]  # of the training and the test split
Row = tuple[str, str]


def lite0_features(splits: data_setup.Splits) -> Features:
    """Return the frozen backbone's features of both splits."""
    model, transform = model_builder.create_model("efficientnet_lite0", num_classes=NUM_CLASSES)
    splits.train.transform = splits.test.transform = transform
    return tuple(features.extract(model, split, cache=False, progress=False) for split in (splits.train, splits.test))


def head_accuracy(train: TensorDataset, test: TensorDataset, seed: int) -> float:
    """Train a new head on features and return its accuracy on the test split."""
    engine.set_seeds(seed)
    head = model_builder.head(model_builder.create_model("efficientnet_lite0", num_classes=NUM_CLASSES)[0])
    return _final_accuracy(head, DataLoader(train, BATCH_SIZE, shuffle=True), DataLoader(test, BATCH_SIZE), HEAD_EPOCHS)


def vgg_accuracy(train: TensorDataset, test: TensorDataset, seed: int) -> float:
    """Train TinyVGG from scratch and return its accuracy on the test split."""
    engine.set_seeds(seed)
    model = model_builder.TinyVGG(3, VGG_UNITS, NUM_CLASSES, image_size=VGG_SIZE)
    return _final_accuracy(model, DataLoader(train, BATCH_SIZE, shuffle=True), DataLoader(test, BATCH_SIZE), VGG_EPOCHS)


def _final_accuracy(model: nn.Module, train: DataLoader, test: DataLoader, epochs: int) -> float:
    """Train what learns in the model and return the last epoch's test accuracy."""
    learning = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.Adam(learning, lr=LEARNING_RATE)
    results = engine.train(model, train, test, optimizer, nn.CrossEntropyLoss(), epochs, "cpu", progress=False)
    return results["test_acc"][-1]


def small_images(splits: data_setup.Splits) -> Features:
    """Return both splits as tensors of small images."""
    small = v2.Compose([v2.Resize((VGG_SIZE, VGG_SIZE)), v2.ToImage(), v2.ToDtype(torch.float32, scale=True)])
    splits.train.transform = splits.test.transform = small
    return tuple(
        TensorDataset(torch.stack([image for image, _ in split]), torch.tensor(split.targets))
        for split in (splits.train, splits.test)
    )


def histogram(path: str) -> np.ndarray:
    """Return the share of pixels in each of BINS ** 3 boxes of colours."""
    with Image.open(path) as image:
        boxes = np.asarray(image.convert("RGB")).reshape(-1, 3).astype(int) * BINS // 256
    return np.bincount(boxes @ [BINS * BINS, BINS, 1], minlength=BINS**3) / len(boxes)


def linear_accuracy(train: tuple[np.ndarray, list], test: tuple[np.ndarray, list]) -> float:
    """Fit a logistic regression and return its accuracy on the test split."""
    return make_pipeline(StandardScaler(), LogisticRegression(max_iter=5000)).fit(*train).score(*test)


def histogram_accuracy(splits: data_setup.Splits) -> float:
    """Return the accuracy of a logistic regression on colour histograms."""
    pairs = [
        (np.stack([histogram(path) for path, _ in split.samples]), split.targets)
        for split in (splits.train, splits.test)
    ]
    return linear_accuracy(*pairs)


def manifest_accuracy(folder: Path) -> float:
    """Return the accuracy of a logistic regression on the manifest's table, tableware, props and light."""
    with (folder / "manifest.csv").open(newline="", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    facts = [
        {f"{column} {row[column]}": 1 for column in SCENE_COLUMNS}
        | Counter(f"prop {name}" for name in row["props"].split())
        for row in rows
    ]
    is_test = np.array([row["file"].startswith("test") for row in rows])
    labels, table = np.array([row["class"] for row in rows]), DictVectorizer(sparse=False).fit_transform(facts)
    return linear_accuracy((table[~is_test], labels[~is_test]), (table[is_test], labels[is_test]))


def over_seeds(measure: Callable[[int], float]) -> str:
    """Return mean and standard deviation of an accuracy over the seeds, in percent."""
    values = 100 * np.array([measure(seed) for seed in range(SEEDS)])
    return f"{values.mean():.1f} ± {values.std(ddof=1):.1f}"


def measure_sample(folder: Path) -> tuple[list[Row], Features]:
    """Return the baselines on the sample, and its features."""
    splits = data_setup.load_splits(folder)
    images = small_images(splits)
    rows = [
        (
            f"TinyVGG from scratch, {VGG_SIZE} px, {VGG_EPOCHS} epochs",
            over_seeds(lambda seed: vgg_accuracy(*images, seed)),
        ),
        (f"colour histogram {BINS}x{BINS}x{BINS}, logistic regression", f"{100 * histogram_accuracy(splits):.1f}"),
    ]
    both = lite0_features(splits)
    rows.insert(
        0, (f"EfficientNet-Lite0, head only, {HEAD_EPOCHS} epochs", over_seeds(lambda seed: head_accuracy(*both, seed)))
    )
    return rows, both


def measure_shortcuts(folder: Path, without_food: Path | None) -> list[Row]:
    """Return what can be told from everything but the food."""
    rows = [
        (
            "manifest's table, tableware, props, light and camera, logistic regression",
            f"{100 * manifest_accuracy(folder):.1f}",
        )
    ]
    if without_food:
        empty = lite0_features(data_setup.load_splits(without_food))
        rows.append(
            ("EfficientNet-Lite0 head on the scenes without food", over_seeds(lambda seed: head_accuracy(*empty, seed)))
        )
    return rows


def measure_photos(sample: Features, photos: Path) -> list[Row]:
    """Return how heads cross over between the sample and real photos."""
    real = lite0_features(data_setup.load_splits(photos))
    whole_sample = TensorDataset(*(torch.cat(pair) for pair in zip(*(split.tensors for split in sample), strict=True)))
    return [
        ("trained on photos, tested on photos", over_seeds(lambda seed: head_accuracy(*real, seed))),
        (
            "trained on the sample, tested on the photos' test split",
            over_seeds(lambda seed: head_accuracy(sample[0], real[1], seed)),
        ),
        (
            "trained on photos, tested on all 300 of the sample",
            over_seeds(lambda seed: head_accuracy(real[0], whole_sample, seed)),
        ),
    ]


def to_markdown(title: str, rows: list[Row]) -> str:
    """Return a table of accuracies."""
    lines = [f"| {title} | accuracy, % |", "|---|---|", *(f"| {name} | {value} |" for name, value in rows)]
    return "\n".join(lines)


def write_into(readme: Path, text: str) -> None:
    """Replace what stands between the README's markers."""
    before, _, rest = readme.read_text(encoding="utf-8").partition(START)
    readme.write_text(f"{before}{START}\n{text}\n{END}{rest.partition(END)[2]}", encoding="utf-8")


def main() -> None:
    """Print the tables and, if asked to, write them into the README."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0], allow_abbrev=False)
    parser.add_argument("folder", type=Path, help="folder of the sample")
    parser.add_argument("--without-food", type=Path, help="the same scenes without food (not measured)")
    parser.add_argument("--photos", type=Path, help="folder or zip of real photos (not measured)")
    parser.add_argument("--write", action="store_true", help="put the tables into the sample's README.md")
    args = parser.parse_args()

    rows, sample = measure_sample(args.folder)
    tables = [to_markdown("on the sample's test split", rows)]
    tables.append(to_markdown("shortcut check: near 33 is good", measure_shortcuts(args.folder, args.without_food)))
    if args.photos:
        tables.append(to_markdown("EfficientNet-Lite0 head, sample and photos", measure_photos(sample, args.photos)))
    text = "\n\n".join(tables)
    print(text)
    if args.write:
        write_into(args.folder / "README.md", text)


if __name__ == "__main__":
    main()
