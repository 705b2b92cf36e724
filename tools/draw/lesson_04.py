"""Drawings of lesson 04: how a Vision Transformer takes an image in, what a block of it does, and what attention is."""

import numpy as np

from tools.draw.style import (
    BLUE,
    LINE,
    MUTED,
    PALE,
    PALE_BLUE,
    PALE_GREEN,
    PALE_ORANGE,
    PALE_PURPLE,
    SMALL,
    WHITE,
    Drawing,
)

IMAGE, PATCH = 224, 16  # pixels a side
GRID = IMAGE // PATCH
ROW, COLUMN = 6, 8  # of the patch that is followed
SHOWN = str(ROW * GRID + COLUMN + 1)
QUERY = np.array([1, 2, 0, 1])
KEYS = np.array([[1, 2, 0, 1], [0, 1, 1, 0], [2, 0, 1, 2], [0, 0, 2, 0]])
VALUES = np.array([[4, 0], [0, 4], [2, 2], [0, 8]])


def patches_to_tokens() -> Drawing:
    """Draw how an image is cut into patches and how each becomes a token, with the shapes of ViT-B/16."""
    patches, numbers = GRID**2, 3 * PATCH**2
    drawing = Drawing(
        "From patches to tokens",
        f"A photo is cut into {GRID} x {GRID} patches; one of them, flattened to {numbers} numbers, times a matrix E "
        f"becomes a token of D numbers. Below, the class token stands before the {patches} tokens, and to each of the "
        f"{patches + 1} a position is added.",
        442,
    )
    _one_patch(drawing, numbers)
    x, above, below, height = 142, 262, 336, 46
    drawing.text(x - 12, above + height / 2, "tokens", anchor="end")
    drawing.text(x - 12, below + height / 2, "positions", anchor="end")
    for name, width in (("class", 72), ("1", 42), ("2", 42), ("", 30), (SHOWN, 46), ("", 30), (str(patches), 56)):
        middle = x + width / 2
        if name:
            line = 4 if name == SHOWN else 2
            drawing.box(x, above, width, height, name, fill=PALE_BLUE if name.isdigit() else PALE_ORANGE, line=line)
            drawing.box(x, below, width, height, name if name.isdigit() else "0", fill=PALE_PURPLE, dash="6 4")
            drawing.text(middle, (above + height + below) / 2, "+", face="bold")
        else:
            drawing.text(middle, above + height / 2, "…")
            drawing.text(middle, below + height / 2, "…")
        x += width + 6
    drawing.arrow((x, 322), (x + 36, 322))
    drawing.text(x + 44, 322, f"(B, {patches + 1}, D)", anchor="start", face="bold")
    drawing.text(350, 413, f"{patches} patches + 1 class token = {patches + 1} tokens", colour=MUTED)
    return drawing


def _one_patch(drawing: Drawing, numbers: int) -> None:
    left, top, side = 26, 26, 168
    cell = side / GRID
    drawing.photo(left, top, side)
    for i in range(1, GRID):
        drawing.path([(left + i * cell, top), (left + i * cell, top + side)], stroke=WHITE, line=1)
        drawing.path([(left, top + i * cell), (left + side, top + i * cell)], stroke=WHITE, line=1)
    x, middle, names = left + COLUMN * cell, top + (ROW + 0.5) * cell, top + side + 24
    drawing.box(x, middle - cell / 2, cell, cell, fill="none", radius=0, line=4)
    drawing.text(left + side / 2, names, f"{IMAGE} × {IMAGE} × 3")
    drawing.arrow((x + cell + 3, middle), (234, middle))
    drawing.photo(242, middle - 38, 76, (100 * COLUMN / GRID, 100 * ROW / GRID, 100 / GRID))
    drawing.text(280, names, f"{PATCH} × {PATCH} × 3")
    drawing.arrow((326, middle), (372, middle))
    drawing.text(420, middle - 42, "flatten", colour=MUTED)
    drawing.squares(380, middle - 12, [PALE_BLUE] * 4, side=24)
    drawing.text(490, middle, "…")
    drawing.squares(504, middle - 12, [PALE_BLUE], side=24)
    drawing.text(448, names, f"{numbers} numbers")
    drawing.arrow((536, middle), (587, middle))
    drawing.text(560, middle - 42, "× E", face="bold")
    drawing.box(595, middle - 23, 46, 46, SHOWN, fill=PALE_BLUE, line=4)
    drawing.text(618, names, "D numbers")


def vit_block() -> Drawing:
    """Draw one pre-norm block with its two residual paths and its shapes."""
    drawing = Drawing(
        "A block of a Vision Transformer",
        "From left to right, tokens x pass a norm and attention and are added to x itself; the sum passes a norm and "
        "an MLP and is added to itself again. What goes in, lies between and comes out has one shape, (B, T, D).",
        316,
    )
    y, above, shapes = 138, 40, 238
    for x, anchor in ((50, "start"), (372, "middle"), (666, "end")):
        drawing.path([(x, y), (x, shapes - 18)], stroke=LINE, line=1.5, dash="2 6")
        drawing.text({"start": 24, "middle": x, "end": 682}[anchor], shapes, "(B, T, D)", anchor=anchor, face="bold")
    drawing.arrow((24, y), (74, y))
    drawing.arrow((343, y), (396, y))
    drawing.arrow((645, y), (682, y))
    for start, width, name, note, fill, formula in (
        (50, 124, "attention", "tokens mix", PALE_ORANGE, "x + attention(norm(x))"),
        (372, 104, "MLP", "D → wider → D", PALE_GREEN, "x′ + MLP(norm(x′))"),
    ):
        right = start + 114 + width
        drawing.disc(start, y, 5)
        drawing.arrow((start, y), (start, above), (right + 40, above), (right + 40, y - 17))
        drawing.text((start + right + 40) / 2, above + 24, "as it was", size=SMALL, colour=MUTED)
        drawing.box(start + 26, y - 32, 66, 64, "norm", fill=PALE)
        drawing.arrow((start + 92, y), (start + 112, y))
        drawing.box(right - width, y - 32, width, 64, name, fill=fill)
        drawing.text(right - width / 2, y + 54, note, size=SMALL, colour=MUTED)
        drawing.arrow((right, y), (right + 23, y))
        drawing.plus(right + 40, y)
        drawing.text((start + right + 40) / 2, 284, formula, size=SMALL)
    return drawing


def attention_lookup() -> Drawing:
    """Draw attention as a lookup by similarity, with numbers worked out here."""
    scores = KEYS @ QUERY / len(QUERY) ** 0.5
    weights = np.exp(scores) / np.exp(scores).sum()
    answer = [f"{number:.1f}" for number in weights @ VALUES]
    drawing = Drawing(
        "Attention as a lookup by similarity",
        f"One query is compared with four keys; softmax turns the scores {', '.join(f'{score:g}' for score in scores)} "
        f"into the shares {', '.join(f'{weight:.2f}' for weight in weights)}. The answer, ({', '.join(answer)}), is "
        "the sum of the four values in these shares.",
        440,
    )
    side, left, bars, values, top, step = 34, 64, 342, 556, 176, 46
    drawing.text(left - 12, 46, "q", face="italic", anchor="end")
    _numbers(drawing, left, 29, QUERY, side, PALE_ORANGE)
    drawing.text(left + 4 * side + 18, 46, "the query: what do I look for?", size=SMALL, colour=MUTED, anchor="start")
    for x, word, note in (
        (left + 2 * side, "keys", "one a token"),
        (270, "compare", f"q · k / √{len(QUERY)}"),
        (bars + 74, "softmax", "shares"),
        (values + 52, "average", "the values"),
    ):
        drawing.text(x, 106, word, face="bold")
        drawing.text(x, 138, note, size=SMALL, colour=MUTED)
    for i, (key, score, weight, value) in enumerate(zip(KEYS, scores, weights, VALUES, strict=True)):
        y = top + i * step
        drawing.text(left - 10, y + side / 2, f"k{'₁₂₃₄'[i]}", face="italic", anchor="end")
        _numbers(drawing, left, y, key, side, PALE_BLUE)
        drawing.text(270, y + side / 2, f"{score:g}", face="bold")
        drawing.box(bars, y + 3, 150 * weight, side - 6, fill=BLUE, stroke=None, radius=2)
        drawing.text(bars + 150 * weight + 10, y + side / 2, f"{weight:.2f}", anchor="start")
        _numbers(drawing, values, y, value, 52, PALE_GREEN)
    y = top + 4 * step + 22
    drawing.path([(28, y - 17), (672, y - 17)], stroke=LINE, line=1.5)
    drawing.text(values - 20, y + side / 2, "the answer: their mean, by weight", anchor="end")
    for i, number in enumerate(answer):
        drawing.box(values + 52 * i, y, 52, side, number, fill=PALE_GREEN, radius=2, line=4, face="bold")
    return drawing


def _numbers(drawing: Drawing, x: float, y: float, numbers: np.ndarray, width: float, fill: str) -> None:
    for i, number in enumerate(numbers):
        drawing.box(x + i * width, y, width, 34, f"{number:g}", fill=fill, radius=2)
