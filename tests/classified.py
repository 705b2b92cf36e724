"""Logits and labels to measure, ordinary and degenerate."""

import numpy as np
import torch
from hypothesis import strategies as st

HUGE = torch.finfo(torch.float32).max
ANY_WIDTH = st.integers(2, 6)


def guesses(samples: int, classes: int, *, seed: int = 0, skill: float = 1.5) -> tuple[torch.Tensor, torch.Tensor]:
    """Return logits of a classifier that is right more often than not, and labels."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(classes, (samples,), generator=generator)
    logits = torch.randn(samples, classes, generator=generator)
    logits[torch.arange(samples), labels] += skill
    return logits, labels


@st.composite
def classified(draw, *, classes: st.SearchStrategy[int] = ANY_WIDTH) -> tuple[torch.Tensor, torch.Tensor]:
    """Draw logits and labels: any, tied, extreme, all right, all wrong; from one sample; classes may be absent."""
    width = draw(classes)
    samples = draw(st.integers(1, 25))
    present = draw(st.lists(st.integers(0, width - 1), min_size=1, unique=True))
    labels = torch.tensor(draw(st.lists(st.sampled_from(present), min_size=samples, max_size=samples)))
    kind = draw(st.sampled_from(["any", "tied", "extreme", "right", "wrong"]))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    if kind == "tied":
        logits = rng.integers(-1, 2, (samples, width))
    elif kind == "extreme":
        logits = rng.choice([-HUGE, -1e4, -40, 0, 40, 1e4, HUGE], (samples, width))
    else:
        logits = rng.normal(scale=2, size=(samples, width))
        towards = labels.numpy() if kind == "right" else (labels.numpy() + 1) % width
        if kind != "any":
            logits[np.arange(samples), towards] += 50
    return torch.tensor(logits, dtype=torch.float32), labels
