"""Checks of notebook 01, Data and transforms.

`count_images`, `undo_normalise`, `prediction` (of a batch), `reading` (of histograms), `put_on_white`,
`split_in_proportion`, `split_with_transforms` (find the bug) and `audit` (of a data set). `yours_or_ours("audit",
audit)` gives the functions that the notebook's later cells use.
"""

import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import torch
from PIL import ExifTags, Image
from torch.utils.data import Dataset

from going_modular.checks import _parts01
from going_modular.checks._check import Attempt, Check, choose_part, describe

ROUNDING = 2  # of 255: two sound ways to mix colours differ by that much
IMAGES, BATCH, PICTURE, MEAN, STD = 225, 32, (3, 224, 224), 0.5, 0.2  # of exercise 3
WAYS = ("right", "not normalised", "not divided by 255", "normalised twice")
LETTERS = {"A": WAYS[2], "B": WAYS[0], "C": WAYS[1], "D": WAYS[3]}  # in the random order of the notebook's cell
QUARTER_TURN = 6  # an EXIF orientation


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
            {"pizza": 3, "sushi": 2}, root, shown=shown, hint="there are three endings, in small letters or capitals"
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
    generator = torch.Generator().manual_seed(0)
    zeros, ones = [0.0] * 3, [1.0] * 3
    cases = (
        ([0.5, 0.4, 0.3], ones, (4, 4), "each mean was subtracted; what undoes that?"),
        (zeros, [0.2, 0.25, 0.5], (4, 4), "each value was divided by std; what undoes that?"),
        ([0.5] * 3, [0.2] * 3, (4, 4), "the last step was the division, so it is undone first"),
        ([0.5, 0.4, 0.3], [0.2, 0.25, 0.5], (3, 3), "values[c] is channel c, which has mean[c] and std[c]"),
        ([0.5, 0.4, 0.3], [0.2, 0.25, 0.5], (2, 5), "a picture may have any height and width"),
    )
    for mean, std, size, hint in cases:
        values = torch.rand(3, *size, generator=generator)
        normalised = torch.stack([(values[c] - mean[c]) / std[c] for c in range(3)])
        shown = f"a picture of {size[0]}x{size[1]} pixels, mean {mean}, std {std}"
        attempt.expect(values, normalised, list(mean), list(std), shown=shown, hint=hint)


@Check
def prediction(attempt: Attempt) -> None:
    """Check a function that predicts what a batch is; it does not tell the right numbers."""
    found = attempt(shown=f"{IMAGES} images in batches of {BATCH}")
    expected = {
        "shape": ((BATCH, *PICTURE), "an axis more in front: how many images are in the first batch?"),
        "batches": (-(-IMAGES // BATCH), "every image is handed out, also those that fill no whole batch"),
        "last": (IMAGES % BATCH, "what is left when all full batches are gone?"),
        "black": ((0 - MEAN) / STD, "subtract the mean from 0, then divide"),
        "white": ((1 - MEAN) / STD, "subtract the mean from 1, then divide"),
    }
    attempt.require(
        isinstance(found, dict) and set(found) == set(expected),
        f"returned {describe(found)}",
        hint=f"return a dictionary with the keys {', '.join(expected)}",
    )
    for key, (value, hint) in expected.items():
        given = tuple(found[key]) if isinstance(found[key], list | torch.Size) else found[key]
        is_right = given == value and not isinstance(given, bool)
        attempt.require(is_right, f"{key} is not {describe(found[key])}", hint=hint)


@Check
def reading(attempt: Attempt) -> None:
    """Check a function that says how the values of four histograms were made; it does not tell the right answers."""
    found = attempt(shown="the four histograms")
    look = {
        "A": "how far right do its values go?",
        "B": "where do black and white lie in the model's own recipe?",
        "C": "are there values below 0?",
        "D": "how far left do its values go?",
    }
    attempt.require(
        isinstance(found, dict) and set(found) == set(LETTERS),
        f"returned {describe(found)}",
        hint="return a dictionary with the keys A, B, C and D",
    )
    for letter, word in LETTERS.items():
        attempt.require(
            found[letter] in WAYS, f"{letter} is {describe(found[letter])}", hint=f"one of the words {WAYS}"
        )
        attempt.require(found[letter] == word, f"{letter} is not {describe(found[letter])}", hint=look[letter])


@Check
def put_on_white(attempt: Attempt) -> None:
    """Check a function that puts transparent images on white."""
    for alpha, what, hint in (
        (255, "opaque", "of an opaque pixel the colour stays"),
        (0, "fully transparent", "through a fully transparent pixel only the white is seen"),
        (128, "half-transparent", "alpha / 255 of its colour, and the rest white; see Image.alpha_composite"),
    ):
        found = attempt(Image.new("RGBA", (4, 3), (200, 40, 0, alpha)), shown=f"a 4x3 image, red and {what}")
        mixed = tuple(round((alpha * colour + (255 - alpha) * 255) / 255) for colour in (200, 40, 0))
        _require_like(attempt, found, Image.new("RGB", (4, 3), mixed), hint)


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
        hint="take the share of each class by itself, to the nearest whole number",
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
    hint = "which data set does each part read, and how many are there? A data set has one transform"
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


@Check
def audit(attempt: Attempt) -> None:
    """Check a function that audits a data set: it meets one more kind of odd file at each step."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        expected: dict[str, list[str]] = {"unreadable": [], "turned": [], "in_both": []}
        for seed, name in enumerate(("train/pizza/1.png", "train/sushi/2.png", "test/pizza/3.png", "test/sushi/4.png")):
            _save_noise(root / name, seed)
        shown = "two classes with an image each in train and in test"
        _require_lists(attempt, root, expected, shown, "three lists, here all of them empty")
        for step, hint in (
            (_add_unreadable, "Pillow raises an OSError: when it opens the file, or only when it reads the pixels"),
            (_add_turned, "1 is the usual orientation, and a file that says nothing has it"),
            (_add_copy, "compare pictures, not the names of the files"),
            (_add_saved_again, "the same pixels in another format are other bytes: compare the pixels, as RGB"),
            (_add_like, "all pixels have to be the same, and width and height, too"),
            (_add_stray, "only files in class folders count"),
        ):
            shown = step(root, expected)
            _require_lists(attempt, root, expected, shown, hint)


def _require_lists(attempt: Attempt, root: Path, expected: dict[str, list[str]], shown: str, hint: str) -> None:
    found = attempt(root, shown=shown)
    attempt.require(
        isinstance(found, dict) and set(found) == set(expected),
        f"returned {describe(found)}",
        hint=f"return a dictionary with the keys {', '.join(expected)}",
    )
    for kind, names in expected.items():
        in_order = isinstance(found[kind], list) and sorted(map(str, found[kind])) == sorted(names)
        attempt.compare(
            found[kind], sorted(names), what=f'"{kind}" is', hint="each list is sorted" if in_order else hint
        )


def _noise(seed: int, size: tuple[int, int] = (6, 4)) -> Image.Image:
    pixels = np.random.default_rng(seed).integers(256, size=(size[1], size[0], 3), dtype=np.uint8)
    return Image.fromarray(pixels)


def _save_noise(path: Path, seed: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    _noise(seed).save(path)


def _add_unreadable(root: Path, expected: dict[str, list[str]]) -> str:
    (root / "test/sushi/text.jpg").write_text("no image", encoding="utf-8")
    whole = (root / "train/pizza/1.png").read_bytes()
    (root / "train/sushi/cut.png").write_bytes(whole[: len(whole) // 2])
    expected["unreadable"] += ["test/sushi/text.jpg", "train/sushi/cut.png"]
    return "one file more that is a text, and half of a PNG file"


def _add_turned(root: Path, expected: dict[str, list[str]]) -> str:
    for name, orientation in (("train/pizza/phone.jpg", QUARTER_TURN), ("train/pizza/level.jpg", 1)):
        note = Image.Exif()
        note[ExifTags.Base.Orientation] = orientation
        _noise(10 + orientation).save(root / name, exif=note)
    expected["turned"].append("train/pizza/phone.jpg")
    return f"one file more that asks for orientation {QUARTER_TURN}, and one that asks for 1"


def _add_copy(root: Path, expected: dict[str, list[str]]) -> str:
    (root / "test/sushi/other_name.png").write_bytes((root / "train/pizza/1.png").read_bytes())
    expected["in_both"].append("test/sushi/other_name.png")
    return "a copy of train/pizza/1.png as test/sushi/other_name.png"


def _add_saved_again(root: Path, expected: dict[str, list[str]]) -> str:
    with Image.open(root / "train/sushi/2.png") as image:
        image.convert("RGBA").save(root / "test/pizza/again.tif")
    expected["in_both"].append("test/pizza/again.tif")
    return "train/sushi/2.png saved again as test/pizza/again.tif"


def _add_like(root: Path, expected: dict[str, list[str]]) -> str:
    """Add a picture that begins and ends like another one, and one of the same bytes in another size."""
    with Image.open(root / "train/pizza/1.png") as image:
        pixels = np.asarray(image).copy()
    Image.fromarray(pixels.reshape(6, 4, 3)).save(root / "test/pizza/upright.png")
    pixels[2, 3] = 255 - pixels[2, 3]
    Image.fromarray(pixels).save(root / "test/pizza/1.png")
    return "test/pizza/1.png, which has one pixel other than train/pizza/1.png, and one of its pixels in another shape"


def _add_stray(root: Path, expected: dict[str, list[str]]) -> str:
    for name in ("train/readme.txt", "notes.txt"):
        (root / name).write_text("no image", encoding="utf-8")
    return "train/readme.txt and notes.txt, beside the class folders"


def _touch(root: Path, *names: str) -> None:
    for name in names:
        path = root / name
        path.parent.mkdir(exist_ok=True)
        path.touch()


def _require_like(attempt: Attempt, found: Image.Image, expected: Image.Image, hint: str) -> None:
    attempt.require(
        isinstance(found, Image.Image) and (found.mode, found.size) == (expected.mode, expected.size),
        f"returned {describe(found)}",
        hint="return an image of the same size in mode RGB",
    )
    pixels, wanted = np.asarray(found).astype(int), np.asarray(expected).astype(int)
    attempt.require(
        np.abs(pixels - wanted).max() <= ROUNDING,
        f"returned the colour {tuple(pixels[0, 0].tolist())} instead of {tuple(wanted[0, 0].tolist())}",
        hint=hint,
    )


yours_or_ours = partial(
    choose_part,
    {
        "count_images": (count_images, _parts01.count_images),
        "undo_normalise": (undo_normalise, _parts01.undo_normalise),
        "put_on_white": (put_on_white, _parts01.put_on_white),
        "split_in_proportion": (split_in_proportion, _parts01.split_in_proportion),
        "split_with_transforms": (split_with_transforms, _parts01.split_with_transforms),
        "audit": (audit, _parts01.audit),
    },
)
