"""What notebook 07 uses: the learner's functions where they are right, else the course's, which are right, too."""

import pytest

from going_modular.checks import _parts07, nb07

PARTS = sorted(nb07.yours_or_ours.args[0])


def unsolved(*arguments, **options):
    raise NotImplementedError


@pytest.mark.parametrize("exercise", PARTS)
def test_the_function_of_the_course_stands_in_and_is_right(exercise, capsys):
    ours = nb07.yours_or_ours(exercise, unsolved)
    assert capsys.readouterr().out == f"{exercise}: that of the course\n"
    assert ours is getattr(_parts07, exercise)
    assert getattr(nb07, exercise).judge(ours) == "right"


def test_a_right_answer_is_used_and_a_wrong_one_is_not(capsys):
    def mine(values, right):
        return _parts07.slices(values, right)

    def backwards(values, right):
        return _parts07.slices(values, right)[::-1]

    assert nb07.yours_or_ours("slices", mine) is mine
    assert capsys.readouterr().out == "slices: yours\n"
    assert nb07.yours_or_ours("slices", backwards) is _parts07.slices
