"""predict_onnx.py, which an export holds: it sees what predict.py sees, and it stands alone."""

import ast
import subprocess
import sys

import numpy as np
import odd_images
import pytest
import tiny_onnx
import torch
from commands import HANGS, write_image
from torchvision.models import ResNet18_Weights
from torchvision.transforms import InterpolationMode

from going_modular.data import images, resizing
from going_modular.models.efficientnet_lite import EfficientNetLite0Weights
from going_modular.models.timm_weights import TimmTransform
from going_modular.serving import export_folder, predict_onnx

LITE0 = EfficientNetLite0Weights.DEFAULT.transforms()
TRANSFORMS = {
    "bicubic": LITE0,
    "bilinear": ResNet18_Weights.DEFAULT.transforms(),
    "whole image": TimmTransform(
        crop_size=96, resize_size=[96, 110], mean=(0.5, 0.4, 0.3), std=(0.2, 0.3, 0.4),
        interpolation=InterpolationMode.BICUBIC,
    ),
    "nearest": TimmTransform(
        crop_size=95, resize_size=[100], mean=(0.5,) * 3, std=(0.5,) * 3, interpolation=InterpolationMode.NEAREST
    ),
}  # fmt: skip
WITHOUT_TORCH = (
    "import runpy, sys\n"
    "sys.modules |= dict.fromkeys(['torch', 'torchvision', 'going_modular', 'scipy', 'safetensors'])\n"
    "sys.argv = sys.argv[1:]\n"
    "sys.path[0] = str(__import__('pathlib').Path(sys.argv[0]).parent)\n"
    "runpy.run_path(sys.argv[0], run_name='__main__')\n"
)


@pytest.fixture(scope="module")
def odd(tmp_path_factory):
    return odd_images.write(tmp_path_factory.mktemp("odd"))


@pytest.fixture
def folder(tmp_path):
    """An export of a tiny model."""
    told = tiny_onnx.metadata(LITE0)
    export_folder.write(tmp_path / "exported", {export_folder.MODEL: tiny_onnx.build(told)}, {})
    return tmp_path / "exported"


@pytest.mark.parametrize("name", TRANSFORMS)
def test_what_it_sees_of_odd_images_is_what_predict_sees(odd, name):
    transform = TRANSFORMS[name]
    classifier = predict_onnx.Classifier(tiny_onnx.build(tiny_onnx.metadata(transform)))
    for path in odd:
        expected = transform(images.open_image(path, short_side=resizing.short_side(transform)))
        seen = classifier.see(path)
        assert seen.dtype == np.float32
        torch.testing.assert_close(
            torch.from_numpy(seen), expected, atol=1e-6, rtol=1e-6, msg=lambda m, p=path: f"{p}: {m}"
        )


def test_answers_of_a_batch_are_those_of_each_alone(odd):
    classifier = predict_onnx.Classifier(tiny_onnx.build(tiny_onnx.metadata(LITE0)))
    seen = np.stack([classifier.see(path) for path in odd[:5]])
    together = classifier.answer(seen)
    assert together.shape == (5, 3)
    np.testing.assert_allclose(together, np.concatenate([classifier.answer(one[None]) for one in seen]), rtol=1e-5)


def test_logits_and_probabilities_give_the_same_probabilities(odd):
    by_logits, by_probabilities = (
        predict_onnx.Classifier(tiny_onnx.build(tiny_onnx.metadata(LITE0, output=output))).probabilities(odd[0])
        for output in ("logits", "probabilities")
    )
    assert by_logits.sum() == pytest.approx(1)
    assert by_logits == pytest.approx(by_probabilities, abs=1e-6)


def test_the_folder_needs_numpy_pillow_and_onnxruntime_alone(folder):
    beside = {path.stem for path in folder.glob("*.py")}
    for path in folder.glob("*.py"):
        wanted = set()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                wanted |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                wanted.add(node.module.partition(".")[0])
        assert wanted <= sys.stdlib_module_names | beside | {"numpy", "PIL", "onnxruntime"}, path


@pytest.mark.slow
def test_it_predicts_where_there_is_no_torch(folder, odd, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    command = [sys.executable, "-c", WITHOUT_TORCH, str(folder / "predict_onnx.py"), *map(str, odd)]
    done = subprocess.run(
        command, cwd=tmp_path / "elsewhere", capture_output=True, encoding="utf-8", timeout=HANGS, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    classifier = predict_onnx.Classifier(str(folder / "model.onnx"))
    for path, line in zip(odd, done.stdout.splitlines(), strict=True):
        probabilities = classifier.probabilities(path)
        name = tiny_onnx.NAMES[probabilities.argmax()]
        assert line == f"{path}\t{name}\t{probabilities.max():.3f}"


def test_an_image_that_cannot_be_opened_is_named_and_the_others_predicted(folder, tmp_path, capsys):
    good = write_image(tmp_path, "good.png")
    (tmp_path / "bad.png").write_bytes(good.read_bytes()[:100])
    model = ("--model", str(folder / "model.onnx"))
    assert predict_onnx.main([str(tmp_path / "bad.png"), str(good), *model]) == 2
    captured = capsys.readouterr()
    assert captured.out.startswith(f"{good}\t")
    assert len(captured.out.splitlines()) == 1
    assert captured.err.startswith(f"predict_onnx.py: error: {tmp_path / 'bad.png'}: ")
    assert len(captured.err.splitlines()) == 1


def test_what_steers_a_terminal_is_escaped(tmp_path, capsys):
    told = tiny_onnx.metadata(LITE0, names=["a\tb\x1b[2J", "\u202ec", "披萨"])
    (tmp_path / "m.onnx").write_bytes(tiny_onnx.build(told))
    for seed in range(8):
        write_image(tmp_path, f"{seed}.png", seed=seed)
    paths = [str(path) for path in tmp_path.glob("*.png")]
    assert predict_onnx.main([*paths, "--model", str(tmp_path / "m.onnx")]) == 0
    out = capsys.readouterr().out
    assert not {"\x1b", "\u202e"} & set(out)
    assert {line.count("\t") for line in out.splitlines()} == {2}
    assert predict_onnx.printable("a\tb\x1b披萨\u202e") == r"a\tb\x1b披萨\u202e"
