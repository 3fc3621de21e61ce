"""Call a kernel of `kernels/cpu/` on host arrays, with a given division of the work."""

import ctypes
import functools
import itertools
from collections.abc import Callable
from pathlib import Path

import numpy as np

from gpunet.device import kernels_path
from gpunet.native.kernel import Kernel

DTYPES = [np.dtype(np.float32), np.dtype(np.float64)]
FOLDER = kernels_path() / "cpu"

Parts = list[tuple[int, int]]


def run(folder: Path, source: str, name: str, *args, parts: Parts, options: dict[str, str] | None = None) -> None:
    """Call the kernel of a source in `folder` once for each part (begin, end)."""
    node = _kernel(folder / source, name).bind(*args, options=options)
    if folder != FOLDER:  # a kernel with a planted fault, called once
        node.flags = (*node.flags, "-O0")
    function = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64)(node.function())
    for begin, end in parts:
        function(node.slots.ctypes.data, begin, end)


@functools.cache
def _kernel(path: Path, name: str) -> Kernel:
    return Kernel(path, name)  # cached, so that the declaration is parsed once


def divided(
    count: int, compute: Callable[[Parts], tuple[np.ndarray, ...]], exact: bool = True
) -> tuple[np.ndarray, ...]:
    """Return the results of `compute` for `count` rows or elements in one part; check that other divisions agree.

    If not `exact`, they agree up to rounding: the product that a compiler fuses with a sum may differ between a vector
    loop and its remainder.
    """
    whole = compute([(0, count)])
    cuts = [sorted({0, 1, count // 3, count - 1, count}), sorted({0, count // 2, count})]
    for own in cuts if count > 1 else []:
        parts = list(itertools.pairwise(own))
        for a, b in zip(compute(parts[::-1]), whole, strict=True):
            if exact:
                assert a.tobytes() == b.tobytes(), f"the bits differ when the work is divided into {parts}"
            else:
                assert_close(a, b)
    return whole


def undefined(shape: int | tuple[int, ...], dtype: np.dtype | type) -> np.ndarray:
    """Return an array for a kernel to write, filled with bytes 0xFF (NaN as floats)."""
    a = np.empty(shape, dtype)
    a.reshape(-1).view(np.uint8).fill(0xFF)
    return a


def assert_close(actual: np.ndarray, expected: np.ndarray, scale: float = 1.0) -> None:
    """Check that two arrays agree up to some units in the last place, and exactly in NaN and infinity."""
    eps = np.finfo(actual.dtype).eps * scale
    np.testing.assert_allclose(actual, expected, rtol=32 * eps, atol=16 * eps)
