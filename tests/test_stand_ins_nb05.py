"""What notebook 05 uses: the learner's function where it is right, else the course's, which is right, too."""

import pytest

from going_modular.checks import nb05

EXERCISES = ["ask_blocks", "pca", "neighbours", "interpolate", "choice"]


def unsolved(*arguments):
    raise NotImplementedError


@pytest.mark.parametrize("exercise", EXERCISES)
def test_the_part_of_the_course_stands_in_and_is_right(exercise, capsys):
    ours = nb05.yours_or_ours(exercise, unsolved)
    assert capsys.readouterr().out == f"{exercise}: that of the course\n"
    assert getattr(nb05, exercise).judge(ours) == "right"


def test_a_right_answer_is_used(capsys):
    def mine(*arguments):
        return nb05.yours_or_ours("pca", unsolved)(*arguments)

    assert nb05.yours_or_ours("pca", mine) is mine
    assert capsys.readouterr().out.endswith("pca: yours\n")
