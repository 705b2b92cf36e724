"""Cut a model in two before the last of its blocks: what is frozen below, and what learns.

Every model is cut in the same way: `below` runs it up to the first block that learns, and takes what goes in there;
`rest` runs it on an empty batch, for next to nothing, and puts the maps in at that block. `prefix.py` uses both.
"""

import contextlib
import copy
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

import torch
from torch import nn
from torch.utils._pytree import tree_leaves, tree_map_only

from going_modular import engine, model_builder
from going_modular.common.device import exact_fp32, resolve_precision
from going_modular.common.errors import InputError
from going_modular.fine_tuning import recipes
from going_modular.models.hybrid import Hybrid

SIDE, STRIDE = 224, 32  # pixels of an image for a model that does not say; of it to one of an EfficientNet's last map
ROUNDING = 1e-4  # of fp32, in logits computed in one go and in two


class NoPrefixError(InputError):
    """Report why frozen blocks cannot run once; they can in every epoch."""


class _ReachedError(Exception):
    """A model has come to the first block that learns."""


@dataclass(frozen=True)
class _Cut:
    """Where a model is cut."""

    entry: str  # the first module that learns
    skipped: dict[str, object]  # modules that run before it, outermost, with what each makes of an empty batch
    side: int  # pixels of the model's images
    mixed: torch.dtype  # of the maps in mixed precision: a Transformer adds up its tokens in float32


class Below(nn.Module):
    """A model up to its first block that learns; `split` makes it."""

    def __init__(self, model: nn.Module, entry: str) -> None:
        super().__init__()
        self.model, self.entry = model, entry

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Map images (B, 3, H, W) to what that block takes: a map (B, C, H, W), or tokens (B, T, D)."""

        def stop(_: nn.Module, args: tuple) -> None:
            raise _ReachedError(args[0])

        handle = self.model.get_submodule(self.entry).register_forward_pre_hook(stop)
        try:
            self.model(images)
        except _ReachedError as reached:
            return reached.args[0]
        finally:
            handle.remove()
        raise NoPrefixError(f"{self.entry!r} was not reached")


class Rest(nn.Module):
    """A model from its first block that learns on; `split` makes it."""

    def __init__(self, model: nn.Module, cut: _Cut) -> None:
        super().__init__()
        self.model, self.cut = model, cut

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        """Map what that block takes to logits (B, num_classes)."""
        is_mixed = torch.is_autocast_enabled(maps.device.type)
        # a copy: what learns may begin with something in place
        maps = maps.to(self.cut.mixed if is_mixed and maps.dtype == torch.bfloat16 else torch.float32, copy=True)

        def enter(_: nn.Module, args: tuple) -> tuple:
            return maps, *args[1:]

        with contextlib.ExitStack() as stack:
            stack.callback(self.model.get_submodule(self.cut.entry).register_forward_pre_hook(enter).remove)
            for path, output in self.cut.skipped.items():
                module = self.model.get_submodule(path)
                module.forward = _gives(output, maps)
                stack.callback(delattr, module, "forward")
            return self.model(maps.new_empty(0, 3, self.cut.side, self.cut.side, dtype=torch.float32))


def split(model: nn.Module, *, blocks: int) -> tuple[Below, Rest]:
    """Cut a model in two, before the last of its backbone's blocks.

    Both parts are the model's own modules, so that training `rest` trains the model. `rest(below(images))` is
    `model(images)`: it is tried on a few.

    Args:
        model: as `model_builder.create_model` returns it; nothing in it changes.
        blocks: how many of the last, as `recipes.blocks` counts them: at least 1, and fewer than all.

    Returns:
        `below`, images (B, 3, H, W) to what the last blocks take: a map (B, C, H, W), or tokens (B, T, D); and `rest`,
        that to logits.

    Raises:
        NoPrefixError: nothing is below, or the model cannot be cut there; it says why.
    """
    all_blocks = recipes.blocks(model)
    if not 0 < blocks < len(all_blocks):
        raise NoPrefixError(f"The last {blocks} of {len(all_blocks)} blocks leave none to run once, or none to learn")
    last = [*all_blocks[-blocks:], list(model_builder.head(model).parameters())]
    learning = {id(parameter) for block in last for parameter in block}
    probe = copy.deepcopy(model)
    for parameter, original in zip(probe.parameters(), model.parameters(), strict=True):
        parameter.requires_grad_(id(original) in learning)
    device = next(model.parameters()).device
    try:
        with torch.random.fork_rng([device] if device.type == "cuda" else []), exact_fp32():
            cut = _find(probe, _images(probe).to(device))
    except Exception as error:  # whatever a model cannot do with an empty batch
        detail = " ".join(str(error).split())[:120]
        raise NoPrefixError(
            f"{type(model).__name__} cannot be cut before its last {blocks} blocks: {detail}"
        ) from error
    return Below(model, cut.entry), Rest(model, cut)


def _find(probe: nn.Module, images: torch.Tensor) -> _Cut:
    """Return where to cut: at the first module all of whose parameters learn. Both parts are tried.

    Args:
        probe: a copy of the model, in which what learns requires gradients.
        images: a few (B, 3, H, W), such as the model takes.

    Raises:
        NoPrefixError: something that learns comes before, not the map alone goes in, or the parts give other logits
            than the whole, be it in eval mode or as it is trained.
    """
    seen = _watch(probe.eval(), images)
    if seen.entry is None or seen.calls[seen.entry] > 1 or len(seen.tensors) != 1:
        raise NoPrefixError("more than one tensor goes in")
    [maps] = seen.tensors
    if maps.requires_grad:
        raise NoPrefixError("what learns is used below, too")
    once = {path: output for path, output in seen.finished.items() if seen.calls[path] == 1}
    inside = {path for path in once for outer in once if path.startswith(f"{outer}.")}
    skipped = {path: output for path, output in once.items() if path not in inside}
    cut = _Cut(seen.entry, skipped, images.shape[-1], _mixed_dtype(probe, seen.entry, images))

    rest = Rest(probe, cut)
    with torch.no_grad():
        pairs = [(seen.logits, rest(maps))]
        engine.set_train_mode(probe)
        pairs.append((_drawn(probe, images), _drawn(rest, maps)))
    if not all(_same(*pair) for pair in pairs):
        raise NoPrefixError("both parts give other logits than the whole")
    return cut


@torch.no_grad()
def _mixed_dtype(probe: nn.Module, entry: str, images: torch.Tensor) -> torch.dtype:
    """Return the type of maps in mixed precision, where the device is built for it."""
    if resolve_precision("auto", images.device) == "fp32":
        return torch.float32
    with torch.autocast(images.device.type, dtype=torch.bfloat16):
        return Below(probe, entry)(images[:1]).dtype


def _same(whole: torch.Tensor, parts: torch.Tensor) -> bool:
    """Tell whether logits (2, C) are the same, but for rounding, on the scale on which two images differ."""
    if whole.shape != parts.shape:
        return False
    return bool((whole - parts).abs().max() <= ROUNDING * (whole[0] - whole[1]).abs().max())


def _drawn(model: nn.Module, inputs: torch.Tensor) -> torch.Tensor:
    """Return what a model gives when the same is dropped."""
    torch.manual_seed(0)
    return model(inputs)


@dataclass
class _Seen:
    """What was seen while a model ran on images."""

    entry: str | None = None
    tensors: list[torch.Tensor] = field(default_factory=list)  # that went in there
    calls: dict[str, int] = field(default_factory=dict)
    finished: dict[str, object] = field(default_factory=dict)  # before the entry, with what came out, emptied
    logits: torch.Tensor | None = None


def _watch(probe: nn.Module, images: torch.Tensor) -> _Seen:
    """Run a model, and see in what order its modules run."""
    seen, handles = _Seen(), []

    def begin(module: nn.Module, args: tuple, kwargs: dict, *, path: str) -> None:
        seen.calls[path] = seen.calls.get(path, 0) + 1
        parameters = list(module.parameters())
        if seen.entry is None and parameters and all(parameter.requires_grad for parameter in parameters):
            seen.entry = path
            tensors = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, torch.Tensor)]
            seen.tensors = [tensor.clone() for tensor in tensors]  # something in place may come next

    def end(_: nn.Module, __: tuple, output: object, *, path: str) -> None:
        if seen.entry is None:
            seen.finished[path] = tree_map_only(
                torch.Tensor, lambda tensor: tensor.new_empty(0, *tensor.shape[1:]), output
            )

    for path, module in probe.named_modules():
        handles.append(module.register_forward_pre_hook(partial(begin, path=path), with_kwargs=True))
        handles.append(module.register_forward_hook(partial(end, path=path)))
    seen.logits = probe(images)
    for handle in handles:
        handle.remove()
    return seen


def _gives(output: object, maps: torch.Tensor) -> Callable:
    """Return a forward pass for a module on an empty batch: what comes out is known, on the device of the maps."""
    empty = tree_map_only(torch.Tensor, lambda tensor: maps.new_empty(tensor.shape, dtype=tensor.dtype), output)
    return lambda *_, **__: empty


def _images(model: nn.Module) -> torch.Tensor:
    """Return two images of noise, such as the model takes."""
    side = _side(model)
    return torch.randn(2, 3, side, side, generator=torch.Generator().manual_seed(0))


def _side(model: nn.Module) -> int:
    """Return the side of images that a model takes, in pixels; most take any."""
    if isinstance(model, Hybrid):
        return STRIDE * model.head.image_size
    configuration = getattr(model, "pretrained_cfg", {})  # of timm's
    return getattr(model, "image_size", None) or configuration.get("input_size", (3, SIDE, SIDE))[-1]
