"""The matrix product of the BLAS library that NumPy uses, called by its C pointer.

A call by pointer takes half a microsecond less than `np.dot`, and a native program can make it without Python.
"""

from __future__ import annotations

import ctypes
import functools
from typing import Any, NamedTuple

import numpy as np

TRIED = (  # prefix and suffix of the symbols, the C type of their integers
    ("scipy_", "64_", "int64_t"),  # OpenBLAS of NumPy's wheels
    ("", "64_", "int64_t"),  # a distribution's OpenBLAS with 64-bit integers
    ("scipy_", "", "int"),
    ("", "", "int"),  # a distribution's OpenBLAS, MKL, BLIS
)


TILES = (16, 12)
"""Rows of a tile of BLAS: 12 in OpenBLAS's float32 kernels for AVX2; 4, 8 or 16 in those for other processors."""


class Blas(NamedTuple):
    """A BLAS library in this process.

    Attributes:
        integer: the C type of its integers.
        gemm: the addresses of cblas_sgemm and cblas_dgemm, by dtype.
        get_threads, set_threads: the addresses of the functions that return and set its number of threads, or 0.
    """

    path: str
    integer: str
    gemm: dict[np.dtype[Any], int]
    get_threads: int
    set_threads: int


@functools.cache
def find_blas() -> Blas | None:
    """Return the library that NumPy uses, or None if no callable one is found."""
    try:
        from threadpoolctl import threadpool_info
    except ImportError:
        return None
    found = [info["filepath"] for info in threadpool_info() if info["user_api"] == "blas"]
    found.sort(key=lambda path: "numpy" not in path)  # SciPy's wheels bring their own
    for path in found:
        if (blas := _opened(path)) is not None and _is_right(blas):
            return blas
    return None


@functools.cache
def tile_rows() -> int:
    """Return the rows of a tile of NumPy's BLAS, or a multiple of them.

    BLAS may sum the remaining rows of a product in another order. So a product is tried in parts of each size.
    """
    rng = np.random.default_rng(0)
    a, b = rng.random((48, 256), np.float32) - 0.5, rng.random((256, 16), np.float32) - 0.5
    for rows in TILES:
        if np.array_equal(np.vstack([part @ b for part in np.split(a, 48 // rows)]), a @ b):
            return rows
    return TILES[0]


def _opened(path: str) -> Blas | None:
    library = ctypes.CDLL(path)
    for prefix, suffix, integer in TRIED:
        gemm = {
            np.dtype(dtype): _address(library, f"{prefix}cblas_{letter}gemm{suffix}")
            for letter, dtype in (("s", np.float32), ("d", np.float64))
        }
        if all(gemm.values()):
            threads = [
                _address(library, f"{prefix}openblas_{verb}_num_threads{suffix}")
                or _address(library, {"get": "MKL_Get_Max_Threads", "set": "MKL_Set_Num_Threads"}[verb])
                for verb in ("get", "set")
            ]
            return Blas(path, integer, gemm, *threads)
    return None


def _address(library: ctypes.CDLL, name: str) -> int:
    try:
        return ctypes.cast(getattr(library, name), ctypes.c_void_p).value or 0
    except AttributeError:
        return 0


def _is_right(blas: Blas) -> bool:
    """Return whether the library multiplies correctly, as its symbol names may suggest the wrong integer size."""
    integer: Any = ctypes.c_int64 if blas.integer == "int64_t" else ctypes.c_int
    rng = np.random.default_rng(0)
    for dtype, real in ((np.float32, ctypes.c_float), (np.float64, ctypes.c_double)):
        a, b, c = rng.random((3, 4), dtype), rng.random((4, 5), dtype), np.zeros((3, 5), dtype)
        kinds = [ctypes.c_int] * 3 + [integer] * 3 + [real, ctypes.c_void_p, integer, ctypes.c_void_p, integer]
        gemm = ctypes.CFUNCTYPE(None, *kinds, real, ctypes.c_void_p, integer)(blas.gemm[np.dtype(dtype)])
        gemm(101, 111, 111, 3, 5, 4, 1.0, a.ctypes.data, 4, b.ctypes.data, 5, 0.0, c.ctypes.data, 5)
        if not np.allclose(c, a @ b, rtol=1e-5):
            return False
    return True
