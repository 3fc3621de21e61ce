"""The loop over epochs and steps of one `fit`."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from functools import partial

import numpy as np

from gpunet.errors import GpunetWarning
from gpunet.optimizers.step import LONGEST_RUN
from gpunet.training.batches import Batches, NextRows
from gpunet.training.callbacks import Callback
from gpunet.training.history import Row
from gpunet.training.interrupts import interruptible
from gpunet.training.protocol import Training
from gpunet.training.step import Step, StepCache

LONGEST_CALL = 0.05
"""Seconds that one call of steps may take, so that Ctrl-C and the progress bar stay prompt."""

FIRST_CALL = 64
"""Steps of a call on a GPU in the first epoch."""

Validate = Callable[[], Mapping[str, float]]
"""Returns the loss and the metrics on the validation data."""


class EpochLoop:
    """Runs the epochs of one `fit`.

    Args:
        training: what is trained; its epoch, position, history and metrics advance.
        steps: its steps.
        batch_size: rows of a step.
        drop_last: whether an epoch ends before a last batch that is smaller.
        order: returns the order of the rows in the epoch that begins or continues, (rows,).
        validate: evaluates the validation data; None: there are none.
    """

    _batches: Batches
    _norms: np.ndarray | None = None
    """(rows,), what each row adds to the denominator of the loss; None: all the same, or no ranks share the batches."""

    def __init__(
        self,
        training: Training,
        steps: StepCache,
        batch_size: int,
        drop_last: bool,
        order: Callable[[], np.ndarray],
        validate: Validate | None,
    ):
        self._training, self._steps = training, steps
        self._batch_size, self._drop_last, self._order, self._validate = batch_size, drop_last, order, validate
        self._single = training.ranks.size > 1 or any(map(_acts_on_each_step, training.callbacks))

    def run(self, arrays: Sequence[np.ndarray], epochs: int) -> None:
        """Run some epochs; the first completes the one that an interruption left unfinished.

        Args:
            arrays: features, targets and, if there are any, row weights, (rows, ...).
            epochs: number of epochs.
        """
        training = self._training
        if training.ranks.size > 1:
            self._norms = training.loss.norms(*arrays[1:])
        self._batches = self._steps.load(arrays)
        training.history.stopped = None
        first = self._end(training.position) - training.position
        with interruptible(training.stop):
            try:
                for callback in training.callbacks:
                    callback.on_fit_begin(training, first + (epochs - 1) * self._end(0))
                for _ in range(epochs):
                    self._run_epoch()
                    if training.history.stopped:
                        break
            except BaseException:
                training.history.stopped = "error"  # maybe in the middle of an update: nothing to write to a checkpoint
                raise
            finally:
                self._batches.release()
                for callback in training.callbacks:
                    callback.on_fit_end(training)

    def _end(self, position: int) -> int:
        """Return where an epoch ends that goes on at `position`, in rows."""
        rows = self._training.rows
        return rows - (rows - position) % self._batch_size if self._drop_last else rows

    def _run_epoch(self) -> None:
        training, ranks = self._training, self._training.ranks
        order, end = self._order(), self._end(training.position)
        self._batches.begin(*ranks.order(order, training.position, end, self._batch_size))
        if not training.position:
            training.optimizer.prepare().progress.first_skipped.fill(0)
        if self._single:  # one table of learning rates for many calls
            steps = -(-(end - training.position) // self._batch_size)
            training.optimizer.prepare().progress.look_ahead(min(steps, LONGEST_RUN))
        began, first = time.perf_counter(), training.position
        while training.position < end:
            if training.history.stopped == "interrupted" and ranks.size == 1:
                return
            self._run_steps(order, end)
        self._end_epoch(began, end - first)

    def _run_steps(self, order: np.ndarray, end: int) -> None:
        """Run as many steps in one call as there are until Python must act, or until the epoch's end."""
        training = self._training
        left = end - training.position
        count = min(self._batch_size, left)
        step = self._step(count)
        if step.share is not None:
            batch = order[training.position : training.position + count]
            step.share.weigh(None if self._norms is None else self._norms[batch])
        steps = 1 if self._single else min(left // count, _steps_of_a_call(step))
        step.prepare()
        began, before = time.perf_counter(), training.optimizer.steps
        try:
            step.run(steps)
        finally:  # an error or a second Ctrl-C may end the run after some steps
            if done := training.optimizer.steps - before:
                training.running.count(step.prediction, done)
            training.position += done * count
        if step.seconds is None and step.device.xp is np:  # the pace of a GPU is known when the epoch ends
            step.seconds = (time.perf_counter() - began) / steps
        for callback in training.callbacks:
            callback.on_steps_end(training, steps, steps * count)

    def _step(self, count: int) -> Step:
        kind = self._batches, count
        running = self._training.running
        make = partial(self._steps.make, kind, count, lambda rows: NextRows(self._batches, rows, running))
        return self._steps.find(kind) or make()

    def _end_epoch(self, began: float, rows: int) -> None:
        """Read the sums of the epoch, which began at that time with so many rows left; validate; call callbacks."""
        training, ranks = self._training, self._training.ranks
        first_skipped = training.optimizer.prepare().progress.first_skipped
        means, skipped = training.running.read_with(first_skipped, ranks.total)
        if rows and (step := self._steps.find((self._batches, self._batch_size))) is not None:
            step.seconds = (time.perf_counter() - began) * self._batch_size / rows
        if skipped and ranks.main:
            warnings.warn(
                f"epoch {training.epoch + 1}: from step {skipped} of the training on, gradients were not finite; such "
                "steps are not applied, and the weights are the last finite ones. Lower the learning rate.",
                GpunetWarning,
                stacklevel=5,
            )
        row = ranks.on_main(partial(self._row, means, began))
        training.optimizer.schedule.observe(row.get("val_loss", row["loss"]))
        training.epoch, training.position = training.epoch + 1, 0
        training.running.reset()
        training.history.epochs.append(row)
        for callback in training.callbacks:
            callback.on_epoch_end(training, row)
        training.history.stopped = ranks.first(training.history.stopped)

    def _row(self, means: Mapping[str, float], began: float) -> Row:
        """Return what the history keeps of the epoch, which began at that time."""
        training = self._training
        row: Row = {"epoch": training.epoch + 1, **means}
        if self._validate is not None:
            row |= {f"val_{name}": value for name, value in self._validate().items()}
        return row | {"lr": training.optimizer.lr, "seconds": round(time.perf_counter() - began, 4)}


def _acts_on_each_step(callback: Callback) -> bool:
    """Return whether a callback overrides `on_step_end`."""
    return getattr(callback.on_step_end, "__func__", None) is not Callback.on_step_end


def _steps_of_a_call(step: Step) -> int:
    """Return how many steps one call may run; until the pace of a step is known, few."""
    if step.seconds is None:
        return 1 if step.device.xp is np else FIRST_CALL
    return int(min(max(LONGEST_CALL / step.seconds, 1), LONGEST_RUN))
