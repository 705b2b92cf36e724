"""Source of the exercises of notebook 01: cells, with the solutions between `# solution` and `# end`."""

# %% [markdown]
# # 01 Data and transforms: exercises
#
# Replace each `raise NotImplementedError`, run the cell and the check below it. All five together take some
# 45 minutes.

# %%
import copy
import random
from pathlib import Path

import torch
from PIL import Image
from torch.utils.data import Dataset, Subset

from going_modular import checks

# %% [markdown]
# ### Exercise 1: Count the images of each class (easy, 5 minutes)
#
# Before training on a data set, count it. Return a dictionary from the name of each class folder to the number of
# images in it. Images end in `.jpg`, `.jpeg` or `.png`, in small letters or capitals; other files do not count.


# %%
def count_images(folder: Path) -> dict[str, int]:
    """Return how many images each class folder has."""
    # solution
    endings = {".jpg", ".jpeg", ".png"}
    classes = [path for path in folder.iterdir() if path.is_dir()]
    return {path.name: sum(file.suffix.lower() in endings for file in path.iterdir()) for path in classes}
    # end


# %%
checks.nb01.count_images(count_images)

# %% [markdown]
# ### Exercise 2: Undo the normalisation (easy, 5 minutes)
#
# To look at what the model sees, undo `(values - mean) / std`. Each channel has its own mean and standard deviation.


# %%
def undo_normalise(values: torch.Tensor, mean: list[float], std: list[float]) -> torch.Tensor:
    """Turn a normalised tensor (3, H, W) back into values in [0, 1]."""
    # solution
    return values * torch.tensor(std).view(3, 1, 1) + torch.tensor(mean).view(3, 1, 1)
    # end


# %%
checks.nb01.undo_normalise(undo_normalise)

# %% [markdown]
# ### Exercise 3: Transparent becomes white (medium, 10 minutes)
#
# Put an image with transparency (mode `RGBA`) on white and return it in mode `RGB`. Half-transparent pixels become a
# mixture of their colour and white.


# %%
def put_on_white(image: Image.Image) -> Image.Image:
    """Return an RGB image: the RGBA image in front of white."""
    # solution
    white = Image.new("RGBA", image.size, "white")
    return Image.alpha_composite(white, image).convert("RGB")
    # end


# %%
checks.nb01.put_on_white(put_on_white)

# %% [markdown]
# ### Exercise 4: Split in proportion (hard, 15 minutes)
#
# Split the positions 0 to N - 1 of N labels in two at random, for training and for validation. Of each class, the
# nearest whole number to `share` of its images goes to validation. Every position is in exactly one part, and a seed
# always gives the same split.


# %%
def split_in_proportion(labels: list[int], share: float, seed: int) -> tuple[list[int], list[int]]:
    """Return the positions of the training and of the validation images."""
    # solution
    generator = random.Random(seed)
    train, validation = [], []
    for label in sorted(set(labels)):
        positions = [i for i, other in enumerate(labels) if other == label]
        generator.shuffle(positions)
        size = round(share * len(positions))
        validation += positions[:size]
        train += positions[size:]
    return train, validation
    # end


# %%
checks.nb01.split_in_proportion(split_in_proportion)

# %% [markdown]
# ### Exercise 5: Two parts, two transforms (medium, 10 minutes)
#
# Return two parts of a data set that keeps its transform in `dataset.transform`: the items at `train` with the
# transform `augmented`, those at `validation` with `plain`. The data set itself stays as it was. It may be of any kind,
# without a method `subset`; `copy.copy` and `torch.utils.data.Subset` are enough.


# %%
def split_with_transforms(dataset: Dataset, train: list[int], validation: list[int], augmented, plain) -> tuple:
    """Return the training and the validation part, each with its own transform."""
    # solution
    first, second = copy.copy(dataset), copy.copy(dataset)
    first.transform, second.transform = augmented, plain
    return Subset(first, train), Subset(second, validation)
    # end


# %%
checks.nb01.split_with_transforms(split_with_transforms)
