"""The number of threads of a native program."""

from __future__ import annotations

import ctypes
import functools
import os
import sys
from contextlib import suppress
from pathlib import Path

from gpunet.arguments import whole
from gpunet.errors import ArgumentError
from gpunet.native.blas import find_blas

CGROUP_LIMITS = (
    ("/sys/fs/cgroup/cpu.max",),
    ("/sys/fs/cgroup/cpu/cpu.cfs_quota_us", "/sys/fs/cgroup/cpu/cpu.cfs_period_us"),
)
"""Where cgroups of version 2 and 1 store the CPU time limit of a container: a quota and its period."""

LOCAL_RANKS = ("MPI_LOCALNRANKS", "OMPI_COMM_WORLD_LOCAL_SIZE")
"""Environment variables with the number of ranks on this host, of MPICH and Open MPI."""


@functools.cache
def thread_count() -> int:
    """Return the number of threads: `GPUNET_THREADS`, else `OMP_NUM_THREADS`, else the BLAS library's, else all cores.

    The maximum is the number of processors that this process may use, divided by the ranks on this host.
    """
    cores = max(1, available_cores() // max(_number(name) or 1 for name in LOCAL_RANKS))
    if (given := os.environ.get("GPUNET_THREADS")) is not None:
        if not given.isdecimal():
            raise ArgumentError(f"GPUNET_THREADS must be a whole number of at least 1, got {given!r}.")
        return min(whole("GPUNET_THREADS", int(given)), cores)
    return min(_number("OMP_NUM_THREADS") or _blas_threads() or cores, cores)


def available_cores() -> int:
    """Return the number of processors that this process may use, by its affinity and, in a container, its cgroup."""
    cores = len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1
    for files in CGROUP_LIMITS:
        with suppress(OSError, ValueError):  # no such file, or "max"
            quota, period = " ".join(Path(file).read_text(encoding="ascii") for file in files).split()
            if int(quota) > 0:
                return max(1, min(cores, int(quota) // int(period)))
    return cores


def _number(name: str) -> int:
    given = os.environ.get(name, "").partition(",")[0]  # OMP_NUM_THREADS may have one number per nesting level
    return int(given) if given.isdecimal() else 0


def _blas_threads() -> int:
    blas = find_blas()
    return ctypes.CFUNCTYPE(ctypes.c_int)(blas.get_threads)() if blas is not None and blas.get_threads else 0
