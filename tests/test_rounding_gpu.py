"""Lessons on a GPU that rounds what a convolution multiplies to 10 bits, as GPUs from Ampere on do unless told not to.

There what a lesson computes by hand must still equal what the package computes, in exact fp32. Such a GPU is played by
the CPU: outside `exact_fp32` the weights of convolutions are rounded. On an H100 lesson 03 failed in the same cells.
"""

import warnings
from pathlib import Path

import matplotlib
import nbformat
import pytest
import torch
from torch import nn

from going_modular.common import device

pytestmark = pytest.mark.slow

NOTEBOOKS = Path(__file__).resolve().parent.parent / "notebooks"
LOST_BITS = 13  # of the 23 of an fp32 fraction


@pytest.fixture
def rounding_gpu(monkeypatch):
    """Round what convolutions multiply by, unless exact fp32 was asked for."""
    exactly = nn.Conv2d._conv_forward
    monkeypatch.setattr(nn.Conv2d, "_conv_forward", lambda layer, x, w, b: exactly(layer, x, as_multiplied(w), b))


def as_multiplied(weight: torch.Tensor) -> torch.Tensor:
    if device._exact.users:
        return weight
    half = 1 << (LOST_BITS - 1)
    rounded = ((weight.detach().view(torch.int32) + half) >> LOST_BITS << LOST_BITS).view(torch.float32)
    return weight + (rounded - weight.detach())


def run_until(name: str, last: str, *, without: tuple[str, ...]) -> None:
    """Run a lesson's code cells up to one that contains some text, without those that contain other texts."""
    cells = [cell.source for cell in nbformat.read(NOTEBOOKS / name, as_version=4).cells if cell.cell_type == "code"]
    end = next(number for number, source in enumerate(cells) if last in source)
    names = {"__name__": "__main__"}
    for source in cells[: end + 1]:
        if not any(text in source for text in without):
            exec(source.replace("    %pip", "    pass  # %pip"), names)


def test_the_stand_in_rounds(rounding_gpu):
    layer, image = nn.Conv2d(3, 8, 3), torch.rand(1, 3, 9, 9)
    with device.exact_fp32():
        exact = layer(image)
    rounded = layer(image)
    assert not torch.equal(rounded, exact)
    torch.testing.assert_close(rounded, exact, rtol=1e-2, atol=1e-3)


@pytest.mark.parametrize(("name", "last", "without"), [
    ("03_pay_once.ipynb", "the same head, the same curves", ("time_", "seconds[", "plt.", "moved_by")),
    ("06_fine_tuning.ipynb", "equal on eight images", ("head_right", "gains", "loss_by_batch")),
])  # fmt: skip
def test_what_a_lesson_computes_by_hand_is_what_the_package_computes(rounding_gpu, monkeypatch, name, last, without):
    matplotlib.use("agg")
    monkeypatch.chdir(NOTEBOOKS)
    threads = torch.get_num_threads()
    try:
        with matplotlib.rc_context(), warnings.catch_warnings():
            run_until(name, last, without=without)
    finally:
        torch.set_num_threads(threads)
