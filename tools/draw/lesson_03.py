"""Drawings of lesson 03: the usual loop against paying once, to the scale of what was measured; cross-validation."""

import json
from pathlib import Path

from tools.draw.style import (
    FROZEN,
    INK,
    LEARNS,
    MUTED,
    PALE_BLUE,
    PALE_GREEN,
    PALE_PURPLE,
    SMALL,
    WHITE,
    Drawing,
)

MEASURED = Path(__file__).resolve().parents[2] / "benchmarks" / "results" / "bench_train.json"
MODEL, PRECISION = "efficientnet_lite0", "fp32"  # in which the usual loop computes, too
EPOCHS = 5  # as measured
LEFT, LENGTH = 26, 644
ROUNDS = 5


def pay_once() -> Drawing:
    """Draw five epochs of the plain loop, of it tuned, and of ours, to the scale of the seconds that were measured."""
    rows = json.loads(MEASURED.read_text(encoding="utf-8"))["rows"]
    row = next(row for row in rows if (row["model"], row["precision"]) == (MODEL, PRECISION))
    usual, tuned, ours = (row[f"{name}_s"] for name in ("usual", "tuned", "ours"))
    epoch, tuned_epoch, ours_epoch = (row[f"epoch_{name}_s"] for name in ("usual", "tuned", "ours"))
    drawing = Drawing(
        "Paying once",
        f"Timelines of {EPOCHS} epochs, to scale: the plain loop runs the backbone in each and takes {usual:.1f} "
        f"seconds, or {tuned:.1f} if it is tuned; paying once, the backbone runs once and all takes {ours:.1f}. One "
        f"more epoch takes {epoch:.1f}, {tuned_epoch:.1f} or {ours_epoch:.3f} seconds.",
        516,
    )
    scale = LENGTH / usual
    top, between, below, height = 58, 192, 300, 46
    _title(drawing, 34, "plain loop", "the backbone in every epoch", usual)
    _epochs(drawing, top, height, usual, epoch, scale)
    _title(drawing, between - 24, "tuned", "memory laid out well, and kept", tuned)
    _epochs(drawing, between, height, tuned, tuned_epoch, scale)
    for seconds in range(0, int(usual) + 1, 5):
        x = LEFT + seconds * scale
        drawing.path([(x, top + height + 3), (x, top + height + 12)], line=2)
        drawing.text(x, top + height + 28, f"{seconds} s" if seconds else "0", size=SMALL, colour=MUTED)
    _title(drawing, below - 24, "pay once", "the backbone once, then the head", ours)
    once = (ours - EPOCHS * ours_epoch) * scale
    drawing.box(LEFT, below, once, height, fill=FROZEN, radius=3)
    for start, end, label in ((ours, tuned, "saved"), (tuned, usual, "saved by tuning alone")):
        drawing.box(
            LEFT + start * scale, below, (end - start) * scale, height, label, fill="none", radius=3, dash="6 6"
        )
    drawing.path([(LEFT + once, below - 4), (LEFT + once, below + height + 4)], stroke=LEARNS, line=4)
    _lens(drawing, LEFT + once, below + height + 6, EPOCHS * ours_epoch, scale)
    for x, fill, name in ((44, WHITE, "the rest"), (186, FROZEN, "an epoch; or rest and pass"), (540, LEARNS, "head")):
        drawing.squares(x, 474, [fill], side=24)
        drawing.text(x + 34, 486, name, anchor="start")
    return drawing


def cross_validation() -> Drawing:
    """Draw the rounds of a cross-validation: which part of the training images validates, and the test part apart."""
    drawing = Drawing(
        "Cross-validation",
        f"The training images are cut into {ROUNDS} parts, whole tables in each, and in each of {ROUNDS} rounds "
        "another part validates while the others train, which gives a score. The mean of the scores counts, and the "
        "test part stays closed.",
        404,
    )
    left, width, height, gap = 80, 87, 44, 4
    end = left + ROUNDS * (width + gap)
    drawing.text(45, 34, "round", size=SMALL)
    drawing.text(end + 31, 34, "score", size=SMALL)
    for part in range(ROUNDS):
        x = left + part * (width + gap)
        drawing.text(x + width / 2, 34, f"part {part + 1}", size=SMALL)
    for row in range(ROUNDS):
        y = 56 + row * (height + 14)
        drawing.text(45, y + height / 2, f"{row + 1}", size=SMALL)
        for part in range(ROUNDS):
            x = left + part * (width + gap)
            validates = part == row
            label, fill, ink, line = (
                ("validate", PALE_PURPLE, INK, 3) if validates else ("train", PALE_BLUE, MUTED, 1.5)
            )
            drawing.box(x, y, width, height, fill=fill, radius=6, line=line)
            drawing.text(x + width / 2, y + height / 2, label, size=SMALL, colour=ink)
        drawing.text(end + 31, y + height / 2, f"s{row + 1}", size=SMALL)
    bottom = 56 + ROUNDS * (height + 14)
    drawing.text(left + (ROUNDS * (width + gap) - gap) / 2, bottom + 26, "training images, cut by table", face="bold")
    drawing.text(end + 31, bottom + 26, "mean", face="bold")
    drawing.box(604, 56, 80, bottom - 70, "test\npart,\nclosed", fill=PALE_GREEN, radius=12, dash="7 6")
    return drawing


def _epochs(drawing: Drawing, y: float, height: float, seconds: float, epoch: float, scale: float) -> None:
    """Draw a run: its epochs, and what is left of its time."""
    drawing.box(LEFT, y, seconds * scale, height, fill=WHITE, radius=3)
    for i in range(EPOCHS):
        x = LEFT + (seconds - (EPOCHS - i) * epoch) * scale
        name = f"epoch {i + 1}" if epoch * scale > 90 else f"{i + 1}"
        drawing.box(x, y, epoch * scale, height, name, fill=FROZEN, radius=3)


def _title(drawing: Drawing, y: float, name: str, note: str, seconds: float) -> None:
    drawing.text(LEFT, y, name, anchor="start", face="bold")
    drawing.text(LEFT + 150, y, note, size=SMALL, anchor="start", colour=MUTED)
    drawing.text(LEFT + LENGTH, y, f"{seconds:.1f} s", anchor="end", face="bold")


def _lens(drawing: Drawing, x: float, y: float, seconds: float, scale: float) -> None:
    """Draw the epochs of the head, which are too short to be seen, enlarged."""
    left, width, top, height = 200, 320, 396, 46
    times = round(width / (seconds * scale), -2)
    drawing.path([(left, top), (x, y), (left + width, top)], line=1.5, dash="5 5")
    for i in range(EPOCHS):
        part = width / EPOCHS
        drawing.box(left + i * part, top, part, height, str(i + 1), fill=LEARNS, radius=3)
    drawing.text(left - 14, top + height / 2, f"{times:.0f} times\nas wide", size=SMALL, anchor="end", colour=MUTED)
    drawing.text(left + width + 14, top + height / 2, f"{seconds:.2f} s", anchor="start", face="bold")
