"""The app without a browser: what a classroom takes and refuses, what it learns, and what the command refuses."""

import os
import random
import re
import socket
import subprocess
import sys
import threading
import time
import zipfile
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import requests
import torch
from app_server import serving
from commands import HANGS, PACKAGE, refusal, succeed, write_image
from PIL import Image

from going_modular import app, data_setup, model_builder
from going_modular.classroom import album, lesson, limits, look, room, school
from going_modular.classroom.classifier import Answer, Backbone, Classifier, load_backbone
from going_modular.common.errors import InputError
from going_modular.data import sources
from going_modular.saving import checkpoint, run_folder
from going_modular.serving import own_images

LITE0 = "efficientnet_lite0"
SAMPLE = sources.DATA_FOLDER / sources.SAMPLE
COLOURS = {"red": (220, 30, 30), "синий": (30, 30, 220), "grün": (30, 200, 60)}


@pytest.fixture(scope="module")
def backbone() -> Backbone:
    return load_backbone(LITE0, "cpu")


@pytest.fixture
def classroom(tmp_path, backbone):
    with ThreadPoolExecutor(1) as workers:
        yield room.Classroom(tmp_path / "room", backbone, LITE0, workers)


def paint(folder: Path, name: str, colour: tuple[int, int, int], seed: int) -> Path:
    """Write a noisy image of one colour and return its path."""
    noise = np.random.default_rng(seed).integers(-30, 30, (64, 72, 3))
    folder.mkdir(parents=True, exist_ok=True)
    Image.fromarray((np.array(colour) + noise).clip(0, 255).astype(np.uint8)).save(path := folder / name)
    return path


def painted(folder: Path, images: int, names: tuple[str, ...] = ("red", "синий")) -> dict[str, list[Path]]:
    return {
        name: [paint(folder / f"class{c}", f"{i}.png", COLOURS[name], 100 * c + i) for i in range(images)]
        for c, name in enumerate(names)
    }


def fill(classroom: room.Classroom, images: dict[str, list[Path]]) -> None:
    for name, paths in images.items():
        classroom.add_class(name)
        assert not classroom.add(name, paths).problems


def pack(path: Path, **members: bytes) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


# what a class may be called


@pytest.mark.parametrize("name", ["cat", "猫", "قطة", "🐈", "A B", "e\u0301te\u0301", "x" * limits.LONGEST_NAME])
def test_a_class_has_a_name_in_any_script(classroom, name):
    added = classroom.add_class(f"  {name} ")
    assert list(classroom.classes) == [added]
    assert added == limits.canonical(name)
    assert (classroom.folder / "images" / added).is_dir()


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("", "Type a name"),
        ("  ", "Type a name"),
        ("x" * (limits.LONGEST_NAME + 1), "too long"),
        ("a/b", "cannot be a folder's name"),
        ("..", "cannot be a folder's name"),
        (".hidden", "cannot be a folder's name"),
        ("<script>", "cannot be a folder's name"),
        ("a\u202eb", "cannot be a folder's name"),
        ("nul", "cannot be a folder's name"),
        ("__MACOSX", "cannot be a folder's name"),
        ("CAT", "already"),
    ],
)
def test_a_name_that_is_no_folder_anywhere_is_refused(classroom, name, said):
    classroom.add_class("cat")
    with pytest.raises(InputError, match=said):
        classroom.add_class(name)
    assert list(classroom.classes) == ["cat"]
    assert [path.name for path in (classroom.folder / "images").iterdir()] == ["cat"]


def test_there_are_so_many_classes_and_no_more(classroom, monkeypatch):
    monkeypatch.setattr(limits, "MOST_CLASSES", 2)
    for name in ("a", "b"):
        classroom.add_class(name)
    with pytest.raises(InputError, match="2 classes, which is the most"):
        classroom.add_class("c")


# images in and out


def test_images_come_and_go(classroom, tmp_path):
    images = painted(tmp_path, 3)
    fill(classroom, images)
    assert {name: len(classroom.pictures(name)) for name in classroom.classes} == {"red": 3, "синий": 3}
    first, second, third = classroom.pictures("red")
    assert first.path.read_bytes() == images["red"][0].read_bytes()
    with Image.open(first.thumbnail) as small:
        assert max(small.size) <= album.THUMBNAIL
    classroom.remove("red", 1)
    assert classroom.pictures("red") == [first, third]
    assert not second.path.exists()
    assert not second.thumbnail.exists()
    with pytest.raises(InputError, match="Choose one of the 2 images"):
        classroom.remove("red", 2)
    classroom.remove_class("red")
    assert list(classroom.classes) == ["синий"]
    assert not first.path.parent.exists()
    assert classroom.add("синий", images["red"]).counts == {"синий": 3}  # they are nowhere any more


def test_what_cannot_be_taken_is_told_and_nothing_is_lost(classroom, tmp_path):
    fill(classroom, painted(tmp_path, 2))
    damaged, text = tmp_path / "damaged.jpg", tmp_path / "notes.txt"
    damaged.write_bytes(b"\xff\xd8\xff\xe0 no picture")
    text.write_text("no image")
    again, new = tmp_path / "class0/0.png", write_image(tmp_path, "new.png")
    added = classroom.add("синий", [damaged, text, again, new])
    assert added.counts == {"синий": 1}
    said = added.sentence()
    assert said.startswith("1 image added to 'синий'; 3 not taken: ")
    assert "\n" not in said
    assert "'damaged.jpg': it is" in said
    assert "'0.png' is in 'red' already" in said
    assert "1 .txt file" in said
    assert str(tmp_path) not in said
    assert len(classroom.pictures("red")) == 2
    with pytest.raises(InputError, match="Choose a class first"):
        classroom.pictures("")
    assert classroom.add(None, [write_image(tmp_path, "b.png", seed=9)]).problems == ["Choose a class first"]


@pytest.mark.parametrize(
    ("limit", "value", "said"),
    [
        ("MOST_IMAGES", 1, "there are 1 images, which is the most"),
        ("MOST_IMAGE_BYTES", 1000, r"has 0 MB; the limit is 0"),
        ("MOST_BYTES", 10, "would exceed 0 MB in all"),
        ("MOST_PIXELS", 64 * 72 - 1, "it is too large"),
    ],
)
def test_number_bytes_and_pixels_are_limited(classroom, tmp_path, monkeypatch, limit, value, said):
    classroom.add_class("red")
    one, two = painted(tmp_path, 2)["red"]
    classroom.add("red", [one])
    monkeypatch.setattr(limits, limit, value)
    added = classroom.add("red", [two])
    assert re.search(said, added.sentence()), added.sentence()
    assert len(classroom.pictures("red")) == 1
    assert len(list((classroom.folder / "images/red").iterdir())) == 1


def test_a_zip_of_class_folders_fills_classes(classroom, tmp_path):
    images = painted(tmp_path, 2, ("red", "grün"))
    members = {f"all/{name}/{path.name}": path.read_bytes() for name, paths in images.items() for path in paths}
    archive = pack(tmp_path / "both.zip", **members, **{"all/red/._0.png": b"hidden"})
    classroom.add_class("red")
    assert classroom.add(None, [archive]).counts == {"red": 2, "grün": 2}
    loose = pack(tmp_path / "loose.zip", **{"a.png": paint(tmp_path, "a.png", COLOURS["синий"], 7).read_bytes()})
    assert classroom.add("red", [loose]).sentence() == "1 image added to 'red'"
    assert not [path for path in classroom.folder.iterdir() if path.name not in ("images", "thumbnails")]


def test_a_folder_in_a_zip_is_the_class_that_windows_would_take_it_for(classroom, tmp_path):
    classroom.add_class("Grün")
    [image] = painted(tmp_path, 1, ("grün",))["grün"]
    archive = pack(tmp_path / "a.zip", **{"gru\u0308n/a.png": image.read_bytes()})
    assert classroom.add(None, [archive]).counts == {"Grün": 1}


def test_bombs_are_refused(classroom, tmp_path, monkeypatch):
    classroom.add_class("red")
    picture = tmp_path / "bomb.png"
    Image.new("1", (20_000, 10_000)).save(picture)  # 200 megapixels in a few kB
    outside = pack(tmp_path / "outside.zip", **{"../../red.png": b"x"})
    added = classroom.add("red", [picture, outside])
    assert added.counts == {}
    assert "it is too large (20000x10000, 200 megapixels; the limit is 50)" in added.sentence()
    assert "leaves the folder" in added.sentence()
    monkeypatch.setattr(limits, "MOST_BYTES", 10**6)
    archive = pack(tmp_path / "bomb.zip", **{"red/a.bmp": bytes(2 * 10**6)})
    assert archive.stat().st_size < 10_000
    assert "would unpack to 2 MB; the limit is 1" in classroom.add("red", [archive]).sentence()
    not_one = tmp_path / "not.zip"
    not_one.write_bytes(b"PK no zip")
    assert "name a sound zip" in classroom.add("red", [not_one]).sentence()
    assert not classroom.pictures("red")
    assert not list((classroom.folder / "images/red").iterdir())


# training


def test_too_little_to_train_on_says_what_is_missing(classroom, tmp_path):
    with pytest.raises(InputError, match="at least 2 classes apart, and there is none yet"):
        classroom.train()
    images = painted(tmp_path, 3)
    classroom.add_class("red")
    classroom.add("red", images["red"])
    with pytest.raises(InputError, match="there is only 'red'; add another"):
        classroom.train()
    classroom.add_class("синий")
    classroom.add("синий", images["синий"][:2])
    with pytest.raises(InputError, match=f"needs {limits.LEAST_IMAGES} images or more; there are 2 in 'синий'"):
        classroom.train()
    with pytest.raises(InputError, match="Train first"):
        classroom.save()
    assert classroom.lesson is None
    assert len(classroom.pictures("red")) == 3


@pytest.mark.slow
def test_a_few_images_are_cross_validated_and_more_are_held_out(classroom, tmp_path):
    images = painted(tmp_path, 12)
    fill(classroom, {name: paths[:4] for name, paths in images.items()})
    few = classroom.train()
    assert few.folds == 4
    assert len(few.logits) == 8
    assert "cross-validated in 4 parts" in few.sentence()
    for name, paths in images.items():
        classroom.add(name, paths[4:])
    more = classroom.train()
    assert more.folds is None
    splits = more.trained.splits
    assert Counter(splits.test.targets) == {0: 2, 1: 2} or len(splits.test) == 5
    assert not {path for path, _ in splits.train.samples} & {path for path, _ in splits.test.samples}
    assert "held out" in more.sentence()
    low, high = more.test["accuracy_interval"]
    assert low <= more.test["accuracy"] <= high
    answers, problems = more.classifier.classify([images["red"][0], images["синий"][0]])
    assert [answer.label for answer in answers] == ["red", "синий"]
    assert problems == {}
    torch.testing.assert_close(sum(answers[0].probabilities.values()), 1.0)


@pytest.mark.slow
def test_cross_validation_judges_each_image_by_a_head_that_has_not_seen_it(classroom, tmp_path, backbone):
    """Labels that mean nothing cannot be learned: whoever sees the image knows it all the same."""
    everything = [path for paths in painted(tmp_path, 8, ("red", "синий")).values() for path in paths]
    for c, name in enumerate(("a", "b")):
        classroom.add_class(name)
        classroom.add(name, everything[c::2])
    taught = classroom.train()
    assert taught.folds == lesson.MOST_FOLDS
    assert taught.test["accuracy"] < 0.9
    paths, labels = zip(*taught.trained.splits.test.samples, strict=True)
    answers, _ = taught.classifier.classify([Path(path) for path in paths])
    seen = [answer.label == ("a", "b")[label] for answer, label in zip(answers, labels, strict=True)]
    assert sum(seen) > taught.test["accuracy"] * len(seen)
    assert taught.most_wrong
    probabilities = [mistake.probability for mistake in taught.most_wrong]
    assert probabilities == sorted(probabilities, reverse=True)
    assert all(mistake.true != mistake.predicted for mistake in taught.most_wrong)
    shown = look.result(taught)
    assert shown.count("<img") == 2 + len(taught.most_wrong)
    assert "95% interval" in shown


def test_training_waits_for_features_also_of_what_comes_meanwhile(classroom, tmp_path):
    images, gate = painted(tmp_path, 5), threading.Event()
    classroom.workers.submit(gate.wait, HANGS)
    fill(classroom, {name: paths[:3] for name, paths in images.items()})
    with ThreadPoolExecutor(2) as pool:
        both = [pool.submit(classroom.train) for _ in range(2)]
        classroom.add("red", images["red"][3:])
        assert not any(future.done() for future in both)
        gate.set()
        assert [len(future.result(HANGS).logits) for future in both] == [8, 8]


def test_what_is_removed_after_training_is_told_when_it_is_saved(classroom, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    fill(classroom, painted(tmp_path / "in", 3))
    classroom.train()
    classroom.remove("red", 0)
    assert lesson.HELD_OUT_FROM > 3
    assert classroom.lesson.folds == 3
    with pytest.raises(InputError, match="1 of the images that it was trained on were removed"):
        classroom.save()
    assert not (tmp_path / "runs").exists()


@pytest.mark.slow
def test_what_is_saved_is_what_train_py_writes_and_every_command_reads(classroom, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    images = painted(tmp_path / "in", 12)
    fill(classroom, images)
    taught = classroom.train()
    file, archive = classroom.save()
    assert {path.name for path in file.parent.iterdir()} == {*run_folder.FILES, album.ZIP}
    loaded = checkpoint.load(file)
    assert loaded.class_names == ["red", "синий"]
    answers, _ = Classifier.of(loaded, "a file").classify(images["red"])
    own, _ = taught.classifier.classify(images["red"])
    assert [one.probabilities for one in answers] == [one.probabilities for one in own]
    capsys.readouterr()
    succeed("predict.py", *images["red"], "--checkpoint", file)
    printed = [line.split("\t")[1:] for line in capsys.readouterr().out.splitlines()]
    assert printed == [[one.label, f"{one.probability:.3f}"] for one in own]

    with zipfile.ZipFile(archive) as packed:
        assert Counter(Path(name).parts[0] for name in packed.namelist()) == {"red": 12, "синий": 12}
    classroom.close()  # the zip is all that is left of the images
    succeed("evaluate.py", "--checkpoint", file, "--output", "evaluated")
    said = capsys.readouterr().out
    assert f"{len(taught.logits)} test images of the run" in said
    succeed("train.py", "--data", archive, "--model", LITE0, "--epochs", 1, "--output", "again")
    splits = data_setup.load_splits(archive)
    trained = {Path(path).name for path, _ in taught.trained.splits.train.samples}
    assert {Path(path).name for path, _ in splits.train.samples} == trained
    succeed("compare.py", "runs")


@pytest.mark.slow
def test_a_cross_validated_head_has_no_test_images_left(classroom, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    fill(classroom, painted(tmp_path / "in", 4))
    classroom.train()
    file, _ = classroom.save()
    metrics = (file.parent / run_folder.METRICS).read_text(encoding="utf-8")
    assert '"cross_validation_folds": 4' in metrics
    succeed("predict.py", tmp_path / "in/class0/0.png", "--checkpoint", file)
    message = refusal(capsys, "evaluate.py", "--checkpoint", file)
    assert "seen in training" in message or "no test image" in message


# one browser and another


def test_features_do_not_care_who_draws_random_numbers_meanwhile(backbone, tmp_path):
    [path] = painted(tmp_path, 1)["red"]
    over = threading.Event()

    def draw():
        while not over.is_set():
            random.random()

    drawing = threading.Thread(target=draw)
    drawing.start()
    try:
        rows, problems = backbone.features([path] * 20)
    finally:
        over.set()
        drawing.join()
    assert problems == {}
    torch.testing.assert_close(rows, rows[:1].expand_as(rows))  # some processors round a batch's last rows otherwise


def test_a_backbone_takes_no_random_transform(backbone):
    model, transform = model_builder.create_model(LITE0, 1)
    with pytest.raises(InputError, match="The transform is random"):
        Backbone(model, data_setup.augment(transform), "fp32")


def test_features_that_fail_are_told_of_and_can_be_had_again(classroom, tmp_path, monkeypatch, caplog):
    images = painted(tmp_path, 3)

    def fail(paths):
        raise RuntimeError("planted")

    with monkeypatch.context() as patched:
        patched.setattr(classroom.backbone, "features", fail)
        fill(classroom, images)
        with pytest.raises(InputError, match=r"00001\.png has no features; remove and add it again"):
            classroom.train()
    assert "planted" in caplog.text
    for name in images:
        classroom.remove_class(name)
    fill(classroom, images)
    assert classroom.train().classifier.class_names == ["red", "синий"]


@pytest.fixture
def both(tmp_path, backbone, monkeypatch):
    monkeypatch.setattr(school.tempfile, "tempdir", str(tmp_path))
    ours = school.School(backbone, LITE0, None)
    yield ours
    ours.close()
    assert not list(tmp_path.glob(f"{school.PREFIX}*"))


def test_browsers_do_not_see_each_others_images(both, tmp_path):
    one, other = both.classroom("one"), both.classroom("other")
    fill(one, painted(tmp_path / "in", 3))
    assert other.classes == {}
    assert one.folder.parent != other.folder.parent
    with pytest.raises(InputError, match="There is no model yet"):
        both.classifier("one")
    taught = one.train()
    assert both.classifier("one") is taught.classifier
    with pytest.raises(InputError, match="There is no model yet"):
        both.classifier("other")
    assert both.classroom("one") is one
    both.forget("one")
    assert not one.folder.exists()
    assert both.classroom("one").classes == {}


def test_a_page_that_comes_back_finds_its_classroom(both, monkeypatch):
    room = both.classroom("page")
    both.leave("page")
    assert both.classroom("page") is room
    gone = threading.Event()
    forget = both.forget
    monkeypatch.setattr(both, "forget", lambda key: (forget(key), gone.set()))
    monkeypatch.setattr(school, "AWAY_SECONDS", 0.0)
    both.leave("page")
    assert gone.wait(HANGS)
    assert not room.folder.exists()


def test_there_is_room_for_so_many_and_idle_ones_go(both, monkeypatch):
    monkeypatch.setattr(school, "MOST_CLASSROOMS", 2)
    first = both.classroom("a")
    both.classroom("b")
    with pytest.raises(InputError, match="2 classrooms in use"):
        both.classroom("c")
    monkeypatch.setattr(school, "IDLE_SECONDS", 0.0)
    both.classroom("c")
    assert not first.folder.exists()
    assert both.classroom("b").classes == {}


def test_what_a_killed_app_left_goes_when_the_next_starts(tmp_path, backbone, monkeypatch):
    monkeypatch.setattr(school.tempfile, "tempdir", str(tmp_path))
    alive = school.School(backbone, LITE0, None)
    dead = tmp_path / f"{school.PREFIX}dead"
    dead.mkdir(mode=0o700)
    (dead / school.LOCK).touch()
    (dead / "image.png").touch()
    school.School(backbone, LITE0, None).close()
    assert not dead.exists()
    assert alive.folder.is_dir()
    alive.close()


# what the page shows


def test_an_answer_shows_every_class_and_says_when_it_is_not_sure():
    found = Answer({"a<b>": 0.2, "b & c": 0.7, "d": 0.1}, 12.3)
    shown = look.answer(found, 0.5, "by <me>")
    assert '<p class="answer" role="status">b &amp; c</p>' in shown
    assert "12 ms" in shown
    assert "<b>" not in shown
    assert "<me>" not in shown
    assert re.findall(r'class="share">([^<]+)<', shown) == ["70.0%", "20.0%", "10.0%"]
    unsure = look.answer(found, 0.71)
    assert f'role="status">{look.NOT_SURE}</p>' in unsure
    assert "70.0% b &amp; c, which is below 71%" in unsure
    assert look.caption(found, 0.71) == "Not sure: b & c 70%"
    assert "Drop, paste" in look.answer(None, 0.5)
    assert look.said("<i>") == '<p class="said" role="status">&lt;i&gt;</p>'


def test_where_it_looked_is_shown_and_the_model_stays_as_it_was(backbone, tmp_path):
    loaded = load_checkpoint(tmp_path)
    classifier = Classifier.of(loaded, "a file")
    before = {name: tensor.clone() for name, tensor in loaded.model.state_dict().items()}
    image, method = classifier.look(SAMPLE / "test/pizza/pizza_1075.jpg")
    assert method == "Grad-CAM"
    assert image.size == (224, 224)
    assert 'alt="The image' in look.heat(image, method, 3)
    assert all(torch.equal(before[name], tensor) for name, tensor in loaded.model.state_dict().items())


def load_checkpoint(folder: Path, *, seed: int = 0) -> checkpoint.Checkpoint:
    """Write and read a checkpoint with a head of random weights."""
    from going_modular import model_builder

    torch.manual_seed(seed)
    model, _ = model_builder.create_model(LITE0, 3)
    file = folder / "model.safetensors"
    checkpoint.save(file, model, model_name=LITE0, weights="DEFAULT", class_names=["a", "b", "c"])
    return checkpoint.load(file)


@pytest.mark.slow
def test_a_crowd_gets_its_own_answers(tmp_path):
    """Several threads at once: each image gets the answer, and the map, that it gets alone."""
    classifier = Classifier.of(load_checkpoint(tmp_path), "a file")
    paths = [path for name in ("pizza", "steak", "sushi") for path in sorted((SAMPLE / "test" / name).iterdir())[:2]]
    alone = [classifier.classify([path])[0][0].probabilities for path in paths]
    maps = [np.asarray(classifier.look(path)[0]) for path in paths]
    with ThreadPoolExecutor(6) as pool:
        together = list(pool.map(lambda path: classifier.classify([path])[0][0].probabilities, 3 * paths))
        looked = list(pool.map(lambda path: np.asarray(classifier.look(path)[0]), 2 * paths))
    assert together == 3 * alone
    assert all(np.array_equal(one, other) for one, other in zip(looked, 2 * maps, strict=True))
    with pytest.raises(InputError, match="too many at once"):
        classifier.classify((limits.MOST_TRIED + 1) * paths[:1])


# the page


def built(ours: school.School):
    from going_modular.classroom import page

    return page.build(ours, [SAMPLE / "test/pizza/pizza_1075.jpg"], {}, "sample", title=page.TITLE)


def test_the_page_has_both_tabs_and_tells_nobody(both, tmp_path, monkeypatch):
    from going_modular.classroom import page, parts, teach_tab, try_tab

    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path))
    shown = built(both)
    labels = {block.label for block in shown.blocks.values() if getattr(block, "label", None)}
    assert {"Try", "Teach", "Image", "New class", "Class to fill"} <= labels
    assert not shown.analytics_enabled
    assert os.environ["GRADIO_ANALYTICS_ENABLED"] == "False"
    assert page._theme()._stylesheets == []  # no font of another host
    assert [fn.api_name for fn in shown.fns.values() if fn.api_visibility == "public"] == ["try_image"]
    assert not list(Path(parts.__file__).parent.glob("*.pyi"))
    both.backbone = None
    assert "Teach" not in {getattr(block, "label", None) for block in built(both).blocks.values()}
    assert teach_tab.SHOWN > 0
    assert try_tab.THRESHOLD == 0.5


class Asks:
    """What a handler sees of a browser."""

    session_hash = "page"


def test_the_tab_teach_tells_what_is_wrong_and_keeps_what_is_there(both, tmp_path, monkeypatch):
    from going_modular.classroom import teach_tab

    warned = []
    monkeypatch.setattr(teach_tab, "warn", lambda text: warned.append(text) or text)
    tab = teach_tab.TeachTab(both, painted(tmp_path, 3), "two colours")
    left, radio, *_ = tab.add_class("red", None, Asks)
    assert (left, radio.value) == ("", "red")
    left, radio, *_ = tab.add_class("RED", "red", Asks)
    assert (left, radio.value) == ("RED", "red")
    assert warned == ["There is a class 'RED' already"]
    assert "only" in list(tab.train(Asks))[-1][-1]
    said = tab.fill("red", Asks)[-1]
    assert "6 images added to 2 classes" in said
    frame = write_image(tmp_path, "frame.png")
    assert "4 images in &#x27;red&#x27;" in tab.add_frame(str(frame), "red", Asks)[-1]
    assert "Choose a class first" in tab.add_frame(str(frame), None, Asks)[-1]
    assert "Pick the image" in tab.remove_image("red", None, Asks)[-1]
    tab.remove_image("red", 0, Asks)  # the newest
    assert not both.classroom("page").has_bursts
    *_, (result, said) = tab.train(Asks)
    assert "95% interval" in result
    assert "Trained in" in said
    assert "removed" in tab.remove_class("red", Asks)[-1]
    archive = tab.pack(Asks)[0].value
    assert "images" in str(archive)


def test_the_tab_try_answers_and_tells_what_is_wrong(both, tmp_path, monkeypatch):
    from going_modular.classroom import try_tab

    monkeypatch.setattr(try_tab, "warn", str)
    tab, good = try_tab.TryTab(both, []), SAMPLE / "test/pizza/pizza_1075.jpg"
    assert "There is no model yet" in tab.try_image(str(good), 0.5, Asks)[1]
    both.loaded = Classifier.of(load_checkpoint(tmp_path), "a file")
    state, shown, heat = tab.try_image(str(good), 0.0, Asks)
    assert shown.count("<tr") == 3
    assert "Grad-CAM" in heat
    assert look.NOT_SURE in tab.again(state, 1.0)
    broken = tmp_path / "in/broken.jpg"
    broken.parent.mkdir()
    broken.write_bytes(b"\xff\xd8 nothing")
    state, shown, heat = tab.try_image(str(broken), 0.5, Asks)
    assert (state, heat) == (None, "")
    assert "broken.jpg" in shown
    assert str(tmp_path) not in shown
    _, several = tab.try_several([str(good), str(broken), str(good)], 0.5, Asks)
    assert several.count("<figure") == 2
    assert "1 not read" in several


# the command


def test_examples_take_turns_between_classes():
    splits = data_setup.load_splits(sources.SAMPLE)
    chosen = own_images.in_turns(splits.test, app.EXAMPLES)
    assert [path.parent.name for path in chosen] == 2 * splits.class_names
    ready = app.ready(splits)
    assert {name: len(paths) for name, paths in ready.items()} == dict.fromkeys(splits.class_names, app.READY)


def test_a_port_that_is_taken_is_one_line(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    pytest.importorskip("gradio")
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        message = refusal(capsys, "app.py", "--port", port)
    assert f"Port {port} cannot be used" in message
    assert "--port" in message


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--port", "0"), "not a whole number of at least 1"),
        (("--port", "65536"), "not a port"),
        (("--checkpoint", "missing.safetensors", "--port", "{free}"), "missing.safetensors"),
        (("--data", "missing", "--port", "{free}"), "no such folder or zip"),
        (("--data", "broken.zip", "--port", "{free}"), "broken.zip"),
    ],
)
def test_bad_arguments_are_one_line(capsys, tmp_path, monkeypatch, arguments, said):
    pytest.importorskip("gradio")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "broken.zip").write_bytes(b"PK nothing")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    message = refusal(capsys, "app.py", *(argument.replace("{free}", str(port)) for argument in arguments))
    assert said in message


def test_without_gradio_the_remedy_is_told(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(app.importlib.util, "find_spec", lambda name: None)
    assert "needs gradio; install it with" in refusal(capsys, "app.py")


@pytest.mark.slow
def test_twenty_clients_at_once_get_their_own_answers(tmp_path):
    client = pytest.importorskip("gradio_client", reason="no gradio; install it with: pip install -r requirements.txt")
    loaded = load_checkpoint(tmp_path)
    classifier = Classifier.of(loaded, "a file")
    paths = [path for name in ("pizza", "steak", "sushi") for path in sorted((SAMPLE / "test" / name).iterdir())[:7]]
    paths = paths[:20]
    alone = [shares(look.answer(classifier.classify([path])[0][0], 0)) for path in paths]
    assert len(set(alone)) == len(paths), "the images cannot be told apart"
    with serving(tmp_path, "--checkpoint", tmp_path / "model.safetensors", refusals=1) as (_, address):
        clients = [client.Client(address, verbose=False) for _ in paths]
        barrier = threading.Barrier(len(paths))

        def ask(which: int) -> list[tuple[str, ...]]:
            barrier.wait(HANGS)
            asked = (clients[which].predict(client.handle_file(paths[which]), 0, api_name="/try_image") for _ in "123")
            return [shares(shown) for shown, _ in asked]

        start_seconds = time.perf_counter()
        with ThreadPoolExecutor(len(paths)) as pool:
            answers = list(pool.map(ask, range(len(paths))))
        seconds = time.perf_counter() - start_seconds
        for one in clients:
            one.close()
        assert "event: error" in asked_raw(address, paths[0]), "it reads files that nobody sent"
    assert answers == [3 * [own] for own in alone]
    print(f"20 clients at once: {3 * len(paths) / seconds:.1f} answers a second, each with its map")  # noqa: T201


def asked_raw(address: str, path: Path) -> str:
    """Ask about a file of the server's by its path, as no browser does; return what came."""
    data = {"data": [{"path": str(path), "meta": {"_type": "gradio.FileData"}}, 0]}
    call = requests.post(f"{address}gradio_api/call/try_image", json=data, timeout=HANGS)
    return requests.get(f"{address}gradio_api/call/try_image/{call.json()['event_id']}", timeout=HANGS).text


def shares(shown: str) -> tuple[str, ...]:
    return tuple(re.findall(r'scope="row">([^<]+)<|class="share">([^<]+)<', shown))


@pytest.mark.slow
def test_help_comes_without_torch_and_gradio(tmp_path):
    code = (
        "import runpy, sys\n"
        "sys.argv = sys.argv[1:]\n"
        "try: runpy.run_path(sys.argv[0], run_name='__main__')\n"
        "except SystemExit as end: assert end.code == 0\n"
        "assert not {'torch', 'gradio', 'numpy', 'PIL'} & sys.modules.keys()\n"
    )
    line = [sys.executable, "-c", code, str(PACKAGE / "app.py"), "--help"]
    finished = subprocess.run(line, cwd=tmp_path, capture_output=True, text=True, timeout=HANGS, check=False)
    assert finished.returncode == 0, finished.stderr
    for flag in ("checkpoint", "data", "port", "share"):
        assert f"--{flag}" in finished.stdout
