"""One step of an optimizer over a model's flat buffers: in array code, or on a GPU as kernel launches.

A step with a NaN or infinite gradient is skipped: it changes neither parameters nor state, but it is counted.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterator
from numbers import Real

import numpy as np

from gpunet import native
from gpunet.arguments import shown
from gpunet.cuda import CTYPES, Kernel
from gpunet.device import Array
from gpunet.errors import ArgumentError
from gpunet.layers.store import FlatStore
from gpunet.memory import aligned
from gpunet.ops.launch import THREADS, block_count
from gpunet.optimizers.average import ArrayAverage, average_launches, record_average
from gpunet.optimizers.groups import Parts
from gpunet.optimizers.progress import LONGEST_RUN, Progress
from gpunet.optimizers.rule import Rule
from gpunet.recording import Call, RecordedArray, recording

BLOCK = 16384
"""Elements of a block on the CPU: 320 KiB in float32 with gradient, two moments and scratch memory."""

BEGIN_STEP = Kernel("optimizers.cu", "begin_step")
CLIP_VALUE = Kernel("optimizers.cu", "clip_value")

SQUARES, CLIP_VALUE_CPU, END_STEP = (
    native.Kernel("optimizers.cpp", name) for name in ("squares", "clip_value", "end_step")
)


class ArrayStep:
    """A step in array code: the rule's `update_block` over all parameters; for a rule without a kernel on a GPU.

    Attributes:
        numbers: the rule's `step_numbers` for each part.
        blocks: the array arguments of `update_block` for each block of each part.
    """

    block: int | None = None
    """Elements of a block; None for a whole part."""

    def __init__(self, optimizer: Rule, store: FlatStore, progress: Progress | None = None):
        self.optimizer = optimizer
        self.store = store
        self.params = store.params
        self.parts = Parts(optimizer, store)
        self.progress = Progress(optimizer, store.device, np.dtype(np.float64), self.parts, progress)
        with store.device.activate():
            self.average = ArrayAverage(store, self.block)
            numbers = optimizer.step_numbers(0.0, 1)
            if not isinstance(numbers, tuple | list) or not all(isinstance(number, Real) for number in numbers):
                raise ArgumentError(
                    f"{type(optimizer).__name__}.step_numbers must return a tuple of numbers, such as (lr,), got "
                    f"{shown(numbers)}."
                )
            self.numbers = store.device.xp.empty((len(self.parts.ranges), len(numbers)), store.params.dtype)
            self.blocks = list(_cut(store, self.parts, self.block or len(store.params)))

    def __call__(self) -> None:
        """Run a step; synchronizes with a GPU."""
        with self.store.device.activate():
            optimizer, counter = self.optimizer, self.optimizer.counter
            rates = self.parts.table(optimizer.schedule, range(counter.value, counter.value + 1))
            counter.value += 1
            if self._clip():
                self._update([part.rule.step_numbers(*rates[part.rate], counter.value) for part in self.parts.ranges])
                self.average()
            elif not self.progress.words[2]:
                self.progress.words[2] = counter.value

    def _clip(self) -> bool:
        """Clip the gradient; return whether it is finite, that is, whether to apply the step."""
        optimizer, g = self.optimizer, self.store.grads[self.parts.span]
        if optimizer.clip_value is not None:
            np.minimum(g, optimizer.clip_value, out=g)
            np.maximum(g, -optimizer.clip_value, out=g)
        squares = float(np.vdot(g, g))  # finite only if all elements are; unlike dot, vdot does not report an overflow
        if not math.isfinite(squares) and g.dtype == np.float32:  # squares of finite float32 don't overflow in float64
            wide = g.astype(np.float64)
            squares = float(np.vdot(wide, wide))
        if squares > optimizer.most_squares(g.dtype):
            return False
        factor = 1.0
        if optimizer.clip_norm is not None:
            factor = min(optimizer.clip_norm / (math.sqrt(squares) + 1e-6), 1) if squares == squares else 0.0
        if not math.isfinite(squares) and (factor == 0 or not np.isfinite(g).all()):
            return False
        if factor < 1:
            np.multiply(g, factor, out=g)
        return True

    def _update(self, numbers: list[tuple[float, ...]]) -> None:
        """Update the parameters and the state."""
        if numbers:
            self.store.device.assign(self.numbers, numbers)
        self._update_blocks(lambda a: a)

    def _update_blocks(self, wrap: Callable[[Array], Array]) -> None:
        for part, row, blocks in zip(self.parts.ranges, self.numbers, self.blocks, strict=True):
            numbers = [wrap(row[i : i + 1].reshape(())) for i in range(len(row))]
            for block in blocks:
                if part.rule.update_block(numbers, *map(wrap, block)) is not None:
                    raise ArgumentError(
                        f"{type(part.rule).__name__}.update_block returns a value, which would be ignored: it must "
                        "return None and change p in place, as in np.subtract(p, t, out=p)."
                    )


class HostStep(ArrayStep):
    """A step on the CPU, block by block, so that parameters, gradients and state of a block stay in cache.

    The first step records the NumPy calls of the rule; the others replay them.
    """

    block = BLOCK
    calls: list[Call] | None = None

    def _update(self, numbers: list[tuple[float, ...]]) -> None:
        if numbers:
            self.numbers[:] = numbers
        if self.calls is None:
            with recording() as calls:
                self._update_blocks(RecordedArray.of)
            self.calls = calls
        else:
            for call in self.calls:
                call()

    def record_nodes(self, kernel: native.Kernel) -> None:
        """Append the native nodes of the step to the recording; `kernel` is the rule's."""
        optimizer, store, progress = self.optimizer, self.store, self.progress
        g = store.grads[self.parts.span]
        blocks = math.ceil(g.size / BLOCK)
        options = {"REAL": CTYPES[g.dtype]}
        if optimizer.clip_value is not None:
            CLIP_VALUE_CPU(g, g.size, blocks, optimizer.clip_value, count=blocks, grain=1)
        squares = np.zeros(blocks)
        SQUARES(g, squares, g.size, blocks, optimizer.most_squares(g.dtype), count=blocks, grain=1)
        max_norm = optimizer.clip_norm or 0.0
        for part in self.parts.ranges:
            step = squares, progress.rates[part.rate], progress.words, blocks, LONGEST_RUN, max_norm
            own = _buffers(store, part.where)
            kernel(*step, *part.rule.kernel_arguments(*own), count=math.ceil(own[0].size / BLOCK), grain=1)
        record_average(store, squares, max_norm, BLOCK)
        END_STEP(squares, progress.words, blocks, max_norm, options=options)


def _buffers(store: FlatStore, where: slice) -> list[Array]:
    """Return views of a range of the parameters, gradients and slots."""
    return [flat[where] for flat in (store.params, store.grads, *store.slots.values())]


def _cut(store: FlatStore, parts: Parts, block: int) -> Iterator[list[tuple[Array, ...]]]:
    """Yield for each part its blocks: views of parameters, gradients, two scratch arrays, and slots."""
    length = min(block, len(store.params))
    t, u = aligned((2, length), store.params.dtype, store.device.xp)
    for where, *_ in parts.ranges:
        own = [slice(start, min(start + length, where.stop)) for start in range(where.start, where.stop, length)]
        buffers = [_buffers(store, piece) for piece in own]
        yield [(p, g, t[: len(p)], u[: len(p)], *slots) for p, g, *slots in buffers]


class DeviceStep:
    """A step on a GPU: the same launches in every step, because values that change are in device memory."""

    def __init__(self, optimizer: Rule, store: FlatStore, progress: Progress | None = None):
        self.optimizer = optimizer
        self.store = store
        self.params = store.params
        self.parts = Parts(optimizer, store)
        self.progress = Progress(optimizer, store.device, store.params.dtype, self.parts, progress)

    @functools.cached_property
    def launches(self) -> list[Callable[[], None]]:
        """The launches of a step, compiled on first access. The caller must advance the optimizer's counter."""
        with self.store.device.activate():
            return list(self._prepare())

    def __call__(self) -> None:
        """Run a step."""
        self.progress.look_ahead(1)
        with self.store.device.activate():
            for launch in self.launches:
                launch()
        self.optimizer.counter.advance(1)

    def _prepare(self) -> Iterator[Callable[[], None]]:
        """Bind the kernels of a step to the buffers, in launch order."""
        optimizer, store, progress = self.optimizer, self.store, self.progress
        xp, g = store.device.xp, store.grads[self.parts.span]
        assert optimizer.kernel is not None, "the rule is array code"
        block = (THREADS,)
        grid = _grid(g)
        if optimizer.clip_value is not None:
            yield CLIP_VALUE.prepare(grid, block, g, g.size, optimizer.clip_value)
        blocks = max(1, *grid)  # at least one, so that steps are counted without parameters too
        squares, rates = xp.empty(blocks, np.float64), xp.empty(len(self.parts.rates), g.dtype)
        numbers = g.size, LONGEST_RUN, len(rates), optimizer.most_squares(g.dtype)
        yield BEGIN_STEP.prepare((blocks,), block, g, squares, progress.rates, rates, progress.words, *numbers)
        for part in self.parts.ranges:
            rate, own = rates[part.rate : part.rate + 1], _buffers(store, part.where)
            step = squares, rate, progress.words, blocks, optimizer.clip_norm or 0.0
            yield optimizer.kernel.prepare(_grid(own[0]), block, *step, *part.rule.kernel_arguments(*own))
        yield from average_launches(store, squares, rates, progress.words, optimizer.clip_norm or 0.0)


def _grid(a: Array) -> tuple[int]:
    """Return the grid that updates an array; a thread loads 16 bytes at a time."""
    return (block_count(a.nbytes, 16 * THREADS),)
