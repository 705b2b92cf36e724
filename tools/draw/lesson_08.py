"""Drawings of lesson 08: two processes that train as one, and what training keeps in memory."""

import numpy as np

from tools.draw.style import (
    BLUE,
    LEARNS,
    MARGIN,
    MUTED,
    PALE_BLUE,
    PALE_GREEN,
    PALE_ORANGE,
    PALE_PURPLE,
    SMALL,
    WHITE,
    Drawing,
)

GRADIENTS = np.array([[4, -2], [2, 0]])  # of two weights, a row for each process
VIEWS = ((0, 0, 100), (4, 8, 70), (24, 20, 50), (30, 34, 64), (44, 4, 56), (0, 40, 60), (16, 16, 80), (36, 48, 44))

RING = np.array([[1, 2, 3], [10, 20, 30], [100, 200, 300]])  # parts of a gradient, a row for each device

LAYERS, WIDTH, MLP_WIDTH, PATCH, TOKENS, CLASSES = 12, 768, 3072, 16, 197, 3  # ViT-B/16
FLOAT = 4  # bytes


def data_parallel() -> Drawing:
    """Draw two processes, each with half of a batch, whose gradients are averaged."""
    mean = GRADIENTS.mean(axis=0)
    drawing = Drawing(
        "Training in two processes",
        "Each of two processes has the same model and half of a batch, and computes a gradient of its own: "
        f"{_listed(GRADIENTS[0])} and {_listed(GRADIENTS[1])}. All-reduce adds them up; divided by 2, both have the "
        f"mean, {_listed(mean)}, so that both make the same step and the models stay equal.",
        384,
    )
    for x, name in ((90, "half a batch"), (240, "model"), (374, "gradient"), (502, "all-reduce"), (635, "mean")):
        drawing.text(x, 36, name, face="bold" if name == "all-reduce" else "regular")
    top, height = 60, 246
    total = GRADIENTS.sum(axis=0)
    drawing.box(446, top, 112, height, f"add up:\n{_listed(total)}".replace("-", "−"), fill=LEARNS, radius=14)
    for i, gradient in enumerate(GRADIENTS):
        y = top + 62 + 122 * i
        for j in range(4):
            drawing.photo(36 + 54 * (j % 2), y - 50 + 54 * (j // 2), 46, VIEWS[4 * i + j])
        drawing.arrow((146, y), (180, y))
        drawing.box(188, y - 38, 104, 76, f"process\n{i}", fill=PALE_BLUE)
        drawing.arrow((300, y), (330, y))
        _column(drawing, 338, y, gradient, PALE_ORANGE)
        drawing.arrow((416, y), (440, y))
        drawing.text(579, y - 20, f"÷ {len(GRADIENTS)}")
        drawing.arrow((564, y), (594, y))
        _column(drawing, 600, y, mean, PALE_GREEN)
    drawing.text(350, 344, "same gradient, same step: the models stay equal", colour=MUTED)
    return drawing


def ring() -> Drawing:
    """Draw how three devices in a ring add up their gradients, part by part, and hand the sums round."""
    states, half = ring_states(RING), len(RING) - 1
    drawing = Drawing(
        "All-reduce in a ring",
        "Three devices in a ring, each with a gradient of three parts; in each pass each sends a part to the next. "
        f"After {_words(half)} passes that add up each has one part's whole sum, after {_words(half)} more that hand "
        f"these round all have {_listed(RING.sum(axis=0))}.",
        424,
    )
    left, side, pitch, row = 150, 54, 182, 58
    middles = [left + pitch * i + 1.5 * side for i in range(len(RING))]
    for i, x in enumerate(middles):
        drawing.text(x, 62, f"device {i + 1}", face="bold")
        if i:
            drawing.arrow((x - pitch + 60, 62), (x - 60, 62))
    drawing.arrow((middles[-1], 46), (middles[-1], 24), (middles[0], 24), (middles[0], 46))
    names = ["at first", *("add up" for _ in range(half)), *("hand round" for _ in range(half))]
    for j, (name, state) in enumerate(zip(names, states, strict=True)):
        y = 96 + row * j
        drawing.text(MARGIN + 6, y + 22, name, anchor="start", colour=MUTED, size=SMALL)
        for i, parts in enumerate(state):
            for part, number in enumerate(parts):
                is_whole, is_new = number == RING[:, part].sum(), j and number != states[j - 1][i, part]
                fill = PALE_GREEN if is_whole else PALE_ORANGE if is_new else WHITE
                x = left + pitch * i + side * part
                drawing.box(x, y, side, 44, f"{number}", fill=fill, radius=2, face="bold" if is_new else "regular")
    drawing.text(350, 400, "bold: has just come; green: the sum over all devices", colour=MUTED, size=SMALL)
    return drawing


def ring_states(parts: np.ndarray) -> list[np.ndarray]:
    """Return what N devices in a ring have, (N, N), at first and after each of 2 (N - 1) passes, a row for each."""
    states, devices = [parts], len(parts)
    for number in range(2 * (devices - 1)):
        before, after = states[-1], states[-1].copy()
        for device in range(devices):
            part, receiver = (device - number) % devices, (device + 1) % devices
            is_adding = number < devices - 1
            after[receiver, part] = before[device, part] + (before[receiver, part] if is_adding else 0)
        states.append(after)
    return states


def memory() -> Drawing:
    """Draw what training a ViT-B/16 keeps in memory: its head alone, and all of it with two sizes of a batch."""
    weights = FLOAT * parameters(LAYERS, WIDTH, MLP_WIDTH) / 1e9
    image = FLOAT * activations(LAYERS, WIDTH, MLP_WIDTH) / 1e9
    bars = [("head only, without images", (weights,))]
    bars += [(f"all, {n} images at once", (weights, weights, weights, weights, n * image)) for n in (8, 32)]
    totals = [f"{sum(parts):.1f}" for _, parts in bars]
    drawing = Drawing(
        "What training keeps in memory",
        f"Bars for a ViT-B/16 in 32 bits: the head alone needs little but the weights, {totals[0]} GB. Training all "
        f"adds gradients, Adam's two states, each as large as the weights, and activations that grow with the batch: "
        f"{totals[1]} GB with 8 images, {totals[2]} GB with 32.",
        398,
    )
    left, scale = 26, 530 / sum(bars[-1][1])
    fills = (BLUE, LEARNS, PALE_PURPLE, PALE_PURPLE, WHITE)
    for i, ((name, parts), total) in enumerate(zip(bars, totals, strict=True)):
        y = 30 + 92 * i
        drawing.text(left, y, name, anchor="start")
        x = left
        for part, fill in zip(parts, fills, strict=False):
            drawing.box(x, y + 18, part * scale, 44, fill=fill, radius=2)
            x += part * scale
        drawing.text(x + 14, y + 40, f"{total} GB", anchor="start", face="bold")
    for i, (fill, name) in enumerate(
        ((BLUE, "weights"), (LEARNS, "gradients"), (PALE_PURPLE, "Adam's two states"), (WHITE, "activations"))
    ):
        x, y = left + 260 * (i // 2), 318 + 38 * (i % 2)
        drawing.squares(x, y, [fill], side=26)
        drawing.text(x + 38, y + 13, name, anchor="start")
    return drawing


def parameters(layers: int, width: int, mlp_width: int) -> int:
    """Return how many parameters a ViT has."""
    attention, mlp, norms = 4 * width * (width + 1), 2 * width * mlp_width + width + mlp_width, 4 * width
    embedding = (3 * PATCH**2 + 1) * width + (TOKENS + 1) * width  # patches; the class token and positions
    return layers * (attention + mlp + norms) + embedding + 2 * width + CLASSES * (width + 1)


def activations(layers: int, width: int, mlp_width: int) -> int:
    """Return how many numbers an image leaves in a ViT's blocks for the way back.

    In each block and for each token these are, as wide as a token, what goes into both norms and comes out of them,
    query, key, value and what attention gives; and the inside of the MLP, before its non-linearity and after.
    """
    return layers * TOKENS * (8 * width + 2 * mlp_width)


def _listed(numbers: np.ndarray) -> str:
    return f"({', '.join(f'{number:g}' for number in numbers)})"


def _words(number: int) -> str:
    return ("no", "one", "two", "three")[number]


def _column(drawing: Drawing, x: float, y: float, numbers: np.ndarray, fill: str) -> None:
    for i, number in enumerate(numbers):
        drawing.box(x, y - 38 + 38 * i, 70, 38, f"{number:g}".replace("-", "−"), fill=fill, radius=2)
