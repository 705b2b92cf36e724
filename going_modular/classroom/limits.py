"""What a classroom takes: bounds on what anybody sends, and how each is told in a line."""

import re
from collections.abc import Iterable

from going_modular.common import cli, files
from going_modular.common.errors import InputError, shortened
from going_modular.data.walk import canonical

MOST_CLASSES = 20
MOST_IMAGES = 2000  # in all classes
MOST_IMAGE_BYTES = 20 * 10**6
MOST_PIXELS = 50 * 10**6
MOST_ZIP_BYTES = 200 * 10**6
MOST_BYTES = 500 * 10**6  # of all images of a classroom, and of a zip unpacked
MOST_TRIED = 64  # images at once
LEAST_IMAGES = 3  # in a class, for a training
LONGEST_NAME = 40  # characters; in UTF-8 a folder's name has room for four bytes of each

# a class is a folder when it is taken home, and Windows refuses these
_FORBIDDEN = re.compile(r'[<>:"/\\|?*]')
_DEVICE = re.compile(r"(CON|PRN|AUX|NUL|COM\d|LPT\d)(\..*)?", re.IGNORECASE)


def class_name(text: str, others: Iterable[str]) -> str:
    """Return a new class's name in its one spelling.

    Args:
        text: what was typed, in any script.
        others: the names of the classes that are there.

    Raises:
        InputError: it cannot be the name of a folder on every system, or there is such a class, or there are too many.
    """
    name, others = canonical(" ".join(text.split())), list(others)
    if not name:
        raise InputError("Type a name for the class first")
    if len(name) > LONGEST_NAME:
        raise InputError(f"{shortened(name)!r} is too long; {LONGEST_NAME} characters at most")
    if cli.unprintable(name) or _FORBIDDEN.search(name) or name.endswith("."):
        raise InputError(
            f"{cli.printable(name)!r} cannot be a folder's name: leave out < > : \" / \\ | ? * and a last dot"
        )
    if files.is_hidden(name) or _DEVICE.fullmatch(name):
        raise InputError(f"{name!r} cannot be a folder's name on every computer; take another")
    if name.casefold() in {canonical(other).casefold() for other in others}:
        raise InputError(f"There is a class {name!r} already")
    if len(others) >= MOST_CLASSES:
        raise InputError(f"There are {MOST_CLASSES} classes, which is the most; remove one first")
    return name
