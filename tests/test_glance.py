"""What train.py says of its data: three lines at most, and nothing where there is nothing."""

import shutil

import numpy as np
import pytest
from commands import LITE0, succeed
from PIL import Image

from going_modular import data_setup
from going_modular.inspection import glance

SIZE = (60, 60)


def write(folder, name, count, *, seed, size=SIZE, kind="png"):
    (folder / name).mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(seed)
    for i in range(count):
        noise = random.integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
        Image.fromarray(noise).save(folder / name / f"{i:03}.{kind}")


@pytest.fixture
def data(tmp_path):
    """Return a folder of two classes of noise, of one size and kind."""
    for seed, name in enumerate(("cat", "dog")):
        write(tmp_path / "data", name, 40, seed=seed)
    return tmp_path / "data"


def test_of_data_with_nothing_odd_it_says_nothing():
    assert glance.lines(data_setup.load_splits("sample")) == []


def test_copies_across_the_split_are_counted(data, tmp_path):
    for part, numbers in (("train", range(30)), ("test", range(25, 40))):  # 25 to 29 stand in both
        for name in ("cat", "dog"):
            (tmp_path / "own" / part / name).mkdir(parents=True)
            for i in numbers:
                shutil.copy(data / name / f"{i:03}.png", tmp_path / "own" / part / name)
    [line] = glance.lines(data_setup.load_splits(tmp_path / "own"))
    assert "10 of 30 test images are trained on, or nearly, such as 025.png" in line
    assert f"inspect_data.py --data {tmp_path / 'own'}" in line


@pytest.mark.parametrize(
    ("names", "changed"),
    [
        ("the file size or the file name's ending alone", {"kind": "jpg"}),
        ("the file size or the image size alone", {"size": (64, 60)}),
    ],
)
def test_classes_that_were_made_differently_are_told(data, names, changed):
    shutil.rmtree(data / "dog")
    write(data, "dog", 40, seed=1, **changed)
    [line] = glance.lines(data_setup.load_splits(data))
    assert f"{names} tells the class of 100% of the images or more" in line


def test_scarce_classes_are_named(data):
    write(data, "owl", 8, seed=9)
    [line] = glance.lines(data_setup.load_splits(data))
    assert "only 6 of owl to train on" in line


@pytest.mark.slow
def test_train_says_it_before_it_trains(data, tmp_path, capsys):
    for i in range(30):  # saved anew: other files, other pixels
        with Image.open(data / "cat" / f"{i:03}.png") as image:
            image.save(data / "dog" / f"again_{i:03}.jpg", quality=95)
    succeed("train.py", "--data", data, *LITE0, "--epochs", 1, "--output", tmp_path / "run")
    printed = capsys.readouterr().out
    told = [line for line in printed.splitlines() if line.startswith("Look at the data: ")]
    assert 1 <= len(told) <= 3
    assert "test images are trained on, or nearly" in told[0]
