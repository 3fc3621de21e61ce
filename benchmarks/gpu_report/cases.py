"""Benchmark cases for kernels that `gpunet bench` does not cover: dropout, gather, elementwise losses, sums."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from types import ModuleType
from typing import Any

import numpy as np

from gpunet import ops
from gpunet.bench.case import Call, Case, Operand
from gpunet.device import Array
from gpunet.ops._bias_activation import sum_columns
from gpunet.tape import Tape

P = 0.5
Results = tuple[Array, ...]


def cases(rows: int, n: int) -> Iterator[Case]:
    """Yield the cases for arrays (rows, n)."""
    x, column = Operand((rows, n)), Operand((rows,))
    pair = {"p": x, "t": x}
    case = partial(_case, (rows, n))
    yield case("dropout", "forward", {"x": x}, None, _dropout, 9)
    yield case("dropout", "backward", {"dy": x, "keep": Operand((rows, n), 2)}, _dropped, _dropout_backward, 9)
    yield case("gather", "", {"x": x, "index": Operand((rows,), rows)}, _taken, _gather, 8)
    yield case("sum", "columns", {"x": x}, lambda xp, x: (x.sum(axis=0),), _sum_columns, 4)
    yield case("loss", "mse", pair, _squared, _squared_loss, 12)
    yield case("loss", "weighted", pair | {"weight": column}, _weighted, _squared_loss, 12)
    yield case("loss", "huber", pair, _huber, _huber_loss, 12)
    yield case("loss", "binary", {"p": x, "probability": x}, _binary, _binary_loss, 12)
    yield case("loss", "soft", {"p": x, "distribution": x}, _cross_entropy, _distribution_loss, 12)


PREPARED: dict[str, Callable[[Array], Array]] = {
    "keep": lambda a: a > 0,
    "weight": lambda a: a * a,
    "probability": lambda a: a * a / (1 + a * a),
    "distribution": lambda a: a * a / (a * a).sum(axis=1, keepdims=True),
}
"""Functions that derive an operand from random numbers, before anything is timed."""


def _case(
    shape: tuple[int, int],
    op: str,
    variant: str,
    operands: dict[str, Operand],
    expression: Callable[..., Results] | None,
    fused: Callable[..., Results],
    nbytes: int,
) -> Case:
    """Return a case with gpunet's kernel and, if given, an array expression.

    Args:
        shape: the shape of the arrays.
        op: the operation, see `Case`.
        variant: the variant of the operation, see `Case`.
        operands: the inputs, see `Case`.
        expression: computes the results with array code; also the reference. If None, gpunet on the CPU is.
        fused: computes the results with gpunet's kernel.
        nbytes: the bytes of memory traffic for each element.
    """

    def array(xp: ModuleType, **given: Array) -> Call:
        given = _prepared(given)
        return lambda: expression(xp, **given)  # type: ignore[misc]

    def gpunet(xp: ModuleType, **given: Array) -> Call:
        given, tape = _prepared(given), Tape(seed=3)

        def call() -> Results:
            tape.reset(step=1)  # the same dropout mask on every call
            return fused(xp, tape, **given)

        return call

    reference: Any = array if expression else gpunet
    rows, n = shape
    return Case(
        op=op,
        variant=variant,
        size=f"{rows}x{n}",
        dtype=np.dtype(np.float32),
        operands=operands,
        reference=lambda **given: reference(np, **given)(),
        kernels=({"array": array} if expression else {}) | {"gpunet": gpunet},
        flops=rows * n,
        nbytes=nbytes * rows * n,
        terms=max(shape),
        unit="B/s",
    )


def _prepared(given: dict[str, Array]) -> dict[str, Array]:
    return {name: PREPARED[name](a) if name in PREPARED else a for name, a in given.items()}


def _dropout(xp: ModuleType, tape: Tape, x: Array) -> Results:
    return ops.dropout(x, P, tape)[:1]


def _dropped(xp: ModuleType, dy: Array, keep: Array) -> Results:
    return (dy * keep * (1 / (1 - P)),)


def _dropout_backward(xp: ModuleType, tape: Tape, dy: Array, keep: Array) -> Results:
    return (ops.dropout_backward(dy, keep, P, tape),)


def _taken(xp: ModuleType, x: Array, index: Array) -> Results:
    return (x[index],)


def _gather(xp: ModuleType, tape: Tape, x: Array, index: Array) -> Results:
    return (ops.gather(x, index, tape=tape),)


def _sum_columns(xp: ModuleType, tape: Tape, x: Array) -> Results:
    return (sum_columns(x, None, tape, xp),)


def _squared(xp: ModuleType, p: Array, t: Array) -> Results:
    d = p - t
    return (d * d).mean(), d * (2 / d.size)


def _weighted(xp: ModuleType, p: Array, t: Array, weight: Array) -> Results:
    d, share = p - t, (weight / (weight.sum() * p.shape[1]))[:, None]
    return (d * d * share).sum(), 2 * d * share


def _squared_loss(xp: ModuleType, tape: Tape, p: Array, t: Array, weight: Array | None = None) -> Results:
    return ops.mean_squared_error(p, t, weight=weight, tape=tape)


def _huber(xp: ModuleType, p: Array, t: Array) -> Results:
    d = p - t
    clipped = xp.clip(d, -1, 1)
    return (clipped * (d - 0.5 * clipped)).mean(), clipped * (1 / d.size)


def _huber_loss(xp: ModuleType, tape: Tape, p: Array, t: Array) -> Results:
    return ops.huber(p, t, 1.0, tape=tape)


def _binary(xp: ModuleType, p: Array, probability: Array) -> Results:
    loss = xp.maximum(p, 0) - p * probability + xp.log1p(xp.exp(-xp.abs(p)))
    return loss.mean(), (1 / (1 + xp.exp(-p)) - probability) * (1 / p.size)


def _binary_loss(xp: ModuleType, tape: Tape, p: Array, probability: Array) -> Results:
    return ops.binary_cross_entropy(p, probability, tape=tape)


def _cross_entropy(xp: ModuleType, p: Array, distribution: Array) -> Results:
    shifted = p - p.max(axis=1, keepdims=True)
    powers = xp.exp(shifted)
    total = powers.sum(axis=1, keepdims=True)
    loss = ((xp.log(total) - shifted) * distribution).sum() / len(p)
    return loss, (powers / total - distribution) * (1 / len(p))


def _distribution_loss(xp: ModuleType, tape: Tape, p: Array, distribution: Array) -> Results:
    return ops.softmax_cross_entropy(p, distribution, tape=tape)
