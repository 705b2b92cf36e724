import copy
import math
from functools import partial
from statistics import mean, stdev

import pytest
import torch
import torchvision
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset
from torchvision.models.vision_transformer import interpolate_embeddings
from torchvision.transforms import v2

from going_modular import data_setup, engine, vit
from going_modular.common.errors import InputError
from going_modular.vit import VisionTransformer

TORCHVISION = {
    "vit_b_16": (vit.BASE, 16, 224),
    "vit_b_32": (vit.BASE, 32, 224),
    "vit_l_16": (vit.LARGE, 16, 64),  # its 24 layers are as wide for small images, and nine times as fast
}
SMALL = {"image_size": 32, "patch_size": 8, "num_layers": 2, "hidden_dim": 32, "mlp_dim": 64, "num_heads": 4}


def small(num_classes: int = 3, **options) -> VisionTransformer:
    """Return a model of 17 tokens with a head that is not zero."""
    torch.manual_seed(0)
    model = VisionTransformer(**SMALL | {"num_classes": num_classes} | options)
    nn.init.normal_(model.head.weight)
    return model.eval()


def their_model(name: str, **options) -> torchvision.models.VisionTransformer:
    """Return a torchvision ViT with random weights; its head is zero there."""
    torch.manual_seed(0)
    theirs = torchvision.models.get_model(name, weights=None, **options)
    nn.init.normal_(theirs.heads.head.weight, std=0.05)
    nn.init.normal_(theirs.heads.head.bias)
    nn.init.normal_(theirs.class_token)
    return theirs.eval()


def relative_difference(found: torch.Tensor, expected: torch.Tensor) -> float:
    return ((found - expected).norm() / expected.norm()).item()


def count(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


def test_it_has_the_published_sizes():
    build = partial(VisionTransformer, patch_size=16, image_size=224)
    with torch.device("meta"):
        assert count(build(**vit.BASE, num_classes=1000)) == 86_567_656
        assert count(build(**vit.BASE, num_classes=3)) == 85_800_963
        assert count(build(**vit.LARGE, num_classes=1000)) == count(torchvision.models.vit_l_16())
        huge = VisionTransformer(**vit.HUGE, patch_size=14, image_size=224, num_classes=1000)
        assert count(huge) == count(torchvision.models.vit_h_14())


@pytest.mark.slow
@pytest.mark.parametrize("name", TORCHVISION)
def test_torchvisions_weights_give_torchvisions_logits_and_gradients(name):
    sizes, patch_size, image_size = TORCHVISION[name]
    theirs = their_model(name, image_size=image_size)
    ours = vit.from_torchvision(theirs)
    with torch.device("meta"):
        same_shape = VisionTransformer(**sizes, patch_size=patch_size, image_size=image_size, num_classes=1000)
    assert ours.state_dict().keys() == same_shape.state_dict().keys()

    images = torch.randn(2, 3, image_size, image_size)
    with torch.no_grad():
        assert relative_difference(ours(images), theirs(images)) < 1e-5

    labels = torch.tensor([3, 700])
    for model in (ours, theirs):
        F.cross_entropy(model(images), labels).backward()
    for ours_gradient, their_gradient in [
        (ours.patch_embedding.projection.weight.grad, theirs.conv_proj.weight.grad),
        (ours.position_embedding.grad, theirs.encoder.pos_embedding.grad),
        (ours.class_token.grad, theirs.class_token.grad),
        (ours.blocks[0].attention.qkv.weight.grad, theirs.encoder.layers[0].self_attention.in_proj_weight.grad),
        (ours.blocks[-1].mlp[3].weight.grad, theirs.encoder.layers[-1].mlp[3].weight.grad),
        (ours.head.weight.grad, theirs.heads.head.weight.grad),
    ]:
        assert relative_difference(ours_gradient, their_gradient) < 1e-4


def test_dropout_and_mode_come_over_from_torchvision_and_nothing_is_shared():
    theirs = their_model("vit_b_32", dropout=0.1, attention_dropout=0.2).train()
    ours = vit.from_torchvision(theirs)
    assert ours.training
    assert not vit.from_torchvision(their_model("vit_b_32")).training
    assert ours.dropout.p == ours.blocks[3].mlp[2].p == 0.1
    assert ours.blocks[3].attention.dropout == 0.2
    with torch.no_grad():
        ours.class_token.zero_()
    assert theirs.class_token.abs().sum() > 0


HEADS = {
    "Linear": lambda: nn.Linear(32, 5),
    "several layers": lambda: nn.Sequential(nn.Dropout(0.2), nn.Linear(32, 8), nn.ReLU(), nn.Linear(8, 5)),
    "none": nn.Identity,
}


@pytest.mark.parametrize("where", ["heads", "heads.head"])
@pytest.mark.parametrize("kind", HEADS)
def test_any_head_comes_over_from_torchvision_and_nothing_is_drawn(kind, where):
    torch.manual_seed(0)
    theirs = torchvision.models.VisionTransformer(**SMALL)
    theirs.set_submodule(where, HEADS[kind]())
    theirs.requires_grad_(False).eval()
    images = torch.randn(2, 3, 32, 32)
    state = torch.get_rng_state()
    ours = vit.from_torchvision(theirs)
    assert torch.equal(torch.get_rng_state(), state)
    with torch.no_grad():
        assert relative_difference(ours(images), theirs(images)) < 1e-5
    assert all(parameter.requires_grad for parameter in ours.parameters())
    theirs_at = {parameter.data_ptr() for parameter in theirs.parameters()}
    assert not theirs_at & {parameter.data_ptr() for parameter in ours.parameters()}


@pytest.mark.slow
def test_position_embeddings_are_interpolated_for_another_image_size():
    theirs = their_model("vit_b_32")
    ours = vit.from_torchvision(theirs, image_size=320)
    state = interpolate_embeddings(320, 32, theirs.state_dict())
    larger = their_model("vit_b_32", image_size=320)
    larger.load_state_dict(state)
    images = torch.randn(1, 3, 320, 320)
    with torch.no_grad():
        assert relative_difference(ours(images), larger(images)) < 1e-5
    assert ours.position_embedding.shape == (1, 101, 768)
    assert theirs.encoder.pos_embedding.shape == (1, 50, 768)  # left as it was


@pytest.mark.parametrize(
    ("build", "said"),
    [
        (lambda: small(image_size=30), "Images of 30 pixels cannot be cut into patches of 8"),
        (lambda: small(image_size=0), "Images of 0 pixels"),
        (lambda: vit.from_torchvision(their_model("vit_b_32"), image_size=100), "100 pixels .* patches of 32"),
        (lambda: small(num_heads=5), "hidden_dim 32 cannot be shared by num_heads 5"),
        (lambda: vit.from_torchvision(their_model("vit_b_32", representation_size=8)), "second layer in its head"),
        (lambda: small()(torch.zeros(1, 3, 40, 32)), r"\(1, 3, 40, 32\); this model takes \(B, C, 32, 32\)"),
        (lambda: small()(torch.zeros(3, 32, 32)), "shape"),
        (lambda: small()(torch.zeros(1, 3, 32, 32), mask=torch.ones(16, 16, dtype=torch.bool)), r"bool \(17, 17\)"),
        (lambda: small()(torch.zeros(1, 3, 32, 32), mask=torch.zeros(17, 17)), "float32"),
        (lambda: vit.local_window_mask(4, 2), "k = 2"),
        (lambda: vit.local_window_mask(4, -1), "k = -1"),
    ],
)
def test_what_does_not_go_together_is_refused(build, said):
    with pytest.raises(InputError, match=said):
        build()


def test_patches_are_embedded_row_by_row():
    embedding = vit.PatchEmbedding(in_channels=3, patch_size=8, hidden_dim=32)
    images = torch.randn(2, 3, 16, 24)
    patches = images.unfold(2, 8, 8).unfold(3, 8, 8).permute(0, 2, 3, 1, 4, 5)  # (B, H/8, W/8, C, 8, 8)
    weight = embedding.projection.weight.flatten(1)  # (D, C * 8 * 8)
    expected = patches.reshape(2, 6, -1) @ weight.T + embedding.projection.bias
    torch.testing.assert_close(embedding(images), expected, rtol=1e-4, atol=1e-5)


def test_attention_is_that_of_pytorchs_own_layer():
    ours = vit.SelfAttention(hidden_dim=32, num_heads=4)
    theirs = nn.MultiheadAttention(32, 4, batch_first=True)
    theirs.load_state_dict(
        {
            "in_proj_weight": ours.qkv.weight,
            "in_proj_bias": ours.qkv.bias,
            "out_proj.weight": ours.projection.weight,
            "out_proj.bias": ours.projection.bias,
        }
    )
    tokens, mask = torch.randn(2, 9, 32), torch.rand(9, 9) > 0.5
    mask.fill_diagonal_(True)
    for chosen in (None, mask):
        expected, weights = theirs(
            tokens, tokens, tokens, attn_mask=None if chosen is None else ~chosen, average_attn_weights=False
        )
        mixed, attention = ours(tokens, chosen, return_attention=True)
        torch.testing.assert_close(mixed, expected)
        torch.testing.assert_close(attention, weights)
        torch.testing.assert_close(ours(tokens, chosen)[0], expected)


def test_asking_for_attention_changes_no_logit_and_gives_rows_that_sum_to_one():
    model, images = small(), torch.randn(2, 3, 32, 32)
    logits, attention = model(images, return_attention=True)
    torch.testing.assert_close(logits, model(images))
    assert attention.shape == (2, 2, 4, 17, 17)
    torch.testing.assert_close(attention.sum(dim=4), torch.ones(2, 2, 4, 17))


@pytest.mark.parametrize(("grid", "k"), [(4, 1), (4, 3), (5, 5), (3, 7)])
def test_a_local_window_is_what_a_loop_would_make(grid, k):
    mask = vit.local_window_mask(grid, k)
    assert mask.shape == (grid**2 + 1, grid**2 + 1)
    assert mask[0].all()
    assert mask[:, 0].all()
    for i in range(grid**2):
        for j in range(grid**2):
            rows, columns = abs(i // grid - j // grid), abs(i % grid - j % grid)
            assert mask[1 + i, 1 + j] == (rows <= k // 2 and columns <= k // 2)


def test_a_masked_patch_has_no_influence():
    model = small(num_layers=1)
    mask = torch.ones(17, 17, dtype=torch.bool)
    mask[:, 5] = False  # nobody looks at the fifth token, the patch in row 1, column 0
    mask[5, 5] = True
    images = torch.randn(1, 3, 32, 32)
    changed = images.clone()
    changed[:, :, 8:16, 0:8] += 10
    torch.testing.assert_close(model(images, mask=mask), model(changed, mask=mask))
    assert not torch.allclose(model(images), model(changed))
    _, attention = model(images, mask=mask, return_attention=True)
    assert attention[0, :, :, 0, 5].abs().sum() == 0


def test_the_first_weights_are_the_authors():
    torch.manual_seed(0)
    model = VisionTransformer(
        image_size=64, patch_size=8, num_layers=2, hidden_dim=192, mlp_dim=768, num_heads=3, num_classes=10
    )
    block = model.blocks[0]
    for kernel in block.attention.qkv.weight.chunk(3):  # of each of query, key and value by itself
        limit = math.sqrt(6 / (192 + 192))
        assert 0.99 * limit < kernel.abs().max() <= limit
        assert kernel.std().item() == pytest.approx(limit / math.sqrt(3), rel=0.02)
    limit = math.sqrt(6 / (192 + 768))
    assert 0.99 * limit < block.mlp[0].weight.abs().max() <= limit
    assert block.mlp[0].bias.std().item() == pytest.approx(1e-6, rel=0.1)
    assert model.position_embedding.std().item() == pytest.approx(0.02, rel=0.05)
    assert model.patch_embedding.projection.weight.std().item() == pytest.approx(math.sqrt(1 / 192), rel=0.05)
    for zero in (model.class_token, model.head.weight, model.head.bias, block.attention.qkv.bias):
        assert not zero.any()
    assert {module.eps for module in model.modules() if isinstance(module, nn.LayerNorm)} == {1e-6}


def test_dropout_and_stochastic_depth_act_in_training_only():
    images = torch.randn(4, 3, 32, 32)
    plain = small()
    for option in ("dropout", "attention_dropout", "stochastic_depth"):
        model = small(**{option: 0.5})
        torch.testing.assert_close(model(images), plain(images))
        model.train()
        assert not torch.equal(model(images), model(images)), option


def test_later_blocks_are_left_out_more_often():
    model = small(num_layers=5, stochastic_depth=0.4)
    assert [block.drop_path.p for block in model.blocks] == pytest.approx([0, 0.1, 0.2, 0.3, 0.4])
    assert small(num_layers=1, stochastic_depth=0.4).blocks[0].drop_path.p == 0


def test_a_block_is_left_out_for_some_images_of_a_batch_and_not_for_others():
    model = small(stochastic_depth=0.5).train()
    logits = model(torch.randn(1, 3, 32, 32).expand(32, -1, -1, -1))
    kinds = logits.detach().round(decimals=3).unique(dim=0)
    assert len(kinds) == 4  # attention and MLP of the last block, each there or not


def test_it_memorises_a_batch():
    torch.manual_seed(0)
    model = VisionTransformer(**SMALL, num_classes=4)
    images, labels = torch.randn(16, 3, 32, 32), torch.arange(16) % 4
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3, weight_decay=0.05)
    schedule = engine.warmup_cosine(optimizer, warmup_steps=10, total_steps=60)
    batches = [(images, labels)]
    engine.train(
        model, batches, batches, optimizer, nn.CrossEntropyLoss(), 60, "cpu", scheduler=schedule, max_grad_norm=1.0,
        progress=False,
    )  # fmt: skip
    loss, accuracy = engine.test_step(model, batches, nn.CrossEntropyLoss(), "cpu")
    assert accuracy == 1
    assert loss < 0.1


@pytest.fixture(scope="module")
def sample() -> tuple[TensorDataset, TensorDataset]:
    """Return the bundled sample as tensors of 64 pixels: to train on, to test on."""
    splits = data_setup.load_splits("sample")
    splits.train.transform = splits.test.transform = v2.Compose(
        [v2.Resize((64, 64)), v2.PILToTensor(), v2.ToDtype(torch.float32, scale=True), v2.Normalize([0.5], [0.25])]
    )
    return tuple(TensorDataset(*next(iter(DataLoader(part, len(part))))) for part in (splits.train, splits.test))


def from_scratch(sample, seed: int, *, as_in_the_table: bool) -> tuple[float, torch.Tensor]:
    """Train a small ViT for 30 epochs; return its test accuracy and its answers."""
    train, test = sample
    engine.set_seeds(seed)
    model = VisionTransformer(
        image_size=64, patch_size=16, num_layers=4, hidden_dim=64, mlp_dim=128, num_heads=4, num_classes=3
    )
    loader, schedule = DataLoader(train, 32, shuffle=True), None
    if as_in_the_table:  # with L2 and large embeddings, as tutorials take it over
        nn.init.normal_(model.class_token)
        nn.init.normal_(model.position_embedding)
        optimizer = torch.optim.Adam(model.parameters(), lr=3e-3, weight_decay=0.3)
    else:
        optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.1)
        schedule = engine.warmup_cosine(optimizer, warmup_steps=24, total_steps=30 * len(loader))
    for _ in range(30):
        engine.train_step(model, loader, nn.CrossEntropyLoss(), optimizer, "cpu", scheduler=schedule, max_grad_norm=1.0)
    _, accuracy = engine.test_step(model, DataLoader(test, 75), nn.CrossEntropyLoss(), "cpu")
    return accuracy, model(test.tensors[0]).argmax(dim=1)


@pytest.mark.slow
def test_from_scratch_it_beats_the_majority_class_beyond_the_spread_of_its_seeds(sample):
    accuracies = [from_scratch(sample, seed, as_in_the_table=False)[0] for seed in range(3)]
    assert min(accuracies) > 1 / 3
    assert mean(accuracies) - 2 * stdev(accuracies) > 1 / 3


@pytest.mark.slow
def test_with_adams_l2_it_never_leaves_a_constant_answer(sample):
    for seed in range(2):
        accuracy, answers = from_scratch(sample, seed, as_in_the_table=True)
        assert len(answers.unique()) == 1
        assert accuracy == pytest.approx(1 / 3)


def test_in_bf16_plain_products_and_the_fused_kernel_agree():
    model, images = small(), torch.randn(2, 3, 32, 32)
    with torch.autocast("cpu", torch.bfloat16):
        fused = model(images).float()
        with torch.inference_mode():
            products = model(images).float()
    assert relative_difference(products, fused) < 0.02
    assert relative_difference(products, model(images)) < 0.05


@pytest.fixture
def scaled() -> VisionTransformer:
    """Return a model of three blocks that scale what they add, whose head reads the patches, too."""
    return small(num_layers=3, layer_scale=True, pooling="class+mean").eval()


@torch.inference_mode()
def test_tokens_after_the_last_block_are_what_the_head_reads(scaled):
    images = torch.rand(2, 3, 32, 32)
    tokens = scaled.tokens(images)
    assert tokens.shape == (2, 17, 32)
    pooled = torch.cat([tokens[:, 0], tokens[:, 1:].mean(dim=1)], dim=1)
    torch.testing.assert_close(scaled.head(pooled), scaled(images))
    scaled.pooling, scaled.head = "class", nn.Linear(32, 3)
    torch.testing.assert_close(scaled.head(tokens[:, 0]), scaled(images))


@torch.inference_mode()
def test_tokens_after_a_block_are_those_of_a_model_that_ends_there(scaled):
    images = torch.rand(1, 3, 32, 32)
    assert torch.equal(scaled.tokens(images, after=3), scaled.tokens(images))
    shorter = copy.deepcopy(scaled)
    shorter.blocks = shorter.blocks[:2]
    shorter.norm = nn.LayerNorm(32, eps=1e-6, elementwise_affine=False)
    torch.testing.assert_close(scaled.tokens(images, after=2), shorter.tokens(images))
    # before the first block tokens are patches with their positions
    first = scaled.patch_embedding(images) + scaled.position_embedding[:, 1:]
    torch.testing.assert_close(scaled.tokens(images, after=0)[:, 1:], F.layer_norm(first, (32,), eps=1e-6))


def test_scales_of_zero_leave_a_block_out(scaled):
    for block in scaled.blocks:
        nn.init.zeros_(block.attention_scale.scale)
        nn.init.zeros_(block.mlp_scale.scale)
    images = torch.rand(1, 3, 32, 32)
    torch.testing.assert_close(scaled.tokens(images, after=2), scaled.tokens(images, after=0))


def test_what_cannot_be_read_is_refused(scaled):
    with pytest.raises(InputError, match="Tokens after block 4; this model has 3 blocks"):
        scaled.tokens(torch.rand(1, 3, 32, 32), after=4)
    with pytest.raises(InputError, match="Unknown pooling 'mean'"):
        small(pooling="mean")
