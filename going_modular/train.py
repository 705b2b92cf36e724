"""Train a new head on a frozen, pretrained backbone.

    python going_modular/train.py
    python going_modular/train.py --data photos.zip --model efficientnet_lite0 --epochs 10 --lr 0.003

Imports of torch wait until they are needed, so that `--help` comes at once.
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from going_modular import cli

if TYPE_CHECKING:
    from going_modular.head_training import Job
    from going_modular.runs import Clock

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


def run(settings: Settings) -> Path:
    """Train a head, test it, write the run's files and return their folder.

    Raises:
        InputError: settings or data that cannot be used, before anything was written.
        KeyboardInterrupt: Ctrl-C; its message says what was kept.
    """
    from going_modular import head_training, runs

    clock = runs.Clock()
    job = head_training.prepare(settings, clock)
    try:
        summary = _fit_and_write(job, clock)
    except KeyboardInterrupt:
        if not job.finished:
            raise
        raise KeyboardInterrupt(_keep_finished(job, clock)) from None
    _report(job, summary)
    return job.output


def _fit_and_write(job: "Job", clock: "Clock") -> dict:
    """Train, test and write the run's files; return what metrics.json says."""
    from going_modular import head_training, metrics, model_builder, runs

    results, test_features = head_training.fit(job, clock)

    logits = model_builder.logits(job.model, test_features)
    test = metrics.evaluate(logits, job.splits.test.targets)
    clock.lap("head")
    _save_checkpoint(job, test)
    runs.write_figures(job.output, results, job.splits.test, logits, test["confusion_matrix"], seed=job.settings.seed)
    clock.lap("files")
    summary = _summary(job, results, clock) | {
        "test_loss": test["loss"],
        "test_accuracy": test["accuracy"],
        "test_accuracy_interval": test["accuracy_interval"],
        "confusion_matrix": test["confusion_matrix"],
    }
    runs.write_json(job.output / "metrics.json", summary)
    return summary


def _keep_finished(job: "Job", clock: "Clock") -> str:
    """Write the model as the last finished epoch left it; return what is kept, and where."""
    from going_modular import model_builder, runs

    results = job.finished["results"]
    model_builder.head(job.model).load_state_dict(job.finished["head"])
    clock.lap("head")
    _save_checkpoint(job, {"interrupted": True})
    runs.write_json(job.output / "metrics.json", _summary(job, results, clock) | {"interrupted": True})
    return f"epochs 1 to {len(results['train_loss'])} are kept in {job.output}"


def _save_checkpoint(job: "Job", metrics: dict) -> None:
    from going_modular import checkpoint

    checkpoint.save(
        job.output / "model.safetensors",
        job.model,
        model_name=job.model_name,
        weights=job.settings.weights,
        class_names=job.splits.class_names,
        metrics=metrics,
        precision=job.precision,
    )


def _summary(job: "Job", results: dict[str, list[float]], clock: "Clock") -> dict:
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


def _report(job: "Job", summary: dict) -> None:
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
        help="a torchvision classifier, efficientnet_lite0, or hybrid_ before an EfficientNet's name. None: "
        "efficientnet_b0, or Lite0 where B0's weights cannot be had",
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
