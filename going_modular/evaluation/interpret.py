"""Why did it say so: the images a classifier is most wrong about or least sure of, and where in them it looks.

    maps, method = explain(model, images)
    figure = figures.heatmap_grid(denormalize(images, transform), maps, titles, scale=method)

Maps show where, not why, and can look right by chance: this module's tests see to it that random weights give others
(after Adebayo et al., 2018, https://arxiv.org/abs/1810.03292).
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager

import torch
import torchvision
from PIL import Image
from torch import nn
from torch.nn import functional as F
from torchvision.transforms import functional as TF

from going_modular import vit
from going_modular.common.errors import InputError
from going_modular.models import timm_models
from going_modular.models.hybrid import Hybrid

_TRANSFORMERS = (vit.VisionTransformer, torchvision.models.VisionTransformer, Hybrid)


def most_wrong(logits: torch.Tensor, labels: Sequence[int] | torch.Tensor, count: int) -> list[int]:
    """Return the indices of wrong predictions, those that the classifier was surest of first.

    Args:
        logits: (N, C), on the CPU.
        labels: N integers from 0 to C - 1.
        count: at most so many indices; fewer where fewer predictions are wrong.
    """
    probabilities, predicted = logits.double().softmax(dim=1).max(dim=1)
    wrong = (predicted != torch.as_tensor(labels)).nonzero().flatten()
    order = probabilities[wrong].argsort(descending=True, stable=True)
    return wrong[order][:count].tolist()


def least_sure(logits: torch.Tensor, count: int) -> list[int]:
    """Return the indices of at most `count` of the samples with logits (N, C), the smallest top probability first."""
    return logits.double().softmax(dim=1).amax(dim=1).argsort(stable=True)[:count].tolist()


def explain(model: nn.Module, images: torch.Tensor) -> tuple[torch.Tensor, str]:
    """Return maps (B, H, W) of where a classifier looks, and the name of the method that fits the model.

    That is `attention_rollout` for a Vision Transformer and for a hybrid, `grad_cam` of the predicted class for others.

    Args:
        model: a classifier.
        images: (B, 3, H, W), normalised as the model's weights want.

    Raises:
        InputError: as the two methods do.
    """
    if isinstance(model, _TRANSFORMERS):
        return attention_rollout(model, images), "attention rollout"
    return grad_cam(model, images), "Grad-CAM"


def grad_cam(
    model: nn.Module, images: torch.Tensor, labels: Sequence[int] | torch.Tensor | None = None
) -> torch.Tensor:
    """Map where a CNN's last feature map speaks for a class.

    Each channel of the map is weighed by the gradient of the class's logit, averaged over positions; what is negative
    in the sum speaks for other classes and is left out (Selvaraju et al., 2017, https://arxiv.org/abs/1610.02391).
    The map is the last output (B, C, h, w) of a module, h and w above 1. Parameters may be frozen; the model's modes,
    flags and gradients stay as they are.

    Args:
        model: a classifier, images to logits.
        images: (B, 3, H, W), normalised as the model's weights want.
        labels: B classes to explain; by default the predicted ones.

    Returns:
        (B, H, W) in [0, 1], on the CPU: 1 is an image's strongest place; a map of zeros means that nothing in the image
        speaks for the class.

    Raises:
        InputError: images of another shape, labels that are no classes, or a model without such a feature map.
    """
    if isinstance(model, _TRANSFORMERS[:2]):
        raise InputError(f"Grad-CAM reads a CNN's feature map; for a {type(model).__name__} take attention_rollout")
    images = _batch(model, images)
    with torch.inference_mode(False), _evaluating(model), _frozen(model):
        with torch.no_grad():
            last_map = _last_map(model, images[:1])
        with torch.enable_grad():
            logits, activations = _forward(model, last_map, images)
            classes = _classes(labels, logits)
            [gradients] = torch.autograd.grad(logits.gather(1, classes[:, None]).sum(), activations)
        weights = gradients.mean(dim=(2, 3), keepdim=True)  # (B, C, 1, 1)
        maps = (weights * activations.detach()).sum(dim=1).relu()
    return _finish(maps, images)


def attention_rollout(model: nn.Module, images: torch.Tensor) -> torch.Tensor:
    """Map how much of each patch reaches the class token, through all layers of a Vision Transformer.

    A layer passes on half of what its heads attend to, on average, and half of the token itself; the product over
    layers is the rollout (Abnar and Zuidema, 2020, https://arxiv.org/abs/2005.00928, section 3). It is the same for
    every class.

    Args:
        model: `vit.VisionTransformer`, torchvision's, or a hybrid, whose patches are the places of its feature map.
        images: (B, 3, H, W), of the model's image size, normalised as its weights want.

    Returns:
        (B, H, W) in [0, 1], on the CPU: 1 is the place an image's class token takes most from.

    Raises:
        InputError: images of another shape, or a model that is none of these.
    """
    if not isinstance(model, _TRANSFORMERS):
        raise InputError(f"A {type(model).__name__} has no attention to follow; take grad_cam")
    images = _batch(model, images)
    ours = vit.from_torchvision(model) if isinstance(model, torchvision.models.VisionTransformer) else model
    with torch.no_grad(), _evaluating(ours):
        # one by one: the attention of all layers and heads is large
        maps = torch.cat([_roll_out(_attention(ours, image)) for image in images.split(1)])
    return _finish(maps, images)


def denormalize(images: torch.Tensor, transform: Callable) -> list[Image.Image]:
    """Turn what a model sees back into PIL images: the normalisation is undone, what was cropped away stays away.

    Args:
        images: (B, 3, H, W).
        transform: what made them, as `model_builder.create_model` returns it: it has a `mean` and a `std`.
    """
    mean, std = (torch.tensor(values)[:, None, None] for values in (transform.mean, transform.std))
    return [TF.to_pil_image(image.clamp(0, 1)) for image in images.cpu() * std + mean]


@contextmanager
def _evaluating(model: nn.Module) -> Iterator[None]:
    """Keep a model in eval mode; then give every module its own mode back."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training


@contextmanager
def _frozen(model: nn.Module) -> Iterator[None]:
    """Freeze every parameter, so that no graph is built up to the feature map; then let those learn that did."""
    learning = [parameter for parameter in model.parameters() if parameter.requires_grad]
    for parameter in learning:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in learning:
            parameter.requires_grad_(True)


@contextmanager
def _hooked(modules: Iterable[nn.Module], hook: Callable) -> Iterator[None]:
    """Call a forward hook on some modules, no longer than this."""
    handles = [module.register_forward_hook(hook) for module in modules]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _batch(model: nn.Module, images: torch.Tensor) -> torch.Tensor:
    """Return the images where the model is."""
    if images.dim() != 4 or not len(images):
        raise InputError(f"Images of shape {tuple(images.shape)}; give a batch (B, 3, H, W), one image with B = 1")
    return images.detach().to(next(model.parameters()).device)


def _last_map(model: nn.Module, image: torch.Tensor) -> nn.Module:
    """Return the module that is the last to output a feature map (B, C, h, w) of more than one row and column.

    In timm's Transformers others put out four dimensions, too: heads, or channels that come last.
    """
    making_maps = []
    is_timms = timm_models.is_model(model)
    shape = timm_models.map_shape(model, image) if is_timms else None

    def note(module: nn.Module, _: object, output: object) -> None:
        is_map = isinstance(output, torch.Tensor) and output.dim() == 4 and min(output.shape[2:]) > 1
        if is_map and (not is_timms or output.shape == shape):
            making_maps.append(module)

    with _hooked(model.modules(), note):
        model(image)
    if not making_maps:
        height, width = image.shape[2:]
        raise InputError(
            f"{type(model).__name__} makes no feature map (B, C, h, w) with h and w above 1 of {height}x{width} "
            "pixels; take a CNN, or larger images"
        )
    return making_maps[-1]


def _forward(model: nn.Module, module: nn.Module, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the logits and what the module put out, with the graph between them and no other."""
    activations = None

    def start_graph(_: nn.Module, __: object, output: torch.Tensor) -> torch.Tensor:
        nonlocal activations
        # a copy of a leaf, not the leaf: DenseNet goes on with an in-place ReLU
        activations = output.detach().requires_grad_().clone()
        return activations

    with _hooked([module], start_graph):
        logits = model(images)
    return logits, activations


def _classes(labels: Sequence[int] | torch.Tensor | None, logits: torch.Tensor) -> torch.Tensor:
    """Return the class (B,) to explain of each image."""
    if labels is None:
        return logits.argmax(dim=1)
    classes = torch.as_tensor(labels).to(logits.device).clone()  # one made in inference mode has no backward
    images, known = logits.shape
    if classes.shape != (images,) or classes.min() < 0 or classes.max() >= known:
        raise InputError(f"Labels {classes.tolist()}; give {images}, one an image, each from 0 to {known - 1}")
    return classes


def _attention(model: nn.Module, image: torch.Tensor) -> torch.Tensor:
    """Return the attention (layers, 1, heads, T, T) that one image (1, 3, H, W) gives rise to."""
    if isinstance(model, Hybrid):
        model, image = model.head, model.features(image).flatten(1)
    return model(image, return_attention=True)[1]


def _roll_out(attention: torch.Tensor) -> torch.Tensor:
    """Multiply the layers' attention (layers, B, heads, T, T) up; return the class token's row as maps (B, G, G)."""
    identity = torch.eye(attention.shape[-1], device=attention.device)
    rollout = identity
    for layer in attention.float().mean(dim=2):  # (B, T, T)
        rollout = (layer + identity) / 2 @ rollout
    patches = rollout[:, 0, 1:]  # the class token comes first
    side = round(patches.shape[1] ** 0.5)
    return patches.unflatten(1, (side, side))


def _finish(maps: torch.Tensor, images: torch.Tensor) -> torch.Tensor:
    """Resize maps (B, h, w), none below 0, to the images' size and divide each by its maximum."""
    maps = F.interpolate(maps[:, None].float(), images.shape[2:], mode="bilinear")[:, 0]
    peaks = maps.amax(dim=(1, 2), keepdim=True)
    return (maps / torch.where(peaks > 0, peaks, 1)).cpu()
