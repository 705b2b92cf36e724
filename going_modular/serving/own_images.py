"""The images of a checkpoint's run, found again by those who measure what became of the model."""

import random
from pathlib import Path

from going_modular import data_setup
from going_modular.common.seeds import DEFAULT_SEED
from going_modular.data import images
from going_modular.data.image_folder import ImageFolder
from going_modular.data.splits import Splits
from going_modular.evaluation.selection import Selection, is_own, select
from going_modular.saving import run_folder
from going_modular.saving.checkpoint import Checkpoint


def test_images(file: Path, loaded: Checkpoint, data: str | None = None) -> tuple[Splits, Selection]:
    """Return the data of a checkpoint's run, split as it was for training, and its test images, as evaluate.py does.

    Args:
        file: the checkpoint.
        loaded: what it holds.
        data: as for train.py; None for that of the checkpoint's run.

    Raises:
        InputError: the data is not here, cannot be used, or has no image that the model has not seen.
    """
    known = loaded.trained_on
    data = data or run_folder.data_of(file, known)
    splits = data_setup.load_splits(data, seed=DEFAULT_SEED)
    if is_own(splits, known):
        rule = known.rule
        splits = data_setup.load_splits(data, seed=rule.seed, validation=rule.validation, group_by=rule.group_by)
    return splits, select(splits, known, "test")


def training_images(splits: Splits, loaded: Checkpoint, most: int) -> ImageFolder:
    """Return at most so many training images, drawn by a seed.

    Raises:
        InputError: one of them cannot be read.
    """
    training = select(splits, loaded.trained_on, "train").images
    chosen = sorted(random.Random(DEFAULT_SEED).sample(range(len(training)), min(most, len(training))))
    drawn = training.subset(chosen)
    images.check_readable([path for path, _ in drawn.samples])
    return drawn


def in_turns(images: ImageFolder, most: int) -> list[Path]:
    """Return at most so many image files, of each class in turn."""
    by_class = [[path for path, label in images.samples if label == c] for c in range(len(images.classes))]
    turns = [paths[turn] for turn in range(most) for paths in by_class if turn < len(paths)]
    return [Path(path) for path in turns[:most]]
