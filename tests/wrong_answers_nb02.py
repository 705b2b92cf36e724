"""Wrong answers to the exercises of notebook 02 that a learner might give."""

import torch
from torch import nn


def set_on_children(model):
    for child in model.children():
        child.requires_grad = False


def weights_only(model):
    for name, parameter in model.named_parameters():
        if name.endswith("weight"):
            parameter.requires_grad = False


def layers_only(model):
    for child in model.children():
        child.requires_grad_(False)


def zeroed(model):
    for parameter in model.parameters():
        parameter.requires_grad = False
        parameter.zero_()


class HeadOfItsOwn(nn.Module):
    def __init__(self, in_features, num_classes):
        super().__init__()
        self.dropout, self.linear = nn.Dropout(0.2), nn.Linear(in_features, num_classes)

    def forward(self, features):
        return self.linear(self.dropout(features))


def slid(change_kernel=lambda kernel: kernel, rows=1, columns=1, combine=lambda values: values.sum()):
    """Return a sliding filter whose map has H - h + rows rows; 1 is right."""

    def slide(picture, kernel):
        height, width = kernel.shape
        result = torch.zeros(picture.shape[0] - height + rows, picture.shape[1] - width + columns)
        for row in range(result.shape[0]):
            for column in range(result.shape[1]):
                window = picture[row : row + height, column : column + width]
                result[row, column] = combine(window * change_kernel(kernel))
        return result

    return slide


def three_by_three_always(picture, kernel):
    padded = nn.functional.pad(kernel, (0, 3 - kernel.shape[1], 0, 3 - kernel.shape[0]))
    return slid()(picture, padded)


def padded(picture, kernel):
    return nn.functional.conv2d(picture[None, None], kernel[None, None], padding="same")[0, 0]


def transposed(picture, kernel):
    return slid()(picture.T, kernel)


SIZES = {"filters": 864, "side": 112, "features": 1280, "head": 12810}


def mean_of_means(losses, sizes):
    return sum(losses) / len(losses)


def all_but_the_last(losses, sizes):
    full = [loss for loss, size in zip(losses, sizes, strict=True) if size == sizes[0]]
    return sum(full) / len(full)


def by_the_first_size(losses, sizes):
    return sum(loss * sizes[0] for loss in losses) / sum(sizes)


def the_sum(losses, sizes):
    return sum(loss * size for loss, size in zip(losses, sizes, strict=True))


def fitted(
    steps="zbs",
    test_steps="",
    *,
    modes=(True, False),
    softmax=False,
    by_image=True,
    test_gradients=False,
    once_in_training_mode=False,
    batches=None,
    change_results=lambda results: results,
):
    """Return a training loop; steps are z, zero_grad, b, backward, and s, step; other options plant other bugs."""

    def run(model, train_loader, test_loader, loss_fn, optimizer, epochs):
        results = {"train_loss": [], "test_loss": [], "test_acc": []}
        for epoch in range(epochs):
            for part, loader, does in (("train", train_loader, steps), ("test", test_loader, test_steps)):
                if not once_in_training_mode or epoch == 0 or part == "test":
                    model.train(modes[part == "test"])
                losses, sizes, right = [], [], 0
                for batch, labels in list(loader)[: batches if part == "train" else None]:
                    with torch.set_grad_enabled(bool(does) or test_gradients):
                        logits = model(batch)
                        loss = loss_fn(logits.softmax(dim=1) if softmax else logits, labels)
                    for step in does:
                        {"z": optimizer.zero_grad, "b": loss.backward, "s": optimizer.step}[step]()
                    losses.append(loss.item())
                    sizes.append(len(labels) if by_image else 1)
                    right += (logits.argmax(dim=1) == labels).sum().item()
                mean = sum(loss * size for loss, size in zip(losses, sizes, strict=True)) / sum(sizes)
                results[f"{part}_loss"].append(mean)
            results["test_acc"].append(right / len(test_loader.dataset))
        return change_results(results)

    return run


def stopped_early(model, train_loader, test_loader, loss_fn, optimizer, epochs):
    return fitted()(model, train_loader, test_loader, loss_fn, optimizer, 1)


# each with words of what the check has to say
BUGS = [
    (fitted("bs"), "gradients of an earlier batch"),
    (fitted("bzs"), "found no gradients"),
    (fitted("bsz", once_in_training_mode=True), "training images met no Dropout"),
    (fitted("zs"), "found no gradients"),
    (fitted("zb"), "no parameter moved"),
    (fitted(""), "no gradient was computed"),
    (fitted(softmax=True), "given probabilities"),
    (fitted(by_image=False), "train_loss is"),
    (fitted(modes=(True, True)), "test images met an active Dropout"),
    (fitted(modes=(False, False)), "training images met no Dropout"),
    (fitted(test_steps="zbs"), "learned from test images"),
    (fitted("bs", "bs", modes=(True, True), softmax=True, by_image=False), "given probabilities"),
    (fitted(test_gradients=True), "the test kept what gradients would need"),
    (fitted(batches=2), "train_loss is"),
    (fitted(change_results=lambda results: results["train_loss"]), "dictionary with the keys"),
    (fitted(change_results=lambda results: results | {"test_acc": [100 * x for x in results["test_acc"]]}), "test_acc"),
    (stopped_early, "train_loss is"),
]

WRONG = {
    "slide": [
        slid(lambda kernel: kernel.flip(0, 1)),
        slid(lambda kernel: kernel.T if kernel.shape[0] == kernel.shape[1] else kernel),
        slid(rows=0),
        slid(columns=0),
        slid(combine=lambda values: values.mean()),
        slid(combine=lambda values: values.sum().relu()),
        three_by_three_always,
        padded,
        transposed,
    ],
    "sizes": [
        lambda: SIZES | {"filters": 32 * 9},
        lambda: SIZES | {"filters": 33 * 27},
        lambda: SIZES | {"side": 111},
        lambda: SIZES | {"side": 112.0},
        lambda: SIZES | {"features": 1280 * 49},
        lambda: SIZES | {"head": 12800},
        lambda: tuple(SIZES.values()),
    ],
    "freeze": [lambda model: model.eval(), set_on_children, weights_only, layers_only, torch.no_grad()(zeroed)],
    "new_head": [
        lambda in_features, num_classes: nn.Linear(in_features, num_classes),
        lambda in_features, num_classes: nn.Sequential(nn.Linear(in_features, num_classes), nn.Dropout(0.2)),
        lambda in_features, num_classes: nn.Sequential(nn.Dropout(0.5), nn.Linear(in_features, num_classes)),
        lambda in_features, num_classes: nn.Sequential(nn.Dropout(0.2), nn.Linear(1280, 3)),
        lambda in_features, num_classes: nn.Sequential(
            nn.Dropout(0.2), nn.Linear(in_features, num_classes), nn.Softmax(1)
        ),
        lambda in_features, num_classes: nn.Sequential(
            nn.Dropout(0.2), nn.Linear(in_features, num_classes, bias=False)
        ),
        lambda in_features, num_classes: [nn.Dropout(0.2), nn.Linear(in_features, num_classes)],
        HeadOfItsOwn,
    ],
    "mean_loss": [mean_of_means, all_but_the_last, by_the_first_size, the_sum, lambda losses, sizes: losses[-1]],
    "fit": [fit for fit, _ in BUGS],
    "reading": [
        lambda: {"A": ("underfitting", 2), "B": ("underfitting", 2), "C": ("good", 1)},
        lambda: {"A": ("underfitting", 2), "B": ("overfitting", 1), "C": ("good", 1)},
        lambda: {"A": ("underfitting", 2), "B": ("overfitting", 3), "C": ("overfitting", 3)},
        lambda: {"A": ("good", 1), "B": ("overfitting", 3), "C": ("good", 1)},
        lambda: {"A": "underfitting", "B": "overfitting", "C": "good"},
        lambda: [("underfitting", 2), ("overfitting", 3), ("good", 1)],
    ],
}
