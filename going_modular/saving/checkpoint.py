"""Self-describing checkpoints: a safetensors file of weights with everything needed to predict in its metadata.

While the backbone is frozen and its weights can be had again by name or file, a checkpoint holds the head only: 15 KB
for EfficientNet-B0. It is data: loading it runs nothing (a pickle, what `torch.save` writes, can run anything).
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, fields
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
from going_modular.data.provenance import DIGEST_BYTES, Provenance
from going_modular.data.splits import SplitRule
from going_modular.data.walk import canonical
from going_modular.models import pretrained
from going_modular.saving import checkpoint_header
from going_modular.saving.checkpoint_header import DIGESTS, FORMAT


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
        metrics: anything that JSON can hold; one that takes more than 4 MiB there, such as the confusion matrix of
            thousands of classes, is left out.
        precision: `fp32` or `bf16`.
        trained_on: the images it was trained, chosen and tested on: no evaluation takes one kind for another.

    Raises:
        InputError: as many class names as logits are needed; the file cannot be written.
    """
    path = Path(path)
    _check_classes(class_names, model_builder.num_classes(model), str(path))
    head = model_builder.head(model)
    part = "head" if model_builder.has_pretrained_backbone(model, model_name, weights) else "model"
    described = {
        "model": model_name,
        "weights": pretrained.describe(model_name, weights),
        "part": part,
        "class_names": list(class_names),
        "transform": repr(pretrained.entry(model_name, weights).transforms()),
        "precision": precision,
        "metrics": checkpoint_header.without_long_metrics(metrics or {}),
    }
    if reads := model_builder.reads(model):
        described["reads"] = reads
    tensors = (head if part == "head" else model).state_dict()
    if trained_on is not None:
        described["trained_on"] = {"data": trained_on.data, **asdict(trained_on.rule)}
        tensors |= {f"{DIGESTS}{part}": _bytes_of(digests) for part, digests in trained_on.digests.items()}
    content = safetensors.torch.save(
        {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()},
        metadata={FORMAT: files.json_text(described)},
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
    # all that can be told from the header comes before weights are fetched and memory is taken
    header = checkpoint_header.read(path)
    described = header.described
    name, recorded = described["model"], described["weights"]
    class_names = [canonical(class_name) for class_name in described["class_names"]]
    part, precision, metrics = described["part"], described["precision"], described["metrics"]
    entry = pretrained.entry(name, None)
    if isinstance(recorded, str):
        entry = _named_entry(path, name, recorded)
    checkpoint_header.check_fit(path, header, name, entry, class_names)
    tensors = _read(path)
    trained_on = _provenance(described.get("trained_on"), tensors)
    if part == "head":
        source = _backbone_weights(path, name, recorded, entry, weights)
        model, _ = model_builder.create_model(name, len(class_names), weights=source)
        target = model_builder.head(model)
    else:
        target = model = model_builder.assemble(name, len(class_names), entry)
    target.load_state_dict(tensors)
    if not all(tensor.isfinite().all() for tensor in target.state_dict().values()):
        raise InputError(f"Checkpoint {str(path)!r} is damaged (its weights are not finite); train again")
    return Checkpoint(model.to(device), entry.transforms(), class_names, name, recorded, precision, metrics, trained_on)


def _read(path: Path) -> dict[str, torch.Tensor]:
    """Return the tensors of a file whose header has been checked."""
    try:
        with safe_open(path, framework="pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a dict
    except (SafetensorError, OSError, ValueError) as error:
        raise InputError(f"Checkpoint {str(path)!r} is damaged ({error}); train again") from error
    return tensors


def _named_entry(path: Path, name: str, recorded: str) -> WeightsEnum:
    """Return torchvision's entry for weights that a checkpoint names in full, as `save` does."""
    try:
        entry = pretrained.named_entry(name, recorded)
    except InputError as error:
        raise InputError(f"Checkpoint {str(path)!r}: {error}; train again") from error
    if recorded != entry.name:  # DEFAULT, which may change
        raise InputError(f"Checkpoint {str(path)!r}: {name} has no weights named {recorded!r}; train again")
    return entry


def _bytes_of(digests: np.ndarray) -> torch.Tensor:
    """Return digests (N,) uint64 as a tensor (N, 8) uint8."""
    return torch.from_numpy(digests.astype("<u8").view(np.uint8).reshape(-1, DIGEST_BYTES).copy())


def _provenance(described: dict | None, tensors: dict[str, torch.Tensor]) -> Provenance | None:
    """Take the digests of images out of a checkpoint's tensors; return what they were split from, if it says so."""
    stored = {name.removeprefix(DIGESTS): tensors.pop(name) for name in list(tensors) if name.startswith(DIGESTS)}
    if described is None:
        return None
    rule = SplitRule(*(described.get(field.name) for field in fields(SplitRule)))  # older ones know no corrections
    digests = {part: rows.numpy().reshape(-1).view("<u8").astype(np.uint64) for part, rows in stored.items()}
    return Provenance(described["data"], rule, digests)


def _backbone_weights(
    path: Path, name: str, recorded: str | dict[str, str], entry: WeightsEnum, given: str | Path | None
) -> WeightsEnum | Path:
    """Return the weights to build the backbone with: those the head was trained on, or raise."""
    if given is None:
        if isinstance(recorded, dict):
            raise InputError(
                f"Checkpoint {str(path)!r} holds a head for {name} on the weights file {recorded['file']!r} "
                f"(SHA-256 {recorded['sha256'][:12]}...): pass that file as weights (--weights)"
            )
        return entry  # the name in a checkpoint is never taken for a file
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


def _check_classes(names: Sequence[str], logits: int, where: str) -> None:
    if len(names) != logits:
        raise InputError(f"{where!r}: {len(names)} class names for {logits} logits; give one a logit")
    if not checkpoint_header.are_class_names(list(names)):
        longest = checkpoint_header.LONGEST_NAME
        raise InputError(f"{where!r}: class names must be different texts of at most {longest} characters each")
