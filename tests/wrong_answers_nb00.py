"""Plausible wrong answers to the exercises of notebook 00."""

import math

import torch

WRONG = {
    "count_trainable": [
        lambda model: sum(p.numel() for p in model.parameters()),  # the frozen ones too
        lambda model: sum(p.requires_grad for p in model.parameters()),  # tensors, not values
        lambda model: sum(p.numel() for p in model.parameters() if not p.requires_grad),
        lambda model: sum(len(p) for p in model.parameters() if p.requires_grad),
    ],
    "guessing_loss": [
        lambda num_classes: 1 / num_classes,
        lambda num_classes: math.log2(num_classes),
        lambda num_classes: -math.log(num_classes),
        lambda num_classes: math.log(3),
    ],
    "best_guess": [
        lambda logits, names: (names[int(logits.argmax())], float(logits.max())),
        lambda logits, names: (names[int(logits.argmax())], float(logits.sigmoid().max())),
        lambda logits, names: (int(logits.argmax()), float(logits.softmax(dim=0).max())),
        lambda logits, names: names[int(logits.argmax())],
        lambda logits, names: (names[int(logits.argmax())], logits.softmax(dim=0).max()),  # a tensor
        lambda logits, names: (names[int(logits.abs().argmax())], float(logits.softmax(dim=0).max())),
    ],
    "share_right": [
        lambda logits, labels: float((logits.argmax(dim=0) == labels).float().mean()),
        lambda logits, labels: int((logits.argmax(dim=1) == labels).sum()),
        lambda logits, labels: 100 * float((logits.argmax(dim=1) == labels).float().mean()),
        lambda logits, labels: float(torch.softmax(logits, dim=1).max(dim=1).values.mean()),
    ],
}
