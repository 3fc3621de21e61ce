"""Run a kernel of `kernels/` on host arrays, on the CPU, in the simulator's check mode."""

import functools
from pathlib import Path

import numpy as np

from gpunet.cuda import CTYPES, NULL, Kernel, read_source
from gpunet.simulator.engine import Counts, Library, load
from gpunet.simulator.module import SOURCE
from gpunet.simulator.parameters import Buffer

DTYPES = [np.dtype(np.float32), np.dtype(np.float64)]


class Uninitialized(np.ndarray):
    """An array whose bytes a kernel must write before it reads them."""

    written: np.ndarray


def uninitialized(shape: int | tuple[int, ...], dtype: np.dtype) -> Uninitialized:
    a = np.empty(shape, dtype).view(Uninitialized)
    a.view(np.uint8).fill(0xFF) if a.size else None
    a.written = np.zeros(a.nbytes, np.uint8)
    return a


def run(kernel: Kernel, grid: tuple[int, ...], block: tuple[int, ...], *args, options=None, mode="check") -> Counts:
    """Launch `kernel` with arguments checked as on a GPU; every finding of check mode is an exception."""
    values, dtype = kernel.check(grid, block, *args)
    macros = {"REAL": CTYPES[dtype], **(options or {})}
    library = _library(kernel.path, tuple(f"-D{key}={value}" for key, value in macros.items()), mode)
    return library.kernels[kernel.name].launch(grid, block, [_argument(value) for value in values])


@functools.cache
def _library(path: Path, options: tuple[str, ...], mode: str) -> Library:
    return load(read_source(path), SOURCE, options, mode)  # with the operations' options, to share the cached library


def _argument(value):
    if value is NULL:
        return None
    if not isinstance(value, np.ndarray):
        return value
    flags = value.written.ctypes.data if isinstance(value, Uninitialized) else 0
    return Buffer(value.ctypes.data, value.nbytes, flags)


def partial_sums(blocks: int, dtype: np.dtype) -> tuple[np.ndarray | None, np.ndarray | None]:
    """Return the buffers of a sum over blocks."""
    return (None, None) if blocks == 1 else (uninitialized(blocks, dtype), np.zeros(1, np.uint32))
