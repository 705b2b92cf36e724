"""How a run finds its processes, whatever variables a cluster has left, and how many of them read images."""

import json
import os
import random
import subprocess
import sys
from pathlib import Path

import lightning as L
import numpy as np
import pytest
import torch
import yaml
from commands import HANGS, LITE0, line, messages, refusal, succeed
from torch.utils.data import TensorDataset

from going_modular import data_setup
from going_modular.common import cli, device
from going_modular.common.errors import InputError
from going_modular.fine_tuning import launch, lightning_parts
from going_modular.fine_tuning.lightning_parts import Data

COMMAND = "fine_tune.py"
WITH_WORKERS = """
import runpy, sys
from going_modular.common import device
device.FEW_CORES = 0
del sys.argv[0]
runpy.run_path(sys.argv[0], run_name="__main__")
"""
# as sbatch and salloc leave them for what is not started by srun
ALLOCATION = {"SLURM_JOB_ID": "1234", "SLURM_PROCID": "0", "SLURM_LOCALID": "0", "SLURM_NODEID": "0",
              "SLURM_NNODES": "1", "SLURM_JOB_NODELIST": "localhost"}  # fmt: skip


@pytest.fixture(autouse=True)
def inside(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in os.environ:
        if name.startswith("SLURM_") or name in launch.NUMBERS:
            monkeypatch.delenv(name)


@pytest.fixture
def arguments(make_classes) -> tuple:
    data = make_classes("data", images=12)
    Path("settings.yaml").write_text(yaml.safe_dump({"recipe": "head", "epochs": 1, "batch_size": 6}))
    return ("--config", "settings.yaml", "--data", data, *LITE0)


def set_variables(monkeypatch, variables: dict[str, str]) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)


def report(folder: Path) -> None:
    """Write down what Lightning makes of this process."""
    environment = launch.environment()
    trainer = L.Trainer(accelerator="cpu", devices=2, strategy="ddp", logger=False, plugins=[environment])
    seen = [type(environment).__name__, trainer.world_size, trainer.global_rank]
    (folder / f"{launch.rank()}.json").write_text(json.dumps(seen))


@pytest.mark.slow
def test_processes_that_we_start_are_as_many_whatever_slurm_says(tmp_path, monkeypatch):
    set_variables(monkeypatch, ALLOCATION | {"SLURM_NTASKS": "1", "RANK": "0"})
    assert not launch.is_launched()
    launch.start(report, (tmp_path,), 2)
    seen = [json.loads((tmp_path / f"{rank}.json").read_text()) for rank in range(2)]
    assert seen == [["LightningEnvironment", 2, 0], ["LightningEnvironment", 2, 1]]


@pytest.mark.parametrize("shell", [{}, {"SLURM_STEP_ID": "0", "SLURM_STEP_NUM_TASKS": "1", "SLURM_JOB_NAME": "shell"}])
def test_two_devices_in_an_allocation_of_one_task_are_two_processes(arguments, monkeypatch, shell):
    """They are not started: the test above has seen that they find each other, others that they do their work."""
    set_variables(monkeypatch, ALLOCATION | {"SLURM_NTASKS": "1"} | shell)
    started = []
    monkeypatch.setattr(launch, "start", lambda worker, given, processes: started.append(processes))
    succeed(COMMAND, *arguments, "--devices", 2, "--output", "run")
    assert started == [2]


@pytest.mark.slow
@pytest.mark.parametrize("stray", [
    ALLOCATION | {"SLURM_NTASKS": "4"},
    ALLOCATION | {"SLURM_NTASKS": "4", "SLURM_NTASKS_PER_NODE": "4", "SLURM_JOB_NAME": "mine"},
    {"RANK": "3"},
], ids=["ntasks", "per-node", "rank"])  # fmt: skip
def test_variables_of_several_tasks_without_srun_leave_a_run_alone(arguments, monkeypatch, capsys, stray):
    set_variables(monkeypatch, stray)
    succeed(COMMAND, *arguments, "--output", "run")
    captured = capsys.readouterr()
    assert "Test accuracy:" in captured.out
    assert messages(captured.err) == []
    assert list(Path("run/tensorboard/head").glob("events.out.*")), "Lightning took it for another than the first"


@pytest.mark.parametrize("name", launch.NUMBERS)
@pytest.mark.parametrize("value", ["abc", "", "-1", "1.5"])
def test_a_variable_that_is_no_number_is_named(arguments, monkeypatch, capsys, name, value):
    monkeypatch.setenv(name, value)
    assert f"The environment variable {name} is {value!r}" in refusal(capsys, COMMAND, *arguments)


@pytest.mark.slow
def test_lightning_is_not_imported_before_the_variables_are_checked(arguments, tmp_path):
    """It reads RANK where it is imported, and fails."""
    finished = subprocess.run(
        line(COMMAND, arguments), env=os.environ | {"RANK": "abc"}, cwd=tmp_path, capture_output=True, text=True,
        timeout=HANGS, check=False,
    )  # fmt: skip
    assert finished.returncode == cli.BAD_INPUT
    assert len(messages(finished.stderr)) == 1


STEP = ALLOCATION | {"SLURM_STEP_ID": "0", "SLURM_NTASKS": "2", "SLURM_STEP_NUM_TASKS": "2"}


@pytest.mark.parametrize(("variables", "flags", "told"), [
    (STEP | {"SLURM_NTASKS_PER_NODE": "2"}, (), "--devices 1 and --nodes 1: start it with srun --nodes=1"),
    (STEP, ("--devices", 2), "start it with srun --nodes=1 --ntasks-per-node=2"),
    (STEP | {"SLURM_NTASKS_PER_NODE": "2", "SLURM_NNODES": "2"}, ("--devices", 2), "start it with srun --nodes=1"),
    ({"LOCAL_RANK": "0", "RANK": "0", "WORLD_SIZE": "4"}, ("--devices", 2), "torchrun started 4 processes, but"),
    ({"LOCAL_RANK": "0", "RANK": "2", "WORLD_SIZE": "2"}, ("--devices", 2), "torchrun started 2 processes, but"),
])  # fmt: skip
def test_processes_and_settings_that_do_not_agree_are_refused(arguments, monkeypatch, capsys, variables, flags, told):
    set_variables(monkeypatch, variables)
    monkeypatch.setattr(sys, "stdout", sys.stdout)  # which the second process replaces
    assert told in refusal(capsys, COMMAND, *arguments, *flags, "--output", "run")


def test_tasks_of_srun_are_its_processes(monkeypatch):
    set_variables(monkeypatch, STEP | {"SLURM_NTASKS_PER_NODE": "2", "SLURM_PROCID": "1", "SLURM_LOCALID": "1"})
    launch.check(devices=2, nodes=1)
    assert launch.is_launched()
    assert launch.rank() == 1
    assert type(launch.environment()).__name__ == "SLURMEnvironment"
    monkeypatch.setenv("SLURM_JOB_NAME", "bash")  # a shell in the step starts what it likes
    assert not launch.is_launched()


class Noise(TensorDataset):
    """Items of 1 MB; reading one draws random numbers."""

    def __init__(self) -> None:
        super().__init__(torch.zeros(4, 1))

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        return torch.rand(1, 256, 1024) + random.random(), 0


@pytest.mark.parametrize(("free", "processes", "workers"), [
    (0, 1, 0), (60, 1, 0), (69, 1, 0), (70, 1, 1), (98, 1, 2), (89, 2, 0), (140, 2, 1), (10_000, 1, 8), (10**6, 4, 8),
])  # fmt: skip
def test_no_more_workers_than_shared_memory_has_room_for(tmp_path, monkeypatch, free, processes, workers):
    monkeypatch.setattr(device, "SHARED_MEMORY", tmp_path)
    monkeypatch.setattr(device.shutil, "disk_usage", lambda _: type("Usage", (), {"free": free * 2**20}))
    before = torch.get_rng_state(), random.getstate()
    batch_size = 14 if free < 1000 else 32
    assert device.workers_that_fit(8, Noise(), batch_size, processes=processes) == workers
    assert torch.equal(torch.get_rng_state(), before[0])
    assert random.getstate() == before[1]


def test_loaders_ask_what_fits(make_classes, tmp_path, monkeypatch):
    monkeypatch.setattr(device, "SHARED_MEMORY", tmp_path)
    monkeypatch.setattr(device.shutil, "disk_usage", lambda _: type("Usage", (), {"free": 0}))
    for module in (data_setup, lightning_parts):
        monkeypatch.setattr(module, "reading_workers", lambda: 2)
    folder = make_classes("data")

    def transform(image) -> torch.Tensor:
        return torch.from_numpy(np.asarray(image).copy()).permute(2, 0, 1).float()

    *loaders, _ = data_setup.create_dataloaders(folder, folder, transform, 4)
    assert [loader.num_workers for loader in loaders] == [0, 0]
    data = Data(loaders[0].dataset, loaders[1].dataset, batch_size=4, seed=0)
    data.trainer = L.Trainer(accelerator="cpu", logger=False)
    data.setup("fit")
    assert data.train_dataloader().num_workers == data.val_dataloader().num_workers == 0


def test_a_worker_that_dies_for_want_of_shared_memory_is_explained():
    for text in (
        "DataLoader worker (pid 7) is killed by signal: Bus error. It is possible that ...",
        "unable to allocate shared memory(shm) for file </torch_1_2>: No space left on device (28)",
    ):
        assert "docker run --shm-size=2g" in str(device.explain_lost_worker(RuntimeError(text)))
    assert device.explain_lost_worker(RuntimeError("out of resource: shared memory, Required: 1")) is None
    assert not isinstance(device.explain_lost_worker(RuntimeError("size mismatch")), InputError)


@pytest.mark.slow
@pytest.mark.parametrize(("script", "flags"), [
    ("fine_tune.py", ("--recipe", "last-1", "--batch-size", 6)),
    ("train.py", ("--augment", "--batch-size", 6)),
])  # fmt: skip
def test_two_megabytes_of_shared_memory_are_enough(make_classes, tmp_path, script, flags):
    data = make_classes("data", images=12)
    _, *command = line(script, ("--data", data, *LITE0, "--epochs", 1, "--output", "run", *flags))
    command = [sys.executable, "-c", WITH_WORKERS, *command]
    inside = 'mount -t tmpfs -o size=2m tmpfs /dev/shm && exec "$@"'
    unshared = ["unshare", "--mount", "sh", "-c"]
    try:
        allowed = subprocess.run([*unshared, inside, "sh", "true"], capture_output=True, check=False)
    except OSError as error:
        pytest.skip(f"no unshare: {error}")
    if allowed.returncode:
        pytest.skip(f"mounting is not allowed here: {allowed.stderr.decode().strip()}")
    finished = subprocess.run(
        [*unshared, inside, "sh", *command], cwd=tmp_path, capture_output=True, text=True, timeout=HANGS, check=False
    )
    assert finished.returncode == 0, finished.stderr
    assert messages(finished.stderr) == []
