from collections import Counter
from itertools import chain

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.data import DataLoader

from going_modular.common.errors import InputError
from going_modular.fine_tuning.update_batches import Augmented, UpdateBatches, seed_of, share_of


def batches(length: int, batch_size: int, epoch: int = 0, **options) -> list[list[int]]:
    sampler = UpdateBatches(length, batch_size, **options)
    sampler.set_epoch(epoch)
    taken = list(sampler)
    assert len(taken) == len(sampler)
    assert {seen for batch in taken for seen, _ in batch} == {epoch}
    return [[index for _, index in batch] for batch in taken]


@settings(deadline=None)
@given(st.integers(1, 200), st.integers(1, 50), st.integers(1, 4), st.integers(1, 3), st.integers(0, 5))
def test_the_same_updates_whatever_shares_them(length, batch_size, processes, accumulate, epoch):
    alone = batches(length, batch_size, epoch, seed=3)
    sizes = [len(batch) for batch in alone]
    assert max(sizes) <= batch_size
    assert max(sizes) - min(sizes) <= 1
    assert sorted(chain(*alone)) == list(range(length))

    options = {"seed": 3, "processes": processes, "accumulate": accumulate}
    if min(sizes) < processes * accumulate:
        with pytest.raises(InputError, match="cannot be shared"):
            UpdateBatches(length, batch_size, **options)
        return
    shared = [batches(length, batch_size, epoch, rank=rank, **options) for rank in range(processes)]
    assert len({len(one) for one in shared}) == 1, "a process would wait for the others"
    assert all(batch for one in shared for batch in one)
    for update, whole in enumerate(alone):
        parts = [one[update * accumulate + i] for one in shared for i in range(accumulate)]
        assert Counter(chain(*parts)) == Counter(whole)
        # the processes' and batches' means, weighted by their shares and averaged, are the mean over the update
        values = np.random.default_rng(0).normal(size=length)
        sampler = UpdateBatches(length, batch_size, **options)
        means = [values[part].mean() * sampler.share(update * accumulate, len(part)) for part in parts]
        assert np.mean(means) == pytest.approx(values[whole].mean())


def test_the_order_is_the_seeds_and_the_epochs():
    assert batches(50, 8, 2, seed=1) == batches(50, 8, 2, seed=1)
    assert batches(50, 8, 2, seed=1) != batches(50, 8, 3, seed=1)
    assert batches(50, 8, 2, seed=1) != batches(50, 8, 2, seed=2)


def test_no_update_rests_on_a_short_last_batch():
    assert [len(batch) for batch in batches(225, 32, seed=0)] == [29] + [28] * 7


class Noise(torch.utils.data.Dataset):
    def __len__(self):
        return 6

    def __getitem__(self, index):
        return torch.rand(3), index


@pytest.mark.parametrize("num_workers", [0, 2])
def test_augmentation_is_that_of_epoch_and_image_in_any_process(num_workers):
    alone = Augmented(Noise(), seed=5)
    sampler = UpdateBatches(6, 4, seed=0)
    sampler.set_epoch(3)
    before = torch.get_rng_state()
    for values, indices in DataLoader(
        alone, batch_sampler=sampler, num_workers=num_workers, generator=torch.Generator()
    ):
        for value, index in zip(values, indices.tolist(), strict=True):
            torch.testing.assert_close(value, alone[3, index][0], rtol=0, atol=0)
    assert torch.equal(torch.get_rng_state(), before), "augmentation drew from the generator that training uses"
    drawn = {tuple(Augmented(Noise(), seed=s)[e, i][0].tolist()) for s in (0, 1) for e in (0, 1) for i in range(6)}
    assert len(drawn) == 24, "images, epochs or seeds share their noise"


@given(st.integers(1, 40), st.integers(1, 6))
def test_shards_hold_every_sample_once(length, processes):
    everything = [index for rank in range(processes) for index in share_of(length, rank, processes)]
    assert sorted(everything) == list(range(length))


def test_seeds_differ():
    assert len({seed_of(a, b) for a in range(50) for b in range(50)}) == 2500
    assert all(0 <= seed_of(a, 2**32 - 1) < 2**63 for a in range(50))
