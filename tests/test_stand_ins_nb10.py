"""What notebook 10 uses: the learner's functions where they are right, else the course's, which are right, too."""

import importlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from going_modular.checks import _parts10, nb10
from going_modular.models.efficientnet_lite import EfficientNetLite0Weights
from going_modular.saving import run_folder
from going_modular.serving import export_folder, onnx_file

ROOT = Path(__file__).resolve().parent.parent
PARTS = sorted(nb10.yours_or_ours.args[0])
SLOW = [pytest.param(part, marks=pytest.mark.slow) if part == "alarm" else part for part in PARTS]


def unsolved(*arguments, **options):
    raise NotImplementedError


@pytest.mark.parametrize("part", SLOW)
def test_the_function_of_the_course_stands_in_and_is_right(part, capsys):
    ours = nb10.yours_or_ours(part, unsolved)
    assert capsys.readouterr().out == f"{part}: that of the course\n"
    assert nb10.yours_or_ours.args[0][part][0].judge(ours) == "right"


def test_a_right_answer_is_used_and_a_wrong_one_is_not(capsys):
    def mine(weights):
        return _parts10.quantise(weights)

    def one_scale(weights):
        return _parts10.quantise(weights.reshape(1, -1))

    assert nb10.yours_or_ours("quantise", mine) is mine
    assert capsys.readouterr().out == "quantise: yours\n"
    assert nb10.yours_or_ours("quantise", one_scale) is _parts10.quantise


@pytest.mark.parametrize("size", [(300, 400), (255, 301), (900, 310)])
def test_the_stand_ins_see_what_the_transform_and_pillow_make(size):
    picture = Image.fromarray(np.random.default_rng(0).integers(0, 256, (*size[::-1], 3), np.uint8))
    transform = EfficientNetLite0Weights.DEFAULT.transforms()
    seen = _parts10.see(picture, onnx_file.describe_transform(transform))
    np.testing.assert_allclose(seen, transform(picture).numpy(), atol=1e-6)
    small = _parts10.resize(np.asarray(picture, np.float32), 64, 85).clip(0, 255)
    by_pillow = np.asarray(picture.resize((85, 64), Image.Resampling.BICUBIC), float)
    assert np.abs(small - by_pillow).max() < 1.5  # Pillow rounds after each of its two passes


@pytest.mark.parametrize("size", [(41, 30), (64, 85), (301, 255), (7, 400)])
def test_the_filter_of_the_course_is_pillows_in_floats(size):
    picture = np.random.default_rng(0).random((90, 130, 2), np.float32) * 255
    height, width = size
    by_pillow = [Image.fromarray(channel).resize((width, height), Image.Resampling.BICUBIC)
                 for channel in np.ascontiguousarray(picture.transpose(2, 0, 1))]  # fmt: skip
    np.testing.assert_allclose(_parts10.resize(picture, height, width), np.stack(by_pillow, axis=2), atol=1e-3)


def test_the_clock_of_the_race_is_moved_by_the_calls_alone():
    world = nb10._World({"a": 1.0, "b": 2.0})
    before = world.clock()
    assert world.calls["b"]() == "answer of b"
    assert world.clock() - before == 20.0  # the first call is cold
    world.calls["b"]()
    assert world.taken["b"][1] < 3


def test_an_alarm_that_nothing_raises_is_not_asked_for_long():
    assert nb10.alarm.judge(lambda *given: None).startswith("wrong: returned None for random features")
    assert nb10.alarm.judge(unsolved) == "not attempted"


def test_the_files_in_the_drawings_are_those_that_commands_write(monkeypatch):
    monkeypatch.syspath_prepend(ROOT)  # `python -m tools.draw` is run there
    lesson = importlib.import_module("tools.draw.lesson_10")
    assert run_folder.MODEL == lesson.CHECKPOINT
    assert (export_folder.MODEL, export_folder.SCRIPT) == (lesson.MODEL, lesson.SCRIPT)
    assert set(export_folder.COPIED) == {lesson.SCRIPT, *lesson.BESIDE}
