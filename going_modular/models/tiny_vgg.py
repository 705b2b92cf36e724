"""A small convolutional network, after CNN Explainer."""

import torch
from torch import nn

from going_modular.common.errors import InputError


class TinyVGG(nn.Module):
    """A small convolutional network to train from scratch: the baseline that transfer learning beats.

    Two blocks of two unpadded 3x3 convolutions and a 2x2 pool, then a Linear; 8,083 parameters with 10 hidden units and
    3 classes at 64 px. After CNN Explainer (Wang et al., 2020, https://poloclub.github.io/cnn-explainer/).

    Args:
        in_channels: 3 for colour images.
        hidden_units: channels of every convolution.
        num_classes: the width of the output.
        image_size: the side of the square images, in pixels, at least 16.
    """

    def __init__(self, in_channels: int, hidden_units: int, num_classes: int, *, image_size: int = 64) -> None:
        super().__init__()
        self.blocks = nn.Sequential(self._block(in_channels, hidden_units), self._block(hidden_units, hidden_units))
        side = image_size
        for _ in self.blocks:
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
        return self.classifier(self.blocks(images))
