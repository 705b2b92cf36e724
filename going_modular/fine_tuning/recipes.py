"""What learns and how fast: a model cut into blocks by depth, frozen or not, each with its learning rate.

`head` trains the head alone; `last-3` the last three blocks with it; `all` everything; `head-then-all` the head first
and then everything, so that a random head does not spoil the backbone (LP-FT: Kumar et al., 2022,
https://arxiv.org/abs/2202.10054).
"""

import re
from dataclasses import dataclass

import torch
from torch import nn

from going_modular import engine, model_builder
from going_modular.common.errors import InputError
from going_modular.models import timm_models

RECIPES = ("head", "head-then-all", "last-N", "all")
_CONTAINERS = (nn.Sequential, nn.ModuleList, nn.ModuleDict)


@dataclass(frozen=True)
class Stage:
    """A part of a recipe: how many of the last blocks learn with the head, 0 for none and None for all."""

    name: str
    blocks: int | None


def stages(recipe: str) -> list[Stage]:
    """Return the stages of a recipe, one after the other.

    Raises:
        InputError: no such recipe.
    """
    if last := re.fullmatch(r"last-([1-9][0-9]{0,3})", recipe):
        return [Stage(recipe, int(last[1]))]
    if recipe in ("head", "head-then-all", "all"):
        return [Stage(part, 0 if part == "head" else None) for part in recipe.split("-then-")]
    raise InputError(f"Unknown recipe {recipe!r}; choose one of {', '.join(RECIPES)}, with N the number of blocks")


def blocks(model: nn.Module) -> list[list[nn.Parameter]]:
    """Return the parameters of a model's backbone, a list a block, from the images' end to the head's.

    A block is what stands in a Sequential or another container, or in a module that holds more than half of the
    backbone: an MBConv of an EfficientNet, a residual block of a ResNet, an encoder block of a ViT, a lone convolution.
    A norm that stands alone belongs to the block before it, and parameters outside them, such as a ViT's position
    embedding, to the first block. A model of timm's has the blocks that timm counts.
    """
    trunk = model_builder.backbone(model)
    if timm_models.is_model(trunk) and (counted := timm_models.blocks(trunk)):
        return counted
    total = sum(parameter.numel() for parameter in trunk.parameters())
    by_depth: list[list[nn.Parameter]] = []
    for part in _split(trunk, total):
        parameters = list(part.parameters())
        if by_depth and all(parameter.ndim == 1 for parameter in parameters):
            by_depth[-1] += parameters
        else:
            by_depth.append(parameters)
    inside = {id(parameter) for block in by_depth for parameter in block}
    by_depth[0] = [parameter for parameter in trunk.parameters() if id(parameter) not in inside] + by_depth[0]
    return by_depth


def unfreeze(model: nn.Module, count: int | None, *, batch_norm: bool = False) -> None:
    """Let the head and the last `count` blocks learn (None: all), and freeze what stands before them.

    Args:
        model: as `model_builder.create_model` builds it.
        count: of blocks, from the last: 0 for none, None for all.
        batch_norm: let BatchNorm learn, too, and with it normalise by the batch. Without, it keeps scales and
            statistics as pretrained, which is safer in small batches: with those of a batch the features, and what a
            trained head makes of them, change at once.

    Raises:
        InputError: a negative count, or the backbone has fewer blocks.
    """
    all_blocks = blocks(model)
    if count is None:
        count = len(all_blocks)
    if count < 0:
        raise InputError(f"{count} blocks cannot learn; give 0 for none, up to {len(all_blocks)}, or None for all")
    if count > len(all_blocks):
        raise InputError(f"Recipe 'last-{count}': the backbone has {len(all_blocks)} blocks only; use all")
    first = len(all_blocks) - count
    for depth, block in enumerate(all_blocks):
        for parameter in block:
            parameter.requires_grad_(depth >= first)
    if not batch_norm:
        for module in model_builder.backbone(model).modules():
            if isinstance(module, nn.modules.batchnorm._BatchNorm):
                module.requires_grad_(False)
    model_builder.head(model).requires_grad_(True)


def parameter_groups(
    model: nn.Module, *, lr: float, head_lr: float, layer_decay: float, weight_decay: float
) -> list[dict]:
    """Return groups for an optimizer, the head's first and then the blocks' that learn, from the last to the first.

    The last block learns at `lr`, the one before it at `lr * layer_decay` and so on (discriminative learning rates:
    Howard and Ruder, 2018, https://arxiv.org/abs/1801.06146). Biases and the scales of norms are not decayed.

    Args:
        model: as `unfreeze` left it.
        lr: of the last block.
        head_lr: of the head.
        layer_decay: in (0, 1]; 1 gives all blocks the same learning rate.
        weight_decay: of matrices and convolutions.
    """
    by_depth = [("head", head_lr, list(model_builder.head(model).parameters()))]
    numbered = list(enumerate(blocks(model), start=1))
    by_depth += [
        (f"block {number}", lr * layer_decay**steps, parameters)
        for steps, (number, parameters) in enumerate(reversed(numbered))
    ]
    groups = []
    for name, rate, parameters in by_depth:
        learning = [parameter for parameter in parameters if parameter.requires_grad]
        for decays in (True, False):
            chosen = [parameter for parameter in learning if (parameter.ndim > 1) == decays]
            if chosen:
                label = name if decays else f"{name}, not decayed"
                groups.append(
                    {"name": label, "params": chosen, "lr": rate, "weight_decay": weight_decay if decays else 0.0}
                )
    return groups


def schedule(
    optimizer: torch.optim.Optimizer, kind: str, *, warmup_steps: int, total_steps: int
) -> torch.optim.lr_scheduler.LRScheduler:
    """Return a schedule of learning rates, stepped once an update.

    Args:
        optimizer: whose learning rates are the highest ones.
        kind: after a warm-up along a line, `cosine` falls to 0, `step` divides by 10 after each third of the steps, and
            `constant` stays.
        warmup_steps: 0 for none; fewer than all.
        total_steps: updates in all.
    """
    rates = torch.optim.lr_scheduler
    after = total_steps - warmup_steps
    if kind == "cosine":
        main = rates.CosineAnnealingLR(optimizer, after)
    elif kind == "step":
        main = rates.StepLR(optimizer, max(-(-after // 3), 1), gamma=0.1)
    else:
        main = rates.ConstantLR(optimizer, factor=1.0)
    return engine.warm_up(optimizer, main, warmup_steps)


def _split(module: nn.Module, total: int) -> list[nn.Module]:
    """Return the blocks in a module that is itself none."""
    parts = []
    for child in module.children():
        size = sum(parameter.numel() for parameter in child.parameters())
        if not size:
            continue
        is_container = type(child) in _CONTAINERS or (size > total / 2 and any(child.children()))
        parts += _split(child, total) if is_container else [child]
    return parts
