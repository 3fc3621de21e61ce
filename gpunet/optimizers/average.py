"""Update the moving average of a model's parameters after each applied step (`FlatStore.keep_average`).

average += (1 - decay) * (params - average)
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import numpy as np

from gpunet import native
from gpunet.cuda import Kernel
from gpunet.device import Array
from gpunet.layers.store import FlatStore
from gpunet.ops.launch import THREADS, block_count

AVERAGE = Kernel("optimizers.cu", "average")
AVERAGE_CPU = native.Kernel("optimizers.cpp", "average")


class ArrayAverage:
    """The update of the average in array code, in blocks of `block` elements; does nothing if the average is off."""

    def __init__(self, store: FlatStore, block: int | None):
        self._store = store
        self._block = block or len(store.params)
        if store.decay is not None:
            self._scratch = store.device.xp.empty(min(self._block, len(store.params)), store.params.dtype)

    def __call__(self) -> None:
        """Update the average, after an applied step."""
        average, params, decay = self._store.average, self._store.params, self._store.decay
        if average is None or decay is None:
            return
        if average[0] != average[0]:  # NaN: this is the first applied step
            average[...] = params
            return
        for start in range(0, len(params), self._block):
            mean, p = average[start : start + self._block], params[start : start + self._block]
            t = self._scratch[: len(p)]
            np.subtract(p, mean, out=t)
            np.multiply(t, 1 - decay, out=t)
            np.add(mean, t, out=mean)


def record_average(store: FlatStore, squares: np.ndarray, max_norm: float, block: int) -> None:
    """Append the native node that updates the average to the recording, if the average is on.

    Args:
        squares: partial sums of squares of the gradient, which tell whether the step was applied.
        max_norm: `clip_norm`, or 0.
    """
    if store.decay is not None:
        p = store.params
        arrays = squares, len(squares), max_norm, p, store.average
        AVERAGE_CPU(*arrays, p.size, 1 - store.decay, count=math.ceil(p.size / block), grain=1)


def average_launches(
    store: FlatStore, squares: Array, rate: Array, words: Array, max_norm: float
) -> Iterator[Callable[[], None]]:
    """Bind the kernel that updates the average, if it is on; arguments as for a rule's kernel."""
    if store.decay is not None:
        p = store.params
        grid = (block_count(p.nbytes, 16 * THREADS),)
        state = squares, rate, words, len(squares), max_norm
        yield AVERAGE.prepare(grid, (THREADS,), *state, p, store.average, p.size, 1 - store.decay)
