"""Bias and activation in one pass."""

from __future__ import annotations

from collections.abc import Iterator
from types import ModuleType
from typing import Any

import numpy as np

from gpunet import ops
from gpunet.bench.case import Call, Case, DType, Operand, Size, blank
from gpunet.device import Array
from gpunet.tape import Tape


def bias_activation(size: Size, dtype: DType) -> Iterator[Case]:
    """Yield y = relu(z + bias), and its gradients dz, dbias."""
    rows, n = size

    def expression(xp: ModuleType, z: Array, bias: Array) -> Call:
        return lambda: (xp.maximum(z + bias, 0),)

    def forward(xp: ModuleType, z: Array, bias: Array) -> Call:
        out = blank(xp, size, dtype)
        return lambda: (ops.bias_activation(z, bias, "relu", out=out),)

    def arguments(xp: ModuleType, z: Array, bias: Array) -> tuple[dict[str, Any], tuple[Array, ...]]:
        y = blank(xp, size, dtype)
        given = {"z": z, "bias": bias, "preactivation": None, "y": y}
        return {**given, "rows": rows, "n": n, "parameter": 0.0}, (y,)

    def gradient_expression(xp: ModuleType, dy: Array, saved: Array) -> Call:
        def call() -> tuple[Array, ...]:
            dz = dy * (saved > 0)
            return dz, dz.sum(axis=0)

        return call

    def backward(xp: ModuleType, dy: Array, saved: Array) -> Call:
        dbias, tape = blank(xp, (n,), dtype), Tape()

        def call() -> tuple[Array, ...]:
            tape.reset()
            return ops.bias_activation_backward(dy, saved, "relu", dbias=dbias, tape=tape)

        return call

    common: dict[str, Any] = {"op": "bias-activation", "size": f"{rows}x{n}", "dtype": dtype, "unit": "B/s"}
    yield Case(
        **common,
        variant="forward",
        operands={"z": Operand(size), "bias": Operand((n,))},
        reference=lambda z, bias: (np.maximum(z + bias, 0),),
        kernels={"array": expression, "gpunet": forward},
        flops=2 * rows * n,
        nbytes=dtype.itemsize * (2 * rows * n + n),
        terms=1,
        arguments=arguments,
        options={"ACTIVATION": "relu"},
    )
    yield Case(
        **common,
        variant="backward",
        operands={"dy": Operand(size), "saved": Operand(size)},
        reference=lambda dy, saved: (dy * (saved > 0), (dy * (saved > 0)).sum(axis=0)),
        kernels={"array": gradient_expression, "gpunet": backward},
        flops=2 * rows * n,
        nbytes=dtype.itemsize * (3 * rows * n + n),
        terms=rows,
    )
