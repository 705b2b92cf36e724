"""What a data set consists of: counts, sizes, shapes and formats, and what uneven classes do to accuracy.

taken = survey(labels, parts, class_names, sizes=sizes, formats=formats)
taken.counts["cat"]["train"], taken.scarce, taken.formats
weighed = imbalance(labels, predicted, number_of_classes)
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from going_modular.data.splits import FOLDS

FEW = FOLDS  # images; of a class with fewer a split cannot give each part its share
SPLITTABLE = 2  # images that a class needs, so that one can be held out
UNEVEN = 1.5  # largest class over smallest; from here on accuracy alone misleads
ELONGATED = 2.0  # long side over short, above which a square crop shows less than half of an image
SQUARE = 1.05  # long side over short, up to which a shape is called square


@dataclass(frozen=True)
class Spread:
    """The least, the middle and the largest of some numbers."""

    least: float
    median: float
    largest: float


@dataclass(frozen=True)
class Survey:
    """What N images are, counted."""

    images: int
    counts: Mapping[str, Mapping[str, int]]  # by class, in the order of labels, then by part
    scarce: Mapping[str, int]  # classes with fewer than FEW images, the smallest first
    width: Spread  # pixels
    height: Spread
    short_side: Spread
    shapes: Mapping[str, int]  # landscape, square, portrait
    elongated: int  # whatever their shape, those of which a square crop shows less than half
    commonest_size: tuple[int, int, int]  # width, height, and how many images have it
    formats: Mapping[str, int]  # by Pillow's name, the most frequent first

    @property
    def unsplittable(self) -> list[str]:
        """The classes of which no image can be held out."""
        return [name for name, count in self.scarce.items() if count < SPLITTABLE]


@dataclass(frozen=True)
class Imbalance:
    """What uneven classes do to accuracy."""

    largest: int  # the label with most images
    smallest: int
    ratio: float  # of their numbers of images, at least 1
    majority_accuracy: float  # of a classifier that says the largest class of everything, in [0, 1]
    majority_balanced: float  # its balanced accuracy, the mean over classes: 1 / C
    accuracy: float  # of the predictions
    balanced_accuracy: float

    @property
    def is_uneven(self) -> bool:
        """Whether accuracy alone misleads."""
        return self.ratio >= UNEVEN


def survey(
    labels: Sequence[int],
    parts: Sequence[str],
    class_names: Sequence[str],
    *,
    sizes: Sequence[tuple[int, int]],
    formats: Sequence[str],
) -> Survey:
    """Count N images.

    Args:
        labels: (N,) integers from 0 to C - 1.
        parts: (N,) the part that each stands in, such as `train`; "" where there are none.
        class_names: C names.
        sizes: (N,) width and height, in pixels, as the image is looked at.
        formats: (N,) names.
    """
    pairs = Counter(zip(labels, parts, strict=True))
    columns = list(dict.fromkeys(parts))
    counts = {name: {part: pairs[label, part] for part in columns} for label, name in enumerate(class_names)}
    totals = {name: sum(row.values()) for name, row in counts.items()}
    scarce = sorted((count, name) for name, count in totals.items() if count < FEW)
    widths, heights = np.array(sizes).T
    long, short = np.maximum(widths, heights), np.minimum(widths, heights)
    is_square = long <= SQUARE * short
    [(commonest, times)] = Counter(map(tuple, sizes)).most_common(1)
    return Survey(
        images=len(labels),
        counts=counts,
        scarce={name: count for count, name in scarce},
        width=_spread(widths),
        height=_spread(heights),
        short_side=_spread(short),
        shapes={
            "landscape": int(((widths > heights) & ~is_square).sum()),
            "square": int(is_square.sum()),
            "portrait": int(((heights > widths) & ~is_square).sum()),
        },
        elongated=int((long > ELONGATED * short).sum()),
        commonest_size=(*map(int, commonest), times),
        formats=dict(Counter(formats).most_common()),
    )


def imbalance(labels: np.ndarray, predicted: np.ndarray, classes: int) -> Imbalance:
    """Weigh uneven classes.

    Args:
        labels: (N,) integers from 0 to C - 1; each class has at least one image.
        predicted: (N,) what a classifier says of each without having been trained on it; -1 where it can say nothing.
        classes: C.
    """
    numbers = np.bincount(labels, minlength=classes)
    right = np.bincount(labels, weights=predicted == labels, minlength=classes)
    largest, smallest = int(numbers.argmax()), int(numbers.argmin())
    return Imbalance(
        largest=largest,
        smallest=smallest,
        ratio=float(numbers[largest] / numbers[smallest]),
        majority_accuracy=float(numbers[largest] / len(labels)),
        majority_balanced=1 / classes,
        accuracy=float(right.sum() / len(labels)),
        balanced_accuracy=float((right / numbers).mean()),
    )


def _spread(values: np.ndarray) -> Spread:
    return Spread(float(values.min()), float(np.median(values)), float(values.max()))
