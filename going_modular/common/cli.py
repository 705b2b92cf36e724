"""What the commands share: arguments, one-line errors, exit statuses; without torch, so that `--help` comes at once."""

import argparse
import errno
import json
import os
import re
import sys
import unicodedata
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn, TextIO

from going_modular.common.errors import InputError, ProcessDiedError, Terminated

BAD_INPUT, OUTPUT_LOST, INTERRUPTED, BROKEN_PIPE, TERMINATED = 2, 74, 130, 141, 143
LONGEST_ERROR = 1000  # characters of an error line
MOST_VIEWS = 10  # of an image; see `data/views.py`
# Characters that show nothing themselves: they steer a terminal, turn the direction of the text after them, or hide
# between others. Not so the numbers' and verses' signs of Arabic and others.
_STEERING = (
    r"\x00-\x1f\x7f-\x9f\xad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb"
    r"\U000e0000-\U000e007f"
)
# within a word of Persian or Hindi, or an emoji of several, these two join and part; beside ASCII they only hide
_JOINERS = r"(?<![^\x00-\x7f])[\u200c\u200d]"
_UNPRINTABLE = re.compile(f"[{_STEERING}]|{_JOINERS}")
_STEERING_STREAM = re.compile(rf"(?![\t\n\r])(?:[{_STEERING}]|{_JOINERS})")


class ArgumentParser(argparse.ArgumentParser):
    """An ArgumentParser whose errors are one line."""

    def __init__(self, **options: object) -> None:
        super().__init__(allow_abbrev=False, formatter_class=_HelpFormatter, **options)

    def error(self, message: str) -> NoReturn:
        """Print what is wrong and end with status 2."""
        _tell(f"{self.prog}: error: {message}; see {self.prog} --help")
        self.exit(BAD_INPUT)


class _HelpFormatter(argparse.ArgumentDefaultsHelpFormatter):
    """Show defaults, where they are values."""

    def _get_help_string(self, action: argparse.Action) -> str | None:
        shown = action.default is not None and not isinstance(action.default, bool)
        return super()._get_help_string(action) if shown else action.help


class Stream:
    """Standard output or error, which goes on where it cannot be written, and remembers why: a run is worth more.

    What steers a terminal, in whatever name it stands, is escaped.

    Args:
        stream: Python's; None where it was closed before the command started.
        number: its file descriptor, 1 or 2.
        raises: whether a reader that has enough ends the command.
    """

    def __init__(self, stream: TextIO | None, number: int, *, raises: bool) -> None:
        self.raises = raises
        self.error: OSError | None = None
        self._is_closed = stream is None
        if stream is None:
            _occupy(number)
            stream = Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115 - for as long as the process runs
        self._stream = stream

    def __getattr__(self, name: str) -> object:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        """Write, or remember why not."""
        if self._is_closed and text:
            self.error = OSError(errno.EBADF, "it is closed")
        shown = _STEERING_STREAM.sub(_escape, text)
        self._try(lambda: self._stream.write(shown))
        return len(text)

    def flush(self) -> None:
        """Flush, or remember why not."""
        self._try(self._stream.flush)

    def _try(self, act: Callable[[], object]) -> None:
        try:
            act()
        except OSError as error:
            # what is still in the buffer must go somewhere, else Python complains when it ends
            os.dup2(os.open(os.devnull, os.O_WRONLY), self._stream.fileno())
            if self.raises and isinstance(error, BrokenPipeError):
                raise
            self.error = error


def run(command: Callable[[], None], name: str) -> int:
    """Run a command and return its exit status.

    It is 0; 2 for input that cannot be used, 74 where standard output could not be written, 130 for Ctrl-C, 141 where
    the reader of a pipe had enough, 143 for SIGTERM.
    """
    before, format_before = (sys.stdout, sys.stderr), warnings.formatwarning
    warnings.formatwarning = lambda message, *_, **__: f"{name}: warning: {' '.join(str(message).split())}\n"
    output, errors = sys.stdout, sys.stderr = Stream(before[0], 1, raises=True), Stream(before[1], 2, raises=False)
    try:
        # in a pipe, too, lines come out in the order of events; a path that the terminal cannot show stops nothing
        output.reconfigure(line_buffering=True, errors="backslashreplace")
        status = _status(command, name)
        if output.error:
            _tell(f"{name}: error: standard output cannot be written: {output.error.strerror}")
        return OUTPUT_LOST if output.error and status == 0 else status
    finally:
        sys.stdout, sys.stderr = before[0] or output, before[1] or errors
        warnings.formatwarning = format_before


def _status(command: Callable[[], None], name: str) -> int:
    try:
        command()
        sys.stdout.flush()
    except SystemExit as end:  # argparse's way to end
        return end.code or 0
    except InputError as error:
        _tell(f"{name}: error: {_one_line(str(error))}")
        return BAD_INPUT
    except KeyboardInterrupt as interrupt:
        _tell(f"{name}: interrupted; {str(interrupt) or 'nothing was kept'}")
        return INTERRUPTED
    except Terminated as end:
        if str(end):
            _tell(f"{name}: terminated; {end}")
        return TERMINATED
    except ProcessDiedError as error:
        if error.status != BAD_INPUT:  # that process has said what it cannot use
            _tell(f"{name}: error: {error}")
        return error.status
    except BrokenPipeError:  # who reads our output, such as head, has enough
        return BROKEN_PIPE
    except RuntimeError as error:
        if (told := _explain(error)) is None:
            raise
        _tell(f"{name}: error: {told}")
        return BAD_INPUT
    return 0


def _explain(error: RuntimeError) -> str | None:
    """Return what to tell of an error of torch that is no fault of the program; None for another."""
    if "torch" not in sys.modules:
        return None
    from going_modular.common.device import explain_lost_worker, is_out_of_memory

    if lost := explain_lost_worker(error):
        return str(lost)
    if not is_out_of_memory(error):
        return None
    first = str(error).partition(". ")[0]  # more sentences advise programmers
    return f"{first}; use a smaller batch or model, or --device cpu"


def _tell(line: str) -> None:
    """Print a line on standard error, or on standard output where that cannot be written."""
    print(line, file=sys.stderr, flush=True)
    if getattr(sys.stderr, "error", None):
        print(line, flush=True)


def _occupy(number: int) -> None:
    """Open a closed file descriptor on nothing, else the next file that is opened gets what others print."""
    try:
        os.fstat(number)
    except OSError:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        if nowhere != number:
            os.dup2(nowhere, number)
            os.close(nowhere)


def printable(text: str) -> str:
    r"""Return a text as one field of a line: tabs, newlines and what steers a terminal as `\t`, `\n`, `\x1b`."""
    return _UNPRINTABLE.sub(lambda match: match[0].encode("unicode_escape").decode(), text)


def unprintable(text: str) -> list[str]:
    """Return the characters of a text that `printable` escapes."""
    return _UNPRINTABLE.findall(text)


def display_width(text: str) -> int:
    """Count the columns of a text, two for a Chinese character and its like."""
    return sum(2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text)


def _escape(match: re.Match) -> str:
    r"""Return a character as JSON escapes it, `\u202e`: what a command prints may be JSON."""
    return json.dumps(match[0])[1:-1] if match[0] != "\x7f" else r"\u007f"


def _one_line(text: str) -> str:
    """Return a text as one line; of a long one its beginning and its end, where the remedy is."""
    line = " ".join(text.split())
    if len(line) <= LONGEST_ERROR:
        return line
    kept = LONGEST_ERROR // 2
    return f"{line[:kept]} ... {line[-kept:]}"


def positive_int(text: str) -> int:
    """Parse a whole number of at least 1."""
    try:
        value = int(text)
    except ValueError:
        value = 0
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of at least 1")
    return value


def positive_float(text: str) -> float:
    """Parse a number above 0 and up to 1e6: far beyond it, arithmetic in float32 overflows."""
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value <= 1e6:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number above 0 and up to 1e6")
    return value


def probability(text: str) -> float:
    """Parse a number from 0 to 1."""
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 0 to 1")
    return value


def views(text: str) -> int:
    """Parse how many views of an image are averaged, 1 to 10."""
    try:
        value = int(text)
    except ValueError:
        value = 0
    if not 1 <= value <= MOST_VIEWS:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 1 to {MOST_VIEWS}")
    return value


def seed(text: str) -> int:
    """Parse a seed: a whole number from 0 to 2**32 - 1, as NumPy takes it."""
    try:
        value = int(text)
    except ValueError:
        value = -1
    if not 0 <= value < 2**32:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 0 to {2**32 - 1}")
    return value
