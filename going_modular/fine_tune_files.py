"""What a run of fine_tune.py writes when it is finished."""

from typing import TYPE_CHECKING

import torch

from going_modular import checkpoint, metrics, runs, settings_file, watch
from going_modular import weights as pretrained

if TYPE_CHECKING:
    from going_modular.fine_tune_job import Job

FILES = (
    "model.safetensors",
    "metrics.json",
    "settings.json",
    "loss_curves.png",
    "predictions.png",
    "confusion_matrix.png",
    "checkpoints",
    "tensorboard",
)


def write(job: "Job", histories: dict[str, dict[str, list[float]]], logits: torch.Tensor) -> None:
    """Write the model, the measures and the figures, and print what came out.

    Args:
        job: the run; its model has the best weights.
        histories: of each stage, by its name.
        logits: (N, C), of the test images.
    """
    settings, splits = job.settings, job.splits
    test = metrics.evaluate(logits, splits.test.targets)
    checkpoint.save(
        job.output / "model.safetensors",
        job.model,
        model_name=settings.model,
        weights=settings.weights,
        class_names=splits.class_names,
        metrics=test,
        precision=job.feature_precision,
    )
    history = histories[job.stages[-1].name]
    matrix = test["confusion_matrix"]
    runs.write_figures(job.output, history, splits.test, logits, matrix, seed=settings.seed)
    job.clock.lap("files")
    best = min(range(len(history["val_loss"])), key=history["val_loss"].__getitem__)
    summary = {
        "model": settings.model,
        "weights": pretrained.describe(settings.model, settings.weights),
        "data": splits.name,
        "class_names": splits.class_names,
        "n_train": len(splits.train),
        "n_val": len(splits.validation),
        "n_test": len(splits.test),
        "recipe": settings.recipe,
        "epochs": len(history["val_loss"]),
        "best_epoch": best + 1,
        "batch_size": settings.batch_size,
        "seed": settings.seed,
        "device": job.device,
        "devices": settings.devices * settings.nodes,
        "precision": job.precision,
        "history": history,
        "earlier_stages": {stage.name: histories[stage.name] for stage in job.stages[:-1]},
        "majority_baseline": metrics.majority_baseline(splits.train.targets, splits.test.targets),
        "seconds": job.clock.seconds,
        "versions": runs.versions(),
        "val_accuracy": history["val_acc"][best],
        "test_loss": test["loss"],
        "test_accuracy": test["accuracy"],
        "test_accuracy_interval": test["accuracy_interval"],
        "confusion_matrix": matrix,
    }
    watch.log_results(
        job.output / "tensorboard",
        settings_file.content(settings),
        {name: summary[name] for name in ("val_accuracy", "test_accuracy", "test_loss")},
    )
    runs.write_json(job.output / "metrics.json", summary)  # last: a run that has it is finished
    _report(job, summary)


def _report(job: "Job", summary: dict) -> None:
    low, high = summary["test_accuracy_interval"]
    print(
        f"Best epoch: {summary['best_epoch']} of {summary['epochs']}, by validation loss; its validation accuracy is "
        f"{summary['val_accuracy']:.3f}"
    )
    print(
        f"Test accuracy: {summary['test_accuracy']:.3f} (95% interval {low:.3f} to {high:.3f}, "
        f"{summary['n_test']} images); the majority class scores {summary['majority_baseline']:.3f}"
    )
    print("Time: " + ", ".join(f"{part} {seconds:.2f} s" for part, seconds in summary["seconds"].items()))
    print("Wrote:", *(f"  {job.output / name}" for name in FILES), sep="\n")
