"""Wrong answers to the exercises of notebook 05 that a learner might give."""

import torch
from torch.nn import functional as F


def view(pick, *, scaled=True):
    def attention_map(attention):
        values = pick(attention)
        grid = int(values.shape[1] ** 0.5)
        values = values / values.sum(dim=1, keepdim=True) if scaled else values
        return values[:, -(grid**2) :].reshape(-1, grid, grid)

    return attention_map


def resized(*, mode="bicubic", align_corners=True):
    def interpolate(positions, new_grid):
        grid = round((positions.shape[1] - 1) ** 0.5)
        square = positions[:, 1:].transpose(1, 2).unflatten(2, (grid, grid))
        square = F.interpolate(square, size=(new_grid, new_grid), mode=mode, align_corners=align_corners)
        return torch.cat([positions[:, :1], square.flatten(2).transpose(1, 2)], dim=1)

    return interpolate


def cut_before_turning(positions, new_grid):
    grid = round((positions.shape[1] - 1) ** 0.5)
    square = positions[:, 1:].reshape(1, -1, grid, grid)
    square = F.interpolate(square, size=(new_grid, new_grid), mode="bicubic", align_corners=True)
    return torch.cat([positions[:, :1], square.flatten(2).transpose(1, 2)], dim=1)


def along_the_sequence(positions, new_grid):
    tokens = 1 + new_grid**2
    return F.interpolate(positions.transpose(1, 2), size=tokens, mode="linear", align_corners=True).transpose(1, 2)


def class_token_last(positions, new_grid):
    right = resized()(positions, new_grid)
    return torch.cat([right[:, 1:], right[:, :1]], dim=1)


def quantiles(seconds, scale=1000):
    times = scale * torch.tensor(seconds)
    return times.quantile(0.5).item(), times.quantile(0.95).item()


def mean_and_worst(seconds):
    times = [1000 * value for value in seconds[1:]]
    return sum(times) / len(times), max(times)


def by_rank(seconds):
    times = sorted(1000 * value for value in seconds[1:])
    return times[len(times) // 2], times[int(0.95 * len(times))]


def front(dominates, key=lambda model: model[1], reverse=False):
    def worth_a_look(models):
        names = [name for name in models if not any(dominates(o, models[name]) for o in models.values())]
        return sorted(names, key=lambda name: key(models[name]), reverse=reverse)

    return worth_a_look


def dominates(one, other):
    return one[0] >= other[0] and one[1] <= other[1] and one != other


WRONG = {
    "attention_map": [
        view(lambda attention: attention[0].mean(dim=1)[:, 0, 1:]),
        view(lambda attention: attention[-1].mean(dim=1)[:, 1:, 0]),  # how patches look at the class token
        view(lambda attention: attention[-1][:, 0, 0, 1:]),  # one head
        view(lambda attention: attention.mean(dim=0).mean(dim=1)[:, 0, 1:]),
        view(lambda attention: attention[-1].mean(dim=1)[:, 0, 1:], scaled=False),
        view(lambda attention: attention[-1].mean(dim=1)[:, 0]),  # scaled with the class token itself
        view(lambda attention: attention[-1].mean(dim=1)[:, 0, :-1]),
    ],
    "interpolate": [
        lambda positions, new_grid: positions,
        resized(mode="bilinear"),
        resized(align_corners=False),
        cut_before_turning,
        along_the_sequence,
        class_token_last,
        lambda positions, new_grid: resized()(positions, new_grid)[:, 1:],
    ],
    "file_size": [
        lambda model: sum(p.numel() for p in model.parameters()) / 1e6,
        lambda model: sum(4 * p.numel() for p in model.parameters()) / 1e6,
        lambda model: sum(4 * t.numel() for t in model.state_dict().values()) / 1e6,
        lambda model: sum(t.numel() * t.element_size() for t in model.state_dict().values()),
        lambda model: sum(t.numel() * t.element_size() for t in model.state_dict().values()) / 2**20,
        lambda model: sum(p.numel() * p.element_size() for p in model.parameters()) / 1e6,
    ],
    "latency": [
        quantiles,
        lambda seconds: quantiles(seconds[1:], scale=1),
        lambda seconds: quantiles(seconds[:-1]),
        lambda seconds: quantiles(seconds[1:])[::-1],
        mean_and_worst,
        by_rank,
        lambda seconds: (
            1000 * torch.tensor(seconds[1:]).median().item(),  # the lower one of two in the middle
            quantiles(seconds[1:])[1],
        ),
    ],
    "worth_a_look": [
        lambda models: sorted(models, key=lambda name: models[name][1]),
        lambda models: [max(models, key=lambda name: models[name][0])],
        front(lambda one, other: one[0] > other[0] and one[1] < other[1]),
        front(lambda one, other: one[0] >= other[0] and one[1] <= other[1]),  # each dominates itself
        front(lambda one, other: one[0] > other[0] and one[1] <= other[1]),
        front(dominates, key=lambda model: model[0], reverse=True),
    ],
}
