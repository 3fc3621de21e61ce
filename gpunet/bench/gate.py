"""The correctness gate: what a kernel computes, held against the reference in float64, before it is timed."""

from __future__ import annotations

import os
from collections.abc import Sequence

import numpy as np

from gpunet.bench.case import Case

FACTOR = 8
"""Random signs let the rounding errors of a sum of n terms grow as √n; eight of those are beyond any right kernel, and
far below a term that is missing or wrong."""

TF32_EPS = 2.0**-10
"""The spacing of the numbers that a tensor core multiplies in TF32."""


def reference(case: Case, inputs: dict[str, np.ndarray]) -> tuple[np.ndarray, ...]:
    """Return the results of a case in float64."""
    double = {name: a.astype(np.float64) if a.dtype.kind == "f" else a for name, a in inputs.items()}
    return case.reference(**double)


def eps_of(case: Case, kernel: str) -> float:
    """Return the spacing of numbers near one in the arithmetic of a kernel.

    CuPy lets cuBLAS compute float32 products in TF32 where the environment says CUPY_TF32=1.
    """
    library = kernel == next(iter(case.kernels)) and os.environ.get("CUPY_TF32") == "1"
    tf32 = kernel == "mma" or (library and case.dtype == np.float32)
    return TF32_EPS if tf32 else float(np.finfo(case.dtype).eps)


def relative_error(results: Sequence[np.ndarray], expected: Sequence[np.ndarray]) -> float:
    """Return the largest of |result - expected| / |expected|, in Euclidean norms; 0 where nothing is expected."""
    pairs = zip(results, expected, strict=True)
    norms = [(np.linalg.norm(got - wanted), np.linalg.norm(wanted)) for got, wanted in pairs]
    return max((float(off / norm) for off, norm in norms if norm), default=0.0)


def fault(results: Sequence[np.ndarray], expected: Sequence[np.ndarray], *, terms: int, eps: float) -> str:
    """Say what is wrong with the results of a kernel; "" where they are right.

    An element may be off by 8·eps·√terms·(|expected| + the root mean square of all that is expected). NaN is wrong.

    Args:
        results: what a kernel computed.
        expected: the same in float64.
        terms: the length of its longest sums.
        eps: of its arithmetic.
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
                f"{off.sum():,} of {off.size:,} elements of result {number} are off, most at {tuple(map(int, place))}: "
                f"{got[place]:.6g}, expected {wanted[place]:.6g}"
            )
    return ""
