"""One step of an optimizer over a model's flat buffers: on the CPU in NumPy, on a GPU as launches of kernels."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import numpy as np

from gpunet.cuda import Kernel
from gpunet.device import Array
from gpunet.layers.store import FlatStore
from gpunet.ops.launch import THREADS, block_count

if TYPE_CHECKING:
    from gpunet.optimizers.base import Optimizer

BLOCK = 16384
"""Elements of a block on the CPU: with two moments and scratch, 320 KiB in float32."""

BEGIN_STEP = Kernel("optimizers.cu", "begin_step")
CLIP_VALUE = Kernel("optimizers.cu", "clip_value")
CLIP_NORM = Kernel("optimizers.cu", "clip_norm")
SUM_SQUARES = Kernel("reduce.cu", "sum_squares")


class HostStep:
    """The step in NumPy, block by block: a block of parameters, gradients and state stays in cache for a whole update.

    Args:
        optimizer: the rule.
        store: the buffers, on the CPU.
    """

    def __init__(self, optimizer: Optimizer, store: FlatStore):
        self.optimizer = optimizer
        self.grads = store.grads
        self.blocks = list(_cut(store))

    def __call__(self, lr: float) -> None:
        """Do the step that `optimizer.steps` has counted already."""
        optimizer, g = self.optimizer, self.grads
        if optimizer.clip_value is not None:
            np.minimum(g, optimizer.clip_value, out=g)
            np.maximum(g, -optimizer.clip_value, out=g)
        if optimizer.clip_norm is not None:
            norm = np.sqrt(np.dot(g, g))
            np.multiply(g, np.minimum(optimizer.clip_norm / (norm + 1e-6), 1), out=g)
        for block in self.blocks:
            optimizer.update_block(lr, *block)


def _cut(store: FlatStore) -> Iterator[tuple[Array, ...]]:
    """Cut the flat buffers into blocks of views, each with scratch memory for two results."""
    size = len(store.params)
    length = min(BLOCK, size)
    t, u = np.empty((2, length), store.params.dtype)
    for start in range(0, size, max(length, 1)):
        block = slice(start, start + length)
        p = store.params[block]
        yield p, store.grads[block], t[: len(p)], u[: len(p)], *(slot[block] for slot in store.slots.values())


class DeviceStep:
    """The step on a GPU: launches that are always the same, as the rate and the number of the step lie on the device.

    The host is the truth for both. It writes to the device only what that does not know yet: a new learning rate, or
    another number of steps than the device has counted itself. Nothing waits for the device, and nothing is uploaded:
    a launch carries the number.

    Args:
        optimizer: the rule; its settings are those of now.
        store: the buffers, on a GPU.
    """

    def __init__(self, optimizer: Optimizer, store: FlatStore):
        self.optimizer = optimizer
        self.device = store.device
        xp, dtype = self.device.xp, store.params.dtype
        with self.device.activate():
            self.steps, self.rates, self.rate = xp.zeros(1, np.int64), xp.zeros(1, dtype), xp.zeros(1, dtype)
            self.launches = list(self._prepare(store))
        self._known = 0, 0.0  # what `steps` and `rates` hold, or will once the queue is done

    def __call__(self, lr: float) -> None:
        """Do the step that `optimizer.steps` has counted already."""
        done = self.optimizer.steps - 1
        with self.device.activate():
            for a, value, known in zip((self.steps, self.rates), (done, lr), self._known, strict=True):
                if value != known:
                    a.fill(value)
            self._known = done + 1, lr
            for launch in self.launches:
                launch()

    def _prepare(self, store: FlatStore) -> Iterator[Callable[[], None]]:
        """Bind the kernels of a step to the buffers, in their order."""
        optimizer, p, g = self.optimizer, store.params, store.grads
        grid, block = (block_count(p.nbytes, 16 * THREADS),), (THREADS,)  # a thread moves 16 bytes at a time
        # a table of one rate, whose place does not depend on the step: the launch stays right when it is replayed
        yield BEGIN_STEP.prepare((1,), (1,), self.rates, self.steps, self.rate, 0, 1)
        if optimizer.clip_value is not None:
            yield CLIP_VALUE.prepare(grid, block, g, g.size, optimizer.clip_value)
        if optimizer.clip_norm is not None:
            squares = self.device.xp.empty(grid, p.dtype)
            yield SUM_SQUARES.prepare(grid, block, g, squares, g.size)
            yield CLIP_NORM.prepare(grid, block, g, squares, g.size, squares.size, optimizer.clip_norm)
        arguments = optimizer.kernel_arguments(p, g, self.rate, self.steps, *store.slots.values())
        yield optimizer.kernel.prepare(grid, block, *arguments)
