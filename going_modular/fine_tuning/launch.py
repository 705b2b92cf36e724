"""Several processes on one computer, one for each device: started together, ended together."""

import contextlib
import os
import re
import signal
import socket
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, NoReturn

import torch.distributed as dist
import torch.multiprocessing as mp
from torch.multiprocessing.spawn import ProcessExitedException, ProcessRaisedException

from going_modular.common.errors import InputError, ProcessDiedError, Terminated

if TYPE_CHECKING:
    from lightning.fabric.plugins.environments import ClusterEnvironment
    from lightning.pytorch.strategies import DDPStrategy

GRACE_SECONDS = 10.0  # from SIGTERM to SIGKILL
# whole numbers, by torchrun and SLURM; Lightning reads some of them even where neither started this process
NUMBERS = (
    *("RANK", "LOCAL_RANK", "WORLD_SIZE", "JSM_NAMESPACE_RANK"),
    *("SLURM_PROCID", "SLURM_LOCALID", "SLURM_NODEID", "SLURM_NTASKS"),
)


@contextlib.contextmanager
def ending_on_sigterm() -> Iterator[None]:
    """Let SIGTERM raise `Terminated`, wherever the main thread is; afterwards it does what it did before."""

    def stop(*_: int | FrameType | None) -> NoReturn:
        raise Terminated

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def is_launched() -> bool:
    """Tell whether this process is one of several that torchrun, SLURM's srun or `start` started."""
    return "LOCAL_RANK" in os.environ or _is_by_srun()


def rank() -> int:
    """Return this process's number among all of a run, from 0."""
    if "LOCAL_RANK" in os.environ:
        return _number("RANK" if "RANK" in os.environ else "LOCAL_RANK")
    return (_number("SLURM_PROCID") or 0) if _is_by_srun() else 0


def environment() -> "ClusterEnvironment":
    """Return how Lightning finds the processes of a run: as they were started, whatever else the variables suggest."""
    from lightning.pytorch.plugins.environments import LightningEnvironment, SLURMEnvironment, TorchElasticEnvironment

    if "LOCAL_RANK" in os.environ and TorchElasticEnvironment.detect():
        return TorchElasticEnvironment()
    # going on after a stop is for --resume; Lightning's way would write checkpoints of its own
    return SLURMEnvironment(auto_requeue=False) if _is_by_srun() else LightningEnvironment()


def strategy(kind: str) -> "DDPStrategy":
    """Return how Lightning lets processes train together on devices of a kind, `cuda` or `cpu`.

    They talk by NCCL where torch has it, which on Windows it has not; else by Gloo, which takes a GPU's tensors, too.
    """
    from lightning.pytorch.strategies import DDPStrategy

    return DDPStrategy(process_group_backend="nccl" if kind == "cuda" and dist.is_nccl_available() else "gloo")


def check(devices: int, nodes: int) -> None:
    """Raise where what started this process and the settings do not agree on the number of processes.

    Raises:
        InputError: says how to start them.
    """
    wanted = f"--devices {devices} and --nodes {nodes}"
    if "LOCAL_RANK" in os.environ:
        name, started = "torchrun", _number("WORLD_SIZE")
    elif _is_by_srun():
        name, started = "srun", _tasks()
        shape = {"SLURM_NTASKS_PER_NODE": devices, "SLURM_NNODES": nodes}
        numbers = {
            variable: _number(variable) for variable in (*shape, "SLURM_PROCID", "SLURM_LOCALID", "SLURM_NODEID")
        }
        if None in numbers.values() or any(numbers[variable] != value for variable, value in shape.items()):
            raise InputError(f"{wanted}: start it with srun --nodes={nodes} --ntasks-per-node={devices}")
    else:
        return
    if started is not None and (started != devices * nodes or rank() >= started):
        raise InputError(f"{name} started {started} processes, but {wanted} make {devices * nodes}: let them agree")


def check_variables() -> None:
    """Raise where a variable that numbers processes has no number, before Lightning is imported and meets it.

    Raises:
        InputError: names it.
    """
    for name in NUMBERS:
        _number(name)


def mute_all_but_first() -> None:
    """Let only the first process print; errors of the others still come."""
    if rank() > 0:
        sys.stdout = Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115 - for as long as the process runs


def start(worker: Callable, arguments: Sequence, processes: int) -> None:
    """Run `worker(*arguments)` in several processes that find each other, and wait for all of them.

    However this process ends, they end with it: on SIGTERM, Ctrl-C or an error they are terminated, and where it is
    killed Linux interrupts them.

    Raises:
        ProcessDiedError: one ended with an error; the others were terminated.
        Terminated: SIGTERM came.
    """
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    context = mp.start_processes(
        _enter, (worker, arguments, port, processes), nprocs=processes, join=False, start_method="spawn"
    )
    try:
        while not context.join(grace_period=GRACE_SECONDS):
            pass
    except (ProcessExitedException, ProcessRaisedException) as error:
        raise _explain(error, context.processes) from None
    finally:
        for process in context.processes:
            if process.is_alive():
                process.terminate()
        for process in context.processes:
            process.join(GRACE_SECONDS)
            if process.is_alive():
                process.kill()
        for file in context.error_files:  # torch leaves them in the temporary folder
            Path(file).unlink(missing_ok=True)


def leave() -> None:
    """Take this process out of the group, once all are done: left to its end, the group's threads may abort it."""
    if dist.is_initialized():
        dist.barrier()
        dist.destroy_process_group()


def _is_by_srun() -> bool:
    """Tell whether srun started this process with others; sbatch and salloc set the variables of tasks, too."""
    is_step = "SLURM_STEP_ID" in os.environ or "SLURM_STEP_NUM_TASKS" in os.environ
    return is_step and os.environ.get("SLURM_JOB_NAME") not in ("bash", "interactive") and _tasks() > 1


def _tasks() -> int:
    return _number("SLURM_STEP_NUM_TASKS") or _number("SLURM_NTASKS") or 1


def _number(name: str) -> int | None:
    """Return the whole number in an environment variable; None where there is no such variable."""
    text = os.environ.get(name)
    if text is not None and not re.fullmatch("[0-9]{1,9}", text):
        raise InputError(f"The environment variable {name} is {text[:40]!r}, which is no whole number; unset it")
    return None if text is None else int(text)


def _explain(error: Exception, processes: Sequence) -> Exception:
    """Return what ended the run: of a process that was killed, the others only report that it is gone."""
    for index, process in enumerate(processes):
        if process.exitcode < 0 and process.exitcode != -signal.SIGTERM:
            return ProcessDiedError(f"process {index} of {len(processes)} was ended by {_named(-process.exitcode)}", 1)
    if isinstance(error, ProcessExitedException):
        text = f"process {error.error_index} of {len(processes)} ended with status {error.exit_code}"
        return ProcessDiedError(text, error.exit_code)
    return error


def _named(number: int) -> str:
    """Return the name of a signal; not all have one, and which do depends on the system."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def _enter(rank: int, worker: Callable, arguments: Sequence, port: int, processes: int) -> None:
    os.environ.update(
        MASTER_ADDR="127.0.0.1",
        MASTER_PORT=str(port),
        NODE_RANK="0",
        RANK=str(rank),
        LOCAL_RANK=str(rank),
        WORLD_SIZE=str(processes),
    )
    if sys.platform == "win32":
        os.environ.setdefault("USE_LIBUV", "0")  # torch is built without it there, yet older ones ask for it
    worker(*arguments)
    leave()
