"""The checks behind the exercises: a solution is right, a blank not attempted, and plausible mistakes are wrong."""

import functools
import importlib
import runpy
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from PIL import Image
from torch import nn

from going_modular import checks
from going_modular.checks import nb00, nb01, nb02, nb03, nb04, nb05, nb06, nb07, nb08, nb09, nb10
from going_modular.checks._check import Check, describe, difference

ROOT = Path(__file__).resolve().parent.parent
BUILD = SimpleNamespace(**runpy.run_path(str(ROOT / "tools" / "build_notebooks.py")))
SHEETS = sorted(BUILD.SOURCES.glob("[0-9][0-9]_*.py"))
# (sheet, exercise, learner's function)
EXERCISES = [
    pytest.param(sheet, exercise, function, id=f"{sheet.stem[:2]}-{exercise}")
    for sheet in SHEETS
    for exercise, function in BUILD.exercises(sheet.read_text(encoding="utf-8")).items()
]


def check(sheet: Path, exercise: str) -> Check:
    return getattr(getattr(checks, f"nb{sheet.stem[:2]}"), exercise)


def wrong_answers(sheet: Path) -> dict[str, list[Callable]]:
    return importlib.import_module(f"wrong_answers_nb{sheet.stem[:2]}").WRONG


@pytest.fixture(scope="module")
def learner(tmp_path_factory):
    """Return a function that gives the names a sheet defines, its exercises solved or blank."""
    folder = tmp_path_factory.mktemp("sheets")

    @functools.cache
    def run(sheet: Path, version: str) -> dict:
        script = folder / f"{version}_{sheet.name}"
        script.write_text(getattr(BUILD, version)(sheet.read_text(encoding="utf-8")), encoding="utf-8")
        return runpy.run_path(str(script))

    return run


@pytest.mark.parametrize("sheet", SHEETS, ids=lambda sheet: sheet.stem)
def test_a_sheet_has_four_exercises_and_wrong_answers_to_each(sheet):
    found = BUILD.exercises(sheet.read_text(encoding="utf-8"))
    assert len(found) >= 4
    assert wrong_answers(sheet).keys() == found.keys()
    assert all(len(answers) >= 2 for answers in wrong_answers(sheet).values())


@pytest.mark.parametrize(("sheet", "exercise", "function"), EXERCISES)
def test_the_solution_is_right(learner, sheet, exercise, function):
    assert check(sheet, exercise).judge(learner(sheet, "solved")[function]) == "right"


@pytest.mark.parametrize(("sheet", "exercise", "function"), EXERCISES)
def test_the_blank_is_not_attempted(learner, sheet, exercise, function):
    assert check(sheet, exercise).judge(learner(sheet, "blank")[function]) == "not attempted"


@pytest.mark.parametrize(("sheet", "exercise", "function"), EXERCISES)
def test_wrong_answers_are_told_with_their_input_and_a_hint(sheet, exercise, function):
    for answer in wrong_answers(sheet)[exercise]:
        said = check(sheet, exercise).judge(answer)
        assert said.startswith("wrong: "), (answer, said)
        problem, _, hint = said.rpartition("; ")
        assert " for " in problem, said
        assert hint, said


@pytest.mark.slow
@pytest.mark.parametrize(("sheet", "exercise", "function"), EXERCISES)
def test_who_prints_instead_of_returning_is_told_so(learner, sheet, exercise, function):
    solution = learner(sheet, "solved")[function]

    def printing(*arguments, **options):
        print(solution(*arguments, **options))  # noqa: T201 - what the test is about

    said = check(sheet, exercise).judge(printing)
    assert "`return`" in said or said == "right", said  # right where what it does to its input counts


@Check
def double(attempt):
    """Check a function that doubles a number."""
    attempt.expect(6, 3, hint="multiply by 2")
    attempt.expect(torch.ones(2), torch.full((2,), 0.5), hint="multiply by 2")


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (lambda x: 2 * x, "right"),
        (lambda x: x**2, "wrong: returned 9 instead of 6 for 3; multiply by 2"),
        (lambda x: x + 3, "wrong: returned tensor([3.5, 3.5]) instead of tensor([1.0, 1.0]) for"),
        (
            lambda x: x.double(),
            "wrong: raised AttributeError ('int' object has no attribute 'double') for 3; the error",
        ),
        (lambda: 6, "wrong: raised TypeError ("),
        (6, "wrong: got 6; pass the function itself, without parentheses"),
    ],
)
def test_an_answer_is_judged(answer, said):
    assert double.judge(answer).startswith(said)


def test_calling_a_check_prints_the_answer(capsys):
    assert double(lambda x: 2 * x) is None
    assert capsys.readouterr().out == "right\n"
    double(lambda x: x.is_no_number_that_has_this + 1)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) > 1
    assert max(map(len, lines)) <= 100
    assert " ".join(lines) == double.judge(lambda x: x.is_no_number_that_has_this + 1)


def test_what_an_answer_prints_on_its_way_is_seen(capsys):
    assert double.judge(lambda x: print("x is", x) or 2 * x) == "right"  # noqa: T201 - what the test is about
    assert capsys.readouterr().out.startswith("x is 3\n")
    assert double.judge(lambda x: print(2 * x)).endswith(  # noqa: T201
        "multiply by 2; it printed, and returned nothing: a function gives back what stands behind its `return`"
    )


def test_calls_that_overlap_in_threads_leave_the_output_where_it_was():
    first_is_in, second_is_in = threading.Event(), threading.Event()

    def answer(name):
        if name == "first":
            first_is_in.set()
            second_is_in.wait(5)
        else:
            first_is_in.wait(5)
            second_is_in.set()
            first.join(5)
        return name

    @Check
    def both(attempt):
        nonlocal first
        first = threading.Thread(target=attempt, args=("first",))
        second = threading.Thread(target=attempt, args=("second",))
        first.start()
        second.start()
        second.join(10)

    first, before = None, sys.stdout
    assert both.judge(answer) == "right"
    assert sys.stdout is before


def test_only_the_stub_counts_as_not_attempted():
    def stub(x):
        raise NotImplementedError

    def unfinished_module(x):
        return nn.Module()(x)

    assert double.judge(stub) == "not attempted"
    assert double.judge(unfinished_module).startswith("wrong: raised NotImplementedError (Module [Module] is missing")


def test_what_is_not_attempted_is_said_before_a_backbone_runs(learner, monkeypatch):
    monkeypatch.setattr(nb03, "_draws", lambda: pytest.fail("it drew images and ran a backbone"))
    sheet = next(sheet for sheet in SHEETS if sheet.stem.startswith("03"))
    assert nb03.few.judge(learner(sheet, "blank")["my_few"]) == "not attempted"


def test_a_check_leaves_the_random_generator_alone():
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    assert double.judge(lambda x: 2 * x + 0 * int(torch.rand(1))) == "right"
    assert torch.equal(torch.rand(3), expected)


def test_a_check_draws_the_same_each_time():
    drawn = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        double.judge(lambda x: drawn.append(torch.rand(1).item()))
    assert drawn[0] == drawn[1]


def image(colour, size=(4, 3)):
    return Image.new("RGB", size, colour)


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (1, 1.0),
        (1.000001, 1.0),
        (torch.tensor(1.0), 1),
        ([1, (2, 3.0)], (1, [2, 3])),
        ({"a": torch.ones(3)}, {"a": torch.ones(3)}),
        (torch.zeros(2, 3), torch.zeros(2, 3)),
        (image("red"), image("red")),
        ("a", "a"),
        (True, True),
        (None, None),
    ],
)
def test_equal_values_do_not_differ(found, expected):
    assert difference(found, expected, 1e-5) is None


@pytest.mark.parametrize(
    ("found", "expected", "said"),
    [
        (1.1, 1.0, "1.1 instead of 1"),
        (float("nan"), 1.0, "nan instead of 1"),
        (None, 1, "None instead of 1"),
        ("1", 1, "'1' instead of 1"),
        (1, True, "1 instead of True"),
        ([1, 2], (1, 2, 3), "[1, 2] instead of (1, 2, 3)"),
        ({"a": 1}, {"b": 1}, "{'a': 1} instead of {'b': 1}"),
        (torch.ones(2), torch.ones(3), "a tensor of shape (2,) instead of (3,)"),
        (torch.ones(2), torch.ones(2, dtype=torch.int64), "a tensor of torch.float32 instead of torch.int64"),
        (torch.ones(2), torch.zeros(2), "tensor([1.0, 1.0]) instead of tensor([0.0, 0.0])"),
        (torch.ones(99), torch.zeros(99), "values off by up to 1"),
        (image("red", (3, 4)), image("red"), "a 3x4 RGB image instead of a 4x3 RGB image"),
        (image("blue"), image("red"), "a 4x3 RGB image whose pixels differ from the expected ones"),
    ],
)
def test_differing_values_are_told_apart(found, expected, said):
    assert difference(found, expected, 1e-5) == said


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (nn.Linear(2, 3), "a Linear"),
        (torch.tensor([[1.23456, 2]]), "tensor([[1.2346, 2.0]])"),
        (torch.zeros(3, 4, 5), "a tensor of shape (3, 4, 5)"),
        ("x" * 200, f"'{'x' * 86}..."),
    ],
)
def test_values_are_described_in_a_few_words(value, words):
    assert describe(value) == words


def test_there_is_a_module_of_checks_for_every_sheet():
    assert [f"nb{sheet.stem[:2]}" for sheet in SHEETS] == dir(checks)
    modules = [nb00, nb01, nb02, nb03, nb04, nb05, nb06, nb07, nb08, nb09, nb10]
    assert [getattr(checks, name) for name in dir(checks)] == modules
    with pytest.raises(AttributeError, match="There are no checks 'nb99'; there are nb00, "):
        _ = checks.nb99
