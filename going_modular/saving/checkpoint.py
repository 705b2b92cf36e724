"""Self-describing checkpoints: a safetensors file of weights with everything needed to predict in its metadata.

While the backbone is frozen and its weights can be had again by name or file, a checkpoint holds the head only: 15 KB
for EfficientNet-B0. It is data: loading it runs nothing (a pickle, what `torch.save` writes, can run anything).
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import safetensors.torch
import torch
from safetensors import SafetensorError, safe_open
from torch import nn
from torchvision.models import WeightsEnum

from going_modular import model_builder
from going_modular.common import files
from going_modular.common.errors import InputError
from going_modular.data.provenance import DIGEST_BYTES, PARTS, Provenance
from going_modular.data.splits import SplitRule
from going_modular.models import pretrained

# the one key of the metadata: safetensors writes several in any order, and equal runs should write equal files
FORMAT = "going_modular.checkpoint.v1"
DIGESTS = "trained_on."  # before the names of tensors that tell images, not weights


@dataclass(frozen=True)
class Checkpoint:
    """A trained classifier with what it takes to use it."""

    model: nn.Module  # images (B, 3, H, W) to logits (B, C), in eval mode
    transform: Callable  # a PIL image to a tensor (3, H, W)
    class_names: list[str]  # C names, in the order of the logits
    model_name: str
    weights: str | dict[str, str] | None  # as `weights.describe` returns it
    precision: str  # fp32 or bf16: what the head was trained on, and what to predict in
    metrics: dict
    trained_on: Provenance | None = None  # the images; None where the checkpoint cannot tell


def save(
    path: str | Path,
    model: nn.Module,
    *,
    model_name: str,
    weights: str | Path | None,
    class_names: Sequence[str],
    metrics: dict | None = None,
    precision: str = "fp32",
    trained_on: Provenance | None = None,
) -> Path:
    """Write a checkpoint in one step: the head alone where the backbone is as it came, else the whole model.

    Args:
        path: where to; an older file there is replaced.
        model: as `model_builder.create_model` builds it.
        model_name: the name it was built by.
        weights: the weights it was built with: a name, a file or None. Random weights cannot be had again, so that the
            whole model is written.
        class_names: one a logit.
        metrics: anything that JSON can hold.
        precision: `fp32` or `bf16`.
        trained_on: the images it was trained, chosen and tested on: no evaluation takes one kind for another.

    Raises:
        InputError: as many class names as logits are needed; the file cannot be written.
    """
    path = Path(path)
    _check_classes(len(class_names), model_builder.num_classes(model), str(path))
    head = model_builder.head(model)
    part = "head" if model_builder.has_pretrained_backbone(model, model_name, weights) else "model"
    described = {
        "model": model_name,
        "weights": pretrained.describe(model_name, weights),
        "part": part,
        "class_names": list(class_names),
        "transform": repr(pretrained.entry(model_name, weights).transforms()),
        "precision": precision,
        "metrics": metrics or {},
    }
    tensors = (head if part == "head" else model).state_dict()
    if trained_on is not None:
        described["trained_on"] = {"data": trained_on.data, **asdict(trained_on.rule)}
        tensors |= {f"{DIGESTS}{part}": _bytes_of(digests) for part, digests in trained_on.digests.items()}
    content = safetensors.torch.save(
        {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()},
        metadata={FORMAT: json.dumps(described, ensure_ascii=False)},
    )
    try:
        files.replace(path, content)
    except OSError as error:
        raise InputError(f"Cannot write the checkpoint {str(path)!r}: {error}; name another folder") from error
    return path


def load(path: str | Path, *, weights: str | Path | None = None, device: torch.device | str = "cpu") -> Checkpoint:
    """Read a checkpoint and build its model.

    Args:
        path: a file that `save` wrote.
        weights: a local file of the backbone's weights, where the checkpoint holds the head only. It must be the one
            that the head was trained on, by its SHA-256. Without it, weights are found by their name.
        device: where to put the model.

    Raises:
        InputError: not such a file, or damaged; the backbone's weights cannot be had, or are others.
    """
    path = Path(path)
    described, tensors = _read(path)
    _check_description(path, described)
    name, recorded, class_names = described["model"], described["weights"], described["class_names"]
    part, precision, metrics = described["part"], described["precision"], described["metrics"]
    trained_on = _provenance(path, described.get("trained_on"), tensors)
    named = recorded if isinstance(recorded, str) else None
    entry = pretrained.entry(name, named)
    if named is not None and named != entry.name:  # a path, perhaps
        raise InputError(f"Checkpoint {str(path)!r}: {name} has no weights named {named!r}; train again")
    if part == "head":
        source = _backbone_weights(path, name, recorded, entry, weights)
        model, _ = model_builder.create_model(name, len(class_names), weights=source)
        target = model_builder.head(model)
    else:
        target = model = model_builder.assemble(name, len(class_names), entry)
    try:
        target.load_state_dict(tensors)
    except RuntimeError as error:
        raise InputError(
            f"Checkpoint {str(path)!r} does not fit {name} with the {len(class_names)} classes it names; train again"
        ) from error
    return Checkpoint(model.to(device), entry.transforms(), class_names, name, recorded, precision, metrics, trained_on)


def _read(path: Path) -> tuple[dict, dict[str, torch.Tensor]]:
    """Return what the file says of itself and its tensors."""
    if path.is_dir():
        raise InputError(f"Checkpoint {str(path)!r} is a folder; name the model.safetensors in it")
    if not path.is_file():
        raise InputError(f"Checkpoint {str(path)!r}: no such file; train.py prints where it wrote one")
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a dict
        if FORMAT not in metadata:
            raise InputError(f"Checkpoint {str(path)!r} is not one of train.py's; name a model.safetensors from it")
        return json.loads(metadata[FORMAT]), tensors
    except InputError:
        raise
    except (SafetensorError, OSError, ValueError, RecursionError) as error:
        if _is_pickle(path):
            raise InputError(
                f"Checkpoint {str(path)!r} is a pickle, which could run anything, and is not opened; train again"
            ) from error
        raise InputError(f"Checkpoint {str(path)!r} is damaged ({error}); train again") from error


def _bytes_of(digests: np.ndarray) -> torch.Tensor:
    """Return digests (N,) uint64 as a tensor (N, 8) uint8."""
    return torch.from_numpy(digests.astype("<u8").view(np.uint8).reshape(-1, DIGEST_BYTES).copy())


def _provenance(path: Path, described: object, tensors: dict[str, torch.Tensor]) -> Provenance | None:
    """Take the digests of images out of a checkpoint's tensors; return what they were split from, if it says so."""
    stored = {name.removeprefix(DIGESTS): tensors.pop(name) for name in list(tensors) if name.startswith(DIGESTS)}
    if described is None and not stored:
        return None
    fields = described if isinstance(described, dict) else {}
    sound = (
        isinstance(fields.get("data"), str)
        and type(fields.get("seed")) is int
        and isinstance(fields.get("validation"), bool)
        and isinstance(fields.get("group_by"), str | None)
        and "train" in stored
        and set(stored) <= set(PARTS)
        and all(rows.dtype == torch.uint8 and rows.shape[1:] == (DIGEST_BYTES,) for rows in stored.values())
    )
    if not sound:
        raise InputError(f"Checkpoint {str(path)!r} is damaged (its trained_on cannot be used); train again")
    rule = SplitRule(fields["seed"], fields["validation"], fields["group_by"])
    digests = {part: rows.numpy().reshape(-1).view("<u8").astype(np.uint64) for part, rows in stored.items()}
    return Provenance(fields["data"], rule, digests)


def _is_pickle(path: Path) -> bool:
    """Tell by its first bytes a pickle, or the zip that `torch.save` writes. Some sound checkpoints start alike."""
    try:
        with path.open("rb") as file:
            return file.read(4).startswith((b"\x80", b"PK\x03\x04"))
    except OSError:
        return False


def _check_description(path: Path, described: object) -> None:
    """Raise unless the metadata has the fields that `save` writes, each of its type: anyone may have written it."""
    fields = described if isinstance(described, dict) else {}
    weights, names = fields.get("weights"), fields.get("class_names")
    is_file = isinstance(weights, dict) and all(isinstance(weights.get(key), str) for key in ("file", "sha256"))
    sound = {
        "model": isinstance(fields.get("model"), str),
        "weights": weights is None or isinstance(weights, str) or is_file,
        "part": fields.get("part") == "model" or (fields.get("part") == "head" and weights is not None),
        "class_names": isinstance(names, list) and all(isinstance(name, str) for name in names),
        "precision": fields.get("precision") in ("fp32", "bf16"),
        "metrics": isinstance(fields.get("metrics"), dict),
    }
    if wrong := [field for field, is_sound in sound.items() if not is_sound]:
        raise InputError(f"Checkpoint {str(path)!r} is damaged (its {', '.join(wrong)} cannot be used); train again")


def _backbone_weights(
    path: Path, name: str, recorded: str | dict[str, str], entry: WeightsEnum, given: str | Path | None
) -> str | Path:
    """Return the weights to build the backbone with: those the head was trained on, or raise."""
    if given is None:
        if isinstance(recorded, dict):
            raise InputError(
                f"Checkpoint {str(path)!r} holds a head for {name} on the weights file {recorded['file']!r} "
                f"(SHA-256 {recorded['sha256'][:12]}...): pass that file as weights (--weights)"
            )
        return recorded
    given = Path(given)
    if not given.is_file():
        raise InputError(f"Weights {str(given)!r}: no such file")
    has = files.file_sha256(given)
    # the name of a torchvision file ends in the first digits of its SHA-256
    wanted = recorded["sha256"] if isinstance(recorded, dict) else pretrained.sha256_prefix(entry)
    if not has.startswith(wanted):
        raise InputError(
            f"Weights {str(given)!r} are not those that {str(path)!r} was trained on: SHA-256 {has[:12]}..., "
            f"wanted {wanted[:12]}..."
        )
    return given


def _check_classes(names: int, logits: int, where: str) -> None:
    if names != logits:
        raise InputError(f"{where!r}: {names} class names for {logits} logits; give one a logit")
