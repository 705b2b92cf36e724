"""The course's answers to exercises of notebook 01, which its later cells use where a learner's are not right."""

import copy
import random
from collections.abc import Callable
from pathlib import Path

import torch
from PIL import ExifTags, Image
from torch.utils.data import Dataset, Subset

ENDINGS = {".jpg", ".jpeg", ".png"}


def count_images(folder: Path) -> dict[str, int]:
    """Return how many images each class folder has."""
    classes = [path for path in folder.iterdir() if path.is_dir()]
    return {path.name: sum(file.suffix.lower() in ENDINGS for file in path.iterdir()) for path in classes}


def undo_normalise(values: torch.Tensor, mean: list[float], std: list[float]) -> torch.Tensor:
    """Turn a normalised tensor (3, H, W) back into values in [0, 1]."""
    return values * torch.tensor(std).view(3, 1, 1) + torch.tensor(mean).view(3, 1, 1)


def put_on_white(image: Image.Image) -> Image.Image:
    """Return an RGB image: the RGBA image in front of white."""
    return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")


def split_in_proportion(labels: list[int], share: float, seed: int) -> tuple[list[int], list[int]]:
    """Return the positions of the training and of the validation images, `share` of each class."""
    generator = random.Random(seed)
    train, validation = [], []
    for label in sorted(set(labels)):
        positions = [i for i, other in enumerate(labels) if other == label]
        generator.shuffle(positions)
        size = round(share * len(positions))
        validation += positions[:size]
        train += positions[size:]
    return train, validation


def split_with_transforms(
    dataset: Dataset, train: list[int], validation: list[int], augmented: Callable, plain: Callable
) -> tuple[Subset, Subset]:
    """Return the training and the validation part, each with its own transform."""
    first, second = copy.copy(dataset), copy.copy(dataset)
    first.transform, second.transform = augmented, plain
    return Subset(first, train), Subset(second, validation)


def audit(root: Path) -> dict[str, list[str]]:
    """Return the files that are unreadable, those that ask to be turned, and test files that are in train, too."""
    found: dict[str, list[str]] = {"unreadable": [], "turned": [], "in_both": []}
    in_train = set()
    for path in [*root.glob("train/*/*"), *root.glob("test/*/*")]:
        name = path.relative_to(root).as_posix()
        try:
            with Image.open(path) as image:
                is_turned = image.getexif().get(ExifTags.Base.Orientation, 1) != 1
                rgb = image.convert("RGB")
        except OSError:
            found["unreadable"].append(name)
            continue
        if is_turned:
            found["turned"].append(name)
        picture = (rgb.size, rgb.tobytes())
        if name.startswith("train/"):
            in_train.add(picture)
        elif picture in in_train:
            found["in_both"].append(name)
    return {kind: sorted(names) for kind, names in found.items()}
