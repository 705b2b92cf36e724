"""What the drawings say is so: shapes are the model's, the map has every lesson, seconds are the measured ones."""

import importlib
import json
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional

from going_modular import model_builder, vit

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture
def drawn(monkeypatch):
    """Return a module of tools/draw by its name."""
    monkeypatch.syspath_prepend(ROOT)  # `python -m tools.draw` is run there
    return lambda name: importlib.import_module(f"tools.draw.{name}")


def test_shapes_are_those_of_the_model(drawn):
    network, pipeline = drawn("lesson_02"), drawn("lesson_00")
    model, _ = model_builder.create_model("efficientnet_lite0", len(pipeline.LOGITS), weights=None)
    shapes = []
    for stage in model.features:
        stage.register_forward_hook(lambda stage, images, maps: shapes.append(tuple(maps.shape)))
    features = model_builder.backbone(model.eval())(torch.zeros(1, 3, pipeline.IMAGE, pipeline.IMAGE))
    assert {(1, channels, side, side) for channels, side in network.MAPS} <= set(shapes)
    assert shapes[-1] == (1, network.MAPS[-1][0], network.MAPS[-1][1], network.MAPS[-1][1])
    assert features.shape == (1, pipeline.FEATURES)
    head = model_builder.head(model)
    weights = next(tensor for tensor in head.parameters() if tensor.ndim == 2)
    assert weights.shape == (len(network.CLASSES), network.MAPS[-1][0])


def test_the_map_has_every_lesson_once(drawn):
    course = drawn("course")
    lessons = [number for way in (course.FIRST, *course.LATER) for number, _ in way]
    assert sorted(lessons) == sorted(path.name[:2] for path in (ROOT / "notebooks").glob("[0-9][0-9]_*.ipynb"))


def test_the_timeline_follows_what_was_measured(drawn, tmp_path, monkeypatch):
    lesson = drawn("lesson_03")
    measured = json.loads(lesson.MEASURED.read_text(encoding="utf-8"))
    before = lesson.pay_once().svg()
    row = next(row for row in measured["rows"] if (row["model"], row["precision"]) == (lesson.MODEL, lesson.PRECISION))
    assert f"takes {row['usual_s']:.1f} seconds, or {row['tuned_s']:.1f} if it is tuned" in before.decode()
    row["usual_s"], row["epoch_usual_s"] = 0.7 * row["usual_s"], 0.7 * row["epoch_usual_s"]
    monkeypatch.setattr(lesson, "MEASURED", tmp_path / "measured.json")
    lesson.MEASURED.write_text(json.dumps(measured), encoding="utf-8")
    after = lesson.pay_once().svg()
    assert f"takes {row['usual_s']:.1f} seconds" in after.decode()
    assert after != before


def test_the_convolution_is_torchs(drawn):
    lesson = drawn("lesson_02")
    picture, weights = (torch.tensor(numbers).float()[None, None] for numbers in (lesson.PICTURE, lesson.FILTER))
    answer = functional.conv2d(picture, weights)[0, 0, lesson.ROW, lesson.COLUMN]
    assert f"add up to {answer:g}," in lesson.convolution().description


def test_the_ring_sends_what_the_lesson_says_and_ends_with_the_sums_everywhere(drawn):
    lesson = drawn("lesson_08")
    parts = np.random.default_rng(0).integers(1, 99, (4, 4))
    states = lesson.ring_states(parts)
    assert len(states) - 1 == 2 * (4 - 1)
    assert all((after != before).sum() <= 4 for before, after in pairwise(states))  # a part each
    assert (states[3] == parts.sum(axis=0)).sum() == 4  # each device has one whole sum when all is added up
    assert (states[-1] == parts.sum(axis=0)).all()


def test_the_memory_is_what_autograd_keeps(drawn):
    lesson = drawn("lesson_08")
    sizes = vit.SMALL["num_layers"], vit.SMALL["hidden_dim"], vit.SMALL["mlp_dim"]
    model = vit.VisionTransformer(**vit.SMALL, patch_size=lesson.PATCH, image_size=224, num_classes=lesson.CLASSES)
    assert lesson.parameters(*sizes) == sum(tensor.numel() for tensor in model.parameters())
    weights = {tensor.untyped_storage().data_ptr() for tensor in model.parameters()}
    kept = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        kept[storage.data_ptr()] = storage  # which holds it, so that no other gets its address
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        model.train()(torch.zeros(1, 3, 224, 224))
    numbers = sum(storage.nbytes() for place, storage in kept.items() if place not in weights) / lesson.FLOAT
    assert numbers == pytest.approx(lesson.activations(*sizes), rel=0.05)


def test_the_sizes_in_memory_are_those_of_vit_b_16(drawn):
    lesson = drawn("lesson_08")
    assert tuple(vit.BASE[name] for name in ("num_layers", "hidden_dim", "mlp_dim")) == (
        lesson.LAYERS,
        lesson.WIDTH,
        lesson.MLP_WIDTH,
    )


def test_a_burst_is_dealt_out_whole_by_plate_alone(drawn):
    lesson = drawn("lesson_09")
    for training, test in (lesson.BY_PHOTO, lesson.BY_PLATE):
        assert sorted((*training, *test)) == list(lesson.BURSTS)
        assert len(training) == len(lesson.BY_PHOTO[0])
    assert set(lesson.BY_PHOTO[1]) <= set(lesson.BY_PHOTO[0])
    assert not set(lesson.BY_PLATE[1]) & set(lesson.BY_PLATE[0])
