"""Source of the exercises of notebook 06: cells, with the solutions between `# solution` and `# end`."""

# %% [markdown]
# # 06 Fine-tuning: exercises
#
# Replace each `raise NotImplementedError`, run the cell and the check below it. All five together take some
# 60 minutes.

# %%
from torch import nn

from going_modular import checks

# %% [markdown]
# ### Exercise 1: Is the split stratified? (medium, 15 minutes)
#
# `parts` has the labels of each part of a data set, `shares` what share of the images each part should have. Return
# whether every part has its share of each class's images, give or take one image.


# %%
def my_is_stratified(parts: list[list[int]], shares: list[float]) -> bool:
    """Tell whether each class is spread over the parts as the shares say."""
    # solution
    everything = [label for part in parts for label in part]
    return all(
        abs(part.count(label) - share * everything.count(label)) <= 1
        for part, share in zip(parts, shares, strict=True)
        for label in set(everything)
    )
    # end


# %%
checks.nb06.is_stratified(my_is_stratified)

# %% [markdown]
# ### Exercise 2: Freeze BatchNorm (medium, 10 minutes)
#
# The model is in training mode and all of it learns. Freeze every `nn.BatchNorm1d`, `2d` and `3d` in it, at any depth:
# it must normalise by its averages and not change them (eval mode), and its weight and bias must not learn. Leave
# everything else as it is.


# %%
def my_freeze_batch_norm(model: nn.Module) -> None:
    """Keep every BatchNorm as it is, in place."""
    # solution
    for module in model.modules():
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d | nn.BatchNorm3d):
            module.eval()
            module.requires_grad_(False)
    # end


# %%
checks.nb06.freeze_batch_norm(my_freeze_batch_norm)

# %% [markdown]
# ### Exercise 3: Rates by depth (easy, 10 minutes)
#
# A backbone has `blocks` blocks. The last one learns at `lr`, each one before it at `decay` times the rate of the one
# after it. Return the rates from the first block to the last.


# %%
def my_learning_rates(blocks: int, lr: float, decay: float) -> list[float]:
    """Return a learning rate for each block, the first block's first."""
    # solution
    return [lr * decay**steps for steps in reversed(range(blocks))]
    # end


# %%
checks.nb06.learning_rates(my_learning_rates)

# %% [markdown]
# ### Exercise 4: When does it stop? (medium, 15 minutes)
#
# Training stops after an epoch if the lowest validation loss lies `patience` epochs back. Return two numbers, counted
# from 1: the epoch whose weights are kept, and the epoch after which training stops (the last one, if it never does).
# Of equal losses the first counts.


# %%
def my_early_stopping(losses: list[float], patience: int) -> tuple[int, int]:
    """Return the best epoch among those trained, and the last epoch trained."""
    # solution
    best = 0
    for epoch, loss in enumerate(losses):
        if loss < losses[best]:
            best = epoch
        if epoch - best == patience:
            return best + 1, epoch + 1
    return best + 1, len(losses)
    # end


# %%
checks.nb06.early_stopping(my_early_stopping)

# %% [markdown]
# ### Exercise 5: Report fairly (easy, 10 minutes)
#
# Some settings were tried; each has a validation score and a test score. Return the index of the setting that you would
# choose and the score that you would report for it. Of equal settings take the first.


# %%
def my_report(validation: list[float], test: list[float]) -> tuple[int, float]:
    """Return (index of the chosen setting, score to report)."""
    # solution
    chosen = max(range(len(validation)), key=validation.__getitem__)
    return chosen, test[chosen]
    # end


# %%
checks.nb06.report(my_report)
