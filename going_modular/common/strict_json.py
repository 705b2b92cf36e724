"""JSON that anyone may have written: whatever it holds, it is read in bounded time, or refused in a few words."""

import json
from collections.abc import Iterator
from itertools import chain

MOST_LEVELS = 100  # of lists and objects in one another; Python gives up at some 1,000
MOST_DIGITS = 400  # of a whole number; no float has more


def loads(content: bytes | str) -> object:
    """Parse JSON. NaN and the infinities are read, as Python's own writer writes them.

    Raises:
        ValueError: no JSON, not UTF-8, text with half a character, a key twice, a number without end, too many levels.
    """
    try:
        text = content.decode("utf-8") if isinstance(content, bytes) else content
        value = json.loads(text, object_pairs_hook=_object, parse_int=_whole_number)
    except RecursionError as error:
        raise ValueError("it is nested too deep") from error
    _check(value)
    return value


def _object(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("it has a key twice")
    return found


def _whole_number(text: str) -> int:
    if len(text) > MOST_DIGITS:
        raise ValueError(f"it has a number of {len(text)} digits")
    return int(text)


def _check(value: object) -> None:
    """Raise where text cannot be written as UTF-8, or lists and objects stand too deep in one another."""
    open_levels: list[Iterator] = [iter((value,))]
    while open_levels:
        for item in open_levels[-1]:
            if isinstance(item, str) and not item.isascii():
                item.encode("utf-8")
            elif isinstance(item, list | dict):
                if len(open_levels) > MOST_LEVELS:
                    raise ValueError("it is nested too deep")
                open_levels.append(iter(item if isinstance(item, list) else chain.from_iterable(item.items())))
                break
        else:
            open_levels.pop()
