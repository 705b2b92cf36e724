"""Source of the exercises of notebook 05: cells, with the solutions between `# solution` and `# end`."""

# %% [markdown]
# # 05 Transfer learning with a Vision Transformer: exercises
#
# Replace each `raise NotImplementedError`, run the cell and the check below it. All five together take some
# 85 minutes.

# %%
import numpy as np
import torch
from torch.nn import functional as F

from going_modular import checks

# %% [markdown]
# ### Exercise 1: Ask every block (medium, 15 minutes)
#
# `features` (K, N, D) holds D numbers for each of N training images after each of K blocks. `folds` is a list of pairs:
# the indices to train on, and those held out. For each block and each fold: make a new probe with `make_probe()`, `fit`
# it on the fold's training images, and let it `predict` those held out. Return a table of true and false, (K, N): was
# the image predicted rightly while it was held out? Each image is held out once. It must stay at its place in the
# table, whatever the order of the folds.


# %%
def my_ask_blocks(features: np.ndarray, labels: np.ndarray, folds: list, make_probe) -> np.ndarray:
    """Return (K, N) of bool: which held-out images a probe on each block predicts rightly."""
    # solution
    right = np.zeros(features.shape[:2], dtype=bool)
    for block, values in enumerate(features):
        for training, held_out in folds:
            probe = make_probe().fit(values[training], labels[training])
            right[block, held_out] = probe.predict(values[held_out]) == labels[held_out]
    return right
    # end


# %%
checks.nb05.ask_blocks(my_ask_blocks)

# %% [markdown]
# ### Exercise 2: PCA by hand (medium, 10 minutes)
#
# `tokens` (N, D) holds one token a row. Principal component analysis (PCA) finds the k directions along which the rows
# differ most. Centre the rows (subtract the mean row), and take the singular value decomposition of what is left,
# `torch.linalg.svd(centred, full_matrices=False)`. It returns U, S and V transposed; the rows of V transposed are the
# directions, of length 1, the one with the largest spread first. Return each row's coordinates along the first k of
# them, (N, k). How does one get a row's coordinate along a direction? A direction may point either way: signs do not
# count.
#
# <details><summary>A hint</summary>
#
# The coordinate of a row along a direction of length 1 is their dot product. A matrix product takes all at once: (N, D)
# @ (D, k) gives (N, k). The first k directions are rows, (k, D), so they have to be transposed, `.T`.
#
# </details>


# %%
def my_pca(tokens: torch.Tensor, k: int) -> torch.Tensor:
    """Map tokens (N, D) to their coordinates (N, k) along the first k principal components."""
    # solution
    centred = tokens - tokens.mean(dim=0)
    _, _, directions = torch.linalg.svd(centred, full_matrices=False)  # rows, the largest spread first
    return centred @ directions[:k].T
    # end


# %%
checks.nb05.pca(my_pca)

# %% [markdown]
# ### Exercise 3: Ask the neighbours (medium, 15 minutes)
#
# Classify without training. For each query find the k training images whose features point in the most similar
# direction: those with the largest *cosine*, the dot product of two vectors that were both scaled to length 1. Each
# neighbour votes for its own class with its cosine as weight; the class with the largest sum wins. Return the
# neighbours' indices (M, k), the nearest first, and the predicted classes (M,).
#
# <details><summary>A hint</summary>
#
# `F.normalize(x, dim=1)` scales each row to length 1; then one matrix product gives all cosines, (M, N).
# `topk(k, dim=1)` returns the k largest of each row and where they stand. For the votes start from zeros, (M, classes),
# and add each neighbour's cosine in the column of its class: a loop over the classes will do, and so will
# `scatter_add_(1, classes, cosines)`.
#
# </details>


# %%
def my_neighbours(
    queries: torch.Tensor, features: torch.Tensor, labels: torch.Tensor, k: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Map queries (M, D) to the k nearest of features (N, D), with labels (N,), and to classes."""
    # solution
    cosines = F.normalize(queries, dim=1) @ F.normalize(features, dim=1).T  # (M, N)
    weights, nearest = cosines.topk(k, dim=1)  # both (M, k), the largest first
    votes = torch.zeros(len(queries), int(labels.max()) + 1)
    votes.scatter_add_(1, labels[nearest], weights)
    return nearest, votes.argmax(dim=1)
    # end


# %%
checks.nb05.neighbours(my_neighbours)

# %% [markdown]
# ### Exercise 4: Positions for another size (medium, 15 minutes)
#
# A ViT has a learned position for the class token, which stands first, and one for each patch of a G x G grid, row by
# row. Images of another size have another grid. Resize the grid of positions like a small picture with D channels:
# `F.interpolate` wants (1, D, G, G). Take `mode="bicubic"` and `align_corners=False`, as the package does when it makes
# ViT-S/14's positions. What becomes of the class token's position is for you to decide. And before you run the check:
# what must come out when `new_grid` equals G? Try it.


# %%
def my_interpolate(positions: torch.Tensor, new_grid: int) -> torch.Tensor:
    """Map positions (1, 1 + G*G, D) to (1, 1 + new_grid**2, D)."""
    # solution
    class_position, patches = positions[:, :1], positions[:, 1:]
    grid = round(patches.shape[1] ** 0.5)
    square = patches.transpose(1, 2).unflatten(2, (grid, grid))  # (1, N, D) -> (1, D, G, G)
    resized = F.interpolate(square, size=(new_grid, new_grid), mode="bicubic", align_corners=False)
    return torch.cat([class_position, resized.flatten(2).transpose(1, 2)], dim=1)
    # end


# %%
checks.nb05.interpolate(my_interpolate)

# %% [markdown]
# ### Exercise 5: Choose with few images (hard, 30 minutes)
#
# `candidates` maps names to features (N, D) of the same N labelled images, from several backbones, blocks and poolings.
# `make_probe(setting)` makes a new probe. A setting is a pair: how the probe scales the features, and how strong it is
# (stronger ones fit the training images more closely); your function need not look into it. Try every candidate with
# every setting in cross-validation, and return the pair (name, setting) with the largest share of right answers over
# all held-out images; of equals, any. There are no test images here, and there must not be any.
#
# <details><summary>A hint</summary>
#
# Exercise 1 has the inner part: fit on a fold's training images, count what is right among those held out. Here the
# counts of all folds are summed, once for each name and setting. A dictionary from (name, setting) to this sum keeps
# them; `max(counts, key=counts.get)` is the key with the largest.
#
# </details>


# %%
def my_choice(
    candidates: dict[str, np.ndarray], labels: np.ndarray, folds: list, settings: list[tuple], make_probe
) -> tuple[str, tuple]:
    """Return the name and the setting that do best in cross-validation."""
    # solution
    right = {}
    for name, values in candidates.items():
        for setting in settings:
            right[name, setting] = 0
            for training, held_out in folds:
                probe = make_probe(setting).fit(values[training], labels[training])
                right[name, setting] += (probe.predict(values[held_out]) == labels[held_out]).sum()
    return max(right, key=right.get)
    # end


# %%
checks.nb05.choice(my_choice)
