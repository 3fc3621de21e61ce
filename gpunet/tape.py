"""The tape: what a training step's forward pass leaves for its backward pass, and every buffer of the step.

A step asks for the same buffers in the same order as the step before, so a tape hands out its k-th buffer to the k-th
request: no keys, no bookkeeping, and after the first step nothing is allocated. Random numbers work the same way: the
k-th draw of a step is a function of (seed, step, k) and of the row's number, so that it is the same on every device
and after a resume.
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
from gpunet.device import Array, aligned
from gpunet.errors import StateError
from gpunet.recording import do, is_recording, recorded

ALIGNMENT = 256
"""Bytes, to which every buffer of a packed tape is aligned."""


class StepCounter:
    """The number of training steps done: an integer on the host, and the same in memory that kernels read.

    Attributes:
        word: int64, its first element is the number; kernels advance it themselves. None: no kernel needs it.
    """

    def __init__(self) -> None:
        self._value = 0
        self.word: Array | None = None

    @property
    def value(self) -> int:
        """The number on the host; setting it writes both, by a launch, no copy from the host."""
        return self._value

    @value.setter
    def value(self, value: int) -> None:
        self._value = value
        if self.word is not None:
            self.word[:1].fill(value)

    def advance(self, steps: int) -> None:
        """Count steps that kernels have counted in `word` already."""
        self._value += steps

    def keep_in(self, word: Array) -> None:
        """Let kernels read the number in `word` from here on."""
        self.word = word
        self.value = self._value


class Tape(Strict):
    """The memory of one training step, reused step after step.

    What is made with a tape belongs to it until its next `reset`. A tape serves one batch shape at a time and one
    thread; use a tape for each.

    Args:
        seed: as the attribute.
        counter: what counts the steps, such as an optimizer's counter. None: the tape counts its own resets.

    Attributes:
        seed: the key of the step's random numbers (dropout masks).
        counter: the number of the step; part of that key.
        first_row: the number of the batch's first row in the whole (global) batch; part of that key.

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
        """Begin a step, by default the next one; what the last one made may be overwritten from here on."""
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
        """Return the step's next buffer, zero when it is made; its user leaves it zeroed for the next step."""
        return self._next((shape, dtype, xp, 0), xp.zeros)

    def _next(self, kind: tuple[Any, ...], make: Callable[..., Array]) -> Array:
        position = self._taken
        self._taken += 1
        if position < len(self._buffers) and self._kinds[position] == kind:
            return self._buffers[position]
        self._kinds[position:] = [kind, *self._kinds[position + 1 :]]  # replaces a buffer of another batch shape
        self._buffers[position:] = [recorded(make(*kind[:2])), *self._buffers[position + 1 :]]
        return self._buffers[position]

    def pack(self) -> int:
        """Move the buffers into one piece of memory, in their order; return its size in bytes.

        For a step that is recorded: from here on the buffers are fixed, and there is one piece to run out of.
        """
        kinds, places, size = self._kinds, [], 0
        for shape, dtype, *_ in kinds:
            places.append(size)
            size += -(-math.prod(shape) * dtype.itemsize // ALIGNMENT) * ALIGNMENT
        self._buffers.clear()  # before the new memory is taken: there may not be enough for both
        arena: Array = aligned(size, np.uint8, kinds[0][2], zero=is_recording()) if kinds else None
        for start, (shape, dtype, _, *zero) in zip(places, kinds, strict=True):
            end = start + math.prod(shape) * dtype.itemsize
            buffer = arena[start:end].view(dtype).reshape(shape)
            if zero:
                buffer.fill(0)
            self._buffers.append(recorded(buffer))
        return size

    @property
    def nbytes(self) -> int:
        """Bytes of the buffers asked for so far."""
        return sum(math.prod(shape) * dtype.itemsize for shape, dtype, *_ in self._kinds)

    def __repr__(self) -> str:
        return f"<Tape: step {self.step}, {len(self._buffers)} buffers of {self.nbytes:,} bytes>"

    def next_draw(self) -> int:
        """Return the number of the step's next draw, for a kernel that makes the numbers of `uniform` itself."""
        self._draws += 1
        return self._draws - 1

    def device_step(self, xp: ModuleType) -> Array:
        """Return the step's number as an int64 array of `xp`, always the same one, for a kernel that draws."""
        if not isinstance(self.counter.word, xp.ndarray):
            self.counter.keep_in(xp.empty(1, np.int64))
        return self.counter.word

    def uniform(self, shape: tuple[int, ...]) -> np.ndarray:
        """Return the step's next random numbers: float32 in [0, 1), on the host."""
        numbers: np.ndarray = self.empty(shape, np.dtype(np.float32), np)
        do(partial(self._draw, numbers.view(np.ndarray), self.next_draw(), self.first_row))
        return numbers

    def _draw(self, out: np.ndarray, draw: int, first_row: int) -> None:
        random.uniform(out, seed=self.seed, step=self.step, draw=draw, first_row=first_row)

    def save(self, owner: object, *values: Any) -> None:
        """Leave `values` for the backward pass of `owner`, the layer that calls."""
        self._saved.append((owner, values))

    def restore(self, owner: object) -> tuple[Any, ...]:
        """Take back what `owner` left last.

        Raises:
            StateError: nothing was left, or another layer's turn is due: backward runs in the reverse order of forward.
        """
        if not self._saved:
            raise StateError(f"{owner!r}: backward without a forward; call forward(x, tape) with this tape first.")
        if self._saved[-1][0] is not owner:
            raise StateError(
                f"{owner!r}: backward out of order; it is the turn of {self._saved[-1][0]!r}, which ran forward last."
            )
        values: tuple[Any, ...] = self._saved.pop()[1]
        return values


def empty(tape: Tape | None, shape: tuple[int, ...], dtype: np.dtype[Any], xp: ModuleType) -> Array:
    """Return a buffer of `tape`, or a fresh array where there is none."""
    return recorded(xp.empty(shape, dtype)) if tape is None else tape.empty(shape, dtype, xp)


def zeros(tape: Tape | None, shape: tuple[int, ...], dtype: np.dtype[Any], xp: ModuleType) -> Array:
    """Return `tape.zeros(...)`, or a fresh array of zeros where there is no tape."""
    return xp.zeros(shape, dtype) if tape is None else tape.zeros(shape, dtype, xp)


def empty_like(tape: Tape | None, a: Array, xp: ModuleType) -> Array:
    """Return a C-contiguous buffer with the shape and dtype of `a`."""
    return empty(tape, a.shape, a.dtype, xp)
