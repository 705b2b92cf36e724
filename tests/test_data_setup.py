import hashlib
import io
import re
import shutil
import zipfile

import pytest
import torch
from PIL import Image
from torchvision.models import ResNet18_Weights
from torchvision.transforms import v2

from going_modular import data_setup
from going_modular.common.errors import InputError
from going_modular.data import sources
from going_modular.models.efficientnet_lite import EfficientNetLite0Weights

TO_TENSOR = v2.Compose([v2.PILToTensor(), v2.ToDtype(torch.float32, scale=True)])


@pytest.fixture
def data_folder(tmp_path, monkeypatch):
    """A `data/` of our own, still empty."""
    folder = tmp_path / "data"
    folder.mkdir()
    monkeypatch.setattr(sources, "DATA_FOLDER", folder)
    return folder


@pytest.fixture
def split_folder(make_classes):
    make_classes("food/train")
    return make_classes("food/test", images=2).parent


def error_of(*arguments):
    with pytest.raises(InputError) as caught:
        data_setup.load_splits(*arguments)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def pack(folder, archive, inside=""):
    with zipfile.ZipFile(archive, "w") as packed:
        for path in sorted(folder.rglob("*")):
            packed.write(path, f"{inside}{path.relative_to(folder).as_posix()}")
    return archive


def names(part):
    """The samples of a part, as class/file."""
    return sorted("/".join(re.split(r"[\\/]", path)[-2:]) for path, _ in part.samples)


# DataLoaders


@pytest.mark.parametrize("num_workers", [0, 2])
def test_dataloaders_by_position_and_by_keyword(split_folder, num_workers):
    folders = (split_folder / "train", str(split_folder / "test"))
    by_position = data_setup.create_dataloaders(*folders, TO_TENSOR, 5, num_workers)
    by_keyword = data_setup.create_dataloaders(
        train_dir=folders[0], test_dir=folders[1], transform=TO_TENSOR, batch_size=5, num_workers=num_workers
    )
    for train, test, class_names in (by_position, by_keyword):
        assert class_names == train.dataset.classes == test.dataset.classes == ["cat", "dog"]
        assert (train.num_workers, test.num_workers) == (num_workers, num_workers)
        assert [len(labels) for _, labels in train] == [5, 5, 2]
        images, labels = next(iter(test))
        assert (images.shape, images.dtype, labels.dtype) == ((4, 3, 64, 80), torch.float32, torch.int64)
    assert data_setup.create_dataloaders(*folders, TO_TENSOR, 5)[0].batch_size == 5


def test_training_images_are_shuffled_anew_and_test_images_keep_their_order(split_folder):
    torch.manual_seed(0)
    train, test, _ = data_setup.create_dataloaders(split_folder / "train", split_folder / "test", TO_TENSOR, 12, 0)
    (first,), (second,), (once,), (again,) = ([images for images, _ in loader] for loader in (train, train, test, test))
    assert not torch.equal(first, second)
    assert torch.equal(*(batch.sum(dim=(1, 2, 3)).sort().values for batch in (first, second)))
    assert torch.equal(once, again)
    assert torch.equal(once, torch.stack([image for image, _ in test.dataset]))
    assert [label for _, label in test.dataset] == [0, 0, 1, 1]


def test_dataloaders_refuse_classes_that_differ(make_classes):
    with pytest.raises(InputError, match="only in test: cow"):
        data_setup.create_dataloaders(make_classes("a"), make_classes("b", ("cat", "cow", "dog")), TO_TENSOR, 2)


# what load_splits takes


def test_the_sample():
    splits = data_setup.load_splits("sample")
    assert splits.class_names == splits.train.classes == splits.test.classes == ["pizza", "steak", "sushi"]
    assert [splits.train.targets.count(label) for label in range(3)] == [75] * 3
    assert [splits.test.targets.count(label) for label in range(3)] == [25] * 3
    assert (splits.name, "bundled sample" in splits.origin) == ("sample", True)


def test_a_folder_with_train_and_test(split_folder, make_classes):
    make_classes("food/validation", ("owl",))  # no concern of ours
    splits = data_setup.load_splits(split_folder)
    assert (splits.name, splits.origin) == ("food", f"the folder {split_folder}")
    assert names(splits.train) == names(data_setup.load_splits(str(split_folder.parent / "food")).train)
    assert (len(splits.train), len(splits.test)) == (12, 4)


def test_a_folder_of_classes_is_split_by_seed(make_classes):
    folder = make_classes("animals", ("cat", "dog", "train"), images=10)  # a class may be called train
    splits, same, other = (data_setup.load_splits(folder, seed=seed) for seed in (1, 1, 2))
    assert splits.class_names == ["cat", "dog", "train"]
    assert [splits.test.targets.count(label) for label in range(3)] == [2, 2, 2]
    assert sorted(names(splits.train) + names(splits.test)) == names(data_setup.ImageFolder(folder))
    assert names(splits.test) == names(same.test) != names(other.test)


@pytest.mark.parametrize("inside", ["", "food/", "a/b/食/"])
@pytest.mark.parametrize("kind", ["split", "classes"])
def test_a_zip_is_what_it_holds(split_folder, tmp_path, inside, kind):
    folder = split_folder if kind == "split" else split_folder / "train"
    archive = pack(folder, tmp_path / "my photos.zip", inside)
    with zipfile.ZipFile(archive, "a") as packed:
        packed.writestr("__MACOSX/._a.jpg", b"")
    splits, expected = data_setup.load_splits(archive), data_setup.load_splits(folder)
    assert (splits.name, splits.origin) == ("my photos", f"the zip {archive}")
    assert names(splits.train) == names(expected.train)
    assert names(splits.test) == names(expected.test)


def test_a_zip_of_new_content_is_unpacked_anew(split_folder, tmp_path):
    archive = pack(split_folder, tmp_path / "photos.zip")
    assert len(data_setup.load_splits(archive).test) == 4
    shutil.copy(split_folder / "test/cat/0.png", split_folder / "test/cat/more.png")
    pack(split_folder, archive)
    assert len(data_setup.load_splits(archive).test) == 5


@pytest.mark.parametrize(
    ("missing", "message"),
    [
        ("nowhere", "'nowhere': no such folder or zip, nor one of pizza_steak_sushi, pizza_steak_sushi_20_percent, "),
        ("file.zip", "Cannot unpack"),
        ("flat", "put the images of each class into a folder of the class's name"),
        ("nothing", "put the images of each class into a folder of the class's name"),
        ("one", "'cat'; a classifier needs two"),
        ("single", "too few images to split (1 in cat, 1 in dog); each class needs 2"),
        ("half", "has train/ but not both train/ and test/; add or rename one"),
        ("halves", "has train/, val/ but not both train/ and test/; add or rename one"),
        ("differ", "only in train: dog; only in test: cow"),
        ("empty", "no images in the class folder dog; add some or remove it"),
        ("heic", "no images in the class folder cat, dog; add some or remove it (.heic files are not read; "),
    ],
)
def test_what_cannot_be_used_is_named_with_a_remedy(make_classes, make_image, tmp_path, monkeypatch, missing, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file.zip").write_text("text")
    make_image("flat/a.png")
    (tmp_path / "nothing").mkdir()
    make_classes("one", ("cat",))
    make_classes("single", images=1)
    for folder in ("half/train", "halves/train", "halves/val", "differ/train", "empty/train"):
        make_classes(folder, images=1)
    make_classes("differ/test", ("cat", "cow"), images=1)
    make_classes("empty/test", ("cat",), images=1)
    (tmp_path / "empty/test/dog").mkdir()
    for name in ("cat", "dog"):
        (tmp_path / "heic" / name).mkdir(parents=True)
        (tmp_path / "heic" / name / "IMG_1.HEIC").touch()
    assert message in (error := error_of(missing))
    assert missing in error
    if (tmp_path / missing).is_dir() and missing != "nothing":
        assert message in error_of(pack(tmp_path / missing, tmp_path / "packed.zip"))


def test_a_clone_without_its_sample_says_so(data_folder):
    assert "is missing; clone the repository anew, or name other data" in error_of("sample")


# downloads


def test_offline_the_default_falls_back_and_says_so_and_a_name_does_not(server, data_folder, make_classes, monkeypatch):
    make_classes("data/sample", images=5)
    monkeypatch.setenv("GOING_MODULAR_OFFLINE", "1")
    monkeypatch.setattr(sources, "DOWNLOADS", dict.fromkeys(sources.DOWNLOADS, (server.url, "0" * 40)))
    for name in sources.DOWNLOADS:
        assert f"Data {name!r}: GOING_MODULAR_OFFLINE is set; get that zip elsewhere" in error_of(name)
    splits = data_setup.load_splits()
    assert (splits.name, splits.origin) == ("sample", "the bundled sample of rendered images (offline)")
    assert server.asked == []


def test_a_real_download(server, data_folder, make_classes, split_folder, tmp_path, monkeypatch):
    make_classes("data/sample/train")
    make_classes("data/sample/test", images=1)
    content = pack(split_folder, tmp_path / "right.zip").read_bytes()
    blob_id = hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
    downloads = dict.fromkeys(sources.DOWNLOADS, (f"{server.url}/data.zip", blob_id))
    monkeypatch.setattr(sources, "DOWNLOADS", downloads)

    server.files["/data.zip"] = content[:-9] + b"corrupted"
    assert "expected git blob" in error_of("pizza_steak_sushi")
    splits = data_setup.load_splits()
    assert (splits.name, len(splits.test)) == ("sample", 2)
    assert "the photos cannot be had: Cannot download" in splits.origin
    assert "expected git blob" in splits.origin
    assert not [path for path in data_folder.iterdir() if path.name != "sample" and path.suffix != ".lock"]

    server.files["/data.zip"] = content
    for name in (None, "pizza_steak_sushi", "pizza_steak_sushi_20_percent"):
        splits = data_setup.load_splits(name)
        assert (splits.name, splits.origin) == (name or "pizza_steak_sushi", "photos")
        assert (len(splits.train), len(splits.test)) == (12, 4)
    assert {path.name for path in data_folder.iterdir()} == {"sample", *downloads}

    asked = len(server.asked)
    monkeypatch.setenv("GOING_MODULAR_OFFLINE", "1")
    for name in (None, *downloads):
        assert data_setup.load_splits(name).origin == "photos"
    assert len(server.asked) == asked


@pytest.fixture
def eurosat(server, data_folder, make_image, monkeypatch):
    """EuroSAT's zip, of four images, where we look for it: its address and hash are others here."""
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as file:
        for name in ("AnnualCrop/AnnualCrop_1", "AnnualCrop/AnnualCrop_2", "Forest/Forest_1", "Forest/Forest_2"):
            file.write(make_image("tile.jpg", size=(64, 64), seed=len(name)), f"2750/{name}.jpg")
    server.files["/EuroSAT.zip"] = archive.getvalue()
    monkeypatch.setattr(sources, "EUROSAT_URLS", (f"{server.url}/EuroSAT.zip",))
    monkeypatch.setattr(sources, "EUROSAT_SHA256", hashlib.sha256(archive.getvalue()).hexdigest())


def test_eurosat_is_downloaded_once_and_split(server, eurosat, data_folder):
    splits = data_setup.load_splits("eurosat")
    assert splits.class_names == ["AnnualCrop", "Forest"]
    assert (splits.name, len(splits.train), len(splits.test)) == ("eurosat", 2, 2)
    assert [path.name for path in data_folder.iterdir()] == ["eurosat"]
    server.files.clear()
    assert data_setup.load_splits("eurosat").test.samples == splits.test.samples


def test_a_download_of_eurosat_that_fails_leaves_nothing_that_looks_like_a_data_set(
    server, eurosat, data_folder, monkeypatch
):
    monkeypatch.setattr(sources, "EUROSAT_SHA256", "0" * 64)
    assert "expected SHA-256" in error_of("eurosat")
    server.files.clear()
    assert "use the data 'sample'" in error_of("eurosat")
    assert not [path for path in data_folder.iterdir() if path.suffix != ".lock"]


def test_offline_eurosat_names_the_remedy(data_folder):
    assert "GOING_MODULAR_OFFLINE is set; get EuroSAT.zip (RGB) elsewhere and pass it as data" in error_of("eurosat")


def test_a_validation_part_comes_out_of_the_training_part(split_folder, make_classes):
    two = data_setup.load_splits(split_folder)
    three = data_setup.load_splits(split_folder, validation=True)
    assert two.validation is None
    assert three.test.samples == two.test.samples
    assert sorted(three.train.samples + three.validation.samples) == sorted(two.train.samples)
    assert sorted(three.validation.targets) == [0, 1]
    folder = make_classes("classes", images=20)
    three = data_setup.load_splits(folder, validation=True, seed=1)
    assert [len(part) for part in (three.train, three.validation, three.test)] == [28, 4, 8]
    assert three.test.samples == data_setup.load_splits(folder, seed=1).test.samples


def test_a_server_out_of_reach_is_named(server, data_folder, monkeypatch):
    server.shutdown()
    server.server_close()
    url = f"{server.url}/data.zip"
    monkeypatch.setattr(sources, "DOWNLOADS", {"pizza_steak_sushi": (url, "0" * 40)})
    error = error_of("pizza_steak_sushi")
    assert f"{url} cannot be reached (" in error
    assert "); get that zip elsewhere and pass it as data" in error
    assert list(data_folder.iterdir()) == []


# augmentation


@pytest.mark.parametrize("weights", [ResNet18_Weights.DEFAULT, EfficientNetLite0Weights.DEFAULT])
def test_augmentation_is_random_and_ends_as_the_transform_does(make_image, weights):
    transform = weights.transforms()
    augmented = data_setup.augment(transform)
    torch.manual_seed(0)
    with Image.open(make_image("noise.png")) as image:
        draws = torch.stack([augmented(image) for _ in range(3)])
        assert (draws.shape, draws.dtype) == ((3, *transform(image).shape), torch.float32)
    assert not torch.equal(draws[0], draws[1])
    assert not torch.equal(draws[1], draws[2])
    # brightness and contrast leave black alone, and some draws leave white alone
    black, white = (Image.new("RGB", (300, 260), colour) for colour in ("black", "white"))
    torch.testing.assert_close(augmented(black), transform(black))
    brightest = torch.stack([augmented(white) for _ in range(12)]).amax(dim=0)
    torch.testing.assert_close(brightest, transform(white))


def test_augmenting_the_training_split_leaves_the_test_split_alone(make_classes):
    splits = data_setup.load_splits(make_classes("animals"))
    transform = ResNet18_Weights.DEFAULT.transforms()
    splits.train.transform = splits.test.transform = transform
    before = splits.test[0][0]
    splits.train.transform = data_setup.augment(splits.test.transform)
    assert splits.test.transform is transform
    assert torch.equal(splits.test[0][0], before)
    assert not torch.equal(splits.train[0][0], splits.train[0][0])


@pytest.mark.parametrize("foreign", [TO_TENSOR, None, v2.PILToTensor(), lambda image: image])
def test_only_transforms_that_come_with_weights_are_augmented(foreign):
    with pytest.raises(InputError, match="the transform that comes with a model's weights"):
        data_setup.augment(foreign)
