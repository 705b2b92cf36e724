"""Named streams of random choices, and choices balanced over blocks of seeds."""

import random
from collections.abc import Sequence
from typing import TypeVar

import numpy as np

Choice = TypeVar("Choice")

BLOCK = 25  # in seeds 1000-1024, 1025-1049, ... every option of a pool comes up in its share


class Draw:
    """Draw random values from a stream that its name alone decides."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._random = random.Random(name)
        self.arrays = np.random.default_rng(self._random.getrandbits(63))

    def child(self, label: str) -> "Draw":
        """Return a stream of its own, so that more draws here change nothing there."""
        return Draw(f"{self.name}/{label}")

    def uniform(self, low: float, high: float) -> float:
        """Return a value between `low` and `high`."""
        return self._random.uniform(low, high)

    def normal(self, spread: float) -> float:
        """Return a value around zero."""
        return self._random.gauss(0.0, spread)

    def integer(self, low: int, high: int) -> int:
        """Return a whole number from `low` to `high`, both included."""
        return self._random.randint(low, high)

    def chance(self, probability: float) -> bool:
        """Return True with the given probability."""
        return self._random.random() < probability

    def pick(self, options: Sequence[Choice]) -> Choice:
        """Return one of the options."""
        return self._random.choice(options)

    def weighted(self, pool: dict[str, int]) -> str:
        """Return one name of the pool (name -> weight), in proportion."""
        return self.pick([name for name, weight in pool.items() for _ in range(weight)])

    def sample(self, options: Sequence[Choice], count: int) -> list[Choice]:
        """Return `count` different options."""
        return self._random.sample(options, min(count, len(options)))


def balanced_position(factor: str, seed: int) -> float:
    """Return a value in [0, 1) such that the seeds of one block spread evenly.

    Latin hypercube sampling: each factor has its own permutation of the block's strata.
    """
    block, index = divmod(seed, BLOCK)
    strata = list(range(BLOCK))
    stream = random.Random(f"{factor}/{block}")
    stream.shuffle(strata)
    return (strata[index] + random.Random(f"{factor}/{seed}").random()) / BLOCK


def balanced_pick(factor: str, seed: int, pool: dict[str, float]) -> str:
    """Return one name of the pool (name -> weight), in proportion over a block of seeds."""
    target = balanced_position(factor, seed) * sum(pool.values())
    for name, weight in pool.items():
        target -= weight
        if target < 0:
            return name
    return name


def balanced_uniform(factor: str, seed: int, low: float, high: float) -> float:
    """Return a value between `low` and `high`, spread evenly over a block of seeds."""
    return low + (high - low) * balanced_position(factor, seed)
