"""The one style of the course's drawings: a light card, few and large words, colours that the colour-blind tell apart.

A drawing is 700 units wide and shown 700 pixels wide or less: on a phone, 380. So no text is smaller than `SMALL`, and
a drawing refuses text that touches another or leaves the card.
"""

from collections.abc import Sequence
from math import atan2, cos, sin
from xml.sax.saxutils import escape

from tools.draw import letters

WIDTH, MARGIN = 700, 14
NORMAL, SMALL = 22, 20  # sizes of text: of most of it, and the smallest
LEADING = 1.25  # from line to line, in sizes

# Okabe and Ito's colours, and pale ones; each pair that is set side by side differs in lightness, too
INK, MUTED, LINE, PAPER, WHITE = "#1f2430", "#555b66", "#8a909c", "#fbfaf6", "#ffffff"
BLUE, ORANGE, GREEN, RED = "#0072b2", "#e69f00", "#009e73", "#d55e00"
PALE_BLUE, PALE_ORANGE, PALE_GREEN, PALE_PURPLE, PALE = "#d3e8f5", "#fbe7bd", "#cdeee3", "#f3dcea", "#e9eaee"
LEARNS, FROZEN = ORANGE, PALE_BLUE

_PIZZA = "".join(
    [
        '<rect width="100" height="100" fill="#7d8ea3"/>',
        *(
            f'<circle cx="{x}" cy="{y}" r="{radius}" fill="{fill}"/>'
            for x, y, radius, fill in (
                *((50, 50, 46, "#f4f4f1"), (50, 50, 39, "#b9773a"), (50, 50, 33, "#f6cf6b")),
                *((39, 35, 8, RED), (63, 38, 8, RED), (35, 59, 8, RED), (56, 67, 8, RED), (70, 58, 6, RED)),
            )
        ),
        *(
            f'<ellipse cx="{x}" cy="{y}" rx="6" ry="3" fill="{GREEN}" transform="rotate({turn} {x} {y})"/>'
            for x, y, turn in ((51, 49, 30), (50, 26, -20), (47, 74, 60), (24, 46, 80))
        ),
    ]
)

Point = tuple[float, float]


class Drawing:
    """Collect shapes and write them as SVG.

    Args:
        title: a few words.
        description: what is to be seen, in two sentences at most; the notebook's alternative text.
        height: of the card, in units of which its width has 700; y grows downwards.
    """

    def __init__(self, title: str, description: str, height: float) -> None:
        self.title, self.description, self.height = title, description, height
        self._shapes: list[str] = []
        self._glyphs: dict[str, str] = {}
        self._texts: list[tuple[float, float, float, float, str]] = []
        self.box(1, 1, WIDTH - 2, height - 2, fill=PAPER, stroke="#c9ccd3", radius=16)

    def box(
        self, x: float, y: float, width: float, height: float, label: str = "", *, fill: str = WHITE,
        stroke: str | None = INK, radius: float = 8, line: float = 2, dash: str = "", face: str = "regular",
    ) -> None:  # fmt: skip
        """Draw a rectangle with a label in its middle.

        Args:
            x: of the left side.
            y: of the upper side.
            width: from x to the right.
            height: from y downwards.
            label: lines of text.
            fill: colour, or "none".
            stroke: colour of the outline; None for none.
            radius: of the corners.
            line: width of the outline.
            dash: lengths of its strokes and gaps, "6 5".
            face: of the label, a key of `letters.FACES`.
        """
        outline = f' stroke="{stroke}" stroke-width="{_number(line)}"' if stroke else ""
        dashes = f' stroke-dasharray="{dash}"' if dash else ""
        place = f'x="{_number(x)}" y="{_number(y)}" width="{_number(width)}" height="{_number(height)}"'
        self._shapes.append(f'<rect {place} rx="{_number(radius)}" fill="{fill}"{outline}{dashes}/>')
        if label:
            self.text(x + width / 2, y + height / 2, label, face=face)

    def text(
        self, x: float, y: float, text: str, *, size: float = NORMAL, anchor: str = "middle", colour: str = INK,
        face: str = "regular",
    ) -> None:  # fmt: skip
        """Write lines of text.

        Args:
            x: of the middle, or of the side that the anchor names.
            y: of the middle of all lines, by the height of capital letters.
            text: the lines.
            size: of the font.
            anchor: "start", "middle" or "end".
            colour: of the text.
            face: a key of `letters.FACES`.

        Raises:
            ValueError: it is too small, leaves the card, or touches other text.
        """
        if size < SMALL:
            raise ValueError(f"{text!r} is too small to read on a phone: {size}, write it in {SMALL} or more")
        lines = text.split("\n")
        for i, line in enumerate(lines):
            middle = y + (i - (len(lines) - 1) / 2) * LEADING * size
            width = letters.width(face, line, size)
            left = x - {"start": 0, "middle": width / 2, "end": width}[anchor]
            self._reserve(left, middle - size / 2, left + width, middle + size / 2, line)
            self._write(left, middle + letters.CAPITAL / 2 * size, line, size, colour, face)

    def _reserve(self, left: float, top: float, right: float, bottom: float, text: str) -> None:
        if left < MARGIN or right > WIDTH - MARGIN or top < MARGIN / 2 or bottom > self.height - MARGIN / 2:
            raise ValueError(f"{text!r} leaves the card: {left:.0f} to {right:.0f}, {top:.0f} to {bottom:.0f}")
        for other in self._texts:
            if left < other[2] and other[0] < right and top < other[3] and other[1] < bottom:
                raise ValueError(f"{text!r} touches {other[4]!r}")
        self._texts.append((left, top, right, bottom, text))

    def _write(self, left: float, base: float, text: str, size: float, colour: str, face: str) -> None:
        used = []
        for character, start in zip(text, letters.places(face, text)[0], strict=True):
            name = f"{face[0]}{ord(character):x}"
            if outline := letters.outline(face, character):
                self._glyphs[name] = outline
                used.append(f'<use href="#{name}" x="{start}"/>')
        scale = f"{size / letters.units(face):.5f}"
        place = f"translate({_number(left)} {_number(base)}) scale({scale} -{scale})"
        self._shapes.append(f'<g fill="{colour}" transform="{place}">{"".join(used)}</g>')

    def path(
        self, points: Sequence[Point], *, stroke: str = INK, line: float = 2.5, dash: str = "", fill: str = "none"
    ) -> None:
        """Draw straight lines from point to point.

        Args:
            points: (x, y), two or more.
            stroke: colour of the lines.
            line: their width.
            dash: lengths of strokes and gaps, "6 5".
            fill: colour of what they enclose.
        """
        places = " ".join(f"{_number(x)},{_number(y)}" for x, y in points)
        dashes = f' stroke-dasharray="{dash}"' if dash else ""
        self._shapes.append(
            f'<polyline points="{places}" fill="{fill}" stroke="{stroke}" stroke-width="{_number(line)}"{dashes} '
            'stroke-linejoin="round" stroke-linecap="round"/>'
        )

    def arrow(self, *points: Point, stroke: str = INK, dash: str = "") -> None:
        """Draw lines from point to point that end in an arrow's head at the last one."""
        (x0, y0), (x, y) = points[-2:]
        angle, length = atan2(y - y0, x - x0), 12.5
        sides = [(x - length * cos(angle + turn), y - length * sin(angle + turn)) for turn in (-0.45, 0.45)]
        # the line ends within the head, whose tip would else be blunt
        neck = (x - 0.7 * length * cos(angle), y - 0.7 * length * sin(angle))
        self.path([*points[:-1], neck], stroke=stroke, dash=dash)
        self.path([sides[0], (x, y), sides[1], sides[0]], stroke=stroke, line=1, fill=stroke)

    def disc(self, x: float, y: float, radius: float, *, fill: str = INK, stroke: str | None = None) -> None:
        """Draw a disc around a point."""
        outline = f' stroke="{stroke}" stroke-width="2"' if stroke else ""
        place = f'cx="{_number(x)}" cy="{_number(y)}" r="{_number(radius)}"'
        self._shapes.append(f'<circle {place} fill="{fill}"{outline}/>')

    def plus(self, x: float, y: float, radius: float = 15) -> None:
        """Draw the sign of an addition around a point."""
        self.disc(x, y, radius, fill=WHITE, stroke=INK)
        arm = 0.55 * radius
        self.path([(x - arm, y), (x + arm, y)])
        self.path([(x, y - arm), (x, y + arm)])

    def squares(self, x: float, y: float, fills: Sequence[str], *, side: float, gap: float = 0) -> None:
        """Draw a row of squares, such as tokens or blocks, from a point to the right, one a colour."""
        for i, fill in enumerate(fills):
            self.box(x + i * (side + gap), y, side, side, fill=fill, radius=3, line=1.5)

    def photo(self, x: float, y: float, side: float, view: tuple[float, float, float] = (0, 0, 100)) -> None:
        """Draw a photo of a pizza, or a square of it.

        Args:
            x: of the left side.
            y: of the upper side.
            side: of the square that it fills.
            view: what of the photo is to be seen, of its 100 units a side: left, top, side.
        """
        left, top, seen = map(_number, view)
        place = f'x="{_number(x)}" y="{_number(y)}" width="{_number(side)}" height="{_number(side)}"'
        self._shapes.append(f'<svg {place} viewBox="{left} {top} {seen} {seen}">{_PIZZA}</svg>')
        self.box(x, y, side, side, fill="none", radius=0)

    def svg(self) -> bytes:
        """Return the file: the same bytes for the same drawing, on every machine."""
        glyphs = "".join(f'<path id="{name}" d="{d}"/>' for name, d in sorted(self._glyphs.items()))
        height = _number(self.height)
        size = f'viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}"'
        lines = [
            f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img" aria-labelledby="title desc">',
            f'<title id="title">{escape(self.title)}</title>',
            f'<desc id="desc">{escape(self.description)}</desc>',
            f"<defs>{glyphs}</defs>",
            *self._shapes,
            "</svg>\n",
        ]
        return "\n".join(lines).encode()


def _number(value: float) -> str:
    """Return a number to a tenth, so that no rounding of another machine's is seen."""
    return f"{round(value, 1) + 0:g}"  # + 0, for there is a -0
