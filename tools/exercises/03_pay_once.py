"""Source of the exercises of notebook 03: cells, with the solutions between `# solution` and `# end`."""

# %% [markdown]
# # 03 Pay once: exercises
#
# Replace each `raise NotImplementedError`, run the cell and the check below it. All five together take some
# 70 minutes.

# %%
import torch
from torch import nn
from torch.utils.data import DataLoader

from going_modular import checks


# %% [markdown]
# ### Exercise 1: Cache features (medium, 15 minutes)
#
# Run a frozen backbone once, in eval mode, over the batches of a DataLoader. Return all features and all labels, in the
# DataLoader's order, such that a head can be trained on them. While it computes, PyTorch notes how each number came
# about, in a *graph*, to get gradients from it; for a frozen backbone that is waste, and `torch.no_grad()` switches it
# off. The features must carry no graph, and not be made in `torch.inference_mode()`.
# %%
def my_cache_features(backbone: nn.Module, dataloader: DataLoader) -> tuple[torch.Tensor, torch.Tensor]:
    """Return features (N, D) and labels (N,) of the batches (images, labels)."""
    # solution
    backbone.eval()
    with torch.no_grad():
        batches = [(backbone(images), labels) for images, labels in dataloader]
    features, labels = zip(*batches, strict=True)
    return torch.cat(features), torch.cat(labels)
    # end


# %%
checks.nb03.cache_features(my_cache_features)


# %% [markdown]
# ### Exercise 2: Keep what is frozen still (medium, 15 minutes)
#
# A replacement for `model.train()`. The model itself goes into training mode. Of its children (`model.children()`), one
# that has parameters, all of them frozen, goes into eval mode with all it contains; the others go into training mode.
# A child without parameters, such as Dropout, is not frozen.
# %%
def my_set_modes(model: nn.Module) -> None:
    """Put children that learn into training mode and frozen ones into eval mode."""
    # solution
    model.train()
    for child in model.children():
        parameters = list(child.parameters())
        if parameters and not any(parameter.requires_grad for parameter in parameters):
            child.eval()
    # end


# %%
checks.nb03.set_modes(my_set_modes)


# %% [markdown]
# ### Exercise 3: Accuracy by samples (easy, 10 minutes)
#
# `batches` is a list of pairs of logits (B, C) and labels (B,). B differs: the last batch may be short. Return the
# share of samples whose largest logit is the label's.
# %%
def my_accuracy(batches: list[tuple[torch.Tensor, torch.Tensor]]) -> float:
    """Return the accuracy over all samples, a number in [0, 1]."""
    # solution
    correct = sum((logits.argmax(dim=1) == labels).sum().item() for logits, labels in batches)
    return correct / sum(len(labels) for _, labels in batches)
    # end


# %%
checks.nb03.accuracy(my_accuracy)


# %% [markdown]
# ### Exercise 4: Folds without leakage (medium, 20 minutes)
#
# Cut the indices 0 to n - 1 into k folds, shuffled by `seed`. Each fold is a pair: the indices to train on and those
# to validate on. Every index is validated on once, never trained on in the same fold, and the validation parts' sizes
# differ by one at most.
# %%
def my_folds(n: int, k: int, seed: int) -> list[tuple[list[int], list[int]]]:
    """Return k pairs of lists of indices: (training, validation)."""
    # solution
    shuffled = torch.randperm(n, generator=torch.Generator().manual_seed(seed)).tolist()
    parts = [shuffled[start::k] for start in range(k)]
    return [([i for other in parts if other is not part for i in other], part) for part in parts]
    # end


# %%
checks.nb03.folds(my_folds)


# %% [markdown]
# ### Exercise 5: Wilson's interval (easy, 10 minutes)
#
# For k right answers of n the interval's ends are
#
# $$\frac{\hat p + \frac{z^2}{2n} \pm z\sqrt{\frac{\hat p(1-\hat p)}{n} + \frac{z^2}{4n^2}}}{1 + \frac{z^2}{n}},
# \qquad \hat p = \frac{k}{n},$$
#
# with z = 1.96 for 95%.
# %%
def my_wilson(successes: int, trials: int, z: float = 1.96) -> tuple[float, float]:
    """Return the interval of a proportion as (low, high)."""
    # solution
    p = successes / trials
    centre = p + z**2 / (2 * trials)
    half = z * (p * (1 - p) / trials + z**2 / (4 * trials**2)) ** 0.5
    return (centre - half) / (1 + z**2 / trials), (centre + half) / (1 + z**2 / trials)
    # end


# %%
checks.nb03.wilson(my_wilson)
