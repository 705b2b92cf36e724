"""Checks of notebook 01, Data and transforms."""

import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch.utils.data import Dataset

from going_modular.checks._check import Attempt, Check, describe

ROUNDING = 2  # of 255: two sound ways to mix colours differ by that much


@Check
def count_images(attempt: Attempt) -> None:
    """Check a function that counts the images of each class folder."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        _touch(root, "pizza/1.jpg", "pizza/2.jpg", "sushi/1.jpg")
        shown = "pizza/ with 2 images and sushi/ with 1"
        attempt.expect({"pizza": 2, "sushi": 1}, root, shown=shown, hint="a key a folder, its number of files")
        _touch(root, "pizza/notes.txt", "sushi/.DS_Store")
        attempt.expect(
            {"pizza": 2, "sushi": 1}, root, shown=f"{shown}, and a file of another kind in each", hint="see path.suffix"
        )
        _touch(root, "pizza/3.JPEG", "sushi/2.PNG")
        shown = "pizza/ with 1.jpg, 2.jpg, 3.JPEG and sushi/ with 1.jpg, 2.PNG"
        attempt.expect(
            {"pizza": 3, "sushi": 2}, root, shown=shown, hint="compare path.suffix.lower() with the three endings"
        )
        _touch(root, "readme.jpg")
        attempt.expect(
            {"pizza": 3, "sushi": 2},
            root,
            shown=f"{shown}, and readme.jpg beside them",
            hint="only folders are classes",
        )


@Check
def undo_normalise(attempt: Attempt) -> None:
    """Check a function that undoes the normalisation."""
    mean, std = [0.5, 0.4, 0.3], [0.2, 0.25, 0.5]
    generator = torch.Generator().manual_seed(0)
    for height, width in ((2, 5), (3, 3)):
        values = torch.rand(3, height, width, generator=generator)
        normalised = torch.stack([(values[c] - mean[c]) / std[c] for c in range(3)])
        attempt.expect(
            values,
            normalised,
            list(mean),
            list(std),
            shown=f"a picture of {height}x{width} pixels, mean {mean}, std {std}",
            hint="multiply by std, then add mean, both as tensors of shape (3, 1, 1)",
        )


@Check
def put_on_white(attempt: Attempt) -> None:
    """Check a function that puts transparent images on white."""
    for alpha, what in ((255, "opaque"), (0, "fully transparent"), (128, "half-transparent")):
        found = attempt(Image.new("RGBA", (4, 3), (200, 40, 0, alpha)), shown=f"a 4x3 image, red and {what}")
        mixed = tuple(round((alpha * colour + (255 - alpha) * 255) / 255) for colour in (200, 40, 0))
        _require_like(attempt, found, Image.new("RGB", (4, 3), mixed))


@Check
def split_in_proportion(attempt: Attempt) -> None:
    """Check a function that splits in proportion to the classes."""
    labels = [0] * 52 + [1] * 29 + [2] * 19
    shown = "52, 29 and 19 images of the classes 0, 1, 2, share 0.2, seed 0"
    train, validation = (list(part) for part in attempt(list(labels), 0.2, 0, shown=shown))
    attempt.require(
        sorted(train + validation) == list(range(100)),
        f"the parts have {len(train)} and {len(validation)} positions, {len({*train, *validation})} different ones",
        hint="put each of the 100 positions into exactly one part",
    )
    counts = [sum(labels[i] == label for i in validation) for label in range(3)]
    attempt.require(len(train) > len(validation), "the first part is the smaller one", hint="training comes first")
    attempt.compare(
        counts,
        [10, 6, 4],
        what="the second part has, by class,",
        hint="take the share of each class by itself, to the nearest whole number: round()",
    )
    again = attempt(list(labels), 0.2, 0, shown=f"{shown}, called twice")
    attempt.require(
        sorted(again[1]) == sorted(validation), "returned two different splits", hint="make a generator of the seed"
    )
    other = attempt(list(labels), 0.2, 1, shown=shown.replace("seed 0", "seeds 0 and 1"))
    attempt.require(
        sorted(other[1]) != sorted(validation), "returned the same split", hint="shuffle with a generator of the seed"
    )


@Check
def split_with_transforms(attempt: Attempt) -> None:
    """Check a function that gives the parts of a data set transforms of their own."""
    dataset = _Words(None)
    train, validation = attempt(
        dataset,
        [0, 2, 4],
        [1, 3],
        str.upper,
        str.title,
        shown="the words a to e, train [0, 2, 4], validation [1, 3], upper() as augmented, title() as plain",
    )
    hint = "a transform set on a shared data set holds for both parts: copy the data set first"
    for part, expected, name in ((train, ["AX", "CX", "EX"], "training"), (validation, ["Bx", "Dx"], "validation")):
        attempt.require(
            len(part) == len(expected),
            f"the {name} part has {len(part)} items",
            hint="Subset takes some positions only",
        )
        found = [part[i] for i in range(len(part))]
        attempt.compare(found, expected, what=f"the {name} part is", hint=hint)
    attempt.compare(dataset[0], "ax", what="the data set itself then begins with", hint="change copies only")


class _Words(Dataset):
    """A data set with a transform, as ImageFolder is one."""

    def __init__(self, transform: Callable | None) -> None:
        self.words = [f"{letter}x" for letter in "abcde"]
        self.transform = transform

    def __len__(self) -> int:
        return len(self.words)

    def __getitem__(self, index: int) -> str:
        word = self.words[index]
        return self.transform(word) if self.transform else word


def _touch(root: Path, *names: str) -> None:
    for name in names:
        path = root / name
        path.parent.mkdir(exist_ok=True)
        path.touch()


def _require_like(attempt: Attempt, found: Image.Image, expected: Image.Image) -> None:
    attempt.require(
        isinstance(found, Image.Image) and (found.mode, found.size) == (expected.mode, expected.size),
        f"returned {describe(found)}",
        hint="return an image of the same size in mode RGB",
    )
    pixels, wanted = np.asarray(found).astype(int), np.asarray(expected).astype(int)
    attempt.require(
        np.abs(pixels - wanted).max() <= ROUNDING,
        f"returned the colour {tuple(pixels[0, 0].tolist())} instead of {tuple(wanted[0, 0].tolist())}",
        hint="see Image.alpha_composite, or paste with the alpha channel as mask",
    )
