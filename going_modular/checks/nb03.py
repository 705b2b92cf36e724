"""Checks of the exercises of notebook 03, pay once."""

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from going_modular import metrics
from going_modular.checks._check import Attempt, Check


@Check
def cache_features(attempt: Attempt) -> None:
    """Check a function that runs a backbone over a DataLoader."""
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(7, 3, 8, 8, generator=generator)
    labels = torch.tensor([2, 0, 1, 1, 0, 2, 2])
    backbone = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.AdaptiveAvgPool2d(1), nn.Flatten()).eval()
    with torch.no_grad():
        expected = backbone(images)
    before = {name: tensor.clone() for name, tensor in backbone.state_dict().items()}

    batches = DataLoader(TensorDataset(images, labels), batch_size=3)
    found = attempt(backbone.train(), batches, shown="7 images in batches of 3, 3 and 1, the backbone in training mode")
    attempt.require(
        isinstance(found, list | tuple) and len(found) == 2, "returned no pair", hint="return features, labels"
    )
    changed = [name for name, tensor in backbone.state_dict().items() if not torch.equal(tensor, before[name])]
    attempt.require(not changed, f"the backbone's {changed[:1]} changed", hint="the backbone must be in eval mode")
    attempt.require(
        all(isinstance(part, torch.Tensor) for part in found),
        "returned lists",
        hint="torch.cat makes one tensor of the batches'",
    )
    attempt.compare(
        found[0].detach(),
        expected,
        what="the features are",
        hint="a row an image, in order, the last short batch too: torch.cat the batches",
        tolerance=1e-4,
    )
    attempt.compare(found[1], labels, what="the labels are", hint="in the order of the features")
    attempt.require(
        not found[0].is_inference(), "the features are inference tensors", hint="torch.no_grad() makes usual ones"
    )
    attempt.require(
        not found[0].requires_grad, "the features carry a graph", hint="run the backbone under torch.no_grad()"
    )


@Check
def set_modes(attempt: Attempt) -> None:
    """Check a function that puts in training mode what learns."""
    for starts_in_training in (False, True):
        backbone = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4), nn.Dropout(0.5)).requires_grad_(False)
        dropout = nn.Dropout(0.2)
        half = nn.Sequential(nn.Linear(4, 4).requires_grad_(False), nn.Linear(4, 3))
        model = nn.Sequential(backbone, dropout, half).train(starts_in_training)
        state = "training" if starts_in_training else "eval"
        attempt(model, shown=f"a frozen backbone, a Dropout and a head that learns in part, in {state} mode")
        attempt.require(model.training, "the model is in eval mode", hint="the model itself goes into training mode")
        attempt.require(
            not any(module.training for module in backbone.modules()),
            "in the frozen backbone a module is in training mode",
            hint="eval() of the child takes all it contains along",
        )
        attempt.require(
            dropout.training,
            "the Dropout is in eval mode",
            hint="it has no parameters, so that none is frozen: all() of nothing is True",
        )
        attempt.require(
            all(module.training for module in half.modules()),
            "the child that learns in part is in eval mode",
            hint="one parameter that learns is enough",
        )


@Check
def accuracy(attempt: Attempt) -> None:
    """Check a function that computes the accuracy over batches."""
    identity = torch.eye(3)
    attempt.expect(
        0.75,
        [(identity[[0, 1, 2, 1]], torch.tensor([0, 1, 2, 0]))],
        shown="one batch of 4, of which 3 are right",
        hint="compare logits.argmax(dim=1) with the labels",
    )
    long = (identity[[0, 1, 2, 0]], torch.tensor([0, 1, 2, 0]))
    short = (identity[[0]], torch.tensor([1]))
    attempt.expect(
        0.8,
        [long, short],
        shown="a batch of 4, all right, and one of 1, wrong",
        hint="sum the right answers over all batches and divide once",
    )
    attempt.expect(
        0.0,
        [(-identity[[0, 1]], torch.tensor([0, 1]))],
        shown="2 samples whose smallest logit is the label's",
        hint="the largest logit is the answer",
    )


@Check
def folds(attempt: Attempt) -> None:
    """Check a function that cuts indices into folds."""
    for n, k in ((9, 3), (225, 5), (10, 4)):
        found = attempt(n, k, 0, shown=f"n={n}, k={k}, seed=0")
        attempt.require(len(found) == k, f"{len(found)} folds", hint="as many as k")
        parts = [(list(map(int, train)), list(map(int, validation))) for train, validation in found]
        for train, validation in parts:
            attempt.require(
                len(train) >= len(validation), "a validation part is the larger one", hint="training comes first"
            )
            common = sorted(set(train) & set(validation))
            attempt.require(
                not common,
                f"{len(common)} indices are both trained and validated on, such as {common[:1]}",
                hint="that is leakage: a fold trains on the other parts",
            )
            attempt.require(
                sorted(train + validation) == list(range(n)),
                "a fold does not have each index once",
                hint="what is not validated on is trained on",
            )
        attempt.require(
            sorted(i for _, validation in parts for i in validation) == list(range(n)),
            "not every index is validated on once",
            hint="the validation parts are a partition of all indices",
        )
        sizes = sorted(len(validation) for _, validation in parts)
        attempt.require(
            sizes[-1] - sizes[0] <= 1, f"the validation parts have {sizes} indices", hint="part j is shuffled[j::k]"
        )

    def validated(seed: int) -> list[list[int]]:
        return [sorted(map(int, validation)) for _, validation in attempt(225, 5, seed)]

    first = validated(0)
    in_blocks = all(part == list(range(part[0], part[0] + len(part))) for part in first)
    in_steps = all(part == list(range(part[0], 225, 5)) for part in first)
    attempt.require(
        not (in_blocks or in_steps),
        "the indices are not shuffled",
        hint="images come sorted by class: shuffle before you cut",
    )
    attempt.compare(validated(0), first, what="a second call returned", hint="the seed must fix the shuffle")
    attempt.require(validated(1) != first, "the folds are those of seed 0", hint="another seed is another shuffle")


@Check
def wilson(attempt: Attempt) -> None:
    """Check a function that computes Wilson's interval."""
    z = 1.959964
    for successes, trials, hint in (
        (67, 75, "the whole of the formula is divided by 1 + z^2 / n"),
        (70, 75, "z^2 / (4 n^2) stands under the root, too"),
        (75, 75, "at p = 1 the upper end is 1, the lower one is not"),
        (0, 10, "at p = 0 the lower end is 0, the upper one is not"),
    ):
        shown = f"{successes} of {trials}, z = {z}"
        found = attempt(successes, trials, z=z, shown=shown)
        is_pair = isinstance(found, tuple | list) and len(found) == 2
        attempt.require(is_pair, "returned no pair", hint="return low, high")
        attempt.require(found[0] <= found[1], "the first end is the higher one", hint="low comes first")
        attempt.compare(found, metrics.wilson_interval(successes, trials), hint=hint)
    low, high = metrics.wilson_interval(67, 75, confidence=0.99)
    attempt.expect((low, high), 67, 75, z=2.575829, hint="use z, not 1.96")
