"""A quick start: what each command imports, and the figures that are drawn once."""

import gc
import subprocess
import sys
from io import BytesIO

import numpy as np
import pytest
from commands import COMMANDS, LITE0, isolation, run, write_classes, write_image
from matplotlib.artist import Artist
from PIL import Image
from scipy.stats import binomtest

from going_modular import plots
from going_modular.common import startup
from going_modular.evaluation.uncertainty import wilson_interval

# what takes a tenth of a second or more
SCIENCE, NETWORK = {"sklearn", "scipy", "imagehash"}, {"requests", "urllib3"}
OTHERS = {"onnx", "timm", "lightning", "torchmetrics", "jinja2"}
DRAWING = {"matplotlib", "tensorboard"}
HEAVY = {"torch", "torchvision", "numpy", "PIL"} | SCIENCE | NETWORK | OTHERS | DRAWING


def imported(script, *arguments, cwd):
    """Run a command as a user does; return which of the heavy libraries it imported."""
    done = run(script, *arguments, cwd=cwd, PYTHONPROFILEIMPORTTIME="1", **isolation(cwd))
    assert done.returncode == 0, done.stderr
    lines = [line for line in done.stderr.splitlines() if line.startswith("import time:")]
    return HEAVY & {line.rpartition("|")[2].strip().partition(".")[0] for line in lines}


@pytest.mark.parametrize("script", COMMANDS)
def test_help_comes_without_any_heavy_library(tmp_path, script):
    assert imported(script, "--help", cwd=tmp_path) == set()


@pytest.mark.slow
def test_commands_import_what_they_use_alone(tmp_path):
    """The data has a split of its own: to make one takes scikit-learn."""
    write_classes(tmp_path, "data/train")
    for seed, name in enumerate(("cat/a.png", "cat/b.png", "dog/a.png", "dog/b.png"), start=10_000):
        image = write_image(tmp_path, f"data/test/{name}", seed=seed)
    needed = {"torch", "torchvision", "numpy", "PIL"}
    training = ("train.py", "--data", tmp_path / "data", *LITE0, "--epochs", 1)
    # to the backbone all noise looks alike, so pixels are compared; the second time fingerprints are at hand
    assert imported(*training, cwd=tmp_path) == needed | DRAWING | {"imagehash", "scipy"}
    assert imported(*training, cwd=tmp_path) == needed | DRAWING
    assert imported("predict.py", image, cwd=tmp_path) == needed
    assert imported("predict.py", image, "--plot", "plot.png", cwd=tmp_path) == needed | {"matplotlib"}
    evaluating = needed | {"sklearn", "scipy", "matplotlib", "jinja2"}
    assert imported("evaluate.py", cwd=tmp_path) == evaluating


@pytest.mark.slow
def test_torch_comes_without_garbage_collection_and_goes_without_complaint():
    script = """
import gc
from going_modular.common import startup
collections = []
gc.callbacks.append(lambda phase, _: collections.append(phase))
startup.import_torch()
assert not collections and gc.isenabled() and gc.get_freeze_count() > 100_000
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_where_torch_is_there_the_garbage_collector_is_left_alone():
    before = gc.get_freeze_count()
    startup.import_torch()
    assert (gc.get_freeze_count(), gc.isenabled()) == (before, True)


@pytest.mark.parametrize("trials", [1, 2, 3, 75, 10_000])
@pytest.mark.parametrize("confidence", [0.5, 0.95, 0.99])
def test_wilsons_interval_is_scipys(trials, confidence):
    for successes in {0, 1, trials // 3, trials - 1, trials}:
        expected = binomtest(successes, trials).proportion_ci(confidence, method="wilson")
        found = wilson_interval(successes, trials, confidence=confidence)
        assert found == pytest.approx((expected.low, expected.high), abs=1e-12)
        assert found[0] >= 0
        assert found[1] <= 1
    assert wilson_interval(0, trials)[0] == 0
    assert wilson_interval(trials, trials)[1] == 1


class CountDraws(Artist):
    """Something on a figure that is not seen."""

    count = 0

    def draw(self, renderer):
        self.count += 1


FIGURES = {
    "curves": lambda: plots.loss_curves(
        {f"{part}_{what}": [0.9, 0.4] for part in ("train", "test") for what in ("loss", "acc")}
    ),
    "grid": lambda: plots.prediction_grid(
        [Image.new("RGB", (40, 30), "red")] * 5, list("aabba"), [0.5] * 5, list("ababa")
    ),
    "matrix": lambda: plots.confusion_matrix([[3, 1], [0, 2]], ["披萨", "a long name, indeed"]),
}


@pytest.mark.parametrize("name", FIGURES)
@pytest.mark.filterwarnings("ignore:No font here")
def test_a_png_is_drawn_once_and_is_what_matplotlib_saves(name):
    counter, figure = CountDraws(), FIGURES[name]()
    figure.add_artist(counter)
    before = figure.dpi
    image = Image.open(BytesIO(plots.png(figure)))
    assert (counter.count, figure.dpi) == (1, before)
    assert image.mode == "RGB"
    assert image.info["dpi"] == pytest.approx((plots.DPI, plots.DPI), abs=0.1)

    saved = BytesIO()
    FIGURES[name]().savefig(saved, format="png", dpi=plots.DPI)
    np.testing.assert_array_equal(np.asarray(image), np.asarray(Image.open(saved).convert("RGB")))


def test_what_a_grid_does_not_show_is_not_laid_out():
    for axes in FIGURES["grid"]().axes:
        assert [len(axis.get_ticklocs()) for axis in (axes.xaxis, axes.yaxis)] == [0, 0]
