"""Source of the exercises of notebook 00: cells, with the solutions between `# solution` and `# end`."""

# %% [markdown]
# # 00 Quickstart: exercises
#
# Replace each `raise NotImplementedError`, run the cell and then the check below it. A check says "right", or what is
# wrong and a hint. All five together take some 30 minutes.

# %%
import math

from PIL import Image

from going_modular import checks

# %% [markdown]
# ### Exercise 1: How many numbers learn? (predict, then write it; easy, 5 minutes)
#
# To make a logit the head multiplies every feature by a number, here called a *weight*. It adds the products up, and
# then one more number, the *bias*. Each class has weights and a bias of its own.
#
# First predict, on paper: how many numbers does a head hold that reads 1,280 features and knows ten classes?
#
# <details><summary>Compare</summary>
#
# 12,810: for each class 1,280 weights and one bias, and that ten times.
#
# </details>
#
# Then write it for any head.


# %%
def head_size(num_features: int, num_classes: int) -> int:
    """Return how many numbers, weights and biases, a head holds."""
    # solution
    weights = num_features * num_classes
    biases = num_classes
    return weights + biases
    # end


# %%
checks.nb00.head_size(head_size)

# %% [markdown]
# ### Exercise 2: From logits to probabilities (write it; medium, 10 minutes)
#
# Softmax works like this. For each logit take *e* (about 2.7) to the power of that logit: `math.exp` does it. The
# results are all above 0. Then divide each of them by their sum, and they add up to 1.
#
# Write it in plain Python, for a list of any length. The check ends with a trap, very large logits; its hint tells how
# to get out.


# %%
def my_softmax(logits: list[float]) -> list[float]:
    """Return as many probabilities as there are logits, in the same order."""
    # solution
    largest = max(logits)  # what it is taken from stays the same, and no power is too large
    powers = [math.exp(logit - largest) for logit in logits]
    return [power / sum(powers) for power in powers]
    # end


# %%
checks.nb00.softmax(my_softmax)

# %% [markdown]
# ### Exercise 3: Read this matrix (easy, 5 minutes)
#
# Another model was tested on 60 images, 20 of each class. A row is what an image shows, a column is what the model
# answered:
#
# |           | said pizza | said steak | said sushi |
# |-----------|-----------:|-----------:|-----------:|
# | **pizza** |         18 |          2 |          0 |
# | **steak** |          1 |         13 |          6 |
# | **sushi** |          0 |          4 |         16 |
#
# Return three things: how many of the 60 images were named right; the class whose images were most often not
# recognised; and of how many images the model said "steak".


# %%
def read_matrix() -> tuple[int, str, int]:
    """Return how many were named right, the class that was recognised least, and how often it said "steak"."""
    # solution
    right = 18 + 13 + 16
    least_recognised = "steak"
    said_steak = 2 + 13 + 4
    return right, least_recognised, said_steak
    # end


# %%
checks.nb00.matrix(read_matrix)

# %% [markdown]
# ### Exercise 4: Change one thing, and see (easy, 10 minutes)
#
# Change a picture in one way, so that a person still sees what is on the plate. It may be turned, darker, without
# colour, in part covered. Pillow is Python's library for images: `image.rotate(90)` turns a picture,
# `image.point(lambda value: value // 2)` makes it darker, and [its
# documentation](https://pillow.readthedocs.io/en/stable/reference/Image.html) lists what else an image can do. Return
# the changed copy.
#
# Then write down a guess: of how many of the 75 test images, changed like this, will the model still name the food?


# %%
def my_change(image: Image.Image) -> Image.Image:
    """Return a changed copy of an RGB image, in RGB, too."""
    # solution
    return image.convert("L").convert("RGB")  # without colour
    # end


# %%
checks.nb00.change(my_change)

# %% [markdown]
# ### Exercise 5: Explain in a sentence (easy, 3 minutes)
#
# A friend shows the model a photo of her cat. It answers "pizza" and gives this a probability of 97%. "So it is almost
# sure that my cat is a pizza", she says. Explain in one or two sentences what the 97% does mean.
#
# <details><summary>An answer</summary>
#
# The model shares out 100% among its three classes, whatever the image: of these three, pizza has by far the largest
# logit. The 97% do not say how likely it is that this is a pizza at all. The model cannot answer "none of them": it
# was never given that answer, and in training it never saw a cat.
#
# </details>
