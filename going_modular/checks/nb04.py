"""Checks of the exercises of notebook 04, A Vision Transformer from scratch."""

import torch
from torch.nn import functional as F

from going_modular import vit
from going_modular.checks._check import Attempt, Check


@Check
def patchify(attempt: Attempt) -> None:
    """Check a function that cuts images into flattened patches."""
    for channels, height, width, size in ((1, 4, 4, 2), (3, 4, 6, 2), (2, 6, 3, 3)):
        images = torch.arange(2 * channels * height * width).float().reshape(2, channels, height, width)
        expected = F.unfold(images, size, stride=size).transpose(1, 2)  # (B, C*P*P, N) -> (B, N, C*P*P)
        found = attempt(images.clone(), size, shown=f"images (2, {channels}, {height}, {width}), patches of {size}")
        attempt.compare(
            found,
            expected,
            hint="after two unfolds the dimensions are (B, C, H/P, W/P, P, P): bring them into the order of the result",
        )


@Check
def embed(attempt: Attempt) -> None:
    """Check a function that adds a class token and positions."""
    patches = torch.arange(2 * 3 * 4).float().reshape(2, 3, 4)
    class_token = torch.full((1, 1, 4), 100.0)
    positions = torch.tensor([1000.0, 2000.0, 3000.0, 4000.0]).view(1, 4, 1).expand(1, 4, 4).clone()
    tokens = attempt(patches.clone(), class_token, positions, shown="patches (2, 3, 4) of 2 images")
    attempt.require(
        isinstance(tokens, torch.Tensor) and tokens.shape == (2, 4, 4),
        "returned no tensor (2, 4, 4)",
        hint="torch.cat along dim=1 puts one more token into each image",
    )
    attempt.compare(tokens[:, 0], torch.full((2, 4), 1100.0), what="the first token of each image is",
                    hint="the class token comes first and gets the first position")  # fmt: skip
    expected = patches + positions[:, 1:]
    attempt.compare(
        tokens[:, 1:], expected, what="the other tokens are", hint="each patch gets the position of its own"
    )


@Check
def attention(attempt: Attempt) -> None:
    """Check a function that computes attention with several heads."""
    generator = torch.Generator().manual_seed(0)
    for num_heads, dim in ((1, 4), (2, 8), (4, 8)):
        query, key, value = (2 * torch.randn(2, 5, dim, generator=generator) for _ in range(3))
        heads = (x.unflatten(2, (num_heads, -1)).transpose(1, 2) for x in (query, key, value))
        expected = F.scaled_dot_product_attention(*heads).transpose(1, 2).flatten(2)
        attempt.expect(
            expected,
            query,
            key,
            value,
            num_heads,
            shown=f"query, key and value (2, 5, {dim}), {num_heads} heads",
            hint="head i has the columns i * D/h to (i + 1) * D/h: unflatten the last dimension into (heads, D/h), "
            "transpose, and turn back before flattening; divide scores by the root of D/h, softmax over the keys",
        )


@Check
def local_window_mask(attempt: Attempt) -> None:
    """Check a function that makes the mask of a local window."""
    for grid, k in ((3, 1), (3, 3), (4, 3), (5, 5)):
        mask = attempt(grid, k, shown=f"grid = {grid}, k = {k}")
        side = grid**2 + 1
        attempt.require(
            isinstance(mask, torch.Tensor) and mask.shape == (side, side) and mask.dtype == torch.bool,
            "returned no tensor of bool (T, T)",
            hint=f"with the class token there are {side} tokens; a comparison gives bool",
        )
        attempt.require(
            bool(mask[0].all()),
            "your mask forbids the class token to look at some tokens",
            hint="row 0 is true everywhere",
        )
        attempt.require(
            bool(mask[:, 0].all()),
            "your mask forbids some patches to look at the class token",
            hint="column 0 is true everywhere",
        )
        expected = vit.local_window_mask(grid, k)
        wrong = [
            f"patch {row - 1} looking at patch {column - 1}" for row, column in (mask != expected).nonzero().tolist()
        ]
        attempt.require(
            not wrong,
            f"{len(wrong)} entries are wrong, such as {''.join(wrong[:1])},",
            hint="patch i lies in row i // grid, column i % grid; both must be at most k // 2 away",
        )


@Check
def count(attempt: Attempt) -> None:
    """Check a function that counts the parameters of a ViT."""
    cases = (
        ({"image_size": 224, "patch_size": 16, "num_layers": 12, "hidden_dim": 768, "mlp_dim": 3072}, 1000),
        ({"image_size": 64, "patch_size": 8, "num_layers": 1, "hidden_dim": 12, "mlp_dim": 20}, 3),
        ({"image_size": 32, "patch_size": 16, "num_layers": 3, "hidden_dim": 8, "mlp_dim": 16}, 10),
    )
    for sizes, num_classes in cases:
        with torch.device("meta"):
            model = vit.VisionTransformer(**sizes, num_classes=num_classes, num_heads=4)
        expected = sum(parameter.numel() for parameter in model.parameters())
        shown = ", ".join(f"{key}={value}" for key, value in (sizes | {"num_classes": num_classes}).items())
        found = attempt(*sizes.values(), num_classes, shown=shown)
        attempt.require(isinstance(found, int), f"returned {found!r}, which is no integer", hint="count in integers")
        attempt.require(
            found == expected,
            f"returned {found:,}, which is {abs(found - expected):,} too {'few' if found < expected else 'many'},",
            hint="count biases, the projection, the class token and its position, the last LayerNorm; heads add none",
        )
