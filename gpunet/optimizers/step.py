"""One step of an optimizer over a model's flat buffers: on the CPU in NumPy, on a GPU as launches of kernels.

A gradient with an element that is NaN or infinite is not applied: the parameters and the state stay the last finite
ones, and the step counts all the same.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
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

NEVER = 2**62
"""A number of steps that no training reaches."""


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
        self.numbers = np.empty(len(optimizer.step_numbers(0.0, 1)), store.params.dtype)
        self.scalars = [self.numbers[i : i + 1].reshape(()) for i in range(len(self.numbers))]  # views
        self.first_skipped = 0

    def __call__(self, lr: float) -> None:
        """Do the step that `optimizer.steps` has counted already."""
        optimizer, g = self.optimizer, self.grads
        if optimizer.clip_value is not None:
            np.minimum(g, optimizer.clip_value, out=g)
            np.maximum(g, -optimizer.clip_value, out=g)
        squares = float(np.dot(g, g))  # finite only where all elements are
        factor = 1.0
        if optimizer.clip_norm is not None:
            factor = min(optimizer.clip_norm / (math.sqrt(squares) + 1e-6), 1) if squares == squares else 0.0
        if not math.isfinite(squares) and (factor == 0 or not np.isfinite(g).all()):
            self.first_skipped = self.first_skipped or optimizer.steps
            return
        if factor < 1:
            np.multiply(g, factor, out=g)
        self.numbers[:] = optimizer.step_numbers(lr, optimizer.steps)
        for block in self.blocks:
            optimizer.update_block(self.scalars, *block)


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
    """The step on a GPU: launches that are always the same, as all that changes between steps lies on the device.

    The host is the truth for the number of the step and for the learning rate. It writes to the device only what that
    does not know yet: another rate, or another number of steps than the device has counted itself. Nothing waits for
    the device, and nothing is uploaded: a launch carries the number.

    Args:
        optimizer: the rule; its settings are those of now.
        store: the buffers, on a GPU.
        rates: steps whose learning rates `schedule` takes at a time.

    Attributes:
        progress: int64 (3,) on the device: steps done, how many were when `schedule` was called, and the first step
            that was not applied, from 1 on, or 0.
    """

    def __init__(self, optimizer: Optimizer, store: FlatStore, rates: int = 1):
        self.optimizer = optimizer
        self.device = store.device
        xp, dtype = self.device.xp, store.params.dtype
        with self.device.activate():
            self.progress, self.rates = xp.zeros(3, np.int64), xp.zeros(rates, dtype)
            self.launches = list(self._prepare(store))
        self._known: tuple[int, int, float] = 0, 0, 0.0  # progress[0], progress[1] and rates[0], once the queue is done

    def __call__(self, lr: float) -> None:
        """Do the step that `optimizer.steps` has counted already."""
        done = self.optimizer.steps - 1
        with self.device.activate():
            self._write(done, NEVER, lr)  # a rate from so far ahead is the first one
            self._known = done + 1, NEVER, lr
            for launch in self.launches:
                launch()

    def schedule(self, done: int, rates: Sequence[float]) -> None:
        """Give the device the rates of the steps to come, after `done` steps; an upload, for a whole epoch."""
        with self.device.activate():
            self.rates[: len(rates)] = self.device.asarray(rates, self.rates.dtype)
            self.rates[len(rates) :].fill(rates[-1])
            self._write(done, done, rates[0])
        self._known = done + len(rates), done, math.nan  # where they have been done, the first is no more the next

    @property
    def first_skipped(self) -> int:
        """The first step that was not applied, from 1 on, or 0; reads the device."""
        return int(self.device.to_host(self.progress)[2])

    def _write(self, done: int, rates_from: int, lr: float) -> None:
        places = self.progress[:1], self.progress[1:2], self.rates[:1]
        for a, value, known in zip(places, (done, rates_from, lr), self._known, strict=True):
            if value != known:
                a.fill(value)

    def _prepare(self, store: FlatStore) -> Iterator[Callable[[], None]]:
        """Bind the kernels of a step to the buffers, in their order."""
        optimizer, xp, p, g = self.optimizer, self.device.xp, store.params, store.grads
        grid, block = (block_count(p.nbytes, 16 * THREADS),), (THREADS,)  # a thread moves 16 bytes at a time
        if optimizer.clip_value is not None:
            yield CLIP_VALUE.prepare(grid, block, g, g.size, optimizer.clip_value)
        blocks = max(1, *grid)  # a model without parameters counts its steps too
        update, squares, arrivals = xp.empty(2, p.dtype), xp.empty(blocks, p.dtype), xp.zeros(1, np.uint32)
        state = self.rates, self.progress, update, squares, arrivals
        limits = g.size, self.rates.size, optimizer.clip_norm or 0.0
        yield BEGIN_STEP.prepare((blocks,), block, g, *state, *limits)
        arguments = optimizer.kernel_arguments(p, g, update, self.progress, *store.slots.values())
        yield optimizer.kernel.prepare(grid, block, *arguments)
