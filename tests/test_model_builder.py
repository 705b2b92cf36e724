import pytest
import torch
import torchvision
from torch import nn

from going_modular import engine, features, model_builder
from going_modular.common.errors import InputError
from going_modular.data import image_folder
from going_modular.models import pretrained, tiny_vgg

WIDTHS = {
    "efficientnet_b0": 1280,
    "vit_b_16": 768,
    "resnet18": 512,
    "convnext_tiny": 768,
    "swin_t": 768,
    "mobilenet_v3_small": 1024,
    "densenet121": 1024,
    "efficientnet_lite0": 1280,
}
# layouts of their own: auxiliary heads, no Dropout before the Linear, a Linear without bias
OTHERS = {"googlenet": 1024, "alexnet": 4096, "maxvit_t": 512, "shufflenet_v2_x0_5": 1024, "mnasnet0_5": 1280}
_ACTIVE_IN_TRAINING = (nn.Dropout, torchvision.ops.StochasticDepth, nn.BatchNorm2d)
FIXED_SIZE = ("vit_b_16", "maxvit_t")


def build(name: str, num_classes: int = 3) -> nn.Module:
    source = "DEFAULT" if name == "efficientnet_lite0" else None
    return model_builder.create_model(name, num_classes, weights=source)[0]


def run_one_epoch(model: nn.Module, side: int) -> None:
    batches = [(torch.randn(2, 3, side, side), torch.tensor([0, 1]))]
    optimizer = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], lr=0.1)
    engine.train(model, batches, batches, optimizer, nn.CrossEntropyLoss(), 1, "cpu", progress=False)


@pytest.mark.slow
@pytest.mark.parametrize("name", [*WIDTHS, *OTHERS])
def test_frozen_means_frozen(name):
    model = build(name)
    head, width = model_builder.head(model), (WIDTHS | OTHERS)[name]
    in_head = {id(tensor) for tensor in [*head.parameters(), *head.buffers()]}
    assert {id(p) for p in model.parameters() if p.requires_grad} == {id(p) for p in head.parameters()}
    assert model_builder.feature_width(model) == width
    assert model_builder.num_classes(model) == 3
    before = {key: value.clone() for key, value in model.state_dict(keep_vars=True).items()}

    run_one_epoch(model, side=224 if name in FIXED_SIZE else 64)
    after = model.state_dict(keep_vars=True)
    changed = {key for key in before if not torch.equal(before[key], after[key])}
    assert changed == {key for key in after if id(after[key]) in in_head}


@pytest.mark.parametrize("name", ["efficientnet_b0", "convnext_tiny", "swin_t", "densenet121"])
def test_frozen_dropout_and_stochastic_depth_are_inactive(name):
    model = build(name)
    head = model_builder.head(model)
    training = []
    model.register_forward_hook(lambda *_: training.append({m for m in model.modules() if m.training}))

    run_one_epoch(model, side=64)
    around_the_head = {module for module in model.modules() if set(module.modules()) & set(head.modules())}
    # flattening and pooling do the same in either mode
    harmless = {m for m in training[0] if not list(m.parameters()) and not isinstance(m, _ACTIVE_IN_TRAINING)}
    assert training[0] - harmless <= around_the_head
    assert set(head.modules()) & training[0]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["efficientnet_b0", "mobilenet_v3_small", "resnet18", "vit_b_16"])
def test_backbone_and_head_make_the_model(name):
    model = build(name)
    images = torch.randn(2, 3, 224, 224)
    with torch.inference_mode():
        features = model_builder.backbone(model)(images)
        torch.testing.assert_close(model_builder.head(model).eval()(features), model(images))
    assert features.shape == (2, WIDTHS[name])


def test_the_backbone_shares_its_tensors_and_leaves_the_model_alone():
    model = build("mobilenet_v3_small")
    layout = repr(model)
    trunk = model_builder.backbone(model)
    own = {tensor.data_ptr() for tensor in model.state_dict().values() if tensor.numel()}
    assert {tensor.data_ptr() for tensor in trunk.state_dict().values() if tensor.numel()} <= own
    assert repr(model) == layout


@pytest.mark.parametrize("name", ["efficientnet_lite0", "vit_s_14", "hybrid_efficientnet_lite0"])
def test_a_model_came_with_the_digest_of_its_backbone(name):
    model, _ = model_builder.create_model(name, 3)
    trunk = model_builder.backbone(model)
    assert model.came_with[1] == pretrained.digest(trunk)
    for parameter in model_builder.head(model).parameters():
        parameter.data.zero_()  # what the head has learned does not count
    assert model_builder.has_pretrained_backbone(model, name, "DEFAULT")
    next(iter(trunk.state_dict().values())).add_(1)  # they are the model's own
    assert not model_builder.has_pretrained_backbone(model, name, "DEFAULT")


def test_published_sizes():
    assert sum(p.numel() for p in torchvision.models.efficientnet_b0().parameters()) == 5_288_548
    b0 = build("efficientnet_b0")
    assert sum(p.numel() for p in b0.parameters() if p.requires_grad) == 3_843
    assert sum(p.numel() for p in b0.parameters() if not p.requires_grad) == 4_007_548
    assert sum(p.numel() for p in build("vit_b_16").parameters()) == 85_800_963


def test_the_new_dropout_keeps_its_rate_and_is_not_in_place():
    dropout = model_builder.head(build("efficientnet_b0"))[0]
    assert (dropout.p, dropout.inplace) == (0.2, False)
    features = torch.ones(4, 1280)
    model_builder.head(build("efficientnet_b0")).train()(features)
    assert torch.equal(features, torch.ones(4, 1280))


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("squeezenet1_1", "squeezenet1_1 has no Linear"),
        ("efficientnet_bo", "try one of efficientnet_b0"),
        ("vit_b16", "vit_b_16"),
        ("#", "Unknown model '#'"),
    ],
)
def test_unusable_names_are_refused(name, said):
    with pytest.raises(InputError, match=said):
        model_builder.create_model(name, 3, weights=None)


def test_no_classes_are_refused():
    with pytest.raises(InputError, match="num_classes is 0"):
        build("resnet18", num_classes=0)


def test_create_model_is_ready_to_predict():
    model, transform = model_builder.create_model("efficientnet_lite0", num_classes=3)
    assert not model.training
    assert transform.crop_size == [224]


@pytest.mark.parametrize(("image_size", "side"), [(64, 13), (32, 5), (224, 53), (16, 1)])
def test_tiny_vgg(image_size, side):
    assert model_builder.TinyVGG is tiny_vgg.TinyVGG
    model = model_builder.TinyVGG(3, 10, 3, image_size=image_size)
    assert model(torch.zeros(2, 3, image_size, image_size)).shape == (2, 3)
    assert model.classifier[1].in_features == 10 * side * side


def test_tiny_vgg_has_the_published_size_and_a_smallest_image():
    assert sum(p.numel() for p in model_builder.TinyVGG(3, 10, 3).parameters()) == 8_083
    with pytest.raises(InputError, match="image_size is 15"):
        model_builder.TinyVGG(3, 10, 3, image_size=15)


@pytest.mark.slow
def test_swag_weights_bring_their_384_pixels_to_cached_features(make_classes, tmp_path):
    torch.manual_seed(0)
    theirs = torchvision.models.vit_b_16(weights=None, image_size=384).eval()
    file = pretrained.hub_path(torchvision.models.ViT_B_16_Weights.IMAGENET1K_SWAG_E2E_V1)
    file.parent.mkdir(parents=True)
    torch.save(theirs.state_dict(), file)

    model, transform = model_builder.create_model("vit_b_16", 2, weights="IMAGENET1K_SWAG_E2E_V1")
    assert transform.crop_size == [384]
    dataset = image_folder.ImageFolder(make_classes("pets", images=1), transform)
    for _ in range(2):  # computed, then read
        extracted, _ = features.extract(model, dataset, precision="fp32", cache=tmp_path / "cache").tensors
        theirs.heads = nn.Identity()
        with torch.inference_mode():
            expected = theirs(torch.stack([image for image, _ in dataset]))
        torch.testing.assert_close(extracted, expected, rtol=1e-3, atol=1e-4)
    assert len(list((tmp_path / "cache").rglob("*.safetensors"))) == 1
