"""Images that show the same: copies of a file, altered copies, and several shots of one scene.

    groups = find(leaks.fingerprints(paths), features, labels, splits)
    groups[0].kind, groups[0].members, groups[0].labels
    together(len(paths), groups)            # what a split, and a fold, must not part

Two images show the same where their perceptual hashes are alike, or where their features lie much closer together than
those of either and its other neighbours: that is found whatever the backbone, and in mirrored and cropped copies, too.
`benchmarks/bench_inspect.py` measures how many of planted copies are found.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from going_modular.evaluation import leaks

IDENTICAL, NEAR, SCENE = leaks.IDENTICAL, leaks.NEAR, "same scene"
KINDS = (IDENTICAL, NEAR, SCENE)

# Bits of 256 that may differ, and how far features may be apart at most, as a share of the distance to the other
# neighbours. Different photos came to no less than 48 bits, and 0.45 where their scenes differ.
NEAR_LIMITS = ((30, np.inf), (leaks.MAX_DISTANCE, 0.6), (leaks.BITS, 0.25))
SCENE_LIMITS = ((leaks.BITS, 0.42),)
NEIGHBOUR = 20  # whose distance is compared with; scenes of more images are found where they are few in a data set
SAMPLE = 1000  # images whose neighbours tell what is usual
_BLOCK = 512  # images compared with all others at a time


@dataclass(frozen=True)
class Group:
    """Images that show the same."""

    kind: str  # IDENTICAL: all are; NEAR: altered copies, too; SCENE: other shots, too
    members: tuple[int, ...]  # indices, rising
    labels: tuple[int, ...]  # under which they stand, each once, rising
    splits: tuple[str, ...]  # in which they stand, each once, in order

    @property
    def has_two_labels(self) -> bool:
        """Whether they stand under more than one label: one of these is wrong, or the picture shows both."""
        return len(self.labels) > 1

    @property
    def crosses_splits(self) -> bool:
        """Whether a test on one of them measures memory."""
        return len(self.splits) > 1


def find(
    prints: leaks.Fingerprints, features: np.ndarray, labels: np.ndarray, splits: Sequence[str] | None = None
) -> list[Group]:
    """Find the images that show the same.

    A group of near copies holds the identical ones among them, and one of a scene its near copies; it is listed where
    it has members that the groups of the kind before do not have together.

    Args:
        prints: of N images.
        features: (N, D), finite.
        labels: (N,) integers from 0.
        splits: (N,) the name of each image's split; None: there is one.

    Returns:
        Groups of two images or more: first those under two labels, then those across splits, then the rest; among them
        identical before near before scenes, then by their first member.
    """
    labels = np.asarray(labels)
    names = np.full(len(labels), "") if splits is None else np.asarray(splits)
    pairs = {IDENTICAL: _identical(prints.digests), **_alike(prints, features)}
    groups, edges, seen = [], np.empty((0, 2), dtype=np.int64), set()
    for kind in KINDS:
        edges = np.concatenate([edges, pairs[kind]])
        for members in set(_components(len(labels), edges)) - seen:
            chosen = list(members)
            stand = tuple(np.unique(labels[chosen]).tolist()), tuple(np.unique(names[chosen]).tolist())
            groups.append(Group(kind, members, *stand))
            seen.add(members)
    return sorted(groups, key=lambda g: (not g.has_two_labels, not g.crosses_splits, KINDS.index(g.kind), g.members))


def together(count: int, groups: Sequence[Group]) -> np.ndarray:
    """Return the group (N,) of each of N images, a number: those that `find` put together have the same.

    Args:
        count: N.
        groups: as `find` returns them.
    """
    numbers = np.arange(count)
    edges = [(group.members[0], other) for group in groups for other in group.members[1:]]
    for members in _components(count, np.array(edges, dtype=np.int64).reshape(-1, 2)):
        numbers[list(members)] = members[0]
    return numbers


def _identical(digests: Sequence[bytes]) -> np.ndarray:
    """Return the pairs (P, 2) of each image and the first that is identical."""
    first: dict[bytes, int] = {}
    places = np.array([first.setdefault(digest, i) for i, digest in enumerate(digests)], dtype=np.int64)
    return np.column_stack([places, np.arange(len(digests))])[places != np.arange(len(digests))]


def _alike(prints: leaks.Fingerprints, features: np.ndarray) -> dict[str, np.ndarray]:
    """Return the pairs (P, 2) of near copies, and of shots of one scene, the former among them."""
    count = len(features)
    lengths = np.linalg.norm(features, axis=1, keepdims=True)
    values = features / np.where(lengths > 0, lengths, 1)
    usual = _to_neighbour(1 - values[:: count // SAMPLE + 1] @ values.T)
    least = max(np.median(usual) / 2, np.finfo(np.float32).tiny)  # in a long burst all neighbours are near
    seen: dict[str, list[np.ndarray]] = {NEAR: [], SCENE: []}
    for start in range(0, count, _BLOCK):
        block = slice(start, start + _BLOCK)
        apart = (1 - values[block] @ values.T).clip(min=0)
        apart /= np.maximum(_to_neighbour(apart), least)[:, None]
        bits = leaks.distances(prints.hashes[block], prints.hashes)
        bits[~(prints.detailed[block, None] & prints.detailed)] = leaks.BITS + 1
        for kind, limits in ((NEAR, NEAR_LIMITS), (SCENE, SCENE_LIMITS)):
            rows, columns = np.nonzero(_within(bits, apart, limits))
            seen[kind].append(np.column_stack([start + rows, columns]))
    return {kind: _from_both_sides(np.concatenate(pairs), count) for kind, pairs in seen.items()}


def _from_both_sides(pairs: np.ndarray, count: int) -> np.ndarray:
    """Return the pairs (i, j), i < j, of which (j, i) is there, too."""
    first, second = pairs.T
    rising = pairs[first < second]
    return rising[np.isin(rising @ (count, 1), (second * count + first)[first > second])]


def _to_neighbour(apart: np.ndarray) -> np.ndarray:
    """Return the distance (B,) of images to the neighbour compared with, of distances (B, N) to all, themselves too."""
    place = min(NEIGHBOUR, apart.shape[1] - 1)
    return np.partition(apart, place, axis=1)[:, place]


def _within(bits: np.ndarray, apart: np.ndarray, limits: Sequence[tuple[int, float]]) -> np.ndarray:
    return np.logical_or.reduce([(bits <= most) & (apart <= farthest) for most, farthest in limits])


def _components(count: int, edges: np.ndarray) -> list[tuple[int, ...]]:
    """Return the sets of two or more that edges (E, 2) join, by their first member."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    graph = coo_array((np.ones(len(edges)), edges.T), shape=(count, count))
    _, component = connected_components(graph, directed=False)
    order = np.argsort(component, kind="stable")
    parts = np.split(order, np.flatnonzero(np.diff(component[order])) + 1)
    return sorted(tuple(part.tolist()) for part in parts if len(part) > 1)
