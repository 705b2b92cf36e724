import inspect
import warnings

import matplotlib as mpl
import pytest
import torch
from matplotlib import pyplot as plt
from PIL import Image
from torch import nn

from going_modular import model_builder, predict
from going_modular.common.errors import InputError
from going_modular.data import images
from going_modular.saving import checkpoint

NAMES = ["cat", "dog", "owl"]


@pytest.fixture(scope="module")
def loaded(tmp_path_factory):
    """What a checkpoint of a head that nobody trained gives."""
    torch.manual_seed(0)
    model, _ = model_builder.create_model("efficientnet_lite0", len(NAMES))
    with torch.no_grad():
        model_builder.head(model)[-1].weight.mul_(20)  # answers that differ
    path = tmp_path_factory.mktemp("checkpoint") / "head.safetensors"
    checkpoint.save(path, model, model_name="efficientnet_lite0", weights="DEFAULT", class_names=NAMES)
    return checkpoint.load(path)


@pytest.fixture
def plain():
    """A network that knows nothing of this package and always answers "dog"."""
    model = nn.Sequential(nn.Flatten(), nn.LazyLinear(3), nn.Dropout(0.9))
    model(torch.zeros(1, 3, 224, 224))
    nn.init.zeros_(model[1].weight)
    model[1].bias.data = torch.tensor([0.0, 2.0, 0.0])
    return model


@pytest.fixture(autouse=True)
def no_figure_is_left():
    yield
    plt.close("all")


def drawn() -> list[plt.Figure]:
    """Return pyplot's figures, in the order in which they were made."""
    return [plt.figure(number) for number in plt.get_fignums()]


def test_each_image_is_opened_once_though_some_cannot_be(make_image, loaded, monkeypatch, tmp_path, capsys):
    good = [make_image(f"{i}.png", seed=i) for i in range(3)]
    (tmp_path / "bad.png").write_bytes(b"no image")
    checkpoint.save(tmp_path / "m", loaded.model, model_name="efficientnet_lite0", weights="DEFAULT", class_names=NAMES)
    opened, open_image = [], images.open_image
    monkeypatch.setattr(images, "open_image", lambda path, **side: opened.append(path) or open_image(path, **side))
    with pytest.raises(InputError, match=r"^Cannot open image .*bad\.png"):
        predict._main([*map(str, [good[0], tmp_path / "bad.png", *good[1:]]), "--checkpoint", str(tmp_path / "m")])
    assert sorted(opened) == sorted([*good, tmp_path / "bad.png"])
    assert [line.split("\t")[0] for line in capsys.readouterr().out.splitlines()] == list(map(str, good))


def test_hidden_copies_in_a_folder_are_not_predicted(make_image, tmp_path):
    for name in ("a.png", "b/c.png", ".ipynb_checkpoints/a.png", "__MACOSX/a.png", "b/.thumbs/c.png", "._a.png"):
        make_image(f"photos/{name}")
    assert predict._find_images([tmp_path / "photos"]) == [tmp_path / "photos/a.png", tmp_path / "photos/b/c.png"]


def test_predict_says_what_the_whole_model_says(make_image, loaded):
    path = make_image("photo.png")
    prediction = predict.predict(path, loaded)
    with torch.inference_mode():
        batch = loaded.transform(images.open_image(path)).unsqueeze(0)
        expected = loaded.model(batch).softmax(dim=1)[0]
    assert list(prediction.probabilities) == NAMES
    torch.testing.assert_close(torch.tensor(list(prediction.probabilities.values())), expected, atol=1e-4, rtol=1e-3)
    assert prediction.label == NAMES[expected.argmax()]
    assert prediction.probability == prediction.probabilities[prediction.label]
    assert sum(prediction.probabilities.values()) == pytest.approx(1)


def test_predict_takes_a_path_a_string_or_an_image(make_image, loaded):
    path = make_image("photo.png")
    first = predict.predict(path, loaded)
    assert predict.predict(str(path), loaded) == first
    assert predict.predict(Image.open(path), loaded) == first
    assert predict.predict(image=Image.open(path).convert("RGBA"), loaded=loaded) == first


@pytest.mark.slow
def test_predict_all_keeps_the_order_whatever_their_number(make_image, loaded):
    paths = [make_image(f"{i}.png", seed=i, size=(40 + i, 40)) for i in range(35)]  # enough to start processes
    together = predict.predict_all(paths, loaded)
    assert len({prediction.probability for prediction in together}) == len(paths)
    for i in (0, 17, 34):
        assert together[i].label == (alone := predict.predict(paths[i], loaded)).label
        assert together[i].probability == pytest.approx(alone.probability, abs=1e-4)


def test_predict_all_names_every_image_that_cannot_be_opened(make_image, loaded, tmp_path):
    (tmp_path / "text.jpg").write_text("no photo")
    with pytest.raises(InputError) as caught:
        predict.predict_all([tmp_path / "missing.jpg", make_image("photo.png"), tmp_path / "text.jpg"], loaded)
    assert "missing.jpg" in str(caught.value)
    assert "text.jpg" in str(caught.value)
    assert "photo.png" not in str(caught.value)


def test_predicting_changes_neither_the_model_nor_the_random_generator(make_image, loaded):
    before = {name: tensor.clone() for name, tensor in loaded.model.state_dict().items()}
    state = torch.get_rng_state()
    predict.predict(make_image("photo.png"), loaded)
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(tensor, before[name]) for name, tensor in loaded.model.state_dict().items())


def test_the_signature_that_learners_know():
    parameters = dict(inspect.signature(predict.pred_and_plot_image).parameters)
    assert parameters.pop("trained_on").kind is inspect.Parameter.KEYWORD_ONLY  # ours
    assert list(parameters) == ["model", "class_names", "image_path", "image_size", "transform", "device"]
    assert all(parameter.kind is parameter.POSITIONAL_OR_KEYWORD for parameter in parameters.values())
    assert parameters["image_size"].default == (224, 224)
    assert parameters["transform"].default is None


def test_pred_and_plot_image_by_position_and_by_keyword(make_image, plain):
    path = make_image("photo.png", size=(60, 40))
    transform = predict._imagenet_transform((224, 224))
    predict.pred_and_plot_image(plain, NAMES, path)
    predict.pred_and_plot_image(plain, NAMES, str(path), (224, 224), transform, "cpu")
    predict.pred_and_plot_image(
        model=plain, class_names=NAMES, image_path=path, image_size=(224, 224), transform=transform, device="cpu"
    )
    assert len(drawn()) == 3
    probability = torch.tensor([0.0, 2.0, 0.0]).softmax(dim=0)[1]
    for figure in drawn():
        [axes] = figure.axes
        assert axes.get_title() == f"Pred: dog | Prob: {probability:.3f}"
        assert not axes.axison
        assert axes.images[0].get_array().shape == (40, 60, 3)  # the image as it is, not as the model sees it
    assert not plain.training


def test_pred_and_plot_image_prepares_the_image_as_it_is_told(make_image):
    seen = []

    class Watcher(nn.Linear):
        def forward(self, batch):
            seen.append(batch)
            return torch.zeros(1, 3)

    path = make_image("white.png")
    Image.new("RGB", (50, 30), "white").save(path)
    predict.pred_and_plot_image(Watcher(1, 1), NAMES, path, image_size=(64, 32))
    assert seen[-1].shape == (1, 3, 64, 32)
    expected = (1 - torch.tensor([0.485, 0.456, 0.406])) / torch.tensor([0.229, 0.224, 0.225])
    torch.testing.assert_close(seen[-1].mean(dim=(0, 2, 3)), expected)
    predict.pred_and_plot_image(Watcher(1, 1), NAMES, path, transform=lambda _: torch.full((3, 8, 8), 7.0))
    assert torch.equal(seen[-1], torch.full((1, 3, 8, 8), 7.0))


def test_pred_and_plot_image_in_a_loop_and_with_our_models(make_image, loaded):
    for i in range(3):
        path = make_image(f"{i}.png", seed=i)
        predict.pred_and_plot_image(loaded.model, loaded.class_names, path, transform=loaded.transform)
        prediction = predict.predict(path, loaded)
        assert drawn()[i].axes[0].get_title() == f"Pred: {prediction.label} | Prob: {prediction.probability:.3f}"
    assert len(drawn()) == 3


@pytest.mark.parametrize("name", ["寿司", "ピザ", "بيتزا", "пицца"])
def test_class_names_of_every_script_leave_no_boxes(make_image, plain, name):
    path = make_image(f"{name}.png")
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "No font here has all characters")
        warnings.filterwarnings("error", ".*missing from.*")  # matplotlib's word for a box in a figure
        predict.pred_and_plot_image(plain, ["a", name, "b"], path)
        drawn()[0].canvas.draw()
    title = drawn()[0].axes[0].get_title()
    assert name in title or "U+" in title
    assert mpl.rcParams["font.family"] == ["sans-serif"]  # what others draw stays as it was


def test_pred_and_plot_image_names_a_file_that_it_cannot_open(plain, tmp_path):
    with pytest.raises(InputError, match=r"missing\.jpg"):
        predict.pred_and_plot_image(plain, NAMES, tmp_path / "missing.jpg")
    assert drawn() == []
