import numpy as np
import pytest
from planted import clusters

from going_modular.inspection import strangers
from going_modular.inspection.strangers import strangeness


def test_strangers_come_first():
    features, _ = clusters()
    rng = np.random.default_rng(1)
    features[[5, 50, 100]] = rng.normal(size=(3, 32)) * 6
    assert set(np.argsort(-strangeness(features))[:3]) == {5, 50, 100}


def test_a_copy_does_not_hide_a_stranger_where_groups_are_known():
    features, _ = clusters()
    features[:6] = np.random.default_rng(1).normal(size=32) * 6
    groups = np.append(np.zeros(6), np.arange(1, 115))
    hidden = strangeness(features, 5)
    assert hidden[:6].max() < np.median(hidden)
    assert set(np.argsort(-strangeness(features, 5, groups=groups))[:6]) == set(range(6))


@pytest.mark.parametrize("block", [1, 7, 120])
def test_blocks_change_nothing(monkeypatch, block):
    features, _ = clusters()
    expected = strangeness(features)
    monkeypatch.setattr(strangers, "_BLOCK", block)
    assert strangeness(features) == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize(("count", "k"), [(1, 5), (2, 5), (3, 1), (6, 5)])
def test_few_images_are_no_error(count, k):
    found = strangeness(clusters((count,))[0], k)
    assert found.shape == (count,)
    assert np.isfinite(found).all()
    assert (found > 0).all() == (count > 1)


def test_images_that_are_all_the_same_are_no_strangers():
    assert strangeness(np.ones((10, 4), dtype=np.float32)) == pytest.approx(np.zeros(10), abs=1e-3)
