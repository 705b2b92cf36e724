"""What a checkpoint says of itself, read and checked before a model is built or weights are fetched.

A safetensors file starts with the length of its header, 8 bytes, and the header, JSON: for each tensor its kind of
number, shape and place, and our description. Anyone may have written it, so nothing is allocated by what it claims.
"""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn
from torch.overrides import TorchFunctionMode
from torchvision.models import WeightsEnum

from going_modular import model_builder
from going_modular.common import files, strict_json
from going_modular.common.errors import InputError
from going_modular.data.provenance import DIGEST_BYTES, PARTS
from going_modular.data.walk import canonical

# the one key of the metadata: safetensors writes several in any order, and equal runs should write equal files
FORMAT = "going_modular.checkpoint.v1"
DIGESTS = "trained_on."  # before the names of tensors that tell images, not weights
MOST_BYTES = 32 * 2**20  # of a header: JSON takes up to 20 times as much memory
MOST_METRIC_BYTES = 4 * 2**20  # of one of the metrics, in JSON: a confusion matrix of some 1,100 classes
LONGEST_NAME = 1000  # characters of a class name
MOST_IMAGES = 20_000_000  # in a part of the data
_LENGTH_BYTES = 8
_FLOATS = ("F16", "BF16", "F32", "F64")
_INTEGERS = {torch.int64: "I64", torch.int32: "I32", torch.int16: "I16", torch.int8: "I8", torch.uint8: "U8"}
_TEXTS = {  # characters
    "model": 100, "weights": 100, "data": 255, "group_by": 1000, "corrections": 16, "file": 1000, "sha256": 64
}  # fmt: skip


@dataclass(frozen=True)
class Header:
    """A header whose description has the fields that `checkpoint.save` writes, each of its type."""

    described: dict
    shapes: dict[str, tuple[int, ...]]  # of the tensors, by name
    kinds: dict[str, str]  # of their numbers, as safetensors names them: F32, I64, ...


class _WithoutNumbers(TorchFunctionMode):
    """Build modules whose parameters and buffers have shapes, and no memory.

    `torch.device("meta")` would take the numbers from `torch.arange`, too, which RegNets compute their widths with.
    """

    def __torch_function__(self, func: Callable, types: object, args: tuple = (), kwargs: dict | None = None) -> object:
        kwargs = kwargs or {}
        if func in (torch.empty, torch.zeros, torch.ones) and kwargs.get("device") is None:
            kwargs = kwargs | {"device": "meta"}
        return func(*args, **kwargs)


def read(path: Path) -> Header:
    """Read the header of a checkpoint.

    Raises:
        InputError: no such file, no checkpoint, or a damaged one.
    """
    if os.path.isdir(path):  # noqa: PTH112 - of a name that is too long, Path.is_dir raises
        raise InputError(f"Checkpoint {str(path)!r} is a folder; name the model.safetensors in it")
    if not os.path.exists(path):  # noqa: PTH110
        raise InputError(f"Checkpoint {str(path)!r}: no such file; train.py prints where it wrote one")
    try:
        content, data_bytes = _split(path)
        parsed = strict_json.loads(content)
        listed = parsed if isinstance(parsed, dict) else {}
        metadata = listed.pop("__metadata__", None)
        shapes, kinds = _tensors(listed, data_bytes)
    except (OSError, ValueError, InputError) as error:
        if _is_pickle(path):
            raise InputError(
                f"Checkpoint {str(path)!r} is a pickle, which could run anything, and is not opened; train again"
            ) from error
        raise InputError(f"Checkpoint {str(path)!r} is damaged ({error}); train again") from error
    if not isinstance(metadata, dict) or FORMAT not in metadata:
        raise InputError(f"Checkpoint {str(path)!r} is not one of train.py's; name a model.safetensors from it")
    header = Header(_description(path, metadata[FORMAT]), shapes, kinds)
    if not _are_digests(header):
        raise InputError(f"Checkpoint {str(path)!r} is damaged (its trained_on cannot be used); train again")
    return header


def check_fit(path: Path, header: Header, name: str, entry: WeightsEnum, class_names: Sequence[str]) -> None:
    """Raise unless a checkpoint's tensors are those of the model that it names; nothing is allocated for it.

    Args:
        path: of the checkpoint.
        header: what it says.
        name: of the model, as `model_builder.create_model` takes it.
        entry: torchvision's description of its weights.
        class_names: of the model.

    Raises:
        InputError: tensors are missing, too many, or of another shape or kind.
    """
    model = skeleton(name, len(class_names), entry)
    if header.described.get("reads") != model_builder.reads(model):
        raise InputError(
            f"Checkpoint {str(path)!r}: its head is for other features of {name} than this version gives; train again"
        )
    needed = (model_builder.head(model) if header.described["part"] == "head" else model).state_dict()
    stored = {key: shape for key, shape in header.shapes.items() if not key.startswith(DIGESTS)}
    if stored != {key: tuple(tensor.shape) for key, tensor in needed.items()} or not all(
        header.kinds[key] in (_FLOATS if tensor.is_floating_point() else (_INTEGERS.get(tensor.dtype),))
        for key, tensor in needed.items()
    ):
        raise InputError(
            f"Checkpoint {str(path)!r} does not fit {name} with the {len(class_names)} classes it names; train again"
        )


def skeleton(name: str, num_classes: int, entry: WeightsEnum) -> nn.Module:
    """Build a model whose tensors have shapes, and no memory: what `model_builder.assemble` builds, but for numbers.

    Raises:
        InputError: no Linear at the end.
    """
    with _WithoutNumbers():
        return model_builder.assemble(name, num_classes, entry)


def are_class_names(names: object) -> bool:
    """Tell whether these can be a classifier's class names: texts of bounded length, no two the same."""
    return (
        isinstance(names, list)
        and all(isinstance(name, str) and len(name) <= LONGEST_NAME for name in names)
        and len(set(map(canonical, names))) == len(names)
    )


def without_long_metrics(metrics: dict) -> dict:
    """Return the metrics but for those that take too much room in a header; metrics.json has them all."""
    return {key: value for key, value in metrics.items() if len(_written(value)) <= MOST_METRIC_BYTES}


def _split(path: Path) -> tuple[bytes, int]:
    """Return the header of a safetensors file, and how many bytes follow it."""
    with files.open_regular(path) as file:
        length = int.from_bytes(file.read(_LENGTH_BYTES), "little")
        data_bytes = os.fstat(file.fileno()).st_size - _LENGTH_BYTES - length
        if data_bytes < 0:
            raise ValueError("it ends in its header")
        if length > MOST_BYTES:
            raise ValueError(f"its header has {length:,} bytes, more than any of train.py's")
        return file.read(length), data_bytes


def _tensors(listed: dict, data_bytes: int) -> tuple[dict[str, tuple[int, ...]], dict[str, str]]:
    """Return the shapes and the kinds of the tensors that a header lists."""
    shapes, kinds, end = {}, {}, 0
    for name, entry in listed.items():
        fields = entry if isinstance(entry, dict) else {}
        kind, shape, place = fields.get("dtype"), fields.get("shape"), fields.get("data_offsets")
        if not (isinstance(kind, str) and _are_counts(shape) and _are_counts(place) and len(place) == 2):
            raise ValueError("a tensor in its header has no kind, shape or place")
        shapes[name], kinds[name], end = tuple(shape), kind, max(end, place[1])
    if end != data_bytes:
        raise ValueError(f"it has {data_bytes:,} bytes of tensors, where {end:,} are announced")
    return shapes, kinds


def _are_counts(values: object) -> bool:
    return isinstance(values, list) and all(type(value) is int and 0 <= value < 2**62 for value in values)


def _description(path: Path, text: object) -> dict:
    """Return our description, or raise where it has not the fields that `checkpoint.save` writes."""
    try:
        described = strict_json.loads(text) if isinstance(text, str) else None
    except ValueError as error:
        raise InputError(f"Checkpoint {str(path)!r} is damaged ({error}); train again") from error
    fields = described if isinstance(described, dict) else {}
    weights, part = fields.get("weights"), fields.get("part")
    is_file = isinstance(weights, dict) and _is_text(weights, "file") and _is_text(weights, "sha256")
    sound = {
        "model": _is_text(fields, "model"),
        "weights": weights is None or _is_text(fields, "weights") or is_file,
        "part": part == "model" or (part == "head" and weights is not None),
        "class_names": are_class_names(fields.get("class_names")),
        "precision": fields.get("precision") in ("fp32", "bf16"),
        "metrics": isinstance(fields.get("metrics"), dict),
        "trained_on": fields.get("trained_on") is None or _is_provenance(fields["trained_on"]),
    }
    if wrong := [field for field, is_sound in sound.items() if not is_sound]:
        raise InputError(f"Checkpoint {str(path)!r} is damaged (its {', '.join(wrong)} cannot be used); train again")
    return described


def _written(value: object) -> bytes:
    return files.json_text(value).encode("utf-8", "backslashreplace")


def _is_text(fields: dict, name: str) -> bool:
    value = fields.get(name)
    return isinstance(value, str) and len(value) <= _TEXTS[name]


def _is_provenance(fields: object) -> bool:
    """Tell whether this says of images where they come from: the name of data, no path, and how they were split."""
    return (
        isinstance(fields, dict)
        and _is_text(fields, "data")
        and "\0" not in fields["data"]
        and fields["data"] != ".."
        and Path(fields["data"]).name == fields["data"]
        and type(fields.get("seed")) is int
        and 0 <= fields["seed"] < 2**32
        and isinstance(fields.get("validation"), bool)
        and all(fields.get(name) is None or _is_text(fields, name) for name in ("group_by", "corrections"))
    )


def _are_digests(header: Header) -> bool:
    """Tell whether the tensors that tell images, if any, are digests, and of parts of data that is described."""
    stored = {name.removeprefix(DIGESTS): name for name in header.shapes if name.startswith(DIGESTS)}
    if header.described.get("trained_on") is None:
        return not stored
    return (
        "train" in stored
        and set(stored) <= set(PARTS)
        and all(header.kinds[name] == "U8" for name in stored.values())
        and all(header.shapes[name][1:] == (DIGEST_BYTES,) for name in stored.values())
        and all(header.shapes[name][0] <= MOST_IMAGES for name in stored.values())
    )


def _is_pickle(path: Path) -> bool:
    """Tell by its first bytes a pickle, or the zip that `torch.save` writes.

    A header's length may begin as they do, but is followed by JSON.
    """
    try:
        with files.open_regular(path) as file:
            start = file.read(_LENGTH_BYTES + 1)
            return start.startswith((b"\x80", b"PK\x03\x04")) and not start.endswith(b"{")
    except (OSError, InputError):
        return False
