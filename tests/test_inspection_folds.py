import numpy as np
import pytest

from going_modular.inspection import folds


@pytest.mark.parametrize("seed", range(3))
def test_every_class_is_dealt_out_evenly(seed):
    labels = np.repeat([0, 1, 2], [23, 40, 11])
    fold = folds.deal(labels, folds=5, seed=seed)
    for label in range(3):
        counts = np.bincount(fold[labels == label], minlength=5)
        assert counts.max() - counts.min() <= 1


def test_no_group_is_parted_even_under_two_labels():
    labels = np.arange(60) % 3
    groups = np.array([f"table {i // 4}" for i in range(60)])
    fold = folds.deal(labels, groups, folds=5, seed=0)
    assert all(len(set(fold[groups == name])) == 1 for name in set(groups))
    assert set(fold) == set(range(5))


def test_the_seed_decides():
    labels = np.arange(100) % 2
    first, again, other = (folds.deal(labels, folds=5, seed=seed).tolist() for seed in (1, 1, 2))
    assert first == again != other


def test_there_are_no_more_folds_than_the_largest_class_has_groups():
    assert folds.deal(np.array([0, 0, 0, 1]), folds=5, seed=0).max() == 2
    assert folds.deal(np.array([0, 0, 0]), np.array([7, 7, 7]), folds=5, seed=0).tolist() == [0, 0, 0]
