"""What the commands share: arguments, one-line errors, exit statuses; without torch, so that `--help` comes at once."""

import argparse
import os
import sys
from collections.abc import Callable
from typing import NoReturn

from going_modular.common.errors import InputError, ProcessDiedError, Terminated

BAD_INPUT, INTERRUPTED, BROKEN_PIPE, TERMINATED = 2, 130, 141, 143


class ArgumentParser(argparse.ArgumentParser):
    """An ArgumentParser whose errors are one line."""

    def __init__(self, **options: object) -> None:
        super().__init__(allow_abbrev=False, formatter_class=_HelpFormatter, **options)

    def error(self, message: str) -> NoReturn:
        """Print what is wrong and end with status 2."""
        self.exit(BAD_INPUT, f"{self.prog}: error: {message}; see {self.prog} --help\n")


class _HelpFormatter(argparse.ArgumentDefaultsHelpFormatter):
    """Show defaults, where they are values."""

    def _get_help_string(self, action: argparse.Action) -> str | None:
        shown = action.default is not None and not isinstance(action.default, bool)
        return super()._get_help_string(action) if shown else action.help


def run(command: Callable[[], None], name: str) -> int:
    """Run a command and return its exit status: 0, 2 for input that cannot be used, 130 for Ctrl-C, 143 for SIGTERM."""
    # in a pipe, too, lines come out in the order of events; a path that the terminal cannot show is no reason to stop
    sys.stdout.reconfigure(line_buffering=True, errors="backslashreplace")
    try:
        command()
    except InputError as error:
        print(f"{name}: error: {' '.join(str(error).split())}", file=sys.stderr)
        return BAD_INPUT
    except KeyboardInterrupt as interrupt:
        print(f"{name}: interrupted; {str(interrupt) or 'nothing was kept'}", file=sys.stderr)
        return INTERRUPTED
    except Terminated as end:
        if str(end):
            print(f"{name}: terminated; {end}", file=sys.stderr)
        return TERMINATED
    except ProcessDiedError as error:
        if error.status != BAD_INPUT:  # that process has said what it cannot use
            print(f"{name}: error: {error}", file=sys.stderr)
        return error.status
    except BrokenPipeError:  # who reads our output, such as head, has enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return BROKEN_PIPE
    return 0


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


def seed(text: str) -> int:
    """Parse a seed: a whole number from 0 to 2**32 - 1, as NumPy takes it."""
    try:
        value = int(text)
    except ValueError:
        value = -1
    if not 0 <= value < 2**32:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 0 to {2**32 - 1}")
    return value
