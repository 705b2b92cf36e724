"""The weights of timm's models, `timm/resnet18` or with their tag `timm/resnet18.a1_in1k`, described as torchvision's.

They come from the Hugging Face hub and stay in its cache folder. The package timm is imported only where one of these
names is used.
"""

import difflib
import functools
import importlib
import math
import re
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

from torchvision.models import WeightsEnum
from torchvision.models._api import Weights
from torchvision.transforms import InterpolationMode
from torchvision.transforms._presets import ImageClassification

from going_modular.common import files
from going_modular.common.errors import InputError
from going_modular.data import download

PREFIX = "timm/"
FILE = "model.safetensors"  # in each of the hub's repositories
DIGITS = 16  # of the SHA-256 that a checkpoint keeps beside the tag: what a hub holds may be replaced


class TimmTransform(ImageClassification):
    """What timm does to an image in evaluation: resize, crop the centre, scale to [0, 1] and normalise.

    Args:
        crop_size: side of the square that the model sees, in pixels.
        resize_size: before that: of the short side, [S]; or of the whole image, [H, W], whatever its shape.
        mean: of each channel.
        std: of each channel.
        interpolation: as PIL knows it.
    """

    def __init__(
        self,
        *,
        crop_size: int,
        resize_size: Sequence[int],
        mean: Sequence[float],
        std: Sequence[float],
        interpolation: InterpolationMode,
    ) -> None:
        super().__init__(crop_size=crop_size, mean=tuple(mean), std=tuple(std), interpolation=interpolation)
        self.resize_size = list(resize_size)


class TimmWeights(WeightsEnum):
    """The weights that timm knows of one model, by their tags: `weights_of` makes one for each model.

    `meta` has timm's full `name` of model and tag, the `repository` on the hub, if there is one, and the first digits
    of the file's `sha256`, where no other will do.
    """


def is_name(name: str) -> bool:
    """Tell whether a name asks for one of timm's models."""
    return name.startswith(PREFIX)


@functools.cache
def weights_of(name: str) -> type[TimmWeights]:
    """Return the weights that timm knows of a model, DEFAULT among them; of a name with a tag, those alone.

    Raises:
        InputError: no such model, one whose images are no squares, or timm is not installed.
    """
    timm = package(name)
    wanted = name.removeprefix(PREFIX)
    architecture, _, tag = wanted.partition(".")
    # what create_model would make of other texts, such as hf-hub:owner/model, is not asked: a checkpoint may say them
    if architecture not in (known := timm.list_models()):
        close = difflib.get_close_matches(architecture, known, n=3, cutoff=0.5)
        near = f"; try one of {', '.join(PREFIX + other for other in close)}" if close else ""
        raise InputError(f"Unknown model {name!r}{near}; timm.list_models() lists timm's")
    configs = {full.partition(".")[2]: full for full in timm.list_models(architecture, include_tags=True)}
    if tag and tag not in configs:
        raise InputError(f"Unknown model {name!r}: timm's weights of {architecture} are {', '.join(configs)}")
    default = timm.get_pretrained_cfg(wanted)
    default_tag = (default and default.tag) or ""
    members = {
        full_tag or "DEFAULT": _describe(full) for full_tag, full in configs.items() if full_tag == tag or not tag
    }
    return TimmWeights(architecture, members | {"DEFAULT": members[default_tag or "DEFAULT"]})


def find(name: str, text: str) -> TimmWeights | None:
    """Return the weights that a text names: a tag, DEFAULT, or what `identity` says of them; None where it names none.

    timm's own `resnet18.a1_in1k` is taken for the tag, too, if the model is that one.
    """
    family, _, member = text.rpartition(".")
    tag, _, digits = member.partition("@")
    entries = weights_of(name)
    if family not in ("", entries.__name__) or tag not in entries.__members__:
        return None
    entry = entries[tag]
    if "@" not in member:
        return entry
    if not re.fullmatch("[0-9a-f]{8,64}", digits):
        return None
    pinned = Weights(entry.url, entry.transforms, entry.meta | {"sha256": digits})
    return TimmWeights(entries.__name__, {f"{entry.name}@{digits}": pinned})[f"{entry.name}@{digits}"]


def sha256(entry: TimmWeights) -> str:
    """Return the first digits of the SHA-256 of the file that these weights are in, fetched if it is not there.

    Raises:
        InputError: it cannot be had.
    """
    return entry.meta.get("sha256") or files.file_sha256(fetch(entry))[:DIGITS]


def identity(entry: TimmWeights) -> str:
    """Return the text by which a checkpoint asks for the same weights again: the tag and digits of their SHA-256."""
    return f"{entry.name.partition('@')[0]}@{sha256(entry)}"


def availability(entry: TimmWeights) -> str | None:
    """Say in a few words why these weights can be had here, or return None where they cannot."""
    if path := _cached(entry):
        return f"its weights are in {path.parent}"
    can_be_had = entry.meta["repository"] and not download.obstacle(entry.url)
    return "its weights can be downloaded" if can_be_had else None


def fetch(entry: TimmWeights) -> Path:
    """Return the file of these weights, downloaded to the hub's cache folder if it is not there.

    Raises:
        InputError: it cannot be had, or is not the one that was asked for.
    """
    name = PREFIX + entry.meta["name"]
    if not entry.url:
        raise InputError(f"timm has no weights for {name}: pass a local file of them as weights, or none (random)")
    path = _cached(entry)
    if path is None:
        try:
            path = _download(entry, name)
        except InputError as error:
            raise InputError(
                f"{error}; or get {entry.url} on another computer and pass the file as weights, "
                "or use the model efficientnet_lite0, whose weights are installed"
            ) from error
    wanted = entry.meta.get("sha256")
    if wanted is not None and not (has := files.file_sha256(path)).startswith(wanted):
        raise InputError(
            f"The weights of {name} in {str(path)!r} are not those that were trained on: SHA-256 {has[:12]}..., "
            f"wanted {wanted[:12]}...; pass the file of those as weights (--weights)"
        )
    return path


def package(name: str) -> ModuleType:
    """Return the package timm, imported, for the sake of a model of this name.

    Raises:
        InputError: it is not installed.
    """
    try:
        return importlib.import_module("timm")
    except ImportError as error:
        raise InputError(f"The model {name} needs the package timm: pip install timm") from error


def _describe(full_name: str) -> Weights:
    """Return torchvision's kind of description of the weights that timm calls `resnet18.a1_in1k`."""
    from huggingface_hub import constants
    from timm.data import resolve_data_config
    from timm.data.transforms import str_to_interp_mode
    from timm.models import PretrainedCfg

    config = package(full_name).get_pretrained_cfg(full_name) or PretrainedCfg()
    data = resolve_data_config(pretrained_cfg=config.to_dict())
    channels, height, width = data["input_size"]
    if (channels, height) != (3, width) or data["crop_mode"] not in ("center", "squash"):
        raise InputError(f"{PREFIX}{full_name} does not take square images of three channels: choose another model")
    resized = math.floor(height / data["crop_pct"])
    transform = functools.partial(
        TimmTransform,
        crop_size=height,
        resize_size=(resized, resized) if data["crop_mode"] == "squash" else (resized,),
        mean=tuple(data["mean"]),
        std=tuple(data["std"]),
        interpolation=str_to_interp_mode(data["interpolation"]),
    )
    url = f"{constants.ENDPOINT}/{config.hf_hub_id}/resolve/main/{FILE}" if config.hf_hub_id else config.url
    return Weights(url or "", transform, {"name": full_name, "repository": config.hf_hub_id})


def _cached(entry: TimmWeights) -> Path | None:
    """Return the file of these weights in the hub's cache folder, or None where it is not there."""
    from huggingface_hub import try_to_load_from_cache

    repository = entry.meta["repository"]
    path = try_to_load_from_cache(repository, FILE) if repository else None
    return Path(path) if isinstance(path, str) else None


def _download(entry: TimmWeights, name: str) -> Path:
    from huggingface_hub import constants, hf_hub_download

    if not entry.meta["repository"]:
        raise InputError(f"The weights of {name} are not on the Hugging Face hub")
    if why := download.obstacle(entry.url):
        raise InputError(f"The weights of {name} are not in {constants.HF_HUB_CACHE}, and {why}")
    try:
        return Path(hf_hub_download(entry.meta["repository"], FILE))
    except Exception as error:  # the network's, the server's, the disk's
        detail = " ".join(str(error).split())[:160]
        raise InputError(f"Cannot download the weights of {name}: {detail}") from error
