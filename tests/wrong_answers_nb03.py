"""Wrong answers to the exercises of notebook 03 that a learner might give."""

import functools
import random

import torch
from torch import nn


def in_inference_mode(backbone, dataloader, device):
    backbone.eval()
    with torch.inference_mode():
        batches = [(backbone(images), labels) for images, labels in dataloader]
        return torch.cat([f for f, _ in batches]), torch.cat([label for _, label in batches])


def with_a_graph(backbone, dataloader, device):
    backbone.eval()
    batches = [(backbone(images), labels) for images, labels in dataloader]
    return torch.cat([f for f, _ in batches]), torch.cat([label for _, label in batches])


@torch.no_grad()
def in_the_mode_it_came_in(backbone, dataloader, device):
    batches = [(backbone(images), labels) for images, labels in dataloader]
    return torch.cat([f for f, _ in batches]), torch.cat([label for _, label in batches])


@torch.no_grad()
def full_batches_only(backbone, dataloader, device):
    backbone.eval()
    batches = [(backbone(images), labels) for images, labels in dataloader if len(labels) == 3]
    return torch.cat([f for f, _ in batches]), torch.cat([label for _, label in batches])


@torch.no_grad()
def lists_of_batches(backbone, dataloader, device):
    backbone.eval()
    batches = [(backbone(images), labels) for images, labels in dataloader]
    return [f for f, _ in batches], [label for _, label in batches]


@torch.no_grad()
def the_last_batch(backbone, dataloader, device):
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


def by_group(members, k, seed, *, shuffled=True, at_random=None, cut=lambda names, part, k: names[part::k]):
    """Return folds by group with one thing changed."""
    names = sorted(set(members))
    if shuffled:
        (at_random or random.Random(seed)).shuffle(names)
    folds = []
    for part in range(k):
        held = set(cut(names, part, k))
        train = [i for i, group in enumerate(members) if group not in held]
        folds.append((train, [i for i, group in enumerate(members) if group in held]))
    return folds


def by_image(members, k, seed):
    order = list(range(len(members)))
    random.Random(seed).shuffle(order)
    return [([i for i in order if i not in order[part::k]], order[part::k]) for part in range(k)]


def trained_on_everything(members, k, seed):
    return [(list(range(len(members))), validation) for _, validation in by_group(members, k, seed)]


def drawn_anew(members, k, seed):
    return [by_group(members, k, f"{seed} {part}")[0] for part in range(k)]


def validation_first(members, k, seed):
    return [(validation, train) for train, validation in by_group(members, k, seed)]


def names_in_place_of_positions(members, k, seed):
    return [tuple([members[i] for i in part] for part in fold) for fold in by_group(members, k, seed)]


def blocks(names, part, k):
    size = len(names) // k
    return names[part * size : (part + 1) * size if part < k - 1 else len(names)]


def without_the_rest(names, part, k):
    size = len(names) // k
    return names[part * size : (part + 1) * size]


def labels_by(predict):
    """Return an answer of exercise 6 of a function that returns logits."""

    def few(features, labels, new_features):
        return predict(features, labels, new_features).argmax(dim=1)

    return few


def head_of(epochs, lr=1e-3):
    def logits(features, labels, new_features):
        torch.manual_seed(1)
        head = nn.Linear(features.shape[1], 3)
        optimizer = torch.optim.Adam(head.parameters(), lr=lr)
        for _ in range(epochs):
            optimizer.zero_grad()
            nn.functional.cross_entropy(head(features), labels).backward()
            optimizer.step()
        return head(new_features)

    return logits


def nearest_mean(features, labels, new_features):
    means = torch.stack([features[labels == label].mean(dim=0) for label in range(3)])
    return torch.cdist(new_features, means).argmin(dim=1)


def nearest_mean_of_unit_lengths(features, labels, new_features):
    return nearest_mean(nn.functional.normalize(features), labels, nn.functional.normalize(new_features))


def smallest_angle_to_a_mean(features, labels, new_features):
    means = torch.stack([features[labels == label].mean(dim=0) for label in range(3)])
    return nn.functional.cosine_similarity(new_features[:, None], means, dim=2).argmax(dim=1)


def tried(compatible, count=10_000):
    def interval(right, total, z=1.96):
        found = [a / count for a in range(count + 1) if compatible(right / total, a / count, total, z)]
        return found[0], found[-1]

    return interval


def textbook(right, total, z=1.96):
    share = right / total
    half = z * (share * (1 - share) / total) ** 0.5
    return share - half, share + half


def spread_of_the_score(share, a, total, z):
    return abs(share - a) <= z * (share * (1 - share) / total) ** 0.5


def without_the_number(share, a, total, z):
    return abs(share - a) <= z * (a * (1 - a) / 75) ** 0.5


def always_95_percent(share, a, total, z):
    return abs(share - a) <= 1.96 * (a * (1 - a) / total) ** 0.5


def wilson(share, a, total, z):
    return abs(share - a) <= z * (a * (1 - a) / total) ** 0.5


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
    "harmless": [
        lambda n, sizes: [size for size in sizes if n % size == 0],
        lambda n, sizes: [size for size in sizes if size >= n],
        lambda n, sizes: [size for size in sizes if size == 1],
        lambda n, sizes: [size for size in sizes if n % size],
        lambda n, sizes: [size for size in sizes if size <= n],
        lambda n, sizes: sorted(size for size in sizes if n % size == 0 or size >= n),
        lambda n, sizes: {size for size in sizes if n % size == 0 or size >= n},
    ],
    "folds": [
        functools.partial(by_group, shuffled=False),
        functools.partial(by_group, shuffled=False, cut=blocks),
        functools.partial(by_group, cut=blocks),
        functools.partial(by_group, cut=without_the_rest),
        lambda members, k, seed: by_group(members, k, 0),  # one seed for all
        lambda members, k, seed: by_group(members, k, seed, at_random=random.SystemRandom()),
        lambda members, k, seed: by_group(members, k + 1, seed),
        by_image,
        trained_on_everything,
        drawn_anew,
        validation_first,
        names_in_place_of_positions,
    ],
    "few": [
        labels_by(head_of(1)),
        labels_by(head_of(5)),
        nearest_mean,
        nearest_mean_of_unit_lengths,
        smallest_angle_to_a_mean,
        labels_by(lambda features, labels, new_features: torch.randn(len(new_features), 3)),
        lambda features, labels, new_features: torch.zeros(len(new_features), dtype=torch.int64),
        lambda features, labels, new_features: head_of(100)(features, labels, new_features),
        lambda features, labels, new_features: labels,
        lambda features, labels, new_features: head_of(100)(features, labels, new_features).argmax(dim=1).tolist(),
    ],
    "interval": [
        textbook,
        tried(spread_of_the_score),
        tried(without_the_number),
        tried(always_95_percent),
        lambda right, total, z=1.96: tried(wilson)(right, total, z)[::-1],
        tried(wilson, count=100),
        lambda right, total, z=1.96: right / total,
    ],
    "table": [
        lambda: (158 / 200, 181 / 200, 32, True),
        lambda: (181 / 200, 167 / 200, 32, True),
        lambda: (167 / 200, 158 / 200, 32, True),
        lambda: (167 / 200, 181 / 200, 200, True),
        lambda: (167 / 200, 181 / 200, 14, True),
        lambda: (167 / 200, 181 / 200, 32, False),
        lambda: (167 / 200, 181 / 200, 32, 0.02),
        lambda: (167, 181, 32, True),
        lambda: True,
    ],
}
