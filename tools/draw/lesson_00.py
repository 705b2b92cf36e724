"""Drawing of lesson 00: what happens to an image on its way to three probabilities."""

from math import exp

from tools.draw.style import BLUE, FROZEN, LEARNS, MUTED, PALE, PALE_BLUE, PALE_GREEN, PALE_ORANGE, SMALL, Drawing

IMAGE = 224  # pixels a side
FEATURES = 1280  # of EfficientNet-Lite0
LOGITS = {"pizza": 2.1, "steak": 0.2, "sushi": -0.6}


def pipeline() -> Drawing:
    """Draw the way from an image to its probabilities, with the shapes of EfficientNet-Lite0."""
    shape = f"3 × {IMAGE} × {IMAGE}"
    drawing = Drawing(
        "From an image to probabilities",
        f"An image passes a transform, which makes {shape} numbers of it, and a frozen backbone, which makes "
        f"{FEATURES:,} features of those. A head, which learns, makes {len(LOGITS)} logits of the features, and "
        f"softmax {len(LOGITS)} probabilities that sum to 1.",
        456,
    )
    middle, names = 92, 178
    drawing.photo(26, middle - 60, 120)
    drawing.text(86, names, "image")
    drawing.arrow((154, middle), (192, middle))
    drawing.box(200, middle - 32, 124, 64, "transform", fill=PALE)
    drawing.arrow((332, middle), (366, middle))
    for i, fill in enumerate((PALE_BLUE, PALE_GREEN, PALE_ORANGE)):
        drawing.box(376 + 12 * i, middle - 52 + 12 * i, 80, 80, fill=fill, radius=2)
    drawing.text(416, names, shape, face="bold")
    drawing.arrow((488, middle), (524, middle))
    drawing.box(532, middle - 46, 128, 92, "backbone", fill=FROZEN)
    drawing.text(596, names, "frozen", colour=MUTED)
    drawing.arrow((660, middle), (676, middle), (676, 222), (92, 222), (92, 272))
    _head(drawing, 306)
    return drawing


def _head(drawing: Drawing, middle: float) -> None:
    names = middle + 96
    drawing.squares(26, middle - 13, [PALE_BLUE] * 3, side=26)
    drawing.text(117, middle, "…")
    drawing.squares(132, middle - 13, [PALE_BLUE], side=26)
    drawing.text(92, names, f"{FEATURES:,}\nfeatures", face="bold")
    drawing.arrow((166, middle), (200, middle))
    drawing.box(208, middle - 38, 92, 76, "head", fill=LEARNS)
    drawing.text(254, names, "learns", colour=MUTED)
    drawing.arrow((308, middle), (336, middle))
    total = sum(map(exp, LOGITS.values()))
    for i, (name, logit) in enumerate(LOGITS.items()):
        y, probability = middle + 40 * (i - 1), exp(logit) / total
        drawing.box(344, y - 20, 70, 40, f"{logit:.1f}".replace("-", "−"), radius=2)
        drawing.text(516, y, name, size=SMALL, anchor="start")
        drawing.box(580, y - 13, 52 * probability, 26, fill=BLUE, stroke=None, radius=2)
        drawing.text(588 + 52 * probability, y, f"{probability:.2f}", size=SMALL, anchor="start")
    drawing.text(379, names, f"{len(LOGITS)}\nlogits", face="bold")
    drawing.arrow((422, middle), (506, middle))
    drawing.text(462, middle - 22, "softmax", size=SMALL, colour=MUTED)
    drawing.text(588, names, f"{len(LOGITS)} probabilities", face="bold")
    drawing.text(588, names + 28, "sum: 1", colour=MUTED)
