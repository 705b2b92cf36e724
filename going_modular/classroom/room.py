"""A classroom: the album of one browser, the features of its images, and what was last trained on them."""

import logging
from collections.abc import Sequence
from concurrent.futures import Executor, Future, wait
from dataclasses import replace
from pathlib import Path

import torch

from going_modular.classroom import lesson, limits
from going_modular.classroom.album import ZIP, Added, Album, Picture
from going_modular.classroom.classifier import Backbone
from going_modular.classroom.lesson import Lesson
from going_modular.common.errors import InputError, listed
from going_modular.data.image_folder import ImageFolder
from going_modular.saving import run_folder

LOG = logging.getLogger(__name__)


class Classroom(Album):
    """An album, and a model that learns from it.

    Features are computed in the background, from when an image is added. Every method may be called from any thread.

    Args:
        folder: to make; nothing else writes there.
        backbone: that gives features.
        model_name: the backbone's name, as `create_model` takes it.
        workers: compute features, one batch after the other.
    """

    def __init__(self, folder: Path, backbone: Backbone, model_name: str, workers: Executor) -> None:
        super().__init__(folder)
        self.backbone, self.model_name, self.workers = backbone, model_name, workers
        self.lesson: Lesson | None = None
        self._features: dict[Path, torch.Tensor | str] = {}  # a row (D,), or what is wrong with the file
        self._pending: list[Future] = []

    def add(self, name: str | None, paths: Sequence[str | Path], *, from_burst: bool = False) -> Added:
        """Add files as an album does, and have their features computed."""
        with self._lock:
            added = super().add(name, paths, from_burst=from_burst)
            self._compute()
        return added

    def remove(self, name: str, index: int) -> Picture:
        """Remove one image as an album does, and its features."""
        with self._lock:
            picture = super().remove(name, index)
            self._features.pop(picture.path, None)
        return picture

    def train(self) -> Lesson:
        """Train a head on all images, as soon as their features are there, and remember it.

        Raises:
            InputError: says what is missing.
        """
        while (ready := self._ready()) is None:
            wait(self._pending)  # more may come meanwhile
        everything, values = ready
        taught = lesson.teach(everything, values, name=ZIP, model_name=self.model_name, backbone=self.backbone)
        with self._lock:
            self.lesson = taught
        return taught

    def save(self) -> tuple[Path, Path]:
        """Write the run of the last training, as train.py does, under runs/, and its images as a zip beside it.

        Returns:
            The checkpoint and the zip.

        Raises:
            InputError: nothing was trained, or images that it was trained on are gone, or runs/ cannot be written.
        """
        with self._lock:
            if self.lesson is None:
                raise InputError("Train first: there is no model to save yet")
            taught, splits = self.lesson, self.lesson.trained.splits
            parts = [splits.train] if taught.folds else [splits.train, splits.test]
            paths = [path for part in parts for path, _ in part.samples]
            if gone := [path for path in paths if not Path(path).is_file()]:
                raise InputError(f"{len(gone)} of the images that it was trained on were removed since; train again")
            run_folder.check_output(None)
            folder = run_folder.make(self.model_name)
            packed = self._pack(folder / ZIP, map(Path, paths))
            trained = replace(taught.trained, splits=replace(splits, source=str(packed.resolve())))
            taught.clock.skip()
            run_folder.log_history(folder, "head", taught.history, updates=taught.updates)
            run_folder.finish(
                folder, trained, taught.history, taught.logits, test=taught.test, measures=taught.measures,
                clock=taught.clock,
            )  # fmt: skip
        return folder / run_folder.MODEL, packed

    def close(self) -> None:
        """Forget all of it, on the disk, too."""
        with self._lock:
            super().close()
            self.lesson, self._features = None, {}

    def _ready(self) -> tuple[ImageFolder, torch.Tensor] | None:
        """Return all images with their features (N, D), or None where some are still computed.

        Raises:
            InputError: there is too little to train on, or an image has no features.
        """
        with self._lock:
            self._check_enough()
            self._pending = [future for future in self._pending if not future.done()]
            if self._pending:
                return None
            everything = ImageFolder(self._images)
            rows = [self._features[Path(path)] for path, _ in everything.samples]
            if unreadable := [row for row in rows if isinstance(row, str)]:
                raise InputError(listed(unreadable))
            return everything, torch.stack(rows)

    def _check_enough(self) -> None:
        """Raise where there is too little to train on."""
        if len(self.classes) < 2:
            has = f"there is only {next(iter(self.classes))!r}" if self.classes else "there is none yet"
            raise InputError(f"A classifier tells at least 2 classes apart, and {has}; add another, with images")
        scarce = [
            f"{len(pictures)} in {name!r}"
            for name, pictures in self.classes.items()
            if len(pictures) < limits.LEAST_IMAGES
        ]
        if scarce:
            raise InputError(f"Each class needs {limits.LEAST_IMAGES} images or more; there are {listed(scarce, ', ')}")

    def _compute(self) -> None:
        """Have features computed of what has none yet, in the background."""
        known = self._features.keys()
        new = [p.path for pictures in self.classes.values() for p in pictures if p.path not in known]
        if new:
            self._features |= {path: f"{path.name} has no features; remove and add it again" for path in new}
            self._pending.append(self.workers.submit(self._run, new))

    def _run(self, paths: Sequence[Path]) -> None:
        """Compute the features of files; those that were removed meanwhile are forgotten."""
        try:
            rows, problems = self.backbone.features(paths)
        except Exception:  # nobody waits for what this returns: it is told, and the images stay without features
            LOG.exception("Features of %d images failed", len(paths))
            return
        with self._lock:
            for index, path in enumerate(paths):
                if path in self._features:
                    self._features[path] = problems.get(index, rows[index])
