"""The course's answers to exercises of notebook 03, which its later cells use where a learner's are not right."""

import math
import random

import torch
from sklearn.linear_model import LogisticRegression
from torch import nn
from torch.utils.data import DataLoader

STEPS = 10_000  # accuracies that are tried between 0 and 1


def cache_features(backbone: nn.Module, dataloader: DataLoader, device: str) -> tuple[torch.Tensor, torch.Tensor]:
    """Return features (N, D) and labels (N,) of the batches (images, labels), on the CPU."""
    backbone.eval()
    with torch.no_grad():
        batches = [(backbone(images.to(device)).cpu(), labels) for images, labels in dataloader]
    features, labels = zip(*batches, strict=True)
    return torch.cat(features), torch.cat(labels)


def set_modes(model: nn.Module) -> None:
    """Put children that learn into training mode and frozen ones into eval mode."""
    model.train()
    for child in model.children():
        parameters = list(child.parameters())
        if parameters and not any(parameter.requires_grad for parameter in parameters):
            child.eval()


def harmless(n: int, sizes: list[int]) -> list[int]:
    """Return the batch sizes for which the mean of the batches' accuracies is the accuracy of n images."""
    return [size for size in sizes if n % size == 0 or size >= n]


def folds(groups: list[str], k: int, seed: int) -> list[tuple[list[int], list[int]]]:
    """Return k pairs of lists of positions, (training, validation), that split up no group."""
    names = sorted(set(groups))
    random.Random(seed).shuffle(names)
    held = [set(names[part::k]) for part in range(k)]
    return [
        ([i for i, name in enumerate(groups) if name not in part], [i for i, name in enumerate(groups) if name in part])
        for part in held
    ]


def few(features: torch.Tensor, labels: torch.Tensor, new_features: torch.Tensor) -> torch.Tensor:
    """Return the predicted labels (N,) of new features (N, D), learned from a few features and labels."""
    known, new = nn.functional.normalize(features), nn.functional.normalize(new_features)
    classifier = LogisticRegression(C=100, max_iter=1000).fit(known, labels)
    return torch.from_numpy(classifier.predict(new))


def interval(right: int, total: int, z: float = 1.96) -> tuple[float, float]:
    """Return the lowest and the highest of the accuracies 0, 0.0001, ..., 1 that so many right answers are near to."""
    accuracies = [step / STEPS for step in range(STEPS + 1)]
    near = [a for a in accuracies if abs(right / total - a) <= z * math.sqrt(a * (1 - a) / total)]
    return near[0], near[-1]
