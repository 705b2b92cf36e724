"""What notebook 02 uses of a learner's parts, and what its check says of each planted bug."""

import pytest
import torch
from wrong_answers_nb02 import BUGS, fitted

from going_modular.checks import nb02

EXERCISES = ["slide", "freeze", "new_head", "mean_loss", "fit"]


def unsolved(*arguments):
    raise NotImplementedError


@pytest.mark.parametrize("exercise", EXERCISES)
def test_the_part_of_the_course_stands_in_and_is_right(exercise, capsys):
    ours = nb02.yours_or_ours(exercise, unsolved)
    assert capsys.readouterr().out == f"{exercise}: that of the course\n"
    assert getattr(nb02, exercise).judge(ours) == "right"


def test_a_right_answer_is_used(capsys):
    def mine(picture, kernel):
        return torch.nn.functional.conv2d(picture[None, None], kernel[None, None])[0, 0]

    assert nb02.yours_or_ours("slide", mine) is mine
    assert capsys.readouterr().out == "slide: yours\n"


@pytest.mark.parametrize("number", range(len(BUGS)))
def test_a_bug_in_the_loop_is_called_what_it_is(number):
    loop, words = BUGS[number]
    assert words in nb02.fit.judge(loop)


@pytest.mark.parametrize("steps", ["zbs", "bsz"])
def test_gradients_may_be_forgotten_before_or_after(steps):
    assert nb02.fit.judge(fitted(steps)) == "right"
