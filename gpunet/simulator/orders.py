"""Run a launch in two orders of its blocks, from the same memory, and compare the results.

A GPU guarantees no order. If blocks run only in ascending order, the block with the highest number is always the last
to arrive, and wrong logic for the last block passes.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeVar

import numpy as np

Result = TypeVar("Result")


class Writable(NamedTuple):
    """Memory that a launch may write.

    Attributes:
        name: in findings.
        dtype: of the elements; a dtype without a size stands for bytes.
        address: of the first byte.
        initialized: see `Buffer`.
    """

    name: str
    dtype: np.dtype[Any]
    address: int
    nbytes: int
    initialized: int = 0


def in_both_orders(run: Callable[[bool], Result], writable: Sequence[Writable]) -> tuple[Result, Result, str | None]:
    """Run a launch in ascending order, then in a shuffled order.

    Args:
        run: `run(shuffled)` runs the launch.
        writable: the memory that it may write. Both runs start from its present contents; afterwards it holds the first
            results.

    Returns:
        The results of both runs, and a description of the first element that differs, or None.
    """
    memory = [_bytes_at(w.address, w.nbytes) for w in writable]
    flags = [_bytes_at(w.initialized, w.nbytes) for w in writable if w.initialized]
    arrays = memory + flags
    before = [a.copy() for a in arrays]
    result = run(False)
    after = [a.copy() for a in arrays]
    _restore(arrays, before)
    other = run(True)
    differences = map(_difference, writable, after, memory)
    finding = next(filter(None, differences), None)
    _restore(arrays, after)
    return result, other, finding


def _bytes_at(address: int, nbytes: int) -> np.ndarray:
    """Return a view of memory as a (nbytes,) uint8 array."""
    return np.ctypeslib.as_array((ctypes.c_uint8 * nbytes).from_address(address))


def _restore(arrays: Sequence[np.ndarray], values: Sequence[np.ndarray]) -> None:
    for a, value in zip(arrays, values, strict=True):
        a[:] = value


def _difference(writable: Writable, first: np.ndarray, second: np.ndarray) -> str | None:
    if np.array_equal(first, second):
        return None
    unit, dtype = ("element", writable.dtype) if writable.dtype.itemsize else ("byte", np.dtype(np.uint8))
    i = np.argmax(first != second) // dtype.itemsize
    a, b = (values[i * dtype.itemsize :][: dtype.itemsize].view(dtype)[0] for values in (first, second))
    return f"{writable.name} at {unit} {i} is {a} after the ascending order, {b} after the shuffled one"
