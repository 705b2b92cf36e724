"""Drawing of lesson 03: the usual loop against paying once, to the scale of what was measured."""

import json
from pathlib import Path

from tools.draw.style import FROZEN, LEARNS, MUTED, SMALL, WHITE, Drawing

MEASURED = Path(__file__).resolve().parents[2] / "benchmarks" / "results" / "bench_train.json"
MODEL, PRECISION = "efficientnet_lite0", "fp32"  # in which the usual loop computes, too
EPOCHS = 5  # as measured
LEFT, LENGTH = 26, 644


def pay_once() -> Drawing:
    """Draw five epochs of the usual loop and of ours, to the scale of the seconds that benchmarks/ measured."""
    rows = json.loads(MEASURED.read_text(encoding="utf-8"))["rows"]
    row = next(row for row in rows if (row["model"], row["precision"]) == (MODEL, PRECISION))
    usual, ours, epoch, ours_epoch = (row[key] for key in ("usual_s", "ours_s", "epoch_usual_s", "epoch_ours_s"))
    drawing = Drawing(
        "Paying once",
        f"Two timelines of {EPOCHS} epochs, to scale: the usual loop runs the backbone in each and takes {usual:.1f} "
        f"seconds; paying once, the backbone runs once and all takes {ours:.1f}. One more epoch takes {epoch:.1f} "
        f"seconds or {ours_epoch:.3f}.",
        416,
    )
    scale = LENGTH / usual
    top, below, height = 58, 200, 46
    _title(drawing, 34, "usual loop", "the backbone in every epoch", usual)
    drawing.box(LEFT, top, usual * scale, height, fill=WHITE, radius=3)
    for i in range(EPOCHS):
        x = LEFT + (usual - (EPOCHS - i) * epoch) * scale
        drawing.box(x, top, epoch * scale, height, f"epoch {i + 1}", fill=FROZEN, radius=3)
    for seconds in range(0, int(usual) + 1, 5):
        x = LEFT + seconds * scale
        drawing.path([(x, top + height + 3), (x, top + height + 12)], line=2)
        drawing.text(x, top + height + 28, f"{seconds} s" if seconds else "0", size=SMALL, colour=MUTED)
    _title(drawing, below - 24, "pay once", "the backbone once, then the head", ours)
    once = (ours - EPOCHS * ours_epoch) * scale
    drawing.box(LEFT, below, once, height, fill=FROZEN, radius=3)
    drawing.box(LEFT + ours * scale, below, (usual - ours) * scale, height, "saved", fill="none", radius=3, dash="6 6")
    drawing.path([(LEFT + once, below - 4), (LEFT + once, below + height + 4)], stroke=LEARNS, line=4)
    _lens(drawing, LEFT + once, below + height + 6, EPOCHS * ours_epoch, scale)
    for x, fill, name in ((60, WHITE, "start"), (190, FROZEN, "backbone"), (370, LEARNS, "head")):
        drawing.squares(x, 374, [fill], side=24)
        drawing.text(x + 34, 386, name, anchor="start")
    return drawing


def _title(drawing: Drawing, y: float, name: str, note: str, seconds: float) -> None:
    drawing.text(LEFT, y, name, anchor="start", face="bold")
    drawing.text(LEFT + 150, y, note, size=SMALL, anchor="start", colour=MUTED)
    drawing.text(LEFT + LENGTH, y, f"{seconds:.1f} s", anchor="end", face="bold")


def _lens(drawing: Drawing, x: float, y: float, seconds: float, scale: float) -> None:
    """Draw the epochs of the head, which are too short to be seen, enlarged."""
    left, width, top, height = 200, 320, 296, 46
    times = round(width / (seconds * scale), -2)
    drawing.path([(left, top), (x, y), (left + width, top)], line=1.5, dash="5 5")
    for i in range(EPOCHS):
        part = width / EPOCHS
        drawing.box(left + i * part, top, part, height, str(i + 1), fill=LEARNS, radius=3)
    drawing.text(left - 14, top + height / 2, f"{times:.0f} times\nas wide", size=SMALL, anchor="end", colour=MUTED)
    drawing.text(left + width + 14, top + height / 2, f"{seconds:.2f} s", anchor="start", face="bold")
