"""Checks of the exercises of notebook 02: a filter, sizes, a frozen model, a head, a mean, a loop, curves.

`yours_or_ours("slide", my_slide)` gives the functions that the notebook's later cells use.
"""

from collections.abc import Callable
from functools import partial

import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from going_modular import engine
from going_modular.checks._check import Attempt, Check, choose_part, describe

CHANNELS, FILTERS, KERNEL, SIDE, STRIDE, FEATURES, CLASSES = 3, 32, 3, 224, 2, 1280, 10  # of exercise 2
FIT_KEYS = ("train_loss", "test_loss", "test_acc")


@Check
def slide(attempt: Attempt) -> None:
    """Check a function that lays a filter over every window of a picture."""
    generator = torch.Generator().manual_seed(0)
    ones, pixels = torch.ones(3, 3), torch.rand(5, 4, generator=generator)
    edge = torch.tensor([[-1.0, 0.0, 2.0], [-1.0, 0.0, 1.0], [-3.0, 0.0, 1.0]])
    cases = [
        (ones, ones, "a picture of 3 x 3 ones and a filter of ones", "nine products of 1 add up to 9, one number"),
        (pixels, ones, "a picture of 5 x 4 and a filter of ones", "a map has H - h + 1 rows and W - w + 1 columns"),
        (
            pixels,
            edge,
            "a picture of 5 x 4 and a filter of 3 x 3",
            "lay the filter on each window as it is, not turned",
        ),
        (pixels, edge[:2], "a picture of 5 x 4 and a filter of 2 x 3", "take the window's size from the filter"),
    ]
    for picture, kernel, shown, hint in cases:
        attempt.expect(_slide(picture, kernel), picture.clone(), kernel.clone(), shown=shown, hint=hint)


@Check
def sizes(attempt: Attempt) -> None:
    """Check a function that predicts four sizes of a network; it does not tell the right ones."""
    found = attempt(shown="the network of section 4")
    hints = {
        "filters": (FILTERS * CHANNELS * KERNEL * KERNEL, "each of the 32 has a grid of 3 x 3 for each colour"),
        "side": (SIDE // STRIDE, "a filter that starts at each second pixel starts at half of them"),
        "features": (FEATURES, "pooling makes one number of each map"),
        "head": (FEATURES * CLASSES + CLASSES, "a weight for each feature and class, and a bias for each class"),
    }
    attempt.require(
        isinstance(found, dict) and set(found) == set(hints),
        f"returned {describe(found)}",
        hint=f"return a dictionary with the keys {', '.join(hints)}",
    )
    for key, (expected, hint) in hints.items():
        is_right = isinstance(found[key], int) and found[key] == expected
        attempt.require(is_right, f"{key} is not {describe(found[key])}", hint=hint)


class _Nested(nn.Module):
    """A model with parameters at every depth: its own, a child's, a grandchild's."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(3))
        self.stem = nn.Linear(4, 3)
        self.body = nn.Sequential(nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3)), nn.Linear(3, 2))


@Check
def freeze(attempt: Attempt) -> None:
    """Check a function that freezes a model."""
    model = _Nested()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    parameters = dict(model.named_parameters())
    attempt(model, shown="a model with parameters at three depths")
    learning = [name for name, parameter in parameters.items() if parameter.requires_grad]
    attempt.require(
        not learning,
        f"{len(learning)} of {len(parameters)} parameters still learn, such as {learning[-1:]}",
        hint="go through model.parameters() and set requires_grad of each",
    )
    attempt.require(
        [id(p) for p in model.parameters()] == [id(p) for p in parameters.values()],
        "parameters were replaced or lost",
        hint="keep the model as it is and set requires_grad only",
    )
    changed = [name for name, tensor in model.state_dict().items() if not torch.equal(tensor, before[name])]
    attempt.require(not changed, f"the values of {changed[:1]} changed", hint="freezing changes no value")


@Check
def new_head(attempt: Attempt) -> None:
    """Check a function that builds a head of Dropout and Linear."""
    for in_features, num_classes in ((1280, 3), (500, 10)):
        head = attempt(in_features, num_classes, shown=f"in_features={in_features}, num_classes={num_classes}")
        attempt.require(isinstance(head, nn.Sequential), "returned no nn.Sequential",
                        hint="it makes one module of layers; later cells take the last of them by [-1]")  # fmt: skip
        linears = [module for module in head.modules() if isinstance(module, nn.Linear)]
        attempt.require(len(linears) == 1, f"found {len(linears)} Linear layers", hint="one Linear layer is the head")
        features = torch.randn(40, in_features, generator=torch.Generator().manual_seed(0))
        _require_plain_logits(attempt, head, features, num_classes)
        attempt.compare(_zeroed(head.eval(), linears[0], features), 0.0, what="the share of zeros in eval mode is",
                        hint="nn.Dropout acts in training only", tolerance=0.01)  # fmt: skip
        attempt.compare(
            _zeroed(head.train(), linears[0], features),
            0.2,
            what="the share of features set to zero in training is",
            hint="nn.Dropout(0.2) stands before the Linear layer",
            tolerance=0.03,
        )
        count = sum(parameter.numel() for parameter in head.parameters() if parameter.requires_grad)
        attempt.compare(
            count, (in_features + 1) * num_classes, what="the number of parameters that learn is",
            hint="the weights and a bias a class",
        )  # fmt: skip


@Check
def mean_loss(attempt: Attempt) -> None:
    """Check a function that makes one mean of the means of batches, which are not of one size."""
    cases = [
        ([0.5], [7], "of a single batch it is that batch's loss"),
        ([1.0, 2.0], [32, 32], "it is a mean: divide by something"),
        ([1.0, 3.0], [32, 1], "33 images, and 32 of them have a mean of 1: each image counts the same"),
        ([0.5, 0.25, 4.0], [8, 4, 2], "a batch's mean times its size is its sum"),
    ]
    for losses, counts, hint in cases:
        total = sum(loss * size for loss, size in zip(losses, counts, strict=True))
        attempt.expect(total / sum(counts), list(losses), list(counts), hint=hint)


class _Watched(nn.Module):
    """A model that remembers how it was called, and what the gradients were when it mattered."""

    def __init__(self) -> None:
        super().__init__()
        self.dropout, self.linear = nn.Dropout(0.5), nn.Linear(5, 3)
        self.seen: set[str] = set()

    def forward(self, batch: torch.Tensor) -> torch.Tensor:
        """Map (B, 5) to logits (B, 3); what is 1 in the first column is a test image."""
        part = "test" if bool((batch[:, 0] == 1).all()) else "train"
        self.seen.add(f"{part} forward in {'train' if self.training else 'eval'} mode")
        logits = self.linear(self.dropout(batch))
        if logits.requires_grad:
            self.seen.add(f"{part} with gradients")
            logits.register_hook(lambda gradient: self._before_backward(part))
        return logits

    def _before_backward(self, part: str) -> None:
        self.seen.add(f"{part} backward")
        if self._has_gradient():
            self.seen.add("old gradients at backward")

    def _has_gradient(self) -> bool:
        return self.linear.weight.grad is not None and bool((self.linear.weight.grad != 0).any())


class _WatchedLoss(nn.CrossEntropyLoss):
    """A loss that tells the model when it is given probabilities."""

    def __init__(self, model: _Watched) -> None:
        super().__init__()
        self.watched = (model,)  # in a tuple: no part of this module

    def forward(self, logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """Map logits (B, C) and labels (B,) to their cross-entropy."""
        sums = logits.detach().sum(dim=1)
        if bool((logits >= 0).all()) and torch.allclose(sums, torch.ones_like(sums), atol=1e-4):
            self.watched[0].seen.add("softmax before the loss")
        return super().forward(logits, labels)


class _WatchedSGD(torch.optim.SGD):
    """An optimizer that tells the model when it steps without gradients."""

    def __init__(self, model: _Watched) -> None:
        super().__init__(model.parameters(), lr=0.5)
        self.watched = model

    def step(self, closure: Callable | None = None) -> None:
        """Move the parameters against their gradients."""
        self.watched.seen.add("step" if self.watched._has_gradient() else "step without gradients")
        super().step(closure)


@Check
def fit(attempt: Attempt) -> None:
    """Check a training loop: watch what it does, and tell one bug at a time."""
    shown = "2 epochs of 9 training and 5 test images in batches of 4"
    found, model = _run_fit(lambda *arguments: attempt(*arguments, shown=shown))
    seen = model.seen
    expected, reference = _run_fit(_fit)
    wrong = [
        ("softmax before the loss" in seen, "the loss function was given probabilities",
         "nn.CrossEntropyLoss wants logits: it has a softmax of its own"),
        ("step without gradients" in seen, "optimizer.step() found no gradients",
         "is there a backward before it, and does nothing wipe the gradients out in between?"),
        ("train backward" not in seen, "no gradient was computed on a training batch", "loss.backward() computes them"),
        ("step" not in seen, "no parameter moved", "optimizer.step() moves the parameters"),
        ("test backward" in seen, "the model learned from test images", "a test asks, and changes nothing"),
        ("old gradients at backward" in seen, "backward() came on top of the gradients of an earlier batch",
         "gradients add up until they are set to zero"),
        ("test forward in train mode" in seen, "test images met an active Dropout", "which mode is for predicting?"),
        ("train forward in eval mode" in seen, "training images met no Dropout",
         "which mode is for learning? A test in the epoch before may have changed it"),
        ("test with gradients" in seen, "the test kept what gradients would need",
         "torch.inference_mode() saves that time and memory"),
    ]  # fmt: skip
    for is_wrong, problem, hint in wrong:
        attempt.require(not is_wrong, problem, hint=hint)
    attempt.require(
        isinstance(found, dict) and set(found) == set(FIT_KEYS), f"returned {describe(found)}",
        hint=f"return a dictionary with the keys {', '.join(FIT_KEYS)}",
    )  # fmt: skip
    for key, hint in zip(FIT_KEYS, ("each image counts the same, in a small batch, too", "as for the training images",
                                    "the share of right answers of all test images"), strict=True):  # fmt: skip
        attempt.compare(found[key], expected[key], what=f"{key} is", hint=hint)
    attempt.compare(
        model.linear.weight.detach(), reference.linear.weight.detach(), what="the weights in the end are",
        hint="each training batch is used once in an epoch, for one step",
    )  # fmt: skip


@Check
def reading(attempt: Attempt) -> None:
    """Check a function that says what three curves show and what to do; it does not tell the right answers."""
    found = attempt(shown="the three curves")
    expected = {"A": ("underfitting", (1, 2)), "B": ("overfitting", (3,)), "C": ("good", (1,))}
    look = {
        "A": "how far is its training loss from that of guessing?",
        "B": "which way does each of its two lines go in the second half?",
        "C": "where are its lines at the end, and are they flat yet?",
    }
    attempt.require(
        isinstance(found, dict) and set(found) == set(expected), f"returned {describe(found)}",
        hint="return a dictionary with the keys A, B and C",
    )  # fmt: skip
    for letter, (kind, helps) in expected.items():
        is_right = isinstance(found[letter], tuple | list) and tuple(found[letter]) in [
            (kind, number) for number in helps
        ]
        attempt.require(is_right, f"{letter} is not {describe(found[letter])}", hint=look[letter])


def _run_fit(function: Callable) -> tuple[object, _Watched]:
    """Fit a small model with batches of unequal size, and return what came out, with the model."""
    generator = torch.Generator().manual_seed(0)
    loaders = []
    for count, is_test in ((9, 0.0), (5, 1.0)):  # batches of 4, 4 and 1, and of 4 and 1
        columns = torch.randn(count, 5, generator=generator)
        columns[:, 0] = is_test
        labels = torch.randint(3, (count,), generator=generator)
        loaders.append(DataLoader(TensorDataset(columns, labels), batch_size=4))
    torch.manual_seed(0)
    model = _Watched()
    return function(model, *loaders, _WatchedLoss(model), _WatchedSGD(model), 2), model


def _require_plain_logits(attempt: Attempt, head: nn.Module, features: torch.Tensor, num_classes: int) -> None:
    head.eval()
    with torch.no_grad():
        logits, doubled, zero = head(features), head(2 * features), head(torch.zeros_like(features))
    attempt.require(
        logits.shape == (len(features), num_classes),
        f"{len(features)} feature vectors became a tensor of shape {tuple(logits.shape)}",
        hint="nn.Linear(in_features, num_classes)",
    )
    attempt.require(
        torch.allclose(doubled - zero, 2 * (logits - zero), atol=1e-3),
        "the logits do not grow with the features",
        hint="no softmax or other function after the Linear layer: the loss wants plain logits",
    )


def _zeroed(head: nn.Module, linear: nn.Linear, features: torch.Tensor) -> float:
    """Return the share of zeros among the values that reach the Linear layer."""
    seen: list[torch.Tensor] = []
    hook = linear.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].detach().clone()))
    try:
        head(features.clone())
    finally:
        hook.remove()
    return (seen[0] == 0).double().mean().item()


def _slide(picture: torch.Tensor, kernel: torch.Tensor) -> torch.Tensor:
    return F.conv2d(picture[None, None], kernel[None, None])[0, 0]


def _freeze(model: nn.Module) -> None:
    model.requires_grad_(False)


def _new_head(in_features: int, num_classes: int) -> nn.Module:
    return nn.Sequential(nn.Dropout(0.2), nn.Linear(in_features, num_classes))


def _fit(
    model: nn.Module,
    train_loader: DataLoader,
    test_loader: DataLoader,
    loss_fn: nn.Module,
    optimizer: torch.optim.Optimizer,
    epochs: int,
) -> engine.History:
    results = engine.train(model, train_loader, test_loader, optimizer, loss_fn, epochs, "cpu", progress=False)
    return {key: results[key] for key in FIT_KEYS}


def _mean_loss(losses: list[float], counts: list[int]) -> float:
    return sum(loss * count for loss, count in zip(losses, counts, strict=True)) / sum(counts)


yours_or_ours = partial(
    choose_part,
    {
        "slide": (slide, _slide),
        "freeze": (freeze, _freeze),
        "new_head": (new_head, _new_head),
        "mean_loss": (mean_loss, _mean_loss),
        "fit": (fit, _fit),
    },
)
