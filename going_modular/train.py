"""Train a new head on a frozen, pretrained backbone.

    python going_modular/train.py
    python going_modular/train.py --data photos.zip --model efficientnet_lite0 --epochs 10 --lr 0.003

Imports of torch wait until they are needed, so that `--help` comes at once.
"""

import copy
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from going_modular import cli

if TYPE_CHECKING:
    import torch
    from torch.utils.data import DataLoader

    from going_modular.data_setup import Splits
    from going_modular.runs import Clock

DEFAULT_MODEL, OFFLINE_MODEL = "efficientnet_b0", "efficientnet_lite0"
FILES = ("model.safetensors", "metrics.json", "loss_curves.png", "predictions.png", "confusion_matrix.png")


@dataclass(frozen=True)
class Settings:
    """What a run is made with; the command's flags mirror it."""

    data: str | None = None  # None: the photos, or the bundled sample where they cannot be had
    model: str | None = None  # None: EfficientNet-B0, or Lite0 where B0's weights cannot be had
    weights: str | None = "DEFAULT"  # None: random
    epochs: int = 5
    batch_size: int = 32
    lr: float = 1e-3
    seed: int = 42
    device: str = "auto"
    precision: str = "auto"
    augment: bool = False
    cache: bool = True
    output: Path | None = None  # None: a new folder under runs/


@dataclass(frozen=True)
class Job:
    """A run that is about to start: the settings, resolved."""

    settings: Settings
    model_name: str
    model: "torch.nn.Module"
    splits: "Splits"
    device: str
    precision: str
    output: Path


def run(settings: Settings) -> Path:
    """Train a head, test it, write the run's files and return their folder.

    Raises:
        InputError: settings or data that cannot be used, before anything was written.
        KeyboardInterrupt: Ctrl-C; its message says what was kept.
    """
    from going_modular import metrics, model_builder, runs

    clock = runs.Clock()
    job = _prepare(settings, clock)
    fit = _fit_images if settings.augment else _fit_features
    results, test_features = fit(job, clock)

    logits = model_builder.logits(job.model, test_features)
    test = metrics.evaluate(logits, job.splits.test.targets)
    clock.lap("head")
    _save_checkpoint(job, test)
    runs.write_figures(job.output, results, job.splits.test, logits, test["confusion_matrix"], seed=settings.seed)
    clock.lap("files")
    summary = _summary(job, results, clock) | {
        "test_loss": test["loss"],
        "test_accuracy": test["accuracy"],
        "test_accuracy_interval": test["accuracy_interval"],
        "confusion_matrix": test["confusion_matrix"],
    }
    runs.write_json(job.output / "metrics.json", summary)
    _report(job, summary)
    return job.output


def _prepare(settings: Settings, clock: "Clock") -> Job:
    """Find data and weights and build the model; nothing is written but a new, empty output folder."""
    from going_modular import data_setup, engine, features, model_builder, runs

    if settings.output:
        cli.check_writable(settings.output)
    device = cli.choose_device(settings.device)
    splits = data_setup.load_splits(settings.data, seed=settings.seed)
    print(f"Data: {splits.name}, {splits.origin}; {len(splits.train)} training and {len(splits.test)} test images")
    clock.lap("data")

    name = settings.model
    if name is None and settings.weights == "DEFAULT":
        name = model_builder.first_available(DEFAULT_MODEL, OFFLINE_MODEL)
    name = name or DEFAULT_MODEL
    engine.set_seeds(settings.seed)
    model, transform = model_builder.create_model(name, len(splits.class_names), weights=settings.weights)
    splits.train.transform = splits.test.transform = transform
    precision = features.resolve_precision(settings.precision, device)
    clock.lap("model")
    output = settings.output or runs.new_folder(name)
    return Job(settings, name, model.to(device), splits, device, precision, output)


def _fit_features(job: Job, clock: "Clock") -> tuple[dict[str, list[float]], "torch.Tensor"]:
    """Run the backbone once over every image, then train the head on its features."""
    from torch.utils.data import ConcatDataset, TensorDataset

    from going_modular import data_setup, download, features, model_builder

    settings, splits = job.settings, job.splits
    try:
        # both splits in one pass: the processes start once
        values, labels = features.extract(
            job.model,
            ConcatDataset([splits.train, splits.test]),
            device=job.device,
            precision=job.precision,
            cache=settings.cache,
        ).tensors
    except KeyboardInterrupt:
        kept = f"the features so far are kept in {download.cache_folder()}" if settings.cache else "nothing was kept"
        raise KeyboardInterrupt(kept) from None
    clock.lap("features")
    train, test = (
        TensorDataset(values[part], labels[part]) for part in (slice(len(splits.train)), slice(len(splits.train), None))
    )
    loaders = data_setup.make_loaders(train, test, batch_size=settings.batch_size, num_workers=0)
    return _train(job, model_builder.head(job.model), loaders, clock), test.tensors[0]


def _fit_images(job: Job, clock: "Clock") -> tuple[dict[str, list[float]], "torch.Tensor"]:
    """Train on augmented images by the usual loop: the backbone runs in every epoch."""
    from going_modular import data_setup, features, images
    from going_modular.errors import InputError

    splits = job.splits
    if problems := images.find_unreadable([path for path, _ in splits.train.samples + splits.test.samples]):
        raise InputError(f"{len(problems)} unreadable: {'; '.join(problems)}")
    clock.lap("data")
    splits.train.transform = data_setup.augment(splits.test.transform)
    loaders = data_setup.make_loaders(splits.train, splits.test, batch_size=job.settings.batch_size)
    results = _train(job, job.model, loaders, clock)
    extracted = features.extract(job.model, splits.test, device=job.device, precision=job.precision, cache=False)
    clock.lap("features")
    return results, extracted.tensors[0]


def _train(
    job: Job, module: "torch.nn.Module", loaders: tuple["DataLoader", "DataLoader"], clock: "Clock"
) -> dict[str, list[float]]:
    """Train what learns in a module; on Ctrl-C keep the last finished epoch."""
    import torch
    from torch import nn

    from going_modular import engine, model_builder, runs

    head = model_builder.head(job.model)
    finished: dict = {}

    def remember(results: dict[str, list[float]]) -> None:
        finished.update(results=copy.deepcopy(results), head=copy.deepcopy(head.state_dict()))

    optimizer = torch.optim.Adam(head.parameters(), lr=job.settings.lr)
    # cached features already are in the precision that was asked for
    autocast_dtype = torch.bfloat16 if module is job.model and job.precision == "bf16" else None
    try:
        results = engine.train(
            module,
            *loaders,
            optimizer,
            nn.CrossEntropyLoss(),
            job.settings.epochs,
            job.device,
            autocast_dtype=autocast_dtype,
            on_epoch_end=remember,
        )
    except KeyboardInterrupt:
        if not finished:
            raise KeyboardInterrupt("no epoch was finished, nothing was kept") from None
        head.load_state_dict(finished["head"])
        clock.lap("head")
        _save_checkpoint(job, {"interrupted": True})
        runs.write_json(job.output / "metrics.json", _summary(job, finished["results"], clock) | {"interrupted": True})
        epochs = len(finished["results"]["train_loss"])
        raise KeyboardInterrupt(f"{epochs} finished epochs are kept in {job.output}") from None
    clock.lap("head")
    return results


def _save_checkpoint(job: Job, metrics: dict) -> None:
    from going_modular import checkpoint

    job.output.mkdir(parents=True, exist_ok=True)
    checkpoint.save(
        job.output / "model.safetensors",
        job.model,
        model_name=job.model_name,
        weights=job.settings.weights,
        class_names=job.splits.class_names,
        metrics=metrics,
        precision=job.precision,
    )


def _summary(job: Job, results: dict[str, list[float]], clock: "Clock") -> dict:
    """Return what metrics.json says of any run, finished or not."""
    from going_modular import metrics, runs, weights

    settings, splits = job.settings, job.splits
    return {
        "model": job.model_name,
        "weights": weights.describe(job.model_name, settings.weights),
        "data": splits.name,
        "class_names": splits.class_names,
        "n_train": len(splits.train),
        "n_test": len(splits.test),
        "epochs": len(results["train_loss"]),
        "batch_size": settings.batch_size,
        "lr": settings.lr,
        "augment": settings.augment,
        "seed": settings.seed,
        "device": job.device,
        "precision": job.precision,
        "history": results,
        "majority_baseline": metrics.majority_baseline(splits.train.targets, splits.test.targets),
        "seconds": clock.seconds,
        "versions": runs.versions(),
    }


def _report(job: Job, summary: dict) -> None:
    low, high = summary["test_accuracy_interval"]
    print(
        f"Test accuracy: {summary['test_accuracy']:.3f} (95% interval {low:.3f} to {high:.3f}, "
        f"{summary['n_test']} images); the majority class scores {summary['majority_baseline']:.3f}"
    )
    print("Time: " + ", ".join(f"{part} {seconds:.2f} s" for part, seconds in summary["seconds"].items()))
    print("Wrote:", *(f"  {job.output / name}" for name in FILES), sep="\n")


def _parser() -> cli.ArgumentParser:
    parser = cli.ArgumentParser(prog="train.py", description="Train a new head on a frozen, pretrained backbone.")
    add, default = parser.add_argument, Settings()
    add(
        "--data",
        help="pizza_steak_sushi, pizza_steak_sushi_20_percent or sample; a folder with train/ and test/; a folder of "
        "class folders, split 80/20; or a zip of either. None: the photos, or the sample where they cannot be had",
    )
    add(
        "--model",
        help="a torchvision classifier, or efficientnet_lite0. None: efficientnet_b0, or Lite0 where "
        "B0's weights cannot be had",
    )
    add("--weights", default=default.weights, help="a torchvision weights name, a local file of them, or none (random)")
    add("--epochs", type=cli.positive_int, default=default.epochs, help="passes over the training images")
    add("--batch-size", type=cli.positive_int, default=default.batch_size, help="images an update")
    add("--lr", type=cli.positive_float, default=default.lr, help="Adam's learning rate")
    add("--seed", type=cli.seed, default=default.seed, help="of the head, the shuffling and the 80/20 split")
    add("--device", default=default.device, help="auto, cpu, cuda, cuda:1 or mps")
    add(
        "--precision",
        choices=("auto", "fp32", "bf16"),
        default=default.precision,
        help="of the backbone; auto: bf16 where the device is built for it",
    )
    add("--augment", action="store_true", help="augment training images: the usual loop, without cached features")
    add("--no-cache", dest="cache", action="store_false", help="neither read nor write the features kept on disk")
    add("--output", type=Path, metavar="DIR", help="folder to write. None: a new one under runs/")
    return parser


def _main(arguments: Sequence[str] | None = None) -> None:
    options = vars(_parser().parse_args(arguments))
    if options["weights"].lower() == "none":
        options["weights"] = None
    run(Settings(**options))


def main() -> None:
    """Run the command."""
    sys.exit(cli.run(_main, "train.py"))


if __name__ == "__main__":
    main()
