"""What notebook 09 uses: the learner's functions where they are right, else the course's, which are right, too."""

import csv

import pytest
from wrong_answers_nb09 import decided

from going_modular.checks import _parts09, nb09
from going_modular.data import corrections

PARTS = sorted(nb09.yours_or_ours.args[0])


def unsolved(*arguments, **options):
    raise NotImplementedError


@pytest.mark.parametrize("exercise", PARTS)
def test_the_function_of_the_course_stands_in_and_is_right(exercise, capsys):
    ours = nb09.yours_or_ours(exercise, unsolved)
    assert capsys.readouterr().out == f"{exercise}: that of the course\n"
    assert ours is getattr(_parts09, exercise)
    assert getattr(nb09, exercise).judge(ours) == "right"


def test_a_right_answer_is_used_and_a_wrong_one_is_not(capsys):
    def mine(sizes, errors, wanted):
        return _parts09.images_for(sizes, errors, wanted)

    def too_few(sizes, errors, wanted):
        return mine(sizes, errors, wanted) - 1

    assert nb09.yours_or_ours("images_for", mine) is mine
    assert capsys.readouterr().out == "images_for: yours\n"
    assert nb09.yours_or_ours("images_for", too_few) is _parts09.images_for


def test_each_of_the_three_bugs_is_told_by_a_hint_of_its_own():
    bugs = (decided(tests=False), decided(looked=False), decided(scenes=False))
    hints = {nb09.decisions.judge(bug).rpartition("; ")[2] for bug in bugs}
    assert len(hints) == len(bugs)


def test_rows_of_decisions_are_corrections_that_can_be_read(tmp_path):
    given = {"pizza/a, b.jpg": "pizza", "steak/c.jpg": "steak", "sushi/d.jpg": "sushi"}
    seen = {"pizza/a, b.jpg": "steak", "steak/c.jpg": "steak", "sushi/d.jpg": "nothing"}
    part = dict.fromkeys(given, "train")
    rows = _parts09.decisions(dict.fromkeys(given, "sushi"), seen, given, part, [["pizza/a, b.jpg", "steak/c.jpg"]])
    path = tmp_path / "corrections.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([corrections.COLUMNS[:3], *rows])
    read = corrections.read(path)
    assert read.moved == {"pizza/a, b.jpg": "steak"}
    assert (read.kept, read.left_out) == ({"steak/c.jpg"}, {"sushi/d.jpg"})
    assert read.groups == {"pizza/a, b.jpg": "scene 1", "steak/c.jpg": "scene 1"}
