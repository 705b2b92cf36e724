"""Batches by update: the same images in the same order, whatever the number of processes, and after any interruption.

An epoch's order comes from the seed and the epoch; an image's augmentation from the seed, the epoch and the image. So a
run that starts again at an epoch sees what it would have seen.
"""

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch.utils.data import Dataset, Sampler

from going_modular.common.errors import InputError


def seed_of(*numbers: int) -> int:
    """Return one seed, 0 to 2**63 - 1, for several numbers, such as a seed, an epoch and a batch."""
    return int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0] >> np.uint64(1))


class UpdateBatches(Sampler[list[tuple[int, int]]]):
    """The batches of one process, as lists of (epoch, index).

    An epoch is cut into updates whose sizes differ by at most one image: no update rests on a short last batch. An
    update's images are dealt out to the processes, and in each process to `accumulate` batches.

    Args:
        length: images in the data set.
        batch_size: images an update, at most, over all processes and batches.
        seed: of the order.
        rank: this process, from 0.
        processes: how many there are.
        accumulate: batches an update in each process.

    Raises:
        InputError: an update has too few images to share.
    """

    def __init__(
        self, length: int, batch_size: int, *, seed: int, rank: int = 0, processes: int = 1, accumulate: int = 1
    ) -> None:
        updates = -(-length // batch_size)
        self.sizes = [length // updates + (update < length % updates) for update in range(updates)]
        self.length, self.seed, self.rank = length, seed, rank
        self.processes, self.accumulate = processes, accumulate
        self.epoch = 0
        if min(self.sizes) < processes * accumulate:
            raise InputError(
                f"{length} training images in updates of at most {batch_size} cannot be shared by {processes} "
                f"processes with {accumulate} batches each; use a larger batch size, or fewer of them"
            )

    def __len__(self) -> int:
        return len(self.sizes) * self.accumulate

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        order = np.random.default_rng([self.seed, self.epoch]).permutation(self.length)
        for update in np.split(order, np.cumsum(self.sizes)[:-1]):
            for batch in range(self.accumulate):
                mine = update[self.rank + batch * self.processes :: self.processes * self.accumulate]
                yield [(self.epoch, int(index)) for index in mine]

    @property
    def sampler(self) -> "UpdateBatches":
        """Where Lightning looks for `set_epoch`."""
        return self

    def set_epoch(self, epoch: int) -> None:
        """Take the order of this epoch, from 0, at the next iteration."""
        self.epoch = epoch

    def share(self, batch: int, images: int) -> float:
        """Return what to multiply the mean loss of a batch by, so that an update is the mean over all its images.

        Processes and accumulated batches are averaged, and may differ by an image.

        Args:
            batch: which one in the epoch, from 0.
            images: in this process's batch.
        """
        return images * self.processes * self.accumulate / self.sizes[batch // self.accumulate]


class Augmented(Dataset):
    """A data set whose random transform draws, for each (epoch, index), the same numbers in any process."""

    def __init__(self, dataset: Dataset, seed: int) -> None:
        self.dataset, self.seed = dataset, seed

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, item: tuple[int, int]) -> tuple:
        epoch, index = item
        with torch.random.fork_rng(devices=[]):
            # the CPU's alone: where no GPU is in use, torch.manual_seed writes a traceback each time, which is slow
            torch.default_generator.manual_seed(seed_of(self.seed, epoch, index))
            return self.dataset[index]


def share_of(length: int, rank: int, processes: int) -> Sequence[int]:
    """Return the indices that a process measures: with those of the others each exactly once."""
    return range(rank, length, processes)
