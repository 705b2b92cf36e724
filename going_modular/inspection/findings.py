"""What an inspection found, in the order of what matters, as numbers: what inspection.json holds."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property

import numpy as np

from going_modular.inspection.collection import Collection
from going_modular.inspection.copies import Group, together
from going_modular.inspection.labels import Doubts
from going_modular.inspection.learning_curve import LearningCurve
from going_modular.inspection.quality import Quality
from going_modular.inspection.shortcuts import Shortcut
from going_modular.inspection.survey import Imbalance, Survey

MOST_STRANGERS = 100  # in the JSON
MEASURED = ("flags", "width", "height", "format", "bytes", "brightness", "contrast", "sharpness", "flatness")
# Robust standard deviations above the middle, from where on an image is said to stand out. Of 6 images of a third class
# among 200 photos of two, 2.0 do, and 4.7 of the others (means of 10 draws).
STANDS_OUT = 2.5


@dataclass(frozen=True)
class Findings:
    """What was found in N readable images."""

    collection: Collection  # the N images
    model: str  # the backbone that looked at them
    unread: Mapping[str, str]  # what is wrong with the images that could not be opened, by file
    survey: Survey
    imbalance: Imbalance
    doubts: Doubts
    groups: Sequence[Group]  # images that show the same
    strangeness: np.ndarray  # (N,) distance to the nearest others
    qualities: Sequence[Quality]  # N
    shortcuts: Sequence[Shortcut]
    curve: LearningCurve | None

    @property
    def accuracy(self) -> float:
        """How often the classifier that doubts labels agrees with them, in [0, 1]."""
        return self.imbalance.accuracy

    @cached_property
    def suspects(self) -> list[int]:
        """The images that look like another class, most doubtful first, without those that somebody kept."""
        return self._undecided(self.doubts.suspects)

    @cached_property
    def two_labels(self) -> list[Group]:
        """What stands under more than one label."""
        return [group for group in self._open_groups if group.has_two_labels]

    @cached_property
    def leaks(self) -> list[Group]:
        """What stands in more than one part, under one label."""
        return [group for group in self._open_groups if group.crosses_splits and not group.has_two_labels]

    @cached_property
    def copies(self) -> list[Group]:
        """What else shows the same."""
        return [group for group in self._open_groups if not (group.crosses_splits or group.has_two_labels)]

    @cached_property
    def first_alike(self) -> np.ndarray:
        """Of each of the N images the first that shows the same, directly or by way of others; itself if none does.

        Groups lie in one another: what is named after it has one name, whichever of them it is taken from.
        """
        return together(len(self.strangeness), self.groups)

    @cached_property
    def strangest(self) -> list[int]:
        """Images by how far from all others they lie, the strangest first, without those that somebody kept."""
        return self._undecided(np.argsort(-self.strangeness, kind="stable"))

    @cached_property
    def strangers(self) -> list[int]:
        """Those of the strangest that stand out."""
        middle = np.median(self.strangeness)
        deviation = 1.4826 * np.median(np.abs(self.strangeness - middle))  # as a standard deviation, but robust
        return [i for i in self.strangest if self.strangeness[i] > middle + STANDS_OUT * deviation]

    @cached_property
    def poor(self) -> list[int]:
        """The images with a flag, those with most flags first, without those that somebody kept."""
        flagged = [i for i, quality in enumerate(self.qualities) if quality.flags]
        return self._undecided(sorted(flagged, key=lambda i: -len(self.qualities[i].flags)))

    @property
    def warnings(self) -> list[Shortcut]:
        """The shortcuts far above chance."""
        return [shortcut for shortcut in self.shortcuts if shortcut.warns]

    @cached_property
    def _open_groups(self) -> list[Group]:
        """The groups about which nothing was decided yet."""
        corrected, files = self.collection.dataset.groups, self.collection.files
        grouped = [corrected.get(path) for path in self.collection.paths]

        def is_settled(group: Group) -> bool:
            if all(files[i] in self.collection.kept for i in group.members):
                return True
            return not group.has_two_labels and len({grouped[i] or i for i in group.members}) == 1

        return [group for group in self.groups if not is_settled(group)]

    def _undecided(self, indices: Sequence[int]) -> list[int]:
        files, kept = self.collection.files, self.collection.kept
        return [int(i) for i in indices if files[i] not in kept]

    def content(self) -> dict[str, object]:
        """Return what inspection.json holds."""
        collection, files, names = self.collection, self.collection.files, self.collection.names
        classes = collection.class_names
        return {
            "data": collection.name,
            "data_source": collection.source,
            "model": self.model,
            "images": len(files),
            "class_names": classes,
            "notes": list(collection.notes),
            "not_split_because": collection.why_unsplit or None,
            "unread": [{"file": file, "problem": problem} for file, problem in self.unread.items()],
            "labels": {
                "accuracy": self.accuracy,
                "suspects": [
                    {
                        "file": files[i],
                        "given": names[i],
                        "proposed": classes[self.doubts.proposed[i]],
                        "probability_given": float(self.doubts.probability_given[i]),
                        "probability_proposed": float(self.doubts.probability_proposed[i]),
                    }
                    for i in self.suspects
                ],
            },
            "copies": [
                {
                    "kind": group.kind,
                    "files": [files[i] for i in group.members],
                    "classes": [classes[label] for label in group.labels],
                    "parts": list(group.splits),
                }
                for group in self._open_groups
            ],
            "strangers": [
                {"file": files[i], "class": names[i], "distance": float(self.strangeness[i])}
                for i in self.strangest[:MOST_STRANGERS]
            ],
            "quality": [
                {"file": files[i], "class": names[i]} | {name: getattr(self.qualities[i], name) for name in MEASURED}
                for i in self.poor
            ],
            "shortcuts": [{**asdict(shortcut), "warns": shortcut.warns} for shortcut in self.shortcuts],
            "survey": asdict(self.survey),
            "imbalance": asdict(self.imbalance)
            | {"largest": classes[self.imbalance.largest], "smallest": classes[self.imbalance.smallest]},
            "learning_curve": self.curve and {**asdict(self.curve), "gain": self.curve.gain},
        }
