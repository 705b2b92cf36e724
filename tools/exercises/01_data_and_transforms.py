"""Source of the exercises of notebook 01: cells, with the solutions between `# solution` and `# end`."""

# %% [markdown]
# # 01 Data and transforms: exercises
#
# Replace each `raise NotImplementedError`, run the cell and the check below it. All nine together take some
# 90 minutes.

# %%
import copy
import random
from pathlib import Path

import torch
from PIL import ExifTags, Image
from torch.utils.data import Dataset, Subset

from going_modular import checks

# %% [markdown]
# ### Exercise 1: Count the images of each class (write it; easy, 5 minutes)
#
# Before training on a data set, count it. Return a dictionary from the name of each class folder to the number of
# images in it, such as `{"pizza": 75, "steak": 74}`. Images end in `.jpg`, `.jpeg` or `.png`, in small letters or
# capitals; other files do not count. `folder` is a `pathlib.Path`: `folder.iterdir()` goes through what is in it, and
# `path.suffix` is the ending of a file's name.


# %%
def count_images(folder: Path) -> dict[str, int]:
    """Return how many images each class folder has."""
    # solution
    endings = {".jpg", ".jpeg", ".png"}
    counts = {}
    for class_folder in folder.iterdir():
        if class_folder.is_dir():
            counts[class_folder.name] = sum(file.suffix.lower() in endings for file in class_folder.iterdir())
    return counts
    # end


# %%
checks.nb01.count_images(count_images)

# %% [markdown]
# ### Exercise 2: Undo the normalisation (write it; easy, 5 minutes)
#
# To look at what the model sees, the normalisation has to be undone. `values` is a tensor (3, H, W) that
# `(numbers - mean) / std` has made. Return `numbers`. Each channel has its own mean and its own standard deviation.


# %%
def undo_normalise(values: torch.Tensor, mean: list[float], std: list[float]) -> torch.Tensor:
    """Turn a normalised tensor (3, H, W) back into values in [0, 1]."""
    # solution
    return values * torch.tensor(std).view(3, 1, 1) + torch.tensor(mean).view(3, 1, 1)
    # end


# %%
checks.nb01.undo_normalise(undo_normalise)

# %% [markdown]
# ### Exercise 3: A batch (predict, then run; easy, 5 minutes)
#
# A data set has 225 images. Its transform makes tensors of shape (3, 224, 224), and `DataLoader(data, batch_size=32)`
# hands them out. Write down before you see it: `shape`, the shape of the first batch, as a tuple; `batches`, how many
# there are when all images have been handed out once; `last`, how many images are in the last one.
#
# Another model normalises with a mean of 0.5 and a standard deviation of 0.2 in each channel. Write down two more
# numbers: `black` and `white`, what the values 0 and 1 become there.


# %%
def my_prediction() -> dict[str, tuple[int, ...] | float]:
    """Return your predictions under the keys `shape`, `batches`, `last`, `black` and `white`."""
    # solution
    return {"shape": (32, 3, 224, 224), "batches": 8, "last": 1, "black": -2.5, "white": 2.5}
    # end


# %%
checks.nb01.prediction(my_prediction)

# %% [markdown]
# ### Exercise 4: Four histograms (read this; easy, 5 minutes)
#
# The figure with A to D, in section 4 of notebook 01, shows the values of one batch, made in four ways. Which is which?
# Give each letter one of the words `"right"`, `"not normalised"` (only divided by 255), `"not divided by 255"` (but
# normalised) and `"normalised twice"`. Look at the ends of each axis. The recipe of EfficientNet-Lite0 has a mean of
# about 0.5 and a standard deviation of about 0.5.


# %%
def my_reading() -> dict[str, str]:
    """Return a word for each of the letters A, B, C and D."""
    # solution
    return {"A": "not divided by 255", "B": "right", "C": "not normalised", "D": "normalised twice"}
    # end


# %%
checks.nb01.reading(my_reading)

# %% [markdown]
# ### Exercise 5: Transparent becomes white (write it; medium, 10 minutes)
#
# An image of mode `RGBA` has four channels. The fourth, *alpha*, says how opaque a pixel is: 0 is fully transparent,
# 255 fully opaque. Put such an image in front of white and return it in mode `RGB`. Half-transparent pixels become a
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
# ### Exercise 6: Left and right shoes (explain in a sentence; easy, 3 minutes)
#
# A classmate sorts photos into left shoes and right shoes. She mirrors half of the training images at random, "because
# more variety can do no harm". Explain in one or two sentences what she will see, and why.
#
# <details><summary>An answer</summary>
#
# A left shoe in a mirror is a right shoe, but its label stays "left". So half of the training images carry the wrong
# label, in both classes. The model has nothing to learn from, and its accuracy on new images stays near that of a
# guess.
#
# </details>

# %% [markdown]
# ### Exercise 7: Split in proportion (write it; medium, 15 minutes)
#
# A data set has N images, and `labels` is a list of their N labels. Share out the positions 0 to N - 1 at random
# into two lists, for training and for validation. Of each class, the nearest whole number to `share` of its images goes
# to validation. Every position is in exactly one list, and the same seed always gives the same split.


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
# ### Exercise 8: Two parts, two transforms (find the bug; medium, 10 minutes)
#
# A colleague makes two parts of a data set and augments the training part:
#
# ```python
# def split_with_transforms(dataset, train, validation, augmented, plain):
#     train_part, validation_part = Subset(dataset, train), Subset(dataset, validation)
#     train_part.dataset.transform = augmented
#     validation_part.dataset.transform = plain
#     return train_part, validation_part
# ```
#
# It runs, and it is wrong. Write it without the bug. Return a pair of data sets: the training part, with the items at
# the positions `train` and the transform `augmented`, and the validation part, with those at `validation` and `plain`.
# The data set that came in keeps its transform in `dataset.transform`, and stays as it was. It may be of any kind;
# `copy.copy` makes a second one over the same files.


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

# %% [markdown]
# ### Exercise 9: Audit a data set (your own data; hard, 30 minutes)
#
# `root` has two folders, `train` and `test`, and each of them has a folder for each class with the image files in it.
# Return a dictionary with three lists of file names:
#
# - `"unreadable"`: files in a class folder that Pillow cannot open, a note or a `.DS_Store` too, or cannot read to the
#   end (`image.load()` reads the pixels). Pillow then raises an `OSError`. They stand in no other list.
# - `"turned"`: images whose EXIF data asks to turn or mirror them: `image.getexif().get(ExifTags.Base.Orientation, 1)`
#   is not 1.
# - `"in_both"`: the files in `test` whose picture is also in `train`, pixel for pixel, once both are converted to
#   `RGB`. The copy may have another name, stand in another class, or be stored in another format.
#
# A name is written from `root` on with `/` between, such as `"test/pizza/3.jpg"`; `path.relative_to(root).as_posix()`
# gives it. Each list is sorted. Files beside the class folders are left alone.


# %%
def audit(root: Path) -> dict[str, list[str]]:
    """Return the files that are unreadable, those that ask to be turned, and test files that are in train, too."""
    # solution
    found, in_train = {"unreadable": [], "turned": [], "in_both": []}, set()
    for path in sorted(root.glob("train/*/*")) + sorted(root.glob("test/*/*")):
        name = path.relative_to(root).as_posix()
        try:
            with Image.open(path) as image:
                is_turned = image.getexif().get(ExifTags.Base.Orientation, 1) != 1
                rgb = image.convert("RGB")  # reads the pixels
        except OSError:
            found["unreadable"].append(name)
            continue
        if is_turned:
            found["turned"].append(name)
        picture = (rgb.size, rgb.tobytes())
        if name.startswith("train/"):
            in_train.add(picture)
        elif picture in in_train:
            found["in_both"].append(name)
    return {kind: sorted(names) for kind, names in found.items()}
    # end


# %%
checks.nb01.audit(audit)
