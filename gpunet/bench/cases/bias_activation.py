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
    yield _forward(size, dtype)
    yield _backward(size, dtype)


def _forward(size: Size, dtype: DType) -> Case:
    rows, n = size

    def expression(xp: ModuleType, z: Array, bias: Array) -> Call:
        return lambda: (xp.maximum(z + bias, 0),)

    def fused(xp: ModuleType, z: Array, bias: Array) -> Call:
        out = blank(xp, size, dtype)
        return lambda: (ops.bias_activation(z, bias, "relu", out=out),)

    def arguments(xp: ModuleType, z: Array, bias: Array) -> tuple[dict[str, Any], tuple[Array, ...]]:
        y = blank(xp, size, dtype)
        given = {"z": z, "bias": bias, "preactivation": None, "y": y}
        return {**given, "rows": rows, "n": n, "parameter": 0.0}, (y,)

    return Case(
        op="bias-activation",
        variant="forward",
        size=f"{rows}x{n}",
        dtype=dtype,
        operands={"z": Operand(size), "bias": Operand((n,))},
        reference=lambda z, bias: (np.maximum(z + bias, 0),),
        kernels={"array": expression, "gpunet": fused},
        flops=2 * rows * n,
        nbytes=dtype.itemsize * (2 * rows * n + n),
        terms=1,
        unit="B/s",
        arguments=arguments,
        options={"ACTIVATION": "relu"},
    )


def _backward(size: Size, dtype: DType) -> Case:
    rows, n = size

    def expression(xp: ModuleType, dy: Array, saved: Array) -> Call:
        def call() -> tuple[Array, ...]:
            dz = dy * (saved > 0)
            return dz, dz.sum(axis=0)

        return call

    def fused(xp: ModuleType, dy: Array, saved: Array) -> Call:
        dbias, tape = blank(xp, (n,), dtype), Tape()

        def call() -> tuple[Array, ...]:
            tape.reset()
            return ops.bias_activation_backward(dy, saved, "relu", dbias=dbias, tape=tape)

        return call

    return Case(
        op="bias-activation",
        variant="backward",
        size=f"{rows}x{n}",
        dtype=dtype,
        operands={"dy": Operand(size), "saved": Operand(size)},
        reference=lambda dy, saved: expression(np, dy, saved)(),
        kernels={"array": expression, "gpunet": fused},
        flops=2 * rows * n,
        nbytes=dtype.itemsize * (3 * rows * n + n),
        terms=rows,
        unit="B/s",
    )
