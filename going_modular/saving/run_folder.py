"""A run's folder: where it is, and what a finished run writes into it, each file whole or not at all."""

import contextlib
import copy
import platform
import random
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import nn

from going_modular import model_builder
from going_modular.common import files, strict_json
from going_modular.common.errors import InputError
from going_modular.data import images, sources
from going_modular.data.provenance import Provenance
from going_modular.data.splits import Splits
from going_modular.models import pretrained
from going_modular.saving import checkpoint

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

RUNS = Path("runs")  # in the current folder
GRID_IMAGES = 12
MODEL, METRICS, TENSORBOARD = "model.safetensors", "metrics.json", "tensorboard"
FILES = (MODEL, METRICS, "loss_curves.png", "predictions.png", "confusion_matrix.png", TENSORBOARD)
MOST_METRICS_BYTES = 2**25  # of a metrics.json that is read
EVALUATION = "evaluation"  # where evaluate.py writes, beside the model


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

    def skip(self) -> None:
        """Leave out the time since the last lap, of the total, too: nothing of the run happened in it."""
        now = time.perf_counter()
        self._start += now - self._last
        self._last = now

    @property
    def seconds(self) -> dict[str, float]:
        """Seconds a part, in order, and `total` since the start."""
        return {**self._seconds, "total": time.perf_counter() - self._start}


@dataclass(frozen=True)
class Trained:
    """A classifier that was trained, and what with: all that a run's files say but for what came out."""

    model: nn.Module  # as `model_builder.create_model` builds it
    model_name: str
    weights: str | Path | None  # the backbone's, as `create_model` takes them
    precision: str  # of the features that its head knows: fp32 or bf16
    splits: Splits
    trained_on: Provenance  # the images of the splits, by their contents
    settings: Mapping[str, object]  # for metrics.json; `seed` is among them
    hyperparameters: Mapping[str, object]  # for TensorBoard's table of runs


def make(model_name: str, folder: Path | None = None) -> Path:
    """Make the folder of a run: the one named, or a new one under runs/, where each run gets its own."""
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
        return folder
    stem = f"{datetime.now():%Y%m%d-%H%M%S}-{model_name.replace('/', '-')}"  # timm/resnet18 is one name
    folder, count = RUNS / stem, 1
    while True:
        try:
            folder.mkdir(parents=True)
            return folder
        except FileExistsError:
            count += 1
            folder = RUNS / f"{stem}-{count}"


def check_output(folder: Path | None) -> None:
    """Raise where a new run cannot be written.

    Args:
        folder: the one named, or None for one under runs/.

    Raises:
        InputError: the folder cannot be written, or fine_tune.py could go on with the run in it.
    """
    files.check_writable(folder or RUNS)
    if folder:
        check_inside(folder)
    if folder and any((folder / "checkpoints").glob("*/last.ckpt")):
        raise InputError(
            f"Output folder {str(folder)!r} has a run: go on with --resume, or name another (fine_tune.py wrote it)"
        )


def check_inside(folder: Path) -> None:
    """Raise where what a run writes would land outside its folder.

    Raises:
        InputError: names the link that leads there.
    """
    files.refuse_links(folder, (*FILES, "settings.json", "checkpoints", EVALUATION))


def clear(folder: Path) -> None:
    """Remove what an earlier run left: its figures must not stand beside another's numbers.

    What no run writes stays.

    Raises:
        InputError: a file cannot be removed.
    """
    files.remove_known(folder, (METRICS, *FILES))  # METRICS first: a run that has it is finished
    files.remove_known(folder / EVALUATION, files.EVALUATION)
    written = [path.parent for path in (folder / TENSORBOARD).glob("*/events.out.tfevents.*")]
    for stage in set(written):
        names = [path.name for path in stage.glob("events.out.tfevents.*")]
        files.remove_known(stage, [*names, "hparams.yaml"])  # which Lightning writes
    for emptied in (folder / EVALUATION, *set(written), folder / TENSORBOARD):
        with contextlib.suppress(OSError):  # it is not there, or not empty
            emptied.rmdir()


def newest_checkpoint() -> Path:
    """Return the checkpoint of the newest run in the current folder.

    Raises:
        InputError: there is none.
    """
    checkpoints = [path for path in RUNS.glob(f"*/{MODEL}") if path.is_file()]
    if not checkpoints:
        raise InputError(f"No {RUNS}/*/{MODEL} here; run train.py first, or name a --checkpoint")
    return max(checkpoints, key=lambda path: path.stat().st_mtime_ns)


def data_of(file: Path, trained_on: Provenance | None) -> str | None:
    """Return the data that a checkpoint's run had, as its metrics.json says, else by the name in the checkpoint.

    None for a checkpoint that does not say: then the default data is meant.

    Raises:
        InputError: the data is not here.
    """
    if trained_on is None:
        return None
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        source = strict_json.loads(files.read_bytes(file.parent / METRICS, most=MOST_METRICS_BYTES))["data_source"]
        if sources.is_here(source):
            return source
    if sources.is_here(trained_on.data):
        return trained_on.data
    raise InputError(f"The data {trained_on.data!r} that {str(file)!r} was trained on is not here; name it with --data")


def finish(
    folder: Path,
    trained: Trained,
    history: dict[str, list[float]],
    logits: torch.Tensor,
    *,
    test: dict[str, object],
    measures: Mapping[str, object],
    clock: Clock,
) -> dict[str, object]:
    """Write what a finished run leaves: `FILES`.

    Args:
        folder: where to.
        trained: the model, and what it was trained with.
        history: values by epoch, as `engine.train` returns them.
        logits: (N, C), of the test images, in their order.
        test: of these logits, as `metrics.evaluate` returns it.
        measures: what else metrics.json says of the outcome, numbers by name.
        clock: of the run.

    Returns:
        What metrics.json says.

    Raises:
        InputError: a file cannot be written.
    """
    measures = dict(measures) | {f"test_{name}": test[name] for name in ("loss", "accuracy", "accuracy_interval")}
    save_checkpoint(folder, trained, test)
    _draw(folder, trained, history, logits, test["confusion_matrix"])
    _log_results(folder, trained.hyperparameters, measures)
    clock.lap("files")
    summary = summarize(trained, history, clock) | measures | {"confusion_matrix": test["confusion_matrix"]}
    files.write_json(folder / METRICS, summary)  # last: a run that has it is finished
    return summary


class KeepFinishedEpochs:
    """Keep what the finished epochs of a head's training gave, when Ctrl-C ends it in this context, or it diverges.

    Args:
        trained: the model, and what it is trained with.
        folder: to write into; None for a new one under runs/, made when it is needed.
        clock: of the run.
        diverged: the kind of error that says that a loss is not finite.
    """

    def __init__(self, trained: Trained, folder: Path | None, clock: Clock, *, diverged: type[InputError]) -> None:
        self.trained, self.folder, self.clock, self.diverged = trained, folder, clock, diverged
        self.history: dict[str, list[float]] | None = None
        self.is_folder_made = False

    def remember(self, history: dict[str, list[float]]) -> None:
        """Take note of a finished epoch: the history so far, and the head as it is."""
        self.history = copy.deepcopy(history)
        self.head = copy.deepcopy(model_builder.head(self.trained.model).state_dict())

    def make_folder(self) -> Path:
        """Make the run's folder, once, and clear it of an earlier run."""
        if not self.is_folder_made:
            self.folder = make(self.trained.model_name, self.folder)
            clear(self.folder)
            self.is_folder_made = True
        return self.folder

    def __enter__(self) -> "KeepFinishedEpochs":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, *_: object) -> None:
        """After an early end, write checkpoint and metrics.json, which say that the run was interrupted, and say so.

        Raises:
            KeyboardInterrupt, InputError: on Ctrl-C, or as a loss is not finite; the message says what was kept.
        """
        if kind is None or not issubclass(kind, KeyboardInterrupt | self.diverged) or self.history is None:
            return
        folder = self.make_folder()
        model_builder.head(self.trained.model).load_state_dict(self.head)
        self.clock.lap("head")
        save_checkpoint(folder, self.trained, {"interrupted": True})
        files.write_json(folder / METRICS, summarize(self.trained, self.history, self.clock) | {"interrupted": True})
        kept = f"epochs 1 to {len(self.history['train_loss'])} are kept in {folder}"
        if isinstance(error, KeyboardInterrupt):
            raise KeyboardInterrupt(kept) from None
        raise InputError(f"{error}; {kept}") from None


def save_checkpoint(folder: Path, trained: Trained, metrics: dict[str, object]) -> None:
    """Write the model into a run's folder, with what was measured of it."""
    checkpoint.save(
        folder / MODEL,
        trained.model,
        model_name=trained.model_name,
        weights=trained.weights,
        class_names=trained.splits.class_names,
        metrics=metrics,
        precision=trained.precision,
        trained_on=trained.trained_on,
    )


def summarize(trained: Trained, history: dict[str, list[float]], clock: Clock) -> dict[str, object]:
    """Return what metrics.json says of any run, finished or not."""
    splits = trained.splits
    parts = {"n_train": splits.train, "n_val": splits.validation, "n_test": splits.test}
    return {
        "model": trained.model_name,
        "weights": pretrained.describe(trained.model_name, trained.weights),
        "data": splits.name,
        "data_source": splits.source,
        "class_names": splits.class_names,
        **{name: len(part) for name, part in parts.items() if part is not None},
        "epochs": len(history["train_loss"]),
        **trained.settings,
        "split": asdict(splits.rule),
        "history": history,
        "seconds": clock.seconds,
        "versions": versions(),
    }


def report(folder: Path, summary: dict[str, object], written: Sequence[str] = FILES) -> str:
    """Return the lines that a finished run ends with: how good it is, how long it took, what it wrote."""
    low, high = summary["test_accuracy_interval"]
    return "\n".join(
        [
            f"Test accuracy: {summary['test_accuracy']:.3f} (95% interval {low:.3f} to {high:.3f}, "
            f"{summary['n_test']} images); the majority class scores {summary['majority_baseline']:.3f}",
            "Time: " + ", ".join(f"{part} {seconds:.2f} s" for part, seconds in summary["seconds"].items()),
            "Wrote:",
            *(f"  {folder / name}" for name in written),
        ]
    )


def log_history(folder: Path, stage: str, history: dict[str, list[float]], updates: int) -> None:
    """Write values by epoch for TensorBoard, as fine-tuning does while it trains.

    Args:
        folder: of the run.
        stage: what was trained, such as `head`: a curve of its own.
        history: values by epoch.
        updates: an epoch; the curves' x axis counts them.
    """
    with _summary_writer(folder / TENSORBOARD / stage) as writer:
        for name, values in history.items():
            for epoch, value in enumerate(values, start=1):
                writer.add_scalar(name, value, epoch * updates - 1)  # as Lightning counts


def versions() -> dict[str, str]:
    """Return the versions of what computed the numbers."""
    packages = ("torch", "torchvision", "pillow", "scikit-learn", "numpy")
    return {"python": platform.python_version(), **{name: version(name) for name in packages}}


def _draw(
    folder: Path,
    trained: Trained,
    history: dict[str, list[float]],
    logits: torch.Tensor,
    matrix: Sequence[Sequence[int]],
) -> None:
    """Draw the curves, the confusion matrix (C, C), and predictions on some test images."""
    from going_modular import plots  # late: it brings Matplotlib, and prediction needs none

    test = trained.splits.test
    plots.save(plots.loss_curves(history), folder / "loss_curves.png")
    plots.save(plots.confusion_matrix(matrix, test.classes), folder / "confusion_matrix.png")
    # from a generator of its own: training must not notice
    chosen = sorted(random.Random(trained.settings["seed"]).sample(range(len(test)), min(GRID_IMAGES, len(test))))
    probabilities, labels = logits[chosen].softmax(dim=1).max(dim=1)
    figure = plots.prediction_grid(
        [images.open_image(test.samples[i][0], short_side=plots.SQUARE) for i in chosen],
        [test.classes[label] for label in labels],
        probabilities.tolist(),
        [test.classes[test.targets[i]] for i in chosen],
    )
    plots.save(figure, folder / "predictions.png")


def _log_results(folder: Path, hyperparameters: Mapping[str, object], measures: Mapping[str, object]) -> None:
    """Write settings with what came of them, for TensorBoard's table of runs."""
    from torch.utils.tensorboard.summary import hparams

    numbers = {name: measures[name] for name in ("val_accuracy", "test_accuracy", "test_loss") if name in measures}
    with _summary_writer(folder / TENSORBOARD / "results") as writer:
        for part in hparams({name: str(value) for name, value in hyperparameters.items()}, numbers):
            writer.file_writer.add_summary(part)
        for name, value in numbers.items():
            writer.add_scalar(name, value, 0)


@contextlib.contextmanager
def _summary_writer(folder: Path) -> Iterator["SummaryWriter"]:
    """Open TensorBoard's writer in a folder of its own; what an earlier run left there goes."""
    from torch.utils.tensorboard import SummaryWriter

    try:
        for old in folder.glob("events.out.tfevents.*"):
            old.unlink()
        with SummaryWriter(folder) as writer:
            yield writer
    except OSError as error:
        raise InputError(f"Cannot write {str(folder)!r}: {error.strerror or error}; name another folder") from error
