"""Wrong answers to the exercises of notebook 05 that a learner might give."""

import numpy as np
import torch
from torch.nn import functional as F


def ask(*, train=lambda fold: fold[0], judge=lambda fold: fold[1], block=lambda k: k):
    def ask_blocks(features, labels, folds, make_probe):
        right = np.zeros(features.shape[:2], dtype=bool)
        for k in range(len(features)):
            values = features[block(k)]
            for fold in folds:
                rows = judge(fold)
                probe = make_probe().fit(values[train(fold)], labels[train(fold)])
                right[k, rows] = probe.predict(values[rows]) == labels[rows]
        return right

    return ask_blocks


def in_the_order_of_the_folds(features, labels, folds, make_probe):
    rows = []
    for values in features:
        fitted = [(make_probe().fit(values[a], labels[a]), b) for a, b in folds]
        rows.append(np.concatenate([probe.predict(values[b]) == labels[b] for probe, b in fitted]))
    return np.stack(rows)


def predictions(features, labels, folds, make_probe):
    found = np.zeros(features.shape[:2], dtype=int)
    for k, values in enumerate(features):
        for a, b in folds:
            found[k, b] = make_probe().fit(values[a], labels[a]).predict(values[b])
    return found


def components(prepare, pick):
    def pca(tokens, k):
        values = prepare(tokens)
        u, s, vt = torch.linalg.svd(values, full_matrices=False)
        return pick(values, u, s, vt, k)

    return pca


def centre(tokens):
    return tokens - tokens.mean(dim=0)


def vote(*, scale=True, largest=True, count=False, k_more=0, swap=False):
    def neighbours(queries, features, labels, k):
        a, b = (F.normalize(v, dim=1) if scale else v for v in (queries, features))
        weights, nearest = (a @ b.T).topk(k + k_more, dim=1, largest=largest)
        weights = torch.ones_like(weights) if count else weights
        votes = torch.zeros(len(queries), int(labels.max()) + 1).scatter_add_(1, labels[nearest], weights)
        found = nearest, votes.argmax(dim=1)
        return found[::-1] if swap else found

    return neighbours


def by_distance(queries, features, labels, k):
    nearest = torch.cdist(queries, features).topk(k, dim=1, largest=False).indices
    return nearest, labels[nearest].mode(dim=1).values


def nearest_last(queries, features, labels, k):
    nearest, classes = vote()(queries, features, labels, k)
    return nearest.flip(1), classes


def the_first_neighbours_class(queries, features, labels, k):
    nearest, _ = vote()(queries, features, labels, k)
    return nearest, labels[nearest[:, 0]]


def resized(*, mode="bicubic", align_corners=False):
    def interpolate(positions, new_grid):
        grid = round((positions.shape[1] - 1) ** 0.5)
        square = positions[:, 1:].transpose(1, 2).unflatten(2, (grid, grid))
        square = F.interpolate(square, size=(new_grid, new_grid), mode=mode, align_corners=align_corners)
        return torch.cat([positions[:, :1], square.flatten(2).transpose(1, 2)], dim=1)

    return interpolate


def cut_before_turning(positions, new_grid):
    grid = round((positions.shape[1] - 1) ** 0.5)
    square = positions[:, 1:].reshape(1, -1, grid, grid)
    square = F.interpolate(square, size=(new_grid, new_grid), mode="bicubic", align_corners=False)
    return torch.cat([positions[:, :1], square.flatten(2).transpose(1, 2)], dim=1)


def along_the_sequence(positions, new_grid):
    tokens = 1 + new_grid**2
    return F.interpolate(positions.transpose(1, 2), size=tokens, mode="linear", align_corners=False).transpose(1, 2)


def class_token_last(positions, new_grid):
    right = resized()(positions, new_grid)
    return torch.cat([right[:, 1:], right[:, :1]], dim=1)


def choose(score, *, pick=max):
    def choice(candidates, labels, folds, settings, make_probe):
        scores = {
            (name, setting): score(values, labels, folds, setting, make_probe)
            for name, values in candidates.items()
            for setting in settings
        }
        return pick(scores, key=scores.get)

    return choice


def fitted_and_judged(values, labels, train, judge, setting, make_probe):
    probe = make_probe(setting).fit(values[train], labels[train])
    return (probe.predict(values[judge]) == labels[judge]).sum()


def on_what_it_was_fitted(values, labels, folds, setting, make_probe):
    return sum(fitted_and_judged(values, labels, a, a, setting, make_probe) for a, _ in folds)


def held_out(values, labels, folds, setting, make_probe):
    return sum(fitted_and_judged(values, labels, a, b, setting, make_probe) for a, b in folds)


def on_everything(values, labels, folds, setting, make_probe):
    return (make_probe(setting).fit(values, labels).predict(values) == labels).mean()


def the_first_fold(values, labels, folds, setting, make_probe):
    return held_out(values, labels, folds[:1], setting, make_probe)


def name_alone(candidates, labels, folds, settings, make_probe):
    return choose(held_out)(candidates, labels, folds, settings, make_probe)[0]


WRONG = {
    "ask_blocks": [
        ask(train=np.concatenate),  # the held-out images, too
        ask(judge=lambda fold: fold[0]),
        ask(train=lambda fold: fold[1], judge=lambda fold: fold[0]),
        ask(block=lambda k: 0),
        ask(block=lambda k: -1),
        in_the_order_of_the_folds,
        predictions,
        lambda *given: ask()(*given).mean(axis=1),
        lambda *given: ask()(*given).T,
    ],
    "pca": [
        components(lambda tokens: tokens, lambda values, u, s, vt, k: values @ vt[:k].T),
        components(lambda tokens: tokens - tokens.mean(), lambda values, u, s, vt, k: values @ vt[:k].T),
        components(
            lambda tokens: tokens - tokens.mean(dim=1, keepdim=True), lambda values, u, s, vt, k: values @ vt[:k].T
        ),
        components(lambda tokens: centre(tokens) / tokens.std(dim=0), lambda values, u, s, vt, k: values @ vt[:k].T),
        components(centre, lambda values, u, s, vt, k: values @ vt[:, :k]),
        components(centre, lambda values, u, s, vt, k: values @ vt[-k:].T),
        components(centre, lambda values, u, s, vt, k: u[:, :k]),
        components(centre, lambda values, u, s, vt, k: vt[:k].T),
        components(centre, lambda values, u, s, vt, k: (values @ vt[:k].T).flip(1)),
        components(centre, lambda values, u, s, vt, k: (values + 1) @ vt[:k].T),
    ],
    "neighbours": [
        vote(scale=False),
        vote(largest=False),
        vote(count=True),
        vote(k_more=1),
        vote(swap=True),
        by_distance,
        nearest_last,
        the_first_neighbours_class,
        lambda *given: vote()(*given)[1],
    ],
    "interpolate": [
        lambda positions, new_grid: positions,
        resized(mode="bilinear"),
        resized(align_corners=True),
        cut_before_turning,
        along_the_sequence,
        class_token_last,
        lambda positions, new_grid: resized()(positions, new_grid)[:, 1:],
    ],
    "choice": [
        choose(on_what_it_was_fitted),
        choose(on_everything),
        choose(the_first_fold),
        choose(held_out, pick=min),
        name_alone,
        lambda candidates, labels, folds, settings, make_probe: (next(iter(candidates)), settings[0]),
        lambda candidates, labels, folds, settings, make_probe: ("a signal", settings[0]),
    ],
}
