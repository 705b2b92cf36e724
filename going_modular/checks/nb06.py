"""Checks of the exercises of notebook 06, Fine-tuning."""

import copy

from torch import nn

from going_modular.checks._check import Attempt, Check


@Check
def is_stratified(attempt: Attempt) -> None:
    """Check a function that tells whether a split is stratified."""
    halves = [0.5, 0.5]
    cases = (
        ([[0, 1], [0, 1]], halves, True, "each part has half of each class"),
        ([[0, 0, 0, 0], [1, 1, 1, 1]], halves, False, "equal parts are not enough; class 0 is in one of them only"),
        ([[0, 0, 0, 1], [0, 1, 1, 1]], halves, True, "each count is one image from its share of 2: that is within one"),
        ([[0] * 8 + [1] * 4, [0] * 12 + [1] * 8], halves, False, "class 0 has 8 of 20, two images from its share"),
        ([[0] * 70 + [1] * 7, [0] * 10 + [1], [0] * 20 + [1] * 2], [0.7, 0.1, 0.2], True, "the classes differ in size"),
        ([[0] * 70 + [1] * 5, [0] * 10 + [1] * 3, [0] * 20 + [1] * 2], [0.7, 0.1, 0.2], False,
         "of class 1's ten images 5 are in the first part instead of 7"),
        ([[0] * 5, [0] * 2, [0] * 3], [0.7, 0.1, 0.2], False, "two images too few in the first part count, too"),
        ([[0] * 60, [0] * 40], [0.7, 0.3], False, "its share of 100 images would be 70"),
        ([[0] * 7, [0] * 3], [0.7, 0.3], True, "there may be one class only"),
    )  # fmt: skip
    for parts, shares, expected, hint in cases:
        sizes = [[part.count(label) for label in (0, 1)] for part in parts]
        attempt.expect(
            expected, copy.deepcopy(parts), list(shares), shown=f"counts {sizes}, shares {shares}", hint=hint
        )


@Check
def freeze_batch_norm(attempt: Attempt) -> None:
    """Check a function that freezes BatchNorm."""
    model = nn.Sequential(
        nn.Conv2d(3, 4, 3),
        nn.BatchNorm2d(4),
        nn.Sequential(nn.Dropout(), nn.BatchNorm2d(4)),
        nn.Flatten(),
        nn.Linear(4, 5),
        nn.BatchNorm1d(5),
        nn.LayerNorm(5),
    ).train()
    attempt(model, shown="a model with three BatchNorms, one of them inside another module, and one of them 1d")
    for name, module in model.named_modules():
        what = f"module {name!r}, a {type(module).__name__},"
        learns = [parameter.requires_grad for parameter in module.parameters(recurse=False)]
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            attempt.require(not module.training, f"{what} is in training mode", hint="its eval() keeps the averages")
            attempt.require(not any(learns), f"{what} still learns", hint="requires_grad_(False) freezes parameters")
        else:
            attempt.require(
                module.training, f"{what} is in eval mode", hint="only BatchNorm is frozen: call eval() on it alone"
            )
            attempt.require(all(learns), f"{what} does not learn any more", hint="only BatchNorm is frozen")


@Check
def learning_rates(attempt: Attempt) -> None:
    """Check a function that gives blocks their learning rates."""
    for blocks, lr, decay in ((3, 1.0, 0.5), (1, 0.1, 0.9), (18, 1e-3, 0.9), (4, 0.2, 1.0)):
        attempt.expect(
            [lr * decay ** (blocks - 1 - block) for block in range(blocks)],
            blocks,
            lr,
            decay,
            shown=f"blocks={blocks}, lr={lr}, decay={decay}",
            hint="the last block has lr itself; the list starts with the first block, which learns slowest",
            tolerance=1e-9,
        )


@Check
def early_stopping(attempt: Attempt) -> None:
    """Check a function that stops early."""
    cases = (
        ([3.0, 2.0, 1.0], 2, (3, 3), "it never stops early here"),
        ([3.0, 1.0, 2.0, 2.0, 0.5], 2, (2, 4), "after epoch 4 the best is two epochs back; epoch 5 is never trained"),
        ([3.0, 1.0, 2.0, 0.9, 2.0, 2.0, 2.0], 2, (4, 6), "epoch 4 improves in time and starts the count anew"),
        ([3.0, 2.5, 2.6, 2.4, 2.5, 2.3], 2, (6, 6), "worse than the epoch before is not yet worse than the best"),
        ([1.0, 2.0, 1.9, 1.8], 2, (1, 3), "better than the epoch before is not yet better than the best"),
        ([1.0, 1.0, 1.0, 1.0], 2, (1, 3), "an equal loss is no improvement"),
        ([1.0, 2.0, 3.0], 5, (1, 3), "with fewer epochs than patience it runs to the end, and still keeps the best"),
        ([2.0, 3.0], 1, (1, 2), "patience 1: the first epoch without improvement is the last"),
    )
    for losses, patience, expected, hint in cases:
        attempt.expect(expected, list(losses), patience, hint=hint)


@Check
def report(attempt: Attempt) -> None:
    """Check a function that chooses a setting and its score."""
    cases = (
        ([0.8, 0.9, 0.7], [0.80, 0.82, 0.85], (1, 0.82), "validation chooses, test reports"),
        ([0.9, 0.9], [0.7, 0.8], (0, 0.7), "of equal validation scores the first; the test score must not decide"),
        ([0.5], [0.6], (0, 0.6), "with one setting there is nothing to choose, and the test score is reported"),
    )
    for validation, test, expected, hint in cases:
        attempt.expect(expected, list(validation), list(test), hint=hint)
