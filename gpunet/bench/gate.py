"""Compare a kernel's results with the float64 reference before it is timed."""

from __future__ import annotations

import os
from collections.abc import Sequence

import numpy as np
from numpy.typing import DTypeLike

from gpunet.bench.case import Case

FACTOR = 8
"""Tolerance in units of √n roundings. With random signs the rounding errors of a sum of n terms grow as √n; eight times
that is more than the error of any correct kernel, and far less than that of a missing or wrong term."""

TF32_EPS = 2.0**-10
"""The spacing near one of TF32 numbers, to which tensor cores round float32 operands."""


def reference(case: Case, inputs: dict[str, np.ndarray]) -> tuple[np.ndarray, ...]:
    """Return the results of a case in float64."""
    double = {name: a.astype(np.float64) if a.dtype.kind == "f" else a for name, a in inputs.items()}
    return case.reference(**double)


def eps_of(case: Case, kernel: str) -> float:
    """Return the spacing of numbers near one in a kernel's arithmetic."""
    library = kernel == next(iter(case.kernels)) and library_uses_tf32(case.dtype)
    return TF32_EPS if kernel == "mma" or library else float(np.finfo(case.dtype).eps)


def library_uses_tf32(dtype: DTypeLike) -> bool:
    """Return whether cuBLAS multiplies in TF32, as float32 products of CuPy do with CUPY_TF32=1."""
    return np.dtype(dtype) == np.float32 and os.environ.get("CUPY_TF32") == "1"


def relative_error(results: Sequence[np.ndarray], expected: Sequence[np.ndarray]) -> float:
    """Return the largest |result - expected| / |expected| of all results, in Euclidean norms.

    A result whose expected values are all zero is skipped.
    """
    pairs = zip(results, expected, strict=True)
    norms = [(np.linalg.norm(got - wanted), np.linalg.norm(wanted)) for got, wanted in pairs]
    return max((float(off / norm) for off, norm in norms if norm), default=0.0)


def fault(results: Sequence[np.ndarray], expected: Sequence[np.ndarray], *, terms: int, eps: float) -> str:
    """Return the fault of a kernel's results.

    An element may be off by 8·eps·√terms·(|expected| + the root mean square of all expected elements). NaN is wrong.

    Args:
        expected: the reference results in float64.
        terms: length of the longest sums.
        eps: see `eps_of`.
    """
    for number, (got, wanted) in enumerate(zip(results, expected, strict=True)):
        if got.shape != wanted.shape:
            return f"result {number} has shape {got.shape}, expected {wanted.shape}"
        if wanted.size == 0:
            continue
        scale = np.sqrt(np.square(wanted).mean())
        with np.errstate(invalid="ignore"):
            errors = np.abs(got - wanted) / (np.abs(wanted) + scale)
        bound = FACTOR * eps * max(terms, 1) ** 0.5
        off = ~(errors <= bound)
        if off.any():
            place = np.unravel_index(np.argmax(np.where(np.isnan(errors), np.inf, errors)), wanted.shape)
            return (
                f"{off.sum():,} of {off.size:,} elements of result {number} are off, worst at "
                f"{tuple(map(int, place))}: {got[place]:.6g}, expected {wanted[place]:.6g}"
            )
    return ""
