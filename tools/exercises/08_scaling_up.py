"""Source of the exercises of notebook 08: cells, with the solutions between `# solution` and `# end`."""

# %% [markdown]
# # 08 Scaling up: exercises
#
# Replace each `raise NotImplementedError`, run the cell and the check below it. All four together take some
# 55 minutes.

# %%
from collections.abc import Callable

import torch
from torch import nn

from going_modular import checks

# %% [markdown]
# ### Exercise 1: Your share (easy, 10 minutes)
#
# `length` validation images are measured by `processes` processes. Return the indices that process `rank` (from 0)
# measures: together with those of the others each exactly once, and no process has more than one image more than
# another.


# %%
def my_shard(length: int, rank: int, processes: int) -> list[int]:
    """Return the indices of one process."""
    # solution
    return list(range(rank, length, processes))
    # end


# %%
checks.nb08.shard(my_shard)

# %% [markdown]
# ### Exercise 2: One accuracy (easy, 10 minutes)
#
# Each process knows how many of its images were right and how many it has seen. Return the accuracy over all images.
# A process may have seen none.


# %%
def my_together(right: list[int], seen: list[int]) -> float:
    """Return the accuracy over all processes, in [0, 1]."""
    # solution
    return sum(right) / sum(seen)
    # end


# %%
checks.nb08.together(my_together)

# %% [markdown]
# ### Exercise 3: A batch in parts (hard, 20 minutes)
#
# Leave in the parameters' `.grad` the gradients of the mean loss over the whole batch, but call the model only with
# parts of at most `size` images. `loss_fn` returns the mean over what it is given. The last part may be smaller, and
# gradients that are there already must not count.


# %%
def my_accumulate(model: nn.Module, loss_fn: Callable, images: torch.Tensor, labels: torch.Tensor, size: int) -> None:
    """Compute the gradients of a batch (B, ...) in parts."""
    # solution
    model.zero_grad()
    for part, part_labels in zip(images.split(size), labels.split(size), strict=True):
        loss = loss_fn(model(part), part_labels) * len(part) / len(images)
        loss.backward()
    # end


# %%
checks.nb08.accumulate(my_accumulate)

# %% [markdown]
# ### Exercise 4: How many times as fast? (medium, 15 minutes)
#
# A step of the whole batch takes `seconds` on one device. N devices share its images, which divides that time by N, and
# then average `parameters` gradients of 4 bytes in a ring, at `bandwidth` bytes per second: 2 (N - 1) / N times the
# bytes. Return how many times as fast as one device they are.


# %%
def my_scaling(seconds: float, parameters: int, bandwidth: float, devices: int) -> float:
    """Return the speed of some devices over that of one."""
    # solution
    averaging = 2 * (devices - 1) / devices * 4 * parameters / bandwidth
    return seconds / (seconds / devices + averaging)
    # end


# %%
checks.nb08.scaling(my_scaling)
