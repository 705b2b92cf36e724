"""Drawings of lesson 06: what learns, how fast, and when to stop."""

from tools.draw.style import (
    BLUE,
    FROZEN,
    INK,
    LEARNS,
    MUTED,
    PALE,
    RED,
    SMALL,
    Drawing,
)

BLOCKS = 12  # of ViT-S/14
DECAY = 0.9  # what fine_tune.py takes without a flag
TRAINING = (0.98, 0.72, 0.55, 0.43, 0.35, 0.285, 0.235, 0.195, 0.165, 0.14)
VALIDATION = (1.04, 0.82, 0.68, 0.60, 0.545, 0.52, 0.54, 0.53, 0.565, 0.585)
PATIENCE = 4


def what_learns() -> Drawing:
    """Draw which blocks learn and which are frozen, by recipe."""
    drawing = Drawing(
        "What learns in each recipe",
        f"{BLOCKS} blocks and a head, a row for each recipe: with head only the head learns, with last-2 the last two "
        "blocks as well, with all everything. With head-then-all the head learns first, and then everything.",
        408,
    )
    left, side, gap, y = 252, 27, 3, 68
    end = left + BLOCKS * (side + gap)
    drawing.text(left, 38, f"blocks 1 to {BLOCKS}", size=SMALL, anchor="start", colour=MUTED)
    drawing.text(end + 37, 38, "head", size=SMALL, colour=MUTED)
    for name, stage, learning in (
        ("head", "", 0),
        ("last-2", "", 2),
        ("all", "", BLOCKS),
        ("head-then-all", "1st", 0),
        ("", "2nd", BLOCKS),
    ):
        if name:
            drawing.text(24, y + side / 2, name, anchor="start", face="bold")
        if stage:
            drawing.text(left - 10, y + side / 2, stage, size=SMALL, anchor="end", colour=MUTED)
        drawing.squares(left, y, [FROZEN] * (BLOCKS - learning) + [LEARNS] * learning, side=side, gap=gap)
        drawing.box(end + 14, y, 46, side, fill=LEARNS, line=1.5, radius=14)
        y += 44 if stage else 58
    for x, fill, meaning in ((left, LEARNS, "learns"), (left + 160, FROZEN, "frozen")):
        drawing.squares(x, y + 22, [fill], side=side)
        drawing.text(x + side + 12, y + 22 + side / 2, meaning, anchor="start")
    return drawing


def layer_rates() -> Drawing:
    """Draw learning rates that fall from the last block to the first."""
    rates = [DECAY ** (BLOCKS - 1 - block) for block in range(BLOCKS)]
    drawing = Drawing(
        "Learning rates by block",
        f"Bars for the learning rates of {BLOCKS} blocks: the last block has the full rate, each block before it "
        f"{DECAY} times that of the block after it, and the first {rates[0]:.2f} of it. The head has its own rate.",
        400,
    )
    left, pitch, width, base, full = 44, 44, 32, 312, 220
    for block, rate in enumerate(rates):
        x = left + block * pitch
        drawing.box(x, base - full * rate, width, full * rate, fill=LEARNS, radius=2, line=1.5)
        drawing.text(x + width / 2, base + 22, str(block + 1), size=SMALL)
    tops = [(left + block * pitch + width / 2, base - full * rates[block] - 18) for block in range(10, 0, -1)]
    drawing.arrow(*tops)
    drawing.text(left + width / 2, base - full * rates[0] - 18, f"{rates[0]:.2f}", size=SMALL)
    drawing.text(32, 34, "learning rate", anchor="start", colour=MUTED)
    drawing.text(220, 106, f"each block: {DECAY} times\nthe rate of the next")
    drawing.text(left + 11 * pitch + width / 2, base - full - 20, "1.00", size=SMALL)
    head = left + BLOCKS * pitch + 24
    drawing.box(head, base - full, 46, full, fill=PALE, radius=2, dash="6 5")
    drawing.text(head + 23, base + 22, "head", size=SMALL)
    drawing.text(head + 23, base - full - 46, "own rate", size=SMALL)
    drawing.path([(left - 12, base), (head + 62, base)])
    drawing.text(left, base + 58, "first block", anchor="start", colour=MUTED)
    drawing.text(left + 11 * pitch + width, base + 58, "last block", anchor="end", colour=MUTED)
    return drawing


def early_stopping() -> Drawing:
    """Draw the losses of a run that stops early."""
    best = min(range(len(VALIDATION)), key=VALIDATION.__getitem__) + 1
    stop = best + PATIENCE
    drawing = Drawing(
        "Early stopping",
        f"Training loss falls epoch by epoch; validation loss falls until epoch {best} and then rises. Training stops "
        f"after epoch {stop}, {PATIENCE} epochs after the best one, and the weights of epoch {best} are kept.",
        438,
    )
    bottom, top = 348, 50

    def place(epoch: float, loss: float) -> tuple[float, float]:
        return 40 + 58 * epoch, bottom - 272 * loss

    (x_best, y_best), (x_stop, _) = place(best, min(VALIDATION)), place(stop, 0)
    drawing.box(x_best, top, x_stop - x_best, bottom - top, fill=PALE, stroke=None, radius=0)
    drawing.path([(x_stop, bottom), (x_stop, top)], stroke=INK, line=3)
    drawing.path([(x_best, bottom), (x_best, y_best)], stroke=MUTED, line=2, dash="3 6")
    drawing.path([(60, top), (60, bottom), (676, bottom)])
    for losses, colour, dash, square in ((TRAINING, BLUE, "", False), (VALIDATION, RED, "9 7", True)):
        points = [place(epoch, loss) for epoch, loss in enumerate(losses, start=1)]
        drawing.path(points, stroke=colour, line=4, dash=dash)
        for x, y in points:
            if square:
                drawing.box(x - 6, y - 6, 12, 12, fill=colour, stroke=None, radius=0)
            else:
                drawing.disc(x, y, 6, fill=colour)
    drawing.disc(x_best, y_best, 13, fill="none", stroke=INK)
    for epoch in range(1, stop + 1):
        drawing.text(place(epoch, 0)[0], bottom + 24, str(epoch), size=SMALL)
    drawing.text(350, bottom + 60, "epoch", colour=MUTED)
    drawing.text(36, 30, "loss", anchor="start", colour=MUTED)
    drawing.text(172, 104, "validation", face="bold", anchor="start")
    drawing.text(78, 236, "training", face="bold", anchor="start")
    drawing.text(x_best - 14, 304, "best: keep\nthese weights", anchor="end")
    drawing.text((x_best + x_stop) / 2, 84, f"patience: {PATIENCE}\nepochs no better")
    drawing.text(x_stop + 10, 66, "stop", anchor="start", face="bold")
    return drawing
