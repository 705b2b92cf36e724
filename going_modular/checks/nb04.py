"""Checks of the exercises of notebook 04, A Vision Transformer from scratch.

`yours_or_ours("attention", my_attention)` gives the parts that the later exercises and cells are built of.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

import torch
from torch import nn
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode
from torch.utils.flop_counter import FlopCounterMode

from going_modular import vit
from going_modular.checks._check import Attempt, Check, choose_part

# for predict_shuffle: what the letters of its text do to an image of 4 x 4 patches
GRID, PATCH = 4, 4


@Check
def patchify(attempt: Attempt) -> None:
    """Check a function that cuts images into flattened patches."""
    for channels, height, width, size in ((1, 4, 4, 2), (3, 4, 6, 2), (2, 6, 3, 3)):
        images = torch.arange(2 * channels * height * width).float().reshape(2, channels, height, width)
        found = attempt(images.clone(), size, shown=f"images (2, {channels}, {height}, {width}), patches of {size}")
        attempt.compare(
            found,
            _patchify(images, size),
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
    """Check a function that computes attention with several heads, by hand."""
    generator = torch.Generator().manual_seed(0)
    for num_heads, dim in ((1, 4), (2, 8), (4, 8)):
        query, key, value = (2 * torch.randn(2, 5, dim, generator=generator) for _ in range(3))
        expected = _attention(query, key, value, num_heads)
        with _by_hand(attempt):
            found = attempt(
                query, key, value, num_heads, shown=f"query, key and value (2, 5, {dim}), {num_heads} heads"
            )
        attempt.compare(
            found,
            expected,
            hint="head i has the columns i * D/h to (i + 1) * D/h: unflatten the last dimension into (heads, D/h), "
            "transpose, and turn back before flattening; divide scores by the root of D/h, softmax over the keys",
        )


@Check
def mend_attention(attempt: Attempt) -> None:
    """Check a mended function of attention under a mask: its three faults are told one by one."""
    generator = torch.Generator().manual_seed(0)
    query, key, value = (2 * torch.randn(2, 5, 16, generator=generator) for _ in range(3))
    mask = torch.ones(5, 5, dtype=torch.bool).tril()

    def call(mask: torch.Tensor, value: torch.Tensor, what: str) -> torch.Tensor:
        with _by_hand(attempt):
            mixed = attempt(query, key, value, mask, shown=f"query, key and value (2, 5, 16) and {what}")
        attempt.require(
            isinstance(mixed, torch.Tensor) and mixed.shape == value.shape,
            "returned no tensor (2, 5, 16)",
            hint="return the mixed values",
        )
        return mixed

    hint = "over which dimension must the softmax run, so that the shares of one query sum to 1?"
    everywhere = torch.ones(5, 5, dtype=torch.bool)
    mixed = call(everywhere, torch.ones_like(value), "a mask that allows all")
    attempt.compare(mixed, torch.ones_like(value), what="values that are all 1 become", hint=hint)
    mixed = call(mask, torch.ones_like(value), "a mask that forbids what comes later")
    hint = "softmax makes shares that sum to 1; what is done to them afterwards can spoil that"
    attempt.compare(mixed, torch.ones_like(value), what="values that are all 1 become", hint=hint)
    later = value.clone()
    later[:, 4] += 100
    changed = call(mask, later, "a mask that forbids what comes later")[:, :4]
    same = call(mask, value, "a mask that forbids what comes later")[:, :4]
    hint = "true in the mask means that the row may look at the column; exp of minus infinity is 0"
    attempt.compare(changed, same, what="a change in a token that the others may not see gives them", hint=hint)
    expected = F.scaled_dot_product_attention(query, key, value, attn_mask=mask)
    hint = "the shares are not what the formula gives; what are the scores divided by?"
    attempt.compare(call(mask, value, "a mask that forbids what comes later"), expected, hint=hint)


@Check
def block(attempt: Attempt) -> None:
    """Check a class of encoder blocks, by the package's with the same weights."""
    for hidden_dim, mlp_dim, num_heads in ((8, 20, 2), (12, 6, 3)):
        ours = _scramble(_Block(hidden_dim, mlp_dim, num_heads))
        shown = f"hidden_dim={hidden_dim}, mlp_dim={mlp_dim}, num_heads={num_heads}"
        yours = attempt(hidden_dim, mlp_dim, num_heads, shown=shown)
        _copy_weights(attempt, ours, yours)
        tokens = 3 * torch.randn(2, 5, hidden_dim, generator=torch.Generator().manual_seed(0))
        with torch.inference_mode():
            found, expected = yours.eval()(tokens.clone()), ours.eval()(tokens)
        hint = (
            "normalise, attend, add to what came in; normalise the sum, MLP, add to the sum. The second norm has "
            "weights of its own, and what is added to was not normalised"
        )
        attempt.compare(found, expected, hint=hint, tolerance=1e-4)


@Check
def vision_transformer(attempt: Attempt) -> None:
    """Check a class of Vision Transformers, by the package's with the same weights."""
    for sizes in (
        {"image_size": 8, "patch_size": 4, "num_layers": 2, "hidden_dim": 8, "mlp_dim": 12, "num_heads": 2},
        {"image_size": 12, "patch_size": 4, "num_layers": 3, "hidden_dim": 12, "mlp_dim": 8, "num_heads": 3},
    ):
        ours = _scramble(vit.VisionTransformer(**sizes, num_classes=5))
        yours = attempt(**sizes, num_classes=5, shown=", ".join(f"{key}={value}" for key, value in sizes.items()))
        _copy_weights(attempt, ours, yours)
        images = torch.randn(2, 3, sizes["image_size"], sizes["image_size"], generator=torch.Generator().manual_seed(0))
        with torch.inference_mode():
            found, expected = yours.eval()(images.clone()), ours.eval()(images)
        hint = (
            "patches, then embed, then every block in turn; of each image take the class token, tokens[:, 0], "
            "normalise it, and give it to the head"
        )
        attempt.compare(found, expected, hint=hint, tolerance=1e-4)


@Check
def block_cost(attempt: Attempt) -> None:
    """Check a function that counts what a block costs, by counting what PyTorch multiplies."""
    for grid, hidden_dim, mlp_dim, num_heads in ((2, 8, 12, 1), (3, 8, 32, 2), (14, 768, 3072, 12), (28, 24, 40, 4)):
        products, score_bytes = _measured_cost(grid**2, hidden_dim, mlp_dim, num_heads)
        shown = f"num_patches={grid**2}, hidden_dim={hidden_dim}, mlp_dim={mlp_dim}, num_heads={num_heads}"
        found = attempt(grid**2, hidden_dim, mlp_dim, num_heads, shown=shown)
        attempt.require(
            isinstance(found, tuple) and len(found) == 2 and all(isinstance(value, int) for value in found),
            f"returned {found!r}, which is no pair of integers",
            hint="return multiply_adds, score_bytes; // divides into integers",
        )
        for what, value, expected, hint in (
            ("multiply-adds", found[0], products, "T is N + 1: the class token counts. A product (a, b) @ (b, c) "
             "costs a * b * c. There are query, key, value and projection; scores; the weighted sum; two layers "
             "in the MLP; more heads cost nothing more"),
            ("bytes", found[1], score_bytes, "each head has a score for each pair of tokens; float32 has 4 bytes"),
        ):  # fmt: skip
            much = "few" if value < expected else "many"
            attempt.require(
                value == expected, f"returned {value:,} {what}, {abs(value - expected):,} too {much},", hint=hint
            )


@Check
def predict_shuffle(attempt: Attempt) -> None:
    """Check predictions of what changes a ViT's logits, by running it."""
    found = attempt(shown="a ViT with random weights")
    changes = _changes()
    attempt.require(
        isinstance(found, dict) and set(found) == set(changes) and all(isinstance(v, bool) for v in found.values()),
        f"returned {found!r}",
        hint="a dict with the keys a to e, and True or False for each",
    )
    wrong = [letter for letter, changed in changes.items() if found[letter] != changed]
    attempt.require(
        not wrong,
        f"{len(wrong)} of {len(changes)} predictions did not come true",
        hint="attention adds up over tokens, and a sum does not know their order; but a position belongs to a place, "
        "and E to the pixels' order within a patch",
    )


class _Block(vit.EncoderBlock):
    """The package's block, built and called as the learner's."""

    def __init__(self, hidden_dim: int, mlp_dim: int, num_heads: int) -> None:
        super().__init__(hidden_dim=hidden_dim, mlp_dim=mlp_dim, num_heads=num_heads)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        return super().forward(tokens)[0]


def _patchify(images: torch.Tensor, patch_size: int) -> torch.Tensor:
    return F.unfold(images, patch_size, stride=patch_size).transpose(1, 2)  # (B, C*P*P, N) -> (B, N, C*P*P)


def _embed(patches: torch.Tensor, class_token: torch.Tensor, positions: torch.Tensor) -> torch.Tensor:
    return torch.cat([class_token.expand(len(patches), -1, -1), patches], dim=1) + positions


def _attention(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, num_heads: int) -> torch.Tensor:
    heads = (x.unflatten(2, (num_heads, -1)).transpose(1, 2) for x in (query, key, value))
    return F.scaled_dot_product_attention(*heads).transpose(1, 2).flatten(2)


class _ByHand(TorchFunctionMode):
    """Note whether PyTorch's ready-made attention is called."""

    used: str | None = None

    def __torch_function__(self, function, types, arguments=(), options=None):
        name = getattr(function, "__name__", "")
        if "attention" in name or "multi_head" in name:
            self.used = name
        return function(*arguments, **(options or {}))


@contextmanager
def _by_hand(attempt: Attempt) -> Iterator[None]:
    """Raise Wrong where what is called inside leaves attention to PyTorch."""
    with _ByHand() as mode:
        yield
    attempt.require(
        mode.used is None,
        f"called {mode.used}",
        hint="by hand: scores, softmax and the weighted sum",
    )


def _scramble(model: nn.Module) -> nn.Module:
    """Draw all weights anew, so that none is 0 or 1 and a part that is left out is missed."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.3 * torch.randn(parameter.shape, generator=generator))
    return model


def _copy_weights(attempt: Attempt, ours: nn.Module, yours: nn.Module) -> None:
    """Give the learner's model the weights of ours; raise Wrong where a name or a number of weights differs."""
    attempt.require(isinstance(yours, nn.Module), "made no nn.Module", hint="keep the class that stands there")
    known, theirs = ours.state_dict(), yours.state_dict()
    hint = "the text names the parts; call them so, and assign each to self"
    missing, more = sorted(known.keys() - theirs.keys()), sorted(theirs.keys() - known.keys())
    attempt.require(not missing, f"your model lacks the weights {', '.join(missing[:3])}", hint=hint)
    attempt.require(not more, f"your model has other weights: {', '.join(more[:3])},", hint=hint)
    for name, tensor in known.items():
        attempt.require(
            tensor.numel() == theirs[name].numel(),
            f"your weights {name} have the shape {tuple(theirs[name].shape)}",
            hint=f"there should be {tensor.numel()} of them",
        )
    yours.load_state_dict({name: tensor.reshape(theirs[name].shape) for name, tensor in known.items()})


def _measured_cost(num_patches: int, hidden_dim: int, mlp_dim: int, num_heads: int) -> tuple[int, int]:
    """Run the package's block on one image and return its multiply-adds and the bytes of its scores."""
    tokens = torch.zeros(1, num_patches + 1, hidden_dim, device="meta")
    with torch.device("meta"):
        measured = vit.EncoderBlock(hidden_dim=hidden_dim, mlp_dim=mlp_dim, num_heads=num_heads)
    with FlopCounterMode(display=False) as counter:
        _, scores = measured(tokens, return_attention=True)
    return counter.get_total_flops() // 2, scores.numel() * scores.element_size()  # a multiply-add is two operations


@torch.inference_mode()
def _changes() -> dict[str, bool]:
    """Tell which changes of a random image change the logits of a random ViT."""
    sizes = {"num_layers": 2, "hidden_dim": 16, "mlp_dim": 16, "num_heads": 2, "num_classes": 3}
    model = _scramble(vit.VisionTransformer(image_size=GRID * PATCH, patch_size=PATCH, **sizes)).eval()
    generator = torch.Generator().manual_seed(0)
    image = torch.randn(1, 3, GRID * PATCH, GRID * PATCH, generator=generator)
    order, pixels = torch.randperm(GRID**2, generator=generator), torch.randperm(PATCH**2, generator=generator)
    patches = _patchify(image, PATCH)
    shuffled = _put_together(patches[:, order])
    inside = _put_together(patches.unflatten(2, (3, -1))[..., pixels].flatten(2))
    positions = model.position_embedding.clone()
    before = model(image)
    changes = {"a": model(shuffled)}
    model.position_embedding[:, 1:] = positions[:, 1:][:, order]
    changes["b"] = model(shuffled)
    model.position_embedding.zero_()
    without = model(image)
    changes |= {"c": model(shuffled), "d": model(image.flip(3)), "e": model(inside)}
    return {
        letter: not torch.allclose(logits, before if letter in "ab" else without, rtol=1e-3, atol=1e-4)
        for letter, logits in changes.items()
    }


def _put_together(patches: torch.Tensor) -> torch.Tensor:
    """Map flattened patches (B, N, C*P*P) to images: the inverse of `_patchify`."""
    return F.fold(patches.transpose(1, 2), GRID * PATCH, kernel_size=PATCH, stride=PATCH)


yours_or_ours = partial(
    choose_part,
    {
        "patchify": (patchify, _patchify),
        "embed": (embed, _embed),
        "attention": (attention, _attention),
        "block": (block, _Block),
        "vision_transformer": (vision_transformer, vit.VisionTransformer),
        "block_cost": (block_cost, _measured_cost),
    },
)
