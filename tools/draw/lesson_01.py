"""Drawing of lesson 01: images in three parts, and a leak between two of them."""

from tools.draw.style import (
    INK,
    LINE,
    PALE_BLUE,
    PALE_GREEN,
    PALE_PURPLE,
    RED,
    SMALL,
    WHITE,
    Drawing,
)

SIDE, GAP, EDGE = 56, 8, 14  # of a table, between tables, and around them
WOOD = "#e6cfa8"
PARTS = (
    ("training", "learn", PALE_BLUE, 4, (1, 2, 3, 4, 5, 6, 7, 8)),
    ("validation", "choose", PALE_PURPLE, 2, (9, 10, 11, 12)),
    ("test", "report, once", PALE_GREEN, 2, (13, 14, 15, 16)),
)
LEAKED = 3


def splits() -> Drawing:
    """Draw tables, each with the dishes on it, in three parts; then one table in two parts."""
    drawing = Drawing(
        "Three parts, and a leak",
        "Photos are split by the table that they show: training, validation and test have tables of their own. Below, "
        f"crossed out, photos of table {LEAKED} are in training and in test: a leak.",
        462,
    )
    x = 24
    for name, purpose, fill, columns, tables in PARTS:
        width, height = (2 * EDGE + count * (SIDE + GAP) - GAP for count in (columns, 2))
        drawing.box(x, 52, width, height, fill=fill, radius=18)
        drawing.text(x + width / 2, 30, name, face="bold")
        drawing.text(x + width / 2, 52 + height + 22, purpose, size=SMALL)
        for i, table in enumerate(tables):
            row, column = divmod(i, columns)
            _table(drawing, x + EDGE + column * (SIDE + GAP), 52 + EDGE + row * (SIDE + GAP), table)
        x += width + 40
    drawing.path([(24, 262), (676, 262)], stroke=LINE, line=1.5)
    _leak(drawing, 318)
    return drawing


def _table(drawing: Drawing, x: float, y: float, number: int, line: float = 1.5) -> None:
    """Draw a table with three dishes and its number."""
    drawing.box(x, y, SIDE, SIDE, fill=WOOD, radius=6, line=line)
    for i in range(3):
        drawing.disc(x + SIDE / 2 + 17 * (i - 1), y + 15, 7, fill=WHITE, stroke=INK)
    drawing.text(x + SIDE / 2, y + 39, str(number), size=SMALL)


def _leak(drawing: Drawing, y: float) -> None:
    width = 2 * EDGE + 2 * (SIDE + GAP) - GAP
    centres = []
    for x, (name, _, fill, _, tables) in ((90, PARTS[0]), (456, PARTS[2])):
        drawing.box(x, y, width, SIDE + 2 * EDGE, fill=fill, radius=18)
        drawing.text(x + width / 2, y - 22, name, face="bold")
        left = x > 300  # the leaked table is on the side of the other part
        for place, table in ((not left, LEAKED), (left, tables[0])):
            where = x + EDGE + place * (SIDE + GAP)
            _table(drawing, where, y + EDGE, table, line=4 if table == LEAKED else 1.5)
            if table == LEAKED:
                centres.append(where + SIDE / 2)
    middle = y + EDGE + SIDE / 2
    drawing.path([(centres[0] + SIDE / 2, middle), (centres[1] - SIDE / 2, middle)], stroke=RED, line=6)
    for sign in (-1, 1):
        drawing.path([(350 - 30, middle - 30 * sign), (350 + 30, middle + 30 * sign)], stroke=RED, line=9)
    drawing.text(350, y + SIDE + 2 * EDGE + 28, f"a leak: table {LEAKED} in both")
