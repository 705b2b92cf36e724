import copy

import numpy as np
import pytest
import torch
import torchvision
from PIL import Image
from torch import nn
from torch.nn import functional as F

from going_modular import model_builder, vit
from going_modular.common.errors import InputError
from going_modular.evaluation import interpret

CNNS = ["resnet18", "efficientnet_lite0", "convnext_tiny", "densenet121", "swin_t"]
TINY_VIT = {"image_size": 32, "patch_size": 8, "num_layers": 2, "hidden_dim": 32, "mlp_dim": 64, "num_heads": 2}


def random_model(name: str) -> nn.Module:
    torch.manual_seed(0)
    return model_builder.create_model(name, 3, weights=None)[0]


def random_images(count: int = 2, side: int = 64) -> torch.Tensor:
    return torch.randn(count, 3, side, side, generator=torch.Generator().manual_seed(1))


def their_vit() -> torchvision.models.VisionTransformer:
    torch.manual_seed(0)
    sizes = {name: TINY_VIT[name] for name in ("image_size", "patch_size", "num_layers", "num_heads", "hidden_dim")}
    return torchvision.models.VisionTransformer(**sizes, mlp_dim=64, num_classes=3).eval()


def rescaled(maps: torch.Tensor, side: int) -> torch.Tensor:
    """Maps (B, h, w) as `interpret` returns them."""
    maps = F.interpolate(maps[:, None], (side, side), mode="bilinear")[:, 0]
    return maps / maps.amax(dim=(1, 2), keepdim=True).clamp(min=1e-30)


# what to look at


def test_the_most_wrong_are_wrong_and_sure():
    logits = torch.tensor([[9.0, 0.0], [0.0, 2.0], [5.0, 0.0], [0.0, 1.0], [40.0, 0.0], [0.0, 1.0]])
    labels = [0, 0, 1, 0, 1, 0]
    assert interpret.most_wrong(logits, labels, 9) == [4, 2, 1, 3, 5]
    assert interpret.most_wrong(logits, torch.tensor(labels), 2) == [4, 2]
    assert interpret.most_wrong(logits, logits.argmax(dim=1), 2) == []


def test_the_least_sure_come_first():
    logits = torch.tensor([[9.0, 0.0, 0.0], [1.0, 1.0, 1.0], [50.0, 0.0, 0.0], [0.0, 0.0, 3.0], [2.0, 2.0, 2.0]])
    assert interpret.least_sure(logits, 9) == [1, 4, 3, 0, 2]
    assert interpret.least_sure(logits, 3) == [1, 4, 3]


@pytest.mark.parametrize("seed", range(5))
def test_both_rank_by_the_top_probability(seed):
    logits = torch.randn(200, 4, generator=torch.Generator().manual_seed(seed))
    labels = torch.randint(4, (200,), generator=torch.Generator().manual_seed(seed))
    top = logits.softmax(dim=1).amax(dim=1)
    wrong = {i for i in range(200) if logits[i].argmax() != labels[i]}
    assert interpret.least_sure(logits, 200) == sorted(range(200), key=lambda i: top[i])
    assert interpret.most_wrong(logits, labels, 200) == sorted(wrong, key=lambda i: -top[i])


# Grad-CAM


@pytest.mark.parametrize("pool", [True, False])
def test_grad_cam_is_the_formula(pool):
    """With a Linear on the map the gradients are its weights, those at a place being divided by places if pooled."""
    torch.manual_seed(0)
    body = nn.Sequential(nn.Conv2d(3, 5, 3, stride=4), nn.ReLU())
    last = nn.Linear(5 if pool else 5 * 8 * 8, 3)
    model = nn.Sequential(body, *([nn.AdaptiveAvgPool2d(1)] if pool else []), nn.Flatten(), last).eval()
    images, labels = random_images(3, side=32), [2, 0, 1]
    activations = body(images)
    weights = last.weight[labels].view(3, 5, -1).mean(dim=2)  # (B, C)
    expected = (weights[:, :, None, None] * activations).sum(dim=1).relu()
    found = interpret.grad_cam(model, images, labels)
    torch.testing.assert_close(found, rescaled(expected, 32))
    assert not found.requires_grad


MAPS = {
    "resnet18": lambda model: nn.Sequential(*list(model.children())[:-2]),
    "efficientnet_lite0": lambda model: model.features,
    "densenet121": lambda model: nn.Sequential(model.features, nn.ReLU()),  # its forward has the ReLU, in place
    "swin_t": lambda model: nn.Sequential(model.features, model.norm, model.permute),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", MAPS)
def test_the_last_map_of_known_models_is_found(name):
    """Where a Linear follows global pooling, Grad-CAM is CAM: the Linear's weights times the last map."""
    model, images = random_model(name), random_images()
    last = next(module for module in reversed(list(model.modules())) if isinstance(module, nn.Linear))
    for label in range(3):
        with torch.no_grad():
            expected = torch.einsum("c,bchw->bhw", last.weight[label], MAPS[name](model)(images)).relu()
        found = interpret.grad_cam(model, images, [label, label])
        torch.testing.assert_close(found, rescaled(expected, 64), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("learns", [False, True])
def test_grad_cam_switches_no_gradients_on_in_the_middle_of_a_forward_pass(learns):
    model = random_model("resnet18").requires_grad_(learns)
    passes, flags = [], []
    model.register_forward_pre_hook(lambda *_: flags.clear())
    model.register_forward_hook(lambda *_: passes.append(set(flags)))
    for module in model.children():
        module.register_forward_hook(lambda *_: flags.append(torch.is_grad_enabled()))
    with torch.no_grad():
        interpret.grad_cam(model, random_images())
        assert not torch.is_grad_enabled()
    assert passes == [{False}, {True}]
    assert all(parameter.requires_grad is learns for parameter in model.parameters())


@pytest.mark.slow
@pytest.mark.parametrize("name", CNNS)
def test_a_map_does_not_depend_on_the_batch_and_is_one_of_the_predicted_class(name):
    model, images = random_model(name), random_images(3)
    with torch.no_grad():
        predicted = model(images).argmax(dim=1)
    maps = interpret.grad_cam(model, images, predicted)
    assert maps.shape == (3, 64, 64)
    assert torch.equal(maps, interpret.grad_cam(model, images))
    alone = torch.cat([interpret.grad_cam(model, image) for image in images.split(1)])
    torch.testing.assert_close(maps, alone, rtol=1e-3, atol=1e-4)
    by_class = torch.stack([interpret.grad_cam(model, images, [label] * 3) for label in range(3)])
    assert by_class.min() >= 0
    assert set(by_class.amax(dim=(2, 3)).flatten().tolist()) <= {0.0, 1.0}
    assert len(by_class.flatten(1).unique(dim=0)) == 3


def test_a_class_that_nothing_speaks_for_has_a_map_of_zeros():
    model = nn.Sequential(nn.Conv2d(3, 2, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(2, 2))
    with torch.no_grad():
        model[-1].weight.copy_(torch.tensor([[1.0, 1.0], [-1.0, -1.0]]))
    for_first, for_second = interpret.grad_cam(model, random_images(), [0, 1])
    assert for_first.max() == 1
    assert for_second.abs().max() == 0


# the model stays as it was


def state_of(model: nn.Module) -> list:
    """Everything that explaining must not change."""
    return [
        [module.training for module in model.modules()],
        [(parameter.requires_grad, parameter.grad) for parameter in model.parameters()],
        [(name, tensor.clone().numpy().tobytes()) for name, tensor in model.state_dict().items()],
        [len(module._forward_hooks) + len(module._forward_pre_hooks) for module in model.modules()],
        torch.get_rng_state().tolist(),
    ]


@pytest.mark.parametrize("name", ["resnet18", "densenet121", "their_vit", "our_vit", "hybrid_efficientnet_lite0"])
def test_explaining_leaves_the_model_and_the_random_generator_alone(name):
    vits = {"their_vit": their_vit, "our_vit": lambda: vit.from_torchvision(their_vit())}
    model = vits[name]() if name in vits else random_model(name)
    side = 32 if name in vits else 224 if name.startswith("hybrid") else 64
    model.train()
    next(model.children()).eval()  # some here, some there
    *_, last = model.parameters()
    last.requires_grad_(False)
    marked = next(model.parameters()).requires_grad_()
    marked.grad = torch.ones_like(marked)
    before = state_of(model)
    first, second = (interpret.explain(model, random_images(side=side))[0] for _ in range(2))
    assert state_of(model) == before
    assert marked.grad.min() == marked.grad.max() == 1
    assert torch.equal(first, second)  # no Dropout


class Broken(nn.Module):
    """Fail for more than one image: after the feature map is found, before it is explained."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if len(x) > 1:
            raise RuntimeError("broken")
        return x


@pytest.mark.parametrize("model", ["cnn", "vit"])
def test_an_error_leaves_the_model_alone_too(model):
    cnn = nn.Sequential(nn.Conv2d(3, 2, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), Broken(), nn.Linear(2, 2)).train()
    model = cnn if model == "cnn" else vit.VisionTransformer(**TINY_VIT, num_classes=2)
    before = state_of(model)
    with pytest.raises((RuntimeError, InputError), match=r"broken|takes \(B, C, 32, 32\)"):
        interpret.explain(model, random_images())
    assert state_of(model) == before
    assert torch.is_grad_enabled()


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode, torch.enable_grad])
def test_maps_are_the_same_in_any_gradient_mode(mode):
    model = random_model("resnet18").requires_grad_()
    expected = interpret.grad_cam(model, random_images(), [0, 1])
    with mode():
        enabled = torch.is_grad_enabled()
        found = interpret.grad_cam(model, random_images(), torch.tensor([0, 1]))
        assert torch.is_grad_enabled() == enabled
    assert torch.equal(found, expected)


# attention rollout


def test_rollout_is_the_formula():
    ours = vit.from_torchvision(their_vit())
    images = random_images(2, side=32)
    attention = ours(images, return_attention=True)[1].double()
    for i, found in enumerate(interpret.attention_rollout(ours, images)):
        first, second = ((attention[layer, i].mean(dim=0) + torch.eye(17)) / 2 for layer in range(2))
        class_token = (second @ first)[0]
        assert abs(class_token.sum() - 1) < 1e-5
        expected = rescaled(class_token[1:].view(1, 4, 4), 32)[0]
        torch.testing.assert_close(found, expected.float())


HEADS = {"": lambda old: old, "Linear": lambda _: nn.Linear(32, 5), "no head": lambda _: nn.Identity()}
HEADS["several layers"] = lambda _: nn.Sequential(nn.Dropout(0.2), nn.Linear(32, 8), nn.ReLU(), nn.Linear(8, 5))


@pytest.mark.parametrize("head", HEADS)
def test_torchvisions_vit_has_the_maps_of_ours_whatever_its_head(head):
    theirs = their_vit().requires_grad_(False)
    theirs.heads = HEADS[head](theirs.heads)
    images = random_images(2, side=32)
    expected = interpret.attention_rollout(vit.from_torchvision(their_vit()), images)
    assert torch.equal(interpret.attention_rollout(theirs, images), expected)


def test_a_hybrid_is_explained_by_its_transformer():
    model, images = random_model("hybrid_efficientnet_lite0"), random_images(2, side=224)
    maps, method = interpret.explain(model, images)
    attention = model.head(model.features(images).flatten(1), return_attention=True)[1]
    assert attention.shape == (2, 2, 4, 50, 50)
    assert method == "attention rollout"
    assert maps.shape == (2, 224, 224)
    torch.testing.assert_close(maps.amax(dim=(1, 2)), torch.ones(2))


@pytest.mark.parametrize(
    ("build", "side", "method"),
    [(their_vit, 32, "attention_rollout"), (lambda: random_model("resnet18"), 64, "grad_cam")],
)
def test_explain_takes_the_method_that_fits(build, side, method):
    model, images = build(), random_images(side=side)
    maps, name = interpret.explain(model, images)
    assert name.lower().replace(" ", "_").replace("-", "_") == method
    assert torch.equal(maps, getattr(interpret, method)(model, images))


# bad input


@pytest.mark.parametrize(
    ("run", "message"),
    [
        (lambda m: interpret.grad_cam(m, random_images()[0]), r"shape \(3, 64, 64\); give a batch"),
        (lambda m: interpret.grad_cam(m, random_images(0)), r"shape \(0, 3, 64, 64\); give a batch"),
        (lambda m: interpret.attention_rollout(their_vit(), random_images()[0]), r"shape \(3, 64, 64\); give a batch"),
        (lambda m: interpret.grad_cam(m, random_images(), [0]), r"Labels \[0\]; give 2, .* from 0 to 2"),
        (lambda m: interpret.grad_cam(m, random_images(), [0, 3]), r"Labels \[0, 3\]; give 2, .* from 0 to 2"),
        (lambda m: interpret.grad_cam(m, random_images(), [-1, 0]), r"Labels \[-1, 0\]; give 2"),
        (lambda m: interpret.grad_cam(their_vit(), random_images()), "VisionTransformer take attention_rollout"),
        (lambda m: interpret.attention_rollout(m, random_images()), "A ResNet has no attention .* take grad_cam"),
        (lambda m: interpret.grad_cam(m, random_images(side=1)), "ResNet makes no feature map .* of 1x1 pixels"),
        (
            lambda m: interpret.explain(nn.Sequential(nn.Flatten(), nn.Linear(3 * 64 * 64, 2)), random_images()),
            "Sequential makes no feature map .* take a CNN",
        ),
    ],
)
def test_bad_input_is_named(run, message):
    with pytest.raises(InputError, match=message) as caught:
        run(random_model("resnet18"))
    assert "\n" not in str(caught.value)


# pictures


def test_pictures_show_what_the_model_saw():
    _, transform = model_builder.create_model("resnet18", 3, weights=None)
    side = transform.crop_size[0]
    border = transform.resize_size[0] - side
    noise = np.random.default_rng(0).integers(0, 256, (side + border, side + border + 40, 3), dtype=np.uint8)
    batch = transform(Image.fromarray(noise))[None]
    [picture] = interpret.denormalize(batch, transform)
    top, left = border // 2, (border + 40) // 2
    seen = noise[top : top + side, left : left + side]
    assert np.abs(np.asarray(picture).astype(int) - seen).max() <= 1


# sanity: Adebayo et al., 2018, https://arxiv.org/abs/1810.03292


def cornered(count: int, side: int, size: int, generator: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    """Images of noise; of class k a pattern, as strong as the noise, fills corner k (row 0: 0 1, row 1: 2 3)."""
    images, labels = torch.randn(count, 3, side, side, generator=generator), torch.arange(count) % 4
    for image, label in zip(images, labels.tolist(), strict=True):
        add_pattern(image, label, size)
    return images, labels


def add_pattern(image: torch.Tensor, label: int, size: int) -> None:
    place = torch.arange(size)
    stripes = (place // 2 % 2 * 2 - 1.0).expand(size, size)
    diagonal = (place[:, None] + place) // 2 % 2 * 2 - 1.0
    rows, columns = (slice(0, size) if at == 0 else slice(-size, None) for at in divmod(label, 2))
    image[:, rows, columns] = [stripes, stripes.T, stripes * stripes.T, diagonal][label]


def in_the_corner(maps: torch.Tensor, labels: torch.Tensor) -> float:
    """The share of maps that have more of their mass in the class's quarter than in any other."""
    quarters = F.avg_pool2d(maps[:, None], maps.shape[1] // 2).flatten(1)  # (B, 4)
    its_own, others = quarters.gather(1, labels[:, None]), quarters.scatter(1, labels[:, None], -1)
    return (its_own > others).all(dim=1).float().mean().item()


def fit(model: nn.Module, batch, *, steps: int, lr: float) -> None:
    optimizer = torch.optim.Adam(model.parameters(), lr)
    for _ in range(steps):
        inputs, labels = batch()
        optimizer.zero_grad()
        F.cross_entropy(model(inputs), labels).backward()
        optimizer.step()


@pytest.fixture(scope="module")
def corner_cnn() -> nn.Module:
    """Lite0 with ImageNet weights and a head that tells the corners' patterns apart."""
    torch.manual_seed(0)
    model, _ = model_builder.create_model("efficientnet_lite0", 4)
    images, labels = cornered(48, 128, 48, torch.Generator().manual_seed(0))
    with torch.no_grad():
        features = model_builder.backbone(model)(images)
    fit(model_builder.head(model), lambda: (features, labels), steps=60, lr=1e-2)
    return model


@pytest.mark.slow
def test_grad_cam_finds_the_corner_and_random_weights_do_not(corner_cnn):
    images, labels = cornered(24, 128, 48, torch.Generator().manual_seed(1))
    assert (corner_cnn(images).argmax(dim=1) == labels).float().mean() > 0.9
    assert in_the_corner(interpret.grad_cam(corner_cnn, images), labels) >= 0.9

    shares = []
    for seed in range(5):
        torch.manual_seed(seed)
        model, _ = model_builder.create_model("efficientnet_lite0", 4, weights=None)
        maps = interpret.grad_cam(model, images, labels)
        assert (maps.amax(dim=(1, 2)) == 1).float().mean() > 0.5  # most of them show something
        shares.append(in_the_corner(maps, labels))
    assert np.mean(shares) < 0.45  # by chance: 0.25


def test_grad_cam_finds_the_class_it_is_asked_for(corner_cnn):
    images, labels = cornered(24, 128, 48, torch.Generator().manual_seed(2))
    others = (labels + 1) % 4
    for image, label in zip(images, others.tolist(), strict=True):
        add_pattern(image, label, 48)
    for asked in (labels, others):
        assert in_the_corner(interpret.grad_cam(corner_cnn, images, asked), asked) >= 0.9


@pytest.mark.slow
def test_rollout_finds_the_corner_and_random_weights_do_not():
    torch.manual_seed(0)
    generator = torch.Generator().manual_seed(0)
    model = vit.VisionTransformer(**TINY_VIT, num_classes=4)
    fresh = copy.deepcopy(model)
    fit(model, lambda: cornered(64, 32, 8, generator), steps=150, lr=3e-3)
    images, labels = cornered(64, 32, 8, generator)
    assert (model(images).argmax(dim=1) == labels).float().mean() > 0.9
    assert in_the_corner(interpret.attention_rollout(model, images), labels) >= 0.9
    assert in_the_corner(interpret.attention_rollout(fresh, images), labels) < 0.45
