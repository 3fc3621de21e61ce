"""The update rules over flat buffers of parameters."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

import numpy as np

from gpunet.bench.case import Call, Case, DType, Operand, Size
from gpunet.default_device import use_device
from gpunet.device import Array, device_of
from gpunet.layers import Linear
from gpunet.optimizers import SGD, Adam, Optimizer, RMSprop

LR = 0.01
STEP = 10


def optimizer(size: Size, dtype: DType) -> Iterator[Case]:
    """Yield the tenth step of SGD with momentum, Adam and RMSprop over n parameters."""
    yield _optimizer(SGD, {"momentum": 0.9}, _sgd, 5, 4, size, dtype)
    yield _optimizer(Adam, {}, _adam, 7, 12, size, dtype)
    yield _optimizer(RMSprop, {}, _rmsprop, 5, 9, size, dtype)


def _sgd(p: Array, g: Array, velocity: Array) -> None:
    velocity *= 0.9
    velocity += g
    p -= LR * velocity


def _adam(p: Array, g: Array, m: Array, v: Array) -> None:
    m *= 0.9
    m += g
    v *= 0.999
    v += g * g
    p -= (LR * 0.1 / (1 - 0.9**STEP)) * m / ((v * (0.001 / (1 - 0.999**STEP))) ** 0.5 + 1e-8)


def _rmsprop(p: Array, g: Array, v: Array) -> None:
    v *= 0.99
    v += 0.01 * g * g
    p -= LR * g / (v**0.5 + 1e-8)


def _optimizer(
    rule: type[Optimizer],
    config: dict[str, Any],
    update: Callable[..., None],
    words: int,
    flops: int,
    size: Size,
    dtype: DType,
) -> Case:
    (n,) = size
    slots = rule(LR, **config).slot_names

    def state(p: Array, g: Array, **drawn: Array) -> dict[str, Array]:
        return {name: a * a if name == "v" else a.copy() for name, a in drawn.items()}  # v is a mean of squares

    def expression(xp: ModuleType, p: Array, g: Array, **drawn: Array) -> Call:
        p, kept = p.copy(), state(p, g, **drawn)

        def call() -> tuple[Array, ...]:
            update(p, g, **kept)
            return p, *kept.values()

        return call

    def gpunet(xp: ModuleType, p: Array, g: Array, **drawn: Array) -> Call:
        with use_device(device_of(p)):
            layer = Linear(n, 1, bias=False).to(dtype=dtype)
        stepper = rule(LR, **config).attach(layer)
        stepper.steps = STEP - 1
        store = layer.store
        buffers = {"p": store.params[:n], "g": store.grads[:n], **{name: store.slots[name][:n] for name in slots}}
        for name, a in {"p": p, "g": g, **state(p, g, **drawn)}.items():
            buffers[name][...] = a

        def call() -> tuple[Array, ...]:
            stepper.step()
            return buffers["p"], *(buffers[name] for name in slots)

        return call

    return Case(
        op="optimizer",
        variant=rule.__name__,
        size=str(n),
        dtype=dtype,
        operands={name: Operand((n,)) for name in ("p", "g", *slots)},
        reference=lambda **operands: expression(np, **operands)(),
        kernels={"array": expression, "gpunet": gpunet},
        flops=flops * n,
        nbytes=words * dtype.itemsize * n,
        terms=100,  # 1 - β2^t is near zero and loses two digits
        unit="B/s",
    )
