"""Memory that starts at a cache line, for long-lived buffers."""

from __future__ import annotations

import math
from types import ModuleType

import numpy as np
from numpy.typing import DTypeLike

from gpunet.device import Array

CACHE_LINE = 64
"""Bytes. CuPy aligns arrays to more than this, NumPy only to 16 bytes. In an unaligned buffer every other vector load
crosses a cache line: Adam took 172 µs instead of 154 µs for 100,000 parameters."""


def aligned(shape: int | tuple[int, ...], dtype: DTypeLike, xp: ModuleType, *, zero: bool = False) -> Array:
    """Return an array of `xp`, uninitialised or zero, that starts at a cache line."""
    make = xp.zeros if zero else xp.empty
    if xp is not np:
        return make(shape, dtype)
    nbytes = math.prod(shape if isinstance(shape, tuple) else (shape,)) * np.dtype(dtype).itemsize
    room = make(nbytes + CACHE_LINE, np.uint8)  # np.zeros touches no memory: the system supplies zeroed pages
    start = -room.ctypes.data % CACHE_LINE
    return room[start : start + nbytes].view(dtype).reshape(shape)
