"""Source of the exercises of notebook 00: cells, with the solutions between `# solution` and `# end`."""

# %% [markdown]
# # 00 Quickstart: exercises
#
# Replace each `raise NotImplementedError`, run the cell and the check below it. All four together take some
# 20 minutes.

# %%
import math

import torch
from torch import nn

from going_modular import checks

# %% [markdown]
# ### Exercise 1: Count what learns (easy, 5 minutes)
#
# Return how many numbers in a model will be changed by training: the parameters whose `requires_grad` is true.
# `model.parameters()` yields tensors; `tensor.numel()` is the number of values in one.


# %%
def count_trainable(model: nn.Module) -> int:
    """Return the number of trainable parameters."""
    # solution
    return sum(tensor.numel() for tensor in model.parameters() if tensor.requires_grad)
    # end


# %%
checks.nb00.count_trainable(count_trainable)

# %% [markdown]
# ### Exercise 2: The loss of a guess (easy, 5 minutes)
#
# A model that knows nothing gives each of `num_classes` classes the same probability. Cross-entropy, the loss that we
# train with, is minus the natural logarithm of the true class's probability. What is it here?


# %%
def guessing_loss(num_classes: int) -> float:
    """Return the cross-entropy, in nats, of equal probabilities."""
    # solution
    return math.log(num_classes)
    # end


# %%
checks.nb00.guessing_loss(guessing_loss)

# %% [markdown]
# ### Exercise 3: Accuracy (easy, 5 minutes)
#
# Return the share of rows in which the largest logit is that of the true label, between 0 and 1.


# %%
def share_right(logits: torch.Tensor, labels: torch.Tensor) -> float:
    """Return the accuracy of logits (N, C) on labels (N,)."""
    # solution
    return float((logits.argmax(dim=1) == labels).float().mean())
    # end


# %%
checks.nb00.share_right(share_right)

# %% [markdown]
# ### Exercise 4: From logits to an answer (easy, 5 minutes)
#
# A model returns one number per class, its *logits*. Softmax turns them into probabilities. Return the name of the most
# probable class and its probability as a Python float. Here the logits are one row: their axis is 0.


# %%
def best_guess(logits: torch.Tensor, class_names: list[str]) -> tuple[str, float]:
    """Return the most probable class of logits (C,) and its probability."""
    # solution
    probabilities = logits.softmax(dim=0)
    best = int(probabilities.argmax())
    return class_names[best], float(probabilities[best])
    # end


# %%
checks.nb00.best_guess(best_guess)
