"""Source of the exercises of notebook 04: cells, with the solutions between `# solution` and `# end`."""

# %% [markdown]
# # 04 A Vision Transformer from scratch: exercises
#
# Replace each `raise NotImplementedError`, run the cell and the check below it. All eight together take some
# 135 minutes. Those on the parts build on one another: at the end of the sixth you have a Vision Transformer. Where you
# skip one, the course's part stands in. (The ninth, to read maps of attention, needs the notebook's figures.)

# %%
import math

import torch
import torchvision
from torch import nn

from going_modular import checks

# %% [markdown]
# ### Exercise 1: Cut images into patches (medium, 20 minutes)
#
# Cut images (B, C, H, W) into patches of P x P pixels, row by row from the top left, and flatten each: first its first
# channel, line by line, then the next channel. `tensor.unfold(dimension, size, step)` cuts along one dimension and puts
# the pieces into a new last one: `torch.arange(6).unfold(0, 2, 2)` is `[[0, 1], [2, 3], [4, 5]]`, and
# `torch.zeros(1, 4, 6).unfold(2, 2, 2)` has the shape (1, 4, 3, 2). `permute` puts dimensions into another order,
# `flatten(1, 2)` makes one of two.
#
# <details><summary>A hint</summary>
#
# Unfold dimension 2, then dimension 3: the shape is (B, C, H/P, W/P, P, P). You want (B, N, C*P*P), where N counts the
# rows and columns of patches. So first `permute` until those two stand side by side, and C, P, P, too; then flatten.
#
# </details>


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
# included. The one class token serves all images: `expand` repeats without copying, and a -1 in it leaves a dimension
# as it is. `torch.cat([a, b], dim=1)` joins two tensors along dimension 1.


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
# ### Exercise 3: Attention with several heads (hard, 30 minutes)
#
# Query, key and value are (B, T, D). Give each of the heads its own D / heads columns, side by side; let each attend by
# itself; put the results side by side again. By hand: PyTorch's ready-made attention, such as
# `scaled_dot_product_attention`, is refused. What are the scores divided by, the square root of what?
#
# <details><summary>A hint</summary>
#
# Deal out query, key and value alike, heads before tokens: (B, h, T, D/h). Then it is the example with three tokens
# again: scores, softmax over the keys, times the values. `transpose(-2, -1)` swaps the last two dimensions of the keys.
# At the end go the way back to (B, T, D).
#
# </details>


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
# ### Exercise 4: Find the bugs (medium, 15 minutes)
#
# Language models that write text hide the words that are still to come. They do it by a *mask* (T, T): where it is
# false, the row's token must not look at the column's. (A ViT needs none.) A colleague wrote attention with a mask; `~`
# turns True into False, and `x.masked_fill(m, v)` is x with v in place of each number for which m is True:
#
# ```python
# def masked_attention(query, key, value, mask):
#     scores = query @ key.transpose(1, 2) / query.shape[2]
#     attention = scores.softmax(dim=1)
#     attention = attention.masked_fill(~mask, 0)
#     return attention @ value
# ```
#
# Each row of the mask allows one token at least. The function raises no error, and yet it is not attention. It has
# three faults. Write it without them; what it returns keeps its shape, (B, T, D).
#
# <details><summary>A hint</summary>
#
# Which score has the share 0 after softmax? `math.inf` is infinity.
#
# </details>


# %%
def my_masked_attention(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, mask: torch.Tensor
) -> torch.Tensor:
    """Map query, key and value (B, T, D) and a mask (T, T) of bool to mixed values (B, T, D)."""
    # solution
    scores = query @ key.transpose(1, 2) / math.sqrt(query.shape[2])  # by the root of the width
    scores = scores.masked_fill(~mask, -math.inf)  # before softmax, so that the other shares still sum to 1
    return scores.softmax(dim=2) @ value  # over the keys: each query's shares sum to 1
    # end


# %%
checks.nb04.mend_attention(my_masked_attention)

# %% [markdown]
# **Parts for what follows.** Two modules put your functions to use. Where yours is not right yet, the course's stands
# in, and the cell says so.

# %%
patchify = checks.nb04.yours_or_ours("patchify", my_patchify)
embed = checks.nb04.yours_or_ours("embed", my_embed)
attend = checks.nb04.yours_or_ours("attention", my_attention)


# %%
class PatchEmbedding(nn.Module):
    """Cut images into patches and multiply each by E (equation 1)."""

    def __init__(self, patch_size, hidden_dim):
        super().__init__()
        self.patch_size = patch_size
        self.projection = nn.Linear(3 * patch_size**2, hidden_dim)

    def forward(self, images):
        """Map images (B, 3, H, W) to embedded patches (B, N, D)."""
        return self.projection(patchify(images, self.patch_size))


# %%
class Attention(nn.Module):
    """Multi-head self-attention: queries, keys and values by one Linear layer, attention, the projection."""

    def __init__(self, hidden_dim, num_heads):
        super().__init__()
        self.num_heads = num_heads
        self.qkv = nn.Linear(hidden_dim, 3 * hidden_dim)
        self.projection = nn.Linear(hidden_dim, hidden_dim)

    def forward(self, tokens):
        """Map tokens (B, T, D) to tokens (B, T, D)."""
        query, key, value = self.qkv(tokens).chunk(3, dim=2)  # (B, T, 3D) -> q, k and v, (B, T, D) each
        return self.projection(attend(query, key, value, self.num_heads))


# %% [markdown]
# ### Exercise 5: Build a block (medium, 20 minutes)
#
# Equations 2 and 3. The parts are called `attention_norm` and `mlp_norm` (`nn.LayerNorm(D, eps=1e-6)`), `attention` (an
# `Attention`), and `mlp`: an `nn.Sequential` of Linear (D to `mlp_dim`), GELU, Dropout(0.0), Linear (back to D) and
# Dropout(0.0). The Dropouts do nothing at 0.0; they stand there because torchvision's MLP counts its layers so.
# (`eps` is added to the variance before it is divided by, so that nothing is divided by 0.)


# %%
class MyBlock(nn.Module):
    """Attention, then an MLP, each on normalised tokens and added to what came in."""

    def __init__(self, hidden_dim: int, mlp_dim: int, num_heads: int) -> None:
        super().__init__()
        # solution
        self.attention_norm = nn.LayerNorm(hidden_dim, eps=1e-6)
        self.attention = Attention(hidden_dim, num_heads)
        self.mlp_norm = nn.LayerNorm(hidden_dim, eps=1e-6)
        widen, narrow = nn.Linear(hidden_dim, mlp_dim), nn.Linear(mlp_dim, hidden_dim)
        self.mlp = nn.Sequential(widen, nn.GELU(), nn.Dropout(0.0), narrow, nn.Dropout(0.0))
        # end

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """Map tokens (B, T, D) to tokens (B, T, D)."""
        # solution
        tokens = tokens + self.attention(self.attention_norm(tokens))  # equation 2
        return tokens + self.mlp(self.mlp_norm(tokens))  # equation 3
        # end


# %%
checks.nb04.block(MyBlock)

# %%
Block = checks.nb04.yours_or_ours("block", MyBlock)

# %% [markdown]
# ### Exercise 6: Assemble a Vision Transformer (medium, 20 minutes)
#
# Equations 1 to 4, from your parts: `patch_embedding` (a `PatchEmbedding`), `class_token` and `position_embedding`
# (`nn.Parameter`s of zeros, in the shapes that `embed` wants), `blocks` (an `nn.ModuleList` of `Block(hidden_dim,
# mlp_dim, num_heads)`), `norm` (LayerNorm with `eps=1e-6`) and `head` (Linear from D to the classes). The way of an
# image: patch embedding, `embed`, blocks, norm, token 0, head.
#
# <details><summary>A hint, on two tools that are new</summary>
#
# `nn.Parameter(tensor)` makes a tensor one of the module's weights, as soon as you assign it to `self`: then it is
# trained and saved. `nn.ModuleList(...)` takes a list of modules, which you go through with `for`. In a plain list
# PyTorch would not find them: their weights would be missing from `model.parameters()`.
#
# </details>


# %%
class MyViT(nn.Module):
    """A Vision Transformer: square colour images to logits."""

    def __init__(self, *, image_size, patch_size, num_layers, hidden_dim, mlp_dim, num_heads, num_classes) -> None:
        super().__init__()
        # solution
        num_tokens = (image_size // patch_size) ** 2 + 1
        self.patch_embedding = PatchEmbedding(patch_size, hidden_dim)
        self.class_token = nn.Parameter(torch.zeros(1, 1, hidden_dim))
        self.position_embedding = nn.Parameter(torch.zeros(1, num_tokens, hidden_dim))
        self.blocks = nn.ModuleList(Block(hidden_dim, mlp_dim, num_heads) for _ in range(num_layers))
        self.norm = nn.LayerNorm(hidden_dim, eps=1e-6)
        self.head = nn.Linear(hidden_dim, num_classes)
        # end

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Map images (B, 3, H, W) to logits (B, num_classes)."""
        # solution
        tokens = embed(self.patch_embedding(images), self.class_token, self.position_embedding)
        for block in self.blocks:
            tokens = block(tokens)
        return self.head(self.norm(tokens[:, 0]))
        # end


# %%
checks.nb04.vision_transformer(MyViT)

# %% [markdown]
# **The proof**, as in section 5 of the notebook: torchvision's weights, under your names, give torchvision's logits.

# %%
ViT = checks.nb04.yours_or_ours("vision_transformer", MyViT)
NAMES = {
    "conv_proj": "patch_embedding.projection",
    "encoder.pos_embedding": "position_embedding",
    "encoder.layers.encoder_layer_": "blocks.",
    "encoder.ln": "norm",
    "heads.head": "head",
    "ln_1": "attention_norm",
    "ln_2": "mlp_norm",
    "self_attention.in_proj_": "attention.qkv.",
    "self_attention.out_proj": "attention.projection",
}


# %%
def load_weights(model, weights):
    """Give a model weights under torchvision's names or its own; return the model."""
    own = model.state_dict()
    for theirs, ours in NAMES.items():
        weights = {name.replace(theirs, ours): tensor for name, tensor in weights.items()}
    # E is a convolution's (D, 3, P, P) there, a Linear layer's (D, 3 * P * P) here: the same numbers
    model.load_state_dict({name: tensor.reshape(own[name].shape) for name, tensor in weights.items()})
    return model.eval()


# %% deterministic
theirs = torchvision.models.VisionTransformer(32, 16, 2, 2, 24, 48, num_classes=5).eval()
with torch.no_grad():
    for parameter in theirs.parameters():  # many start at 0 or 1, where a part left out would not be missed
        parameter.add_(0.05 * torch.randn_like(parameter))
sizes = {"num_layers": 2, "hidden_dim": 24, "mlp_dim": 48, "num_heads": 2}
model = load_weights(ViT(image_size=32, patch_size=16, **sizes, num_classes=5), theirs.state_dict())
pictures = torch.randn(4, 3, 32, 32)
with torch.inference_mode():
    torch.testing.assert_close(model(pictures), theirs(pictures), rtol=1e-4, atol=1e-5)
print("the same logits as torchvision's")

# %% [markdown]
# ### Exercise 7: What does a block cost? (medium, 15 minutes)
#
# For one image of N patches, count the multiply-adds of a block's matrix products, and the bytes that the attention
# scores of all heads take in float32. A product (a, b) @ (b, c) takes a x b x c multiply-adds. Leave out softmax,
# norms, GELU, biases and sums. Remember the class token; a number in float32 takes 4 bytes. How does each grow with N?


# %%
def my_block_cost(num_patches: int, hidden_dim: int, mlp_dim: int, num_heads: int) -> tuple[int, int]:
    """Return (multiply-adds, bytes of the scores) of one block for one image."""
    # solution
    tokens = num_patches + 1
    linear = tokens * (3 * hidden_dim**2 + hidden_dim**2 + 2 * hidden_dim * mlp_dim)  # grows with N
    attention = 2 * tokens**2 * hidden_dim  # scores, weighted sum: grows with N squared, however many heads
    return linear + attention, num_heads * tokens**2 * 4
    # end


# %%
checks.nb04.block_cost(my_block_cost)

# %% [markdown]
# ### Exercise 8: Predict, then run (easy, 5 minutes)
#
# A ViT whose weights are all random, its head and its positions, too, reads a random image of 16 patches. Which of
# these changes will change its logits, by more than rounding does? In c, d and e its positions are zero before the
# change and after it; only the image changes.
#
# | | change |
# |---|---|
# | a | the patches are shuffled; the positions stay |
# | b | the patches are shuffled, and the patches' positions with them, in the same order |
# | c | with all positions zero: the patches are shuffled |
# | d | with all positions zero: the image is mirrored, left to right |
# | e | with all positions zero: the pixels inside each patch are shuffled, in every patch alike |
#
# Write down all five, True or False, before you run the check: it makes the changes and looks.


# %%
def my_prediction() -> dict[str, bool]:
    """Return for each letter whether the logits change."""
    # solution
    return {"a": True, "b": False, "c": False, "d": True, "e": True}
    # end


# %%
checks.nb04.predict_shuffle(my_prediction)
