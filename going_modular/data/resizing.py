"""What a transform makes of an image's short side: of a much larger photo, less need be decoded."""

import math
from collections.abc import Callable

from torchvision.transforms._presets import ImageClassification

from going_modular.data.views import View

# these take the mean of many pixels where they shrink an image; the others pick one
_SMOOTH = {"bilinear", "bicubic", "box", "hamming", "lanczos"}
# what may stand before a resize without seeing how large an image is
_PIXEL_BY_PIXEL = {"ToTensor", "PILToTensor", "ToImage", "ConvertImageDtype", "ToDtype", "RGB"}


def short_side(transform: Callable | None) -> int | None:
    """Return the short side (px) of what a transform keeps of an image's detail; None where that is not known.

    Of an image whose short side is much longer, the transform makes nearly the same at a fraction of its size. That
    holds for the transforms that come with weights, for their views, and for a Compose that begins with torchvision's
    Resize or RandomResizedCrop, but not where these pick single pixels. A random crop may take a small part of an
    image: the side returned is so much longer that the smallest crop still has the pixels that it is resized to.
    """
    if type(transform) is View:
        return short_side(transform.transform)
    name = _name(transform)
    if name == "Compose":
        return short_side(next((step for step in transform.transforms if _name(step) not in _PIXEL_BY_PIXEL), None))
    is_preset = getattr(type(transform), "forward", None) is ImageClassification.forward
    if not is_preset and name not in ("Resize", "RandomResizedCrop"):
        return None
    interpolation = getattr(transform.interpolation, "value", transform.interpolation)  # newer versions keep its name
    if interpolation not in _SMOOTH or not transform.antialias:
        return None
    size = transform.resize_size if is_preset else transform.size
    longer = max(size) if isinstance(size, list | tuple) else size  # of (H, W), whatever the image's shape
    return longer if name != "RandomResizedCrop" else _before_the_crop(transform, longer)


def _name(transform: Callable | None) -> str | None:
    """Return the name of a transform of torchvision's, the same in both of its versions; of another, None.

    A class of somebody's own may do anything with what it inherits.
    """
    kind = type(transform)
    return kind.__name__ if kind.__module__.startswith("torchvision.transforms.") else None


def _before_the_crop(crop: Callable, longest: int) -> int | None:
    """Return the short side of an image of which a RandomResizedCrop's smallest part has sides of `longest`."""
    (area, _), (narrowest, widest) = crop.scale, crop.ratio  # of the image's area; width over height
    share = math.sqrt(area * min(narrowest, 1 / widest))  # of the image's short side
    return math.ceil(longest / share) if share else None
