"""Source of the exercises of notebook 02: cells, with the solutions between `# solution` and `# end`."""

# %% [markdown]
# # 02 Transfer learning with EfficientNet: exercises
#
# Replace each `raise NotImplementedError`, run the cell and the check below it. All six together take some
# 70 minutes.

# %%
import torch
from torch import nn
from torch.utils.data import DataLoader

from going_modular import checks


# %% [markdown]
# ### Exercise 1: Freeze a model (easy, 5 minutes)
#
# Afterwards no parameter of the model learns, wherever in the model it sits, and none has changed its value.
# %%
def my_freeze(model: nn.Module) -> None:
    """Stop every parameter of the model from learning."""
    # solution
    for parameter in model.parameters():
        parameter.requires_grad = False
    # end


# %%
checks.nb02.freeze(my_freeze)


# %% [markdown]
# ### Exercise 2: Count by part (easy, 10 minutes)
#
# For each part of a model (`model.named_children()`), how many numbers learn and how many are frozen? A weight of shape
# 10 x 4 counts as 40; a part without parameters has none of either.


# %%
def my_parameters_by_part(model: nn.Module) -> dict[str, tuple[int, int]]:
    """Return {part: (numbers that learn, frozen numbers)}."""
    # solution
    counts = {}
    for part, module in model.named_children():
        learning = sum(tensor.numel() for tensor in module.parameters() if tensor.requires_grad)
        counts[part] = (learning, sum(tensor.numel() for tensor in module.parameters()) - learning)
    return counts
    # end


# %%
checks.nb02.parameters_by_part(my_parameters_by_part)


# %% [markdown]
# ### Exercise 3: Build a new head (easy, 10 minutes)
#
# A module that maps features (B, in_features) to logits (B, num_classes): Dropout with probability 0.2, then one Linear
# layer. Logits are plain scores: no softmax.
# %%
def my_new_head(in_features: int, num_classes: int) -> nn.Module:
    """Return a module of Dropout 0.2 and a Linear layer."""
    # solution
    return nn.Sequential(nn.Dropout(0.2), nn.Linear(in_features, num_classes))
    # end


# %%
checks.nb02.new_head(my_new_head)


# %% [markdown]
# ### Exercise 4: Train for one epoch (medium, 20 minutes)
#
# Write the loop that this course is about. Put the model into training mode, then take the five lines for each batch.
# Return the mean loss over the batches as a float (`loss.item()` makes one).


# %%
def my_train_epoch(model: nn.Module, dataloader: DataLoader, loss_fn, optimizer) -> float:
    """Train a model for one epoch and return the mean loss of its batches."""
    # solution
    model.train()
    losses = []
    for images, labels in dataloader:
        logits = model(images)
        loss = loss_fn(logits, labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return sum(losses) / len(losses)
    # end


# %%
checks.nb02.train_epoch(my_train_epoch)


# %% [markdown]
# ### Exercise 5: From logits to answers (medium, 10 minutes)
#
# Notebook 00 did this for one image; now for a whole batch: for each row of logits (B, C) the name of the most probable
# class and its probability.
# %%
def my_predict(logits: torch.Tensor, class_names: list[str]) -> list[tuple[str, float]]:
    """Return a list of B pairs (class name, probability as a float)."""
    # solution
    probabilities, best = logits.softmax(dim=1).max(dim=1)
    return [(class_names[i], p) for i, p in zip(best.tolist(), probabilities.tolist(), strict=True)]
    # end


# %%
checks.nb02.predict(my_predict)


# %% [markdown]
# ### Exercise 6: Mend an input (medium, 15 minutes)
#
# In NumPy an RGB image is bytes of shape (H, W, 3). (OpenCV's are BGR: turn them round first.) Make of one, as a
# tensor, what a model takes: a batch of one, transformed, on the device. `transform` takes bytes, too, as a tensor of
# shape (3, H, W), and scales them itself.
# %%
def my_mend(pixels: torch.Tensor, transform, device: str) -> torch.Tensor:
    """Map a uint8 tensor (H, W, 3) to a float batch (1, 3, H', W') on the device."""
    # solution
    channels_first = pixels.permute(2, 0, 1)  # (H, W, 3) -> (3, H, W)
    return transform(channels_first).unsqueeze(0).to(device)
    # end


# %%
checks.nb02.mend(my_mend)
