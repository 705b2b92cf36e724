"""Checks of notebook 00, Quickstart."""

import math

import torch
from torch import nn

from going_modular.checks._check import Attempt, Check


@Check
def count_trainable(attempt: Attempt) -> None:
    """Check a function that counts the parameters that learn."""
    model = nn.Sequential(nn.Linear(4, 3), nn.Linear(3, 2))
    attempt.expect(23, model, shown="nn.Sequential(nn.Linear(4, 3), nn.Linear(3, 2))", hint="add up tensor.numel()")
    model[0].requires_grad_(False)
    attempt.expect(
        8, model, shown="two Linears, 4 to 3 to 2, the first frozen", hint="leave out tensors without requires_grad"
    )
    model.requires_grad_(False)
    attempt.expect(0, model, shown="a frozen model", hint="nothing in it learns")


@Check
def guessing_loss(attempt: Attempt) -> None:
    """Check a function that gives the loss of equal probabilities."""
    for num_classes in (2, 3, 10, 1000):
        attempt.expect(
            math.log(num_classes),
            num_classes,
            shown=f"{num_classes} classes",
            hint="each class has probability 1 / num_classes; take minus its natural logarithm",
        )


@Check
def best_guess(attempt: Attempt) -> None:
    """Check a function that turns logits into a class and its probability."""
    names = ["pizza", "steak", "sushi"]
    for logits, name, probability in (
        ([2.0, 1.0, 0.0], "pizza", 0.6652),
        ([0.0, 0.0, 3.0], "sushi", 0.9094),
        ([-4.0, -1.0, -3.0], "steak", 0.8438),
    ):
        found = attempt(torch.tensor(logits), list(names))
        attempt.require(
            isinstance(found, tuple | list) and len(found) == 2,
            f"returned {found!r}, which is no pair",
            hint="return two values: the name and the probability",
        )
        attempt.compare(found[0], name, what="named", hint="take the class with the largest logit")
        attempt.require(
            isinstance(found[1], float),
            f"the probability is a {type(found[1]).__name__}",
            hint="float() makes a number",
        )
        attempt.compare(
            found[1], probability, what="gave it the probability", hint="softmax over the classes", tolerance=1e-3
        )


@Check
def share_right(attempt: Attempt) -> None:
    """Check a function that measures accuracy."""
    logits = torch.tensor([[2.0, 1.0, 0.0], [0.0, 3.0, 1.0], [1.0, 2.0, 0.5], [0.1, 0.2, 0.9]])
    for labels, expected in (([0, 1, 1, 2], 1.0), ([0, 1, 0, 0], 0.5), ([2, 0, 0, 1], 0.0)):
        attempt.expect(
            expected,
            logits.clone(),
            torch.tensor(labels),
            shown=f"4 rows whose largest logits are at 0, 1, 1, 2, and the labels {labels}",
            hint="compare logits.argmax(dim=1) with the labels; take the mean, of booleans after .float()",
        )
