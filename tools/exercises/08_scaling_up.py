"""Source of the exercises of notebook 08: cells, with the solutions between `# solution` and `# end`."""

# %% [markdown]
# # 08 Scaling up: exercises
#
# Replace each `raise NotImplementedError`, run the cell and the check below it. All six together take some
# 100 minutes.

# %%
from collections.abc import Callable

import torch
from torch import nn
from torch.nn import functional as F

from going_modular import checks

# %% [markdown]
# ### Exercise 1: An average that is right (write it; medium, 20 minutes)
#
# Every process calls your function at the same time, after its `backward`. `model` has in each parameter's `.grad`
# the gradient of the mean loss over this process's own images, `count` says how many these are, and
# `all_reduce(tensor)` replaces a tensor, in place, by its sum over all processes (it returns nothing). Afterwards each
# `.grad` has to be, in every process, the gradient of the mean loss over the images of **all** processes.
#
# Nobody tells you how many images the others have, nor how many processes there are. And a process may have no image
# left: then `count` is 0 and its gradients are `None`. It has to take part all the same. (At least one process has
# some. A parameter that is frozen, whose `requires_grad` is `False`, has no gradient in any process: leave it out.) All
# processes make the same calls of `all_reduce` in the same order. Where one leaves a call out, its next call meets the
# others' present one: wrong sums or an error, and in the end somebody waits.
#
# Example: two processes with 3 images and 1, and a gradient of 1 in the first and of 5 in the second. Both end with 2.
#
# Use `torch` and what you are given, nothing else: the text of your function will be copied into a script.


# %%
def my_average_gradients(model: nn.Module, count: int, all_reduce: Callable) -> None:
    """Replace the gradients of this process's images by those of the images of all processes."""
    # solution
    total = torch.tensor(float(count), device=next(model.parameters()).device)
    all_reduce(total)
    for parameter in model.parameters():
        if not parameter.requires_grad:
            continue  # frozen: nothing to send
        if parameter.grad is None:
            parameter.grad = torch.zeros_like(parameter)
        parameter.grad *= count
        all_reduce(parameter.grad)
        parameter.grad /= total
    # end


# %%
checks.nb08.average_gradients(my_average_gradients)

# %% [markdown]
# ### Exercise 2: Five bugs (find the bug; hard, 30 minutes)
#
# A colleague's loop. Every process runs it, without an error, and gets an accuracy. Yet the result is not that of one
# process, for five reasons, some of which show only once others are mended:
#
# ```python
# optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
# for epoch in range(2):
#     order = torch.randperm(len(images))
#     for batch in order.split(8):
#         mine = batch[: len(batch) // processes]
#         loss = F.cross_entropy(model(images[mine]), labels[mine])
#         optimizer.zero_grad()
#         loss.backward()
#         optimizer.step()
#         for parameter in model.parameters():
#             all_reduce(parameter.grad)
#             parameter.grad /= processes
# with torch.no_grad():
#     right = (model(images[rank::processes]).argmax(dim=1) == labels[rank::processes]).float().mean()
# all_reduce(right)
# return right.item() / processes
# ```
#
# Write it without them. All processes start with the same weights and have all `images` (N, ...) and `labels` (N,).
# `rank` is this process's number from 0, `processes` how many there are, and `all_reduce` is as in exercise 1. Each
# update has to be the one that a single process would make with the whole batch of 8; each epoch uses every image once,
# in a new order. Every batch has at least as many images as there are processes. Return the accuracy over all images
# after training, a number from 0 to 1, in every process. Nothing in the model is random; but each process has a random
# generator of its own, and they agree only where you seed them.
#
# The text of this function, too, will be copied into a script: use `torch`, `F` and what you are given, and write the
# averaging inside it.


# %%
def my_train_shares(model: nn.Module, images, labels, rank: int, processes: int, all_reduce: Callable) -> float:
    """Train as one of several processes for two epochs; return the accuracy over all images."""
    # solution
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for epoch in range(2):
        # 1 the same order in every process, another in each epoch
        order = torch.randperm(len(images), generator=torch.Generator().manual_seed(epoch))
        for batch in order.split(8):
            mine = batch[rank::processes]  # 2 each its own share, and no image left out
            loss = F.cross_entropy(model(images[mine]), labels[mine])
            optimizer.zero_grad()
            (loss * len(mine) / len(batch)).backward()  # 3 shares of unequal size
            for parameter in model.parameters():
                all_reduce(parameter.grad)
            optimizer.step()  # 4 after averaging
    with torch.no_grad():
        answers = model(images[rank::processes]).argmax(dim=1)
    right = (answers == labels[rank::processes]).sum()
    all_reduce(right)
    return right.item() / len(images)  # 5 add up what is right, then divide once
    # end


# %%
checks.nb08.train_shares(my_train_shares)

# %% [markdown]
# ### Exercise 3: What fits? (write it; easy, 10 minutes)
#
# A network has so many `parameters`, of which `learning` learn, by AdamW. Everything is kept in float32, 4 bytes a
# number. An image of a batch takes `per_image` bytes, its own and those of its activations together. The device has
# `memory` bytes. Return how many images a batch can have at most, as a whole number, 0 if not even one fits.
#
# `my_largest_batch(parameters=1000, learning=1000, per_image=100, memory=18_000)` is `20`.


# %%
def my_largest_batch(parameters: int, learning: int, per_image: int, memory: int) -> int:
    """Return how many images fit in memory with what training keeps of the network."""
    # solution
    left = memory - 4 * (parameters + 3 * learning)  # weights; a gradient and two states of what learns
    return max(left // per_image, 0)
    # end


# %%
checks.nb08.largest_batch(my_largest_batch)

# %% [markdown]
# ### Exercise 4: A batch in parts (write it; medium, 15 minutes)
#
# Leave in the parameters' `.grad` the gradients of the mean loss over the whole batch, but call the model only with
# parts of at most `size` images, and keep the activations of no more than one part at a time. `loss_fn(logits, labels)`
# returns the mean over what it is given. The last part may be smaller, and gradients that are there already must not
# count. The function returns nothing.


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
# ### Exercise 5: What would eight devices bring? (write it; medium, 15 minutes)
#
# A batch takes one device 1 second. `devices` of them average a gradient of `gradient` bytes in a ring, after
# `backward` has finished; a device sends `link` bytes a second to the next one. Count what each device sends, as the
# drawing and the table do; waiting and the start of each pass are left out.
#
# With `weak=False` the devices share one batch, in equal parts (strong scaling). With `weak=True` each has a batch of
# its own. Return how many times as many images a second they compute as one device does alone.
#
# `my_speed_up(2, gradient=1e9, link=2e9, weak=False)` is `1.0`: nothing is gained. With `weak=True` it is `4 / 3`.


# %%
def my_speed_up(devices: int, gradient: float, link: float, weak: bool) -> float:
    """Return how many times as fast as one device several are."""
    # solution
    averaging = 2 * (devices - 1) / devices * gradient / link
    if weak:
        return devices / (1 + averaging)  # so many batches in a step
    return 1 / (1 / devices + averaging)
    # end


# %%
checks.nb08.speed_up(my_speed_up)

# %% [markdown]
# ### Exercise 6: Read the four curves (read it; medium, 10 minutes)
#
# The figure of section 7 has four curves, A to D. Return a dictionary:
#
# - `"ideal"`, `"amdahl"`, `"strong"` and `"weak"`: the letter of each curve, as text. `"amdahl"` is the one where 5% of
#   the work cannot be shared and averaging costs nothing; `"strong"` and `"weak"` share all of the work, and pay for
#   averaging.
# - `"limit"`: the speed-up that the curve of `"amdahl"` can never exceed, with however many devices; a whole number.
# - `"strong_at_32"`: what 32 devices bring on the curve of `"strong"`, rounded to a whole number.


# %%
def my_curves() -> dict[str, str | int]:
    """Return what the figure says."""
    # solution
    return {"ideal": "B", "amdahl": "A", "strong": "C", "weak": "D", "limit": 20, "strong_at_32": 2}
    # end


# %%
checks.nb08.read_curves(my_curves)
