import numpy as np
import pytest
from planted import clusters

from going_modular.inspection import labels as labels_module
from going_modular.inspection.labels import directions, doubtful_labels, out_of_fold


def flip(labels: np.ndarray, count: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Return labels of which some are wrong, and which."""
    rng = np.random.default_rng(seed)
    chosen = rng.choice(len(labels), count, replace=False)
    wrong = labels.copy()
    wrong[chosen] = (labels[chosen] + rng.integers(1, labels.max() + 1, count)) % (labels.max() + 1)
    return wrong, chosen


@pytest.mark.parametrize("seed", range(3))
def test_flipped_labels_come_first_and_their_true_class_is_proposed(seed):
    features, true = clusters(seed=seed)
    given, flipped = flip(true, 6, seed)
    doubts = doubtful_labels(features, given, seed=seed)
    assert set(doubts.order[:6]) == set(flipped)
    assert doubts.proposed[flipped].tolist() == true[flipped].tolist()
    assert (doubts.probability_proposed[flipped] > doubts.probability_given[flipped]).all()
    assert set(doubts.suspects) == set(flipped)
    assert doubts.given.tolist() == given.tolist()


def test_every_image_is_judged_once_and_its_doubts_fall():
    features, labels = clusters(apart=0.3)
    doubts = doubtful_labels(features, labels, seed=0)
    assert sorted(doubts.order) == list(range(len(labels)))
    margins = (doubts.probability_given - doubts.probability_proposed)[doubts.order]
    assert (np.diff(margins) >= 0).all()
    assert doubts.suspects.tolist() == [i for i in doubts.order if doubts.proposed[i] != labels[i]]


def test_copies_of_a_wrong_label_do_not_vouch_for_it():
    features, true = clusters((30, 30))
    wrong = np.append(true, [1, 1, 1, 1])  # four copies of an image of class 0
    copied = np.concatenate([features, np.repeat(features[:1], 4, axis=0)])
    groups = np.append(np.arange(60), [0, 0, 0, 0])
    doubts = doubtful_labels(copied, wrong, groups, seed=0)
    assert set(doubts.order[:4]) == {60, 61, 62, 63}


def test_the_only_group_of_a_class_is_not_judged():
    features, labels = clusters((20, 20, 3))
    groups = np.append(np.arange(40), [99, 99, 99])
    doubts = doubtful_labels(features, labels, groups, seed=0)
    assert sorted(doubts.order) == list(range(40))
    assert np.isnan(doubts.probability_given[40:]).all()
    assert doubts.proposed[40:].tolist() == [2, 2, 2]


@pytest.mark.parametrize("sizes", [(1, 1), (2, 1), (2, 2), (5, 1, 1), (12, 3)])
def test_small_classes_are_no_error(sizes):
    features, labels = clusters(sizes)
    doubts = doubtful_labels(features, labels, seed=0)
    assert {labels[i] for i in doubts.order} <= {c for c, size in enumerate(sizes) if size > 1}
    assert np.isfinite(doubts.probability_given[doubts.order]).all()


def test_a_constant_feature_is_no_error():
    features, labels = clusters()
    features[:, 3] = 7
    assert np.isfinite(out_of_fold(features, labels, seed=0)).all()


def test_probabilities_sum_to_one_and_the_seed_decides():
    features, labels = clusters(apart=0.3)
    first, again, other = (out_of_fold(features, labels, seed=seed) for seed in (0, 0, 1))
    assert first.sum(axis=1) == pytest.approx(np.ones(len(labels)), abs=1e-5)
    assert (first == again).all()
    assert (first != other).any()


@pytest.mark.parametrize("count", [20, 200])
def test_directions_keep_every_distance(count):
    features = clusters((count,), width=50)[0]
    standardised = (features - features.mean(axis=0)) / features.std(axis=0)
    turned = directions(features, 50)
    assert turned.shape == (count, min(count, 50))
    assert turned @ turned.T == pytest.approx(standardised @ standardised.T, abs=0.01)
    assert (np.diff(turned.var(axis=0)) <= 1e-3).all()
    assert directions(features, 7) == pytest.approx(turned[:, :7], abs=1e-4)


def test_weak_directions_are_left_out(monkeypatch):
    monkeypatch.setattr(labels_module, "MOST_DIRECTIONS", 5)
    features, labels = clusters()
    assert (out_of_fold(features, labels, seed=0).argmax(axis=1) == labels).mean() > 0.95
