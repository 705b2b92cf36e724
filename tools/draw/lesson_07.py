"""Drawings of lesson 07: what is read off a confusion matrix, and how a threshold makes a ROC curve."""

from statistics import NormalDist

import numpy as np

from tools.draw.style import (
    BLUE,
    INK,
    LEARNS,
    LINE,
    MUTED,
    ORANGE,
    PALE_GREEN,
    PALE_ORANGE,
    RED,
    SMALL,
    WHITE,
    Drawing,
    Point,
)

CLASSES = ("pizza", "steak", "sushi")
COUNTS = np.array([[8, 1, 1], [2, 6, 2], [0, 1, 9]])  # rows true, columns predicted
FOLLOWED = 1  # steak
OTHERS, STEAK = NormalDist(0.36, 0.13), NormalDist(0.64, 0.13)  # of scores from 0 to 1
THRESHOLDS = (0.7, 0.5, 0.3)  # in the order in which the lesson walks through them
GREY = "#c4c8d0"


def confusion_matrix() -> Drawing:
    """Draw a confusion matrix with the row that recall is read from and the column of precision."""
    right, total = np.trace(COUNTS), COUNTS.sum()
    hits, true, predicted = COUNTS[FOLLOWED, FOLLOWED], COUNTS[FOLLOWED].sum(), COUNTS[:, FOLLOWED].sum()
    name = CLASSES[FOLLOWED]
    drawing = Drawing(
        "The confusion matrix",
        f"Rows are true classes, columns predicted ones; on the diagonal are the {right} of {total} that are right. "
        f"Along the row of {name}, {hits} of {true} were found: recall; down its column, {hits} of {predicted} are "
        f"{name}: precision.",
        480,
    )
    side, left, top = 84, 112, 92
    bottom, end = top + 3 * side, left + 3 * side
    drawing.text(left + 1.5 * side, 28, "predicted", face="bold")
    drawing.text(24, 66, "true", face="bold", anchor="start")
    for i, (label, row) in enumerate(zip(CLASSES, COUNTS.tolist(), strict=True)):
        drawing.text(left + (i + 0.5) * side, 64, label)
        drawing.text(left - 16, top + (i + 0.5) * side, label, anchor="end")
        for j, count in enumerate(row):
            fill, face = (PALE_GREEN, "bold") if i == j else (WHITE, "regular")
            x, y = left + j * side, top + i * side
            drawing.box(x, y, side, side, str(count), fill=fill, radius=0, line=1.5, face=face)
    x, y = left + FOLLOWED * side, top + FOLLOWED * side
    drawing.box(x + 6, top - 7, side - 12, 3 * side + 14, fill="none", stroke=BLUE, line=5, dash="11 7")
    drawing.box(left - 7, y + 6, 3 * side + 14, side - 12, fill="none", stroke=ORANGE, line=5)
    column, middle = end + 62, y + side / 2
    drawing.arrow((end + 14, middle), (column - 12, middle), stroke=ORANGE)
    found = f"{hits} found: {hits} / {true} = {hits / true:.2f}"
    _word(drawing, column, middle, f"recall of {name}", f"{true} true {name}s,\n{found}")
    x, below = x + side / 2, bottom + 66
    drawing.arrow((x, bottom + 14), (x, below), (column - 12, below), stroke=BLUE)
    are = f"{hits} are: {hits} / {predicted} = {hits / predicted:.2f}"
    _word(drawing, column, below, f"precision of {name}", f"{predicted} called {name},\n{are}")
    drawing.box(column, 32, 24, 24, fill=PALE_GREEN, radius=3, line=1.5)
    _word(drawing, column + 36, 74, "right: accuracy", f"{right} / {total} = {right / total:.2f}")
    return drawing


def _word(drawing: Drawing, x: float, y: float, word: str, lines: str) -> None:
    drawing.text(x, y - 30, word, anchor="start", face="bold")
    drawing.text(x, y + 14 * lines.count("\n"), lines, size=SMALL, anchor="start")


def roc() -> Drawing:
    """Draw a threshold at three places between two heaps of scores, and its points on the ROC curve."""
    points = [_rates(threshold) for threshold in THRESHOLDS]
    drawing = Drawing(
        "A threshold that moves along a ROC curve",
        "Two heaps of scores overlap, steak to the right of the others; what lies right of a threshold is called "
        "steak. As the threshold moves from right to left, its point on the ROC curve moves up from the lower left: "
        "more steaks found, more false alarms.",
        500,
    )
    for i, threshold in enumerate(THRESHOLDS):
        _heaps(drawing, 78, 146 + 134 * i, threshold, str(i + 1))
    drawing.text(118, 40, "others", size=SMALL)
    drawing.text(228, 40, "steak", size=SMALL, face="bold")
    drawing.text(78 + 260 * THRESHOLDS[1], 308, "threshold", size=SMALL, anchor="end")
    drawing.text(86 + 260 * THRESHOLDS[1], 308, "→ called steak", size=SMALL, anchor="start")
    drawing.text(208, 466, "score: how steak-like", size=SMALL, colour=MUTED)
    left, bottom, side = 420, 414, 250

    def place(false_alarms: float, found: float) -> Point:
        return left + side * false_alarms, bottom - side * found

    drawing.path([place(0, 1), place(1, 1), place(1, 0)], stroke=LINE, line=1.5)
    drawing.path([place(0, 0), place(1, 1)], stroke=LINE, line=2, dash="3 7")
    drawing.path([place(0, 1.06), place(0, 0), place(1.04, 0)])
    curve = [place(*_rates(threshold)) for threshold in np.linspace(1.2, -0.2, 71).tolist()]
    drawing.path(curve, stroke=BLUE, line=5)
    for i, (false_alarms, found) in enumerate(points):
        x, y = place(false_alarms, found)
        drawing.disc(x, y, 16, fill=LEARNS, stroke=INK)
        drawing.text(x, y, str(i + 1), size=SMALL, face="bold")
    drawing.text(left - 10, bottom - side - 38, "steaks found", size=SMALL, anchor="start")
    drawing.text(left + side, bottom + 52, "false alarms", size=SMALL, anchor="end")
    drawing.text(left, bottom + 22, "0", size=SMALL)
    drawing.text(left + side, bottom + 22, "1", size=SMALL)
    drawing.text(left - 16, bottom - side, "1", size=SMALL)
    return drawing


def _rates(threshold: float) -> tuple[float, float]:
    """Return which shares of the others and of steak lie above a threshold."""
    return 1 - OTHERS.cdf(threshold), 1 - STEAK.cdf(threshold)


def _heaps(drawing: Drawing, left: float, base: float, threshold: float, name: str) -> None:
    def place(score: float, heap: NormalDist | None = None) -> Point:
        return left + 260 * score, base - (heap.pdf(score) * 26 if heap else 0)

    scores = np.linspace(0, 1, 51).tolist()
    above = [score for score in scores if score >= threshold]
    # the others' part lies on top, for it is the smaller one
    for heap, fill in ((STEAK, PALE_ORANGE), (OTHERS, GREY)):
        drawing.path([place(above[0]), *(place(score, heap) for score in above), place(1)], fill=fill, stroke=fill)
    for heap, stroke, dash in ((OTHERS, MUTED, "7 5"), (STEAK, RED, "")):
        drawing.path([place(score, heap) for score in scores], stroke=stroke, line=3, dash=dash)
    drawing.path([place(0), place(1)])
    x, _ = place(threshold)
    drawing.path([(x, base + 6), (x, base - 92)], line=4)
    drawing.disc(40, base - 40, 16, fill=LEARNS, stroke=INK)
    drawing.text(40, base - 40, name, size=SMALL, face="bold")
