"""Drawing of lesson 05: how a network learns from photos that nobody labelled."""

from tools.draw.style import BLUE, FROZEN, LEARNS, MUTED, ORANGE, SMALL, Drawing


def self_supervision() -> Drawing:
    """Draw DINO: a student learns to say of a crop what its own average, the teacher, says of another."""
    drawing = Drawing(
        "Learning without labels",
        "A photo is cropped twice: a small crop goes to a student network, a large one to a teacher, and the student "
        "learns to say what the teacher says. The teacher is a moving average of the student; there is no label.",
        392,
    )
    drawing.photo(26, 110, 150)
    drawing.text(101, 286, "one photo,", size=SMALL)
    drawing.text(101, 312, "no label", size=SMALL, face="bold")
    for y, (left, top, side), name, fill, colour, dash, size, said in (
        (82, (56, 12, 40), "student", LEARNS, ORANGE, "", 76, (0.35, 0.5, 0.3, 0.2)),
        (308, (6, 22, 74), "teacher", FROZEN, BLUE, "8 5", 112, (0.15, 0.9, 0.3, 0.1)),
    ):
        crop = {"fill": "none", "stroke": colour, "radius": 0, "line": 4, "dash": dash}
        drawing.box(26 + 1.5 * left, 110 + 1.5 * top, 1.5 * side, 1.5 * side, **crop)
        drawing.photo(286 - size / 2, y - size / 2, size, (left, top, side))
        drawing.box(286 - size / 2, y - size / 2, size, size, **crop)
        drawing.arrow((184, 185 + 0.3 * (y - 185)), (286 - size / 2 - 8, y))
        drawing.arrow((294 + size / 2, y), (382, y))
        drawing.box(390, y - 38, 116, 76, name, fill=fill)
        drawing.arrow((514, y), (540, y))
        for i, height in enumerate(said):
            drawing.box(552 + 30 * i, y + 38 - 76 * height, 26, 76 * height, fill=colour, stroke=None, radius=0)
        drawing.path([(548, y + 38), (674, y + 38)])
    drawing.arrow((448, 128), (448, 262), dash="7 6")
    drawing.text(436, 195, "moving\naverage", size=SMALL, anchor="end", colour=MUTED)
    drawing.arrow((661, 284), (661, 130))
    drawing.text(649, 180, "learns\nto say this", size=SMALL, anchor="end", colour=MUTED)
    return drawing
