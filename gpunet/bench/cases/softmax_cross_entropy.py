"""The loss of a classifier and its gradient in one pass."""

from __future__ import annotations

from collections.abc import Iterator
from types import ModuleType

import numpy as np

from gpunet import ops
from gpunet.bench.case import Call, Case, DType, Operand, Size
from gpunet.device import Array
from gpunet.tape import Tape


def softmax_cross_entropy(size: Size, dtype: DType) -> Iterator[Case]:
    """Yield the mean cross-entropy of logits and labels with its gradient."""
    rows, classes = size

    def expression(xp: ModuleType, logits: Array, labels: Array) -> Call:
        numbers = xp.arange(rows)

        def call() -> tuple[Array, ...]:
            shifted = logits - logits.max(axis=1, keepdims=True)
            powers = xp.exp(shifted)
            total = powers.sum(axis=1, keepdims=True)
            loss = (xp.log(total).sum() - shifted[numbers, labels].sum()) / rows
            dlogits = powers / (total * rows)
            dlogits[numbers, labels] -= 1 / rows
            return loss, dlogits

        return call

    def fused(xp: ModuleType, logits: Array, labels: Array) -> Call:
        tape = Tape()

        def call() -> tuple[Array, ...]:
            tape.reset()
            return ops.softmax_cross_entropy(logits, labels, tape=tape)

        return call

    yield Case(
        op="softmax-cross-entropy",
        variant="labels",
        size=f"{rows}x{classes}",
        dtype=dtype,
        operands={"logits": Operand(size), "labels": Operand((rows,), classes)},
        reference=lambda logits, labels: expression(np, logits, labels)(),
        kernels={"array": expression, "gpunet": fused},
        flops=6 * rows * classes,
        nbytes=dtype.itemsize * 2 * rows * classes + 8 * rows,
        terms=max(size),
        unit="B/s",
    )
