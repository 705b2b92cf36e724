"""Drawings of lesson 09: a burst that a split tears apart, and where a shortcut comes from."""

from collections.abc import Sequence

from tools.draw.style import (
    BLUE,
    GREEN,
    INK,
    MUTED,
    PALE,
    PALE_BLUE,
    PALE_GREEN,
    PALE_ORANGE,
    RED,
    SMALL,
    WHITE,
    Drawing,
)

SIDE, GAP, EDGE = 52, 8, 14  # of a photo, between photos, and around them
WOODS = {1: PALE_ORANGE, 2: PALE_BLUE, 3: PALE, 4: PALE_GREEN}  # the table of each plate
BURSTS = (1, 1, 1, 2, 2, 3, 4, 4)  # the plate that each photo shows
BY_PHOTO = (1, 1, 2, 3, 4), (1, 2, 4)  # training and test
BY_PLATE = (1, 1, 1, 4, 4), (2, 2, 3)

DISHES = ("pizza", "steak", "sushi")
PLACES = {"kitchen": PALE_ORANGE, "garden": PALE_GREEN, "office": PALE_BLUE}
PHOTOS, CELL = 60, 78  # photos of a dish; units, a side of a cell


def burst() -> Drawing:
    """Draw eight photos of four plates, dealt out one by one and then plate by plate."""
    leaked = len([plate for plate in BY_PHOTO[1] if plate in BY_PHOTO[0]])
    drawing = Drawing(
        "A burst that a split tears apart",
        f"Eight photos show four plates. Dealt out photo by photo, all {leaked} test photos show plates that are in "
        "training, too; dealt out plate by plate, none does.",
        512,
    )
    drawing.text(350, 28, "eight photos, four plates", face="bold")
    left = (700 - len(BURSTS) * (SIDE + GAP) + GAP) / 2
    for i, plate in enumerate(BURSTS):
        _photo(drawing, left + i * (SIDE + GAP), 50, plate)
    for top, how, parts, verdict, colour in (
        (168, "photo by photo", BY_PHOTO, f"all {leaked} were learned: a leak", RED),
        (340, "plate by plate", BY_PLATE, "none was learned", GREEN),
    ):
        drawing.text(24, top - 26, f"dealt out {how}", anchor="start", face="bold")
        _part(drawing, 24, top, "training", parts[0], PALE_BLUE, parts[1])
        x = _part(drawing, 424, top, "test", parts[1], PALE_GREEN, parts[0])
        drawing.text(x, top + SIDE + 2 * EDGE + 50, verdict, size=SMALL, colour=INK, face="bold")
        drawing.path(
            [(x - 100, top + SIDE + 2 * EDGE + 68), (x + 100, top + SIDE + 2 * EDGE + 68)], stroke=colour, line=5
        )
    return drawing


def _part(
    drawing: Drawing, x: float, top: float, name: str, plates: Sequence[int], fill: str, others: Sequence[int]
) -> float:
    """Draw a part with its photos, those that the other part shows, too, in red; return its middle."""
    width = 2 * EDGE + len(plates) * (SIDE + GAP) - GAP
    drawing.box(x, top, width, SIDE + 2 * EDGE, fill=fill, radius=18)
    drawing.text(x + width / 2, top + SIDE + 2 * EDGE + 22, name, size=SMALL)
    for i, plate in enumerate(plates):
        _photo(drawing, x + EDGE + i * (SIDE + GAP), top + EDGE, plate, is_shared=plate in others)
    return x + width / 2


def _photo(drawing: Drawing, x: float, y: float, plate: int, *, is_shared: bool = False) -> None:
    look = {"stroke": RED, "line": 5} if is_shared else {"stroke": INK, "line": 1.5}
    drawing.box(x, y, SIDE, SIDE, fill=WOODS[plate], radius=4, **look)
    drawing.disc(x + SIDE / 2, y + SIDE / 2, 19, fill=WHITE, stroke=MUTED)
    drawing.text(x + SIDE / 2, y + SIDE / 2, str(plate), size=SMALL)


def shortcut() -> Drawing:
    """Draw which dish is photographed where: each in a place of its own, and each everywhere."""
    each = PHOTOS // len(PLACES)
    drawing = Drawing(
        "Where a shortcut comes from",
        f"Left, all {PHOTOS} photos of a dish come from one place of its own, so the place tells the dish. Right, each "
        f"dish has {each} photos from each of three places, and only the dish tells.",
        428,
    )
    for left, title, verdict, colour in (
        (98, "one place each", "the place tells the dish", RED),
        (444, "three places each", "only the dish tells", GREEN),
    ):
        crossed = left > 300
        middle = left + CELL * len(PLACES) / 2
        drawing.text(middle, 34, title, face="bold")
        for column, (place, fill) in enumerate(PLACES.items()):
            drawing.text(left + (column + 0.5) * CELL, 78, place, size=SMALL)
            for row, dish in enumerate(DISHES):
                x, y = left + column * CELL, 98 + row * CELL
                is_there = crossed or row == column
                drawing.box(x, y, CELL, CELL, fill=fill if is_there else WHITE, radius=0, line=1.5)
                if is_there:
                    drawing.disc(x + CELL / 2, y + CELL / 2, 25, fill=WHITE, stroke=BLUE)
                    drawing.text(x + CELL / 2, y + CELL / 2, str(each if crossed else PHOTOS))
                if not column:
                    drawing.text(left - 10, y + CELL / 2, dish, size=SMALL, anchor="end")
        bottom = 98 + CELL * len(DISHES)
        drawing.text(middle, bottom + 36, verdict, face="bold")
        drawing.path([(middle - 110, bottom + 60), (middle + 110, bottom + 60)], stroke=colour, line=5)
    return drawing
