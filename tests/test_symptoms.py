"""What went wrong in a training is said in a line; of one that went well, nothing is."""

import json
import math

import pytest
import torch
from commands import LITE0, call, messages, succeed, write_classes

from going_modular import engine
from going_modular.evaluation import symptoms

NAMES = ["cat", "dog", "cow"]
SPREAD = torch.eye(3).repeat(4, 1)  # every class is predicted
ONE = torch.tensor([[0.0, 1.0, 0.0]]).repeat(12, 1)
EVEN = [0, 1, 2] * 20
LN3 = math.log(3)


def find(losses, logits=SPREAD, labels=EVEN):
    return symptoms.find({"train_loss": losses}, logits, NAMES, trained_with=labels)


@pytest.mark.parametrize(
    ("losses", "logits", "labels", "found", "cause"),
    [
        ([0.9, 4.0, 3.0], ONE, EVEN, "all 12 test images are called 'dog'", "learning rate is too high"),
        ([0.5, 0.3], ONE, [1] * 57 + [0, 0, 2], "all 12 test images are called 'dog'", "95% of the training images"),
        ([LN3, LN3], ONE, EVEN, "all 12 test images are called 'dog'", "nothing was learned"),
        ([1.0, 1.4], SPREAD, EVEN, "the training loss rose, from 1 to 1.4", "learning rate is too high"),
        ([1.11, 1.098], SPREAD, EVEN, "stays at 1.098; guessing gives ln 3 = 1.099", "labels do not go"),
    ],
)
def test_it_names_what_is_wrong_and_the_usual_cause(losses, logits, labels, found, cause):
    said = find(losses, logits, labels)
    assert found in said
    assert cause in said
    assert "\n" not in said


@pytest.mark.parametrize("losses", [[1.1, 0.9, 0.6], [0.2], [1.15, 1.05], [0.30, 0.31]])
def test_of_a_training_that_went_well_it_says_nothing(losses):
    assert find(losses) is None


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_command_says_it(here, capsys):
    data = write_classes(here, "noise", images=10)
    succeed("train.py", "--data", data, *LITE0, "--epochs", 3, "--lr", 30, "--output", here / "run")
    assert "What went wrong: " in capsys.readouterr().out


def test_a_loss_that_is_not_finite_keeps_the_epochs_before(here, capsys, monkeypatch):
    data, real, calls = write_classes(here, "noise", images=10), engine.train_step, []

    def diverges(*arguments, **options):
        calls.append(1)
        if len(calls) == 3:
            raise engine.DivergedError("The training loss became nan; lower the learning rate")
        return real(*arguments, **options)

    monkeypatch.setattr(engine, "train_step", diverges)
    status = call("train.py", "--data", data, *LITE0, "--epochs", 5, "--output", here / "run")
    assert status == 2
    [told] = messages(capsys.readouterr().err)
    assert told == (
        "train.py: error: The training loss became nan; lower the learning rate; epochs 1 to 2 are kept in "
        f"{here / 'run'}"
    )
    kept = json.loads((here / "run/metrics.json").read_text())
    assert len(kept["history"]["train_loss"]) == kept["epochs"] == 2
    succeed("predict.py", data / "cat/0.png", "--checkpoint", here / "run/model.safetensors")
