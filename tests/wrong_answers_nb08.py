"""Wrong answers to the exercises of notebook 08 that a learner might give."""

import math


def in_a_block(size):
    return lambda length, rank, processes: list(range(length))[rank * size(length, processes) :][
        : size(length, processes)
    ]


def padded(length, rank, processes):
    each = math.ceil(length / processes)
    return [index % length for index in range(rank, each * processes, processes)]


def in_parts(*, weigh=lambda part, batch, parts: part / batch, zero=True, drop=False):
    def accumulate(model, loss_fn, images, labels, size):
        if zero:
            model.zero_grad()
        parts = list(zip(images.split(size), labels.split(size), strict=True))
        for part, part_labels in parts:
            if drop and len(part) < size:
                continue
            (loss_fn(model(part), part_labels) * weigh(len(part), len(images), len(parts))).backward()

    return accumulate


def zeroed_each_time(model, loss_fn, images, labels, size):
    for part, part_labels in zip(images.split(size), labels.split(size), strict=True):
        model.zero_grad()
        (loss_fn(model(part), part_labels) * len(part) / len(images)).backward()


def all_at_once(model, loss_fn, images, labels, size):
    model.zero_grad()
    loss_fn(model(images), labels).backward()


def reckoned(rounds, *, share=lambda seconds, devices: seconds / devices):
    def scaling(seconds, parameters, bandwidth, devices):
        return seconds / (share(seconds, devices) + rounds(devices) * 4 * parameters / bandwidth)

    return scaling


def ring(devices):
    return 2 * (devices - 1) / devices


WRONG = {
    "shard": [
        in_a_block(lambda length, processes: length // processes),
        in_a_block(lambda length, processes: math.ceil(length / processes)),
        padded,
        lambda length, rank, processes: range(rank, length, processes),
        lambda length, rank, processes: list(range(rank + 1, length + 1, processes)),
        lambda length, rank, processes: list(range(length)),
        lambda length, rank, processes: list(range(length)) if rank == 0 else [],
    ],
    "together": [
        lambda right, seen: sum(r / s for r, s in zip(right, seen, strict=True)) / len(seen),
        lambda right, seen: sum(r / s for r, s in zip(right, seen, strict=True) if s) / sum(s > 0 for s in seen),
        lambda right, seen: 100 * sum(right) / sum(seen),
        lambda right, seen: sum(right) / len(seen),
    ],
    "accumulate": [
        in_parts(weigh=lambda part, batch, parts: 1),
        in_parts(weigh=lambda part, batch, parts: 1 / parts),
        in_parts(zero=False),
        in_parts(drop=True),
        zeroed_each_time,
        all_at_once,
        lambda model, loss_fn, images, labels, size: model.zero_grad(),
    ],
    "scaling": [
        lambda seconds, parameters, bandwidth, devices: float(devices),
        reckoned(lambda devices: 2 * (devices - 1)),
        reckoned(lambda devices: (devices - 1) / devices),
        reckoned(lambda devices: ring(devices) / 4),
        reckoned(ring, share=lambda seconds, devices: seconds),
        lambda *arguments: 1 / reckoned(ring)(*arguments),
    ],
}
