import numpy as np
import pytest
from planted import clusters

from going_modular.inspection.learning_curve import POINTS, learning_curve, power_law


def test_accuracy_rises_with_the_images_and_is_read_on():
    features, labels = clusters((100, 100, 100), width=64, apart=0.3)
    curve = learning_curve(features, labels, seed=0)
    numbers = [point.images for point in curve.measured]
    assert len(numbers) == POINTS
    assert numbers[0] == pytest.approx(3, abs=0.5)
    assert numbers[-1] == pytest.approx(80, abs=1)
    assert curve.measured[-1].accuracy > curve.measured[0].accuracy + 0.1
    assert (curve.now.images, curve.ahead.images) == (100, 200)
    assert curve.measured[-1].accuracy - 0.02 < curve.now.accuracy < curve.ahead.accuracy
    assert curve.gain == curve.ahead.accuracy - curve.now.accuracy
    for point in (*curve.measured, curve.now, curve.ahead):
        assert 0 <= point.low <= point.accuracy <= point.high <= 1


def test_what_is_read_on_is_what_twice_as_many_give():
    features, labels = clusters((200, 200, 200), width=64, apart=0.25)
    half = np.arange(len(labels)) % 2 == 0
    read = learning_curve(features[half], labels[half], seed=0).ahead
    measured = learning_curve(features, labels, seed=0).now
    assert read.images == measured.images
    assert read.accuracy == pytest.approx(measured.accuracy, abs=0.05)


def test_copies_do_not_lift_the_curve():
    features, _ = clusters((40,), width=64)
    labels = np.random.default_rng(0).integers(2, size=40)  # nothing to learn
    copied, groups = np.tile(features, (4, 1)), np.tile(np.arange(40), 4)
    parted = learning_curve(copied, np.tile(labels, 4), seed=0)
    whole = learning_curve(copied, np.tile(labels, 4), groups, seed=0)
    assert whole.measured[-1].accuracy < 0.7 < parted.measured[-1].accuracy


def test_the_seed_decides():
    features, labels = clusters(apart=0.3)
    first, again, other = (learning_curve(features, labels, seed=seed) for seed in (0, 0, 1))
    assert first == again != other


@pytest.mark.parametrize("sizes", [(1, 1), (5, 5), (8, 2, 2), (30,)])
def test_too_few_images_show_no_law(sizes):
    features, labels = clusters(sizes)
    assert learning_curve(features, labels, seed=0) is None


@pytest.mark.parametrize("sizes", [(100, 100, 2), (200, 3)])  # of the latter, the first images are of one class
def test_a_scarce_class_is_no_error(sizes):
    features, labels = clusters(sizes)
    assert learning_curve(features, labels, seed=0) is not None


@pytest.mark.parametrize(("rest", "scale", "exponent"), [(0.1, 0.8, 0.5), (0.0, 1.0, 0.3), (0.2, 0.0, 1.0)])
def test_a_power_law_is_found_again(rest, scale, exponent):
    def law(sizes: np.ndarray) -> np.ndarray:
        return rest + scale * sizes**-exponent

    sizes, ahead = np.geomspace(10, 1000, 5), np.array([1200, 2400])
    assert power_law(law(sizes)[None], sizes, ahead) == pytest.approx(law(ahead)[None], abs=1e-6)


def test_errors_that_rise_are_read_on_as_they_are_and_none_is_negative():
    sizes, ahead = np.array([10, 20, 40, 80, 160]), np.array([200, 400])
    rising = power_law(np.array([[0.1, 0.1, 0.2, 0.2, 0.3]]), sizes, ahead)
    assert rising == pytest.approx(np.full((1, 2), 0.18))
    falling = power_law(np.array([[0.9, 0.5, 0.2, 0.05, 0.0]]), sizes, ahead)
    assert (falling >= 0).all()
