"""The tape: all buffers of a training step, and the values that its forward pass saves for the backward pass.

Every step requests the same buffers in the same order, so a tape answers the k-th request with its k-th buffer. The
k-th random draw of a step is a function of (seed, step, k, row), so it is the same on every device and after a resume.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from types import ModuleType
from typing import Any

import numpy as np

from gpunet import random
from gpunet.attributes import Strict
from gpunet.device import Array
from gpunet.errors import StateError
from gpunet.memory import aligned
from gpunet.recording import do, is_recording, recorded

ALIGNMENT = 256
"""Alignment in bytes of each buffer of a packed tape."""


class StepCounter:
    """The number of completed training steps: an integer on the host, with a copy in memory that kernels read.

    Attributes:
        word: int64 array whose first element is the copy, which kernels increment; None if no kernel needs it.
    """

    def __init__(self) -> None:
        self._value = 0
        self.word: Array | None = None

    @property
    def value(self) -> int:
        """The number on the host; setting it also fills `word`, without a transfer."""
        return self._value

    @value.setter
    def value(self, value: int) -> None:
        self._value = value
        if self.word is not None:
            self.word[:1].fill(value)

    def advance(self, steps: int) -> None:
        """Add steps that kernels have already added to `word`."""
        self._value += steps

    def keep_in(self, word: Array) -> None:
        """Use `word` as the copy for kernels."""
        self.word = word
        self.value = self._value


class Tape(Strict):
    """The memory of one training step, reused by each step.

    Arrays made with a tape are valid until its next `reset`. Use one tape for each batch shape and thread.

    Args:
        counter: the step counter, for example the optimizer's; by default the tape counts its own resets.

    Attributes:
        seed: seed of the random numbers (dropout masks).
        first_row: index of the batch's first row in the global batch.

    Example:
        >>> tape, x, weight = gn.Tape(), np.ones((2, 3)), np.ones((3, 4))
        >>> y = gn.ops.linear(x, weight, tape=tape)
        >>> tape.reset()  # the next step begins
        >>> gn.ops.linear(x, weight, tape=tape) is y
        True
    """

    def __init__(self, seed: int = 0, counter: StepCounter | None = None):
        self.seed = seed
        self.counter = counter or StepCounter()
        self._counts = counter is None
        self.first_row = 0
        self._buffers: list[Array] = []
        self._kinds: list[tuple[Any, ...]] = []
        self._taken = 0
        self._draws = 0
        self._saved: list[tuple[Any, ...]] = []

    def reset(self, step: int | None = None, first_row: int = 0) -> None:
        """Begin a step, by default the next one; it may overwrite the arrays of the previous step."""
        if step is not None or self._counts:
            self.counter.value = self.step + 1 if step is None else step
        self.first_row = first_row
        self._taken = 0
        self._draws = 0
        self._saved.clear()

    @property
    def step(self) -> int:
        """The number of the step."""
        return self.counter.value

    def empty(self, shape: tuple[int, ...], dtype: np.dtype[Any], xp: ModuleType) -> Array:
        """Return the step's next buffer: an uninitialised array of `xp`."""
        return self._next((shape, dtype, xp), xp.zeros if is_recording() else xp.empty)

    def zeros(self, shape: tuple[int, ...], dtype: np.dtype[Any], xp: ModuleType) -> Array:
        """Return the step's next buffer, zeroed when it is allocated; the caller must zero it again after use."""
        return self._next((shape, dtype, xp, 0), xp.zeros)

    def _next(self, kind: tuple[Any, ...], make: Callable[..., Array]) -> Array:
        position = self._taken
        self._taken += 1
        if position < len(self._buffers) and self._kinds[position] == kind:
            return self._buffers[position]
        self._kinds[position:] = [kind, *self._kinds[position + 1 :]]  # replace the buffer of another batch shape
        self._buffers[position:] = [recorded(make(*kind[:2])), *self._buffers[position + 1 :]]
        return self._buffers[position]

    def pack(self) -> int:
        """Move the buffers into one allocation, in their order; return its size in bytes.

        Called before a step is recorded, so that only this allocation can fail.
        """
        kinds, places, size = self._kinds, [], 0
        if not kinds:
            return 0
        for shape, dtype, *_ in kinds:
            places.append(size)
            size += -(-math.prod(shape) * dtype.itemsize // ALIGNMENT) * ALIGNMENT
        self._buffers.clear()  # before the new allocation: there may not be enough memory for both
        arena = aligned(size, np.uint8, kinds[0][2], zero=is_recording())
        for start, (shape, dtype, _, *zero) in zip(places, kinds, strict=True):
            end = start + math.prod(shape) * dtype.itemsize
            buffer = arena[start:end].view(dtype).reshape(shape)
            if zero:
                buffer.fill(0)
            self._buffers.append(recorded(buffer))
        return size

    @property
    def nbytes(self) -> int:
        """Total size in bytes of the buffers requested so far."""
        return sum(math.prod(shape) * dtype.itemsize for shape, dtype, *_ in self._kinds)

    def __repr__(self) -> str:
        return f"<Tape: step {self.step}, {len(self._buffers)} buffers of {self.nbytes:,} bytes>"

    def next_draw(self) -> int:
        """Return the number of the step's next draw, for a kernel that generates the numbers of `uniform` itself."""
        self._draws += 1
        return self._draws - 1

    def device_step(self, xp: ModuleType) -> Array:
        """Return the step's number for kernels: an int64 array of `xp`, the same one in each step."""
        word = self.counter.word
        if word is None or not isinstance(word, xp.ndarray):
            word = xp.empty(1, np.int64)
            self.counter.keep_in(word)
        return word

    def uniform(self, shape: tuple[int, ...]) -> np.ndarray:
        """Return the step's next random numbers: float32 in [0, 1), on the host."""
        numbers: np.ndarray = self.empty(shape, np.dtype(np.float32), np)
        do(partial(self._draw, numbers.view(np.ndarray), self.next_draw(), self.first_row))
        return numbers

    def _draw(self, out: np.ndarray, draw: int, first_row: int) -> None:
        random.uniform(out, seed=self.seed, step=self.step, draw=draw, first_row=first_row)

    def save(self, owner: object, *values: Any) -> None:
        """Save `values` for the backward pass of the layer `owner`."""
        self._saved.append((owner, values))

    def restore(self, owner: object) -> tuple[Any, ...]:
        """Remove and return the values that `owner` saved last.

        Raises:
            StateError: nothing was saved, or another layer saved last: backward runs in the reverse order of forward.
        """
        if not self._saved:
            raise StateError(f"{owner!r}: backward without a forward; call forward(x, tape) with this tape first.")
        if self._saved[-1][0] is not owner:
            raise StateError(
                f"{owner!r}: backward out of order; call the backward of {self._saved[-1][0]!r} first, whose forward "
                "ran last."
            )
        values: tuple[Any, ...] = self._saved.pop()[1]
        return values


def empty(tape: Tape | None, shape: tuple[int, ...], dtype: np.dtype[Any], xp: ModuleType) -> Array:
    """Return `tape.empty(...)`, or a new array if there is no tape."""
    return recorded(xp.empty(shape, dtype)) if tape is None else tape.empty(shape, dtype, xp)


def zeros(tape: Tape | None, shape: tuple[int, ...], dtype: np.dtype[Any], xp: ModuleType) -> Array:
    """Return `tape.zeros(...)`, or a new array of zeros if there is no tape."""
    return xp.zeros(shape, dtype) if tape is None else tape.zeros(shape, dtype, xp)


def empty_like(tape: Tape | None, a: Array, xp: ModuleType) -> Array:
    """Return a C-contiguous buffer with the shape and dtype of `a`."""
    return empty(tape, a.shape, a.dtype, xp)
