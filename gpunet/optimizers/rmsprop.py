"""RMSprop with momentum."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from gpunet import native
from gpunet.cuda import Kernel
from gpunet.device import Array
from gpunet.optimizers.base import Optimizer
from gpunet.optimizers.groups import Groups
from gpunet.schedules import Schedule


class RMSprop(Optimizer):
    """RMSprop (Hinton 2012): v = alpha·v + (1 - alpha)·g², p -= lr·g / (√v + eps).

    With momentum, u = momentum·u + g / (√v + eps), p -= lr·u.

    Args:
        alpha: the decay of v, in [0, 1).
        eps: as for `Adam`.
        momentum: in [0, 1).

    Example:
        >>> layer = gn.Linear(1, 1, bias=False)
        >>> layer.params["weight"], layer.grads["weight"] = [[1.0]], [[2.0]]
        >>> gn.RMSprop(lr=0.1, alpha=0.75).attach(layer).step()
        >>> layer.params["weight"].round(2)  # 1 - 0.1 · 2 / √(0.25 · 4)
        array([[0.8]], dtype=float32)
    """

    kernel = Kernel("optimizers.cu", "rmsprop")
    cpu_kernel = native.Kernel("optimizers.cpp", "rmsprop")

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
        groups: Groups | None = None,
    ):
        super().__init__(lr, weight_decay=weight_decay, clip_norm=clip_norm, clip_value=clip_value, groups=groups)
        self.alpha = self._real("alpha", alpha, 1, closed="left")
        self.eps = self._eps(eps)
        self.momentum = self._real("momentum", momentum, 1, closed="left")
        self.slot_names = ("v", "velocity") if momentum else ("v",)

    def update_block(self, numbers: Sequence[Array], p: Array, g: Array, t: Array, u: Array, *slots: Array) -> None:
        (lr,) = numbers
        v = slots[0]
        g = self._decayed(p, g, t)
        np.multiply(g, g, out=u)
        np.multiply(u, 1 - self.alpha, out=u)
        np.multiply(v, self.alpha, out=v)
        np.add(v, u, out=v)
        np.sqrt(v, out=u)
        np.add(u, self.eps, out=u)
        np.divide(g, u, out=u)
        if self.momentum:
            self._check_velocity(self.momentum)
            velocity = slots[1]
            np.multiply(velocity, self.momentum, out=velocity)
            u = np.add(velocity, u, out=velocity)
        np.multiply(u, lr, out=t)
        np.subtract(p, t, out=p)

    def most_squares(self, dtype: np.dtype[Any]) -> float:
        """Return the limit below which g² is finite."""
        return math.inf if self.clip_norm else float(np.finfo(dtype).max)

    def kernel_arguments(self, p: Array, g: Array, *slots: Array) -> tuple[Any, ...]:
        self._check_velocity(self.momentum)
        v, velocity = (*slots, None)[:2]
        rest = 1 - self.alpha
        return p, g, v, velocity, p.size, self.alpha, rest, self.eps, self.weight_decay, self.momentum
