"""Ends of a command: what the user gave cannot be used, SIGTERM came, or another process of the run ended."""


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
