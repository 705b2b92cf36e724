"""Plausible wrong answers to the exercises of notebook 01."""

import copy
import functools
import hashlib
import math
import random

import torch
from PIL import ExifTags, Image
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


def predicted(**wrong):
    right = {"shape": (32, 3, 224, 224), "batches": 8, "last": 1, "black": -2.5, "white": 2.5}
    return lambda: right | wrong


def read(**wrong):
    right = {"A": "not divided by 255", "B": "right", "C": "not normalised", "D": "normalised twice"}
    return lambda: right | wrong


def pixels_of(image):
    return image.size, image.convert("RGB").tobytes()


def name_aside(path, key):
    return key


def audited(readable=Image.Image.load, key=pixels_of, by=name_aside, default=1, right=1, pattern="*/*"):
    """Return an audit with one thing changed: how it reads, compares, looks at EXIF data, or goes through folders."""

    def audit(root):
        found, in_train = {"unreadable": [], "turned": [], "in_both": []}, set()
        for part in ("train", "test"):
            for path in (root / part).glob(pattern):
                name = path.relative_to(root).as_posix()
                if path.is_dir():
                    continue
                try:
                    image = Image.open(path)
                    readable(image)
                    what = by(path, key(image))
                except OSError:
                    found["unreadable"].append(name)
                    continue
                if image.getexif().get(ExifTags.Base.Orientation, default) != right:
                    found["turned"].append(name)
                if part == "train":
                    in_train.add(what)
                elif what in in_train:
                    found["in_both"].append(name)
        return {kind: sorted(names) for kind, names in found.items()}

    return audit


def absolute_names(root):
    return {kind: [str(root / name) for name in names] for kind, names in audited()(root).items()}


def only_counts(root):
    return {kind: len(names) for kind, names in audited()(root).items()}


def unsorted(root):
    return {kind: names[::-1] for kind, names in audited()(root).items()}


def opened_only(root):
    """Take a file for readable that Pillow can open, and compare what can be compared."""

    def pixels_if_any(image):
        try:
            return pixels_of(image)
        except OSError:
            return image.size

    return audited(readable=lambda image: None, key=pixels_if_any)(root)


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
    "prediction": [
        predicted(shape=(3, 224, 224)),
        predicted(shape=(225, 3, 224, 224)),
        predicted(batches=7),
        predicted(last=32),
        predicted(black=0.0),
        predicted(white=1.0),
        predicted(last=True),
        lambda: (32, 3, 224, 224),
    ],
    "reading": [
        read(A="right", B="not divided by 255"),
        read(B="not normalised", C="right"),
        read(B="normalised twice", D="right"),
        read(C="normalised twice", D="not normalised"),
        read(A="wrong"),
        read(E="right"),
        lambda: ["not divided by 255", "right", "not normalised", "normalised twice"],
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
    "audit": [
        lambda root: {},
        only_counts,
        absolute_names,
        unsorted,
        opened_only,
        audited(by=lambda path, key: path.name),  # compares names
        audited(by=lambda path, key: hashlib.sha256(path.read_bytes()).digest()),  # a copy in another format is missed
        audited(key=lambda image: image.convert("RGB").tobytes()),  # another shape is taken for the same
        audited(key=lambda image: image.size),
        audited(key=lambda image: (image.size, image.mode, image.tobytes())),  # an alpha channel makes it another one
        audited(key=lambda image: (image.size, image.convert("RGB").tobytes()[:32])),
        audited(default=0),  # a file that says nothing is taken for turned
        audited(right=6),
        audited(pattern="**/*"),  # what lies beside the class folders counts
    ],
}
