"""What there is to compute with: a device, the number format it is built for, processes that read images."""

import multiprocessing
import os
import random
import shutil
from pathlib import Path

import torch
from torch.utils.data import Dataset

from going_modular.common.errors import InputError

MAX_WORKERS = 8  # more processes than this wait for the disk
SHARED_MEMORY = Path("/dev/shm")  # where batches pass from one process to another; a container's has 64 MB by default
READY, IN_USE = 2, 3  # batches in shared memory: of each worker, torch's default; and those that are being used


def choose_device(name: str) -> str:
    """Return a torch device: the one named, or for `auto` CUDA, MPS or the CPU, the first that is there.

    Raises:
        InputError: there is no such device here.
    """
    if name == "auto":
        if torch.cuda.is_available():
            return "cuda"
        return "mps" if torch.backends.mps.is_available() else "cpu"
    try:
        torch.zeros(1, device=name).item()  # the meta device has no values
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise InputError(f"Device {name!r} is not available here; use --device cpu, or auto") from error
    return name


def resolve_precision(precision: str, device: torch.device | str) -> str:
    """Return `fp32` or `bf16`; `auto` is bf16 where the device multiplies it natively, else fp32.

    Features in bf16 differ from fp32's in the third digit; the accuracy of a head trained on them does not (see
    `benchmarks/`).

    Raises:
        InputError: not one of `auto`, `fp32`, `bf16`.
    """
    if precision in ("fp32", "bf16"):
        return precision
    if precision != "auto":
        raise InputError(f"Unknown precision {precision!r}; choose auto, fp32 or bf16")
    kind = torch.device(device).type
    if kind == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp32"
    if kind == "cpu":
        able = getattr(torch.cpu, "get_capabilities", dict)()  # older torch, such as 2.10, cannot say
        return "bf16" if any(able.get(name) for name in ("avx512_bf16", "amx_bf16", "sve_bf16")) else "fp32"
    return "fp32"


def default_num_workers() -> int:
    """Return how many processes should read images: one a core that we may use, at most 8.

    None where processes must be spawned (Windows, macOS): they would import torch anew, which takes longer than a
    small data set, and need a `__main__` guard. Ask for them by number there.
    """
    if multiprocessing.get_start_method() != "fork":
        return 0
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(cores, MAX_WORKERS)


def workers_that_fit(workers: int, dataset: Dataset, batch_size: int, *, processes: int = 1) -> int:
    """Return how many of these workers there is room for in shared memory, perhaps none; elsewhere a crash would tell.

    Args:
        workers: processes that should read images.
        dataset: of the largest items, (tensor, label); one is read, without a draw from torch's or Python's generator.
        batch_size: items a batch.
        processes: on this computer, each with as many workers.
    """
    if workers == 0 or not SHARED_MEMORY.is_dir():
        return workers
    state = random.getstate()
    try:
        with torch.random.fork_rng(devices=[]):
            item = dataset[0][0]
    except InputError:  # an image that cannot be read: reading the batch will say so
        return workers
    finally:
        random.setstate(state)
    if not isinstance(item, torch.Tensor):
        return workers
    batches = shutil.disk_usage(SHARED_MEMORY).free // max(processes * batch_size * item.nbytes, 1)
    return min(workers, max(0, (batches - IN_USE) // READY))


def explain_lost_worker(error: RuntimeError) -> InputError | None:
    """Return what to tell where a worker was ended for want of shared memory; None for another error."""
    text = str(error)
    if "Bus error" not in text and "(shm)" not in text:
        return None
    return InputError(
        f"Shared memory, {SHARED_MEMORY}, is full: processes that read images pass them through it; give a container "
        "more, such as docker run --shm-size=2g, or use a smaller batch size"
    )
