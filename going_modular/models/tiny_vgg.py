"""A small convolutional network, after CNN Explainer."""

import functools
from collections.abc import Callable

import torch
from torch import nn

from going_modular.common.errors import InputError

_THEIR_NAMES = {"input_shape": "in_channels", "output_shape": "num_classes"}


def _by_their_names(init: Callable[..., None]) -> Callable[..., None]:
    """Let the well-known course's names of arguments stand for ours."""

    @functools.wraps(init)
    def renamed(*arguments: object, **options: object) -> None:
        for theirs, ours in _THEIR_NAMES.items():
            if theirs in options and ours in options:
                raise TypeError(f"{ours} and {theirs} are one argument; give one of them")
        init(*arguments, **{_THEIR_NAMES.get(name, name): value for name, value in options.items()})

    return renamed


class TinyVGG(nn.Module):
    """A small convolutional network to train from scratch: the baseline that transfer learning beats.

    Two blocks of two unpadded 3x3 convolutions and a 2x2 pool, then a Linear; 8,083 parameters with 10 hidden units and
    3 classes at 64 px. After CNN Explainer (Wang et al., 2020, https://poloclub.github.io/cnn-explainer/).

    Args:
        in_channels: 3 for colour images.
        hidden_units: channels of every convolution.
        num_classes: the width of the output.
        image_size: the side of the square images, in pixels, at least 16.

    The well-known course's `input_shape` and `output_shape` may stand for `in_channels` and `num_classes`. The parts
    are called as there, so that a `state_dict` saved there loads here.
    """

    @_by_their_names
    def __init__(self, in_channels: int, hidden_units: int, num_classes: int, *, image_size: int = 64) -> None:
        super().__init__()
        self.conv_block_1 = self._block(in_channels, hidden_units)
        self.conv_block_2 = self._block(hidden_units, hidden_units)
        side = image_size
        for _ in (self.conv_block_1, self.conv_block_2):
            side = (side - 4) // 2  # two unpadded 3x3 convolutions take 4 pixels, the pool halves
        if side < 1:
            raise InputError(f"image_size is {image_size}; TinyVGG needs at least 16 pixels")
        self.classifier = nn.Sequential(nn.Flatten(), nn.Linear(hidden_units * side * side, num_classes))

    @staticmethod
    def _block(in_channels: int, out_channels: int) -> nn.Sequential:
        return nn.Sequential(
            nn.Conv2d(in_channels, out_channels, kernel_size=3),
            nn.ReLU(),
            nn.Conv2d(out_channels, out_channels, kernel_size=3),
            nn.ReLU(),
            nn.MaxPool2d(2),
        )

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Map images (B, in_channels, image_size, image_size) to logits (B, num_classes)."""
        return self.classifier(self.conv_block_2(self.conv_block_1(images)))
