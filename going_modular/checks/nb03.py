"""Checks of the exercises of notebook 03, Pay once.

`cache_features`, `set_modes`, `harmless` (batch sizes), `folds` (by group), `few` (beat a head on five images a class,
scored on the sample's test images), `interval` (Wilson's, by trying) and `table` (read a paired comparison).
`yours_or_ours("folds", my_folds)` gives the functions that the notebook's later cells use.
"""

import functools
import itertools
from typing import NamedTuple

import torch
from scipy.stats import binomtest
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from going_modular import data_setup, engine, features, metrics, model_builder
from going_modular.checks import _parts03
from going_modular.checks._check import Attempt, Check, choose_part, describe
from going_modular.evaluation.uncertainty import SIGNIFICANCE

LITE0 = "efficientnet_lite0"
OF_CLASS, DRAWS, EPOCHS = 5, 10, 10  # images of each class; how often they are drawn; of the head to beat
MARGIN = 0.03  # by which to beat it in the mean of all draws
ALIKE = 0.995  # share of answers that are those of a nearest mean, from which on it is one; ties may fall otherwise
GRID = 2e-4  # two steps of the accuracies that are tried
TABLE = (158, 9, 23, 10)  # both right, only A, only B, neither


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
    shown = "7 images in batches of 3, 3 and 1, the backbone in training mode"
    found = attempt(backbone.train(), batches, "cpu", shown=shown)
    attempt.require(
        isinstance(found, list | tuple) and len(found) == 2, "returned no pair", hint="return features, labels"
    )
    changed = [name for name, tensor in backbone.state_dict().items() if not torch.equal(tensor, before[name])]
    attempt.require(not changed, f"the backbone's {changed[:1]} changed", hint="in which mode does nothing move?")
    attempt.require(
        all(isinstance(part, torch.Tensor) for part in found),
        "returned lists",
        hint="torch.cat makes one tensor of the batches'",
    )
    attempt.compare(
        found[0].detach(),
        expected,
        what="the features are",
        hint="a row an image, in order, those of the last, short batch, too",
        tolerance=1e-4,
    )
    attempt.compare(found[1], labels, what="the labels are", hint="in the order of the features")
    attempt.require(
        not found[0].is_inference(), "the features are inference tensors", hint="torch.no_grad() makes usual ones"
    )
    attempt.require(
        not found[0].requires_grad, "the features carry a graph", hint="which line switches the noting off?"
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
            hint="a method of the child takes all that it contains along",
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
def harmless(attempt: Attempt) -> None:
    """Check a function that finds the batch sizes for which a mean of means is the mean."""
    for n, sizes, hint in (
        (12, [4, 5], "batches of 4, 4 and 4 count alike; of 5, 5 and 2 they do not"),
        (12, [6, 12], "one batch of all the images is their mean, too"),
        (12, [1, 7], "a batch may hold a single image, if all of them do"),
        (12, [11, 20], "of a size above n there is one batch, with all the images"),
        (75, [100, 75, 32, 25, 1], "in the order given"),
    ):
        attempt.expect(_parts03.harmless(n, sizes), n, list(sizes), shown=f"n={n}, sizes {sizes}", hint=hint)


@Check
def folds(attempt: Attempt) -> None:
    """Check a function that cuts groups into folds."""
    for names, sizes, k in (("abcdef", (1,), 3), ("abcdefg", (3,), 3), ("abcdefghij", (1, 4, 2), 4)):
        groups = [name for i, name in enumerate(names) for _ in range(sizes[i % len(sizes)])]
        groups = groups[::2] + groups[1::2]  # not sorted
        found = attempt(list(groups), k, 0, shown=f"groups {''.join(groups)}, k={k}, seed=0")
        attempt.require(len(found) == k, f"{len(found)} folds", hint="as many as k")
        parts = [(list(map(int, train)), list(map(int, validation))) for train, validation in found]
        for train, validation in parts:
            attempt.require(
                len(train) >= len(validation), "a validation part is the larger one", hint="training comes first"
            )
            common = {groups[i] for i in train} & {groups[i] for i in validation}
            attempt.require(
                not common,
                f"group {min(common, default='')} is both trained and validated on",
                hint="a fold trains on the groups of all other parts",
            )
            attempt.require(
                sorted(train + validation) == list(range(len(groups))),
                "a fold does not have each image once",
                hint="what is not validated on is trained on",
            )
        attempt.require(
            sorted(i for _, validation in parts for i in validation) == list(range(len(groups))),
            "not every image is validated on once",
            hint="the parts share out all groups, and none is in two of them",
        )
        counts = sorted(len({groups[i] for i in validation}) for _, validation in parts)
        attempt.require(
            counts[-1] - counts[0] <= 1, f"the parts have {counts} groups", hint="part j has every k-th group"
        )

    groups = [str(i // 3) for i in range(225)]

    def validated(seed: int) -> list[list[int]]:
        found = attempt(list(groups), 5, seed, shown=f"75 groups of 3 images, k=5, seed={seed}")
        return [sorted(map(int, validation)) for _, validation in found]

    first = validated(0)
    gaps = {(b - a) % 225 for part in first for a, b in itertools.pairwise(part)}
    attempt.require(len(gaps) > 3, "the groups are not shuffled", hint="files come sorted: shuffle before you cut")
    attempt.compare(validated(0), first, what="a second call returned", hint="the seed must fix the shuffle")
    attempt.require(validated(1) != first, "the folds are those of seed 0", hint="another seed is another shuffle")


class _Draws(NamedTuple):
    """A few training features, several times, test features, and how often the head to beat is right on these."""

    parts: list[tuple[torch.Tensor, torch.Tensor]]  # features (15, 1280) and labels (15,)
    features: torch.Tensor  # (75, 1280)
    labels: torch.Tensor  # (75,)
    to_beat: float  # in [0, 1], the mean of all draws


@Check
def few(attempt: Attempt) -> None:
    """Check a function that learns from five images a class: it beats a head in ten draws, and is no nearest mean."""
    stand_ins = torch.rand(2 * 3 * OF_CLASS, 1280).chunk(2)  # what is not attempted is said before a backbone has run
    _labels_of(attempt, stand_ins[0], torch.arange(3).repeat_interleave(OF_CLASS), stand_ins[1])
    draws = _draws()
    answers = [_labels_of(attempt, *part, draws.features) for part in draws.parts]
    for lengths in itertools.product((False, True), repeat=2):
        nearest = torch.stack([_nearest_mean(*part, draws.features, *lengths) for part in draws.parts])
        attempt.require(
            (torch.stack(answers) == nearest).double().mean().item() < ALIKE,
            "the answers are those of the nearest mean",
            hint="it stands on the leaderboard and does not count here: what else can be learned from the 15 images?",
        )
    accuracy = (torch.stack(answers) == draws.labels).double().mean().item()
    attempt.require(
        accuracy >= draws.to_beat + MARGIN,
        f"{accuracy:.3f} in the mean of {DRAWS} draws, where the head has {draws.to_beat:.3f} "
        f"and {draws.to_beat + MARGIN:.3f} is asked for,",
        hint="these test images were read once for this answer; find out on training images what helps",
    )


@Check
def interval(attempt: Attempt) -> None:
    """Check a function that finds Wilson's interval by trying accuracies."""
    z = 1.959964
    for right, total, hint in (
        (67, 75, "the standard deviation belongs to the accuracy that is tried, not to the score"),
        (75, 75, "an accuracy of 1 has no spread, and is compatible with a score of 1"),
        (0, 10, "an accuracy of 0 is compatible with a score of 0"),
        (670, 750, "divide by the number of images under the root"),
    ):
        found = attempt(right, total, z=z, shown=f"{right} of {total}, z = {z}")
        is_pair = isinstance(found, tuple | list) and len(found) == 2
        attempt.require(is_pair, "returned no pair", hint="return the lowest and the highest")
        attempt.require(found[0] <= found[1], "the first end is the higher one", hint="the lowest comes first")
        attempt.compare(found, metrics.wilson_interval(right, total), hint=hint, tolerance=GRID)
    low, high = metrics.wilson_interval(67, 75, confidence=0.99)
    attempt.expect((low, high), 67, 75, z=2.575829, hint="use z, not 1.96", tolerance=GRID)


@Check
def table(attempt: Attempt) -> None:
    """Check a function that reads a paired comparison; it does not tell the right answers."""
    both, only_a, only_b, _ = TABLE
    total = sum(TABLE)
    found = attempt(shown="the table")
    attempt.require(
        isinstance(found, tuple | list) and len(found) == 4,
        f"returned {describe(found)}",
        hint="return four things: two accuracies, a number and True or False",
    )
    p = binomtest(only_a, only_a + only_b).pvalue
    for value, expected, what, hint in (
        (found[0], (both + only_a) / total, "the accuracy of A", "A's right answers stand in the first row"),
        (found[1], (both + only_b) / total, "the accuracy of B", "B's right answers stand in the first column"),
        (
            found[2],
            only_a + only_b,
            "the number of images that decide",
            "where both are right or both wrong, they tie",
        ),
        (found[3], bool(p < SIGNIFICANCE), "whether p is below 0.05", "only these images are tosses of the coin"),
    ):
        is_right = isinstance(value, bool) == isinstance(expected, bool) and isinstance(value, int | float)
        is_right = is_right and abs(value - expected) < 1e-6
        attempt.require(is_right, f"{what} is not {describe(value)}", hint=hint)


def _labels_of(attempt: Attempt, values: torch.Tensor, labels: torch.Tensor, others: torch.Tensor) -> torch.Tensor:
    """Return the labels (M,) that an answer, which may keep or change what it gets, gives `others` (M, D)."""
    shown = f"{len(labels)} images to learn from and {len(others)} to label"
    found = attempt(values.clone(), labels.clone(), others.clone(), shown=shown)
    attempt.require(
        isinstance(found, torch.Tensor) and found.shape == (len(others),) and found.dtype == torch.int64,
        f"returned {describe(found)}",
        hint=f"return a tensor of {len(others)} labels, int64: torch.tensor(...), or argmax(dim=1) of logits",
    )
    return found


@functools.cache
def _draws() -> _Draws:
    """Draw a few of the sample's training images several times, and score the head to beat on its test images."""
    model, transform = model_builder.create_model(LITE0, 3)
    splits = data_setup.load_splits("sample").with_transform(transform)
    options = {"precision": "fp32", "cache": False, "progress": False}
    values, labels = features.extract(model, splits.train, **options).tensors
    test_values, test_labels = features.extract(model, splits.test, **options).tensors
    parts, right = [], 0
    for draw in range(DRAWS):
        generator = torch.Generator().manual_seed(draw)
        order = torch.randperm(len(labels), generator=generator)
        mine = torch.cat([order[labels[order] == label][:OF_CLASS] for label in range(3)])
        parts.append((values[mine], labels[mine]))
        head = _trained_head(*parts[-1], seed=draw)
        right += (head(test_values).argmax(dim=1) == test_labels).sum().item()
    return _Draws(parts, test_values, test_labels, right / (DRAWS * len(test_labels)))


def _nearest_mean(
    values: torch.Tensor, labels: torch.Tensor, new: torch.Tensor, unit_features: bool, unit_means: bool
) -> torch.Tensor:
    """Return the class with the nearest mean; features, means or both are first divided by their length."""
    if unit_features:
        values, new = nn.functional.normalize(values), nn.functional.normalize(new)
    means = torch.stack([values[labels == label].mean(dim=0) for label in range(3)])
    if unit_means:
        means = nn.functional.normalize(means)
    return torch.cdist(new, means).argmin(dim=1)


def _trained_head(values: torch.Tensor, labels: torch.Tensor, *, seed: int) -> nn.Module:
    torch.manual_seed(seed)
    head = nn.Sequential(nn.Dropout(0.2), nn.Linear(values.shape[1], 3))
    optimizer = torch.optim.Adam(head.parameters(), lr=1e-3)
    dataloader = DataLoader(TensorDataset(values, labels), 32, shuffle=True)
    for _ in range(EPOCHS):
        engine.train_step(head, dataloader, nn.CrossEntropyLoss(), optimizer, "cpu")
    return head.eval()


yours_or_ours = functools.partial(
    choose_part,
    {
        "cache_features": (cache_features, _parts03.cache_features),
        "set_modes": (set_modes, _parts03.set_modes),
        "harmless": (harmless, _parts03.harmless),
        "folds": (folds, _parts03.folds),
        "few": (few, _parts03.few),
        "interval": (interval, _parts03.interval),
    },
)
