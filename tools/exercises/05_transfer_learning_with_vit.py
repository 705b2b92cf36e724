"""Source of the exercises of notebook 05: cells, with the solutions between `# solution` and `# end`."""

# %% [markdown]
# # 05 Transfer learning with ViT-B/16: exercises
#
# Replace each `raise NotImplementedError`, run the cell and the check below it. All five together take some
# 65 minutes.

# %%
import torch
from torch import nn
from torch.nn import functional as F

from going_modular import checks

# %% [markdown]
# ### Exercise 1: The class token's view (medium, 15 minutes)
#
# `attention` is (layers, B, heads, T, T), the class token first. Return for each image how much the class token looks
# at each patch in the last layer: the mean over heads, as a square grid (B, G, G), scaled so that each grid sums to 1.


# %%
def my_attention_map(attention: torch.Tensor) -> torch.Tensor:
    """Return (B, G, G), each summing to 1."""
    # solution
    to_patches = attention[-1].mean(dim=1)[:, 0, 1:]  # (B, h, T, T) -> (B, N)
    grid = round(to_patches.shape[1] ** 0.5)
    return (to_patches / to_patches.sum(dim=1, keepdim=True)).unflatten(1, (grid, grid))
    # end


# %%
checks.nb05.attention_map(my_attention_map)

# %% [markdown]
# ### Exercise 2: Positions for another size (hard, 20 minutes)
#
# Weights trained on 224 pixels have 14 x 14 positions; at 384 pixels 24 x 24 are needed. Set the class token's position
# aside, lay the others out as a grid, resize it, and put the class token's in front again. `F.interpolate` wants
# (1, D, G, G); take `mode="bicubic"` and `align_corners=True`.


# %%
def my_interpolate(positions: torch.Tensor, new_grid: int) -> torch.Tensor:
    """Map positions (1, 1 + G*G, D) to (1, 1 + new_grid**2, D)."""
    # solution
    class_position, patches = positions[:, :1], positions[:, 1:]
    grid = round(patches.shape[1] ** 0.5)
    square = patches.transpose(1, 2).unflatten(2, (grid, grid))  # (1, N, D) -> (1, D, G, G)
    resized = F.interpolate(square, size=(new_grid, new_grid), mode="bicubic", align_corners=True)
    return torch.cat([class_position, resized.flatten(2).transpose(1, 2)], dim=1)
    # end


# %%
checks.nb05.interpolate(my_interpolate)

# %% [markdown]
# ### Exercise 3: How large is the file? (easy, 10 minutes)
#
# A file of weights holds every parameter and every buffer (such as BatchNorm's averages). Return its size in megabytes
# (1 MB is 1,000,000 bytes), leaving out the header of some kilobytes. `tensor.element_size()` is the bytes of one
# value.


# %%
def my_file_size(model: nn.Module) -> float:
    """Return the size of a model's tensors in MB."""
    # solution
    return sum(tensor.numel() * tensor.element_size() for tensor in model.state_dict().values()) / 1e6
    # end


# %%
checks.nb05.file_size(my_file_size)

# %% [markdown]
# ### Exercise 4: Slow runs count (easy, 10 minutes)
#
# Users notice the slow answers, not the mean. Of measured seconds return the median and the 95th percentile, in
# milliseconds. The first run is a warm-up and does not count. `torch.quantile` interpolates between values.


# %%
def my_latency(seconds: list[float]) -> tuple[float, float]:
    """Return the median and the 95th percentile in milliseconds, without the first run."""
    # solution
    milliseconds = 1000 * torch.tensor(seconds[1:])
    return milliseconds.quantile(0.5).item(), milliseconds.quantile(0.95).item()
    # end


# %%
checks.nb05.latency(my_latency)

# %% [markdown]
# ### Exercise 5: Worth a look (medium, 10 minutes)
#
# `models` maps names to (accuracy, cost). A model is worth a look unless another one *dominates* it: is at least as
# accurate and at most as costly, and better in one of the two. Return the names that no other dominates, the cheapest
# first.


# %%
def my_worth_a_look(models: dict[str, tuple[float, float]]) -> list[str]:
    """Return the names of the models on the Pareto front, by cost."""
    # solution
    front = []
    for name, (accuracy, cost) in models.items():
        others = [other for other in models.values() if other != (accuracy, cost)]
        if not any(other[0] >= accuracy and other[1] <= cost for other in others):
            front.append(name)
    return sorted(front, key=lambda name: models[name][1])
    # end


# %%
checks.nb05.worth_a_look(my_worth_a_look)
