"""Drawings of lesson 10: what travels with a model, and the roads from a checkpoint to those who use it."""

from tools.draw.style import (
    BLUE,
    LEARNS,
    MUTED,
    PALE,
    PALE_BLUE,
    PALE_GREEN,
    PALE_ORANGE,
    PALE_PURPLE,
    Drawing,
)

# what a checkpoint holds, and what happens to answers where it is left behind
TRAVELS = (
    ("weights", "there is no model", LEARNS),
    ("class names, in order", "the right number, a wrong word", PALE_GREEN),
    ("transform", "no error, and wrong answers", PALE_BLUE),
    ("precision", "later digits differ", PALE),
    ("which images it knows", "it is tested on what it learned", PALE_PURPLE),
)
CHECKPOINT, MODEL, SCRIPT = "model.safetensors", "model.onnx", "predict_onnx.py"
BESIDE = ("upright.py", "grey.py", "tiles.py")  # what SCRIPT imports


def what_travels() -> Drawing:
    """Draw what stands in a checkpoint beside the weights, and what goes wrong without each."""
    rows = "; ".join(f"{name}: {loss}" for name, loss, _ in TRAVELS)
    drawing = Drawing(
        "What travels with a model",
        f"A checkpoint holds five things, and where one is left behind something goes wrong. These are {rows}.",
        88 + 62 * len(TRAVELS),
    )
    drawing.text(160, 34, "in the file", face="bold")
    drawing.text(520, 34, "left behind", face="bold")
    drawing.box(14, 58, 292, 62 * len(TRAVELS) + 12, fill="none", stroke=BLUE, line=3, radius=14)
    for i, (name, loss, fill) in enumerate(TRAVELS):
        y = 70 + 62 * i
        drawing.box(26, y, 268, 50, name, fill=fill)
        drawing.arrow((314, y + 25), (344, y + 25))
        drawing.text(354, y + 25, loss, size=20, anchor="start")
    return drawing


def roads_to_use() -> Drawing:
    """Draw the three roads that lead from a checkpoint to people: the app, a Space, a file without torch."""
    drawing = Drawing(
        "From a checkpoint to those who use it",
        f"train.py writes {CHECKPOINT}. From there app.py makes a page on your own computer and export.py --space a "
        f"folder for a page on the web, both with torch; export.py makes {MODEL}, and {SCRIPT} with "
        f"{len(BESIDE)} files beside it, which use it without torch.",
        458,
    )
    drawing.box(24, 30, 130, 62, "train.py", fill=PALE)
    drawing.arrow((162, 61), (207, 61))
    drawing.box(215, 30, 270, 62, CHECKPOINT, fill=LEARNS, face="bold")
    drawing.text(500, 61, "and metrics.json", size=20, anchor="start", colour=MUTED)
    roads = (
        ("app.py", "a page on your\nown computer", "torch", PALE_BLUE),
        ("export.py\n--space", "a folder: a page\non the web", "torch", PALE_BLUE),
        ("export.py", f"{MODEL},\n{SCRIPT}\nand {len(BESIDE)} beside it", "no torch", PALE_ORANGE),
    )
    for i, (command, made, needs, fill) in enumerate(roads):
        x, width = 24 + 222 * i, 208
        middle = x + width / 2
        drawing.arrow((350, 100), (350, 124), (middle, 124), (middle, 150))
        drawing.box(x, 158, width, 66, command, fill=PALE, face="bold")
        drawing.arrow((middle, 232), (middle, 256))
        drawing.box(x, 264, width, 112, made, fill=fill)
        drawing.text(middle, 402, "it runs with", size=20, colour=MUTED)
        drawing.text(middle, 430, needs, face="bold")
    return drawing
