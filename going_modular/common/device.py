"""What there is to compute with: a device, the number format it is built for, processes that read images."""

import contextlib
import functools
import multiprocessing
import os
import random
import shutil
import threading
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch.utils.data import Dataset

from going_modular.common.errors import InputError

MAX_WORKERS = 8  # more processes than this wait for the disk
FEW_CORES = 2  # so many, and no accelerator: what reads takes from what computes
SHARED_MEMORY = Path("/dev/shm")  # where batches pass from one process to another; a container's has 64 MB by default
READY, IN_USE = 2, 3  # batches in shared memory: of each worker, torch's default; and those that are being used


def choose_device(name: str) -> str:
    """Return a torch device: the one named, or for `auto` CUDA, MPS or the CPU, the first that is there.

    Nothing is put on a GPU: every process of a run asks, and may compute on another than the first.

    Raises:
        InputError: there is no such device here.
    """
    if name == "auto":
        if torch.cuda.is_available():
            return "cuda"
        return "mps" if torch.backends.mps.is_available() else "cpu"
    try:
        device = torch.device(name)
        if device.type == "cuda":
            is_here = torch.cuda.is_available() and (device.index or 0) < torch.cuda.device_count()
        else:
            is_here = device.type != "meta" and torch.zeros(1, device=device).item() == 0  # meta has no values
    except (RuntimeError, AssertionError, NotImplementedError):
        is_here = False
    if not is_here:
        raise InputError(f"Device {name!r} is not available here; use --device cpu, or auto")
    return device.type if device.type in ("cpu", "mps") else name  # there is one of each, with a number or without


def resolve_precision(precision: str, device: torch.device | str) -> str:
    """Return `fp32` or `bf16`; `auto` is bf16 where the device multiplies it natively, else fp32.

    Features in bf16 differ from fp32's in the third digit; the accuracy of a head trained on them does not (see
    `benchmarks/`).

    Raises:
        InputError: not one of `auto`, `fp32`, `bf16`, or bf16 where the device has no convolutions in it.
    """
    if precision not in ("auto", "fp32", "bf16"):
        raise InputError(f"Unknown precision {precision!r}; choose auto, fp32 or bf16")
    if precision == "fp32":
        return precision
    if precision == "bf16":
        if not can_bf16(device):
            raise InputError(f"Precision bf16: {device} has no convolutions in it; use --precision auto or fp32")
        return precision
    kind = torch.device(device).type
    if kind == "cpu":
        able = getattr(torch.cpu, "get_capabilities", dict)()  # older torch, such as 2.10, cannot say
        return "bf16" if any(able.get(name) for name in ("avx512_bf16", "amx_bf16", "sve_bf16")) else "fp32"
    return "bf16" if kind == "cuda" and can_bf16(device) else "fp32"


def can_bf16(device: torch.device | str) -> bool:
    """Tell whether a device computes in bf16: a GPU before Ampere has no convolutions in it, whatever else it has."""
    device = torch.device(device)
    if device.type == "cuda":
        with torch.cuda.device(device):
            return torch.cuda.is_bf16_supported(including_emulation=False)
    return device.type == "cpu" or _convolves(device, torch.bfloat16)


def wished_precision(precision: str, device: torch.device | str) -> str:
    """Return the precision that a head was trained in, or fp32, with a warning, where the device does not have it."""
    if precision == "bf16" and not can_bf16(device):
        warnings.warn(
            f"{device} has no convolutions in bf16, in which this head was trained: it runs in fp32, and features "
            "differ in the third digit",
            stacklevel=2,
        )
        return "fp32"
    return precision


@functools.cache
def _convolves(device: torch.device, dtype: torch.dtype) -> bool:
    try:
        image, weight = (torch.ones(1, 1, 1, 1, device=device, dtype=dtype) for _ in range(2))
        return torch.nn.functional.conv2d(image, weight).item() == 1
    except (RuntimeError, TypeError, NotImplementedError):
        return False


@functools.cache
def sum_dtype(kind: str) -> torch.dtype:
    """Return what to add many values up in: float64, or float32 on a kind of device that has none, such as `mps`."""
    try:
        torch.zeros((), dtype=torch.float64, device=kind)
    except (RuntimeError, TypeError):
        return torch.float32
    return torch.float64


@dataclass
class _Exact:
    """How many compute in exact fp32 at the moment, and how the switches stood before the first of them."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    users: int = 0
    before: list[tuple[object, str, object]] = field(default_factory=list)


_exact = _Exact()


@contextlib.contextmanager
def exact_fp32() -> Iterator[None]:
    """Let fp32 be fp32: by default GPUs from Ampere on round what convolutions multiply to 10 bits, TF32.

    What is computed in bf16 or fp16 does not change. The switches are the process's: threads may overlap, and the last
    that leaves puts them back.
    """
    with _exact.lock:
        if not _exact.users:
            for switch, name, exact in _switches():
                _exact.before.append((switch, name, getattr(switch, name)))
                setattr(switch, name, exact)
        _exact.users += 1
    try:
        yield
    finally:
        with _exact.lock:
            _exact.users -= 1
            while not _exact.users and _exact.before:
                setattr(*_exact.before.pop())


def _switches() -> list[tuple[object, str, object]]:
    """Return what to set where, so that fp32 is exact: a module, its attribute and the value."""
    if hasattr(torch.backends.cudnn, "conv"):
        modules = torch.backends.cudnn.conv, torch.backends.cudnn.rnn, torch.backends.cuda.matmul
        return [(module, "fp32_precision", "ieee") for module in modules]
    modules = torch.backends.cudnn, torch.backends.cuda.matmul  # torch before 2.9
    return [(module, "allow_tf32", False) for module in modules]


def memory_format(device: torch.device | str) -> torch.memory_format:
    """Return how to lay images out for convolutions: on a CPU channels last, which they like.

    On a GPU cuDNN would build kernels for that whenever a batch has a new shape: on an H100 4.0 s for the first batch
    of EfficientNet-Lite0 and 2 s for each other size, for no gain afterwards (9 ms for 64 images either way).
    """
    return torch.channels_last if torch.device(device).type == "cpu" else torch.contiguous_format


def is_out_of_memory(error: BaseException) -> bool:
    """Tell whether an error says that a device has no memory left."""
    return isinstance(error, torch.OutOfMemoryError) or (
        isinstance(error, RuntimeError) and "out of memory" in str(error)  # what MPS says
    )


def default_num_workers() -> int:
    """Return how many processes should read images: one a core that we may use, at most 8.

    None where processes must be spawned (Windows, macOS): they would import torch anew, which takes longer than a
    small data set, and need a `__main__` guard. Ask for them by number there.
    """
    # to ask without allow_none would settle it, and a later set_start_method fail; the first of all is the default
    method = multiprocessing.get_start_method(allow_none=True) or multiprocessing.get_all_start_methods()[0]
    if method != "fork":
        return 0
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(cores, MAX_WORKERS)


def reading_workers() -> int:
    """Return how many processes should read images for one that trains on them: as `default_num_workers`, or none.

    None where one or two cores do all: a process that reads takes a core from those that compute. And a fork makes the
    process that trains copy its memory, page by page as it writes there, which can take longer than to read a small
    data set (`benchmarks/bench_workers.py`).
    """
    workers = default_num_workers()
    return workers if workers > FEW_CORES or torch.accelerator.is_available() else 0


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
    except (InputError, OSError):  # an image that cannot be read: reading the batch will say so
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
