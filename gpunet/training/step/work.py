"""The Python code of a training step: the gradients of a batch, and the update."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import numpy as np

from gpunet.device import Array
from gpunet.recording import recorded
from gpunet.tape import Tape
from gpunet.training.protocol import Training
from gpunet.training.rank_loss import RankLoss
from gpunet.training.step.gradient_sum import GradientSum
from gpunet.training.step.interfaces import Source


class Work:
    """What a training step computes for one batch shape.

    Args:
        training: the training, attached.
        source: the source of the batches.
        count: number of rows of the global batch.

    Attributes:
        ranks: the processes that train together.
        share: the loss over this rank's rows; None in one process.
        shares: the objects that weight a rank's rows or a part's rows by their share of the batch.
        value, prediction: loss () and outputs of the last step (or of the last part of its batch) on the device; the
            next step overwrites them.
    """

    value: Array
    prediction: Array

    def __init__(self, training: Training, source: Source, count: int):
        self.model, self.loss, self.optimizer = training.model, training.loss, training.optimizer
        self.seed, self.source, self.count, self.ranks = training.seed, source, count, training.ranks
        self.store, self.device = self.model.store, self.model.device
        self.share: RankLoss | None = None
        self._sum = GradientSum(self.store, source.parts) if len(source.parts) > 1 else None
        self.first_row = 0
        self.reduce: Callable[[], Any] | None = None
        if self.ranks.size > 1:
            self.loss = self.share = RankLoss(self.loss, count, self.ranks.rows(count), self.store.params)
            self.first_row = self.share.own.start
            self.reduce = self.ranks.reducer(self.store.grads)
        self.shares = [share for share in (self.share, self._sum) if share is not None]
        self.renew_buffers()

    def renew_buffers(self) -> None:
        """Forget all buffers: the next `work` allocates new ones."""
        sizes = {part.stop - part.start for part in self.source.parts}
        self._tapes = {size: Tape(self.seed, self.optimizer.counter) for size in sizes}

    @property
    def nbytes(self) -> int:
        """The bytes of all buffers that were requested."""
        return sum(tape.nbytes for tape in self._tapes.values())

    def gradients(self, tape: Tape, load: Callable[[Tape], Sequence[Array]]) -> tuple[Array, Array, Array]:
        """Run forward and backward passes on the batch that `load` returns; return loss, outputs and targets."""
        x, target, *weights = load(tape)
        prediction = self.model.forward(x, tape)
        given = {"weight": weights[0]} if weights else {}  # a user's loss may lack the parameter
        value, gradient = self.loss.value_and_grad(prediction, target, tape=tape, **given)
        self.loss.require_array(value)
        self.model.backward(gradient, tape, input_gradient=False)
        return value, prediction, target

    def work(self) -> None:
        """Run the step without its update: the gradients of each part of the batch, and the sums of the metrics."""
        for number, part in enumerate(self.source.parts):
            tape = self._tapes[part.stop - part.start]
            tape.reset(first_row=self.first_row + part.start)
            value, self.prediction, target = self.gradients(tape, partial(self.source.load, part))
            self.value = value
            if self._sum is not None:
                self._sum.add(number, value, tape)
                self.value, value = self._sum.value, recorded(self._sum.of_part)
            self.source.add(value, self.prediction, target, tape)

    def weigh(self, norms: np.ndarray | None) -> None:
        """Set the weights of this rank, or of the parts of the batch, by their share of the mean over the batch.

        Args:
            norms: what each row adds to the denominator of the mean, (rows,); None if all rows add the same.
        """
        for share in self.shares:
            share.weigh(norms)

    def pack(self) -> int:
        """Move the buffers of the step into fixed memory (see `Tape.pack`); return its size in bytes."""
        return sum(tape.pack() for tape in self._tapes.values())

    def update(self) -> None:
        """All-reduce the gradients over the ranks and update the parameters."""
        if self.reduce is not None:
            self.reduce()
        self.optimizer.step()

    @contextmanager
    def unchanged(self) -> Iterator[None]:
        """Restore after the block all arrays that `work` changes, except the gradients."""
        kept = [(a, a.copy()) for a in (self.store.buffers, *self.source.advances)]
        try:
            yield
        finally:
            for a, before in kept:
                a[...] = before
