"""The tape: what a training step's forward pass leaves for its backward pass, and every buffer of the step.

A step asks for the same buffers in the same order as the step before, so a tape hands out its k-th buffer to the k-th
request: no keys, no bookkeeping, and after the first step nothing is allocated. Random numbers work the same way: the
k-th draw of a step is a function of (seed, step, k) and of the row's number, so that it is the same on every device
and after a resume.
"""

from __future__ import annotations

from types import ModuleType
from typing import Any

import numpy as np

from gpunet import random
from gpunet.device import Array
from gpunet.errors import StateError


class Tape:
    """The memory of one training step, reused step after step.

    What is made with a tape belongs to it until its next `reset`. A tape serves one batch shape at a time and one
    thread; use a tape for each.

    Attributes:
        seed: the key of the step's random numbers (dropout masks).
        step: the number of the step; part of that key.
        first_row: the number of the batch's first row in the whole (global) batch; part of that key.
    """

    def __init__(self, seed: int = 0):
        self.seed = seed
        self.step = 0
        self.first_row = 0
        self._buffers: list[Array] = []
        self._kinds: list[tuple[Any, ...]] = []
        self._taken = 0
        self._draws = 0
        self._device_step: Array | None = None
        self._saved: list[tuple[Any, ...]] = []

    def reset(self, step: int | None = None, first_row: int = 0) -> None:
        """Begin a step, by default the next one; what the last one made may be overwritten from here on."""
        self.step = self.step + 1 if step is None else step
        self.first_row = first_row
        self._taken = 0
        self._draws = 0
        if self._device_step is not None:
            self._device_step.fill(self.step)
        self._saved.clear()

    def empty(self, shape: tuple[int, ...], dtype: np.dtype[Any], xp: ModuleType) -> Array:
        """Return the step's next buffer: an uninitialised array of `xp`."""
        kind = (shape, dtype, xp)
        position = self._taken
        self._taken += 1
        if position < len(self._kinds) and self._kinds[position] == kind:
            return self._buffers[position]
        return self._keep(position, kind, xp.empty(shape, dtype))

    def zeros(self, shape: tuple[int, ...], dtype: np.dtype[Any], xp: ModuleType) -> Array:
        """Return the step's next buffer, zero when it is made; who uses it leaves it as zeros for the next step."""
        kind = (shape, dtype, xp, 0)
        position = self._taken
        self._taken += 1
        if position < len(self._kinds) and self._kinds[position] == kind:
            return self._buffers[position]
        return self._keep(position, kind, xp.zeros(shape, dtype))

    def _keep(self, position: int, kind: tuple[Any, ...], buffer: Array) -> Array:
        """Keep a new buffer in its place, where one of another batch shape may be."""
        self._kinds[position:] = [kind, *self._kinds[position + 1 :]]
        self._buffers[position:] = [buffer, *self._buffers[position + 1 :]]
        return buffer

    def next_draw(self) -> int:
        """Return the number of the step's next draw, for a kernel that makes the numbers of `uniform` itself."""
        self._draws += 1
        return self._draws - 1

    def device_step(self, xp: ModuleType) -> Array:
        """Return the step's number as an int64 array (1,) of `xp`, always the same one, for a kernel that draws.

        `reset` writes it by a launch, no copy from the host; so a recorded step may be replayed with another number.
        """
        if self._device_step is None:
            self._device_step = xp.empty(1, np.int64)
            self._device_step.fill(self.step)
        return self._device_step

    def uniform(self, shape: tuple[int, ...]) -> np.ndarray:
        """Return the step's next random numbers: float32 in [0, 1), on the host."""
        numbers: np.ndarray = self.empty(shape, np.dtype(np.float32), np)
        random.uniform(numbers, seed=self.seed, step=self.step, draw=self.next_draw(), first_row=self.first_row)
        return numbers

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
    return xp.empty(shape, dtype) if tape is None else tape.empty(shape, dtype, xp)


def zeros(tape: Tape | None, shape: tuple[int, ...], dtype: np.dtype[Any], xp: ModuleType) -> Array:
    """Return `tape.zeros(...)`, or a fresh array of zeros where there is no tape."""
    return xp.zeros(shape, dtype) if tape is None else tape.zeros(shape, dtype, xp)


def empty_like(tape: Tape | None, a: Array, xp: ModuleType) -> Array:
    """Return a C-contiguous buffer with the shape and dtype of `a`."""
    return empty(tape, a.shape, a.dtype, xp)
