"""The matrix product."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from types import ModuleType
from typing import Any

import numpy as np

from gpunet import ops
from gpunet.bench.case import Call, Case, DType, Operand, Size, blank
from gpunet.device import Array
from gpunet.ops._matmul_plan import KERNEL_NAMES
from gpunet.ops.tuned import Product

PRODUCTS = ("blas", *KERNEL_NAMES)
"""The kernels of the matrix product, the library first."""


def matmul(size: Size, dtype: DType) -> Iterator[Case]:
    """Yield c = op(a)·op(b) in the three layouts of a layer's products."""
    for layout in ("NN", "NT", "TN"):
        yield matmul_case(layout, size, dtype)


def matmul_case(layout: str, size: Size, dtype: DType) -> Case:
    """Return the case of one layout: "NN", "NT" or "TN"."""
    m, n, k = size
    flip_a, flip_b = (letter == "T" for letter in layout)

    def prepare(kernel: str, xp: ModuleType, a: Array, b: Array) -> Call:
        c = blank(xp, (m, n), dtype)
        return lambda: (ops.matmul(a, b, transpose_a=flip_a, transpose_b=flip_b, out=c, kernel=kernel),)

    def arguments(xp: ModuleType, a: Array, b: Array) -> tuple[dict[str, Any], tuple[Array, ...]]:
        c = blank(xp, (m, n), dtype)
        sizes = {"m": m, "n": n, "k": k, "stride_a": 0, "stride_b": 0, "parameter": 0.0}
        return {"a": a, "b": b, "bias": None, "saved": None, "preactivation": None, "c": c, **sizes}, (c,)

    return Case(
        op="matmul",
        variant=layout,
        size="x".join(map(str, size)),
        dtype=dtype,
        operands={"a": Operand((k, m) if flip_a else (m, k)), "b": Operand((n, k) if flip_b else (k, n))},
        reference=lambda a, b: (np.matmul(a.T if flip_a else a, b.T if flip_b else b),),
        kernels={name: partial(prepare, name) for name in PRODUCTS},
        flops=2 * m * n * k,
        nbytes=dtype.itemsize * (m * k + k * n + m * n),
        terms=k,
        unit="FLOP/s",
        arguments=arguments,
        products=[Product.of(m, n, k, layout, dtype)],
        options={"TRANSPOSE_A": int(flip_a), "TRANSPOSE_B": int(flip_b)},
    )
