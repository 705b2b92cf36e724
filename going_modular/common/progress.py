"""Progress bars: on standard error, but in a notebook each is an output of its own that is updated in place."""

import functools
import io
import sys
import threading
from collections.abc import Iterable

from tqdm import tqdm


class _CellBar(tqdm):
    """A bar as one output of a notebook's cell.

    It is text, not a widget: a widget's state is not part of the notebook's file, which would show none. And it is not
    printed: every step would be one more piece of what the cell printed.
    """

    def __init__(self, iterable: Iterable | None = None, **options: object) -> None:
        self._output = None
        # what tqdm would write to move the cursor is for no one
        super().__init__(iterable, file=io.StringIO(), ascii=False, **options)

    def display(self, msg: str | None = None, pos: int | None = None) -> None:
        """Show the bar, or the message; tqdm calls this whenever it would print."""
        from IPython.display import display

        content = {"text/plain": str(self) if msg is None else msg}
        if self._output is None:
            self._output = display(content, raw=True, display_id=True)
        else:
            self._output.update(content, raw=True)


def bar(iterable: Iterable | None = None, **options: object) -> tqdm:
    """Return a tqdm bar; the options are tqdm's."""
    _lock_threads_only()
    return _CellBar(iterable, **options) if _in_notebook() else tqdm(iterable, file=sys.stderr, **options)


@functools.cache
def _lock_threads_only() -> None:
    """Give tqdm a lock: its own is for processes, too, and settles how these are started for good."""
    tqdm.set_lock(threading.RLock())


def _in_notebook() -> bool:
    """Tell whether a Jupyter kernel runs this code; a plain IPython shell has a terminal."""
    ipython = sys.modules.get("IPython")
    return ipython is not None and getattr(ipython.get_ipython(), "kernel", None) is not None
