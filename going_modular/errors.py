"""The one exception that means: what the user gave cannot be used."""


class InputError(ValueError):
    """Report input that cannot be used.

    The message is one line that names the bad value and the remedy. The commands print it
    and end with exit status 2; in a notebook it is an ordinary exception.
    """
