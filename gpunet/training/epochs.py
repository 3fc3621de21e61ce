"""The loop over epochs and steps of one `fit`."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from contextlib import closing
from functools import partial

import numpy as np

from gpunet.errors import located, warn
from gpunet.optimizers.progress import LONGEST_RUN
from gpunet.training.batches import Batches, NextRows
from gpunet.training.callbacks import Callback
from gpunet.training.evaluation import Evaluation
from gpunet.training.feeds import Feed, Portion
from gpunet.training.history import Row
from gpunet.training.interrupts import interruptible
from gpunet.training.protocol import Training
from gpunet.training.step import Step, StepCache

LONGEST_CALL = 0.05
"""Maximum seconds of one call that runs steps, so that Ctrl-C and the progress bar respond quickly."""

FIRST_CALL = 64
"""Steps per call on a GPU in the first epoch, before the time of a step is measured."""


class EpochLoop:
    """The loop over the epochs of one `fit`.

    Args:
        training: the training; the loop advances its epoch, position, history and metrics.

    Raises:
        DataError, DTypeError, ShapeError: the validation data cannot be used.
    """

    _norms: np.ndarray | None = None
    """What each row of the portion's arrays adds to the denominator of the loss; None if all rows add the same, or if
    batches are not split between ranks or into parts."""

    def __init__(self, training: Training, steps: StepCache, feed: Feed):
        self._training, self._steps, self._feed = training, steps, feed
        model, loss, metrics, held_out = training.model, training.loss, training.metrics, feed.validation
        model.classes, training.rows = feed.classes, feed.rows
        self._validate = None if held_out is None else Evaluation(model, loss, metrics, *held_out)
        validated = () if held_out is None else (f"val_{name}" for name in ("loss", *metrics))
        training.columns = ("epoch", *training.running.names, *validated, "lr", "seconds")
        if not model.has_gradients:
            warn("all layers are frozen, so training changes nothing; unfreeze them with model.unfreeze().")
        self._single = training.ranks.size > 1 or any(map(_acts_on_each_step, training.callbacks))

    def run(self, epochs: int) -> None:
        """Run epochs; the first one completes an interrupted epoch."""
        training = self._training
        self._feed.load()
        training.history.stopped = None
        with interruptible(training.stop):
            try:
                for callback in training.callbacks:
                    callback.on_fit_begin(training, self._feed.total())
                for _ in range(epochs):
                    self._run_epoch()
                    if training.history.stopped:
                        break
            except BaseException:
                training.history.stopped = "error"  # possibly within an update, so no checkpoint may be written
                raise
            finally:
                self._feed.release()
                for callback in training.callbacks:
                    callback.on_fit_end(training)

    def _run_epoch(self) -> None:
        training = self._training
        if not training.position:
            training.optimizer.prepare().progress.first_skipped.fill(0)
        began, first = time.perf_counter(), training.position
        portion = None
        with closing(self._feed.portions(first)) as portions:
            for portion in portions:
                if not self._run_portion(portion):
                    return
        self._end_epoch(began, training.position - first, portion)

    def _run_portion(self, portion: Portion) -> bool:
        """Run the steps of a portion; return False if Ctrl-C stopped them."""
        training = self._training
        if training.ranks.size > 1 or training.accumulate > 1:
            self._norms = training.loss.norms(*portion.arrays[1:])
        if self._is_single:  # upload the learning rates of many calls at once
            steps = -(-(portion.end - training.position) // portion.count)
            training.optimizer.prepare().progress.look_ahead(min(steps, LONGEST_RUN))
        while training.position < portion.end:
            if training.history.stopped == "interrupted" and training.ranks.size == 1:
                return False
            self._run_steps(portion)
        return True

    @property
    def _is_single(self) -> bool:
        return self._single or self._norms is not None

    def _run_steps(self, portion: Portion) -> None:
        """Run steps in one call: up to the portion's end, at most LONGEST_CALL, or one if Python acts on each step."""
        training = self._training
        left = portion.end - training.position
        count = min(portion.count, left)
        step = self._step(portion, count)
        if self._norms is not None:
            step.weigh(self._norms[portion.order[training.position : training.position + count]])
        steps = 1 if self._is_single else min(left // count, _steps_of_a_call(step))
        step.prepare()
        began, before = time.perf_counter(), training.optimizer.steps
        try:
            step.run(steps)
        finally:  # after an error or a second Ctrl-C some of the steps are done
            if done := training.optimizer.steps - before:
                training.running.count(step.prediction, done * step.source.parts[-1].stop)
            training.position += done * count
        if step.seconds is None and step.device.xp is np:  # on a GPU the time is known at the end of the epoch
            step.seconds = (time.perf_counter() - began) / steps
        for callback in training.callbacks:
            callback.on_steps_end(training, steps, steps * count)

    def _kind(self, portion: Portion, count: int) -> tuple[Batches, int, int]:
        """Return the key of a step: the batches, rows per step, and rows per forward pass."""
        return portion.batches, count, math.ceil(portion.count / self._training.accumulate)

    def _step(self, portion: Portion, count: int) -> Step:
        batches, _, part = kind = self._kind(portion, count)
        running = self._training.running
        make = partial(self._steps.make, kind, count, lambda rows: NextRows(batches, rows, part, running))
        return self._steps.find(kind) or make()

    def _end_epoch(self, began: float, rows: int, portion: Portion | None) -> None:
        """Read the sums of the epoch, validate, and call the callbacks.

        Args:
            portion: the last portion, whose step gets the measured time per step.
        """
        training, ranks = self._training, self._training.ranks
        first_skipped = training.optimizer.prepare().progress.first_skipped
        means, skipped = training.running.read_with(first_skipped, ranks.total)
        step = None if portion is None else self._steps.find(self._kind(portion, portion.count))
        if portion is not None and step is not None and rows:
            step.seconds = (time.perf_counter() - began) * portion.count / rows
        if skipped and ranks.main:
            warn(
                f"epoch {training.epoch + 1}: from step {skipped} of the training on, gradients were not finite, or "
                "too large for the optimizer; such steps are skipped, and the weights stay finite. Lower the learning "
                "rate."
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
        """Return the history's row of the epoch, which started at `began`."""
        training = self._training
        row: Row = {"epoch": training.epoch + 1, **means}
        if self._validate is not None:
            with located("validation: "):
                row |= {f"val_{name}": value for name, value in self._validate().items()}
        return row | {"lr": training.optimizer.lr, "seconds": round(time.perf_counter() - began, 4)}


def _acts_on_each_step(callback: Callback) -> bool:
    """Return whether a callback overrides `on_step_end`."""
    return getattr(callback.on_step_end, "__func__", None) is not Callback.on_step_end


def _steps_of_a_call(step: Step) -> int:
    """Return the maximum steps per call, from the measured time of a step; few before it is measured."""
    if step.seconds is None:
        return 1 if step.device.xp is np else FIRST_CALL
    return int(min(max(LONGEST_CALL / step.seconds, 1), LONGEST_RUN))
