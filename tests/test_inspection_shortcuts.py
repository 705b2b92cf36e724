import numpy as np
import pytest
from PIL import Image, ImageOps

from going_modular.inspection.quality import measure
from going_modular.inspection.shortcuts import facts, shortcuts

COUNT = 60
LABELS = np.arange(COUNT) % 2


def noise(seed: int, size: tuple[int, int] = (64, 64)) -> Image.Image:
    rng = np.random.default_rng(seed)
    low = Image.fromarray(rng.integers(0, 256, (6, 6, 3), dtype=np.uint8))
    return low.resize(size, Image.Resampling.BICUBIC)


def found(known: dict[str, np.ndarray], groups: np.ndarray | None = None) -> dict[str, bool]:
    return {shortcut.name: shortcut.warns for shortcut in shortcuts(known, LABELS, groups, seed=0)}


def test_classes_photographed_alike_are_no_shortcut():
    known = facts([measure(noise(i)) for i in range(COUNT)])
    assert found(known) == {"mean colour": False, "frame": False}  # all else is the same for all


def test_a_border_in_one_class_is_told_by_the_frame_alone():
    framed = [ImageOps.expand(noise(i, (60, 60)), 2, "black") if i % 2 else noise(i) for i in range(COUNT)]
    assert found(facts([measure(image) for image in framed]))["frame"]


@pytest.mark.slow
def test_format_file_size_and_image_size_are_told(tmp_path):
    qualities = []
    for i in range(COUNT):
        path = tmp_path / f"{i}.{'png' if i % 2 else 'jpg'}"
        noise(i, (64 + i % 2, 64)).save(path)
        qualities.append(measure(path))
    warned = found(facts(qualities))
    assert warned["format"]
    assert warned["file size"]
    assert warned["image size"]
    assert not warned["mean colour"]


def test_accuracy_is_balanced_and_its_interval_holds_it():
    labels = np.repeat([0, 1], [95, 5])
    known = {"nothing": np.random.default_rng(0).normal(size=(100, 2)).astype(np.float32)}
    [shortcut] = shortcuts(known, labels, seed=0)
    assert shortcut.chance == 0.5
    assert shortcut.accuracy < 0.7
    assert shortcut.interval[0] <= shortcut.accuracy <= shortcut.interval[1]
    assert not shortcut.warns


def test_groups_stand_on_one_side():
    scene = np.repeat(np.arange(12), 5)  # each scene has a size of its own, and the scenes are dealt to the classes
    labels = np.random.default_rng(0).permutation(np.arange(12) % 2)[scene]
    known = {"file size": scene[:, None].astype(np.float32)}
    [parted], [whole] = shortcuts(known, labels, seed=0), shortcuts(known, labels, scene, seed=0)
    assert parted.accuracy > whole.accuracy + 0.2
    assert whole.interval[1] - whole.interval[0] > parted.interval[1] - parted.interval[0]


def test_the_seed_decides():
    known = {"nothing": np.random.default_rng(0).normal(size=(COUNT, 2)).astype(np.float32)}
    assert shortcuts(known, LABELS, seed=0) == shortcuts(known, LABELS, seed=0)


@pytest.mark.parametrize("labels", [[0, 0, 0], [0, 1], [0, 0, 1]])
def test_few_images_are_no_error(labels):
    known = {"file size": np.arange(len(labels), dtype=np.float32)[:, None]}
    assert not any(shortcut.warns for shortcut in shortcuts(known, np.array(labels), seed=0))
