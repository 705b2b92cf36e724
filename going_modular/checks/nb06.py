"""Checks of the exercises of notebook 06, Fine-tuning.

`drawn_gain` (of the bootstrap), `freeze_batch_norm`, `groups`, `tune` (find two bugs), `early_stopping`, `choice`
(within a standard error) and `network` (beat a head on 24 images; scored once a call, on images that it was not shown).
`yours_or_ours("early_stopping", my_early_stopping)` gives the function that the notebook's later cells use.
"""

import copy
import functools
from typing import NamedTuple

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from going_modular import data_setup, engine, model_builder
from going_modular.checks._check import Attempt, Check, choose_part, describe
from going_modular.data.splits import groups_of

LITE0, SIDE = "efficientnet_lite0", 64  # pixels
TABLE = r"(\d+)"  # pizza_1000.jpg stands on table 1000
OF_CLASS, UPDATES = 8, 150  # images of each class to learn from; updates of the head to beat
MARGIN = 0.05  # by which to beat it: more than another seed changes


@Check
def drawn_gain(attempt: Attempt) -> None:
    """Check a function that tells what a second network gains on drawn tables."""
    a_and_b = ([0, 1, 1], [1, 1, 0], ["a", "a", "b"])
    sizes_differ = ([0, 0, 0, 0, 1], [1, 1, 1, 0, 1], [7, 7, 7, 8, 8])
    cases = (
        (*a_and_b, ["a", "b"], 0.0, "one right answer more on table a, one less on table b"),
        (*a_and_b, ["a", "a"], 50.0, "the images of a table that is drawn twice count twice, and b was not drawn"),
        (*a_and_b, ["b", "a", "b"], -25.0, "four images count, b's one twice, and on it the second is worse"),
        (*sizes_differ, [7, 8], 60.0, "each image counts the same, whatever the size of its table"),
        (*sizes_differ, [8, 7, 8], 300 / 7, "seven images count; a table that is drawn twice counts twice"),
        (*sizes_differ, [8], 0.0, "a draw may have one table only"),
    )
    for before, after, tables, drawn, expected, hint in cases:
        attempt.expect(expected, list(before), list(after), list(tables), drawn=list(drawn), hint=hint)


def _drawn_gain(before: list[int], after: list[int], tables: list, drawn: list) -> float:
    """Return how many points of a hundred the second network is better on the images of the drawn tables."""
    difference, tables = np.subtract(after, before), np.asarray(tables)
    counted = np.concatenate([difference[tables == name] for name in drawn])
    return 100 * float(counted.mean())


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
def groups(attempt: Attempt) -> None:
    """Check a function that makes an optimizer's groups of a backbone's blocks."""
    cases = (
        ((True, True, True), False, "the last block, which has lr itself, comes first"),
        ((True,), False, "there may be one block only"),
        ((False, True, True), False, "a block in which nothing learns has no group"),
        ((True, False, True), False, "a frozen block has no group, but it counts as a step"),
        ((True, True), True, "of a block that learns in part, only what requires gradients is in its group"),
    )
    for learns, partly, hint in cases:
        blocks = [nn.Linear(2, 2).requires_grad_(block_learns) for block_learns in learns]
        blocks[0].bias.requires_grad_(learns[0] and not partly)
        shown = f"{len(blocks)} blocks, of which learn: {list(learns)}{', the first without its bias' * partly}"
        made = attempt(list(blocks), 0.2, 0.5, shown=f"{shown}; lr=0.2, decay=0.5")
        is_form = isinstance(made, list) and all(
            isinstance(group, dict) and {"params", "lr"} <= set(group) for group in made
        )
        attempt.require(is_form, f"returned {describe(made)}", hint='return a list of {"params": [...], "lr": ...}')
        numbered = [(len(blocks) - 1 - i, block) for i, block in enumerate(blocks)][::-1]
        learning = [(steps, [p for p in block.parameters() if p.requires_grad]) for steps, block in numbered]
        expected = [(0.2 * 0.5**steps, parameters) for steps, parameters in learning if parameters]
        attempt.compare(
            [group["lr"] for group in made], [rate for rate, _ in expected], what="the rates are", hint=hint
        )
        found = [[id(parameter) for parameter in group["params"]] for group in made]
        wanted = [[id(parameter) for parameter in parameters] for _, parameters in expected]
        attempt.require(
            list(map(sorted, found)) == list(map(sorted, wanted)), "a group has other parameters", hint=hint
        )


@Check
def tune(attempt: Attempt) -> None:
    """Check a function that lets a backbone learn with its head; BatchNorm stays."""
    dataloader = DataLoader(TensorDataset(torch.randn(12, 2, 4, 4), torch.arange(12) % 3), batch_size=4)
    backbone, head = _small_backbone().requires_grad_(False), nn.Linear(4, 3)
    before = copy.deepcopy(backbone.state_dict())
    wanted = nn.Sequential(copy.deepcopy(backbone), copy.deepcopy(head))
    _train_all_but_batch_norm(wanted, dataloader, lr=0.1)
    attempt(backbone, head, dataloader, 0.1, shown="12 images in 3 batches and a frozen backbone with two BatchNorms")
    after, expected = backbone.state_dict(), wanted[0].state_dict()
    moved = [name for name in after if name.startswith(("1.", "2.1.")) and not torch.equal(after[name], before[name])]
    attempt.require(
        not moved, f"BatchNorm's {', '.join(moved)} changed", hint="what does model.train() do to a BatchNorm?"
    )
    attempt.require(
        not torch.equal(after["0.weight"], before["0.weight"]),
        "the backbone's weights did not move",
        hint="which parameters did the optimizer get, and when?",
    )
    for name, tensor in expected.items():
        attempt.compare(
            after[name], tensor, what=f"the backbone's {name} is", hint="each batch makes one update, at lr"
        )
    for name, tensor in wanted[1].state_dict().items():
        attempt.compare(
            head.state_dict()[name], tensor, what=f"the head's {name} is", hint="the head learns, too, at lr"
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


def _early_stopping(losses: list[float], patience: int) -> tuple[int, int]:
    """Return the best epoch among those trained, and the last epoch trained."""
    best = 0
    for epoch, loss in enumerate(losses):
        if loss < losses[best]:
            best = epoch
        if epoch - best == patience:
            return best + 1, epoch + 1
    return best + 1, len(losses)


@Check
def choice(attempt: Attempt) -> None:
    """Check a function that chooses a setting within a standard error of the best, and its score."""
    cases = (
        ([[0.80, 0.82, 0.84], [0.90, 0.92, 0.94]], [0.83, 0.91], (1, 0.91), "the cheap one lies far below the bar"),
        ([[0.86, 0.90, 0.91], [0.84, 0.90, 0.96]], [0.85, 0.95], (0, 0.85),
         "the cheapest that reaches the bar is chosen by validation alone, whatever the test scores are"),
        ([[0.85, 0.85, 0.85], [0.84, 0.90, 0.96]], [0.85, 0.88], (1, 0.88),
         "the standard error is the standard deviation divided by the root of the number of folds"),
        ([[0.85, 0.85, 0.85], [0.84, 0.88, 0.92]], [0.85, 0.88], (1, 0.88),
         "the bar is one standard error below: the standard deviation divided by the root of the number of folds"),
        ([[0.86, 0.86, 0.86], [0.84, 0.88, 0.92]], [0.85, 0.88], (0, 0.85),
         "`stdev` divides by the number of folds less one, and the root is of the number of folds, not less one"),
        ([[0.60, 0.90, 0.99], [0.89, 0.90, 0.91]], [0.80, 0.90], (1, 0.90), "the spread of the best setting counts"),
        ([[0.7, 0.8], [0.7, 0.8]], [0.5, 0.9], (0, 0.5), "of equal settings the cheapest"),
        ([[0.7, 0.9], [0.5, 0.5], [0.8, 0.8]], [0.7, 0.6, 0.9], (0, 0.7), "the best mean may be the cheapest's"),
        ([[0.5, 0.7]], [0.6], (0, 0.6), "with one setting there is nothing to choose"),
    )  # fmt: skip
    for scores, test, expected, hint in cases:
        attempt.expect(expected, copy.deepcopy(scores), list(test), hint=hint)


class _Few(NamedTuple):
    """Images to learn from, images that are held back, and how often the head to beat is right on these."""

    images: torch.Tensor  # (24, 3, 64, 64)
    labels: torch.Tensor  # (24,)
    held_images: torch.Tensor  # (N, 3, 64, 64)
    held_labels: torch.Tensor  # (N,)
    to_beat: float  # in [0, 1]


@Check
def network(attempt: Attempt) -> None:
    """Check a function that returns a trained network: it has to beat a head on the same few images."""
    few = _few_images()
    made = attempt(few.images.clone(), few.labels.clone(), shown=f"{len(few.labels)} images of {SIDE} pixels")
    attempt.require(
        isinstance(made, nn.Module), f"returned {describe(made)}", hint="return the trained network, an nn.Module"
    )
    made.cpu().eval()
    with torch.inference_mode():
        logits = torch.cat([made(images) for images in few.held_images.split(32)])
    shape = (len(few.held_labels), 3)
    attempt.require(
        tuple(logits.shape) == shape, f"it gives {describe(logits)}", hint=f"logits must be of shape {shape}"
    )
    accuracy = (logits.argmax(dim=1) == few.held_labels).double().mean().item()
    attempt.require(
        accuracy >= few.to_beat + MARGIN,
        f"{accuracy:.3f} on {len(few.held_labels)} images that were held back, where the head has {few.to_beat:.3f}",
        hint="these images were read once for this answer; find out what helps on the 24 before you ask again",
    )


def _small_backbone() -> nn.Sequential:
    """Return a backbone for images (B, 2, 4, 4) whose BatchNorms have seen other images before."""
    deeper = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.ReLU())
    backbone = nn.Sequential(
        nn.Conv2d(2, 3, 3, bias=False), nn.BatchNorm2d(3), deeper, nn.AdaptiveAvgPool2d(1), nn.Flatten()
    )
    with torch.no_grad():
        backbone.train()(3 * torch.randn(32, 2, 4, 4) + 1)
    return backbone.eval()


def _train_all_but_batch_norm(model: nn.Sequential, dataloader: DataLoader, *, lr: float) -> None:
    """Train all of a model but its BatchNorms for an epoch, by SGD."""
    for module in model.modules():
        module.requires_grad_(not isinstance(module, nn.BatchNorm2d))
    optimizer = torch.optim.SGD([parameter for parameter in model.parameters() if parameter.requires_grad], lr=lr)
    engine.train_step(model, dataloader, nn.CrossEntropyLoss(), optimizer, "cpu")


@functools.cache
def _few_images() -> _Few:
    """Return 24 images of the sample, those outside its test part that stand on other tables, and the head's score."""
    model, transform = model_builder.create_model(LITE0, 3)
    transform.resize_size = transform.crop_size = [SIDE]
    splits = data_setup.load_splits("sample", validation=True, group_by=TABLE)
    part = splits.train.joined_with(splits.validation).with_transform(transform)
    tables, labels = np.array(groups_of(part, TABLE)), np.array(part.targets)
    rng = np.random.default_rng(0)
    mine = np.concatenate([rng.choice(np.flatnonzero(labels == c), OF_CLASS, replace=False) for c in range(3)])
    held = np.flatnonzero(~np.isin(tables, tables[mine]))
    images, held_images = (torch.stack([part[int(i)][0] for i in chosen]) for chosen in (mine, held))
    few, answers = torch.from_numpy(labels[mine]), torch.from_numpy(labels[held])

    torch.manual_seed(0)
    head = nn.Linear(model_builder.feature_width(model), 3)
    backbone = model_builder.backbone(model)
    with torch.no_grad():
        features, held_features = (backbone(tensor).flatten(1) for tensor in (images, held_images))
    dataloader = DataLoader(TensorDataset(features, few), OF_CLASS, shuffle=True)
    optimizer = torch.optim.AdamW(head.parameters(), lr=1e-3)
    for _ in range(UPDATES // len(dataloader)):
        engine.train_step(head, dataloader, nn.CrossEntropyLoss(), optimizer, "cpu")
    to_beat = (head(held_features).argmax(dim=1) == answers).double().mean().item()
    return _Few(images, few, held_images, answers, to_beat)


yours_or_ours = functools.partial(
    choose_part,
    {"drawn_gain": (drawn_gain, _drawn_gain), "early_stopping": (early_stopping, _early_stopping)},
)
