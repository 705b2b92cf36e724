"""Hundreds of classes: figures that stay small, warnings that stay short, intervals in bounded time and memory."""

import json
import warnings
from io import BytesIO

import numpy as np
import pytest
import torch
from classified import guesses
from PIL import Image

from going_modular import metrics, plots
from going_modular.common import fonts
from going_modular.evaluation import curves, figures, scores, uncertainty

SIDE = 2400  # pixels of a figure, at most: 20 inches


def names(count: int) -> list[str]:
    return [f"class number {c:04d}" for c in range(count)]


def matrix(count: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 5, (count, count)) + 20 * np.eye(count, dtype=int)


def drawn(figure) -> Image.Image:
    image = Image.open(BytesIO(plots.png(figure)))
    assert max(image.size) <= SIDE
    return image


@pytest.mark.slow
@pytest.mark.parametrize("count", [31, 101, 200, 1000])
def test_a_confusion_matrix_of_many_classes_stays_small(count):
    figure = plots.confusion_matrix(matrix(count), names(count))
    axes = figure.axes[0]
    drawn(figure)
    assert not axes.texts  # no cell is large enough for a number
    np.testing.assert_allclose(axes.images[0].get_array(), matrix(count) / matrix(count).sum(axis=1, keepdims=True))
    for axis in (axes.xaxis, axes.yaxis):
        assert len(axis.get_ticklabels()) <= 80
        for position, label in zip(axis.get_ticklocs(), axis.get_ticklabels(), strict=True):
            assert label.get_text() == fonts.drawable(names(count))[names(count)[int(position)]]
    step = -(-count // 80)
    said = f" (one class in {step} is named)" if step > 1 else ""
    assert (axes.get_xlabel(), axes.get_ylabel()) == (f"predicted{said}", f"true{said}")


def test_names_of_many_classes_do_not_overlap():
    figure = plots.confusion_matrix(matrix(80), names(80))
    drawn(figure)
    boxes = [label.get_window_extent() for label in figure.axes[0].get_yticklabels()]
    assert all(not below.overlaps(above) for below, above in zip(boxes[1:], boxes[:-1], strict=True))


@pytest.mark.slow
@pytest.mark.parametrize("count", [1, 3, 30])
def test_a_confusion_matrix_of_few_classes_has_its_counts_and_names(count):
    figure = plots.confusion_matrix(matrix(count), names(count))
    axes = figure.axes[0]
    drawn(figure)
    assert [int(text.get_text()) for text in axes.texts] == matrix(count).ravel().tolist()
    assert len(axes.get_xticklabels()) == len(axes.get_yticklabels()) == count
    widest = max(text.get_window_extent().width for text in axes.texts)
    assert widest < axes.get_window_extent().width / count


@pytest.mark.parametrize("draw", ["roc", "precision_recall"])
def test_of_many_curves_the_extremes_are_drawn(draw):
    logits, labels = guesses(400, 150)
    if draw == "roc":
        lines, mean = curves.roc_curves(logits, labels, names(150))
        figure, areas = figures.roc(lines, mean), {name: curve.auc for name, curve in lines.items()}
        extra = ["mean of the classes", "chance"]
    else:
        lines = curves.precision_recall_curves(logits, labels, names(150))
        figure, areas = figures.precision_recall(lines), {name: line.average_precision for name, line in lines.items()}
        extra = []
    drawn(figure)
    axes = figure.axes[0]
    by_area = sorted(areas.values())
    labelled = [line.get_label().partition(", area ") for line in axes.lines]
    assert [name for name, _, area in labelled if not area or name.startswith("mean")] == extra
    shown = sorted(float(area) for name, _, area in labelled if area and not name.startswith("mean"))
    np.testing.assert_allclose(shown, by_area[:5] + by_area[-5:], atol=6e-4)
    legend = axes.get_legend()
    assert len(legend.get_texts()) == len(axes.lines)
    assert legend.get_title().get_text() == f"the 5 largest and the 5 smallest\nof {len(lines)} areas"
    inside, whole = legend.get_window_extent(), figure.bbox
    assert (inside.x0 >= 0, inside.y0 >= 0, inside.x1 <= whole.x1, inside.y1 <= whole.y1) == (True,) * 4


def test_ten_curves_are_all_drawn():
    logits, labels = guesses(200, 10)
    lines, mean = curves.roc_curves(logits, labels, names(10))
    axes = figures.roc(lines, mean).axes[0]
    assert len(axes.lines) == 12
    assert axes.get_legend().get_title().get_text() == ""
    assert len(figures.roc(lines).axes[0].lines) == 11


def test_names_that_no_font_has_warn_a_few_times():
    lacking = [f"{chr(0x10FE00 + i)} {i}" for i in range(50)]  # the private use area: nobody's characters
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        shown = fonts.drawable(lacking)
    assert len(caught) == 11
    assert "40 other names" in str(caught[-1].message)
    assert all(f"U+{0x10FE00 + i:04X}" in shown[name] for i, name in enumerate(lacking))


def test_a_report_of_many_classes_has_short_warnings_and_can_be_written():
    logits, labels = guesses(60, 300)
    report = metrics.report(logits, labels, names(300), resamples=20)
    assert report["warnings"]
    assert max(map(len, report["warnings"])) < 600
    absent = 300 - len(set(labels.tolist()))
    [line] = [warning for warning in report["warnings"] if warning.startswith("No sample of")]
    assert f" and {absent - 10} others: " in line
    assert len(json.loads(json.dumps(report))["per_class"]) == 300


def test_resamples_are_the_same_in_blocks_of_classes_and_the_first_of_them_where_they_are_fewer(monkeypatch):
    measured = scores.from_logits(*guesses(80, 12))
    whole = uncertainty.resample_scores(measured, resamples=300, seed=3)
    monkeypatch.setattr(uncertainty, "RANKED", 80 * 5)  # five classes at a time
    blocks = uncertainty.resample_scores(measured, resamples=300, seed=3)
    for name, values in whole.items():
        np.testing.assert_array_equal(blocks[name], values)

    monkeypatch.setattr(uncertainty, "WORK", 0)
    fewer = uncertainty.resample_scores(measured, resamples=300, seed=3)
    for name in ("auc", "average_precision"):
        assert fewer[name].shape == (uncertainty.ENOUGH, 12)
        np.testing.assert_array_equal(fewer[name], whole[name][: uncertainty.ENOUGH])
    assert len(fewer["log_loss"]) == 300


def test_ranks_without_ties_measure_as_ranks_with_ties_do():
    positive, score = torch.rand(50).numpy() < 0.4, np.arange(50.0)
    positive[:2] = True, False
    ranking = uncertainty.Ranking(positive, score)
    doubled = uncertainty.Ranking(np.r_[positive, False], np.r_[score, score[0]])  # ties with the lowest positive
    weights = np.random.default_rng(0).integers(0, 4, (50, 7)).astype(float)
    weights[:2] = 1
    ours = ranking.measure(weights)
    with_a_tie_of_no_weight = doubled.measure(np.vstack([weights, np.zeros((1, 7))]))
    np.testing.assert_allclose(ours, with_a_tie_of_no_weight)
