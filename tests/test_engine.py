import copy
import math
import random

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from going_modular import engine
from going_modular.common.errors import InputError
from going_modular.common.seeds import DEFAULT_SEED

SAMPLES = 225  # in batches of 32 the last one holds a single sample


def data() -> TensorDataset:
    generator = torch.Generator().manual_seed(1)
    return TensorDataset(
        torch.randn(SAMPLES, 8, generator=generator), torch.randint(0, 3, (SAMPLES,), generator=generator)
    )


def model() -> nn.Module:
    torch.manual_seed(2)
    return nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Dropout(0.3), nn.Linear(16, 3))


@pytest.mark.parametrize(
    "loss_fn",
    [
        nn.CrossEntropyLoss(),
        nn.CrossEntropyLoss(label_smoothing=0.1),
        nn.CrossEntropyLoss(weight=torch.tensor([1.0, 5.0, 0.2])),
    ],
    ids=["plain", "smoothed", "weighted"],
)
def test_the_batch_size_does_not_change_the_figures(loss_fn):
    logits = model().eval()(data().tensors[0])
    expected_loss = loss_fn(logits, data().tensors[1]).item()
    expected_accuracy = (logits.argmax(1) == data().tensors[1]).double().mean().item()
    for batch_size in (1, 11, 32, 75):
        loss, accuracy = engine.test_step(model(), DataLoader(data(), batch_size), loss_fn, "cpu")
        assert loss == pytest.approx(expected_loss, rel=1e-5)
        assert accuracy == pytest.approx(expected_accuracy)


def test_a_summed_loss_is_reported_a_sample():
    loader = DataLoader(data(), 32)
    mean = engine.test_step(model(), loader, nn.CrossEntropyLoss(), "cpu")
    total = engine.test_step(model(), loader, nn.CrossEntropyLoss(reduction="sum"), "cpu")
    assert total == pytest.approx(mean, rel=1e-5)


@pytest.mark.parametrize("batch_size", [1, 11, 32, 75])
def test_train_step_counts_samples(batch_size):
    still = model()
    optimizer = torch.optim.SGD(still.parameters(), lr=0)  # nothing moves: every batch sees the same weights
    still[2].p = 0.0
    loader = DataLoader(data(), batch_size)
    trained = engine.train_step(still, loader, nn.CrossEntropyLoss(), optimizer, "cpu")
    assert trained == pytest.approx(engine.test_step(still, loader, nn.CrossEntropyLoss(), "cpu"), rel=1e-5)


def test_train_is_the_plain_loop():
    ours, plain = model(), model()
    torch.manual_seed(3)
    results = engine.train(
        model=ours,
        train_dataloader=DataLoader(data(), 32, shuffle=True),
        test_dataloader=DataLoader(data(), 32),
        optimizer=torch.optim.Adam(ours.parameters(), lr=0.01),
        loss_fn=nn.CrossEntropyLoss(),
        epochs=2,
        device="cpu",
    )

    torch.manual_seed(3)
    optimizer, loss_fn = torch.optim.Adam(plain.parameters(), lr=0.01), nn.CrossEntropyLoss()
    for _ in range(2):
        plain.train()
        for x, y in DataLoader(data(), 32, shuffle=True):
            optimizer.zero_grad()
            loss_fn(plain(x), y).backward()
            optimizer.step()
        list(DataLoader(data(), 32))  # the test pass draws a seed for its workers
    torch.testing.assert_close(ours.state_dict(), plain.state_dict())
    assert {name: len(values) for name, values in results.items()} == dict.fromkeys(
        ["train_loss", "train_acc", "test_loss", "test_acc"], 2
    )
    assert all(isinstance(value, float) for values in results.values() for value in values)


def test_positional_arguments_work_as_in_the_course_this_follows():
    net, loader, loss_fn = model(), DataLoader(data(), 32), nn.CrossEntropyLoss()
    optimizer = torch.optim.Adam(net.parameters())
    assert len(engine.train_step(net, loader, loss_fn, optimizer, torch.device("cpu"))) == 2
    assert len(engine.test_step(net, loader, loss_fn, torch.device("cpu"))) == 2
    assert len(engine.train(net, loader, loader, optimizer, loss_fn, 1, torch.device("cpu"))["train_loss"]) == 1


def test_progress_changes_nothing(capsys):
    trained, outputs = [], []
    for progress in (True, False):
        engine.set_seeds(4)
        net = model()
        loader = DataLoader(data(), 32, shuffle=True)
        optimizer = torch.optim.Adam(net.parameters())
        engine.train(net, loader, loader, optimizer, nn.CrossEntropyLoss(), 2, "cpu", progress=progress)
        trained.append((net.state_dict(), torch.rand(1), random.random(), np.random.rand()))
        outputs.append(capsys.readouterr())
    torch.testing.assert_close(trained[0], trained[1], rtol=0, atol=0)
    assert outputs[0].out.count("train_loss") == 2
    assert "Epochs" in outputs[0].err
    assert outputs[1] == ("", "")


def test_only_what_learns_is_put_in_training_mode():
    frozen = nn.Sequential(nn.Linear(8, 8), nn.BatchNorm1d(8), nn.Dropout(0.5)).requires_grad_(False)
    net = nn.Sequential(frozen, nn.Dropout(0.5), nn.Linear(8, 3))
    statistics = copy.deepcopy(frozen[1].state_dict())
    optimizer = torch.optim.Adam(net[2].parameters())
    engine.train_step(net, DataLoader(data(), 32), nn.CrossEntropyLoss(), optimizer, "cpu")
    assert [module.training for module in (net, *net)] == [True, False, True, True]
    assert not any(module.training for module in frozen.modules())
    torch.testing.assert_close(frozen[1].state_dict(), statistics, rtol=0, atol=0)

    net.requires_grad_(True)
    engine.train_step(net, DataLoader(data(), 75), nn.CrossEntropyLoss(), optimizer, "cpu")
    assert all(module.training for module in net.modules())
    assert not torch.equal(frozen[1].running_mean, statistics["running_mean"])


def test_on_epoch_end_sees_the_results_so_far():
    net, loader, seen = model(), DataLoader(data(), 32), []
    optimizer = torch.optim.Adam(net.parameters())
    engine.train(
        net, loader, loader, optimizer, nn.CrossEntropyLoss(), 3, "cpu",
        on_epoch_end=lambda results: seen.append(len(results["test_acc"])),
    )  # fmt: skip
    assert seen == [1, 2, 3]


def test_a_loss_that_is_not_finite_is_an_error():
    net, loader = model(), DataLoader(data(), 32)
    optimizer = torch.optim.SGD(net.parameters(), lr=1e30)
    with pytest.raises(InputError, match="lower the learning rate"):
        engine.train(net, loader, loader, optimizer, nn.CrossEntropyLoss(), 3, "cpu", progress=False)


def test_an_empty_dataloader_is_an_error():
    with pytest.raises(InputError, match="no batch"):
        engine.test_step(model(), DataLoader(data(), 500, drop_last=True), nn.CrossEntropyLoss(), "cpu")


def test_mixed_precision_trains():
    net, loader = model(), DataLoader(data(), 32)
    seen = []
    net.register_forward_hook(lambda *args: seen.append(args[2].dtype))
    optimizer = torch.optim.Adam(net.parameters())
    engine.train_step(net, loader, nn.CrossEntropyLoss(), optimizer, "cpu", autocast_dtype=torch.bfloat16)
    assert set(seen) == {torch.bfloat16}
    assert {p.dtype for p in net.parameters()} == {torch.float32}


class Draws(torch.utils.data.Dataset):
    """Items that are drawn from each of the generators that a seed must fix."""

    def __len__(self) -> int:
        return 6

    def __getitem__(self, index: int) -> torch.Tensor:
        return torch.tensor([index, random.random(), np.random.rand(), torch.rand(1).item()])


@pytest.mark.parametrize("num_workers", [0, 2])
def test_one_seed_fixes_every_generator_in_every_worker(num_workers):
    def draw(seed: int) -> torch.Tensor:
        engine.set_seeds(seed)
        return torch.cat(list(DataLoader(Draws(), 2, shuffle=True, num_workers=num_workers)))

    first = draw(5)
    assert torch.equal(first, draw(5))
    assert not torch.equal(first, draw(6))


def test_the_seed_is_42_unless_another_is_named():
    engine.set_seeds()
    first = torch.rand(3)
    engine.set_seeds(DEFAULT_SEED)
    assert torch.equal(torch.rand(3), first)
    assert DEFAULT_SEED == 42


def test_the_learning_rate_rises_along_a_line_and_falls_along_a_cosine_a_step_a_batch():
    trained = model()
    optimizer = torch.optim.SGD(trained.parameters(), lr=0.1)
    schedule = engine.warmup_cosine(optimizer, warmup_steps=4, total_steps=24)
    seen = []
    optimizer.register_step_pre_hook(lambda *_: seen.append(optimizer.param_groups[0]["lr"]))
    loader = DataLoader(data(), 32)  # 8 batches
    engine.train(
        trained, loader, loader, optimizer, nn.CrossEntropyLoss(), 3, "cpu", scheduler=schedule, progress=False
    )
    warmup = [0.1 * (i + 1) / 5 for i in range(4)]
    cosine = [0.05 * (1 + math.cos(math.pi * i / 20)) for i in range(20)]
    assert seen == pytest.approx(warmup + cosine)
    assert optimizer.param_groups[0]["lr"] == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize(("warmup", "total"), [(0, 5), (5, 5), (6, 5)])
def test_a_warm_up_leaves_steps_to_train(warmup, total):
    optimizer = torch.optim.SGD(model().parameters(), lr=0.1)
    with pytest.raises(InputError, match=f"A warm-up of {warmup} of {total} steps"):
        engine.warmup_cosine(optimizer, warmup_steps=warmup, total_steps=total)


def test_gradients_are_scaled_down_to_the_norm_that_was_asked_for():
    norms = []
    for max_grad_norm in (None, 0.01):
        trained = model()
        optimizer = torch.optim.SGD(trained.parameters(), lr=0.1)
        parameters = list(trained.parameters())
        optimizer.register_step_pre_hook(
            lambda *_, parameters=parameters: norms.append(
                torch.cat([p.grad.flatten() for p in parameters]).norm().item()
            )
        )
        batches = [data()[:32]]
        engine.train_step(trained, batches, nn.CrossEntropyLoss(), optimizer, "cpu", max_grad_norm=max_grad_norm)
    assert norms[0] > 0.05
    assert norms[1] == pytest.approx(0.01, rel=1e-3)
