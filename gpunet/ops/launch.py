"""Helpers for kernel launches: grid sizes, contiguous operands, buffers for partial sums.

Matrix products have their own in matmul_launch.py.
"""

from __future__ import annotations

import math
from types import ModuleType
from typing import Any, overload

import numpy as np

from gpunet.device import Array, device_of
from gpunet.ops._matmul_plan import multiprocessors
from gpunet.tape import Tape, empty, zeros

THREADS = 256
"""Threads per block that the kernels are written for."""

MOST_BLOCKS = 1024
"""Maximum number of blocks: enough to fill any GPU. Kernels loop over the rest with a grid stride, and one block can
add up this many partial sums."""

ROW_THREADS = 512
"""Threads per block of metrics.cu; the maximum in softmax_cross_entropy.cu, which uses fewer for few rows."""


def row_lanes(n: int) -> int:
    """Return how many threads share a row of n elements: a power of 2, so that each has up to four loads in flight."""
    return min(1 << math.ceil(math.log2(max(n / 4, 1))), 32)


def block_count(pieces: int, per_block: int) -> int:
    """Return the number of blocks for `pieces` of work, `per_block` each and at most `MOST_BLOCKS`; 0 for no work."""
    return min(math.ceil(pieces / per_block), MOST_BLOCKS)


@overload
def operand(a: Array, tape: Tape | None, xp: ModuleType, dtype: np.dtype[Any] | None = None) -> Array: ...
@overload
def operand(a: Array | None, tape: Tape | None, xp: ModuleType, dtype: np.dtype[Any] | None = None) -> Array | None: ...
def operand(a: Array | None, tape: Tape | None, xp: ModuleType, dtype: np.dtype[Any] | None = None) -> Array | None:
    """Return `a` as kernels take it, C-contiguous and of `dtype` (default: its own): `a` itself or a copy."""
    if a is None or (a.flags.c_contiguous and (dtype is None or a.dtype == dtype)):
        return a
    copy = empty(tape, a.shape, dtype or a.dtype, xp)
    xp.copyto(copy, a, casting="unsafe")
    return copy


def partial_sums(
    blocks: int, dtype: np.dtype[Any], tape: Tape | None, xp: ModuleType
) -> tuple[Array | None, Array | None]:
    """Return the buffers of a sum over blocks: partial sums and the counter of arrived blocks; None for one block."""
    if blocks == 1:
        return None, None
    return empty(tape, (blocks,), dtype, xp), zeros(tape, (1,), np.dtype(np.uint32), xp)


def column_grid(a: Array, rows: int, n: int) -> tuple[int, int]:
    """Return the grid (column strips, row chunks) of a column kernel (`columns.cuh`) on the device of `a`."""
    width = math.ceil(n / (32 * 16 // a.itemsize))
    chunks = min(multiprocessors(device_of(a)) // max(width, 1), math.ceil(rows / 64))  # to fill the GPU
    return width, max(1, chunks)


def column_sums(
    grid: tuple[int, int], sums: int, n: int, dtype: np.dtype[Any], tape: Tape | None, xp: ModuleType
) -> tuple[Array | None, Array | None]:
    """Return the buffers to sum n columns over the blocks of `column_grid`, with `sums` values per column.

    They are as those of `partial_sums`.
    """
    width, chunks = grid
    if chunks == 1:
        return None, None
    return empty(tape, (chunks, sums, n), dtype, xp), zeros(tape, (width,), np.dtype(np.uint32), xp)
