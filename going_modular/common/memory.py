"""What tensors free on the CPU, kept for the tensors to come."""

import ctypes
import functools
import multiprocessing
import os
import sys

M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4  # glibc's malloc.h
KEPT_BYTES = 2**30  # of free memory at the end of the heap, at most


@functools.cache
def keep_freed() -> None:
    """Have this process keep memory that large tensors free, for the next ones, instead of handing it back.

    glibc, the C library of most Linux systems, gives large blocks back to the system when they are freed, such as the
    maps of a batch, and the system clears each page of the next block anew. That can take half of the time of a pass
    (`benchmarks/bench_memory.py`). The peak is no higher for it, but it stays with the process. Elsewhere nothing is
    changed, nor where environment variables that begin with `MALLOC_` say what malloc shall do, nor in the workers of
    joblib, which takes memory that stays for a leak and ends them.

    Source: `man 3 mallopt`.
    """
    is_told = any(name.startswith("MALLOC_") for name in os.environ)
    is_joblibs = "loky" in type(multiprocessing.current_process()).__module__
    if sys.platform != "linux" or is_told or is_joblibs:
        return
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except AttributeError:  # another C library
        return
    mallopt(M_MMAP_MAX, 0)
    mallopt(M_TRIM_THRESHOLD, KEPT_BYTES)
