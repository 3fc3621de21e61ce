"""The linear layer: matrix product, bias and activation in one."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from types import ModuleType
from typing import Any

import numpy as np

from gpunet import ops
from gpunet.bench.case import Call, Case, DType, Operand, Size, blank
from gpunet.bench.cases.matmul import PRODUCTS
from gpunet.device import Array
from gpunet.ops.tuned import Product
from gpunet.tape import Tape


def linear(size: Size, dtype: DType) -> Iterator[Case]:
    """Yield y = relu(x·W + bias), and its gradients dx, dW, dbias."""
    rows, n_in, n_out = size
    x, weight, bias, y = (rows, n_in), (n_in, n_out), (n_out,), (rows, n_out)
    words = rows * n_in + n_in * n_out + n_out + rows * n_out

    def forward(kernel: str, xp: ModuleType, x: Array, weight: Array, bias: Array) -> Call:
        out = blank(xp, y, dtype)

        def call() -> tuple[Array, ...]:
            with ops.use_kernel(kernel):
                return (ops.linear(x, weight, bias, "relu", out=out),)

        return call

    def backward(kernel: str, xp: ModuleType, dy: Array, x: Array, weight: Array, saved: Array) -> Call:
        dweight, dbias, tape = blank(xp, weight.shape, dtype), blank(xp, bias, dtype), Tape()

        def call() -> tuple[Array, ...]:
            tape.reset()
            with ops.use_kernel(kernel):
                dx, _, _ = ops.linear_backward(dy, x, weight, saved, "relu", dweight=dweight, dbias=dbias, tape=tape)
            assert dx is not None
            return dx, dweight, dbias

        return call

    def gradients(dy: Array, x: Array, weight: Array, saved: Array) -> tuple[np.ndarray, ...]:
        dz = dy * (saved > 0)
        return dz @ weight.T, x.T @ dz, dz.sum(axis=0)

    common: dict[str, Any] = {"op": "linear", "size": "x".join(map(str, size)), "dtype": dtype, "unit": "FLOP/s"}
    yield Case(
        **common,
        variant="forward",
        operands={"x": Operand(x), "weight": Operand(weight), "bias": Operand(bias)},
        reference=lambda x, weight, bias: (np.maximum(x @ weight + bias, 0),),
        kernels={name: partial(forward, name) for name in PRODUCTS},
        flops=2 * rows * n_in * n_out,
        nbytes=dtype.itemsize * words,
        terms=n_in,
        products=[Product.of(rows, n_out, n_in, "NN", dtype)],
    )
    yield Case(
        **common,
        variant="backward",
        operands={"dy": Operand(y), "x": Operand(x), "weight": Operand(weight), "saved": Operand(y)},
        reference=gradients,
        kernels={name: partial(backward, name) for name in PRODUCTS},
        flops=4 * rows * n_in * n_out,
        nbytes=dtype.itemsize * (words + rows * n_in + n_in * n_out + rows * n_out),
        terms=max(rows, n_out),
        products=[Product.of(rows, n_in, n_out, "NT", dtype), Product.of(n_in, n_out, rows, "TN", dtype)],
    )
