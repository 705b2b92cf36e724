"""Names in figures: a font that has their characters, and no more of them than fits."""

import warnings
from collections.abc import Sequence
from functools import cache

import matplotlib as mpl
from matplotlib import font_manager
from matplotlib.ft2font import FT2Font

from going_modular.common.cli import display_width, unprintable

NAME_COLUMNS = 20  # of a class name, a Latin letter each: what fits above an image
WARNED = 10  # names that no font has, a warning each; the others are counted


def fonts_for(texts: Sequence[str]) -> list[str]:
    """Return the font families to draw texts in: the usual one, and others for characters that it lacks."""
    usual = mpl.rcParams["font.family"]
    extra = {family for c in set().union(*texts) if not _is_usual(c) and (family := _family_with(c))}
    return [*usual, *sorted(extra)]


def drawable(names: Sequence[str]) -> dict[str, str]:
    """Map each name to what can be drawn of it: itself, its middle left out where it is long.

    Characters that no installed font has become U+5BFF and the like, with a warning for each of the first names; so
    do those that would turn the direction of the text or hide in it.
    """
    lacking = {c for c in set().union(*names) if not _is_usual(c) and _family_with(c) is None}
    # fonts have most of these, with nothing to see
    numbered = lacking.union(*(unprintable(" ".join(name.split())) for name in names))
    drawn, incomplete = {}, []
    for name in dict.fromkeys(names):
        text = " ".join("".join(f" U+{ord(c):04X} " if c in numbered else c for c in name).split())
        drawn[name] = _shorten(text)
        if not lacking.isdisjoint(name):
            incomplete.append(name)
    remedy = "install one that has them, such as Noto Sans CJK"
    for name in incomplete[:WARNED]:
        what = f"{name!r}, drawn as {drawn[name]!r}"
        warnings.warn(f"No font here has all characters of {what}; {remedy}", stacklevel=3)
    if others := len(incomplete[WARNED:]):
        warnings.warn(f"No font here has all characters of {others} other names; {remedy}", stacklevel=3)
    return drawn


def _shorten(text: str) -> str:
    """Leave out the middle of a text wider than NAME_COLUMNS: long names often differ at their ends."""
    kept = len(text)
    short = text
    while display_width(short) > NAME_COLUMNS:
        kept -= 1
        short = f"{text[: kept - kept // 3]}…{text[len(text) - kept // 3 :]}"
    return short


@cache
def _characters(path: str) -> frozenset[int]:
    return frozenset(FT2Font(path).get_charmap())


def _is_usual(character: str) -> bool:
    usual = font_manager.FontProperties(family=mpl.rcParams["font.family"])
    return character.isspace() or ord(character) in _characters(font_manager.findfont(usual))


@cache
def _family_with(character: str) -> str | None:
    """Return a font family that has a character; sans-serif ones are asked first."""
    # Last Resort, which matplotlib brings, has a box for every character
    fonts = (font for font in font_manager.fontManager.ttflist if not font.name.startswith("Last Resort"))
    for font in sorted(fonts, key=lambda font: ("Sans" not in font.name, font.name)):
        try:
            if font.style == "normal" and ord(character) in _characters(font.fname):
                return font.name
        except (OSError, RuntimeError):  # a broken font file is no reason to stop
            continue
    return None
