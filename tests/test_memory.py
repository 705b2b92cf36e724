"""What large tensors free stays with the process on glibc; elsewhere, or if it is told otherwise, nothing changes."""

import os
import platform
import subprocess
import sys

import pytest

from going_modular.common import memory

COUNT_PAGES = """
import ctypes, resource, sys
from going_modular.common.memory import keep_freed

def count(how):
    libc = ctypes.CDLL(None)
    libc.malloc.restype = libc.memset.restype = ctypes.c_void_p
    libc.malloc.argtypes, libc.free.argtypes = [ctypes.c_size_t], [ctypes.c_void_p]
    libc.memset.argtypes = [ctypes.c_void_p, ctypes.c_int, ctypes.c_size_t]
    if how != "leave":
        keep_freed()
    pages = []
    for _ in range(6):
        libc.free(libc.memset(libc.malloc(64 * 2**20), 1, 64 * 2**20))
        pages.append(resource.getrusage(resource.RUSAGE_SELF).ru_minflt)
    return pages[-1] - pages[0]

if sys.argv[1] == "joblib":
    from joblib import Parallel, delayed
    print(min(Parallel(n_jobs=2)(delayed(count)("keep") for _ in range(2))))
else:
    print(count(sys.argv[1]))
"""


def pages(how: str, **environment: str) -> int:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("MALLOC_")}
    run = subprocess.run(
        [sys.executable, "-c", COUNT_PAGES, how], env=clean | environment, stdout=subprocess.PIPE, check=True, text=True
    )
    return int(run.stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="this Python's C library is not glibc")
def test_large_blocks_are_not_cleared_again_unless_somebody_says_what_malloc_shall_do():
    assert pages("keep") < 100
    # pages may be huge ones; even so each block has its own
    assert pages("leave") > 100
    assert pages("keep", MALLOC_PERTURB_="0") > 100
    assert pages("joblib") > 100


@pytest.mark.parametrize("platform_name", ["darwin", "win32"])
def test_elsewhere_no_library_is_asked(monkeypatch, platform_name):
    monkeypatch.setattr(memory.sys, "platform", platform_name)
    monkeypatch.setattr(memory.ctypes, "CDLL", None)
    memory.keep_freed.__wrapped__()


def test_a_c_library_without_it_is_left_as_it_is(monkeypatch):
    monkeypatch.setattr(memory.sys, "platform", "linux")
    monkeypatch.setattr(memory.ctypes, "CDLL", lambda name: object())
    memory.keep_freed.__wrapped__()
