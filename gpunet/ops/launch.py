"""What the launches of the operations share: the size of a grid, operands as kernels take them, partial sums.

A matrix product has rules of its own, see matmul_launch.py.
"""

from __future__ import annotations

import math
from types import ModuleType
from typing import Any

import numpy as np

from gpunet.device import Array, device_of
from gpunet.ops._matmul_plan import multiprocessors
from gpunet.tape import Tape, empty, zeros

THREADS = 256
"""Threads of a block, for which the kernels are written."""

MOST_BLOCKS = 1024
"""Enough to fill any GPU; the kernels stride over what is left, and one block can add up so many partial sums."""

ROW_THREADS = 512
"""Threads of a block in metrics.cu; in softmax_cross_entropy.cu the most, few rows need fewer."""


def row_lanes(n: int) -> int:
    """Return how many threads share a row of n numbers, a power of 2: each has up to four on their way at once."""
    return min(1 << math.ceil(math.log2(max(n / 4, 1))), 32)


def block_count(pieces: int, per_block: int) -> int:
    """Return how many blocks share `pieces` of work, `per_block` each unless that made too many; 0 for no work."""
    return min(math.ceil(pieces / per_block), MOST_BLOCKS)


def operand(a: Array | None, tape: Tape | None, xp: ModuleType, dtype: np.dtype[Any] | None = None) -> Array | None:
    """Return `a` as a kernel takes it: C-contiguous and of `dtype` (by default its own), itself or a copy."""
    if a is None or (a.flags.c_contiguous and (dtype is None or a.dtype == dtype)):
        return a
    copy = empty(tape, a.shape, dtype or a.dtype, xp)
    xp.copyto(copy, a, casting="unsafe")
    return copy


def partial_sums(
    blocks: int, dtype: np.dtype[Any], tape: Tape | None, xp: ModuleType
) -> tuple[Array | None, Array | None]:
    """Return what a kernel needs to add up over its blocks: room for their sums, and the count of their arrivals."""
    if blocks == 1:
        return None, None
    return empty(tape, (blocks,), dtype, xp), zeros(tape, (1,), np.dtype(np.uint32), xp)


def column_grid(a: Array, rows: int, n: int) -> tuple[int, int]:
    """Return the grid of a kernel that goes by columns (`columns.cuh`) over a matrix on the device of `a`."""
    width = math.ceil(n / (32 * 16 // a.itemsize))
    chunks = min(multiprocessors(device_of(a)) // max(width, 1), math.ceil(rows / 64))  # to fill the GPU
    return width, max(1, chunks)


def column_sums(
    grid: tuple[int, int], sums: int, n: int, dtype: np.dtype[Any], tape: Tape | None, xp: ModuleType
) -> tuple[Array | None, Array | None]:
    """Return what such a kernel needs to add up n columns over its blocks, `sums` of each: as `partial_sums` does."""
    width, chunks = grid
    if chunks == 1:
        return None, None
    return empty(tape, (chunks, sums, n), dtype, xp), zeros(tape, (width,), np.dtype(np.uint32), xp)
