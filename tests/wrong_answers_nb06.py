"""Wrong answers to the exercises of notebook 06 that a learner might give."""

from statistics import mean, pstdev, stdev

import torch
from torch import nn

from going_modular import model_builder


def gained(*, of_draw=list, per=100, sign=1, by_table=False, divides_by=None):
    def drawn_gain(before, after, tables, drawn):
        rows = list(zip(before, after, tables, strict=True))
        found = [[sign * (b - a) for a, b, table in rows if table == name] for name in of_draw(drawn)]
        if by_table:
            return per * mean(mean(of_table) for of_table in found)
        together = [value for of_table in found for value in of_table]
        return per * sum(together) / (divides_by(rows) if divides_by else len(together))

    return drawn_gain


def freeze(kinds, *, mode=True, parameters=True):
    def freeze_batch_norm(model):
        for module in model.modules():
            if isinstance(module, kinds):
                if mode:
                    module.eval()
                if parameters:
                    module.requires_grad_(False)

    return freeze_batch_norm


def children_only(model):
    for module in model.children():
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            module.eval().requires_grad_(False)


def eval_all(model):
    model.eval()
    freeze(nn.BatchNorm1d | nn.BatchNorm2d)(model)


def grouped(
    *,
    order=lambda groups: groups,
    rate=lambda steps, lr, decay: lr * decay**steps,
    learning=lambda parameter: parameter.requires_grad,
    counts_frozen=True,
    keeps_empty=False,
):
    def groups(blocks, lr, decay):
        made, steps = [], 0
        for block in reversed(blocks):
            parameters = [parameter for parameter in block.parameters() if learning(parameter)]
            if parameters or keeps_empty:
                made.append({"params": parameters, "lr": rate(steps, lr, decay)})
            steps += bool(parameters) or counts_frozen
        return order(made)

    return groups


def tuned(*, early=False, still=True, affine=False, steps=1.0, whole_head=True, zero=True):
    def tune(backbone, head, dataloader, lr):
        model = nn.Sequential(backbone, head)
        chosen = [parameter for parameter in model.parameters() if parameter.requires_grad]
        for module in backbone.modules():
            module.requires_grad_(affine or not isinstance(module, nn.BatchNorm2d))
        if not early:
            chosen = [parameter for parameter in model.parameters() if parameter.requires_grad]
        if not whole_head:
            chosen = [parameter for parameter in chosen if parameter is not head.bias]
        optimizer = torch.optim.SGD(chosen, lr=lr * steps)
        for images, labels in dataloader:
            model.train()
            for module in backbone.modules():
                if still and isinstance(module, nn.BatchNorm2d):
                    module.eval()
            loss = nn.functional.cross_entropy(model(images), labels)
            if zero:
                optimizer.zero_grad()
            loss.backward()
            optimizer.step()

    return tune


def stop(*, worse=lambda loss, best: loss >= best, reset=True, last_kept=False, extra=0):
    def early_stopping(losses, patience):
        best, waited = 0, 0
        for epoch, loss in enumerate(losses):
            if epoch and worse(loss, losses[best]):
                waited += 1
            else:
                best, waited = epoch, 0 if reset else waited
            if waited == patience + extra:
                return (epoch if last_kept else best) + 1, epoch + 1
        return (len(losses) if last_kept else best + 1), len(losses)

    return early_stopping


def against_the_epoch_before(losses, patience):
    waited = 0
    for epoch in range(1, len(losses)):
        waited = waited + 1 if losses[epoch] >= losses[epoch - 1] else 0
        if waited == patience:
            return losses.index(min(losses[: epoch + 1])) + 1, epoch + 1
    return losses.index(min(losses)) + 1, len(losses)


def right_stop(losses, patience):
    return stop()(losses, patience)


def best_mean(scores, test):
    best = max(range(len(scores)), key=lambda i: mean(scores[i]))
    return best, test[best]


def within(
    scores,
    test,
    *,
    error=lambda folds: stdev(folds) / len(folds) ** 0.5,
    reported=lambda scores, test, i: test[i],
    own_error=False,
):
    best, _ = best_mean(scores, test)
    for i, folds in enumerate(scores):
        if mean(folds) + error(folds if own_error else scores[best]) >= mean(scores[best]):
            return i, reported(scores, test, i)
    return None


class Constant(nn.Module):
    def forward(self, images):
        return torch.tensor([[1.0, 0.0, 0.0]]).expand(len(images), -1)


def head_on_small_images(images, labels):
    torch.manual_seed(1)
    model, _ = model_builder.create_model("efficientnet_lite0", 3)
    with torch.no_grad():
        features = model_builder.backbone(model)(images).flatten(1)
    head = model_builder.head(model)
    optimizer = torch.optim.AdamW(head.parameters(), lr=1e-3)
    for _ in range(100):
        loss = nn.functional.cross_entropy(head(features), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return model


WRONG = {
    "drawn_gain": [
        gained(of_draw=set),
        gained(per=1),
        gained(sign=-1),
        gained(by_table=True),
        gained(divides_by=len),
        lambda before, after, tables, drawn: 100 * mean(b - a for a, b in zip(before, after, strict=True)),
        lambda before, after, tables, drawn: sum(b - a for a, b in zip(before, after, strict=True)),
    ],
    "freeze_batch_norm": [
        freeze(nn.BatchNorm2d),
        freeze(nn.BatchNorm1d | nn.BatchNorm2d, parameters=False),
        freeze(nn.BatchNorm1d | nn.BatchNorm2d, mode=False),
        freeze(nn.BatchNorm1d | nn.BatchNorm2d | nn.LayerNorm),
        children_only,
        eval_all,
        lambda model: model.requires_grad_(False),
        lambda model: None,
    ],
    "groups": [
        grouped(order=lambda groups: groups[::-1]),
        grouped(rate=lambda steps, lr, decay: lr * decay ** (steps + 1)),
        grouped(rate=lambda steps, lr, decay: lr),
        grouped(rate=lambda steps, lr, decay: lr / decay**steps),
        grouped(learning=lambda parameter: True),
        grouped(counts_frozen=False),
        grouped(keeps_empty=True),
        lambda blocks, lr, decay: [lr * decay**steps for steps in range(len(blocks))],
        lambda blocks, lr, decay: None,
    ],
    "tune": [
        tuned(early=True, still=False),
        tuned(early=True),
        tuned(still=False),
        tuned(affine=True),
        tuned(steps=0.5),
        tuned(whole_head=False),
        tuned(zero=False),
        lambda backbone, head, dataloader, lr: None,
    ],
    "early_stopping": [
        stop(worse=lambda loss, best: loss > best),
        stop(reset=False),
        stop(last_kept=True),
        stop(extra=1),
        against_the_epoch_before,
        lambda losses, patience: (losses.index(min(losses)) + 1, len(losses)),
        lambda losses, patience: tuple(value - 1 for value in right_stop(losses, patience)),
        lambda losses, patience: right_stop(losses, patience)[::-1],
    ],
    "choice": [
        lambda scores, test: best_mean(scores, test),
        lambda scores, test: (test.index(max(test)), max(test)),
        lambda scores, test: within(scores, test, error=lambda folds: stdev(folds)),
        lambda scores, test: within(scores, test, error=lambda folds: pstdev(folds) / len(folds) ** 0.5),
        lambda scores, test: within(scores, test, error=lambda folds: stdev(folds) / len(folds)),
        lambda scores, test: within(scores, test, reported=lambda scores, test, i: mean(scores[i])),
        lambda scores, test: within(scores, test, own_error=True),
        lambda scores, test: (0, test[0]),
    ],
    "network": [
        lambda images, labels: nn.Sequential(nn.Flatten(), nn.Linear(3 * 64 * 64, 3)),
        lambda images, labels: Constant(),
        lambda images, labels: labels,
        lambda images, labels: nn.Sequential(nn.Flatten(), nn.Linear(3 * 64 * 64, 4)),
        head_on_small_images,
    ],
}
