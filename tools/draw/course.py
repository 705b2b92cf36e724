"""The map of the course, for notebooks/README.md."""

from tools.draw.style import MUTED, PALE_BLUE, PALE_GREEN, PALE_ORANGE, PALE_PURPLE, SMALL, Drawing

FIRST = (("00", "Quickstart"), ("01", "Data and\ntransforms"), ("02", "Transfer\nlearning"), ("03", "Pay once"))
LATER = (
    (("04", "A ViT from\nscratch"), ("05", "A ViT as\nbackbone")),
    (("06", "Fine-tuning"), ("08", "Scaling up")),
    (("07", "How good is\nit, really?"), ("09", "Your own\ndata")),
    (("10", "Ship it"),),
)


def course_map() -> Drawing:
    """Draw the lessons and which needs which."""
    drawing = Drawing(
        "The lessons, and which needs which",
        "Lessons 00, 01, 02 and 03 follow one another. From 03 three ways lead on, in any order: to 04 and then 05, to "
        "06 and then 08, to 07 and then 09 or 10.",
        506,
    )
    width, top, pitch, branch = 148, 56, 168, 184
    drawing.text(24, 32, "first, in this order", size=SMALL, anchor="start", colour=MUTED)
    for i, lesson in enumerate(FIRST):
        x = 24 + i * pitch
        _lesson(drawing, x, top, width, lesson, PALE_ORANGE)
        if i:
            drawing.arrow((x - pitch + width + 1, top + 50), (x - 2, top + 50))
    last = 24 + 3 * pitch + width / 2
    drawing.text(452, branch + 31, "then, in any order", size=SMALL, anchor="start", colour=MUTED)
    for i, way in enumerate(LATER):
        x, centre = 24 + i * pitch, 24 + i * pitch + width / 2
        rows = (0, 1) if i < 3 else (1,)  # 10 stands beside 09
        for row, lesson in zip(rows, way, strict=True):
            y = branch + 62 + row * 132
            fill = (PALE_BLUE, PALE_GREEN, PALE_PURPLE, PALE_PURPLE)[i]
            _lesson(drawing, x, y, width, lesson, fill)
            if i == 3:
                drawing.arrow((x - pitch + width, y - 82), (centre, y - 82), (centre, y - 2))
            elif row:
                drawing.arrow((centre, y - 32), (centre, y - 2))
            else:
                drawing.arrow((last, top + 100), (last, branch), (centre, branch), (centre, y - 2))
    return drawing


def _lesson(drawing: Drawing, x: float, y: float, width: float, lesson: tuple[str, str], fill: str) -> None:
    drawing.box(x, y, width, 100, fill=fill)
    number, name = lesson
    drawing.text(x + width / 2, y + 22, number, face="bold")
    drawing.text(x + width / 2, y + 63, name, size=SMALL)
