"""Finished runs, as their folders tell them: what was trained, how well it did, and on which test images."""

import hashlib
import math
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from safetensors import SafetensorError, safe_open

from going_modular.common import files, strict_json
from going_modular.common.errors import InputError
from going_modular.models import pretrained
from going_modular.saving import checkpoint_header, run_folder

NOT_KNOWN = ""  # of test images: the checkpoint is an older one, damaged, or not there
TEST_DIGESTS = f"{checkpoint_header.DIGESTS}test"
KEY_DIGITS = 8  # of the SHA-256 over the digests of the test images
LONGEST = 100_000  # epochs of a curve that is drawn


@dataclass(frozen=True)
class Run:
    """A finished run."""

    folder: Path
    data: str
    model: str
    recipe: str
    epochs: int
    accuracy: float  # on the test images
    interval: tuple[float, float]  # 95%
    n_test: int
    seconds: float
    history: dict[str, list[float]]
    parameters: int | None  # of the whole model; None where it cannot be built here
    file_bytes: int | None  # of the checkpoint; None where there is none
    test_images: str  # the same for the same images, or NOT_KNOWN

    @property
    def checkpoint(self) -> Path:
        """Where its checkpoint is."""
        return self.folder / run_folder.MODEL


def find(folders: list[Path]) -> tuple[list[Run], list[str]]:
    """Return the finished runs in some folders, at any depth, and a line for each folder that has none to show.

    Raises:
        InputError: there is no such folder, or no finished run in any.
    """
    found, notes = [], []
    for folder in folders:
        if not folder.is_dir():
            raise InputError(f"{str(folder)!r} is no folder; name one with runs, such as {run_folder.RUNS}")
        for place in _places(folder):
            try:
                found.append(read(place))
            except InputError as error:
                notes.append(str(error))
    if not found:
        where = ", ".join(repr(str(folder)) for folder in folders)
        raise InputError(f"No finished run in {where}; train.py makes one" + (f" ({notes[0]})" if notes else ""))
    return found, notes


def read(folder: Path) -> Run:
    """Read a finished run's metrics.json and what its checkpoint says.

    Raises:
        InputError: it is not finished, or its metrics.json is damaged.
    """
    path = folder / run_folder.METRICS
    try:
        told = strict_json.loads(files.read_bytes(path, most=run_folder.MOST_METRICS_BYTES))
    except (OSError, ValueError) as error:
        raise InputError(f"{str(path)!r} cannot be read ({error}); left out") from error
    told = told if isinstance(told, dict) else {}
    if told.get("interrupted"):
        raise InputError(f"{str(folder)!r} was interrupted and never tested; left out")
    try:
        run = Run(
            folder=folder,
            data=_text(told["data"]),
            model=_text(told["model"]),
            recipe=_recipe(told),
            epochs=_count(told["epochs"]),
            accuracy=_share(told["test_accuracy"]),
            interval=(_share(told["test_accuracy_interval"][0]), _share(told["test_accuracy_interval"][1])),
            n_test=_count(told["n_test"]),
            seconds=_number(told["seconds"]["total"]),
            history=_history(told["history"]),
            **_of_checkpoint(folder / run_folder.MODEL),
        )
    except (KeyError, TypeError, ValueError, IndexError, OverflowError) as error:
        raise InputError(f"{str(path)!r} is not a finished run's; left out") from error
    return run


def _places(folder: Path) -> Iterator[Path]:
    """Yield the folders that hold a metrics.json, in order; links to folders are not followed."""
    for place, inner, names in os.walk(folder):
        if run_folder.METRICS in names:
            yield Path(place)
            inner.clear()  # what a run has in it is its own
        inner[:] = sorted(name for name in inner if not files.is_hidden(name))


def _of_checkpoint(path: Path) -> dict[str, object]:
    """Return what a checkpoint tells of its model and its test images; nothing is built, nothing fetched."""
    unknown = {"parameters": None, "file_bytes": None, "test_images": NOT_KNOWN}
    try:
        header = checkpoint_header.read(path)
        with safe_open(path, framework="np") as file:
            digests = file.get_tensor(TEST_DIGESTS).tobytes() if TEST_DIGESTS in header.shapes else None
        size = path.stat().st_size
    except (InputError, SafetensorError, OSError):
        return unknown
    described = header.described
    return {
        "parameters": _parameters(described["model"], len(described["class_names"]), str(described["weights"])),
        "file_bytes": size,
        "test_images": hashlib.sha256(digests).hexdigest()[:KEY_DIGITS] if digests else NOT_KNOWN,
    }


@cache
def _parameters(model: str, num_classes: int, weights: str) -> int | None:
    """Count the parameters of a model; None where this computer does not know it."""
    try:
        try:
            entry = pretrained.named_entry(model, weights)
        except InputError:  # a local file's, or none: those of its default weights
            entry = pretrained.entry(model, None)
        return sum(tensor.numel() for tensor in checkpoint_header.skeleton(model, num_classes, entry).parameters())
    except InputError:
        return None


def _recipe(told: Mapping) -> str:
    recipe = _text(told.get("recipe", "head"))
    return f"{recipe}, augmented" if told.get("augment") is True else recipe


def _history(told: object) -> dict[str, list[float]]:
    """Return curves of numbers; a loss that was not finite, null in JSON, is not a number."""
    if not isinstance(told, dict):
        raise TypeError("no curves")
    return {
        _text(name): [math.nan if value is None else _number(value) for value in values[:LONGEST]]
        for name, values in told.items()
    }


def _text(value: object) -> str:
    if not isinstance(value, str) or len(value) > checkpoint_header.LONGEST_NAME:
        raise TypeError("no text")
    return value


def _number(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError("no number")
    if not math.isfinite(number := float(value)):
        raise ValueError("no finite number")
    return number


def _share(value: object) -> float:
    if not 0 <= (number := _number(value)) <= 1:
        raise ValueError("no share")
    return number


def _count(value: object) -> int:
    if type(value) is not int or not 0 < value < 2**53:
        raise TypeError("no count")
    return value
