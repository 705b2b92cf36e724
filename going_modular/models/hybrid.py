"""The hybrid of a CNN and a Transformer: a frozen CNN's feature map, read as an image whose patches are 1x1.

"An Image is Worth 16x16 Words" (Dosovitskiy et al., 2021, https://arxiv.org/abs/2010.11929), section 3.1.
"""

import torch
from torch import nn

from going_modular.vit import VisionTransformer


class Hybrid(nn.Module):
    """A CNN and the Transformer that reads its feature maps.

    Args:
        features: maps images (B, 3, H, W) to feature maps (B, C, G, G).
        head: what reads them.
    """

    def __init__(self, features: nn.Module, head: "HybridHead") -> None:
        super().__init__()
        self.features = features
        self.head = head

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Map images (B, 3, H, W) to logits (B, num_classes)."""
        return self.head(self.features(images).flatten(1))


class HybridHead(VisionTransformer):
    """A Vision Transformer of two blocks whose images are feature maps; to the hybrid it is the head.

    Each map is flattened to a row, so that it can be cached like other features.

    Args:
        channels: C of the maps.
        grid: G, their side.
        num_classes: the width of the output.
    """

    def __init__(self, *, channels: int, grid: int, num_classes: int) -> None:
        super().__init__(
            image_size=grid,
            patch_size=1,
            in_channels=channels,
            num_layers=2,
            hidden_dim=128,
            mlp_dim=256,
            num_heads=4,
            num_classes=num_classes,
            dropout=0.1,
        )
        self.map_shape = (channels, grid, grid)
        self.in_features, self.out_features = channels * grid**2, num_classes  # as a Linear head has them

    def forward(
        self, features: torch.Tensor, *, mask: torch.Tensor | None = None, return_attention: bool = False
    ) -> torch.Tensor | tuple[torch.Tensor, torch.Tensor]:
        """Map flattened feature maps (B, C*G*G) to logits (B, num_classes), as VisionTransformer maps images."""
        return super().forward(features.unflatten(1, self.map_shape), mask=mask, return_attention=return_attention)
