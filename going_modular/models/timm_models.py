"""Models of the package timm as backbones: built, loaded and taken apart by timm itself."""

import functools
import itertools
from collections.abc import Mapping

import torch
from torch import nn

from going_modular.common.errors import InputError
from going_modular.models.timm_weights import PREFIX, TimmWeights, package, weights_of


def is_model(model: nn.Module) -> bool:
    """Tell whether timm built a model."""
    return type(model).__module__.startswith("timm.")


def check(name: str) -> None:
    """Raise unless there is such a model, and it ends in one Linear.

    Raises:
        InputError: names near ones, or says what else is wrong; or timm is not installed.
    """
    weights_of(name)
    _check_end(name)


def build(entry: TimmWeights, num_classes: int, tensors: Mapping[str, torch.Tensor] | None = None) -> nn.Module:
    """Build a model with a new classifier, as timm does.

    Args:
        entry: which, and of what shape.
        num_classes: the width of the classifier.
        tensors: the weights, under the names that timm or their publisher gave them; None leaves them random.

    Raises:
        InputError: tensors that do not fit.
    """
    name = entry.meta["name"]
    model = package(name).create_model(name, pretrained=False) if tensors is None else _load(name, tensors)
    model.reset_classifier(num_classes)
    _join_dropout(model)
    return model


def blocks(trunk: nn.Module) -> list[list[nn.Parameter]] | None:
    """Return the parameters of a backbone, a list a block by timm's own grouping, or None where it has none.

    It is the one by which `timm.optim.param_groups_layer_decay` sets learning rates. A group of norms or biases alone
    belongs to the block before it.
    """
    if not hasattr(trunk, "group_matcher"):
        return None
    from timm.models import group_parameters

    groups = group_parameters(trunk, trunk.group_matcher(coarse=False), return_values=True)
    by_depth: list[list[nn.Parameter]] = []
    for _, parameters in sorted(groups.items()):
        if by_depth and all(parameter.ndim == 1 for parameter in parameters):
            by_depth[-1] += parameters
        else:
            by_depth.append(list(parameters))
    return by_depth


@torch.no_grad()
def map_shape(model: nn.Module, image: torch.Tensor) -> torch.Size | None:
    """Return the shape (1, C, h, w) of the feature map before a CNN's head, or None of a model that makes none.

    Transformers of timm's have tokens there, or a map whose channels come last.
    """
    features = model.forward_features(image)
    is_map = isinstance(features, torch.Tensor) and features.ndim == 4 and features.shape[1] == model.num_features
    return features.shape if is_map else None


@functools.cache
def _check_end(name: str) -> None:
    """Raise unless what a model puts out is what one Linear puts out, given features (B, D): that is the head, then."""
    entry = weights_of(name).DEFAULT
    try:
        with torch.random.fork_rng(devices=[]), torch.device("meta"), torch.no_grad():  # without memory
            ends = _ends_in_linear(package(name).create_model(entry.meta["name"], pretrained=False), entry)
    except Exception as error:  # whatever a model, or a version of timm, cannot do without memory
        detail = " ".join(str(error).split())[:160]
        raise InputError(f"{name} cannot be used ({detail}): choose another model, or upgrade timm") from error
    if not ends:
        raise InputError(f"{name} does not end in a single Linear: choose another model, such as {PREFIX}resnet18")


def _ends_in_linear(model: nn.Module, entry: TimmWeights) -> bool:
    """Run a model on an image, and tell whether its last Linear is its classifier and has the last word."""
    if not hasattr(model, "reset_classifier"):
        return False
    model.reset_classifier(2)
    last, linears = model.get_classifier(), [module for module in model.modules() if isinstance(module, nn.Linear)]
    if not linears or last is not linears[-1]:
        return False
    seen = []
    last.register_forward_hook(lambda _, inputs, output: seen.append((inputs[0].ndim, output)))
    [side] = entry.transforms().crop_size
    # some tensors were made with numbers all the same
    logits = model.eval().to("meta")(torch.zeros(1, 3, side, side))
    return len(seen) == 1 and seen[0][0] == 2 and seen[0][1] is logits


def _load(name: str, tensors: Mapping[str, torch.Tensor]) -> nn.Module:
    """Build a model with these weights, renamed by timm where they have their publisher's names."""
    if not isinstance(tensors, dict):
        raise InputError(
            f"Weights for {PREFIX}{name}: the file holds a {type(tensors).__name__}, not a dict of tensors"
        )
    try:
        if not tensors:
            raise ValueError("the file is empty")
        overlay = {"state_dict": tensors}
        model = package(name).create_model(name, pretrained=True, pretrained_cfg_overlay=overlay)
        if not _has_some(model, tensors):  # a few models are loaded leniently
            raise ValueError("none of the file's tensors is in the model")
    except Exception as error:  # whatever timm meets in foreign names
        detail = " ".join(str(error).split())[:160]
        raise InputError(f"Weights do not fit {PREFIX}{name}: {detail}...; pass that model's weights") from error
    model.pretrained_cfg.pop("state_dict")  # a copy of it, which would be copied with the model
    return model


def _join_dropout(model: nn.Module) -> None:
    """Put the Dropout that stands before a model's classifier, and drops, into one Sequential with it: the head."""
    classifier = model.get_classifier()
    parent = next(module for module in model.modules() if any(child is classifier for child in module.children()))
    for (before, dropout), (name, module) in itertools.pairwise(parent.named_children()):
        is_sequence = isinstance(parent, nn.Sequential)
        if module is classifier and not is_sequence and isinstance(dropout, nn.Dropout) and dropout.p > 0:
            setattr(parent, before, nn.Identity())
            setattr(parent, name, nn.Sequential(dropout, classifier))


def _has_some(model: nn.Module, tensors: Mapping[str, torch.Tensor]) -> bool:
    """Tell whether one of a model's matrices or kernels stands in a file as it is."""
    pairs = itertools.product((p for p in model.parameters() if p.ndim > 1), tensors.values())
    return any(
        tensor.shape == parameter.shape and torch.equal(tensor.to(parameter), parameter) for parameter, tensor in pairs
    )
