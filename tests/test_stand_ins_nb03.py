"""What notebook 03 uses of a learner's parts, or of the course's in their place."""

import pytest
import torch
import wrong_answers_nb03 as wrong

from going_modular import metrics, model_builder
from going_modular.checks import _parts03, nb03

EXERCISES = ["cache_features", "set_modes", "harmless", "folds", "few", "interval"]


def unsolved(*arguments):
    raise NotImplementedError


@pytest.mark.parametrize("exercise", EXERCISES)
def test_the_part_of_the_course_stands_in_and_is_right(exercise, capsys):
    ours = nb03.yours_or_ours(exercise, unsolved)
    assert capsys.readouterr().out == f"{exercise}: that of the course\n"
    assert getattr(nb03, exercise).judge(ours) == "right"


def test_a_right_answer_is_used(capsys):
    def mine(n, sizes):
        return [size for size in sizes if not n % size or size > n]

    assert nb03.yours_or_ours("harmless", mine) is mine
    assert capsys.readouterr().out == "harmless: yours\n"


def test_modes_keep_a_frozen_backbone_as_it_was_published():
    model, _ = model_builder.create_model("efficientnet_lite0", 3)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    _parts03.set_modes(model)
    with torch.no_grad():
        model(torch.randn(2, 3, 64, 64))
    assert model.classifier.training
    torch.testing.assert_close(model.state_dict(), before, rtol=0, atol=0)


def test_folds_of_the_sample_have_as_many_of_each_class():
    groups = [str(1000 + i) for _ in range(3) for i in range(75)]  # class by class, as files are sorted
    for train, validation in nb03.yours_or_ours("folds", unsolved)(groups, 5, 42):
        assert [sum(i // 75 == label for i in validation) for label in range(3)] == [15, 15, 15]
        assert len(train) == 180


@pytest.mark.parametrize(("right", "total"), [(0, 10), (67, 75), (75, 75), (1, 3)])
def test_trying_accuracies_gives_wilsons_interval(right, total):
    found = _parts03.interval(right, total, z=1.959964)
    torch.testing.assert_close(found, metrics.wilson_interval(right, total), atol=1e-4, rtol=0)


def test_another_way_than_the_courses_is_judged_by_its_score():
    assert nb03.few.judge(wrong.labels_by(wrong.head_of(100))) == "right"


@pytest.mark.parametrize(
    "answer", [wrong.nearest_mean, wrong.nearest_mean_of_unit_lengths, wrong.smallest_angle_to_a_mean]
)
def test_a_nearest_mean_is_told_that_it_does_not_count(answer):
    assert "nearest mean" in nb03.few.judge(answer)
