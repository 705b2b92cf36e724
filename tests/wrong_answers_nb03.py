"""Wrong answers to the exercises of notebook 03 that a learner might give."""

import torch

from going_modular import metrics


def in_inference_mode(backbone, dataloader):
    backbone.eval()
    with torch.inference_mode():
        batches = [(backbone(images), labels) for images, labels in dataloader]
        return torch.cat([f for f, _ in batches]), torch.cat([label for _, label in batches])


def with_a_graph(backbone, dataloader):
    backbone.eval()
    batches = [(backbone(images), labels) for images, labels in dataloader]
    return torch.cat([f for f, _ in batches]), torch.cat([label for _, label in batches])


@torch.no_grad()
def in_the_mode_it_came_in(backbone, dataloader):
    batches = [(backbone(images), labels) for images, labels in dataloader]
    return torch.cat([f for f, _ in batches]), torch.cat([label for _, label in batches])


@torch.no_grad()
def full_batches_only(backbone, dataloader):
    backbone.eval()
    batches = [(backbone(images), labels) for images, labels in dataloader if len(labels) == 3]
    return torch.cat([f for f, _ in batches]), torch.cat([label for _, label in batches])


@torch.no_grad()
def lists_of_batches(backbone, dataloader):
    backbone.eval()
    batches = [(backbone(images), labels) for images, labels in dataloader]
    return [f for f, _ in batches], [label for _, label in batches]


@torch.no_grad()
def the_last_batch(backbone, dataloader):
    backbone.eval()
    images, labels = list(dataloader)[-1]
    return backbone(images), labels


def all_in_training(model):
    model.train()


def all_in_eval(model):
    model.eval()


def without_parameters_is_frozen(model):
    model.train()
    for child in model.children():
        if all(not parameter.requires_grad for parameter in child.parameters()):
            child.eval()


def any_frozen(model):
    model.train()
    for child in model.children():
        if any(not parameter.requires_grad for parameter in child.parameters()):
            child.eval()


def eval_only(model):
    for child in model.children():
        parameters = list(child.parameters())
        if parameters and not any(parameter.requires_grad for parameter in parameters):
            child.eval()


def not_what_it_contains(model):
    model.train()
    for child in model.children():
        parameters = list(child.parameters())
        if parameters and not any(parameter.requires_grad for parameter in parameters):
            child.training = False


def batch_means(batches):
    return sum((logits.argmax(1) == labels).float().mean().item() for logits, labels in batches) / len(batches)


def over_the_first_batchs_size(batches):
    correct = sum((logits.argmax(1) == labels).sum().item() for logits, labels in batches)
    return correct / (len(batches) * len(batches[0][1]))


def the_count(batches):
    return sum((logits.argmax(1) == labels).sum().item() for logits, labels in batches)


def the_last_accuracy(batches):
    for logits, labels in batches:
        accuracy = (logits.argmax(1) == labels).float().mean().item()
    return accuracy


def the_smallest_logit(batches):
    correct = sum((logits.argmin(1) == labels).sum().item() for logits, labels in batches)
    return correct / sum(len(labels) for _, labels in batches)


def cut(order, k):
    return [([i for i in order if i not in order[start::k]], order[start::k]) for start in range(k)]


def unshuffled(n, k, seed):
    return cut(list(range(n)), k)


def blocks(n, k, seed):
    size = -(-n // k)
    parts = [list(range(start, min(start + size, n))) for start in range(0, n, size)]
    return [([i for i in range(n) if i not in part], part) for part in parts]


def trained_on_everything(n, k, seed):
    order = torch.randperm(n, generator=torch.Generator().manual_seed(seed)).tolist()
    return [(order, order[start::k]) for start in range(k)]


def drawn_anew(n, k, seed):
    generator = torch.Generator().manual_seed(seed)
    orders = [torch.randperm(n, generator=generator).tolist() for _ in range(k)]
    return [(order[n // k :], order[: n // k]) for order in orders]


def without_the_rest(n, k, seed):
    order = torch.randperm(n, generator=torch.Generator().manual_seed(seed)).tolist()
    size = n // k
    parts = [order[fold * size : (fold + 1) * size] for fold in range(k)]
    return [([i for i in order if i not in part], part) for part in parts]


def one_seed_for_all(n, k, seed):
    return cut(torch.randperm(n, generator=torch.Generator().manual_seed(0)).tolist(), k)


def validation_first(n, k, seed):
    order = torch.randperm(n, generator=torch.Generator().manual_seed(seed)).tolist()
    return [(validation, train) for train, validation in cut(order, k)]


def without_a_seed(n, k, seed):
    return cut(torch.randperm(n).tolist(), k)


def textbook(successes, trials, z=1.96):
    p = successes / trials
    half = z * (p * (1 - p) / trials) ** 0.5
    return p - half, p + half


def high_first(successes, trials, z=1.96):
    return tuple(reversed(metrics.wilson_interval(successes, trials)))


def undivided(successes, trials, z=1.96):
    p = successes / trials
    half = z * (p * (1 - p) / trials + z**2 / (4 * trials**2)) ** 0.5
    return p + z**2 / (2 * trials) - half, p + z**2 / (2 * trials) + half


def without_the_second_term(successes, trials, z=1.96):
    p = successes / trials
    half = z * (p * (1 - p) / trials) ** 0.5
    scale = 1 + z**2 / trials
    return (p + z**2 / (2 * trials) - half) / scale, (p + z**2 / (2 * trials) + half) / scale


def always_95_percent(successes, trials, z=1.96):
    return metrics.wilson_interval(successes, trials)


WRONG = {
    "cache_features": [
        in_inference_mode,
        with_a_graph,
        in_the_mode_it_came_in,
        full_batches_only,
        lists_of_batches,
        the_last_batch,
    ],
    "set_modes": [
        all_in_training,
        all_in_eval,
        without_parameters_is_frozen,
        any_frozen,
        eval_only,
        not_what_it_contains,
    ],
    "accuracy": [batch_means, over_the_first_batchs_size, the_count, the_last_accuracy, the_smallest_logit],
    "folds": [
        unshuffled,
        blocks,
        trained_on_everything,
        drawn_anew,
        without_the_rest,
        one_seed_for_all,
        without_a_seed,
        validation_first,
    ],
    "wilson": [high_first, textbook, undivided, without_the_second_term, always_95_percent],
}
