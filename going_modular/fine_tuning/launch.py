"""Several processes on one computer, one for each device: started together, ended together."""

import contextlib
import os
import signal
import socket
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import FrameType
from typing import NoReturn

import torch.distributed as dist
import torch.multiprocessing as mp
from torch.multiprocessing.spawn import ProcessExitedException, ProcessRaisedException

from going_modular.common.errors import ProcessDiedError, Terminated

GRACE_SECONDS = 10.0  # from SIGTERM to SIGKILL


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
    """Tell whether this process is one of several that torchrun, SLURM or `start` started."""
    from lightning.pytorch.plugins.environments import SLURMEnvironment

    return "LOCAL_RANK" in os.environ or SLURMEnvironment.detect()


def rank() -> int:
    """Return this process's number among all of a run, from 0."""
    for name in ("RANK", "SLURM_PROCID", "LOCAL_RANK"):
        if name in os.environ:
            return int(os.environ[name])
    return 0


def mute_all_but_first() -> None:
    """Let only the first process print; errors of the others still come."""
    if rank() > 0:
        sys.stdout = Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115 - for as long as the process runs


def start(worker: Callable, arguments: Sequence, processes: int) -> None:
    """Run `worker(*arguments)` in several processes that find each other, and wait for all of them.

    However this process ends, they end with it: on SIGTERM, Ctrl-C or an error they are terminated, and where it is
    killed the system interrupts them.

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


def _explain(error: Exception, processes: Sequence) -> Exception:
    """Return what ended the run: of a process that was killed, the others only report that it is gone."""
    for index, process in enumerate(processes):
        if process.exitcode < 0 and process.exitcode != -signal.SIGTERM:
            name = signal.Signals(-process.exitcode).name
            return ProcessDiedError(f"process {index} of {len(processes)} was ended by {name}", 1)
    if isinstance(error, ProcessExitedException):
        text = f"process {error.error_index} of {len(processes)} ended with status {error.exit_code}"
        return ProcessDiedError(text, error.exit_code)
    return error


def _enter(rank: int, worker: Callable, arguments: Sequence, port: int, processes: int) -> None:
    os.environ.update(
        MASTER_ADDR="127.0.0.1",
        MASTER_PORT=str(port),
        NODE_RANK="0",
        LOCAL_RANK=str(rank),
        WORLD_SIZE=str(processes),
    )
    worker(*arguments)
    leave()
