"""Adam and AdamW."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from gpunet import native
from gpunet.cuda import Kernel
from gpunet.device import Array
from gpunet.errors import ArgumentError
from gpunet.optimizers.base import Optimizer
from gpunet.optimizers.groups import Groups
from gpunet.schedules import Schedule


class Adam(Optimizer):
    """Adam (Kingma and Ba 2015): p -= lr·m̂ / (√v̂ + eps) with bias-corrected running means m̂ of g and v̂ of g².

    Args:
        betas: (β1, β2), each in [0, 1).
        eps: added to the denominator, >= 0. With 0, elements whose gradients were all zero do not change.

    Example:
        >>> layer = gn.Linear(1, 1, bias=False)
        >>> layer.params["weight"], layer.grads["weight"] = [[1.0]], [[2.0]]
        >>> gn.Adam(lr=0.1).attach(layer).step()
        >>> layer.params["weight"].round(2)  # the first step is lr, whatever the gradient
        array([[0.9]], dtype=float32)
    """

    # The slots are M = m / (1 - β1) and V = v / (1 - β2), which saves three of thirteen passes over the parameters:
    #     M = β1·M + g,    V = β2·V + g²,    p -= (a / r)·M / (√V + eps / r)
    # with a = lr·(1 - β1) / (1 - β1^t) and r = √((1 - β2) / (1 - β2^t)).
    slot_names = ("m", "v")
    kernel = Kernel("optimizers.cu", "adam")
    cpu_kernel = native.Kernel("optimizers.cpp", "adam")
    _decoupled = False

    def __init__(
        self,
        lr: float | Schedule = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        *,
        clip_norm: float | None = None,
        clip_value: float | None = None,
        groups: Groups | None = None,
    ):
        super().__init__(lr, weight_decay=weight_decay, clip_norm=clip_norm, clip_value=clip_value, groups=groups)
        if np.shape(betas) != (2,):
            raise ArgumentError(f"{type(self).__name__}: betas must be two numbers, got {betas!r}.")
        self.betas = tuple(self._real("betas", beta, 1, closed="left") for beta in betas)
        self.eps = self._eps(eps)

    def step_numbers(self, lr: float, step: int) -> tuple[float, ...]:
        beta1, beta2 = self.betas
        a = lr * (1 - beta1) / (1 - beta1**step)
        r = math.sqrt((1 - beta2) / (1 - beta2**step))
        return a / r, self.eps / r, 1 - lr * self.weight_decay

    def update_block(self, numbers: Sequence[Array], p: Array, g: Array, t: Array, u: Array, *slots: Array) -> None:
        scale, floor, shrink = numbers
        if not self._decoupled:
            g = self._decayed(p, g, t)
        elif self.weight_decay:
            np.multiply(p, shrink, out=p)
        m, v = slots
        beta1, beta2 = self.betas
        np.multiply(m, beta1, out=m)
        np.add(m, g, out=m)
        np.multiply(g, g, out=t)
        np.multiply(v, beta2, out=v)
        np.add(v, t, out=v)
        np.sqrt(v, out=t)
        np.add(t, floor, out=t)
        np.divide(m, t, out=t)
        np.multiply(t, scale, out=t)
        np.subtract(p, t, out=p)

    def most_squares(self, dtype: np.dtype[Any]) -> float:
        """Return the limit below which V, at most g² / (1 - β2), is finite."""
        return math.inf if self.clip_norm else (1 - self.betas[1]) * float(np.finfo(dtype).max)

    def kernel_arguments(self, p: Array, g: Array, *slots: Array) -> tuple[Any, ...]:
        return p, g, *slots, p.size, *self.kernel_settings()

    def kernel_settings(self) -> tuple[Any, ...]:
        """Return the constants of the rule, in the order of the kernels' arguments."""
        logs = [math.log(beta) if beta else -math.inf for beta in self.betas]
        rests = [1 - beta for beta in self.betas]
        return *self.betas, *logs, *rests, self.eps, self.weight_decay, self._decoupled


class AdamW(Adam):
    """Adam with decoupled weight decay (Loshchilov and Hutter 2019): p *= 1 - lr·weight_decay before Adam's step.

    Example:
        >>> layer = gn.Linear(1, 1, bias=False)
        >>> layer.params["weight"], layer.grads["weight"] = [[1.0]], [[2.0]]
        >>> gn.AdamW(lr=0.1, weight_decay=0.5).attach(layer).step()
        >>> layer.params["weight"].round(2)  # 1 · (1 - 0.1 · 0.5) - 0.1
        array([[0.85]], dtype=float32)
    """

    _decoupled = True

    def __init__(
        self,
        lr: float | Schedule = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.01,
        *,
        clip_norm: float | None = None,
        clip_value: float | None = None,
        groups: Groups | None = None,
    ):
        super().__init__(lr, betas, eps, weight_decay, clip_norm=clip_norm, clip_value=clip_value, groups=groups)
