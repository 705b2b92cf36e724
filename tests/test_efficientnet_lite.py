import math
import zipfile

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torchvision.models import EfficientNet_B0_Weights

from going_modular.data import images
from going_modular.models.efficientnet_lite import EfficientNetLite0Weights, SamePadConv2d, efficientnet_lite0


def plain_same_padding(x: torch.Tensor, kernel: int, stride: int) -> torch.Tensor:
    """Pad as TensorFlow's documentation says: as little as gives ceil(size / stride), the odd one at the end."""
    for dimension in (2, 3):
        size = x.shape[dimension]
        outputs = math.ceil(size / stride)
        total = max((outputs - 1) * stride + kernel - size, 0)
        shape = list(x.shape)
        shape[dimension] = total // 2
        before = x.new_zeros(shape)
        shape[dimension] = total - total // 2
        x = torch.cat([before, x, x.new_zeros(shape)], dimension)
    return x


def plain_lite0(x: torch.Tensor, tensors: list[torch.Tensor]) -> torch.Tensor:
    """Run EfficientNet-Lite0 as a list of operations over the published tensors, in their order."""
    queue = iter(tensors)

    def conv_norm(x, *, stride=1, depthwise=False, activate=True):
        weight = next(queue)
        gamma, beta, mean, variance, _ = (next(queue) for _ in range(5))
        x = plain_same_padding(x, weight.shape[-1], stride)
        x = F.conv2d(x, weight, stride=stride, groups=len(weight) if depthwise else 1)
        x = F.batch_norm(x, mean, variance, gamma, beta, eps=1e-3)
        return F.relu6(x) if activate else x

    x = conv_norm(x, stride=2)
    for repeats, first_stride, expand in [(1, 1, 1), (2, 2, 6), (2, 2, 6), (3, 2, 6), (3, 1, 6), (4, 2, 6), (1, 1, 6)]:
        for i in range(repeats):
            y = conv_norm(x) if expand > 1 else x
            y = conv_norm(y, stride=first_stride if i == 0 else 1, depthwise=True)
            y = conv_norm(y, activate=False)
            x = x + y if i > 0 else y
    x = conv_norm(x).mean(dim=(2, 3))
    return F.linear(x, next(queue), next(queue))


def pretrained() -> nn.Module:
    model = efficientnet_lite0()
    model.load_state_dict(EfficientNetLite0Weights.DEFAULT.get_state_dict())
    return model.eval()


def test_logits_equal_a_plain_reference_with_same_padding():
    model = pretrained()
    x = torch.randn(2, 3, 224, 224, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        expected = plain_lite0(x, list(model.state_dict().values()))
        torch.testing.assert_close(model(x), expected, rtol=1e-4, atol=1e-4)


def test_same_padding_equals_the_plain_one_for_odd_and_even_sides():
    for kernel in (3, 5):
        conv = SamePadConv2d(4, 4, kernel, stride=2, groups=4, bias=False)
        for height, width in [(8, 8), (7, 9), (1, 2), (13, 6)]:
            x = torch.randn(1, 4, height, width)
            expected = F.conv2d(plain_same_padding(x, kernel, 2), conv.weight, stride=2, groups=4)
            torch.testing.assert_close(conv(x), expected)
            assert conv(x).shape[2:] == (math.ceil(height / 2), math.ceil(width / 2))


def test_only_the_five_stride_two_convolutions_are_replaced():
    convolutions = [module for module in efficientnet_lite0().modules() if isinstance(module, nn.Conv2d)]
    replaced = [module for module in convolutions if isinstance(module, SamePadConv2d)]
    assert len(replaced) == 5
    assert all(module.stride == (2, 2) for module in replaced)
    assert all(module.stride == (1, 1) for module in convolutions if module not in replaced)


def test_categories_and_transform():
    weights = EfficientNetLite0Weights.DEFAULT
    assert weights.meta["categories"] == EfficientNet_B0_Weights.DEFAULT.meta["categories"]
    preset = weights.transforms()
    assert (preset.crop_size, preset.resize_size) == ([224], [256])
    assert preset.mean == [127 / 255] * 3
    assert preset.std == [128 / 255] * 3


@pytest.mark.slow
def test_real_pizzas_are_pizzas_untrained(photos, tmp_path):
    with zipfile.ZipFile(photos) as archive:
        names = [name for name in archive.namelist() if name.startswith("test/pizza/") and name.endswith(".jpg")]
        archive.extractall(tmp_path, names)
    weights = EfficientNetLite0Weights.DEFAULT
    transform, categories = weights.transforms(), weights.meta["categories"]
    batch = torch.stack([transform(images.open_image(tmp_path / name)) for name in names])
    with torch.inference_mode():
        probabilities = pretrained()(batch).softmax(dim=1)
    assert len(names) == 25
    assert sum(categories[i] == "pizza" for i in probabilities.argmax(dim=1)) == 24
    assert round(probabilities[:, categories.index("pizza")].mean().item(), 3) == 0.776
