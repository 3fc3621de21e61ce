"""The optimizers: update rules over the flat buffers of a model, with PyTorch's formulas.

On the CPU a rule goes over the buffers block by block, so that a block of parameters, gradients and state stays in
cache from its first pass to its last.
"""

from __future__ import annotations

import copy
import inspect
import math
from collections.abc import Iterator
from types import ModuleType
from typing import Any, Self

import numpy as np

from gpunet.arguments import real
from gpunet.device import Array
from gpunet.errors import ArgumentError, StateError
from gpunet.layers import Layer
from gpunet.layers.store import FlatStore
from gpunet.schedules import Schedule, as_schedule

BLOCK = 16384
"""Elements of a block on the CPU: with two moments and scratch, 320 KiB in float32."""


class Optimizer:
    """What all update rules share: learning rate, clipping, and the walk over the flat buffers.

    Args:
        lr: the learning rate, > 0, or a schedule of it (see `gpunet.schedules`).
        weight_decay: the factor of the decay, >= 0.
        clip_norm: scale the gradient down to this L2 norm where it is longer (over all parameters); None: don't.
        clip_value: clip each element of the gradient to ± this value; None: don't.

    Attributes:
        steps: the number of steps done.

    Raises:
        ArgumentError: a value out of its range.
    """

    slot_names: tuple[str, ...] = ()
    """The flat buffers of state that the rule keeps beside the parameters."""

    def __init__(
        self,
        lr: float | Schedule,
        *,
        weight_decay: float = 0.0,
        clip_norm: float | None = None,
        clip_value: float | None = None,
    ):
        self._schedule = copy.deepcopy(as_schedule(lr))  # as it was given: what one training observed stays its own
        self.schedule = copy.deepcopy(self._schedule)
        self.weight_decay = self._real("weight_decay", weight_decay, closed="left")
        self.clip_norm = None if clip_norm is None else self._real("clip_norm", clip_norm)
        self.clip_value = None if clip_value is None else self._real("clip_value", clip_value)
        self.steps = 0
        self._store: FlatStore | None = None
        self._blocks: list[tuple[Array, ...]] = []
        self._blocks_of: Array = None

    @property
    def lr(self) -> float:
        """The learning rate of the next step."""
        return self.schedule(self.steps)

    def attach(self, model: Layer) -> Self:
        """Take charge of the parameters of `model`, with fresh state; return the optimizer itself."""
        if self._store is not None and self._store.optimizer is self:
            self._store.optimizer = None
        self._store = model.store
        self._store.optimizer = self
        self.steps = 0
        self.schedule = copy.deepcopy(self._schedule)
        device = self._store.device
        with device.activate():
            self._store.slots = {name: device.xp.zeros_like(self._store.params) for name in self.slot_names}
        self._blocks_of = None
        return self

    def serves(self, model: Layer) -> bool:
        """Say whether the optimizer has the parameters of `model` in its charge."""
        return self._store is model.store and model.store.optimizer is self

    def step(self) -> None:
        """Update the parameters from the gradients.

        Raises:
            StateError: not attached, or the model was built into another one since.
        """
        store = self._store
        if store is None or store.optimizer is not self:
            raise StateError(
                f"{type(self).__name__}: attach(model) first: it has no model, or its model has another optimizer now."
            )
        xp = store.device.xp
        if self.clip_value is not None:
            xp.minimum(store.grads, self.clip_value, out=store.grads)
            xp.maximum(store.grads, -self.clip_value, out=store.grads)
        if self.clip_norm is not None:
            norm = xp.sqrt(xp.dot(store.grads, store.grads))
            xp.multiply(store.grads, xp.minimum(self.clip_norm / (norm + 1e-6), 1), out=store.grads)
        if self._blocks_of is not store.params:  # attached or moved since the last step
            self._blocks, self._blocks_of = list(self._cut(store, xp)), store.params
        rate = self.lr
        self.steps += 1
        for block in self._blocks:
            self._update(xp, rate, *block)

    def _update(self, xp: ModuleType, lr: float, p: Array, g: Array, t: Array, u: Array, *slots: Array) -> None:
        """Update the parameters `p` from the gradients `g`, which stay as they are; `t` and `u` are scratch."""
        raise NotImplementedError

    def _cut(self, store: FlatStore, xp: ModuleType) -> Iterator[tuple[Array, ...]]:
        """Cut the flat buffers into blocks of views."""
        size = len(store.params)
        length = min(BLOCK, size) if xp is np else size
        t, u = xp.empty((2, length), store.params.dtype)
        for start in range(0, size, max(length, 1)):
            block = slice(start, start + length)
            p = store.params[block]
            yield p, store.grads[block], t[: len(p)], u[: len(p)], *(slot[block] for slot in store.slots.values())

    def _decayed(self, xp: ModuleType, p: Array, g: Array, t: Array) -> Array:
        """Return the gradient with the weight decay added: `g` itself, or written to `t`."""
        if not self.weight_decay:
            return g
        xp.multiply(p, self.weight_decay, out=t)
        return xp.add(t, g, out=t)

    def _real(self, name: str, value: float, high: float = math.inf, **closed: Any) -> float:
        return real(f"{type(self).__name__}: {name}", value, 0, high, **closed)

    def config(self) -> dict[str, Any]:
        """Return the constructor's arguments, as JSON."""
        names = [name for name in inspect.signature(type(self)).parameters if name != "lr"]
        return {"lr": self.schedule.config(), **{name: getattr(self, name) for name in names}}

    def state(self) -> dict[str, Any]:
        """Return what a resumed run needs beside the slots, as JSON."""
        return {"steps": self.steps, "schedule": self.schedule.state()}

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from what `state` returned."""
        self.steps = state["steps"]
        self.schedule.restore(state["schedule"])

    def __repr__(self) -> str:
        return f"{type(self).__name__}(lr={self.lr:g})"


class SGD(Optimizer):
    """Gradient descent: v = momentum·v + g, p -= lr·v; with `nesterov`, p -= lr·(g + momentum·v).

    Args:
        lr: the learning rate or its schedule.
        momentum: how much of the last step's velocity stays, in [0, 1).
        nesterov: look ahead along the velocity; needs momentum.
        weight_decay: adds weight_decay·p to the gradient.
        clip_norm: as for `Optimizer`.
        clip_value: as for `Optimizer`.
    """

    def __init__(
        self,
        lr: float | Schedule,
        momentum: float = 0.0,
        nesterov: bool = False,
        weight_decay: float = 0.0,
        *,
        clip_norm: float | None = None,
        clip_value: float | None = None,
    ):
        super().__init__(lr, weight_decay=weight_decay, clip_norm=clip_norm, clip_value=clip_value)
        self.momentum = self._real("momentum", momentum, 1, closed="left")
        self.nesterov = nesterov
        if nesterov and not momentum:
            raise ArgumentError("SGD: nesterov needs a momentum above zero.")
        self.slot_names = ("velocity",) if momentum else ()

    def _update(self, xp: ModuleType, lr: float, p: Array, g: Array, t: Array, u: Array, *slots: Array) -> None:
        g = self._decayed(xp, p, g, t)
        if self.momentum:
            (velocity,) = slots
            xp.multiply(velocity, self.momentum, out=velocity)
            xp.add(velocity, g, out=velocity)
            if self.nesterov:
                xp.multiply(velocity, self.momentum, out=u)
                g = xp.add(u, g, out=u)
            else:
                g = velocity
        xp.multiply(g, lr, out=t)
        xp.subtract(p, t, out=p)


class Adam(Optimizer):
    """Adam (Kingma and Ba 2015): p -= lr·m̂ / (√v̂ + eps) with bias-corrected running means m̂ of g and v̂ of g².

    The slots hold M = m / (1 - β1) and V = v / (1 - β2), which saves three of thirteen passes over the parameters:

        M = β1·M + g,    V = β2·V + g²,    p -= (a / r)·M / (√V + eps / r)

    with a = lr·(1 - β1) / (1 - β1^t) and r = √((1 - β2) / (1 - β2^t)).

    Args:
        lr: the learning rate or its schedule.
        betas: (β1, β2), each in [0, 1).
        eps: what keeps the quotient finite, > 0.
        weight_decay: adds weight_decay·p to the gradient (L2; see `AdamW` for the decoupled form).
        clip_norm: as for `Optimizer`.
        clip_value: as for `Optimizer`.
    """

    slot_names = ("m", "v")

    def __init__(
        self,
        lr: float | Schedule = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        *,
        clip_norm: float | None = None,
        clip_value: float | None = None,
    ):
        super().__init__(lr, weight_decay=weight_decay, clip_norm=clip_norm, clip_value=clip_value)
        if np.shape(betas) != (2,):
            raise ArgumentError(f"{type(self).__name__}: betas must be two numbers, got {betas!r}.")
        self.betas = tuple(self._real("betas", beta, 1, closed="left") for beta in betas)
        self.eps = self._real("eps", eps)

    def _update(self, xp: ModuleType, lr: float, p: Array, g: Array, t: Array, u: Array, *slots: Array) -> None:
        self._adam(xp, lr, p, self._decayed(xp, p, g, t), t, *slots)

    def _adam(self, xp: ModuleType, lr: float, p: Array, g: Array, t: Array, m: Array, v: Array) -> None:
        beta1, beta2 = self.betas
        a = lr * (1 - beta1) / (1 - beta1**self.steps)
        r = math.sqrt((1 - beta2) / (1 - beta2**self.steps))
        xp.multiply(m, beta1, out=m)
        xp.add(m, g, out=m)
        xp.multiply(g, g, out=t)
        xp.multiply(v, beta2, out=v)
        xp.add(v, t, out=v)
        xp.sqrt(v, out=t)
        xp.add(t, self.eps / r, out=t)
        xp.divide(m, t, out=t)
        xp.multiply(t, a / r, out=t)
        xp.subtract(p, t, out=p)


class AdamW(Adam):
    """Adam with decoupled weight decay (Loshchilov and Hutter 2019): p *= 1 - lr·weight_decay before Adam's step.

    Arguments as for `Adam`.
    """

    def __init__(
        self,
        lr: float | Schedule = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.01,
        *,
        clip_norm: float | None = None,
        clip_value: float | None = None,
    ):
        super().__init__(lr, betas, eps, weight_decay, clip_norm=clip_norm, clip_value=clip_value)

    def _update(self, xp: ModuleType, lr: float, p: Array, g: Array, t: Array, u: Array, *slots: Array) -> None:
        xp.multiply(p, 1 - lr * self.weight_decay, out=p)
        self._adam(xp, lr, p, g, t, *slots)


class RMSprop(Optimizer):
    """RMSprop (Hinton 2012): v = alpha·v + (1 - alpha)·g², p -= lr·g / (√v + eps); with momentum, over a velocity.

    Args:
        lr: the learning rate or its schedule.
        alpha: how much of the running mean of g² stays, in [0, 1).
        eps: what keeps the quotient finite, > 0.
        weight_decay: adds weight_decay·p to the gradient.
        momentum: how much of the last step's velocity stays, in [0, 1).
        clip_norm: as for `Optimizer`.
        clip_value: as for `Optimizer`.
    """

    def __init__(
        self,
        lr: float | Schedule = 1e-2,
        alpha: float = 0.99,
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        momentum: float = 0.0,
        *,
        clip_norm: float | None = None,
        clip_value: float | None = None,
    ):
        super().__init__(lr, weight_decay=weight_decay, clip_norm=clip_norm, clip_value=clip_value)
        self.alpha = self._real("alpha", alpha, 1, closed="left")
        self.eps = self._real("eps", eps)
        self.momentum = self._real("momentum", momentum, 1, closed="left")
        self.slot_names = ("v", "velocity") if momentum else ("v",)

    def _update(self, xp: ModuleType, lr: float, p: Array, g: Array, t: Array, u: Array, *slots: Array) -> None:
        v = slots[0]
        g = self._decayed(xp, p, g, t)
        xp.multiply(g, g, out=u)
        xp.multiply(u, 1 - self.alpha, out=u)
        xp.multiply(v, self.alpha, out=v)
        xp.add(v, u, out=v)
        xp.sqrt(v, out=u)
        xp.add(u, self.eps, out=u)
        xp.divide(g, u, out=u)
        if self.momentum:
            velocity = slots[1]
            xp.multiply(velocity, self.momentum, out=velocity)
            u = xp.add(velocity, u, out=velocity)
        xp.multiply(u, lr, out=t)
        xp.subtract(p, t, out=p)


OPTIMIZERS: dict[str, type[Optimizer]] = {cls.__name__: cls for cls in (SGD, Adam, AdamW, RMSprop)}
