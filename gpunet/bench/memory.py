"""Estimate the memory that a case needs before anything is allocated."""

from __future__ import annotations

import ctypes
import os
import sys

from gpunet.bench.case import Case
from gpunet.device import Device
from gpunet.errors import ArgumentError


def check_memory(case: Case, device: Device, kernels: int) -> None:
    """Raise `ArgumentError` if a case with so many kernels needs more memory than the machine or the GPU has."""
    on_device = case.nbytes * kernels
    on_host = case.nbytes + 3 * 8 * case.nbytes // case.dtype.itemsize  # the reference and its inputs in float64
    if device.name.startswith("cuda"):
        with device.activate():
            free = device.xp.cuda.runtime.memGetInfo()[0]
        _check(case, on_device, free, f"{device.name} has {free / 2**30:,.1f} GiB free")
    else:
        on_host += on_device
    memory = host_memory()
    _check(case, on_host, memory, f"this machine has {memory / 2**30:,.1f} GiB")


def _check(case: Case, needed: int, available: int, text: str) -> None:
    if needed > available:
        raise ArgumentError(
            f"{case.op} {case.size} needs about {needed / 2**30:,.1f} GiB, but {text}; choose smaller sizes."
        )


def host_memory() -> int:
    """Return this machine's memory in bytes."""
    if sys.platform == "win32":
        status = (ctypes.c_ulonglong * 8)(64)  # MEMORYSTATUSEX: its size in bytes, then the physical memory
        ctypes.windll.kernel32.GlobalMemoryStatusEx(ctypes.byref(status))
        return status[1]
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
