"""Sum the gradients of the parts of a batch before one update."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial

import numpy as np

from gpunet import native
from gpunet.cuda import Kernel
from gpunet.device import Array
from gpunet.layers.store import FlatStore
from gpunet.memory import aligned
from gpunet.ops.launch import THREADS, block_count, operand
from gpunet.optimizers import BLOCK
from gpunet.recording import do, records_native
from gpunet.tape import Tape

ADD = Kernel("gradient_sum.cu", "add_gradient")
ADD_CPU = native.Kernel("gradient_sum.cpp", "add_gradient")


class GradientSum:
    """Sum the gradients and the losses of the parts of a batch.

    A part's loss and gradient are means over its rows. They are weighted by N_i / N, where N is the denominator of the
    mean over the batch and N_i that over the rows of part i.

    Args:
        parts: the rows of each part.

    Attributes:
        value: the loss of the batch, ().
        of_part: the loss of a part, (), scaled so that the mean over the parts, weighted by rows, is that of the batch.
    """

    def __init__(self, store: FlatStore, parts: Sequence[slice]):
        self._store, self._parts = store, parts
        xp, like = store.device.xp, store.grads
        with store.device.activate():
            self._total = aligned(like.shape, like.dtype, xp)
            self._weights: Array = xp.empty(len(parts), like.dtype)
            self._losses: Array = xp.zeros(2, like.dtype)
        self.value, self.of_part = self._losses[:1].reshape(()), self._losses[1:].reshape(())
        self.weigh(None)

    def weigh(self, norms: np.ndarray | None) -> None:
        """Set the weights for a batch.

        Args:
            norms: what each row adds to N, (rows,); None if all rows add the same.
        """
        of_rows = np.ones(self._parts[-1].stop) if norms is None else norms
        of_parts = np.array([of_rows[part].sum(dtype=np.float64) for part in self._parts])
        self._store.device.assign(self._weights, of_parts / (of_parts.sum() or 1))

    def add(self, part: int, value: Array, tape: Tape) -> None:
        """Add the gradient in the store, and the loss; after the last part the store contains the sum.

        Args:
            part: the number of the part.
        """
        xp, g, rows = self._store.device.xp, self._store.grads, self._parts[part]
        numbers = part, len(self._parts), self._parts[-1].stop / (rows.stop - rows.start)
        if xp is not np:
            value = operand(value, tape, xp, g.dtype)
            grid = (block_count(g.nbytes, 16 * THREADS),)
            ADD(grid, (THREADS,), g, self._total, value, self._losses, self._weights, g.size, *numbers)
        elif records_native(value) and value.dtype == g.dtype:
            arrays, blocks = (g, self._total, value, self._losses, self._weights), math.ceil(g.size / BLOCK)
            ADD_CPU(*arrays, g.size, *numbers, count=blocks, grain=1)
        else:
            do(partial(self._add, value.view(np.ndarray), *numbers))

    def _add(self, value: np.ndarray, part: int, parts: int, scale: float) -> None:
        g, weight = self._store.grads, self._weights[part]
        np.multiply(g, weight, out=g)
        own = weight * value
        self._losses[:] = own + (self._losses[0] if part else 0), scale * own
        if part:
            np.add(g, self._total, out=g)
        if part < parts - 1:
            self._total[...] = g
