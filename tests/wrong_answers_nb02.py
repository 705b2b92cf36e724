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


def by_part(count_learning, count_frozen):
    return lambda model: {
        part: (count_learning(list(module.parameters())), count_frozen(list(module.parameters())))
        for part, module in model.named_children()
    }


def numbers(parameters, learning):
    return sum(p.numel() for p in parameters if p.requires_grad is learning)


def whole_model_for_each_part(model):
    every = list(model.parameters())
    return {part: (numbers(every, True), numbers(every, False)) for part, _ in model.named_children()}


def every_module_by_name(model):
    return {
        name: (numbers(module.parameters(), True), numbers(module.parameters(), False))
        for name, module in model.named_modules()
    }


def without_empty_parts(model):
    counts = by_part(lambda ps: numbers(ps, True), lambda ps: numbers(ps, False))(model)
    return {part: count for part, count in counts.items() if count != (0, 0)}


def buffers_too(model):
    return {
        part: (
            numbers(module.parameters(), True),
            sum(tensor.numel() for tensor in module.state_dict().values()) - numbers(module.parameters(), True),
        )
        for part, module in model.named_children()
    }


def epoch(*steps, mode="train", result=lambda losses: sum(losses) / len(losses)):
    """Return a training loop of some steps, named by a letter each: zero_grad, backward, step, note the loss."""

    def train(model, dataloader, loss_fn, optimizer):
        getattr(model, mode)()
        losses = []
        for images, labels in dataloader:
            loss = loss_fn(model(images), labels)
            does = {"z": optimizer.zero_grad, "b": loss.backward, "s": optimizer.step}
            for step in steps:
                does[step]()
            losses.append(loss.item())
        return result(losses)

    return train


def a_tensor_of_losses(model, dataloader, loss_fn, optimizer):
    return torch.tensor(epoch("z", "b", "s")(model, dataloader, loss_fn, optimizer))


def softmax_over_the_batch(logits, class_names):
    probabilities, best = logits.softmax(dim=0).max(dim=1)
    return [(class_names[i], p) for i, p in zip(best.tolist(), probabilities.tolist(), strict=True)]


def the_logit(logits, class_names):
    values, best = logits.max(dim=1)
    return [(class_names[i], v) for i, v in zip(best.tolist(), values.tolist(), strict=True)]


def sigmoid(logits, class_names):
    values, best = logits.sigmoid().max(dim=1)
    return [(class_names[i], v) for i, v in zip(best.tolist(), values.tolist(), strict=True)]


def by_exp(logits, class_names):
    values = logits.exp() / logits.exp().sum(dim=1, keepdim=True)
    return [(class_names[row.argmax()], row.max().item()) for row in values]


def the_first_row_only(logits, class_names):
    probabilities = logits.softmax(dim=1)[0]
    return [(class_names[probabilities.argmax()], probabilities.max().item())]


def tensors(logits, class_names):
    probabilities, best = logits.softmax(dim=1).max(dim=1)
    return [(class_names[i], p) for i, p in zip(best, probabilities, strict=True)]


def no_batch(pixels, transform, device):
    return transform(pixels.permute(2, 0, 1)).to(device)


def reshaped(pixels, transform, device):
    return transform(pixels.reshape(3, *pixels.shape[:2])).unsqueeze(0).to(device)


def float_first(pixels, transform, device):
    return transform(pixels.permute(2, 0, 1).float()).unsqueeze(0).to(device)


def no_transform(pixels, transform, device):
    return (pixels.permute(2, 0, 1).float() / 255).unsqueeze(0).to(device)


def stays_where_it_is(pixels, transform, device):
    return transform(pixels.permute(2, 0, 1)).unsqueeze(0)


def turned(pixels, transform, device):
    return transform(pixels.permute(2, 1, 0)).unsqueeze(0).to(device)


WRONG = {
    "freeze": [lambda model: model.eval(), set_on_children, weights_only, layers_only, torch.no_grad()(zeroed)],
    "parameters_by_part": [
        by_part(lambda ps: numbers(ps, True), lambda ps: sum(p.numel() for p in ps)),
        by_part(lambda ps: numbers(ps, False), lambda ps: numbers(ps, True)),
        by_part(lambda ps: sum(p.requires_grad for p in ps), lambda ps: sum(not p.requires_grad for p in ps)),
        whole_model_for_each_part,
        every_module_by_name,
        without_empty_parts,
        buffers_too,
    ],
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
    ],
    "train_epoch": [
        epoch("b", "s"),  # gradients add up
        epoch("z", "b"),
        epoch("z", "s"),
        epoch("b", "z", "s"),
        epoch("z", "b", "s", mode="eval"),
        epoch("z", "b", "s", result=sum),
        epoch("z", "b", "s", result=lambda losses: losses[-1]),
        epoch("z", "b", "s", result=lambda losses: None),
        a_tensor_of_losses,
    ],
    "predict": [softmax_over_the_batch, the_logit, sigmoid, by_exp, the_first_row_only, tensors],
    "mend": [no_batch, reshaped, float_first, no_transform, stays_where_it_is, turned],
}
