"""Views and sums of the channels of arrays (rows, channels, ...)."""

from __future__ import annotations

import math
from types import ModuleType

import numpy as np

from gpunet.device import Array
from gpunet.errors import ShapeError
from gpunet.ops._bias_activation import sum_columns
from gpunet.ops.checks import check_shape
from gpunet.ops.launch import column_sums
from gpunet.tape import Tape, empty, zeros

BLOCK = 32, 8
"""Threads of the kernels in batch_norm.cu: columns and rows."""


def sum_channels(a: Array, out: Array, tape: Tape | None) -> None:
    """Write the sums over all axes except the second of an array from `folded`."""
    if a.ndim == 2:
        sum_columns(a, out, tape, np)
        return
    columns = empty(tape, a.shape[1:], a.dtype, np)
    sum_columns(a.reshape(len(a), columns.size), columns.reshape(-1), tape, np)
    np.add.reduce(columns, axis=1, out=out)


def folded(a: Array, size: int) -> Array:
    """View (rows, channels, ...) as (rows, channels), or (rows, channels, size) where `size` is not 1."""
    shape = a.shape[:2] if size == 1 else (*a.shape[:2], size)
    return a if a.shape == shape else a.reshape(shape)


def spread(of_channel: Array, x: Array) -> Array:
    """View (channels,) so that it broadcasts with `x`."""
    return of_channel if x.ndim == 2 else of_channel[:, None]


def channel_scratch(
    x: Array, grid: tuple[int, int], sums: int, size: int, tape: Tape | None, xp: ModuleType
) -> tuple[Array | None, ...]:
    """Return the buffers to sum over channels: column_sums, done, partial_sums, arrivals."""
    n = x.shape[1] * size
    of_columns: tuple[Array | None, Array | None] = None, None
    if size != 1:
        of_columns = empty(tape, (sums, n), x.dtype, xp), zeros(tape, (1,), np.dtype(np.uint32), xp)
    return *of_columns, *column_sums(grid, sums, n, x.dtype, tape, xp)


def channel_sizes(op: str, x: Array, **of_channel: Array | None) -> tuple[int, int, int]:
    """Check the shapes; return rows, channels and the elements of a channel in a row."""
    if x.ndim < 2 or 0 in x.shape[1:]:
        raise ShapeError(f"{op}: x must be (rows, channels, ...), where only rows may be 0; got shape {x.shape}.")
    check_shape(op, x.shape[1:2], **of_channel)
    return len(x), x.shape[1], math.prod(x.shape[2:])
