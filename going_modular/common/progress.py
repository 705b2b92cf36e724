"""Progress bars: on standard error, but in a notebook among what the cell prints, where they stay in order."""

import sys
from collections.abc import Iterable

from tqdm import tqdm


def bar(iterable: Iterable | None = None, **options: object) -> tqdm:
    """Return a tqdm bar; the options are tqdm's."""
    in_notebook = "ipykernel" in sys.modules  # it shows standard error as stripes of pink between printed lines
    return tqdm(iterable, file=sys.stdout if in_notebook else sys.stderr, **options)
