"""One step of an optimizer over a model's flat buffers: on the CPU in NumPy, on a GPU as launches of kernels.

A gradient with an element that is NaN or infinite is not applied: the parameters and the state stay the last finite
ones, and the step counts all the same.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any, ClassVar, Protocol

import numpy as np

from gpunet.cuda import Kernel
from gpunet.device import Array, aligned
from gpunet.layers.store import FlatStore
from gpunet.ops.launch import THREADS, block_count
from gpunet.recording import Call, RecordedArray, recording

BLOCK = 16384
"""Elements of a block on the CPU: with two moments and scratch, 320 KiB in float32."""

BEGIN_STEP = Kernel("optimizers.cu", "begin_step")
CLIP_VALUE = Kernel("optimizers.cu", "clip_value")

NEVER = 2**62
"""A number of steps that no training reaches."""


class Rule(Protocol):
    """An optimizer, as far as a step knows it."""

    kernel: ClassVar[Kernel]
    steps: int
    clip_norm: float | None
    clip_value: float | None

    def step_numbers(self, lr: float, step: int) -> tuple[float, ...]: ...

    def update_block(self, numbers: Sequence[Array], p: Array, g: Array, t: Array, u: Array, *slots: Array) -> None: ...

    def kernel_arguments(self, p: Array, g: Array, *slots: Array) -> tuple[Any, ...]: ...


class HostStep:
    """The step in NumPy, block by block: a block of parameters, gradients and state stays in cache for a whole update.

    The rule is written as array code; its calls are recorded in the first step and made again in all others.

    Args:
        optimizer: the rule; its settings are those of now.
        store: the buffers, on the CPU.

    Attributes:
        first_skipped: (1,), the first step that was not applied, from 1 on, or 0.
        calls: what the rule does; None before the first step.
    """

    def __init__(self, optimizer: Rule, store: FlatStore):
        self.optimizer = optimizer
        self.store = store
        self.numbers = np.empty(len(optimizer.step_numbers(0.0, 1)), store.params.dtype)
        self.first_skipped = np.zeros(1, np.int64)
        self.calls: list[Call] | None = None

    def __call__(self, lr: float) -> None:
        """Do the step that `optimizer.steps` has counted already."""
        optimizer, g = self.optimizer, self.store.grads
        if optimizer.clip_value is not None:
            np.minimum(g, optimizer.clip_value, out=g)
            np.maximum(g, -optimizer.clip_value, out=g)
        squares = float(g.dot(g))  # finite only where all elements are
        factor = 1.0
        if optimizer.clip_norm is not None:
            factor = min(optimizer.clip_norm / (math.sqrt(squares) + 1e-6), 1) if squares == squares else 0.0
        if not math.isfinite(squares) and (factor == 0 or not np.isfinite(g).all()):
            if not self.first_skipped[0]:
                self.first_skipped[0] = optimizer.steps
            return
        if factor < 1:
            np.multiply(g, factor, out=g)
        self.numbers[:] = optimizer.step_numbers(lr, optimizer.steps)
        if self.calls is None:
            self.calls = self._record()
        else:
            for call in self.calls:
                call()

    def _record(self) -> list[Call]:
        """Do the step; return the calls that do it."""
        numbers = [RecordedArray.of(self.numbers[i : i + 1].reshape(())) for i in range(len(self.numbers))]
        with recording() as calls:
            for block in _cut(self.store):
                self.optimizer.update_block(numbers, *map(RecordedArray.of, block))
        return calls


def _cut(store: FlatStore) -> Iterator[tuple[Array, ...]]:
    """Cut the flat buffers into blocks of views, each with scratch memory for two results."""
    size = len(store.params)
    length = min(BLOCK, size)
    t, u = aligned((2, length), store.params.dtype, np)
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

    Attributes:
        launches: the step, in another list where the launches are others; whoever does them counts it in `done`.
        done: the steps that the device has done, once its queue is done.
        progress: int64 (3,) on the device: steps done, for how many of them the table of rates begins, and the first
            step that was not applied, from 1 on, or 0.
        first_skipped: (1,), a view of the last of these.
    """

    def __init__(self, optimizer: Rule, store: FlatStore):
        self.optimizer = optimizer
        self.device = store.device
        self.store = store
        self.done = 0
        self._table = [0.0]  # what the device knows: these rates, for the steps after so many
        self._table_from = 0
        with self.device.activate():
            self.progress = self.device.xp.zeros(3, np.int64)
            self.first_skipped = self.progress[2:]
            self._allocate(1)

    def __call__(self, lr: float) -> None:
        """Do the step that `optimizer.steps` has counted already."""
        with self.device.activate():
            self.expect(self.optimizer.steps - 1, lr)
            for launch in self.launches:
                launch()
            self.done += 1

    def expect(self, done: int, lr: float) -> None:
        """See to it that the launches, when they come, do the step after `done` steps, at the rate `lr`."""
        if done != self.done:
            self.progress[:1].fill(done)
            self.done = done
        if lr != self._table[min(max(done - self._table_from, 0), len(self._table) - 1)]:
            self.rates[:1].fill(lr)
            self._table = [lr]
            self._begin_table(NEVER)  # before its begin the first rate holds

    def look_ahead(self, done: int, rates: list[float]) -> None:
        """Upload the rates of the steps after `done` steps. More than ever before need new launches."""
        with self.device.activate():
            if len(rates) > self.rates.size:
                self._allocate(len(rates))
            last = [rates[-1]] * (self.rates.size - len(rates))
            self.rates[:] = self.device.asarray(np.array(rates + last), self.rates.dtype)
            self._table = rates
            self._begin_table(done)

    def _begin_table(self, done: int) -> None:
        if done != self._table_from:
            self.progress[1:2].fill(done)
            self._table_from = done

    def _allocate(self, rates: int) -> None:
        self.rates = self.device.xp.zeros(rates, self.store.params.dtype)
        self.launches = list(self._prepare(self.store))

    def _prepare(self, store: FlatStore) -> Iterator[Callable[[], None]]:
        """Bind the kernels of a step to the buffers, in their order."""
        optimizer, xp, p, g = self.optimizer, self.device.xp, store.params, store.grads
        grid, block = (block_count(p.nbytes, 16 * THREADS),), (THREADS,)  # a thread moves 16 bytes at a time
        if optimizer.clip_value is not None:
            yield CLIP_VALUE.prepare(grid, block, g, g.size, optimizer.clip_value)
        blocks = max(1, *grid)  # a model without parameters counts its steps too
        squares, rate = xp.empty(blocks, p.dtype), xp.empty(1, p.dtype)
        numbers = g.size, self.rates.size
        yield BEGIN_STEP.prepare((blocks,), block, g, squares, self.rates, rate, self.progress, *numbers)
        step = squares, rate, self.progress, blocks, optimizer.clip_norm or 0.0
        yield optimizer.kernel.prepare(grid, block, *step, *optimizer.kernel_arguments(p, g, *store.slots.values()))
