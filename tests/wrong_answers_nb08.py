"""Wrong answers to the exercises of notebook 08 that a learner might give."""

import torch
from torch.nn import functional as F


def averaged(*, weigh=True, divide="images", take_part=True, learns_from_none=True, skip_frozen=True):
    def average_gradients(model, images, all_reduce):
        total, processes = torch.tensor(float(images)), torch.tensor(1.0)
        all_reduce(total)
        all_reduce(processes)
        for parameter in model.parameters():
            if skip_frozen and not parameter.requires_grad:
                continue
            if parameter.grad is None:
                if not take_part:
                    continue
                parameter.grad = torch.zeros_like(parameter)
            if weigh:
                parameter.grad *= images
            sum_of_all = parameter.grad.clone()
            all_reduce(sum_of_all)
            sum_of_all /= {"images": total, "processes": processes, "nothing": 1}[divide]
            if images or learns_from_none:
                parameter.grad = sum_of_all

    return average_gradients


def averaged_in_the_wrong_order(model, images, all_reduce):
    total = torch.tensor(float(images))
    all_reduce(total)
    for parameter in filter(lambda parameter: parameter.requires_grad, model.parameters()):
        gradient = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
        all_reduce(gradient)
        parameter.grad = gradient * images / total


def first_process_only(model, images, all_reduce):
    if images:
        averaged()(model, images, all_reduce)


# the five bugs of the exercise, and others that come with mending them
def trained(
    *,
    order=lambda epoch, length: torch.randperm(length, generator=torch.Generator().manual_seed(epoch)),
    share=lambda batch, rank, processes: batch[rank::processes],
    early_step=False,
    weigh=lambda mine, batch, processes: mine / batch,
    accuracy="sums",
    epochs=2,
    zero=True,
):
    def train_shares(model, images, labels, rank, processes, all_reduce):
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        for epoch in range(epochs):
            for batch in order(epoch, len(images)).split(8):
                mine = share(batch, rank, processes)
                loss = F.cross_entropy(model(images[mine]), labels[mine])
                if zero:
                    optimizer.zero_grad()
                (loss * weigh(len(mine), len(batch), processes)).backward()
                if early_step:
                    optimizer.step()
                for parameter in model.parameters():
                    all_reduce(parameter.grad)
                if not early_step:
                    optimizer.step()
        with torch.no_grad():
            right = (model(images[rank::processes]).argmax(dim=1) == labels[rank::processes]).double()
        return measured(right, len(images), processes, all_reduce)

    def measured(right, length, processes, all_reduce):
        result = right.sum() if accuracy == "sums" else right.mean()
        if accuracy != "own":
            all_reduce(result)
        return result.item() / {"sums": length, "means": processes, "own": 1}[accuracy]

    return train_shares


def as_it_was_given(model, images, labels, rank, processes, all_reduce):
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for _ in range(2):
        order = torch.randperm(len(images))
        for batch in order.split(8):
            mine = batch[: len(batch) // processes]
            loss = F.cross_entropy(model(images[mine]), labels[mine])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            for parameter in model.parameters():
                all_reduce(parameter.grad)
                parameter.grad /= processes
    with torch.no_grad():
        right = (model(images[rank::processes]).argmax(dim=1) == labels[rank::processes]).float().mean()
    all_reduce(right)
    return right.item() / processes


def only_the_first_adds_up(model, images, labels, rank, processes, all_reduce):
    def add_up(tensor):
        if rank == 0 or tensor.ndim:
            all_reduce(tensor)

    return trained()(model, images, labels, rank, processes, add_up)


def fits(*, gradients="learning", states=2, of="learning", whole=lambda images: max(int(images), 0)):
    def largest_batch(parameters, learning, per_image, memory):
        count = {"learning": learning, "parameters": parameters}
        left = memory - 4 * (parameters + count[gradients] + states * count[of])
        return whole(left // per_image)

    return largest_batch


def in_parts(*, weigh=lambda part, batch, parts: part / batch, zero=True, drop=False, retain=False):
    def accumulate(model, loss_fn, images, labels, size):
        if zero:
            model.zero_grad()
        parts = list(zip(images.split(size), labels.split(size), strict=True))
        for part, part_labels in parts:
            if drop and len(part) < size:
                continue
            loss = loss_fn(model(part), part_labels) * weigh(len(part), len(images), len(parts))
            loss.backward(retain_graph=retain)

    return accumulate


def zeroed_each_time(model, loss_fn, images, labels, size):
    for part, part_labels in zip(images.split(size), labels.split(size), strict=True):
        model.zero_grad()
        (loss_fn(model(part), part_labels) * len(part) / len(images)).backward()


def all_at_once(model, loss_fn, images, labels, size):
    model.zero_grad()
    loss_fn(model(images), labels).backward()


def one_backward_on_the_sum(model, loss_fn, images, labels, size):
    model.zero_grad()
    parts = zip(images.split(size), labels.split(size), strict=True)
    sum(loss_fn(model(part), truth) * len(part) / len(images) for part, truth in parts).backward()


def one_loss_over_all_logits(model, loss_fn, images, labels, size):
    model.zero_grad()
    loss_fn(torch.cat([model(part) for part in images.split(size)]), labels).backward()


def one_part_late(model, loss_fn, images, labels, size):
    model.zero_grad()
    waiting = None
    for part, part_labels in zip(images.split(size), labels.split(size), strict=True):
        loss = loss_fn(model(part), part_labels) * len(part) / len(images)
        if waiting is not None:
            waiting.backward()
        waiting = loss
    waiting.backward()


READ = {"ideal": "B", "amdahl": "A", "strong": "C", "weak": "D", "limit": 20, "strong_at_32": 2}


def sped_up(devices, gradient, link, weak, sent=None):
    sent = 2 * (devices - 1) / devices if sent is None else sent
    averaging = sent * gradient / link
    return devices / (1 + averaging) if weak else 1 / (1 / devices + averaging)


WRONG = {
    "average_gradients": [
        averaged(weigh=False, divide="processes"),
        averaged(divide="nothing"),
        averaged(weigh=False),
        averaged(divide="processes"),
        averaged(take_part=False),
        averaged(learns_from_none=False),
        averaged(skip_frozen=False),
        averaged_in_the_wrong_order,
        first_process_only,
        lambda model, images, all_reduce: None,
    ],
    "train_shares": [
        as_it_was_given,
        trained(order=lambda epoch, length: torch.randperm(length)),
        trained(order=lambda epoch, length: torch.randperm(length, generator=torch.Generator().manual_seed(0))),
        trained(order=lambda epoch, length: torch.arange(length)),
        trained(share=lambda batch, rank, processes: batch[: len(batch) // processes]),
        trained(share=lambda batch, rank, processes: batch.split(len(batch) // processes)[rank]),
        trained(share=lambda batch, rank, processes: batch),
        trained(early_step=True),
        trained(weigh=lambda mine, batch, processes: 1 / processes),
        trained(weigh=lambda mine, batch, processes: 1),
        trained(accuracy="means"),
        trained(accuracy="own"),
        trained(epochs=1),
        trained(zero=False),
        only_the_first_adds_up,
    ],
    "largest_batch": [
        fits(gradients="parameters"),
        fits(of="parameters"),
        fits(states=1),
        fits(states=0),
        fits(whole=int),
        lambda parameters, learning, per_image, memory: (memory - 4 * (parameters + 3 * learning)) / per_image,
        lambda parameters, learning, per_image, memory: max((memory - parameters - 3 * learning) // per_image, 0),
        lambda parameters, learning, per_image, memory: memory // per_image,
    ],
    "accumulate": [
        in_parts(weigh=lambda part, batch, parts: 1),
        in_parts(weigh=lambda part, batch, parts: 1 / parts),
        in_parts(zero=False),
        in_parts(drop=True),
        in_parts(retain=True),
        zeroed_each_time,
        all_at_once,
        one_backward_on_the_sum,
        one_loss_over_all_logits,
        one_part_late,
        lambda model, loss_fn, images, labels, size: model.zero_grad(),
    ],
    "speed_up": [
        lambda devices, gradient, link, weak: devices,
        lambda devices, gradient, link, weak: sped_up(devices, gradient, link, weak, sent=1),
        lambda devices, gradient, link, weak: sped_up(devices, gradient, link, weak, sent=2),
        lambda devices, gradient, link, weak: sped_up(devices, gradient, link, weak, sent=2 * (devices - 1)),
        lambda devices, gradient, link, weak: sped_up(devices, gradient, link, weak, sent=devices - 1),
        lambda devices, gradient, link, weak: sped_up(devices, gradient, link, False),
        lambda devices, gradient, link, weak: sped_up(devices, gradient, link, True),
        lambda devices, gradient, link, weak: 1 / sped_up(devices, gradient, link, weak),
        lambda devices, gradient, link, weak: sped_up(devices, gradient, link, weak) / (devices if weak else 1),
        lambda devices, gradient, link, weak: sped_up(devices, link, gradient, weak),
    ],
    "read_curves": [
        lambda: READ | {"weak": "B", "ideal": "D"},
        lambda: READ | {"amdahl": "D", "weak": "A"},
        lambda: READ | {"strong": "A", "amdahl": "C"},
        lambda: READ | {"limit": 5},
        lambda: READ | {"limit": 32},
        lambda: READ | {"strong_at_32": 32},
        lambda: READ | {"limit": "20"},
        lambda: {key: READ[key] for key in ("ideal", "weak")},
        lambda: "BADC",
    ],
}
