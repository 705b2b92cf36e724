"""A classifier as an ONNX file, which says itself what becomes of an image before it and what its answers mean.

ONNX (https://onnx.ai) is a network as data: ONNX Runtime and others compute it without torch. What a checkpoint keeps
beside the weights stands in the file's metadata, texts by name, of which all but the plain ones are JSON:

- `class_names`: a list, in the order of the answers;
- `transform`: `resize`, the short side in pixels, [S], or the whole image, [H, W]; `crop`, the side of the square in
  the middle that is seen; `interpolation`, as Pillow calls it; `mean` and `std` of each channel, whose values are in
  [0, 1]; `short_side`, as `images.open_image` takes it;
- `output`: logits, or probabilities;
- `model`, `weights` (JSON), `precision` (the head was trained in) and `checkpoint_sha256`: where it comes from.
"""

import importlib.util
import json
import logging
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import nn
from torchvision.transforms import InterpolationMode
from torchvision.transforms._presets import ImageClassification

from going_modular import model_builder
from going_modular.common import files
from going_modular.common.errors import InputError
from going_modular.data import resizing
from going_modular.saving.checkpoint import Checkpoint

if TYPE_CHECKING:
    import onnx

PACKAGES = ("onnx", "onnxscript", "onnxruntime")
MOST_BYTES = 2**31 - 2**24  # of weights: an ONNX file in one piece has less than 2 GiB
INPUT, LOGITS, PROBABILITIES = "images", "logits", "probabilities"
EXAMPLES = 2  # images that the exporter follows through the network: of a single one it might take the batch for fixed


def check_installed() -> None:
    """Raise where a package is missing that exporting takes.

    Raises:
        InputError: names it.
    """
    if missing := [name for name in PACKAGES if importlib.util.find_spec(name) is None]:
        raise InputError(f"ONNX needs {', '.join(missing)}: pip install {' '.join(missing)}")


def describe(loaded: Checkpoint, file: Path, *, output: str) -> dict[str, str]:
    """Return the metadata of the ONNX file that a checkpoint becomes.

    Args:
        loaded: what the checkpoint holds.
        file: the checkpoint.
        output: `logits` or `probabilities`.

    Raises:
        InputError: its transform cannot be told in a few numbers.
    """
    return {
        "class_names": files.json_text(loaded.class_names),
        "transform": files.json_text(describe_transform(loaded.transform)),
        "output": output,
        "model": loaded.model_name,
        "weights": files.json_text(loaded.weights),
        "precision": loaded.precision,
        "checkpoint_sha256": files.file_sha256(file),
    }


def describe_transform(transform: Callable) -> dict[str, object]:
    """Return what becomes of an image in numbers, as the module's docstring lists them.

    Raises:
        InputError: it is not one that comes with weights: resize, crop the middle, normalise.
    """
    is_preset = getattr(type(transform), "forward", None) is ImageClassification.forward
    if not is_preset or transform.interpolation is InterpolationMode.NEAREST_EXACT:
        shown = " ".join(repr(transform).split())[:80]
        raise InputError(f"The transform {shown}... is not one that comes with weights, and cannot be exported")
    [crop] = set(transform.crop_size)
    if min(transform.resize_size) < crop:
        raise InputError(
            f"The transform crops {crop} pixels of {min(transform.resize_size)}, which cannot be exported: it pads"
        )
    return {
        "resize": list(transform.resize_size),
        "crop": crop,
        "interpolation": transform.interpolation.name,
        "mean": list(transform.mean),
        "std": list(transform.std),
        "short_side": resizing.short_side(transform),
    }


def convert(model: nn.Module, told: Mapping[str, str]) -> bytes:
    """Return a classifier as an ONNX file in one piece: images (B, 3, side, side), any B, to (B, C).

    BatchNorms are folded into the convolutions before them, as `model_builder.fold` does it.

    Args:
        model: as `model_builder.create_model` builds it, on the CPU.
        told: the metadata, as `describe` returns it.

    Raises:
        InputError: the exporter cannot follow this model, or it is too large for a file in one piece.
    """
    if (size := sum(tensor.nbytes for tensor in model.state_dict().values())) > MOST_BYTES:
        raise InputError(f"{told['model']} has {size / 1e9:.1f} GB of weights, and an ONNX file 2.1 at most")
    network = nn.Sequential(model_builder.fold(model_builder.backbone(model)), nn.Flatten(), model_builder.head(model))
    if told["output"] == PROBABILITIES:
        network.append(nn.Softmax(dim=1))
    side = json.loads(told["transform"])["crop"]
    try:
        program = _follow(network.eval(), torch.zeros(EXAMPLES, 3, side, side), told["output"])
    except (RuntimeError, ValueError, NotImplementedError) as error:  # the exporter's errors are RuntimeErrors
        first = " ".join(str(error.__cause__ or error).split())[:200]
        raise InputError(f"{told['model']} cannot be exported: {first}...; choose another model") from error
    proto = program.model_proto
    if not proto.graph.input[0].type.tensor_type.shape.dim[0].dim_param:  # such as by a len() in forward
        raise InputError(f"{told['model']} cannot be exported for any number of images at a time; choose another model")
    return with_metadata(_without_traces(proto), told)


def with_metadata(proto: "onnx.ModelProto", told: Mapping[str, str]) -> bytes:
    """Return the bytes of an ONNX file with this metadata, and no other."""
    import onnx

    onnx.helper.set_model_props(proto, dict(sorted(told.items())))
    return proto.SerializeToString(deterministic=True)


@torch.no_grad()
def _follow(network: nn.Module, images: torch.Tensor, output: str) -> torch.onnx.ONNXProgram:
    """Return what torch's exporter makes of a network, without a word."""
    before, log = torch.backends.mha.get_fastpath_enabled(), logging.getLogger("onnxscript")
    level = log.level
    torch.backends.mha.set_fastpath_enabled(False)  # its fused operators have no counterpart in ONNX
    log.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(action="ignore"):  # of its own doings; what comes out is compared with torch
            return torch.onnx.export(
                network,
                (images,),
                dynamo=True,
                verbose=False,
                input_names=[INPUT],
                output_names=[output],
                dynamic_shapes=({0: torch.export.Dim("batch")},),
            )
    finally:
        torch.backends.mha.set_fastpath_enabled(before)
        log.setLevel(level)


def _without_traces(proto: "onnx.ModelProto") -> "onnx.ModelProto":
    """Take out what the exporter notes of the lines of code, with their paths, that each node comes from."""
    for holder in (proto.graph, *proto.graph.node, *proto.graph.value_info, *proto.graph.input, *proto.graph.output):
        holder.ClearField("doc_string")
        holder.ClearField("metadata_props")
    return proto
