"""What notebook 06 uses: the learner's function where it is right, else the course's, which is right, too."""

import pytest

from going_modular.checks import nb06


def unsolved(*arguments):
    raise NotImplementedError


@pytest.mark.parametrize("exercise", ["drawn_gain", "early_stopping"])
def test_the_function_of_the_course_stands_in_and_is_right(exercise, capsys):
    ours = nb06.yours_or_ours(exercise, unsolved)
    assert capsys.readouterr().out == f"{exercise}: that of the course\n"
    assert getattr(nb06, exercise).judge(ours) == "right"


def test_a_right_answer_is_used_and_a_wrong_one_is_not(capsys):
    def mine(losses, patience):
        return nb06.yours_or_ours("early_stopping", unsolved)(losses, patience)

    def never(losses, patience):
        return 1, len(losses)

    assert nb06.yours_or_ours("early_stopping", mine) is mine
    assert capsys.readouterr().out.endswith("early_stopping: yours\n")
    assert nb06.yours_or_ours("early_stopping", never) is not never
