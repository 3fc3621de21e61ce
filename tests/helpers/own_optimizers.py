"""User-defined optimizers."""

import numpy as np

import gpunet as gn
from gpunet.optimizers import Optimizer


class Lion(Optimizer):
    """Lion (Chen et al. 2023) in array code: p *= 1 - lr·weight_decay, p -= lr·sign(β1·m + (1 - β1)·g)."""

    slot_names = ("m",)

    def __init__(self, lr=1e-4, betas=(0.9, 0.99), weight_decay=0.0, *, clip_norm=None, clip_value=None):
        super().__init__(lr, weight_decay=weight_decay, clip_norm=clip_norm, clip_value=clip_value)
        self.betas = betas

    def step_numbers(self, lr, step):
        return lr, 1 - lr * self.weight_decay

    def update_block(self, numbers, p, g, t, u, *slots):
        (m,), (lr, shrink), (beta1, beta2) = slots, numbers, self.betas
        for beta, out in ((beta1, t), (beta2, m)):
            np.multiply(g, 1 - beta, out=u)
            np.multiply(m, beta, out=out)
            np.add(out, u, out=out)
        np.sign(t, out=t)
        np.multiply(t, lr, out=t)
        np.multiply(p, shrink, out=p)
        np.subtract(p, t, out=p)


class Halved(gn.SGD):
    """Overrides the update rule of a class with kernels."""

    def update_block(self, numbers, p, g, t, u, *slots):
        np.multiply(g, numbers[0], out=t)
        np.multiply(t, 0.5, out=t)
        np.subtract(p, t, out=p)


class Shrinking(gn.SGD):
    """Overrides `step`."""

    def step(self):
        super().step()
        self._store.params *= 0.9
