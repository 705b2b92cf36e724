"""Source of the exercises of notebook 02: cells, with the solutions between `# solution` and `# end`."""

# %% [markdown]
# # 02 Transfer learning with EfficientNet: exercises
#
# Replace each `raise NotImplementedError`, run the cell and the check below it. All seven together take some
# 80 minutes. The notebook uses what you write in its later cells, so it is best to solve them there.

# %%
import torch
from torch import nn

from going_modular import checks


# %% [markdown]
# ### Exercise 1: Slide a filter (medium, 15 minutes)
#
# Lay the filter over every window of the picture and write each sum into the map. A picture of 6 x 6 and a filter of
# 3 x 3 give a map of 4 x 4, as in the drawing. Pictures need not be square, nor filters. Two loops over the places of
# the map are enough; `torch.zeros(rows, columns)` makes an empty map.
# %%
def my_slide(picture: torch.Tensor, kernel: torch.Tensor) -> torch.Tensor:
    """Return the map (H - h + 1, W - w + 1) that a filter (h, w) makes of a picture (H, W)."""
    # solution
    height, width = kernel.shape
    result = torch.zeros(picture.shape[0] - height + 1, picture.shape[1] - width + 1)
    for row in range(result.shape[0]):
        for column in range(result.shape[1]):
            window = picture[row : row + height, column : column + width]
            result[row, column] = (window * kernel).sum()
    return result
    # end


# %%
checks.nb02.slide(my_slide)


# %% [markdown]
# ### Exercise 2: Predict, then run (easy, 10 minutes)
#
# The network's first layer has 32 filters of 3 x 3 without biases, and moves by 2 pixels (`stride=2`) over a colour
# image of 224 x 224; a border of zeros around the image lets the filter stand on the rim, too, so that there is one
# place for every two pixels. Its last stage makes 1,280 maps. Write down four whole numbers before you see them below:
# `filters`, how many numbers are in the first layer's filters; `side`, how many pixels a side its maps have;
# `features`, how many features pooling makes; and `head`, how many parameters a Linear head for *10* classes has.
# %%
def my_sizes() -> dict[str, int]:
    """Return your predictions under the keys `filters`, `side`, `features` and `head`."""
    # solution
    return {"filters": 32 * 3 * 3 * 3, "side": 224 // 2, "features": 1280, "head": 10 * 1280 + 10}
    # end


# %%
checks.nb02.sizes(my_sizes)


# %% [markdown]
# ### Exercise 3: Freeze a model (easy, 5 minutes)
#
# Afterwards no parameter of the model learns, wherever in the model it sits, and none has changed its value. Section 2
# printed what a model can tell about its parameters.
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
# ### Exercise 4: Build a new head (easy, 5 minutes)
#
# A module that maps features (B, in_features) to logits (B, num_classes). In training each feature is dropped with
# probability 0.2 before the scores are made. What comes out are plain scores, ready for any use. Return an
# `nn.Sequential`, for later cells take its last layer by `[-1]`. `nn.Sequential(a, b)` is a module that runs `a`, then
# `b`.
# %%
def my_new_head(in_features: int, num_classes: int) -> nn.Sequential:
    """Return a module that makes plain scores of features, and drops some features in training."""
    # solution
    return nn.Sequential(nn.Dropout(0.2), nn.Linear(in_features, num_classes))
    # end


# %%
checks.nb02.new_head(my_new_head)


# %% [markdown]
# ### Exercise 5: One loss of many batches (easy, 10 minutes)
#
# You have the mean loss of each batch and the number of images in it. Return the mean loss of all the *images*. The
# last batch may be smaller than the others.
# %%
def my_mean_loss(losses: list[float], sizes: list[int]) -> float:
    """Return the mean loss of all images, of the batches' mean losses and sizes."""
    # solution
    return sum(loss * size for loss, size in zip(losses, sizes, strict=True)) / sum(sizes)
    # end


# %%
checks.nb02.mean_loss(my_mean_loss)


# %% [markdown]
# For Exercise 6, the loop with five bugs:


# %%
def broken_fit(model, train_loader, test_loader, loss_fn, optimizer, epochs):
    """Train and test, with five bugs."""
    results = {"train_loss": [], "test_loss": [], "test_acc": []}
    for _ in range(epochs):
        sums, right = {"train": 0.0, "test": 0.0}, 0
        for part, loader in (("train", train_loader), ("test", test_loader)):
            model.train()
            for batch, labels in loader:
                probabilities = model(batch).softmax(dim=1)
                loss = loss_fn(probabilities, labels)
                loss.backward()
                optimizer.step()
                sums[part] += loss.item()
                if part == "test":
                    right += (probabilities.argmax(dim=1) == labels).sum().item()
        results["train_loss"].append(sums["train"] / len(train_loader))
        results["test_loss"].append(sums["test"] / len(test_loader))
        results["test_acc"].append(right / len(test_loader.dataset))
    return results


# %% [markdown]
# ### Exercise 6: Find the five bugs (hard, 30 minutes)
#
# Write `broken_fit` again, without its bugs. It takes and returns the same: for each epoch the mean loss of the
# training images, taken while the model learns from them, then the mean loss and the accuracy of the test images after
# it. A test that no longer learns needs no gradients; the check asks that you say so to PyTorch, too. Try it without
# looking at section 7 first. The check watches what your loop does, and tells one bug at a time.
# %%
def my_fit(model: nn.Module, train_loader, test_loader, loss_fn, optimizer, epochs: int) -> dict[str, list[float]]:
    """Train and test for some epochs; return `train_loss`, `test_loss` and `test_acc`, a value an epoch each."""
    # solution
    results = {"train_loss": [], "test_loss": [], "test_acc": []}
    for _ in range(epochs):
        for learns, loader in ((True, train_loader), (False, test_loader)):
            model.train(learns)
            loss_sum, right = 0.0, 0
            for batch, labels in loader:
                with torch.set_grad_enabled(learns):
                    logits = model(batch)
                    loss = loss_fn(logits, labels)
                if learns:
                    optimizer.zero_grad()
                    loss.backward()
                    optimizer.step()
                loss_sum += loss.item() * len(labels)
                right += (logits.argmax(dim=1) == labels).sum().item()
            results["train_loss" if learns else "test_loss"].append(loss_sum / len(loader.dataset))
        results["test_acc"].append(right / len(test_loader.dataset))
    return results
    # end


# %%
checks.nb02.fit(my_fit)


# %% [markdown]
# ### Exercise 7: Read three curves (easy, 5 minutes)
#
# Give each of the curves A, B and C of notebook 02, section 8, a word for what it shows, and a number for what to do.
# The words: `"good"`, `"underfitting"`, `"overfitting"`. The numbers: 1, go on for more epochs; 2, take a larger model;
# 3, stop earlier, or get more images. Where two of them help, give one. On the bundled sample the losses (training /
# test) are about: A 1.1 / 1.1 at the beginning and 1.0 / 1.0 at the end; B 1.1 / 1.1 at the beginning, 0.6 / 0.8 in the
# middle, 0.1 to 0.2 / 1.3 to 1.5 at the end, by computer; C 1.1 / 1.1 at the beginning, 0.6 / 0.6 in the middle, 0.4 /
# 0.4 at the end.


# %%
def my_reading() -> dict[str, tuple[str, int]]:
    """Return {letter: (word, number)} for the letters A, B and C."""
    # solution
    return {"A": ("underfitting", 2), "B": ("overfitting", 3), "C": ("good", 1)}
    # end


# %%
checks.nb02.reading(my_reading)
