"""Wrong answers to the exercises of notebook 06 that a learner might give."""

from torch import nn


def stratified(test, *, by_class=True):
    def is_stratified(parts, shares):
        everything = [label for part in parts for label in part]
        labels = set(everything) if by_class else ()
        sizes = [(len(part), share * len(everything)) for part, share in zip(parts, shares, strict=True)]
        counts = [
            (part.count(label), share * everything.count(label))
            for part, share in zip(parts, shares, strict=True)
            for label in labels
        ]
        return all(test(count, wanted) for count, wanted in (counts if by_class else sizes))

    return is_stratified


def same_shares_in_all(parts, shares):
    everything = [label for part in parts for label in part]
    return all(
        abs(part.count(label) / len(part) - everything.count(label) / len(everything)) < 0.05
        for part in parts
        for label in set(everything)
    )


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


WRONG = {
    "is_stratified": [
        stratified(lambda count, wanted: abs(count - wanted) <= 1, by_class=False),
        stratified(lambda count, wanted: count == wanted),
        stratified(lambda count, wanted: abs(count - wanted) < 1),
        stratified(lambda count, wanted: abs(count - wanted) <= 2),
        stratified(lambda count, wanted: count - wanted <= 1),
        same_shares_in_all,
        lambda parts, shares: True,
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
    "learning_rates": [
        lambda blocks, lr, decay: [lr * decay**block for block in range(blocks)],
        lambda blocks, lr, decay: [lr * decay ** (blocks - block) for block in range(blocks)],
        lambda blocks, lr, decay: [lr * decay] * blocks,
        lambda blocks, lr, decay: [lr - decay * (blocks - 1 - block) * lr for block in range(blocks)],
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
    "report": [
        lambda validation, test: (test.index(max(test)), max(test)),
        lambda validation, test: (validation.index(max(validation)), max(validation)),
        lambda validation, test: (validation.index(max(validation)), max(test)),
        lambda validation, test: max(range(len(test)), key=lambda i: (validation[i], test[i])),
        lambda validation, test: max((v, t, i) for i, (v, t) in enumerate(zip(validation, test, strict=True)))[:0:-1],
    ],
}
