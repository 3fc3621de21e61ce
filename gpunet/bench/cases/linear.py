"""The linear layer: matrix product, bias and activation in one."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from types import ModuleType

import numpy as np

from gpunet import ops
from gpunet.bench.case import Call, Case, DType, Operand, Size, blank
from gpunet.bench.cases.matmul import PRODUCTS
from gpunet.device import Array
from gpunet.ops.tuned import Product
from gpunet.tape import Tape


def linear(size: Size, dtype: DType) -> Iterator[Case]:
    """Yield y = relu(x·W + bias), and its gradients dx, dW, dbias."""
    yield _forward(size, dtype)
    yield _backward(size, dtype)


def _forward(size: Size, dtype: DType) -> Case:
    rows, n_in, n_out = size

    def prepare(kernel: str, xp: ModuleType, x: Array, weight: Array, bias: Array) -> Call:
        out = blank(xp, (rows, n_out), dtype)

        def call() -> tuple[Array, ...]:
            with ops.use_kernel(kernel):
                return (ops.linear(x, weight, bias, "relu", out=out),)

        return call

    return Case(
        op="linear",
        variant="forward",
        size="x".join(map(str, size)),
        dtype=dtype,
        operands={"x": Operand((rows, n_in)), "weight": Operand((n_in, n_out)), "bias": Operand((n_out,))},
        reference=lambda x, weight, bias: (np.maximum(x @ weight + bias, 0),),
        kernels={name: partial(prepare, name) for name in PRODUCTS},
        flops=2 * rows * n_in * n_out,
        nbytes=dtype.itemsize * (rows * n_in + n_in * n_out + n_out + rows * n_out),
        terms=n_in,
        unit="FLOP/s",
        products=[Product.of(rows, n_out, n_in, "NN", dtype)],
    )


def _backward(size: Size, dtype: DType) -> Case:
    rows, n_in, n_out = size
    x, weight, y = Operand((rows, n_in)), Operand((n_in, n_out)), Operand((rows, n_out))

    def prepare(kernel: str, xp: ModuleType, dy: Array, x: Array, weight: Array, saved: Array) -> Call:
        dweight, dbias, tape = blank(xp, (n_in, n_out), dtype), blank(xp, (n_out,), dtype), Tape()

        def call() -> tuple[Array, ...]:
            tape.reset()
            with ops.use_kernel(kernel):
                dx, _, _ = ops.linear_backward(dy, x, weight, saved, "relu", dweight=dweight, dbias=dbias, tape=tape)
            assert dx is not None
            return dx, dweight, dbias

        return call

    def reference(dy: Array, x: Array, weight: Array, saved: Array) -> tuple[np.ndarray, ...]:
        dz = dy * (saved > 0)
        return dz @ weight.T, x.T @ dz, dz.sum(axis=0)

    return Case(
        op="linear",
        variant="backward",
        size="x".join(map(str, size)),
        dtype=dtype,
        operands={"dy": y, "x": x, "weight": weight, "saved": y},
        reference=reference,
        kernels={name: partial(prepare, name) for name in PRODUCTS},
        flops=4 * rows * n_in * n_out,
        nbytes=dtype.itemsize * (2 * (rows * n_in + n_in * n_out + rows * n_out) + n_out),
        terms=max(rows, n_out),
        unit="FLOP/s",
        products=[Product.of(rows, n_in, n_out, "NT", dtype), Product.of(n_in, n_out, rows, "TN", dtype)],
    )
