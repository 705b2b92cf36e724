"""What answers about images: a backbone that runs once, a head behind it, and a map of where it looked."""

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import matplotlib as mpl
import numpy as np
import torch
from PIL import Image
from torch import nn
from torch.utils.data import Dataset

from going_modular import features, model_builder
from going_modular.classroom import limits
from going_modular.common.device import memory_format, resolve_precision, wished_precision
from going_modular.common.errors import InputError
from going_modular.data import feature_store, images, resizing
from going_modular.evaluation import interpret
from going_modular.evaluation.figures import HEAT, HEAT_OPACITY
from going_modular.saving.checkpoint import Checkpoint

AT_ONCE = features.MANY_IMAGES  # for more, worker processes would be forked out of a server's threads


@dataclass(frozen=True)
class Answer:
    """What a classifier says of an image."""

    probabilities: dict[str, float]  # of every class, summing to 1
    milliseconds: float  # from the file to the answer

    @property
    def label(self) -> str:
        """The most probable class."""
        return max(self.probabilities, key=self.probabilities.__getitem__)

    @property
    def probability(self) -> float:
        """Of the most probable class, in [0, 1]."""
        return self.probabilities[self.label]


class _Files(Dataset):
    """Image files as a model sees them, without labels."""

    def __init__(self, paths: Sequence[Path], transform: Callable) -> None:
        self.paths, self.transform = paths, transform
        self.short_side = resizing.short_side(transform)

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        return self.transform(self.open(index)), 0

    def open(self, index: int) -> Image.Image:
        return images.open_image(self.paths[index], short_side=self.short_side, most_pixels=limits.MOST_PIXELS)


class Backbone:
    """A frozen, pretrained backbone, folded once: image files in, features out, from any thread.

    Args:
        model: as `model_builder.create_model` builds it, on its device.
        transform: that came with it.
        precision: to compute in, `fp32` or `bf16`.

    Raises:
        InputError: the transform is random.
    """

    def __init__(self, model: nn.Module, transform: Callable, precision: str) -> None:
        feature_store.refuse_randomness(_Files([], transform))  # here: later, other threads draw random numbers, too
        self.device = next(model.parameters()).device
        self.transform, self.precision = transform, precision
        self.width = model_builder.feature_width(model)
        self._trunk = model_builder.fold(model_builder.backbone(model).eval()).to(
            memory_format=memory_format(self.device)
        )

    def features(self, paths: Sequence[Path]) -> tuple[torch.Tensor, dict[int, str]]:
        """Return features (N, D), float32, of image files, and what is wrong with those that cannot be read, by index.

        Rows of these hold nothing of use.
        """
        rows, problems = torch.zeros(len(paths), self.width), {}
        for start in range(0, len(paths), AT_ONCE):
            part = _Files(paths[start : start + AT_ONCE], self.transform)
            filled = rows[start : start + AT_ONCE]
            _, wrong = features.fill(
                filled, self._trunk, part, device=self.device, precision=self.precision, progress=False
            )
            problems |= {start + index: problem for index, problem in wrong.items()}
        return rows, problems


class Classifier:
    """A model that answers about image files, from any thread.

    Args:
        model: with a head for these classes.
        backbone: the same model's, without its head.
        class_names: in the order of the logits.
        said: who taught it, in a few words.
    """

    def __init__(self, model: nn.Module, backbone: Backbone, class_names: Sequence[str], said: str) -> None:
        self.model, self.backbone, self.class_names, self.said = model.eval(), backbone, list(class_names), said
        self._one_at_a_time = threading.Lock()  # what explains hooks itself into the model, and switches its gradients

    @classmethod
    def of(cls, loaded: Checkpoint, said: str) -> "Classifier":
        """Return the classifier of a checkpoint."""
        device = next(loaded.model.parameters()).device
        precision = wished_precision(loaded.precision, device)
        return cls(loaded.model, Backbone(loaded.model, loaded.transform, precision), loaded.class_names, said)

    def classify(self, paths: Sequence[Path]) -> tuple[list[Answer], dict[int, str]]:
        """Return an answer for each image file that can be read, and what is wrong with the others, by index.

        Raises:
            InputError: more images than are taken at once, or answers that are not finite.
        """
        if len(paths) > limits.MOST_TRIED:
            raise InputError(f"{len(paths)} images are too many at once; try up to {limits.MOST_TRIED}")
        start = time.perf_counter()
        rows, problems = self.backbone.features(paths)
        readable = [index for index in range(len(paths)) if index not in problems]
        logits = model_builder.logits(self.model, rows[readable])
        if not logits.isfinite().all():
            raise InputError("The model's answers are not finite: its weights are damaged; train again")
        each = 1000 * (time.perf_counter() - start) / max(len(paths), 1)
        probabilities = logits.softmax(dim=1).tolist()
        return [Answer(dict(zip(self.class_names, row, strict=True)), each) for row in probabilities], problems

    def look(self, path: Path) -> tuple[Image.Image, str]:
        """Return what the model saw of an image with a map over it of where it looked, and the method's name.

        Raises:
            InputError: the image cannot be read, or no method fits the model.
        """
        seen = _Files([path], self.backbone.transform)[0][0].unsqueeze(0).to(self.backbone.device)  # (1, 3, H, W)
        with self._one_at_a_time:
            maps, method = interpret.explain(self.model, seen)
        [image] = interpret.denormalize(seen, self.backbone.transform)
        heat = mpl.colormaps[HEAT](maps[0].numpy())[..., :3]  # (H, W, 3) in [0, 1]
        mixed = (1 - HEAT_OPACITY) * np.asarray(image) + HEAT_OPACITY * 255 * heat
        return Image.fromarray(mixed.round().astype(np.uint8)), method


def load_backbone(name: str, device: str) -> Backbone:
    """Return a pretrained backbone by name, as `model_builder.create_model` takes it.

    Raises:
        InputError: its weights cannot be had.
    """
    model, transform = model_builder.create_model(name, 1)
    return Backbone(model.to(device), transform, resolve_precision("auto", device))
