"""export.py: an ONNX file that answers as the checkpoint does, or nothing at all."""

import hashlib
import json
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import odd_images
import onnx
import onnxruntime
import pytest
import tiny_onnx
import torch
from commands import LITE0, call, isolation, refusal, succeed, write_classes
from onnx import numpy_helper
from torchvision import transforms

from going_modular import data_setup, export, features, model_builder, predict
from going_modular.common.errors import InputError
from going_modular.data import provenance
from going_modular.models.efficientnet_lite import EfficientNetLite0Weights
from going_modular.saving import checkpoint
from going_modular.serving import export_folder, int8, onnx_file, own_images, proof
from going_modular.serving.predict_onnx import Classifier

COMMAND = "export.py"
TRANSFORM = EfficientNetLite0Weights.DEFAULT.transforms()


@pytest.fixture(autouse=True)
def inside(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def head(make_classes):
    """A checkpoint of a head that nobody trained, which knows its images."""
    splits = data_setup.load_splits(make_classes("data"))
    torch.manual_seed(0)
    model, _ = model_builder.create_model("efficientnet_lite0", 2)
    with torch.no_grad():
        model_builder.head(model)[-1].weight.mul_(20)  # answers that differ
    return checkpoint.save(
        Path("head.safetensors"),
        model,
        model_name="efficientnet_lite0",
        weights="DEFAULT",
        class_names=splits.class_names,
        trained_on=provenance.record(splits),
    )


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """A folder with a run of train.py in fp32 on class folders, and its export with int8."""
    folder = tmp_path_factory.mktemp("exported")
    with pytest.MonkeyPatch.context() as patch:
        for name, value in isolation(folder).items():
            patch.setenv(name, value)
        data = write_classes(folder, "data", ("café", "披萨"), images=20)
        training = ("--epochs", 20, "--lr", 0.01, "--precision", "fp32", "--output", folder / "run")
        succeed("train.py", "--data", data, *LITE0, *training)
        succeed(COMMAND, "--checkpoint", folder / "run/model.safetensors", "--output", folder / "onnx", "--int8")
    return folder


def test_bad_input_is_one_line_and_nothing_is_written(head, capsys, monkeypatch):
    (other := Path("other")).mkdir()
    (other / "model.onnx").write_text("somebody's")
    asked = ("--checkpoint", head, "--output")
    assert "is no export's; name another folder" in refusal(capsys, COMMAND, *asked, other)
    assert "no such file" in refusal(capsys, COMMAND, "--checkpoint", "none", "--output", "out")
    Path("data").rename("elsewhere")
    assert "name it with --data" in refusal(capsys, COMMAND, *asked, "out")
    assert "no such folder or zip" in refusal(capsys, COMMAND, *asked, "out", "--data", "nowhere")
    assert "--output" in refusal(capsys, COMMAND, "--checkpoint", head)
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    assert "pip install onnxscript" in refusal(capsys, COMMAND, *asked, "out")


@pytest.mark.parametrize("off", [0.01, np.nan])
def test_answers_that_are_not_torchs_are_not_written(head, capsys, monkeypatch, off):
    exact = Classifier.answer
    monkeypatch.setattr(onnx_file, "check_installed", lambda: None)
    monkeypatch.setattr(onnx_file, "convert", lambda _, told: tiny_onnx.build(told))
    monkeypatch.setattr(Classifier, "answer", lambda self, images: exact(self, images) + off)
    message = refusal(capsys, COMMAND, "--checkpoint", head, "--output", "out", "--data", "data")
    assert "differ from torch's" in message
    assert "not written" in message


def test_a_proof_allows_what_rounding_leaves_and_no_more():
    def differing(difference, largest):
        return proof.Proof(np.array([0]), np.array([0]), np.array([0]), difference, largest)

    proof.check(differing(9e-5, 0.1))
    proof.check(differing(9e-4, 10.0))
    for difference, largest in ((2e-4, 0.1), (2e-3, 10.0), (float("nan"), 1.0)):
        with pytest.raises(InputError, match="differ from torch's"):
            proof.check(differing(difference, largest))


def test_a_proof_counts_what_is_right(make_classes, head):
    images = data_setup.load_splits(make_classes("data")).train
    told = tiny_onnx.metadata(TRANSFORM, names=["cat", "dog"])
    classifier = Classifier(tiny_onnx.build(told))
    answers = proof.answers_of(classifier, [path for path, _ in images.samples])
    proved = proof.prove(classifier, images, answers + np.float32([[0.5, 0.5]]))
    numbers = proved.numbers()
    assert numbers["accuracy"] == np.mean(answers.argmax(axis=1) == images.targets)
    assert numbers["same_class_as_torch"] == numbers["n"] == len(images)
    assert numbers["largest_difference"] == pytest.approx(0.5)
    assert proved.sentence().startswith(f"{numbers['accuracy']:.3f} (95% interval ")


def test_torchs_answers_are_those_of_predict(head):
    loaded = checkpoint.load(head)
    splits, selection = own_images.test_images(head, loaded, "data")
    probabilities = proof.torchs_answers(loaded, selection.images, "fp32", probabilities=True)
    predictions = predict.predict_all([path for path, _ in selection.images.samples], loaded)
    expected = [list(prediction.probabilities.values()) for prediction in predictions]
    np.testing.assert_allclose(probabilities, expected, atol=1e-6)
    assert len(own_images.training_images(splits, loaded, 3)) == 3
    assert len(own_images.training_images(splits, loaded, 1000)) == len(splits.train)


def test_images_are_thinned_evenly(make_classes):
    images = data_setup.load_splits(make_classes("data", images=30)).train
    assert proof.thinned(images, 1000).samples == images.samples
    thinned = proof.thinned(images, 12)
    assert len(thinned) == 12
    assert thinned.targets.count(0) == thinned.targets.count(1) == 6


@pytest.mark.parametrize(
    "transform", [transforms.ToTensor(), transforms.Compose([transforms.Resize(9)]), None, lambda image: image]
)
def test_a_transform_that_cannot_be_told_is_refused(transform):
    with pytest.raises(InputError, match="cannot be exported"):
        onnx_file.describe_transform(transform)


def test_a_model_that_fixes_the_batch_is_refused(monkeypatch):
    told, model = tiny_onnx.metadata(TRANSFORM), model_builder.create_model("efficientnet_lite0", 3)[0]
    fixed = onnx.load_from_string(tiny_onnx.build(told))
    fixed.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 2
    monkeypatch.setattr(onnx_file, "_follow", lambda *_: SimpleNamespace(model_proto=fixed))
    with pytest.raises(InputError, match="any number of images"):
        onnx_file.convert(model, told)


def test_a_model_that_the_exporter_cannot_follow_is_named(monkeypatch):
    def fail(*_):
        raise RuntimeError("no such operator\nmore lines")

    monkeypatch.setattr(onnx_file, "_follow", fail)
    with pytest.raises(InputError, match=r"tiny cannot be exported: no such operator more lines\.\.\.; choose"):
        onnx_file.convert(model_builder.create_model("efficientnet_lite0", 3)[0], tiny_onnx.metadata(TRANSFORM))


def test_int8_is_near_and_knows_the_same(make_image):
    told = tiny_onnx.metadata(TRANSFORM)
    content = tiny_onnx.build(told, channels=256)
    whole = Classifier(content)
    seen = [whole.see(make_image(f"{i}.png", seed=i, size=(90 + i, 80))) for i in range(12)]
    small = int8.quantise(content, iter(seen), told)
    assert len(small) < 0.75 * len(content)
    quantised = Classifier(small)
    assert (quantised.class_names, quantised.transform) == (whole.class_names, whole.transform)
    expected, answers = whole.answer(np.stack(seen)), quantised.answer(np.stack(seen))
    difference = np.abs(answers - expected).max()
    assert 0 < difference < 0.1 * np.abs(expected).max()


def test_int8_answers_the_same_on_every_processor(make_image):
    """Bright images and weights of one sign: sums that 16 bits do not hold, where a processor adds pairs in them."""
    told = tiny_onnx.metadata(TRANSFORM)
    model = onnx.load_from_string(tiny_onnx.build(told, channels=64))
    for tensor in model.graph.initializer:
        tensor.CopyFrom(numpy_helper.from_array(np.abs(numpy_helper.to_array(tensor)), tensor.name))
    seen = [Classifier(model.SerializeToString()).see(make_image(f"{i}.png", seed=i)) for i in range(4)]
    small = int8.quantise(model.SerializeToString(), (np.abs(image) for image in seen), told)
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL  # each product in fp32
    [exact] = onnxruntime.InferenceSession(small, options).run(None, {onnx_file.INPUT: np.abs(np.stack(seen))})
    answers = Classifier(small).answer(np.abs(np.stack(seen)))
    np.testing.assert_allclose(answers, exact, rtol=0.02)


def test_an_export_takes_the_place_of_an_earlier_one_alone():
    folder, told = Path("out"), tiny_onnx.metadata(TRANSFORM)
    both = {export_folder.MODEL: tiny_onnx.build(told), export_folder.INT8: tiny_onnx.build(told, seed=1)}
    export_folder.write(folder, both, {"fp32": 1})
    (folder / "mine.txt").write_text("mine")
    export_folder.check(folder)
    export_folder.write(folder, {export_folder.MODEL: both[export_folder.INT8]}, {"fp32": 2})
    left = {path.name for path in folder.iterdir()}
    assert left == {"mine.txt", "model.onnx", "export.json", "predict_onnx.py", "upright.py", "grey.py", "tiles.py"}
    assert (folder / "model.onnx").read_bytes() == both[export_folder.INT8]
    assert json.loads((folder / "export.json").read_text()) == {"finished": True, "fp32": 2}


def test_a_link_is_not_written_through(capsys, head):
    Path("elsewhere.onnx").write_text("somebody's")
    Path("out").mkdir()
    Path("out/model.onnx").symlink_to(Path("elsewhere.onnx").resolve())
    assert "is a link" in refusal(capsys, COMMAND, "--checkpoint", head, "--output", "out")


def test_the_settings_mirror_the_flags():
    flags = {action.dest for action in export._parser()._actions} - {"help"}
    assert flags == set(export.Settings.__dataclass_fields__)


@pytest.mark.slow
def test_the_model_says_what_it_is(exported):
    told = Classifier(str(exported / "onnx/model.onnx")).session.get_modelmeta().custom_metadata_map
    assert json.loads(told["class_names"]) == ["café", "披萨"]
    assert told["checkpoint_sha256"] == hashlib.sha256((exported / "run/model.safetensors").read_bytes()).hexdigest()
    assert json.loads(told["transform"])["resize"] == [256]
    assert (told["model"], told["output"], told["precision"]) == ("efficientnet_lite0", "logits", "fp32")
    assert json.loads(told["weights"]) == checkpoint.load(exported / "run/model.safetensors").weights
    content = (exported / "onnx/model.onnx").read_bytes()
    assert str(Path(export.__file__).parent).encode() not in content, "paths of this computer"
    assert b"site-packages" not in content


@pytest.mark.slow
def test_its_answers_are_those_of_torch_in_batches_of_any_size(exported):
    loaded = checkpoint.load(exported / "run/model.safetensors")
    classifier = Classifier(str(exported / "onnx/model.onnx"))
    images = torch.randn(5, 3, 224, 224, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        expected = loaded.model(images).numpy()
    for size in (1, 2, 5):
        np.testing.assert_allclose(classifier.answer(images[:size].numpy()), expected[:size], atol=1e-4)


@pytest.mark.slow
def test_it_answers_as_predict_does_on_odd_images(exported, tmp_path):
    paths = odd_images.write(tmp_path / "odd")
    classifier = Classifier(str(exported / "onnx/model.onnx"))
    predictions = predict.predict_all(paths, checkpoint.load(exported / "run/model.safetensors"))
    for path, prediction in zip(paths, predictions, strict=True):
        probabilities = classifier.probabilities(path)
        assert probabilities == pytest.approx(list(prediction.probabilities.values()), abs=1e-4), path
        assert classifier.class_names[probabilities.argmax()] == prediction.label, path


@pytest.mark.slow
def test_what_it_measured_is_told_and_right(exported):
    told = json.loads((exported / "onnx/export.json").read_text(encoding="utf-8"))
    metrics = json.loads((exported / "run/metrics.json").read_text(encoding="utf-8"))
    assert told["finished"]
    assert told["fp32"]["n"] == metrics["n_test"] == 8
    assert told["fp32"]["accuracy"] == metrics["test_accuracy"]
    assert told["fp32"]["largest_difference"] < 1e-4
    assert told["int8"]["calibrated_on"] == 32
    assert 0 <= told["int8"]["against_fp32"]["p_value"] <= 1
    loaded = checkpoint.load(exported / "run/model.safetensors")
    _, selection = own_images.test_images(exported / "run/model.safetensors", loaded)
    quantised = Classifier(str(exported / "onnx/model-int8.onnx"))
    answers = proof.answers_of(quantised, [path for path, _ in selection.images.samples])
    right = (answers.argmax(axis=1) == selection.images.relabel(loaded.class_names).targets).mean()
    assert told["int8"]["accuracy"] == right
    seen = features.logits(loaded.model, selection.images.with_transform(loaded.transform), precision="fp32").numpy()
    assert told["int8"]["largest_difference"] == pytest.approx(np.abs(answers - seen).max(), abs=1e-3)
    sizes = [(exported / f"onnx/{name}").stat().st_size for name in ("model.onnx", "model-int8.onnx")]
    assert sizes[1] < sizes[0] / 3


@pytest.mark.slow
def test_random_weights_whose_answers_depend_on_the_image():
    """As they come, random weights make nearly the same of every image; settled BatchNorms keep the maps alive."""
    torch.manual_seed(0)
    model, transform = model_builder.create_model("efficientnet_b0", 3, weights=None)
    images = torch.randn(12, 3, 224, 224)
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.train().momentum = None  # the statistics of the one batch
    with torch.no_grad():
        model(images)
        expected = model.eval()(images).numpy()
    assert expected.std(axis=0).min() > 0.01
    told = tiny_onnx.metadata(transform)
    content = onnx_file.convert(model, told)
    np.testing.assert_allclose(Classifier(content).answer(images.numpy()), expected, atol=1e-4)
    quantised = Classifier(int8.quantise(content, iter(images.numpy()), told)).answer(images.numpy())
    assert np.abs(quantised - expected).mean() < 0.75 * expected.std()  # of other images' answers: 1.1, 2 / sqrt(pi)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("model", "flags"),
    [
        ("vit_s_14", ()),
        ("hybrid_efficientnet_lite0", ()),
        ("resnet18", ("--weights", "none")),
    ],
)
def test_models_of_every_kind(make_classes, model, flags):
    data = make_classes("data", images=10)
    succeed("train.py", "--data", data, "--model", model, *flags, "--epochs", 1, "--output", "run")
    assert call(COMMAND, "--checkpoint", "run/model.safetensors", "--output", "onnx", "--softmax") == 0
    told = json.loads(Path("onnx/export.json").read_text(encoding="utf-8"))
    assert told["fp32"]["largest_difference"] < 1e-4
    assert told["fp32"]["same_class_as_torch"] == told["fp32"]["n"]
    classifier = Classifier("onnx/model.onnx")
    assert classifier.gives_probabilities
    path = next(data.rglob("*.png"))
    assert classifier.answer(classifier.see(path)[None]).sum() == pytest.approx(1, abs=1e-5)
