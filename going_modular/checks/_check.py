"""What the checks share: call the learner's function, compare, and name the input that shows a mistake.

    @Check
    def double(attempt):
        '''Check a function that doubles a number.'''
        attempt.expect(6, 3, hint="multiply by 2")

`double(f)` prints "not attempted", "wrong: returned 9 instead of 6 for 3; multiply by 2" or "right".
"""

import contextlib
import functools
import io
import math
import sys
import textwrap
from collections.abc import Callable, Mapping
from numbers import Number
from typing import Any, TextIO

import numpy as np
import torch
from PIL import Image
from torch import nn

MAX_SHOWN_VALUES = 8  # of a tensor
MAX_SHOWN_CHARACTERS = 90
MAX_SHOWN_ERROR = 240
WIDTH = 100  # of a line: JupyterLab breaks longer ones within words
ONLY_PRINTED = "it printed, and returned nothing: a function gives back what stands behind its `return`"


class Wrong(Exception):  # noqa: N818 - an answer, no error of ours
    """The learner's answer is wrong; the message says how."""


class Attempt:
    """A learner's function, called and compared; it remembers the input it was last called with."""

    def __init__(self, function: Callable, heard: "_Heard") -> None:
        self.function = function
        self.shown = "the first input"
        self.has_only_printed = False
        self._heard = heard

    def __call__(self, *arguments: Any, shown: str | None = None, **options: Any) -> Any:
        """Call the function; `shown` describes the input where its values would say little."""
        words = [describe(value) for value in arguments] + [f"{key}={describe(v)}" for key, v in options.items()]
        self.shown = shown or ", ".join(words) or "no input"
        self.has_only_printed = False  # as long as it runs
        before = self._heard.texts
        result = self.function(*arguments, **options)
        self.has_only_printed = result is None and self._heard.texts > before
        return result

    def expect(
        self,
        expected: Any,
        *arguments: Any,
        hint: str,
        shown: str | None = None,
        tolerance: float = 1e-5,
        **options: Any,
    ) -> None:
        """Call the function and compare what it returns; raise Wrong where it differs."""
        self.compare(self(*arguments, shown=shown, **options), expected, hint=hint, tolerance=tolerance)

    def compare(self, found: Any, expected: Any, *, hint: str, what: str = "returned", tolerance: float = 1e-5) -> None:
        """Raise Wrong where a value differs from the expected one: in type, shape, dtype or value."""
        if problem := difference(found, expected, tolerance):
            raise Wrong(f"{what} {problem} for {self.shown}; {hint}")

    def require(self, condition: bool, problem: str, *, hint: str) -> None:
        """Raise Wrong unless a condition holds; `problem` says what is seen instead."""
        if not condition:
            raise Wrong(f"{problem} for {self.shown}; {hint}")


class _Heard(io.TextIOBase):
    """What passes on all that is printed, and counts the texts."""

    def __init__(self, stream: TextIO) -> None:
        self.stream, self.texts = stream, 0

    def write(self, text: str) -> int:
        self.texts += 1
        return self.stream.write(text)

    def flush(self) -> None:
        self.stream.flush()


class Check:
    """A check of one exercise, made of a function that examines an `Attempt` and raises Wrong."""

    def __init__(self, examine: Callable[[Attempt], None]) -> None:
        self._examine = examine
        functools.update_wrapper(self, examine)

    def __call__(self, function: Callable) -> None:
        """Print the answer."""
        said = textwrap.fill(self.judge(function), WIDTH, break_long_words=False, break_on_hyphens=False)
        print(said)  # noqa: T201 - what the learner asked for

    def judge(self, function: Callable) -> str:
        """Return "not attempted", "wrong: ..." or "right"; torch draws alike each time, and goes on as before."""
        if not callable(function):
            return f"wrong: got {describe(function)}; pass the function itself, without parentheses"
        heard = _Heard(sys.stdout)
        attempt = Attempt(function, heard)
        try:
            # once around all calls: threads that each redirect, and end in another order, would leave it redirected
            with torch.random.fork_rng(devices=()), contextlib.redirect_stdout(heard):
                torch.default_generator.manual_seed(0)  # the same answer gets the same verdict each time
                self._examine(attempt)
        except Wrong as wrong:
            return f"wrong: {wrong}" + (f"; {ONLY_PRINTED}" if attempt.has_only_printed else "")
        except Exception as error:
            # the stub says nothing; a NotImplementedError of torch's names what it lacks
            if isinstance(error, NotImplementedError) and not error.args:
                return "not attempted"
            if attempt.has_only_printed:  # and the check could do nothing with None
                return f"wrong: returned None for {attempt.shown}; {ONLY_PRINTED}"
            said = _short(" ".join(str(error).split()), MAX_SHOWN_ERROR)
            return f"wrong: raised {type(error).__name__} ({said}) for {attempt.shown}; the error in brackets says why"
        return "right"


def choose_part(parts: Mapping[str, tuple[Check, Callable]], exercise: str, yours: Callable) -> Callable:
    """Return a learner's answer if its check finds it right, else the course's, and print which.

    Args:
        parts: what later cells are built of: by exercise its check and the course's answer.
        exercise: a key of `parts`.
        yours: the learner's answer.
    """
    check, ours = parts[exercise]
    is_right = check.judge(yours) == "right"
    print(f"{exercise}: {'yours' if is_right else 'that of the course'}")  # noqa: T201 - what it chose must be seen
    return yours if is_right else ours


def describe(value: Any) -> str:
    """Say in a few words what a value is."""
    if isinstance(value, torch.Tensor):
        if value.numel() <= MAX_SHOWN_VALUES:
            return f"tensor({_rounded(value.tolist())})"
        return f"a tensor of shape {tuple(value.shape)}"
    if isinstance(value, Image.Image):
        return f"a {value.width}x{value.height} {value.mode} image"
    if isinstance(value, nn.Module):
        return f"a {type(value).__name__}"
    if isinstance(value, float):
        return f"{value:.6g}"
    return _short(repr(value))


def difference(found: Any, expected: Any, tolerance: float) -> str | None:
    """Say how a value differs from the expected one, None where it does not.

    A list may stand for a tuple, an array for a list, and a tensor of one value for a number.
    """
    if isinstance(expected, torch.Tensor):
        return _tensor_difference(found, expected, tolerance)
    plain = f"{describe(found)} instead of {describe(expected)}"
    if isinstance(found, np.generic) or (isinstance(found, torch.Tensor) and found.numel() == 1):
        found = found.item()
    if isinstance(expected, Image.Image):
        same = isinstance(found, Image.Image) and (found.mode, found.size) == (expected.mode, expected.size)
        if same and found.tobytes() != expected.tobytes():
            return f"{describe(found)} whose pixels differ from the expected ones"
    elif isinstance(expected, list | tuple | Mapping):
        same = _same_items(found, expected, tolerance)
    elif isinstance(expected, bool) or not isinstance(expected, Number):
        same = type(found) is type(expected) and found == expected
    else:
        same = isinstance(found, Number) and not isinstance(found, bool)
        limit = tolerance * max(1, abs(expected))
        # infinity is near nothing but itself
        same = same and (found == expected or abs(found - expected) <= limit < math.inf)
    return None if same else plain


def _tensor_difference(found: Any, expected: torch.Tensor, tolerance: float) -> str | None:
    if not isinstance(found, torch.Tensor):
        return f"{describe(found)} instead of {describe(expected)}"
    if found.shape != expected.shape:
        return f"a tensor of shape {tuple(found.shape)} instead of {tuple(expected.shape)}"
    if found.dtype != expected.dtype:
        return f"a tensor of {found.dtype} instead of {expected.dtype}"
    if torch.allclose(found.double(), expected.double(), rtol=tolerance, atol=tolerance, equal_nan=True):
        return None
    if expected.numel() <= MAX_SHOWN_VALUES:
        return f"{describe(found)} instead of {describe(expected)}"
    return f"values off by up to {(found.double() - expected.double()).abs().max():.3g}"


def _same_items(found: Any, expected: Any, tolerance: float) -> bool:
    if isinstance(expected, Mapping):
        if not isinstance(found, Mapping) or set(found) != set(expected):
            return False
        pairs = [(found[key], expected[key]) for key in expected]
    else:
        if isinstance(found, np.ndarray):
            found = found.tolist()
        if not isinstance(found, list | tuple) or len(found) != len(expected):
            return False
        pairs = zip(found, expected, strict=True)
    return all(difference(a, b, tolerance) is None for a, b in pairs)


def _rounded(values: Any) -> Any:
    if isinstance(values, list):
        return [_rounded(value) for value in values]
    return round(values, 4) if isinstance(values, float) else values


def _short(text: str, length: int = MAX_SHOWN_CHARACTERS) -> str:
    return text if len(text) <= length else f"{text[: length - 3]}..."
