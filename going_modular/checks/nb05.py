"""Checks of the exercises of notebook 05, Transfer learning with ViT-B/16."""

import torch
from torch import nn
from torchvision.models.vision_transformer import interpolate_embeddings

from going_modular.checks._check import Attempt, Check, describe


@Check
def attention_map(attempt: Attempt) -> None:
    """Check a function that makes a map of the class token's attention."""
    generator = torch.Generator().manual_seed(0)
    for layers, batch, heads, grid in ((2, 1, 1, 2), (3, 2, 4, 3)):
        tokens = grid**2 + 1
        attention = torch.rand(layers, batch, heads, tokens, tokens, generator=generator).softmax(dim=4)
        expected = attention[-1].mean(dim=1)[:, 0, 1:]
        expected = (expected / expected.sum(dim=1, keepdim=True)).reshape(batch, grid, grid)
        found = attempt(attention, shown=f"attention {tuple(attention.shape)}")
        attempt.compare(
            found,
            expected,
            hint="the last layer, the mean over heads, row 0 (the class token looks) without column 0 (at itself), "
            "divided by the sum",
        )


@Check
def interpolate(attempt: Attempt) -> None:
    """Check a function that resizes position embeddings."""
    generator = torch.Generator().manual_seed(0)
    for grid, new_grid in ((3, 5), (4, 2), (3, 3)):
        positions = torch.randn(1, 1 + grid**2, 6, generator=generator)
        state = {"encoder.pos_embedding": positions.clone()}
        expected = interpolate_embeddings(new_grid * 16, 16, state)["encoder.pos_embedding"]
        found = attempt(positions.clone(), new_grid, shown=f"a grid of {grid} x {grid} to {new_grid} x {new_grid}")
        attempt.require(
            isinstance(found, torch.Tensor) and found.shape == expected.shape,
            f"returned {describe(found)} instead of one of shape {tuple(expected.shape)}",
            hint="the class token's position stays, one for each patch of the new grid follows",
        )
        attempt.compare(
            found[:, 0], positions[:, 0], what="the class token's position is", hint="it has no place to move"
        )
        attempt.compare(
            found,
            expected,
            hint="(1, N, D) to (1, D, N) to (1, D, G, G), row by row, and back so; bicubic, align_corners=True",
        )


@Check
def file_size(attempt: Attempt) -> None:
    """Check a function that measures a model's tensors."""
    attempt.expect(
        4 * (1000 * 500 + 500) / 1e6,
        nn.Linear(1000, 500),
        shown="nn.Linear(1000, 500)",
        hint="500,500 parameters of 4 bytes each",
    )
    norm = nn.BatchNorm1d(1000)
    attempt.expect(
        (4 * 4000 + 8) / 1e6,
        norm,
        shown="nn.BatchNorm1d(1000)",
        hint="state_dict() has buffers, too: here two averages of 4 bytes and a counter of 8",
        tolerance=1e-9,
    )
    half = nn.Linear(1000, 500).to(torch.bfloat16)
    attempt.expect(
        2 * 500_500 / 1e6, half, shown="nn.Linear(1000, 500) in bfloat16", hint="a value of bfloat16 has 2 bytes"
    )


@Check
def latency(attempt: Attempt) -> None:
    """Check a function that summarises measured times."""
    for seconds in (
        [9.0, 0.01, 0.02, 0.03, 0.04, 0.05],
        [1.0, *[0.01] * 18, 0.5, 0.6],
        [0.5, 0.004, 0.001, 0.003],
        [1.0, 0.01, 0.02, 0.03, 0.04],
    ):
        rest = 1000 * torch.tensor(seconds[1:])
        expected = (rest.quantile(0.5).item(), rest.quantile(0.95).item())
        attempt.expect(
            expected,
            list(seconds),
            shown=f"{len(seconds)} times, {seconds[0]} s first",
            hint="leave out the first, then the quantiles 0.5 and 0.95, times 1000",
            tolerance=1e-4,
        )


@Check
def worth_a_look(attempt: Attempt) -> None:
    """Check a function that finds the models that no other dominates."""
    cases = (
        ({"a": (0.9, 10.0), "b": (0.8, 20.0)}, ["a"]),
        ({"large": (0.95, 30.0), "small": (0.9, 10.0), "poor": (0.85, 12.0)}, ["small", "large"]),
        ({"dear": (0.9, 20.0), "cheap": (0.9, 10.0)}, ["cheap"]),
        ({"weak": (0.8, 10.0), "strong": (0.9, 10.0)}, ["strong"]),
        ({"one": (0.9, 10.0), "twin": (0.9, 10.0), "cheap": (0.1, 1.0)}, ["cheap", "one", "twin"]),
    )
    for models, expected in cases:
        attempt.expect(
            expected,
            dict(models),
            shown=str(models),
            hint="a model drops out if another is at least as good in both and better in one; sort by cost",
        )
