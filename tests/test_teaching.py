"""The teacher's page fits the lessons: its sections, the minutes of their exercises, the commands that it names."""

import re
from itertools import pairwise
from pathlib import Path

import pytest
from test_notebooks import NOTEBOOKS, read

ROOT = Path(__file__).resolve().parent.parent
PAGE = (ROOT / "notebooks/TEACHING.md").read_text(encoding="utf-8")
OVERVIEW = (ROOT / "notebooks/README.md").read_text(encoding="utf-8")
EXERCISE = re.compile(r"^### Exercise (\d+): .*\(.*\b(\d+) minutes\)$")

lesson = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


def part(path: Path) -> str:
    """Return what the page says of a lesson."""
    return PAGE.split(f"\n## {path.name[:2]} in class")[1].split("\n## ")[0]


def rows(path: Path) -> list[tuple[int, int, str]]:
    """Return number, minutes and exercises of each section."""
    found = re.findall(r"^\| (\d+) .* \| (\d+) \| (.*?) ?\|$", part(path), re.MULTILINE)
    return [(int(number), int(minutes), exercises) for number, minutes, exercises in found]


def exercises(path: Path) -> dict[int, list[tuple[int, int]]]:
    """Return number and minutes of the exercises of each section of a notebook."""
    section, found = 0, {}
    for line in "\n".join(cell.source for cell in read(path).cells if cell.cell_type == "markdown").splitlines():
        if heading := re.match(r"## (\d+) ", line):
            section = int(heading[1])
            found[section] = []
        elif exercise := EXERCISE.match(line):
            found[section].append((int(exercise[1]), int(exercise[2])))
    return found


@lesson
def test_the_plan_has_the_lessons_sections_and_their_exercises_minutes(path):
    there = exercises(path)
    assert [number for number, _, _ in rows(path)] == list(there)
    for number, _, said in rows(path):
        assert [int(one) for one in re.findall(r"(\d+)(?: \([^)]*\))?(?=, \d| and \d)", said)] == [
            one for one, _ in there[number]
        ]
        assert sum(map(int, re.findall(r", (\d+)", said))) == sum(minutes for _, minutes in there[number])


@lesson
def test_the_minutes_to_read_and_of_the_exercises_are_those_of_the_map(path):
    to_read, count, minutes = map(
        int, re.search(rf"\({path.name}\).* \| (\d+) min \| (\d+), (\d+) min \|", OVERVIEW).groups()
    )
    found = [one for section in exercises(path).values() for one in section]
    assert len(found) == count
    assert abs(sum(each for _, each in found) - minutes) <= 5
    assert abs(sum(each for _, each, _ in rows(path)) - to_read) <= 10  # two afternoons have a beginning each


@lesson
def test_misconceptions_stand_with_a_question_and_model_answers_exist(path):
    table = part(path).partition("| who thinks | is asked |")[2]
    pairs = re.findall(r"^\| ([^|-][^|]*) \| ([^|]+) \|$", table, re.MULTILINE)
    assert len(pairs) >= 5
    for belief, question in pairs:
        assert belief
        assert "?" in question or re.search(r"[Ff]ind|[Gg]uess|[Ww]rite", question), question
    assert f"(solutions/{path.name})" in table


def test_two_days_are_two_days_and_two_hours_two_hours():
    hours = PAGE.split("\n## Two hours")[1].split("\n## ")[0]
    spans = [(int(a), int(b)) for a, b in re.findall(r"^\| (\d+) to (\d+) \|", hours, re.MULTILINE)]
    assert spans[0][0] == 0
    assert spans[-1][1] == 120
    assert all(before[1] == after[0] for before, after in pairwise(spans))
    days = PAGE.split("\n## Two days")[1].split("\n## ")[0]
    for day in ("1", "2"):
        assert sum(map(int, re.findall(rf"^\| {day}, (\d+) \|", days, re.MULTILINE))) == 360


def test_the_page_names_the_command_that_makes_slides():
    command = re.search(r"^python (tools/\w+\.py)( \d\d)+$", PAGE, re.MULTILINE)
    assert (ROOT / command[1]).is_file()
