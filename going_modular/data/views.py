"""Several views of one image: a classifier's answers to them, averaged, are its answer (test-time augmentation).

They are the ten of Krizhevsky et al. (2012, section 4.1), always the same, in this order:

1       the usual view, what the transform makes of the image
2       its mirror image
3 to 6  the corners of a larger square: top left, bottom right, top right, bottom left
7 to 10 the mirror images of 3 to 6
"""

import copy
import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from PIL import Image

from going_modular.common.cli import MOST_VIEWS
from going_modular.common.errors import InputError

LARGER = 256 / 224  # a square's side, at least, over that of the view in its corner
CORNERS = ((False, False), (True, True), (False, True), (True, False))  # at the bottom, at the right


@dataclass(frozen=True)
class View:
    """A transform of which a corner is seen, or the mirror image; it goes to worker processes and to the cache's key.

    Args:
        transform: maps a PIL image to a tensor (3, H, W).
        side: of the corner, in pixels; None for all of it.
        bottom: whether the corner is at the bottom.
        right: whether the corner is at the right.
        mirrored: left and right change places.
    """

    transform: Callable
    side: int | None = None
    bottom: bool = False
    right: bool = False
    mirrored: bool = False

    def __call__(self, image: Image.Image) -> torch.Tensor:
        """Return the view of an image, (3, H, W)."""
        seen = self.transform(image)
        if self.side is not None:
            rows, columns = (slice(-self.side, None) if end else slice(self.side) for end in (self.bottom, self.right))
            seen = seen[..., rows, columns]
        return seen.flip(-1) if self.mirrored else seen


def views_of(transform: Callable, count: int) -> list[Callable]:
    """Return the first so many views, each a transform; the first is the transform itself.

    Args:
        transform: what comes with a model's weights; of any other that makes tensors (3, H, W) there are two views.
        count: 1 to 10.

    Raises:
        InputError: there are not so many.
    """
    if not 1 <= count <= MOST_VIEWS:
        raise InputError(f"{count} views of an image; take 1 to {MOST_VIEWS}")
    first = [transform, View(transform, mirrored=True)]
    if count <= len(first):
        return first[:count]
    try:
        (side,), (resized,) = set(transform.crop_size), set(transform.resize_size)
        larger, wider = max(resized, math.ceil(LARGER * side)), copy.deepcopy(transform)
        wider.crop_size, wider.resize_size = [larger], [larger] * len(transform.resize_size)
    except (AttributeError, TypeError, ValueError) as error:
        shown = " ".join(repr(transform).split())[:80]
        raise InputError(
            f"{count} views need a transform that resizes and crops to a square, as those of pretrained weights do; "
            f"this one is {shown}...: take 1 view, or 2"
        ) from error
    corners = [View(wider, side, bottom, right, mirrored) for mirrored in (False, True) for bottom, right in CORNERS]
    return [*first, *corners][:count]


def average(logits: torch.Tensor) -> torch.Tensor:
    """Return the logarithms of the mean probabilities (N, C), logits as well, of those of V views (V, N, C).

    Of a single view they are its logits as they are.
    """
    if len(logits) == 1:
        return logits[0]
    return logits.log_softmax(dim=-1).logsumexp(dim=0) - math.log(len(logits))
