"""Ends of a command: what the user gave cannot be used, SIGTERM came, or another process of the run ended."""

from collections.abc import Sequence

MOST_LISTED, LONGEST = 10, 300  # texts in one line, and characters of each


class InputError(ValueError):
    """Report input that cannot be used.

    The message is one line that names the bad value and the remedy. The commands print it
    and end with exit status 2; in a notebook it is an ordinary exception.
    """


class Terminated(BaseException):
    """Report SIGTERM: the computer is taken away. The message says what was kept; the exit status is 143."""


class ProcessDiedError(RuntimeError):
    """Report that one of the processes of a run ended, and the others with it.

    Args:
        message: one line that names it and what was kept.
        status: to exit with.
    """

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


def listed(texts: Sequence[str], separator: str = "; ") -> str:
    """Return texts in one line: of many the first, and how many more there are; of a long one its two ends."""
    more = f"{separator.rstrip()} and {len(texts) - MOST_LISTED:,} more" if len(texts) > MOST_LISTED else ""
    return separator.join(map(shortened, texts[:MOST_LISTED])) + more


def shortened(text: str) -> str:
    """Return a text, or the two ends of one of more than `LONGEST` characters."""
    half = (LONGEST - 5) // 2
    return text if len(text) <= LONGEST else f"{text[:half]} ... {text[-half:]}"
