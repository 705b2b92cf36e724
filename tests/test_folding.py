"""BatchNorm folded into the convolutions: the same features, the model as it was."""

import pytest
import torch
from torch import nn

from going_modular import data_setup, features, model_builder
from going_modular.models import folding

EXACT = {"rtol": 0.0, "atol": 0.0}


def norms(module: nn.Module) -> int:
    return sum(isinstance(part, nn.BatchNorm2d) for part in module.modules())


def with_lived_norms(model: nn.Module) -> nn.Module:
    """Give BatchNorms statistics and scales as training leaves them: a new one's do nothing."""
    generator = torch.Generator().manual_seed(1)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            for tensor, low, high in (
                (module.running_mean, -0.1, 0.1),
                (module.running_var, 0.7, 1.4),
                (module.weight.data, 0.8, 1.2),
                (module.bias.data, -0.1, 0.1),
            ):
                tensor.uniform_(low, high, generator=generator)
    return model


@pytest.mark.parametrize(
    ("name", "left"),
    [
        ("mobilenet_v3_small", 0),
        pytest.param("efficientnet_lite0", 0, marks=pytest.mark.slow),
        pytest.param("efficientnet_b0", 0, marks=pytest.mark.slow),
        pytest.param("resnet18", 0, marks=pytest.mark.slow),
        pytest.param("hybrid_efficientnet_lite0", 0, marks=pytest.mark.slow),
        pytest.param("googlenet", 0, marks=pytest.mark.slow),
        pytest.param("densenet121", 62, marks=pytest.mark.slow),  # of 121: those before a convolution stay
    ],
)
def test_folded_backbones_give_the_same_features(name, left):
    torch.manual_seed(0)
    model = with_lived_norms(model_builder.create_model(name, 3, weights=None)[0])
    before = {key: tensor.clone() for key, tensor in model.state_dict().items()}
    images = torch.randn(2, 3, 128, 160)
    with torch.no_grad():
        expected = model_builder.backbone(model)(images)
        folded = model_builder.fold(model_builder.backbone(model))
        actual = folded(images)

    assert norms(model) > norms(folded) == left
    assert not torch.equal(actual, expected) or left  # it is another sum, not the same network
    torch.testing.assert_close(actual, expected, rtol=0, atol=1e-5 * expected.abs().max().item())
    assert model.state_dict().keys() == before.keys()
    for key, tensor in model.state_dict().items():
        torch.testing.assert_close(tensor, before[key], **EXACT)


@pytest.mark.parametrize("name", ["timm/resnet18", "timm/mobilenetv3_small_050"])
def test_the_activation_in_a_norm_of_timms_stays(name):
    pytest.importorskip("timm", reason="timm is not installed")
    torch.manual_seed(0)
    model = with_lived_norms(model_builder.create_model(name, 3, weights=None)[0])
    images = torch.randn(2, 3, 96, 96)
    with torch.no_grad():
        expected = model_builder.backbone(model)(images)
        folded = model_builder.fold(model_builder.backbone(model))
        actual = folded(images)
    assert norms(folded) == 0
    torch.testing.assert_close(actual, expected, rtol=0, atol=1e-5 * expected.abs().max().item())


class TwoReaders(nn.Module):
    """A convolution whose output goes into a norm and past it: folded, both would change."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 4, 3), with_lived_norms(nn.BatchNorm2d(4))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        maps = self.conv(images)
        return (self.norm(maps) + maps).mean(dim=(2, 3))


class OneNormTwice(TwoReaders):
    """A norm that serves two convolutions."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return (self.norm(self.conv(images)) + self.norm(self.conv(images.flip(3)))).mean(dim=(2, 3))


def test_a_network_that_a_fold_would_change_is_left_alone():
    images = torch.randn(2, 3, 20, 20)
    trunk = TwoReaders().eval()
    before = trunk(images)
    modules = dict(trunk.named_modules())
    assert dict(folding.fold(trunk).named_modules()) == modules
    torch.testing.assert_close(trunk(images), before, **EXACT)


def test_a_pair_that_runs_twice_is_folded_rightly_or_not_at_all():
    images = torch.randn(2, 3, 20, 20)
    trunk = OneNormTwice().eval()
    before = trunk(images)
    torch.testing.assert_close(folding.fold(trunk)(images), before)


def test_a_network_that_takes_no_images_of_the_probes_size_is_left_alone():
    trunk = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(4 * 18 * 18, 8)).eval()
    trunk(torch.randn(1, 3, 20, 20))
    assert norms(folding.fold(trunk)) == 1


def test_a_folded_network_computes_in_fp32_outside_of_inference_mode():
    # weights made in inference mode could not: "Inference tensors do not track version counter"
    trunk = model_builder.fold(
        model_builder.backbone(model_builder.create_model("mobilenet_v3_small", 3, weights=None)[0])
    ).to(memory_format=torch.channels_last)
    assert not any(tensor.is_inference() for tensor in trunk.state_dict().values())
    with torch.no_grad():
        trunk(torch.randn(1, 3, 64, 64))


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_extract_runs_the_folded_backbone_and_is_near_the_models_own_features(precision):
    model, transform = model_builder.create_model("efficientnet_lite0", 3)
    dataset = data_setup.load_splits("sample").with_transform(transform).test.subset(range(0, 75, 15))
    images = torch.stack([image for image, _ in dataset])
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
        expected = model_builder.backbone(model)(images).float()
    actual = features.extract(model, dataset, precision=precision, cache=False, progress=False).tensors[0]
    near = 1e-5 if precision == "fp32" else 0.1
    torch.testing.assert_close(actual, expected, rtol=0, atol=near * expected.abs().max().item())
    assert norms(model) == 49  # the model itself keeps its norms
