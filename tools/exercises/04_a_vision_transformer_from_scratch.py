"""Source of the exercises of notebook 04: cells, with the solutions between `# solution` and `# end`."""

# %% [markdown]
# # 04 A Vision Transformer from scratch: exercises
#
# Replace each `raise NotImplementedError`, run the cell and the check below it. All five together take some
# 85 minutes.

# %%
import math

import torch

from going_modular import checks

# %% [markdown]
# ### Exercise 1: Cut images into patches (medium, 20 minutes)
#
# Cut images (B, C, H, W) into patches of P x P pixels, row by row from the top left, and flatten each: first its first
# channel, line by line, then the next channel. `tensor.unfold(dimension, size, step)` cuts along one dimension and puts
# the pieces into a new last one.


# %%
def my_patchify(images: torch.Tensor, patch_size: int) -> torch.Tensor:
    """Map images (B, C, H, W) to flattened patches (B, N, C*P*P)."""
    # solution
    pieces = images.unfold(2, patch_size, patch_size).unfold(3, patch_size, patch_size)  # (B, C, H/P, W/P, P, P)
    return pieces.permute(0, 2, 3, 1, 4, 5).flatten(1, 2).flatten(2)  # (B, H/P, W/P, C, P, P) -> (B, N, C*P*P)
    # end


# %%
checks.nb04.patchify(my_patchify)

# %% [markdown]
# ### Exercise 2: Class token and positions (easy, 10 minutes)
#
# Equation 1: put the class token before the patches of each image, then add a position to each token, the class token
# included. The one class token serves all images: `expand` repeats without copying.


# %%
def my_embed(patches: torch.Tensor, class_token: torch.Tensor, positions: torch.Tensor) -> torch.Tensor:
    """Map patches (B, N, D), a class token (1, 1, D) and positions (1, N + 1, D) to tokens (B, N + 1, D)."""
    # solution
    class_tokens = class_token.expand(len(patches), -1, -1)
    return torch.cat([class_tokens, patches], dim=1) + positions
    # end


# %%
checks.nb04.embed(my_embed)

# %% [markdown]
# ### Exercise 3: Attention with several heads (hard, 25 minutes)
#
# Query, key and value are (B, T, D). Give each of the heads its own D / heads columns, side by side; let each attend by
# itself; put the results side by side again. No `scaled_dot_product_attention`: scores, softmax and the weighted sum by
# hand. What are the scores divided by, the square root of what?


# %%
def my_attention(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, num_heads: int) -> torch.Tensor:
    """Map query, key and value (B, T, D) to mixed values (B, T, D)."""
    # solution
    query, key, value = (x.unflatten(2, (num_heads, -1)).transpose(1, 2) for x in (query, key, value))  # (B, h, T, D/h)
    scores = query @ key.transpose(2, 3) / math.sqrt(query.shape[3])  # (B, h, T, T)
    mixed = scores.softmax(dim=3) @ value
    return mixed.transpose(1, 2).flatten(2)  # (B, h, T, D/h) -> (B, T, D)
    # end


# %%
checks.nb04.attention(my_attention)

# %% [markdown]
# ### Exercise 4: A local window (medium, 15 minutes)
#
# A convolution sees only what is near. Return a mask (T, T) of bool for `grid` x `grid` patches and a class token
# before them: true where the row's token may look at the column's. A patch may look at the k x k patches around it (k
# is odd; at the rim there are fewer) and at the class token; the class token may look at every token.


# %%
def my_local_window_mask(grid: int, k: int) -> torch.Tensor:
    """Return a mask (T, T) of bool, T = grid**2 + 1."""
    # solution
    patch = torch.arange(grid**2)
    row, column = patch // grid, patch % grid
    near = ((row[:, None] - row).abs() <= k // 2) & ((column[:, None] - column).abs() <= k // 2)
    mask = torch.ones(grid**2 + 1, grid**2 + 1, dtype=torch.bool)
    mask[1:, 1:] = near
    return mask
    # end


# %%
checks.nb04.local_window_mask(my_local_window_mask)

# %% [markdown]
# ### Exercise 5: Count the parameters (medium, 15 minutes)
#
# How many parameters has a Vision Transformer for colour images? Count from its sizes, without building it: the patch
# embedding, the class token and the positions; in each block two LayerNorms, query, key and value, the projection and
# the MLP; the last LayerNorm and the head. A Linear layer from a to b has a x b weights and b biases; a LayerNorm has 2
# x D.


# %%
def my_count(image_size: int, patch_size: int, num_layers: int, hidden_dim: int, mlp_dim: int, num_classes: int) -> int:
    """Return the number of parameters of a ViT of these sizes."""
    # solution
    num_patches = (image_size // patch_size) ** 2
    embedding = (3 * patch_size**2 + 1) * hidden_dim
    class_token_and_positions = hidden_dim + (num_patches + 1) * hidden_dim
    attention = (hidden_dim + 1) * 3 * hidden_dim + (hidden_dim + 1) * hidden_dim
    mlp = (hidden_dim + 1) * mlp_dim + (mlp_dim + 1) * hidden_dim
    block = 2 * 2 * hidden_dim + attention + mlp
    head = 2 * hidden_dim + (hidden_dim + 1) * num_classes
    return embedding + class_token_and_positions + num_layers * block + head
    # end


# %%
checks.nb04.count(my_count)
