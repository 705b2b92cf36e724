"""A second oracle for the ViT-S/14 that pip brings: timm's own class with the same tensors, renamed."""

from collections.abc import Mapping

import timm
import torch
from torch import nn
from torch.nn import functional as F

STORED_GRID, WIDTH, BLOCKS = 37, 384, 12
_OF_A_BLOCK = {
    "norm1": "norm1",
    "norm2": "norm2",
    "attn.proj": "attention.output.dense",
    "mlp.fc1": "mlp.fc1",
    "mlp.fc2": "mlp.fc2",
}


def vit_s_14(tensors: Mapping[str, torch.Tensor], *, image_size: int = 224) -> nn.Module:
    """Return timm's `vit_small_patch14_dinov2` with these tensors, in eval mode and without a head.

    Its `forward_features` maps images (B, 3, H, W) to the tokens (B, 1 + H/14 * W/14, 384) after the last norm, the
    class token first. They equal those of the ONNX file only where the positions are interpolated bicubically *without*
    antialiasing, which timm would add: so they are interpolated here, and timm is given a grid of the right size.

    Args:
        tensors: by the names that Hugging Face's Dinov2Model gives them, and `class_position` (1, 1, 384) and
            `patch_positions` (1, 37 * 37, 384).
        image_size: a multiple of 14 pixels.
    """
    model = timm.create_model("vit_small_patch14_dinov2", pretrained=False, img_size=image_size, num_classes=0)
    model.load_state_dict(_renamed(tensors, grid=image_size // 14))
    return model.eval()


def _renamed(tensors: Mapping[str, torch.Tensor], *, grid: int) -> dict[str, torch.Tensor]:
    """Return the tensors by timm's names, with positions for grid x grid patches."""
    stored = tensors["patch_positions"].unflatten(1, (STORED_GRID, STORED_GRID)).permute(0, 3, 1, 2)
    positions = F.interpolate(stored, (grid, grid), mode="bicubic", align_corners=False).flatten(2).transpose(1, 2)
    found = {
        "cls_token": tensors["backbone.embeddings.cls_token"],
        "pos_embed": torch.cat([tensors["class_position"], positions], dim=1),
    }
    layers = {"patch_embed.proj": "backbone.embeddings.patch_embeddings.projection", "norm": "backbone.layernorm"}
    for i in range(BLOCKS):
        theirs = f"backbone.encoder.layer.{i}."
        layers |= {f"blocks.{i}.{name}": theirs + stored_name for name, stored_name in _OF_A_BLOCK.items()}
        for n in (1, 2):
            found[f"blocks.{i}.ls{n}.gamma"] = tensors[f"{theirs}layer_scale{n}.lambda1"]
        for kind in ("weight", "bias"):
            parts = [tensors[f"{theirs}attention.attention.{part}.{kind}"] for part in ("query", "key", "value")]
            found[f"blocks.{i}.attn.qkv.{kind}"] = torch.cat(parts)
    for name, stored_name in layers.items():
        found |= {f"{name}.{kind}": tensors[f"{stored_name}.{kind}"] for kind in ("weight", "bias")}
    return found
