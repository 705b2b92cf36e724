"""Fold BatchNorm into the convolution before it: in eval mode the two are one convolution.

A convolution W * x + b and the norm (y - mean) / sqrt(var + eps) * gamma + beta after it are the convolution with the
weights W * s and the bias (b - mean) * s + beta, where s = gamma / sqrt(var + eps) (Jacob et al., 2018,
https://arxiv.org/abs/1712.05877, section 3.2). It spares inference one pass over each map.
"""

import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from going_modular.common.device import exact_fp32

PROBE = (1, 3, 96, 96)  # an image of noise: a fold that is right for its pixels is right for all
TOLERANCE = 1e-5  # of the largest feature


@torch.no_grad()
def fold(trunk: nn.Module) -> nn.Module:
    """Fold the BatchNorms of a network, for inference alone.

    Left alone are a BatchNorm that takes no convolution's output (DenseNet's), and the whole network where the fold
    would give other features, or where it takes no images of 96 pixels.

    Args:
        trunk: images (B, 3, H, W) to features, in eval mode. Modules of it are replaced, so hand over a copy, such as
            `model_builder.backbone` makes; tensors that it shares stay as they are.

    Returns:
        The trunk; its features are the same within 1e-5 of the largest, in fp32.
    """
    if not any(isinstance(module, nn.BatchNorm2d) for module in trunk.modules()):
        return trunk
    images = torch.randn(PROBE, generator=torch.Generator().manual_seed(0)).to(next(trunk.parameters()).device)
    with exact_fp32():
        try:
            pairs, expected = _follow(trunk, images)
        except RuntimeError:
            return trunk
        before = {name: trunk.get_submodule(name) for pair in pairs for name in pair}
        for conv, norm in pairs:
            trunk.set_submodule(conv, fuse_conv_bn_eval(before[conv], before[norm]))
            trunk.set_submodule(norm, _rest(before[norm]))
        if (trunk(images) - expected).abs().max() > TOLERANCE * expected.abs().max():
            for name, module in before.items():
                trunk.set_submodule(name, module)
    return trunk


def _follow(trunk: nn.Module, images: torch.Tensor) -> tuple[list[tuple[str, str]], torch.Tensor]:
    """Return the names of each convolution and the BatchNorm that takes what it makes of images, and the features."""
    made: dict[int, tuple[str, torch.Tensor]] = {}  # with the tensors, or others would get their ids
    pairs: dict[str, str] = {}

    def note(name: str, output: torch.Tensor) -> None:
        made[id(output)] = name, output

    def match(name: str, tensor: torch.Tensor) -> None:
        if id(tensor) in made:
            pairs[made[id(tensor)][0]] = name

    hooks = []
    for name, module in trunk.named_modules():
        if isinstance(module, nn.Conv2d):
            hook = module.register_forward_hook(lambda _, __, output, name=name: note(name, output))
        elif isinstance(module, nn.BatchNorm2d) and module.track_running_stats:
            hook = module.register_forward_pre_hook(lambda _, inputs, name=name: match(name, inputs[0]))
        else:
            continue
        hooks.append(hook)
    try:
        features = trunk(images)
    finally:
        for hook in hooks:
            hook.remove()
    return list(pairs.items()), features


def _rest(norm: nn.BatchNorm2d) -> nn.Module:
    """Return what is left of a BatchNorm that was folded: nothing, or the activation that timm puts into it."""
    return norm.act if hasattr(norm, "act") else nn.Identity()
