"""Which images are measured, of what a model was trained on and of other data."""

from pathlib import Path

import numpy as np
import pytest
import torch

from going_modular import data_setup
from going_modular.common.errors import InputError
from going_modular.data import provenance
from going_modular.evaluation import selection


@pytest.fixture
def splits(make_classes):
    return data_setup.load_splits(make_classes("pets", images=10), seed=3)


def names(images) -> set[str]:
    return {f"{Path(path).parent.name}/{Path(path).name}" for path, _ in images.samples}


def test_of_its_own_data_a_model_is_tested_on_its_test_images_however_they_are_split_now(splits, make_classes):
    known = provenance.record(splits)
    other = data_setup.load_splits(make_classes("pets", images=10), seed=4)
    assert selection.is_own(other, known)
    chosen = selection.select(other, known, "test")
    assert names(chosen.images) == names(splits.test)
    assert not chosen.is_seen.any()
    assert chosen.sentence == "4 test images of the run"
    assert names(selection.select(other, known, "train").images) == names(splits.train)
    assert selection.select(other, known, "all").is_seen.sum() == len(splits.train)


def test_what_is_not_known_is_said(splits):
    chosen = selection.select(splits, None, "test")
    assert chosen.images is splits.test
    assert "the checkpoint does not say" in chosen.sentence


def test_other_data_is_measured_as_it_is_split_and_seen_images_are_noted(splits, make_classes):
    known = provenance.record(splits)
    mixed = make_classes("mixed/train", images=3), make_classes("mixed/test", ("cat", "dog"), images=2)
    seen, unseen = splits.train.samples[0][0], splits.test.samples[0][0]
    for number, path in enumerate((seen, unseen)):
        (mixed[1] / "cat" / f"{number}.png").write_bytes(Path(path).read_bytes())
    for number in range(2):
        (mixed[1] / "dog" / f"{number}.png").write_bytes((mixed[0] / "dog" / "0.png").read_bytes() + bytes([number]))
    others = data_setup.load_splits("mixed" if Path("mixed").is_dir() else mixed[0].parent)
    assert not selection.is_own(others, known)
    chosen = selection.select(others, known, "test")
    assert (len(chosen.images), chosen.is_seen.tolist()) == (4, [True, False, False, False])
    logits = torch.eye(2)[[1, 0, 1, 1]]  # wrong on the seen image alone
    found = selection.seen_and_unseen(chosen, logits, torch.tensor(chosen.images.targets))
    assert [Path(path).name for path in found["seen_in_training"]] == ["0.png"]
    assert found["accuracy_unseen"]["value"] == 1


def test_a_test_on_nothing_but_seen_images_is_refused(splits):
    known = provenance.record(splits)
    everything_seen = provenance.Provenance(
        known.data, known.rule, {"train": np.sort(np.concatenate(list(known.digests.values()))), "test": np.array([1])}
    )
    with pytest.raises(InputError, match="All 4 test images of 'pets' were seen in training"):
        selection.select(splits, everything_seen, "test")
    assert selection.select(splits, everything_seen, "all").is_seen.all()
