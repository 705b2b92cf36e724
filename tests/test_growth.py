"""With many images: time that grows with them and no faster, and batches of features taken whole."""

import hashlib

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from going_modular import data_setup, engine
from going_modular.data import feature_store
from going_modular.data.feature_store import FeatureStore


def rows(count: int = 75) -> TensorDataset:
    generator = torch.Generator().manual_seed(0)
    return TensorDataset(torch.randn(count, 6, generator=generator), torch.arange(count) % 3)


def passes(loaders, count: int = 2) -> tuple:
    """Return what a few passes over loaders give, from one seed on, and what the generator draws after them."""
    torch.manual_seed(3)
    batches = [batch for _ in range(count) for loader in loaders for batch in loader]
    return batches, torch.rand(4)


def train(loaders) -> tuple:
    """Return the history and the weights of a head with Dropout."""
    engine.set_seeds(5)
    head = nn.Sequential(nn.Dropout(0.2), nn.Linear(6, 3))
    optimizer = torch.optim.Adam(head.parameters(), lr=0.01)
    return engine.train(head, *loaders, optimizer, nn.CrossEntropyLoss(), 3, "cpu", progress=False), head.state_dict()


@pytest.fixture
def both():
    """Return loaders that take rows at once, and torch's own, which take them one by one."""
    data, other = rows(), rows(40)
    ours = data_setup.make_loaders(data, other, batch_size=16, num_workers=0)
    return ours, (DataLoader(data, 16, shuffle=True), DataLoader(other, 16))


def test_batches_and_random_numbers_are_those_of_rows_taken_one_by_one(both):
    (ours, after), (theirs, after_theirs) = map(passes, both)
    assert [type(batch) for batch in ours] == [type(batch) for batch in theirs]
    assert all(torch.equal(a, b) for one, two in zip(ours, theirs, strict=True) for a, b in zip(one, two, strict=True))
    assert torch.equal(after, after_theirs)
    assert [len(loader) for loader in both[0]] == [len(loader) for loader in both[1]]


def test_the_head_is_the_same_to_the_last_bit(both):
    (history, ours), (expected, theirs) = map(train, both)
    assert history == expected
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


def test_rows_are_not_gathered_one_by_one(both, monkeypatch):
    def refuse(*_, **__):
        raise AssertionError("rows were stacked")

    monkeypatch.setattr(torch, "stack", refuse)
    assert sum(len(labels) for _, labels in both[0][0]) == 75
    with pytest.raises(AssertionError, match="stacked"):
        next(iter(both[1][0]))


def test_a_data_set_of_the_learners_own_is_asked_for_each_item():
    class Doubled(TensorDataset):
        def __getitem__(self, index):
            values, label = super().__getitem__(index)
            return 2 * values, label

        def __getitems__(self, indices):
            return [self[index] for index in indices]

    data = Doubled(*rows(8).tensors)
    _, loader = data_setup.make_loaders(data, data, batch_size=8, num_workers=0)
    [(values, _)] = loader
    assert torch.equal(values, 2 * data.tensors[0])


@pytest.mark.slow
def test_processes_can_read_rows():
    data = rows(20)
    loaders = data_setup.make_loaders(data, data, batch_size=8, num_workers=1)
    assert torch.equal(torch.cat([labels for _, labels in loaders[1]]), data.tensors[1])


class Hash(bytes):
    """A hash that counts how often any is looked up."""

    lookups = 0

    def __hash__(self):
        Hash.lookups += 1
        return super().__hash__()


def lookups_in(folder, count: int) -> int:
    """Return how often a hash is looked up to read features of so many images that ten shards hold."""
    keys = [Hash(hashlib.sha256(bytes([i % 256, i // 256])).digest()) for i in range(count)]
    store = FeatureStore(folder / str(count))
    for start in range(0, count, count // 10):
        store.write(keys[start : start + count // 10], torch.zeros(count // 10, 2))
    Hash.lookups = 0
    assert store.read(keys, torch.empty(count, 2)).all()
    return Hash.lookups


def test_images_are_not_looked_for_in_each_file_of_features(tmp_path):
    assert lookups_in(tmp_path, 400) <= 3 * 400


def test_copies_of_an_image_and_unreadable_ones_are_told_apart(tmp_path):
    keys = [hashlib.sha256(bytes([i])).digest() for i in range(4)]
    store = FeatureStore(tmp_path / "store")
    values = torch.arange(6.0).reshape(3, 2)
    store.write([*keys[:2], None], values)
    store.write([keys[1], keys[2]], values[1:] + 0)  # the second holds one that the first has
    asked = [keys[2], None, keys[0], keys[3], keys[0], None, keys[1], keys[2]]
    found = torch.full((8, 2), -1.0)
    assert store.read(asked, found).tolist() == [True, False, True, False, True, False, True, True]
    assert found[:, 0].tolist() == [4, -1, 0, -1, 0, -1, 2, 4]


@pytest.mark.parametrize("size", [0, 5, feature_store.READ_BYTES, 2 * feature_store.READ_BYTES + 7])
def test_files_of_any_size_are_hashed_whole(tmp_path, size):
    content = np.random.default_rng(0).bytes(size)
    (tmp_path / "file").write_bytes(content)
    assert feature_store.hash_files([tmp_path / "file"]) == [hashlib.sha256(content).digest()]
