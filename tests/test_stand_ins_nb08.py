"""What notebook 08 uses: the learner's function where it is right, else the course's, which is right, too."""

import inspect
from collections.abc import Callable

import pytest
import torch
from wrong_answers_nb08 import averaged, in_parts, one_backward_on_the_sum, trained

from going_modular.checks import _parts08, nb08
from going_modular.checks._processes import InVainError, Processes

PARTS = ("average_gradients", "train_shares", "largest_batch", "accumulate", "speed_up")


def unsolved(*arguments):
    raise NotImplementedError


@pytest.mark.parametrize("part", PARTS)
def test_the_function_of_the_course_stands_in_and_is_right(part, capsys):
    ours = nb08.yours_or_ours(part, unsolved)
    assert capsys.readouterr().out == f"{part}: that of the course\n"
    assert getattr(nb08, part).judge(ours) == "right"


def test_a_right_answer_is_used_and_one_that_saves_no_memory_is_not(capsys):
    mine = in_parts()
    assert nb08.yours_or_ours("accumulate", mine) is mine
    assert capsys.readouterr().out.endswith("accumulate: yours\n")
    assert nb08.yours_or_ours("accumulate", one_backward_on_the_sum) is not one_backward_on_the_sum
    assert "parts were kept" in nb08.accumulate.judge(one_backward_on_the_sum)


@pytest.mark.parametrize("part", PARTS[:2])
def test_what_goes_into_a_script_needs_nothing_of_its_module(part):
    function = getattr(_parts08, part)
    names = {"Callable": Callable, "F": torch.nn.functional, "nn": torch.nn, "torch": torch}
    exec(inspect.getsource(function), names)
    assert getattr(nb08, part).judge(names[part]) == "right"


def test_each_of_the_five_bugs_is_told_by_a_hint_of_its_own():
    bugs = (
        {"order": lambda epoch, length: torch.randperm(length)},
        {"share": lambda batch, rank, processes: batch[: len(batch) // processes]},
        {"early_step": True},
        {"weigh": lambda mine, batch, processes: 1 / processes},
        {"accuracy": "means"},
    )
    hints = {nb08.train_shares.judge(trained(**bug)).rpartition("; ")[2] for bug in bugs}
    assert len(hints) == len(bugs)


def test_a_process_that_leaves_a_call_out_keeps_nobody_waiting():
    assert "waits in all_reduce" in nb08.average_gradients.judge(averaged(take_part=False))


def test_each_process_draws_numbers_of_its_own():
    drawn = []

    def draw(model, images, all_reduce):
        drawn.append(torch.rand(1).item())
        all_reduce(torch.ones(1))
        drawn.append(torch.rand(1).item())

    assert nb08.average_gradients.judge(draw).startswith("wrong: ")
    assert len(set(drawn)) == 4


def test_processes_add_up_in_place_and_one_that_ends_early_keeps_nobody_waiting():
    def work(rank, all_reduce):
        tensor = torch.tensor([float(rank)])
        if rank < 3:
            all_reduce(tensor)
        return tensor.item()

    assert Processes(3, "three").run(work) == [3.0, 3.0, 3.0]
    with pytest.raises(InVainError, match="another that never makes it for four"):
        Processes(4, "four").run(work)
