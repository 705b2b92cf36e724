import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader

from going_modular import data_setup, engine, features, model_builder, predict
from going_modular.common.errors import InputError
from going_modular.data import images
from going_modular.models.hybrid import HybridHead
from going_modular.saving import checkpoint

NAME = "hybrid_efficientnet_lite0"


@pytest.fixture(scope="module")
def built():
    torch.manual_seed(0)
    return model_builder.create_model(NAME, num_classes=3)


def test_a_hybrid_reads_the_feature_map_of_the_named_cnn(built):
    model, transform = built
    cnn, its_transform = model_builder.create_model("efficientnet_lite0", num_classes=3)
    batch = torch.randn(2, 3, 224, 224)
    with torch.inference_mode():
        maps = model_builder.backbone(model)(batch)
        torch.testing.assert_close(maps, cnn.features(batch).flatten(1))
        torch.testing.assert_close(model_builder.head(model)(maps), model(batch))
    assert maps.shape == (2, 1280 * 7 * 7)
    assert repr(transform) == repr(its_transform)


def test_only_its_transformer_learns(built):
    model, _ = built
    head = model_builder.head(model)
    assert isinstance(head, HybridHead)
    assert len(head.blocks) == 2
    learning = {id(parameter) for parameter in model.parameters() if parameter.requires_grad}
    assert learning == {id(parameter) for parameter in head.parameters()}
    assert model_builder.num_classes(model) == 3
    assert model_builder.feature_width(model) == 1280 * 7 * 7


def test_maps_of_another_size_make_another_grid():
    model, transform = model_builder.create_model("hybrid_efficientnet_b1", num_classes=5, weights=None)
    side = transform.crop_size[0]
    assert model_builder.head(model).map_shape == (1280, 8, 8)
    assert model(torch.zeros(1, 3, side, side)).shape == (1, 5)


@pytest.mark.slow
def test_on_cached_maps_it_learns_the_sample_and_a_checkpoint_holds_its_head(tmp_path):
    engine.set_seeds(0)
    model, transform = model_builder.create_model(NAME, num_classes=3)
    splits = data_setup.load_splits("sample")
    splits.train.transform = splits.test.transform = transform
    train, test = (features.extract(model, part, progress=False) for part in (splits.train, splits.test))
    head = model_builder.head(model)
    optimizer = torch.optim.Adam(head.parameters(), lr=1e-3)
    loaders = DataLoader(train, 32, shuffle=True), DataLoader(test, 75)
    results = engine.train(head, *loaders, optimizer, nn.CrossEntropyLoss(), 5, "cpu", progress=False)
    assert results["test_acc"][-1] > 0.8  # the majority class has 1/3

    path = checkpoint.save(
        tmp_path / "model.safetensors", model, model_name=NAME, weights="DEFAULT", class_names=splits.class_names
    )
    assert path.stat().st_size < 2_000_000  # the backbone alone would be 13 MB
    loaded = checkpoint.load(path)
    image = splits.test.samples[0][0]
    with torch.inference_mode():
        expected = model.eval()(transform(images.open_image(image)).unsqueeze(0)).softmax(dim=1)[0]
    found = predict.predict(image, loaded).probabilities
    torch.testing.assert_close(torch.tensor(list(found.values())), expected, rtol=1e-3, atol=1e-4)


@pytest.mark.slow
def test_on_real_photos_it_reaches_nine_of_ten(photos):
    splits = data_setup.load_splits(photos)
    model, splits.train.transform = model_builder.create_model(NAME, num_classes=3)
    splits.test.transform = splits.train.transform
    train, test = (features.extract(model, part, progress=False) for part in (splits.train, splits.test))
    accuracies = []
    for seed in range(3):
        engine.set_seeds(seed)
        head = model_builder.head(model_builder.create_model(NAME, num_classes=3)[0])
        optimizer = torch.optim.Adam(head.parameters(), lr=1e-3)
        loaders = DataLoader(train, 32, shuffle=True), DataLoader(test, 75)
        results = engine.train(head, *loaders, optimizer, nn.CrossEntropyLoss(), 5, "cpu", progress=False)
        accuracies.append(results["test_acc"][-1])
    assert sum(accuracies) / 3 >= 0.9


@pytest.mark.parametrize("name", ["hybrid_resnet18", "hybrid_", "hybrid_vit_b_16"])
def test_other_backbones_are_refused_by_name(name):
    with pytest.raises(InputError, match=f"Unknown model '{name}'"):
        model_builder.create_model(name, 3, weights=None)
