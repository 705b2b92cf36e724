"""What is read of the folders that people have: splits as they spell them, links, files of other kinds, odd names."""

import json
import os
import shutil
import sys
import zipfile
from pathlib import Path

import pytest
import torch
from commands import LITE0, call, messages, refusal, succeed
from PIL import Image
from torchvision import datasets

from going_modular import data_setup, model_builder, predict
from going_modular.common.errors import InputError
from going_modular.data import images, own_split, walk
from going_modular.data.image_folder import ImageFolder, content_root, pair
from going_modular.saving import checkpoint

QUICK = (*LITE0, "--epochs", 1, "--no-cache")
posix_names = pytest.mark.skipif(
    sys.platform in ("win32", "darwin"), reason="names that are not UTF-8 cannot be made here"
)


@pytest.fixture(autouse=True)
def inside(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def head(tmp_path):
    """A checkpoint for two classes, of a model that nobody trained."""
    torch.manual_seed(0)
    model, _ = model_builder.create_model("efficientnet_lite0", 2)
    return checkpoint.save(
        tmp_path / "head.safetensors", model, model_name=LITE0[1], weights="DEFAULT", class_names=["cat", "dog"]
    )


def error_of(function, *arguments, **options):
    with pytest.raises(InputError) as caught:
        function(*arguments, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def link(path, target):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.symlink_to(target)


def names(part):
    return sorted(Path(path).relative_to(part.root).as_posix() for path, _ in part.samples)


def pack(folder, archive):
    with zipfile.ZipFile(archive, "w") as packed:
        for path in sorted(folder.rglob("*.png")):
            packed.write(path, path.relative_to(folder.parent))
    return archive


# splits and their spellings


@pytest.mark.parametrize(
    ("train", "test"),
    [
        ("Training", "Testing"),
        ("TRAIN", "TEST"),
        ("Train", "test"),
        ("train_set", "test_set"),
        ("trainset", "testset"),
        ("TrainingData", "TestingData"),
        ("Training Images", "Test Images"),
        ("train-images", "tests"),
        ("seg_train", "seg_test"),
        ("1_train", "2_test"),
        ("Train1", "Test2"),
    ],
)
@pytest.mark.parametrize("zipped", [False, True])
def test_splits_are_known_by_their_names(make_classes, tmp_path, train, test, zipped):
    make_classes(f"archive/{train}")
    folder = make_classes(f"archive/{test}", images=2).parent
    splits = data_setup.load_splits(pack(folder, tmp_path / "photos.zip") if zipped else folder)
    assert splits.class_names == ["cat", "dog"]
    assert (len(splits.train), len(splits.test)) == (12, 4)
    assert splits.notes == (f"Folders: {train}/ to train on, {test}/ to test on",)


def test_each_split_may_hold_a_folder_of_its_own_name(make_classes):
    make_classes("data/seg_train/seg_train")
    make_classes("data/seg_test/seg_test", images=2)
    splits = data_setup.load_splits("data")
    assert (splits.class_names, len(splits.train), len(splits.test)) == (["cat", "dog"], 12, 4)


@pytest.mark.parametrize("name", ["val", "valid", "Validation", "VAL_SET"])
def test_a_validation_folder_is_used_where_it_is_wanted_and_told_where_not(make_classes, name):
    for part, count in (("train", 6), ("test", 2), (name, 3)):
        make_classes(f"data/{part}", images=count)
    splits = data_setup.load_splits("data")
    assert (len(splits.train), splits.validation, len(splits.test)) == (12, None, 4)
    assert splits.notes == (f"Not used: {name}/, beside train/, test/",)
    splits = data_setup.load_splits("data", validation=True)
    assert (len(splits.train), len(splits.validation), len(splits.test)) == (12, 6, 4)
    assert splits.notes == (f"Folders: train/ to train on, {name}/ to choose by, test/ to test on",)
    make_classes(f"data/{name}", ("owl",))
    splits = data_setup.load_splits("data", validation=True)
    assert (len(splits.train), len(splits.validation)) == (10, 2)
    assert splits.notes == (f"Not used: {name}/, beside train/, test/",)


def test_plain_data_has_nothing_to_tell(make_classes):
    make_classes("own/train"), make_classes("own/test")
    for data in ("own", "sample", make_classes("classes")):
        assert data_setup.load_splits(data, validation=True).notes == ()


@pytest.mark.parametrize(
    ("folders", "message"),
    [
        (("Training", "Validation"), "has Training/, Validation/ but not both train/ and test/; add or rename one"),
        (("Testing", "rest"), "has Testing/, rest/ but not both train/ and test/"),
        (("Training",), "has Training/ but not both train/ and test/"),
        (("train", "Training", "test"), "has Training/, train/, which may each be the train folder"),
        (("train", "test", "TEST"), "has TEST/, test/, which may each be the test folder"),
        (("fold_1", "fold_2"), "fold_1/, fold_2/ hold the same folders (cat, dog)"),
        (("valid", "holdout"), "holdout/, valid/ hold the same folders (cat, dog)"),
    ],
)
def test_what_may_be_splits_is_refused_where_it_is_not_clear(make_classes, tmp_path, folders, message):
    (tmp_path / "X").touch()
    if len({folder.casefold() for folder in folders}) < len(folders) and (tmp_path / "x").exists():
        pytest.skip("this file system does not tell upper from lower case")
    for folder in folders:
        make_classes(f"data/{folder}", images=2)
    assert message in (error := error_of(data_setup.load_splits, "data"))
    assert any(remedy in error for remedy in ("add or rename one", "rename or move", "name one train/ and one test/"))
    assert message in error_of(data_setup.load_splits, pack(tmp_path / "data", tmp_path / "packed.zip"))


@pytest.mark.parametrize("classes", [("cat", "test"), ("invalid", "valid"), ("testing tube", "train station", "val")])
def test_classes_may_be_called_like_splits(make_classes, make_image, classes):
    make_classes("data", classes, images=10)
    make_image(f"data/{classes[0]}/deeper/more.png")
    make_image(f"data/{classes[0]}/deepest/more.png")
    splits = data_setup.load_splits("data")
    assert splits.class_names == sorted(classes)
    assert len(splits.train) + len(splits.test) == 10 * len(classes) + 2


def test_classes_may_hold_the_same_folder_beside_images_or_one_only(make_image):
    for kind in ("cat", "dog"):
        for i in range(3):
            make_image(f"one/{kind}/images/{i}.png")
            make_image(f"beside/{kind}/{i}.png")
            make_image(f"beside/{kind}/indoor/{i}.png")
            make_image(f"beside/{kind}/outdoor/{i}.png")
    assert data_setup.load_splits("one").class_names == data_setup.load_splits("beside").class_names == ["cat", "dog"]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("train", ("train", "")), ("Validation_Set", ("validation", "")), ("testDATA", ("test", "")),
        ("cars_train", ("train", "cars")), ("trainval", (None, "trainval")), ("train_val", (None, "train_val")),
        ("restaurant", (None, "restaurant")), ("strain", (None, "strain")), ("Test", ("test", "")),
        ("contest", (None, "contest")), ("test-multiple_images", ("test", "multiple")), ("寿司", (None, "寿司")),
    ],
)  # fmt: skip
def test_what_a_name_says(name, expected):
    assert own_split.role(name) == expected


def test_a_lone_part_is_not_stepped_into(make_classes, tmp_path):
    make_classes("outer/Testing")
    assert content_root(tmp_path / "outer") == tmp_path / "outer"
    make_classes("other/my test data")
    assert content_root(tmp_path / "other") == tmp_path / "other" / "my test data"


# links


def test_links_to_folders_are_followed_the_same_in_training_and_predicting(make_classes, make_image):
    make_classes("elsewhere")
    link(Path("data/cat"), Path("../elsewhere/cat"))
    make_image("data/dog/0.png")
    link(Path("data/dog/more"), Path("elsewhere/dog").resolve())
    expected = [f"cat/{i}.png" for i in range(6)] + ["dog/0.png"] + [f"dog/more/{i}.png" for i in range(6)]
    assert names(ImageFolder("data")) == expected
    assert [path.relative_to("data").as_posix() for path in predict._find_images([Path("data")])] == expected


@pytest.mark.parametrize("target", [".", "..", "../..", "../dog", "../cat/deep", "/", "loop"])
def test_loops_and_second_ways_bring_no_copies(make_classes, make_image, tmp_path, target):
    make_classes("outer/data")
    make_image("outer/data/cat/deep/a.png")
    make_image("outer/other/secret.png")
    expected = names(ImageFolder("outer/data"))
    link(tmp_path / "outer/data/cat/loop", target)
    data = ImageFolder("outer/data")
    assert names(data) == expected
    assert data.left_out.unfollowed == [Path("outer/data/cat/loop")]
    assert len(predict._find_images([Path("outer/data")])) == len(expected) == 13


def test_a_link_at_the_top_that_leads_up_is_no_class(make_classes, tmp_path):
    make_classes("data")
    link(tmp_path / "data/self", ".")
    link(tmp_path / "data/disk", "/")
    splits = data_setup.load_splits("data")
    assert (splits.class_names, len(splits.train) + len(splits.test)) == (["cat", "dog"], 12)
    assert splits.notes == (
        "Not followed: data/disk, data/self; such links lead up, nowhere, or to what is read already",
    )
    link(tmp_path / "lone/self", ".")
    assert content_root(tmp_path / "lone") == tmp_path / "lone"


def test_a_link_in_a_linked_folder_does_not_lead_up_either(make_classes, make_image, tmp_path):
    make_classes("data")
    make_image("store/cats/a.png")
    make_image("store/secret.png")
    link(tmp_path / "data/cat/more", tmp_path / "store/cats")
    link(tmp_path / "store/cats/up", "..")
    assert names(ImageFolder("data")) == [*(f"cat/{i}.png" for i in range(6)), "cat/more/a.png"] + [
        f"dog/{i}.png" for i in range(6)
    ]


def test_what_a_link_names_is_not_taken_by_a_link_above_it(make_image, tmp_path):
    make_image("store/2020/a.png")
    make_image("store/2020/january/b.png")
    link(tmp_path / "data/cat/x", tmp_path / "store/2020")
    link(tmp_path / "data/dog/x", tmp_path / "store/2020/january")
    assert names(ImageFolder("data")) == ["cat/x/a.png", "dog/x/b.png"]


def test_links_to_files_count_once_and_the_file_itself_comes_first(make_classes, tmp_path):
    make_classes("data")
    expected = names(ImageFolder("data"))
    link(tmp_path / "data/cat/again.png", "0.png")
    link(tmp_path / "data/cat/A dog.png", "../dog/0.png")
    assert names(ImageFolder("data")) == expected
    make_classes("store", ("all",), images=2)
    link(tmp_path / "data/cat/first.png", tmp_path / "store/all/0.png")
    link(tmp_path / "data/dog/second.png", tmp_path / "store/all/0.png")
    assert names(ImageFolder("data")) == sorted([*expected, "cat/first.png"])


def test_no_image_stands_in_both_splits_by_a_link(make_classes, make_image, tmp_path):
    for part in ("train", "test"):
        make_classes(f"data/{part}", images=2)
    link(tmp_path / "data/train/cat/more", "../../test/cat")
    make_image("store/shared.png")
    for part in ("train", "test"):
        link(tmp_path / f"data/{part}/dog/shared.png", tmp_path / "store/shared.png")
    splits = data_setup.load_splits("data")
    assert names(splits.test) == ["cat/0.png", "cat/1.png", "dog/0.png", "dog/1.png"]
    assert names(splits.train) == [*names(splits.test), "dog/shared.png"]
    assert len(splits.notes) == 1
    shutil.rmtree("data/test")
    link(tmp_path / "data/test", "train")
    assert "no images in the class folder cat, dog" in error_of(data_setup.load_splits, "data")
    with_itself = pair(Path("data/train"), Path("data/train"))  # asked for
    assert with_itself[0].samples == with_itself[1].samples


def test_two_classes_that_are_one_folder_are_refused(make_classes, tmp_path):
    make_classes("data")
    link(tmp_path / "data/kitten", "cat")
    message = error_of(ImageFolder, "data")
    assert "no images in the class folder kitten" in message
    assert "is read elsewhere" in message


def test_links_to_nothing_are_named(make_classes, head, tmp_path, capsys):
    make_classes("data")
    link(tmp_path / "data/cat/gone.png", "nowhere.png")
    link(tmp_path / "data/cat/folder", "nowhere")
    assert "gone.png': there is no such file" in refusal(capsys, "train.py", "--data", "data", *QUICK)
    assert call("predict.py", "data", "--checkpoint", head) == 2
    captured = capsys.readouterr()
    assert len(captured.out.splitlines()) == 12
    assert "Not followed: data/cat/folder;" in captured.err
    assert "gone.png': there is no such file" in captured.err


@pytest.mark.skipif(not hasattr(os, "seteuid"), reason="needs POSIX permissions")
def test_a_folder_that_cannot_be_read_is_named(make_classes, tmp_path):
    make_classes("data")
    (tmp_path / "data/cat/locked").mkdir()
    (tmp_path / "data/cat/locked").chmod(0)
    folders, user = [tmp_path, *list(tmp_path.parents)[:3]], os.geteuid()
    modes = [folder.stat().st_mode for folder in folders]
    try:
        if user == 0:  # permissions do not bind root: become nobody for a moment
            for folder in folders:
                folder.chmod(0o755)
            os.seteuid(65534)
        assert "cat/locked' cannot be read: Permission denied" in error_of(walk.walk, Path("data"))
    finally:
        os.seteuid(user)
        for folder, mode in zip(folders, modes, strict=True):
            folder.chmod(mode)
        (tmp_path / "data/cat/locked").chmod(0o755)


def test_the_order_of_images_is_by_class_then_folder_then_name(make_image):
    for name in ("b/1.png", "a/z.png", "a/x/1.png", "a/x-y/0.png", "a/x/deep/0.png", "a/B.png", "a b/0.png"):
        make_image(f"data/{name}")
    # as torchvision's own: seeds give the splits that they gave
    expected = datasets.ImageFolder("data").samples
    assert ImageFolder("data").samples == [(path, label) for path, label in expected]


# files that are not read


def heic(folder, count):
    folder.mkdir(parents=True, exist_ok=True)
    for i in range(count):
        (folder / f"IMG_{i}.HEIC").write_bytes(b"\0\0\0\x18ftypheic" + bytes(20))


@pytest.fixture
def without_heif(monkeypatch):
    """Be where pillow-heif is not installed."""
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    images._reads_heif.cache_clear()
    yield
    images._reads_heif.cache_clear()


@pytest.fixture
def mixed(make_classes, make_image, tmp_path, without_heif):
    """Class folders with photos of phones, a film, notes and hidden files among the images."""
    folder = make_classes("mixed", images=5)
    heic(folder / "cat", 12)
    heic(folder / "dog" / "deeper", 1)
    (folder / "dog" / "notes.txt").touch()
    (folder / "dog" / "raw").touch()
    for hidden in (".DS_Store", "._0.heic", "__MACOSX/0.heic", ".ipynb_checkpoints/0.heic"):
        (folder / "dog" / hidden).parent.mkdir(exist_ok=True)
        (folder / "dog" / hidden).touch()
    (folder / "README.md").touch()
    make_image("mixed/loose.png")
    return folder


NOT_READ = "Not read: 13 .heic files, 1 extensionless file, 1 .txt file; convert those that are photos to JPEG"


@pytest.mark.slow
def test_what_is_not_read_is_told_once_on_standard_output(mixed, capsys):
    splits = data_setup.load_splits(mixed)
    assert splits.notes == (NOT_READ, "Not read: 1 image beside the class folders, of no class")
    assert len(splits.train) + len(splits.test) == 10
    capsys.readouterr()
    for script, *flags in (("train.py", *QUICK), ("fine_tune.py", *LITE0, "--recipe", "head", "--epochs", 1)):
        succeed(script, "--data", mixed, *flags, "--output", script[:-3])
        captured = capsys.readouterr()
        assert captured.out.count(NOT_READ) == 1
        assert NOT_READ not in captured.err


def test_each_part_counts(mixed, tmp_path):
    (tmp_path / "mixed/loose.png").unlink()
    (tmp_path / "own").mkdir()
    shutil.copytree(mixed, tmp_path / "own/train")
    shutil.copytree(mixed, tmp_path / "own/test")
    [note] = data_setup.load_splits("own", validation=True).notes
    assert note.startswith("Not read: 26 .heic files, 2 extensionless files, 2 .txt files; ")


def test_predict_tells_on_standard_error(mixed, head, capsys):
    succeed("predict.py", mixed, "--checkpoint", head, "--json")
    captured = capsys.readouterr()
    assert len(json.loads(captured.out)) == 11
    assert messages(captured.err) == [NOT_READ.replace("1 .txt file", "1 .md file, 1 .txt file")]
    heic(Path("phone"), 3)
    assert "'phone' has no images (3 .heic files cannot be read)" in refusal(
        capsys, "predict.py", "phone", "--checkpoint", head
    )


def test_many_kinds_of_files_make_one_short_line(make_classes, tmp_path):
    folder = make_classes("data")
    for i in range(50):
        (folder / "cat" / f"file.kind{i}").touch()
    [note] = data_setup.load_splits(folder).notes
    assert "and 44 more" in note
    assert len(note) < 250


def test_class_folders_may_begin_with_underscores(make_classes):
    assert ImageFolder(make_classes("data", ("__something__", "_cat"))).classes == ["__something__", "_cat"]


def test_photos_of_phones_are_read_where_pillow_heif_is(make_classes, tmp_path):
    pillow_heif = pytest.importorskip("pillow_heif", reason="pillow-heif is optional, and not installed here")
    images._reads_heif.cache_clear()
    folder = make_classes("data")
    exif = Image.Exif()
    exif[0x0112] = 6
    image = Image.new("RGB", (64, 48), "red")
    image.paste("blue", (0, 0, 64, 8))
    pillow_heif.from_pillow(image).save(folder / "cat" / "photo.HEIC", exif=exif.tobytes())
    splits = data_setup.load_splits(folder)
    assert splits.notes == ()
    assert len(splits.train) + len(splits.test) == 13
    opened = images.open_image(folder / "cat" / "photo.HEIC")
    red, _, blue = opened.getpixel((opened.width - 2, opened.height // 2))
    assert (opened.size, blue > 200, red < 60) == ((48, 64), True, True)  # the top, turned to the right


# PIL images and files


@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
@pytest.mark.parametrize("copied", [False, True])
def test_predict_turns_an_image_as_it_turns_its_file(make_image, head, orientation, copied):
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.open(make_image("noise.png", size=(120, 60))).save("photo.jpg", exif=exif)
    loaded = checkpoint.load(head)
    image = Image.open("photo.jpg").copy() if copied else Image.open("photo.jpg")
    assert predict.predict(image, loaded) == predict.predict("photo.jpg", loaded)


@pytest.mark.parametrize("mode", ["1", "L", "P", "LA", "PA", "RGBA", "CMYK", "YCbCr", "LAB", "I;16", "I", "F"])
def test_an_image_of_any_mode_is_read_as_its_file(make_image, mode):
    photo = Image.open(make_image("noise.png"))
    grey = photo.convert("L")
    if mode == "I;16":
        image = Image.fromarray(
            torch.tensor(list(grey.tobytes()), dtype=torch.int32).reshape(64, 80).numpy().astype("u2")
        )
    else:
        image = (grey.point(lambda v: v * 1.0) if mode == "F" else grey).convert(mode) if mode in ("I", "F") else photo
        image = (
            image
            if mode in ("I", "F")
            else photo.convert("RGBA").convert(mode)
            if "A" in mode[1:]
            else photo.convert(mode)
        )
    image.save("photo.tif")
    expected = images.open_image("photo.tif")
    assert (
        len(set(expected.get_flattened_data() if hasattr(expected, "get_flattened_data") else expected.getdata())) > 1
    )
    opened = Image.open("photo.tif")
    assert images.upright_rgb(opened).tobytes() == expected.tobytes()
    assert (opened.mode, opened.tobytes()) == (image.mode, image.tobytes())


@pytest.mark.parametrize("mode", ["La", "RGBa", "RGBX", "HSV"])
def test_modes_that_no_file_has(make_image, mode):
    photo = Image.open(make_image("noise.png")).convert("LA" if mode == "La" else "RGB")
    image = photo.convert("RGBA").convert(mode) if mode == "RGBa" else photo.convert(mode)
    assert images.upright_rgb(image).getpixel((5, 5)) == pytest.approx(photo.convert("RGB").getpixel((5, 5)), abs=6)


def test_an_image_that_cannot_be_decoded_is_named(make_image, head):
    path = make_image("photo.jpg", size=(300, 300))
    path.write_bytes(path.read_bytes()[:9000])
    message = error_of(predict.predict, Image.open(path), checkpoint.load(head))
    assert "photo.jpg" in message
    assert "truncated" in message


# names that are not UTF-8


@posix_names
@pytest.mark.parametrize("script", ["train.py", "fine_tune.py"])
@pytest.mark.parametrize("where", [b"data/caf\xe9/0.png", b"data/cat/caf\xe9.png", b"data/cat/caf\xe9/0.png"])
def test_names_that_are_not_utf_8_are_refused_at_the_start(make_classes, capsys, script, where):
    photo, copy = make_classes("data") / "dog/0.png", Path(os.fsdecode(where))
    copy.parent.mkdir(exist_ok=True)
    shutil.copy(photo, copy)
    message = refusal(capsys, script, "--data", "data", *LITE0)
    assert "caf\\xe9" in message
    assert "names that are not UTF-8" in message
    assert message.count("caf") == 1


@posix_names
def test_a_data_folder_or_zip_whose_name_is_not_utf_8_is_refused(make_classes, tmp_path):
    bad = os.fsdecode(b"caf\xe9")
    archive = pack(make_classes("data"), tmp_path / f"{bad}.zip")
    folder = (tmp_path / "data").rename(tmp_path / bad)
    assert "caf\\xe9" in error_of(data_setup.load_splits, folder)
    assert "caf\\xe9" in error_of(data_setup.load_splits, archive)
    error_of(data_setup.load_splits, folder).encode("utf-8")  # a log can hold it


@posix_names
def test_predict_reads_files_of_any_name(make_image, head, capsys):
    make_image("photos/a.png").rename(Path("photos") / os.fsdecode(b"caf\xe9.png"))
    assert len(predict._find_images([Path("photos")])) == 1
