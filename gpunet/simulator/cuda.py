"""The contents of `cupy.cuda` for the simulated GPU."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from gpunet.simulator.device import Device
from gpunet.simulator.memory import MemoryPointer, alloc, alloc_pinned_memory, using_allocator
from gpunet.simulator.stream import (
    CUDARuntimeError,
    Event,
    Graph,
    Stream,
    get_current_stream,
    get_elapsed_time,
)

__all__ = [
    "Device",
    "Event",
    "Graph",
    "MemoryPointer",
    "Stream",
    "alloc",
    "alloc_pinned_memory",
    "get_current_stream",
    "get_elapsed_time",
    "is_available",
    "runtime",
    "using_allocator",
]

VERSION = 12090
"""CUDA 12.9."""


def is_available() -> bool:
    """Return True: the simulated device always exists."""
    return True


def _device_properties(device: int) -> dict[str, Any]:
    Device(device).use()
    return {
        "name": b"gpunet simulator",
        "major": 9,
        "minor": 0,
        "multiProcessorCount": 16,
        "warpSize": 32,
        "cooperativeLaunch": 1,
    }


runtime = SimpleNamespace(
    CUDARuntimeError=CUDARuntimeError,
    driverGetVersion=lambda: VERSION,
    getDevice=lambda: 0,
    getDeviceCount=lambda: 1,
    getDeviceProperties=_device_properties,
    runtimeGetVersion=lambda: VERSION,
)
