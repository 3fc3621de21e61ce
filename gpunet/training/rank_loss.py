"""The loss over one rank's rows of a batch."""

from __future__ import annotations

import numpy as np

from gpunet.device import Array, array_module
from gpunet.losses import Loss
from gpunet.tape import Tape, empty, empty_like


class RankLoss(Loss):
    """A loss over a rank's rows, weighted so that the ranks together compute the loss of the whole batch.

    Let N be the denominator of the mean over the batch, and N_r that over the rank's rows. The gradient is weighted by
    N_r / N: the sum of the ranks' gradients is the batch's. The value is weighted by (N_r / N) / (rows_r / rows): the
    mean of the ranks' values, weighted by rows, is the batch's.

    Args:
        count: rows of the batch.
        own: the rank's rows.
        like: an array with the predictions' device and dtype.
    """

    outside_the_step = frozenset(("_known",))

    def __init__(self, loss: Loss, count: int, own: slice, like: Array):
        self.task = loss.task
        self.loss = loss
        self.own, self.rows = own, own.stop - own.start
        self._share = self.rows / count
        self._weights = array_module(like).empty(2, like.dtype)
        self._known = 0.0
        self.weigh(None)

    def weigh(self, norms: np.ndarray | None) -> None:
        """Set the weights for a batch.

        Args:
            norms: what each row adds to N, (count,); None if all rows add the same.
        """
        weight = self._share
        if norms is not None:
            weight = float(norms[self.own].sum(dtype=np.float64) / (norms.sum(dtype=np.float64) or 1))
        if weight != self._known:
            self._known = weight
            self._weights[:1].fill(weight / self._share)
            self._weights[1:].fill(weight)

    def value_and_grad(
        self, prediction: Array, target: Array, weight: Array | None = None, tape: Tape | None = None
    ) -> tuple[Array, Array]:
        given = {} if weight is None else {"weight": weight}
        value, gradient = self.loss.value_and_grad(prediction, target, tape=tape, **given)
        xp = array_module(prediction)
        of_value, of_gradient = self._weights[:1].reshape(()), self._weights[1:].reshape(())
        return (
            xp.multiply(value, of_value, out=empty(tape, (), gradient.dtype, xp)),
            xp.multiply(gradient, of_gradient, out=empty_like(tape, gradient, xp)),
        )

    def check_given(self, prediction: Array, target: Array) -> None:
        self.loss.check_given(prediction, target)
