"""What notebook 01 uses of a learner's parts, or of the course's in their place."""

import random
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from going_modular import data_setup
from going_modular.checks import _parts01, nb01
from going_modular.data import images

EXERCISES = ["count_images", "undo_normalise", "put_on_white", "split_in_proportion", "split_with_transforms", "audit"]


def unsolved(*arguments):
    raise NotImplementedError


@pytest.mark.parametrize("exercise", EXERCISES)
def test_the_part_of_the_course_stands_in_and_is_right(exercise, capsys):
    ours = nb01.yours_or_ours(exercise, unsolved)
    assert capsys.readouterr().out == f"{exercise}: that of the course\n"
    assert getattr(nb01, exercise).judge(ours) == "right"


def test_a_right_answer_is_used(capsys):
    def mine(image):
        return _parts01.put_on_white(image)

    assert nb01.yours_or_ours("put_on_white", mine) is mine
    assert capsys.readouterr().out == "put_on_white: yours\n"


def test_a_transparent_image_looks_as_open_image_shows_it(tmp_path):
    pixels = np.random.default_rng(0).integers(256, size=(5, 7, 4), dtype=np.uint8)
    image = Image.fromarray(pixels)
    image.save(tmp_path / "image.png")
    ours, theirs = np.asarray(_parts01.put_on_white(image)), np.asarray(images.open_image(tmp_path / "image.png"))
    assert np.abs(ours.astype(int) - theirs).max() <= nb01.ROUNDING


def test_the_sample_is_clean_and_its_classes_are_of_one_size():
    splits = data_setup.load_splits("sample")
    root = Path(splits.train.root).parent
    assert _parts01.audit(root) == {"unreadable": [], "turned": [], "in_both": []}
    assert _parts01.count_images(root / "train") == {"pizza": 75, "steak": 75, "sushi": 75}


def test_letters_are_those_that_the_notebook_draws_by_lot():
    assert dict(zip("ABCD", random.Random(7).sample(nb01.WAYS, 4), strict=True)) == nb01.LETTERS


def test_the_four_histograms_have_the_ranges_that_the_sheet_tells():
    made = {"right": torch.tensor([-0.992, 1.0])}
    made["not normalised"] = torch.tensor([0.0, 1.0])
    made["not divided by 255"] = (torch.tensor([0.0, 255.0]) - 0.498) / 0.502
    made["normalised twice"] = (made["right"] - 0.498) / 0.502
    ends = {letter: [round(value) for value in made[word].tolist()] for letter, word in nb01.LETTERS.items()}
    assert ends == {"A": [-1, 507], "B": [-1, 1], "C": [0, 1], "D": [-3, 1]}
