"""Standardise features by the training images' mean and deviation, as linear probes of ViTs are trained."""

import torch
from torch import nn

SMALLEST = 1e-6  # what a feature that hardly varies is divided by


class Standardise(nn.Module):
    """Subtract a mean and divide by a deviation, those of the training images; until they are known, do nothing.

    A BatchNorm without weights before the Linear does this to linear probes (He et al., 2022,
    https://arxiv.org/abs/2111.06377, appendix A.1); here every batch is standardised alike, be it of one image.

    Args:
        width: D, the number of features.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(width))
        self.register_buffer("deviation", torch.ones(width))

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Map features (B, D) to features (B, D)."""
        return (features - self.mean) / self.deviation

    @torch.no_grad()
    def fit(self, features: torch.Tensor) -> None:
        """Take mean and deviation from the features (N, D) of the training images."""
        deviation, mean = torch.std_mean(features.double(), dim=0, correction=0)
        self.mean.copy_(mean)
        self.deviation.copy_(deviation.clamp(min=SMALLEST))
