import shutil
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from torch.utils.data import DataLoader
from torchvision.transforms import v2

from going_modular.common.errors import InputError
from going_modular.data.image_folder import ImageFolder, content_root, pair, visible_folders
from going_modular.data.splits import hold_out, stratified_split, three_way_split

FORMATS = ("jpg", "JPEG", "png", "gif", "bmp", "tif", "webp", "ppm")


def error_of(function, *arguments, **options):
    with pytest.raises(InputError) as caught:
        function(*arguments, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_every_format_can_sit_in_a_class_folder(make_classes, make_image, tmp_path):
    for extension in FORMATS:
        make_image(f"data/寿司/photo.{extension}")
    for mode in ("L", "LA", "P", "RGBA", "1", "I;16"):
        Image.new(mode, (9, 7)).save(tmp_path / f"data/寿司/{mode.replace(';', '')}.png")
    frames = [Image.new("RGB", (9, 7), colour) for colour in ("red", "blue")]
    frames[0].save(tmp_path / "data/寿司/animation.gif", save_all=True, append_images=frames[1:])
    make_image("data/寿司/deeper/photo.png")
    everything = ImageFolder(make_classes("data", ("cat",)))
    assert everything.classes == ["cat", "寿司"]
    assert Counter(everything.targets) == {0: 6, 1: len(FORMATS) + 6 + 1 + 1}
    for image, label in everything:
        assert (image.mode, label in (0, 1)) == ("RGB", True)


def test_hidden_files_and_folders_are_no_images_and_no_classes(make_classes, make_image, tmp_path):
    folder = make_classes(".hidden parent/data")  # what lies above the data set does not matter
    before = ImageFolder(folder).samples
    assert len(before) == 12
    inside = folder.relative_to(tmp_path)
    for name in (".ipynb_checkpoints/0.png", "__MACOSX/a.png", ".git/a.png"):
        make_image(f"{inside}/{name}")
        make_image(f"{inside}/cat/{name}")
    for name in ("._0.png", ".0.png"):
        make_image(f"{inside}/cat/{name}")
    (folder / "cat" / "notes.txt").write_text("no image")
    (folder / "README.md").write_text("no class")
    assert ImageFolder(folder).samples == before


@pytest.mark.parametrize(
    ("hidden", "name"), [(True, "0.jpg"), (False, "Photo.HEIC"), (False, "notes"), (False, ".DS_Store"), (False, None)]
)
def test_a_class_folder_without_images_is_named_with_what_was_passed_over(make_classes, hidden, name):
    folder = make_classes("data")
    inside = folder / "empty" / ".ipynb_checkpoints" if hidden else folder / "empty"
    inside.mkdir(parents=True)
    if name:
        (inside / name).touch()
    message = error_of(ImageFolder, folder)
    assert repr(str(folder)) in message
    assert "no images in the class folder empty; add some or remove it" in message
    assert (".heic files are not read; convert photos to JPEG" in message) == (name == "Photo.HEIC")
    assert "are not read" not in message or name == "Photo.HEIC"


def test_what_is_no_folder_of_classes(make_classes, make_image, tmp_path):
    assert "one class only, 'cat'" in error_of(ImageFolder, make_classes("one", ("cat",)))
    make_image("flat/a.png")
    assert "put the images of each class into a folder of the class's name" in error_of(ImageFolder, tmp_path / "flat")


def test_a_pair_has_the_same_classes(make_classes, tmp_path):
    train, test = pair(make_classes("data/train"), make_classes("data/test", images=2))
    assert (train.classes, len(train), len(test)) == (["cat", "dog"], 12, 4)
    message = error_of(pair, make_classes("data/train"), make_classes("other", ("cat", "cow", "dogs")))
    assert "only in train: dog; only in test: cow, dogs" in message
    for folders in [(tmp_path / "no", tmp_path / "other"), (tmp_path / "other", tmp_path / "no")]:
        assert f"{str(tmp_path / 'no')!r}: no such folder" in error_of(pair, *folders)


def labelled(counts):
    """An ImageFolder of so many samples a class, without files."""
    folder = ImageFolder.__new__(ImageFolder)
    folder.root, folder.transform = "data", None
    folder.classes = [f"class {label}" for label in range(len(counts))]
    folder.targets = [label for label, count in enumerate(counts) for _ in range(count)]
    folder.samples = folder.imgs = [(f"{i}.png", label) for i, label in enumerate(folder.targets)]
    return folder


@pytest.mark.parametrize("counts", [(2, 2), (2, 9), (5, 5), (30, 10, 20), (7, 100, 3, 11), (2,) * 30, (100, 100, 100)])
def test_a_split_is_stratified_disjoint_complete_and_seeded(counts):
    everything = labelled(counts)
    train, test = stratified_split(everything, seed=0)
    assert sorted(train.samples + test.samples) == sorted(everything.samples)
    assert not set(train.samples) & set(test.samples)
    assert len(test) == max(round(0.2 * sum(counts)), len(counts))
    for part in (train, test):
        assert part.targets == [label for _, label in part.samples]
        assert part.imgs == part.samples
        for label, count in enumerate(counts):
            assert abs(part.targets.count(label) - count * len(part) / sum(counts)) < 1
    assert set(train.targets) == set(range(len(counts)))

    assert stratified_split(everything, seed=0)[1].samples == test.samples
    if sum(counts) > 30:
        assert stratified_split(everything, seed=1)[1].samples != test.samples


def test_a_class_of_too_few_images_cannot_be_split():
    everything = labelled((1, 5, 1))
    assert "too few images to split (1 in class 0, 1 in class 2); each class needs 2" in error_of(
        stratified_split, everything, seed=0
    )
    assert "each class needs 3" in error_of(three_way_split, labelled((3, 2)), seed=0)


@settings(deadline=None, max_examples=200)
@given(st.lists(st.integers(10, 80), min_size=2, max_size=12), st.integers(0, 2**32 - 1))
def test_three_parts_are_disjoint_complete_and_each_class_within_one_image_of_its_share(counts, seed):
    everything = labelled(counts)
    parts = three_way_split(everything, seed=seed)
    assert sorted(sample for part in parts for sample in part.samples) == sorted(everything.samples)
    for part, share in zip(parts, (0.7, 0.1, 0.2), strict=True):
        assert part.targets == [label for _, label in part.samples]
        for label, count in enumerate(counts):
            assert abs(part.targets.count(label) - share * count) <= 1 + 1e-9
    assert parts[2].samples == stratified_split(everything, seed=seed)[1].samples


def test_eurosats_27000_images_are_split_as_its_users_do():
    eurosat = (3000, 3000, 3000, 2500, 2500, 2000, 2500, 3000, 2500, 3000)  # as its authors counted them
    parts = three_way_split(labelled(eurosat), seed=0)
    assert [len(part) for part in parts] == [18_900, 2_700, 5_400]
    for part, share in zip(parts, (0.7, 0.1, 0.2), strict=True):
        assert [part.targets.count(label) for label in range(10)] == [round(share * count) for count in eurosat]


@pytest.mark.parametrize("counts", [(3, 3), (4,) * 20])
def test_small_classes_of_a_size_are_in_each_of_three_parts(counts):
    for part in three_way_split(labelled(counts), seed=0):
        assert set(part.targets) == set(range(len(counts)))


def test_holding_out_leaves_each_class_one_image():
    kept, out = hold_out(labelled((4, 4)), 0.1, seed=0)
    assert [sorted(part.targets) for part in (kept, out)] == [[0, 0, 0, 1, 1, 1], [0, 1]]
    assert "of 6 images 5 would be held out" in error_of(hold_out, labelled((3, 3)), 0.9, seed=0)


def test_subsets_are_independent(make_classes):
    everything = ImageFolder(make_classes("data"), transform=v2.PILToTensor())
    first, second = everything.subset([0, 11]), everything.subset([0, 11])
    first.transform = None
    assert isinstance(first[0][0], Image.Image)
    assert second[0][0].shape == everything[0][0].shape == (3, 64, 80)
    first.samples.clear()
    first.targets[0] = 1
    assert (len(second), len(everything), second.targets, everything.targets[0]) == (2, 12, [0, 1], 0)
    (image, labels) = next(iter(DataLoader(second, batch_size=2, num_workers=1)))
    assert (image.shape, labels.tolist()) == ((2, 3, 64, 80), [0, 1])
    assert np.array_equal(image[1], everything[11][0])


def test_content_root_steps_into_lone_folders_only(make_classes, make_image, tmp_path):
    inner = make_classes("outer/.x/../middle/data")
    (tmp_path / "outer" / "__MACOSX").mkdir()
    assert content_root(tmp_path / "outer") == tmp_path / "outer" / "middle" / "data"
    assert [folder.name for folder in visible_folders(inner)] == ["cat", "dog"]
    make_image("lone/photos/a.png")
    assert content_root(tmp_path / "lone") == tmp_path / "lone"  # `photos` is a class
    shutil.move(inner, tmp_path / "split" / "train")
    assert content_root(tmp_path / "split") == tmp_path / "split"  # `test` is missing
