"""Build a classifier by name: a frozen, pretrained backbone with its transform, and a new head.

    model, transform = create_model("efficientnet_b0", num_classes=3)
    head(model)      # the part that trains, a module like any other
    backbone(model)  # the part that does not: images in, features out

Both share the model's parameters.
"""

import copy
from collections.abc import Callable
from pathlib import Path

import torch
import torchvision
from torch import nn
from torchvision.models import WeightsEnum

from going_modular.common.device import exact_fp32
from going_modular.common.errors import InputError
from going_modular.common.memory import keep_freed
from going_modular.models import pretrained, timm_models, timm_weights
from going_modular.models.efficientnet_lite import efficientnet_lite0
from going_modular.models.folding import fold as fold
from going_modular.models.hybrid import Hybrid, HybridHead
from going_modular.models.standardise import Standardise
from going_modular.models.tiny_vgg import TinyVGG as TinyVGG
from going_modular.models.vit_s import ViTS14

DEFAULT_MODEL, OFFLINE_MODEL = "efficientnet_b0", "efficientnet_lite0"
VIT, VITS = "vit", ("vit_b_16", "vit_s_14")  # a Vision Transformer: the first whose weights can be had


def create_model(
    name: str, num_classes: int, *, weights: str | Path | None = "DEFAULT"
) -> tuple[nn.Module, Callable[..., torch.Tensor]]:
    """Build a classifier whose backbone is pretrained and frozen and whose head is new.

    Args:
        name: a torchvision classifier that ends in a Linear; `efficientnet_lite0`; `vit_s_14`; `timm/` before the name
            of such a classifier of timm's; or `hybrid_` before the name of an EfficientNet, whose feature map two
            Transformer blocks read: they are the head then.
        num_classes: the width of the new head, at least 1.
        weights: a torchvision weights name (`DEFAULT`, `IMAGENET1K_V1`, ...), downloaded to torch's hub folder if it is
            not there, or one of timm's tags, to that of Hugging Face; the path of a local file of this model's weights;
            or None for random weights.

    Returns:
        The model in eval mode, mapping images (B, 3, H, W) to logits (B, num_classes), and the transform that
        its weights were trained with, mapping a PIL image to a float tensor (3, H, W). The transform of a local
        file, or of random weights, is that of the model's DEFAULT weights. From then on the process keeps memory
        that tensors free, for the next ones: see `keep_freed`.

    Raises:
        InputError: unknown name, no Linear at the end, unknown weights, weights that do not fit or cannot be had.
    """
    entry = pretrained.entry(name, weights)
    keep_freed()  # whoever builds a model runs it, maybe in a loop of their own
    if weights is None:
        return assemble(name, num_classes, entry), entry.transforms()
    model = assemble(name, num_classes, entry, pretrained.state_dict(name, weights))
    model.came_with = (pretrained.describe(name, weights), pretrained.digest(model, but=head(model)))
    return model, entry.transforms()


def assemble(
    name: str, num_classes: int, entry: WeightsEnum, tensors: dict[str, torch.Tensor] | None = None
) -> nn.Module:
    """Build a frozen model with a new head, of the shape that `entry` asks for, in eval mode.

    Args:
        name: as for `create_model`.
        num_classes: as for `create_model`.
        entry: torchvision's description of the weights; it fixes the image size of a ViT.
        tensors: the ImageNet classifier's weights; None leaves them random.

    Raises:
        InputError: no Linear at the end, or tensors that do not fit.
    """
    if num_classes < 1:
        raise InputError(f"num_classes is {num_classes}; a classifier needs at least 1")
    if timm_weights.is_name(name):
        model = timm_models.build(entry, num_classes, tensors)
    else:
        model = _build(name, entry)
        if tensors is not None:
            pretrained.load(model, tensors, name)
    if name.startswith(pretrained.HYBRID):
        return _make_hybrid(model, num_classes, entry).eval()
    _drop_auxiliary_heads(model)
    _replace_head(model, name, num_classes)
    return model.eval()


def first_available(*names: str) -> str:
    """Return the first model whose default weights can be had here, and print which and why.

    Weights can be had if they are installed, already in torch's hub folder, or their server answers.

    Raises:
        InputError: none of them can be had.
    """
    passed = []
    for name in names:
        if reason := pretrained.availability(name):
            print("; ".join([f"Backbone: {name}, {reason}", *passed]))
            return name
        passed.append(f"{name} has no weights here and their server cannot be reached")
    raise InputError(f"No pretrained weights for {', '.join(names)}: go online once, or pass a local file as weights")


def check_name(name: str | None, weights: str | Path | None) -> None:
    """Raise where a name or its weights are mistyped, before anything is downloaded.

    Args:
        name: as for `resolve_name`.
        weights: as for `resolve_name`.

    Raises:
        InputError: unknown name or weights.
    """
    if name not in (None, VIT):
        pretrained.entry(name, weights)


def resolve_name(name: str | None, weights: str | Path | None) -> str:
    """Return the name of the model to build, and print why where it is not the one that was asked for.

    None stands for EfficientNet-B0, or Lite0 where B0's weights cannot be had; `vit` for ViT-B/16, or ViT-S/14.

    Args:
        name: as for `create_model`, or `vit`, or None.
        weights: as for `create_model`; only DEFAULT ones are replaced by those of another model.

    Raises:
        InputError: unknown name or weights.
    """
    choices = {None: (DEFAULT_MODEL, OFFLINE_MODEL), VIT: VITS}.get(name)
    if choices is None:
        check_name(name, weights)
        return name
    return first_available(*choices) if weights == "DEFAULT" else choices[0]


def has_pretrained_backbone(model: nn.Module, name: str, weights: str | Path | None) -> bool:
    """Tell whether a model's backbone is frozen and still is what `create_model(name, weights=weights)` gave it.

    A loop that calls `model.train()` moves the BatchNorm statistics of a frozen backbone; another may have been
    fine-tuned and frozen again.
    """
    trunk = backbone(model)
    if weights is None or any(parameter.requires_grad for parameter in trunk.parameters()):
        return False
    described, digest = getattr(model, "came_with", (None, None))
    return described == pretrained.describe(name, weights) and digest == pretrained.digest(trunk)


def head(model: nn.Module) -> nn.Module:
    """Return the head: the last Linear with what stands right before it to serve it; a hybrid's Transformer.

    That is a Dropout, and what standardises features. The modules are the model's own: training the head trains the
    model. It maps features (B, D) to logits (B, num_classes).
    """
    slots = _head_slots(model)
    modules = [getattr(parent, name) for parent, name in slots]
    if len(modules) == 1:
        return modules[0]
    parent = slots[0][0]
    return parent if len(parent) == len(modules) else parent[-len(modules) :]


def backbone(model: nn.Module) -> nn.Module:
    """Return the model without its head: images (B, 3, H, W) to features (B, D).

    The copy shares every parameter and buffer with `model`, which stays as it is.
    """
    shared = {id(tensor): tensor for tensor in [*model.parameters(), *model.buffers()]}
    trunk = copy.deepcopy(model, shared)
    for parent, name in _head_slots(trunk):
        setattr(parent, name, nn.Identity())
    return trunk


@torch.inference_mode()
def logits(model: nn.Module, features: torch.Tensor) -> torch.Tensor:
    """Return the logits (N, C), on the CPU, that the model's head in eval mode gives features (N, D).

    The head computes where it is: training may have left it on another device than the backbone.
    """
    last = head(model).eval()
    with exact_fp32():
        return last(features.to(next(last.parameters()).device)).float().cpu()


def reads(model: nn.Module) -> str | None:
    """Say what a model's head reads of its tokens, where that is a choice that a later version may make otherwise."""
    return model.reads if isinstance(model, ViTS14) else None


def standardises(model: nn.Module) -> bool:
    """Tell whether a model's head standardises features, and has to see those of the training images first."""
    return any(isinstance(module, Standardise) for module in head(model).modules())


def standardise(model: nn.Module, features: torch.Tensor) -> None:
    """Let a model's head standardise by the features (N, D) of the training images; others stay as they are."""
    for module in head(model).modules():
        if isinstance(module, Standardise):
            module.fit(features)


def num_classes(model: nn.Module) -> int:
    """Return the number of classes, the width of the head."""
    parent, name = _head_slots(model)[-1]
    return getattr(parent, name).out_features


def feature_width(model: nn.Module) -> int:
    """Return D, the number of features that the head takes."""
    parent, name = _head_slots(model)[-1]
    return getattr(parent, name).in_features


def _build(name: str, entry: WeightsEnum) -> nn.Module:
    """Build the ImageNet classifier with random weights."""
    name = pretrained.backbone_name(name)
    if name == pretrained.LITE0:
        return efficientnet_lite0()
    if name == pretrained.VIT_S14:
        return ViTS14()
    options = {}
    if name.startswith("vit_"):  # the position embedding has the size of the images that the weights want
        options["image_size"] = entry.meta["min_size"][0]
    if name in ("googlenet", "inception_v3"):
        options |= {"init_weights": False, "transform_input": True}
    return torchvision.models.get_model(name, weights=None, **options)


def _drop_auxiliary_heads(model: nn.Module) -> None:
    """Drop GoogLeNet's and Inception's second classifiers: with them the output is not one tensor."""
    if getattr(model, "aux_logits", False):
        model.aux_logits = False
        for name in ("aux1", "aux2", "AuxLogits"):
            if hasattr(model, name):
                setattr(model, name, None)


def _head_slots(model: nn.Module) -> list[tuple[nn.Module, str]]:
    """Return where the head's modules hang, as (parent, attribute), the Linear last."""
    if isinstance(model, Hybrid):
        return [(model, "head")]
    linears = [path for path, module in model.named_modules() if isinstance(module, nn.Linear) and path]
    if not linears:
        raise InputError(f"{type(model).__name__} has no Linear at its end: its head cannot be replaced")
    parent_path, _, name = linears[-1].rpartition(".")
    parent = model.get_submodule(parent_path)
    children = list(parent.named_children())
    position = [child_name for child_name, _ in children].index(name)
    first = position
    while isinstance(parent, nn.Sequential) and first and isinstance(children[first - 1][1], nn.Dropout | Standardise):
        first -= 1
    return [(parent, child_name) for child_name, _ in children[first : position + 1]]


@torch.inference_mode()
def _map_shape(features: nn.Module, entry: WeightsEnum) -> tuple[int, int, int]:
    """Return (C, G, G), what a CNN makes of an image of the size that its weights want."""
    (side,) = entry.transforms().crop_size
    return tuple(features.eval()(torch.zeros(1, 3, side, side)).shape[1:])


def _make_hybrid(cnn: nn.Module, num_classes: int, entry: WeightsEnum) -> Hybrid:
    """Freeze a CNN's feature extractor and put a new Transformer on it; only that trains."""
    channels, grid, _ = _map_shape(cnn.features, entry)
    cnn.features.requires_grad_(False)
    return Hybrid(cnn.features, HybridHead(channels=channels, grid=grid, num_classes=num_classes))


def _replace_head(model: nn.Module, name: str, num_classes: int) -> None:
    """Freeze the model and put a new head in place of its old one; only the new head trains."""
    if isinstance(model, ViTS14):
        model.requires_grad_(False)
        model.put_head(num_classes)
        return
    try:
        slots = _head_slots(model)
    except InputError as error:
        raise InputError(f"{name} has no Linear at its end: choose another model, such as resnet18") from error
    model.requires_grad_(False)
    for parent, attribute in slots:
        old = getattr(parent, attribute)
        if isinstance(old, nn.Dropout):
            # in place, Dropout would overwrite cached features through their views
            setattr(parent, attribute, nn.Dropout(old.p, inplace=False))
        else:
            setattr(parent, attribute, nn.Linear(old.in_features, num_classes, bias=old.bias is not None))
