"""What a run writes: its folder, its metrics and its figures; each file whole or not at all."""

import json
import platform
import random
import time
from collections.abc import Sequence
from datetime import datetime
from importlib.metadata import version
from pathlib import Path

import torch

from going_modular import images, plots
from going_modular.errors import InputError
from going_modular.image_folder import ImageFolder

RUNS = Path("runs")  # in the current folder
GRID_IMAGES = 12


class Clock:
    """Seconds spent in each part of a run, and in all of it."""

    def __init__(self) -> None:
        self._start = self._last = time.perf_counter()
        self._seconds: dict[str, float] = {}

    def lap(self, part: str) -> None:
        """Count the time since the last lap for a part."""
        now = time.perf_counter()
        self._seconds[part] = self._seconds.get(part, 0.0) + now - self._last
        self._last = now

    @property
    def seconds(self) -> dict[str, float]:
        """Seconds a part, in order, and `total` since the start."""
        return {**self._seconds, "total": time.perf_counter() - self._start}


def make_folder(model_name: str) -> Path:
    """Make a new folder under runs/; of runs that end at the same moment each gets its own."""
    stem = f"{datetime.now():%Y%m%d-%H%M%S}-{model_name}"
    folder, count = RUNS / stem, 1
    while True:
        try:
            folder.mkdir(parents=True)
            return folder
        except FileExistsError:
            count += 1
            folder = RUNS / f"{stem}-{count}"


def newest_checkpoint() -> Path:
    """Return the checkpoint of the newest run in the current folder.

    Raises:
        InputError: there is none.
    """
    found = [path for path in RUNS.glob("*/model.safetensors") if path.is_file()]
    if not found:
        raise InputError("No runs/*/model.safetensors here; run train.py first, or name a --checkpoint")
    return max(found, key=lambda path: path.stat().st_mtime_ns)


def write_json(path: Path, content: dict) -> None:
    """Write JSON in one step.

    Raises:
        InputError: the file cannot be written.
    """
    write_bytes(path, (json.dumps(content, ensure_ascii=False, indent=2) + "\n").encode("utf-8"))


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file in one step.

    Raises:
        InputError: the file cannot be written.
    """
    temporary = path.with_name(f"{path.name}.part")
    try:
        temporary.write_bytes(content)
        temporary.replace(path)
    except OSError as error:
        raise InputError(f"Cannot write {str(path)!r}: {error.strerror or error}; name another folder") from error


def write_figures(
    folder: Path,
    results: dict[str, list[float]],
    test: ImageFolder,
    logits: torch.Tensor,
    matrix: Sequence[Sequence[int]],
    *,
    seed: int,
) -> None:
    """Draw a run: its curves, predictions on some test images, its confusion matrix.

    Args:
        folder: where to.
        results: as `engine.train` returns them.
        test: N test images.
        logits: (N, C), in the order of `test`.
        matrix: (C, C), as `metrics.evaluate` returns it.
        seed: of the choice of images, drawn from a generator of its own.
    """
    plots.save(plots.loss_curves(results), folder / "loss_curves.png")
    plots.save(plots.confusion_matrix(matrix, test.classes), folder / "confusion_matrix.png")
    chosen = sorted(random.Random(seed).sample(range(len(test)), min(GRID_IMAGES, len(test))))
    probabilities, labels = logits[chosen].softmax(dim=1).max(dim=1)
    figure = plots.prediction_grid(
        [images.open_image(test.samples[i][0]) for i in chosen],
        [test.classes[label] for label in labels],
        probabilities.tolist(),
        [test.classes[test.targets[i]] for i in chosen],
    )
    plots.save(figure, folder / "predictions.png")


def versions() -> dict[str, str]:
    """Return the versions of what computed the numbers."""
    packages = ("torch", "torchvision", "pillow", "scikit-learn", "numpy")
    return {"python": platform.python_version(), **{name: version(name) for name in packages}}
