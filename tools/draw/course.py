"""The map of the course, for notebooks/README.md."""

from tools.draw.style import MUTED, PALE_BLUE, PALE_GREEN, PALE_ORANGE, PALE_PURPLE, SMALL, Drawing

FIRST = (("00", "Quickstart"), ("01", "Data and\ntransforms"), ("02", "Transfer\nlearning"), ("03", "Pay once"))
LATER = (
    (("04", "A ViT from\nscratch"), ("05", "A ViT as\nbackbone")),
    (("06", "Fine-tuning"), ("08", "Scaling up")),
    (("07", "How good is\nit, really?"),),
)


def course_map() -> Drawing:
    """Draw the lessons and which needs which."""
    drawing = Drawing(
        "The lessons, and which needs which",
        "Lessons 00, 01, 02 and 03 follow one another. From 03 three ways lead on, in any order: to 04 and then 05, to "
        "06 and then 08, to 07.",
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
    drawing.text(140, branch + 31, "then, in any order", size=SMALL, anchor="start", colour=MUTED)
    for i, way in enumerate(LATER):
        centre = 120 + i * 230
        drawing.arrow((last, top + 100), (last, branch), (centre, branch), (centre, branch + 60))
        for j, lesson in enumerate(way):
            y = branch + 62 + j * 132
            _lesson(drawing, centre - 80, y, 160, lesson, (PALE_BLUE, PALE_GREEN, PALE_PURPLE)[i])
            if j:
                drawing.arrow((centre, y - 32), (centre, y - 2))
    return drawing


def _lesson(drawing: Drawing, x: float, y: float, width: float, lesson: tuple[str, str], fill: str) -> None:
    drawing.box(x, y, width, 100, fill=fill)
    number, name = lesson
    drawing.text(x + width / 2, y + 22, number, face="bold")
    drawing.text(x + width / 2, y + 63, name, size=SMALL)
