"""Several views of one image, averaged: which they are, and what predict.py and evaluate.py make of them."""

import json
import math
import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from commands import LITE0, call, isolation, messages, refusal, succeed, write_classes
from PIL import Image
from torchvision.models import Inception_V3_Weights, ResNet18_Weights, ViT_B_16_Weights
from torchvision.transforms import functional
from torchvision.transforms._presets import ImageClassification

from going_modular import data_setup, features, model_builder, predict
from going_modular.common.cli import MOST_VIEWS
from going_modular.common.errors import InputError
from going_modular.data import feature_store, images
from going_modular.data.views import View, average, views_of
from going_modular.models.efficientnet_lite import EfficientNetLite0Weights
from going_modular.saving import checkpoint

NAMES = ["cat", "dog", "owl"]
SETS = [
    EfficientNetLite0Weights.DEFAULT,
    ResNet18_Weights.DEFAULT,
    Inception_V3_Weights.DEFAULT,
    ViT_B_16_Weights.IMAGENET1K_SWAG_E2E_V1,  # 384 px, of a short side of 384: no margin
]

slow = pytest.mark.slow


@pytest.fixture(autouse=True)
def inside(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="module")
def head(tmp_path_factory) -> Path:
    """Return the checkpoint of a head that nobody trained, whose answers differ."""
    torch.manual_seed(0)
    model, _ = model_builder.create_model("efficientnet_lite0", len(NAMES))
    with torch.no_grad():
        model_builder.head(model)[-1].weight.mul_(20)
    path = tmp_path_factory.mktemp("checkpoint") / "head.safetensors"
    return checkpoint.save(path, model, model_name="efficientnet_lite0", weights="DEFAULT", class_names=NAMES)


@pytest.fixture(scope="module")
def loaded(head):
    return checkpoint.load(head)


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    """Return a folder with images, `data`, and the run of a head trained on them, `run`."""
    folder = tmp_path_factory.mktemp("trained")
    with pytest.MonkeyPatch.context() as patch:
        for name, value in isolation(folder).items():
            patch.setenv(name, value)
        data = write_classes(folder, "data", images=8)
        succeed("train.py", "--data", data, *LITE0, "--epochs", 2, "--output", folder / "run")
    return folder


def noise(width: int, height: int) -> Image.Image:
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8))


@pytest.mark.parametrize("weights", SETS, ids=str)
@pytest.mark.parametrize("size", [(500, 400), (90, 200)])
def test_the_views_are_torchvisions_ten_crops(weights, size):
    image, transform = noise(*size), weights.transforms()
    seen = [view(image) for view in views_of(transform, MOST_VIEWS)]
    (side,), (resized,) = transform.crop_size, transform.resize_size
    wide = max(resized, math.ceil(side * 256 / 224))
    square = ImageClassification(
        crop_size=wide, resize_size=wide, mean=transform.mean, std=transform.std, interpolation=transform.interpolation
    )(image)
    crops = functional.ten_crop(square, side)  # top left and right, bottom left and right, centre; then of the mirrored
    usual = transform(image)
    assert [tuple(one.shape) for one in seen] == [(3, side, side)] * MOST_VIEWS
    corners = [crops[i] for i in (0, 3, 1, 2)]
    expected = [usual, functional.hflip(usual), *corners, *map(functional.hflip, corners)]
    for one, other in zip(seen, expected, strict=True):
        assert torch.equal(one, other)
    assert {crop.numpy().tobytes() for crop in crops[5:9]} == {one.numpy().tobytes() for one in seen[6:]}
    assert len({one.numpy().tobytes() for one in seen}) == MOST_VIEWS


def test_the_first_views_stay_the_same_however_many_there_are():
    transform, image = SETS[0].transforms(), noise(300, 260)
    every = [view(image) for view in views_of(transform, MOST_VIEWS)]
    for count in range(1, MOST_VIEWS + 1):
        views = views_of(transform, count)
        assert views[0] is transform
        assert len(views) == count
        assert all(torch.equal(view(image), one) for view, one in zip(views, every, strict=False))
    assert (transform.crop_size, transform.resize_size) == ([224], [256])


def test_a_transform_that_squashes_images_keeps_its_way():
    squashing = ImageClassification(crop_size=32)
    squashing.resize_size = [32, 32]  # of the whole image, as timm has it for some models
    seen = [view(noise(90, 40)) for view in views_of(squashing, 4)]
    wide = ImageClassification(crop_size=37)
    wide.resize_size = [37, 37]
    assert torch.equal(seen[2], wide(noise(90, 40))[:, :32, :32])
    assert torch.equal(seen[3], wide(noise(90, 40))[:, -32:, -32:])


@pytest.mark.parametrize("count", [0, -1, MOST_VIEWS + 1, 1000])
def test_there_are_one_to_ten_views(count, loaded):
    with pytest.raises(InputError, match=f"{count} views of an image; take 1 to 10"):
        predict.predict(noise(64, 64), loaded, views=count)


def plain(image: Image.Image) -> torch.Tensor:
    return functional.to_tensor(image.resize((32, 32)))


def test_of_any_other_transform_there_are_two_views():
    first, second = views_of(plain, 2)
    assert torch.equal(second(noise(64, 48)), plain(noise(64, 48)).flip(-1))
    assert first is plain
    oblong = ImageClassification(crop_size=224)
    oblong.resize_size = [224, 300]
    for transform in (plain, oblong):
        with pytest.raises(InputError, match="take 1 view, or 2"):
            views_of(transform, 3)


def test_each_view_goes_to_workers_and_has_features_of_its_own(make_classes, tmp_path):
    model, transform = model_builder.create_model("efficientnet_lite0", 2)
    dataset = data_setup.ImageFolder(make_classes("data", images=1), transform=transform)
    trunk, image = model_builder.backbone(model), noise(64, 64)
    folders = []
    for view in views_of(transform, MOST_VIEWS):
        feature_store.refuse_randomness(dataset.with_transform(view))
        folders.append(feature_store.open_store(tmp_path, dataset.with_transform(view), trunk, "fp32 cpu").folder)
        again = pickle.loads(pickle.dumps(view))
        assert repr(again) == repr(view)
        assert torch.equal(again(image), view(image))
    assert len(set(folders)) == MOST_VIEWS
    assert folders[0] == feature_store.open_store(tmp_path, dataset, trunk, "fp32 cpu").folder


def test_a_view_of_a_random_transform_is_refused(make_classes):
    _, transform = model_builder.create_model("efficientnet_lite0", 2)
    dataset = data_setup.ImageFolder(make_classes("data"), transform=View(data_setup.augment(transform), mirrored=True))
    with pytest.raises(InputError, match="The transform is random"):
        feature_store.refuse_randomness(dataset)


def test_the_average_is_that_of_probabilities():
    logits = torch.randn(5, 40, 3, generator=torch.Generator().manual_seed(0)) * 10
    expected = logits.double().softmax(dim=2).mean(dim=0)
    torch.testing.assert_close(average(logits).double().softmax(dim=1), expected, rtol=1e-5, atol=1e-7)
    assert torch.equal(average(logits[:1]), logits[0])
    sure = torch.tensor([[[1000.0, -1000.0]], [[-1000.0, 1000.0]], [[1000.0, -1000.0]]])
    torch.testing.assert_close(average(sure).softmax(dim=1), torch.tensor([[2 / 3, 1 / 3]]))


def test_a_prediction_is_the_mean_over_the_views(make_image, loaded):
    path = make_image("a.png", size=(260, 200))
    alone = predict.predict(path, loaded)
    assert predict.predict(path, loaded, views=1) == alone
    batch = torch.stack([view(images.open_image(path)) for view in views_of(loaded.transform, 6)])
    with torch.inference_mode():
        expected = loaded.model(batch).softmax(dim=1).mean(dim=0)
    averaged = predict.predict(path, loaded, views=6)
    assert list(averaged.probabilities.values()) == pytest.approx(expected.tolist(), abs=1e-4)
    assert averaged.label == NAMES[int(expected.argmax())]
    assert averaged.probability == max(averaged.probabilities.values())
    assert sum(averaged.probabilities.values()) == pytest.approx(1, abs=1e-5)
    assert averaged != alone
    assert predict.predict(Image.open(path), loaded, views=6) == averaged


@slow
def test_each_image_is_opened_once_though_some_cannot_be(make_image, head, monkeypatch, capsys):
    good = [make_image(f"{i}.png", seed=i) for i in range(3)]
    Path("bad.png").write_bytes(b"no image")
    opened, open_image = [], images.open_image
    monkeypatch.setattr(images, "open_image", lambda path, **side: opened.append(path) or open_image(path, **side))
    paths = [good[0], Path("bad.png"), good[1], good[2]]
    assert call("predict.py", *paths, "--checkpoint", head, "--views", 3, "--json") == 2
    captured = capsys.readouterr()
    assert [path for path in opened if path != Path("bad.png")] == good
    assert len(messages(captured.err)) == 1
    assert captured.err.count("bad.png") == 1
    rows = json.loads(captured.out)
    loaded = checkpoint.load(head)
    assert [row["path"] for row in rows] == [str(path) for path in good]
    for row, path in zip(rows, good, strict=True):
        assert row["probabilities"] == pytest.approx(predict.predict(path, loaded, views=3).probabilities, abs=1e-4)


@slow
def test_an_image_of_which_a_view_is_missing_is_left_out(make_image, head, monkeypatch, capsys):
    """As where a file is removed while its views are made: no test could do that at the right moment."""
    paths = [make_image(f"{i}.png", seed=i) for i in range(3)]
    loaded, original, calls = checkpoint.load(head), predict._Unlabelled._open, []

    def failing(self: object, which: int, view: Callable) -> Image.Image:
        calls.append(which)
        if calls.count(1) == 2:
            raise InputError(f"{paths[1]} is gone")
        return original(self, which, view)

    expected = [predict.predict(path, loaded, views=4) for path in paths]
    monkeypatch.setattr(predict._Unlabelled, "_open", failing)
    calls.clear()
    assert call("predict.py", *paths, "--checkpoint", head, "--views", 4, "--json") == 2
    captured = capsys.readouterr()
    assert f"{paths[1]} is gone" in captured.err
    for row, one in zip(json.loads(captured.out), (expected[0], expected[2]), strict=True):
        assert row["probabilities"] == pytest.approx(one.probabilities, abs=1e-4)


def test_where_no_image_can_be_read_there_is_one_line(head, capsys):
    Path("bad.png").write_bytes(b"no image")
    assert call("predict.py", "bad.png", "--checkpoint", head, "--views", 3) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    [message] = messages(captured.err)
    assert "bad.png" in message


@pytest.mark.parametrize("command", ["predict.py", "evaluate.py"])
@pytest.mark.parametrize("value", ["0", "-1", "11", "1000", "2.5", "text", ""])
def test_other_numbers_of_views_are_refused_in_one_line(command, value, capsys):
    what = ("photo.jpg",) if command == "predict.py" else ()
    message = refusal(capsys, command, *what, f"--views={value}")
    assert f"argument --views: {value!r} is not a whole number from 1 to 10" in message


@slow
def test_the_report_tells_what_views_gain_and_cost(run, capsys):
    file = run / "run" / "model.safetensors"
    reports = {}
    for name, flags in {"usual": (), "one": ("--views", 1), "five": ("--views", 5), "again": ("--views", 5)}.items():
        succeed("evaluate.py", "--data", run / "data", "--checkpoint", file, "--split", "all", *flags, "--output", name)
        reports[name] = json.loads(Path(name, "report.json").read_text())
        out = capsys.readouterr().out
    usual, _, five, again = reports.values()
    assert Path("usual/report.json").read_bytes() == Path("one/report.json").read_bytes()
    assert "views" not in usual
    views = five.pop("views")
    assert views["n"] == 5
    assert views["accuracy_one_view"] == usual["accuracy"]["value"]
    gained = views["only_a_right"] - views["only_b_right"]
    assert five["accuracy"]["value"] - views["accuracy_one_view"] == pytest.approx(gained / five["n"])
    assert 0 <= views["p_value"] <= 1
    assert views["seconds"] > views["seconds_one_view"] > 0
    assert again.pop("views") | {"seconds": 0, "seconds_one_view": 0} == views | {"seconds": 0, "seconds_one_view": 0}
    assert again == five  # from the features on disk
    assert five["log_loss"] != usual["log_loss"]
    sentence = f"5 views of each image, averaged: accuracy {five['accuracy']['value']:.3f}, with the usual view "
    assert sentence in out
    assert sentence in Path("five/report.html").read_text(encoding="utf-8")


@slow
def test_the_report_counts_what_predictions_say(run, capsys):
    file, data = run / "run" / "model.safetensors", run / "data"
    arguments = ("--checkpoint", file, "--views", 10)
    succeed("evaluate.py", "--data", data, *arguments, "--split", "all", "--output", "report")
    capsys.readouterr()
    succeed("predict.py", data, *arguments, "--json")
    rows = json.loads(capsys.readouterr().out)
    right = [Path(row["path"]).parent.name == row["label"] for row in rows]
    assert json.loads(Path("report/report.json").read_text())["accuracy"]["value"] == pytest.approx(np.mean(right))


@slow
def test_the_other_model_sees_as_many_views(run, monkeypatch):
    file, seen, original = run / "run" / "model.safetensors", [], features.logits
    monkeypatch.setattr(
        features, "logits", lambda model, data, **_: seen.append(data.transform) or original(model, data)
    )
    arguments = ("--data", run / "data", "--checkpoint", file, "--split", "all", "--views", 3)
    succeed("evaluate.py", *arguments, "--against", file, "--output", "report")
    assert [repr(transform) for transform in seen[:3]] == [repr(transform) for transform in seen[3:]]
    assert json.loads(Path("report/report.json").read_text())["against"]["p_value"] == 1.0
