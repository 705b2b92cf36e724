"""What the page of an inspection is put together from."""

from collections.abc import Sequence
from dataclasses import dataclass

from going_modular.inspection.charts import Chart


@dataclass(frozen=True)
class Card:
    """An image that is to be looked at."""

    image: int  # which of the N
    notes: tuple[str, ...]  # lines: what was found
    reason: str  # for the file of corrections
    proposed: int | None = None  # the label that it may have instead


@dataclass(frozen=True)
class Box:
    """Images that are to be looked at together."""

    title: str
    members: tuple[int, ...]  # all of them
    cards: tuple[Card, ...]  # of the first
    group: str  # the name that the group gets
    reason: str


@dataclass(frozen=True)
class Table:
    """Rows of cells under a heading; the first cell of a row names it."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]


@dataclass(frozen=True)
class Section:
    """A part of the page."""

    key: str
    title: str
    summary: str  # a line, for the head of the page and for the terminal
    found: bool  # whether there is something to do
    sentences: Sequence[str] = ()
    cards: Sequence[Card] = ()
    boxes: Sequence[Box] = ()
    tables: Sequence[Table] = ()
    chart: Chart | None = None
    has_map: bool = False


def plural(count: int, noun: str, nouns: str | None = None) -> str:
    """Return a number with its noun."""
    return f"{count:,} {noun if count == 1 else nouns or noun + 's'}"


def only_first(shown: int, there: int) -> str:
    """Say that not all are shown, where it is so."""
    return f" The first {shown} of {there:,} are shown; inspection.json has all." if shown < there else ""
