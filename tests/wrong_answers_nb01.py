"""Plausible wrong answers to the exercises of notebook 01."""

import copy
import functools
import math
import random

import torch
from PIL import Image
from torch.utils.data import Subset


def reveal_what_transparency_hid(image):
    return image.convert("RGB")


def put_on_black(image):
    return Image.alpha_composite(Image.new("RGBA", image.size, "black"), image).convert("RGB")


def keep_the_alpha_channel(image):
    return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)


def all_or_nothing(image):
    white = Image.new("RGB", image.size, "white")
    white.paste(image, mask=image.getchannel("A").point(lambda alpha: 255 if alpha else 0))
    return white


def ignore_the_classes(labels, share, seed):
    positions = random.Random(seed).sample(range(len(labels)), len(labels))
    size = round(share * len(labels))
    return positions[size:], positions[:size]


def take_the_last(labels, share, seed):
    size = round(share * len(labels))
    return list(range(len(labels) - size)), list(range(len(labels) - size, len(labels)))


def take_the_first_of_each_class(labels, share, seed):
    validation = []
    for label in set(labels):
        positions = [i for i, other in enumerate(labels) if other == label]
        validation += positions[: round(share * len(positions))]
    return [i for i in range(len(labels)) if i not in validation], validation


def by_class(size_of, labels, share, seed):
    generator = random.Random(seed)
    train, validation = [], []
    for label in sorted(set(labels)):
        positions = [i for i, other in enumerate(labels) if other == label]
        generator.shuffle(positions)
        size = size_of(share * len(positions))
        validation += positions[:size]
        train += positions[size:]
    return train, validation


def keep_all_for_training(labels, share, seed):
    _, validation = take_the_first_of_each_class(labels, share, seed)
    return list(range(len(labels))), validation


def forget_the_seed(labels, share, seed):
    train, validation = [], []
    for label in set(labels):
        positions = [i for i, other in enumerate(labels) if other == label]
        random.SystemRandom().shuffle(positions)
        size = round(share * len(positions))
        validation += positions[:size]
        train += positions[size:]
    return train, validation


def share_the_data_set(dataset, train, validation, augmented, plain):
    first, second = Subset(dataset, train), Subset(dataset, validation)
    first.dataset.transform = augmented
    second.dataset.transform = plain
    return first, second


def share_a_copy(dataset, train, validation, augmented, plain):
    return share_the_data_set(copy.copy(dataset), train, validation, plain, augmented)


def set_it_on_the_subset(dataset, train, validation, augmented, plain):
    first, second = Subset(dataset, train), Subset(dataset, validation)
    first.transform, second.transform = augmented, plain
    return first, second


def change_the_data_set(dataset, train, validation, augmented, plain):
    second = copy.copy(dataset)
    dataset.transform, second.transform = augmented, plain
    return Subset(dataset, train), Subset(second, validation)


WRONG = {
    "count_images": [
        lambda folder: {path.name: len(list(path.iterdir())) for path in folder.iterdir()},  # every file
        lambda folder: {path.name: len(list(path.glob("*.jpg"))) for path in folder.iterdir()},
        lambda folder: {
            path.name: sum(file.suffix in {".jpg", ".jpeg", ".png"} for file in path.iterdir())
            for path in folder.iterdir()
            if path.is_dir()
        },
        lambda folder: {
            path.name: sum(file.suffix.lower() in {".jpg", ".jpeg", ".png"} for file in path.glob("*"))
            for path in folder.iterdir()
        },
        lambda folder: len(list(folder.glob("*/*.jpg"))),
    ],
    "undo_normalise": [
        lambda values, mean, std: (values - torch.tensor(mean).view(3, 1, 1)) / torch.tensor(std).view(3, 1, 1),
        lambda values, mean, std: values * torch.tensor(mean).view(3, 1, 1) + torch.tensor(std).view(3, 1, 1),
        lambda values, mean, std: (values + torch.tensor(mean).view(3, 1, 1)) * torch.tensor(std).view(3, 1, 1),
        lambda values, mean, std: values * torch.tensor(std) + torch.tensor(mean),  # along the width
        lambda values, mean, std: values * std[0] + mean[0],
    ],
    "put_on_white": [reveal_what_transparency_hid, put_on_black, keep_the_alpha_channel, all_or_nothing],
    "split_in_proportion": [
        ignore_the_classes,
        take_the_last,
        take_the_first_of_each_class,
        keep_all_for_training,
        forget_the_seed,
        functools.partial(by_class, math.floor),
        functools.partial(by_class, math.ceil),
        lambda labels, share, seed: by_class(round, labels, share, seed)[::-1],
    ],
    "split_with_transforms": [share_the_data_set, share_a_copy, set_it_on_the_subset, change_the_data_set],
}
