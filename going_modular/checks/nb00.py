"""Checks of notebook 00, Quickstart: the size of a head, softmax, a confusion matrix, a changed picture."""

import math

from PIL import Image

from going_modular.checks._check import Attempt, Check

_GRADIENT = Image.linear_gradient("L")


@Check
def head_size(attempt: Attempt) -> None:
    """Check a function that counts the weights and biases of a head."""
    for features, classes, shown, hint in (
        (4, 1, "4 features and 1 class", "draw that head, and count what it multiplies by and what it adds"),
        (4, 2, "4 features and 2 classes", "each class has its own number for all that one class alone has"),
        (1280, 3, "1280 features and 3 classes", "small heads are right; did you put in fixed numbers?"),
    ):
        attempt.expect(features * classes + classes, features, classes, shown=shown, hint=hint)


@Check
def softmax(attempt: Attempt) -> None:
    """Check a function that turns logits into probabilities, large logits too."""
    for logits, hint in (
        ([0.0, 0.0, 0.0, 0.0], "equal logits get equal shares, in a list as long as the logits"),
        ([1.0, 0.0], "is each one the power of *e*, divided by the sum of all the powers?"),
        ([2.0, -1.0, 0.5], "a logit may be negative; its power of *e* is not"),
    ):
        powers = [math.exp(logit) for logit in logits]
        attempt.expect([power / sum(powers) for power in powers], logits, hint=hint)
    too_large = [1000.0, 1001.0]
    hint = "the trap: computers have no such powers of *e*. Compare your results for [0, 1] and [2, 3] first"
    try:
        shares = attempt(too_large)
    except OverflowError as error:
        attempt.require(False, f"raised OverflowError ({error})", hint=hint)
    attempt.compare(shares, [1 / (1 + math.e), math.e / (1 + math.e)], hint=hint)


@Check
def matrix(attempt: Attempt) -> None:
    """Check what was read off the confusion matrix."""
    found = attempt(shown="the matrix above")
    attempt.require(
        isinstance(found, tuple | list) and len(found) == 3,
        f"returned {found!r}",
        hint="return three things, with commas between them",
    )
    right, least_recognised, said_steak = found
    attempt.require(
        right == 47, f"the images named right are not {right!r}", hint="in which fields do row and column agree?"
    )
    attempt.require(
        least_recognised == "steak",
        f"the class recognised least is not {least_recognised!r}",
        hint="the images of one class are one row: how many of them got another answer?",
    )
    attempt.require(
        said_steak == 19,
        f'the images it called "steak" are not {said_steak!r}',
        hint="an answer is a column, and a wrong answer is an answer, too",
    )


@Check
def change(attempt: Attempt) -> None:
    """Check a function that changes a picture."""
    down, across = (
        gradient.resize((48, 32)) for gradient in (_GRADIENT, _GRADIENT.transpose(Image.Transpose.ROTATE_90))
    )
    picture = Image.merge("RGB", (down, across, down.point(lambda value: value // 2)))  # no mirror image of itself
    given = picture.copy()
    found = attempt(given)
    attempt.require(
        isinstance(found, Image.Image),
        f"returned a {type(found).__name__}",
        hint="return a Pillow image; Image.fromarray makes one of an array",
    )
    attempt.require(
        found.mode == "RGB", f"returned an image of mode {found.mode}", hint='.convert("RGB") gives it three colours'
    )
    attempt.require(
        given.tobytes() == picture.tobytes(), "changed the picture it was given", hint="change a copy: image.copy()"
    )
    attempt.require(
        (found.size, found.tobytes()) != (picture.size, picture.tobytes()),
        "returned the same picture",
        hint="most methods of an image change nothing: they return a new one",
    )
    attempt.require(
        any(low != high for low, high in found.getextrema()),
        "returned a single colour",
        hint="a person should still see what is on the plate",
    )
