"""Text as outlines, so that it looks the same everywhere: DejaVu Sans, which comes with Matplotlib."""

from functools import cache
from pathlib import Path

import matplotlib as mpl
from fontTools.pens.svgPathPen import SVGPathPen
from fontTools.ttLib import TTFont

FACES = {"regular": "DejaVuSans", "bold": "DejaVuSans-Bold", "italic": "DejaVuSans-Oblique"}
CAPITAL = 0.729  # of a capital letter's height to the font's size


@cache
def _font(face: str) -> TTFont:
    return TTFont(Path(mpl.get_data_path()) / "fonts" / "ttf" / f"{FACES[face]}.ttf")


@cache
def _glyph(face: str, character: str) -> str:
    """Return the name of a character's glyph.

    Raises:
        ValueError: the font lacks the character.
    """
    name = _font(face).getBestCmap().get(ord(character))
    if name is None:
        raise ValueError(f"{FACES[face]} has no {character!r}")
    return name


@cache
def outline(face: str, character: str) -> str:
    """Return a character's outline as the data of an SVG path, `units` to the font's size, y upwards."""
    glyphs = _font(face).getGlyphSet()
    pen = SVGPathPen(glyphs)
    glyphs[_glyph(face, character)].draw(pen)
    return pen.getCommands()


def units(face: str) -> int:
    """Return how many of an outline's units make the font's size."""
    return _font(face)["head"].unitsPerEm


@cache
def places(face: str, text: str) -> tuple[list[int], int]:
    """Return where each character of a text starts and where the text ends, in an outline's units, kerned."""
    kerning = _font(face)["kern"].kernTables[0].kernTable
    starts, end = [], 0
    names = [_glyph(face, character) for character in text]
    for name, following in zip(names, [*names[1:], None], strict=True):
        starts.append(end)
        end += _font(face)["hmtx"][name][0] + kerning.get((name, following), 0)
    return starts, end


def width(face: str, text: str, size: float) -> float:
    """Return how wide a line of text is at a size."""
    return places(face, text)[1] * size / units(face)
