"""Lightning's loop with our parts: equal to the hand-written one, and the same for any number of processes."""

import json
import signal
import tempfile

import ddp_worker
import lightning
import pytest
import torch
from torch import nn

from going_modular import engine, features, metrics
from going_modular.common.errors import InputError, ProcessDiedError, Terminated
from going_modular.fine_tuning import launch
from going_modular.fine_tuning.callbacks import StopOnSigterm
from going_modular.fine_tuning.lightning_parts import Classifier, Data


@pytest.fixture
def folder(make_classes, tmp_path):
    """23 training and 7 validation images: neither is a multiple of the processes or of the batch size."""
    for name, images in (("train", 12), ("val", 4)):
        made = make_classes(name, images=images)
        (made / "dog/0.png").unlink()
    return tmp_path


@pytest.fixture
def run(folder, tmp_path):
    """Return a function that trains in some processes and returns what each wrote."""

    def train(processes: int, **options) -> list[dict]:
        output = tmp_path / f"out{len(list(tmp_path.glob('out*')))}"
        output.mkdir()
        arguments = (folder, output, processes, options)
        if processes == 1:
            ddp_worker.train(*arguments)
        else:
            launch.start(ddp_worker.train, arguments, processes)
        return [
            torch.load(output / f"rank{rank}.pt", weights_only=True)
            | {"seen": json.loads((output / f"seen{rank}.json").read_text())}
            for rank in range(processes)
        ]

    return train


def test_an_epoch_equals_the_hand_written_loops(folder, run):
    [ours] = run(1, epochs=1, clip=0.05)

    model = ddp_worker.tiny()
    data = Data(
        ddp_worker.dataset(folder / "train"), ddp_worker.dataset(folder / "val"), batch_size=8, seed=3, num_workers=0
    )
    data.trainer = lightning.Trainer(accelerator="cpu", logger=False)
    data.setup("fit")
    loss, accuracy = engine.train_step(
        model,
        data.train_dataloader(),
        nn.CrossEntropyLoss(),
        torch.optim.AdamW(model.parameters(), lr=0.01, weight_decay=0.01, foreach=True),
        "cpu",
        max_grad_norm=0.05,
    )
    val_loss, val_accuracy = engine.test_step(model, data.val_dataloader(), nn.CrossEntropyLoss(), "cpu")

    without_bias = {name for name in ours["model"] if name.endswith("weight")}
    assert without_bias
    for name, tensor in model.state_dict().items():
        torch.testing.assert_close(ours["model"][name], tensor)
    measured = {name: values[-1] for name, values in ours["history"].items()}
    assert measured["train_loss"] == pytest.approx(loss)
    assert measured["train_acc"] == pytest.approx(accuracy)
    assert measured["val_loss"] == pytest.approx(val_loss)
    assert measured["val_acc"] == pytest.approx(val_accuracy)


@pytest.mark.slow
@pytest.mark.parametrize("accumulate", [1, 2])
def test_two_processes_give_the_weights_of_one(folder, run, accumulate):
    [alone] = run(1, clip=0.1)
    both = run(2, accumulate=accumulate, clip=0.1)
    for shared in both:
        for name, tensor in alone["model"].items():
            torch.testing.assert_close(shared["model"][name], tensor, rtol=1e-3, atol=1e-5)
        for name, values in alone["history"].items():
            assert shared["history"][name] == pytest.approx(values, rel=1e-4), name
        assert torch.equal(shared["confusion"], alone["confusion"])
    # each validation image is measured once, by one of them
    assert sorted(both[0]["seen"] + both[1]["seen"]) == pytest.approx(sorted(alone["seen"]))
    assert {len(shared["seen"]) for shared in both} == {3, 4}
    assert alone["confusion"].sum() == 7
    if accumulate == 1:
        # features of both shares, in the data set's order
        values, labels = features.extract(
            ddp_worker.lite0(), ddp_worker.dataset(folder / "val"), cache=False, progress=False, precision="fp32"
        ).tensors
        for shared in both:
            torch.testing.assert_close(shared["features"][0], values)
            assert torch.equal(shared["features"][1], labels)


@pytest.mark.slow
def test_accumulated_batches_give_the_update_of_one(run):
    [one], [several] = run(1), run(1, accumulate=3)
    for name, tensor in one["model"].items():
        torch.testing.assert_close(several["model"][name], tensor, rtol=1e-3, atol=1e-5)
    assert one["history"]["train_loss"] == pytest.approx(several["history"]["train_loss"], rel=1e-4)


def test_what_cannot_be_shared_is_an_error(folder):
    train, val = (ddp_worker.dataset(folder / name) for name in ("train", "val"))
    trainer = lightning.Trainer(accelerator="cpu", logger=False)
    data = Data(train, val, batch_size=4, accumulate=5, seed=0)
    data.trainer = trainer
    with pytest.raises(InputError, match="cannot be shared"):
        data.setup("fit")


@pytest.mark.slow
@pytest.mark.parametrize(("how", "message", "status"), [
    ("SIGKILL", "process 1 of 2 was ended by SIGKILL", 1),
    ("SIGSEGV", "process 1 of 2 was ended by SIGSEGV", 1),
    ("exit", "process 1 of 2 ended with status 2", 2),
])  # fmt: skip
def test_a_process_that_dies_ends_the_others(how, message, status):
    with pytest.raises(ProcessDiedError, match=message) as error:
        launch.start(ddp_worker.fail, (1, how), 2)
    assert error.value.status == status


@pytest.mark.slow
def test_a_bug_in_a_process_comes_with_its_traceback():
    with pytest.raises(Exception, match=r"ValueError: a bug"):
        launch.start(ddp_worker.fail, (0, "error"), 2)


@pytest.mark.slow
def test_processes_leave_nothing_in_the_temporary_folder(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with pytest.raises(Exception, match=r"ValueError: a bug"):
        launch.start(ddp_worker.fail, (0, "error"), 2)
    assert list(tmp_path.glob("pytorch-errorfile-*")) == []


def mixing(module: Classifier, images: torch.Tensor, labels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    torch.manual_seed(0)
    return module.mix(images, labels)


@pytest.mark.parametrize("options", [{"mixup": 0.4}, {"cutmix": 1.0}, {"mixup": 0.4, "cutmix": 1.0}])
def test_mixing_blends_labels_as_it_blends_images(options):
    module = Classifier(nn.Identity(), [], num_classes=2, seed=0, **options)
    # an image of class 0 is black, of class 1 white: the share of white is the share of class 1
    labels = torch.tensor([0, 1, 1, 0, 0, 1])
    images = labels.float().view(-1, 1, 1, 1).expand(-1, 3, 16, 16)
    mixed, soft = mixing(module, images, labels)
    assert soft.shape == (6, 2)
    torch.testing.assert_close(mixed.mean(dim=(1, 2, 3)), soft[:, 1], atol=1e-5, rtol=0)
    assert ((soft > 0) & (soft < 1)).any()
    assert Classifier(nn.Identity(), [], num_classes=2, seed=0).mix is None


def test_label_smoothing_is_left_out_of_the_validation_loss(folder):
    data = Data(
        ddp_worker.dataset(folder / "train"), ddp_worker.dataset(folder / "val"), batch_size=8, seed=0, num_workers=0
    )
    model = ddp_worker.tiny()
    groups = [{"name": "all", "params": list(model.parameters()), "lr": 0.01, "weight_decay": 0.0}]
    module = Classifier(model, groups, num_classes=2, seed=0, label_smoothing=0.3, warmup_epochs=0.5)
    trainer = lightning.Trainer(
        accelerator="cpu", max_epochs=1, logger=False, enable_checkpointing=False, num_sanity_val_steps=0,
        enable_progress_bar=False, enable_model_summary=False,
    )  # fmt: skip
    trainer.fit(module, data)
    validation = ddp_worker.dataset(folder / "val")
    with torch.no_grad():
        logits = model.eval()(torch.stack([image for image, _ in validation]))
    plain = metrics.evaluate(logits, validation.targets)
    assert module.history["val_loss"] == [pytest.approx(plain["loss"], rel=1e-5)]
    assert module.history["val_acc"] == [pytest.approx(plain["accuracy"])]


def test_sigterm_ends_training_at_the_next_batch():
    before = signal.getsignal(signal.SIGTERM)
    stop = StopOnSigterm()
    try:
        stop.on_train_start()
        stop.on_train_batch_start()
        signal.raise_signal(signal.SIGTERM)
        for at_a_batch in (stop.on_train_batch_start, stop.on_validation_batch_start):
            with pytest.raises(Terminated):
                at_a_batch()
    finally:
        signal.signal(signal.SIGTERM, before)


def test_sigterm_raises_where_the_main_thread_is_and_then_no_more():
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(Terminated), launch.ending_on_sigterm():
        signal.raise_signal(signal.SIGTERM)
    assert signal.getsignal(signal.SIGTERM) == before
