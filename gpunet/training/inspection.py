"""What a training tells of itself and of its model, without training on."""

from __future__ import annotations

import copy
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike

from gpunet import random
from gpunet.data.iterables import check_iterable
from gpunet.errors import StateError
from gpunet.habits import answers_habits
from gpunet.losses import Loss
from gpunet.models import Model
from gpunet.optimizers import Optimizer
from gpunet.training import checkpoint, range_test
from gpunet.training.callbacks import Callback
from gpunet.training.evaluation import Evaluation
from gpunet.training.explain import Explanation
from gpunet.training.metrics import Metric
from gpunet.training.protocol import Training
from gpunet.training.range_test import RangeTest
from gpunet.training.step import ExecutorName
from gpunet.versions import Versioned


class Inspection(Versioned):
    """The base of `Trainer`: the calls that leave the training as it is.

    Attributes: as those of `Trainer`.
    """

    model: Model
    loss: Loss
    optimizer: Optimizer
    callbacks: list[Callback]
    metrics: dict[str, Metric]
    seed: int
    executor: ExecutorName
    precision: Literal["float32", "tf32"]
    ema: float | None
    accumulate: int
    epoch: int
    _steps: Any

    @answers_habits
    def evaluate(
        self, X: ArrayLike | Iterable[Any], y: ArrayLike | None = None, sample_weight: ArrayLike | None = None
    ) -> dict[str, float]:
        """Return {"loss": ..., "accuracy": ...} on data as for `fit`, with its errors; NaN for a NaN model.

        The loss is weighted by `sample_weight`; in the metrics each row counts as one.
        """
        if y is None:
            check_iterable(X, "evaluate")
        return Evaluation(self.model, self.loss, self.metrics, X, y, sample_weight)()

    @answers_habits
    def find_lr(
        self: Training,
        X: ArrayLike,
        y: ArrayLike | None = None,
        *,
        batch_size: int = 32,
        sample_weight: ArrayLike | None = None,
        lowest: float = 1e-7,
        highest: float = 10.0,
        steps: int = 100,
    ) -> RangeTest:
        """Train a copy with a learning rate that rises by a factor from step to step, until its loss diverges.

        The trainer stays as it is, and the copy begins with its weights and its optimizer's state.

        Args:
            X: arrays as for `fit`, no iterable of batches.
            y: as for `fit`.
            batch_size: as for `fit`; at most all rows.
            sample_weight: as for `fit`.
            lowest: the first learning rate, > 0.
            highest: the last one, larger.
            steps: how many there are, >= 2.

        Returns:
            The rates and their losses, with a suggestion, and a picture: `find_lr(X, y).plot("rates.png")`.

        Raises:
            ArgumentError, DataError, DTypeError, ShapeError: as for `fit`; a range that is none; an iterable.
            StateError: several ranks train together, or the loss is not finite before the first step.
        """
        return range_test.find(self, X, y, sample_weight, batch_size, lowest, highest, steps)

    def explain(self) -> Explanation:
        """Return what the recorded step of the largest batch consists of: executor, nodes with their shapes, memory.

        Raises:
            StateError: no step was recorded.
        """
        found: list[Explanation] = self._steps.explanations()
        if not found:
            raise StateError("explain: no step was recorded; train for a step, with an executor other than 'eager'.")
        return max(found, key=lambda explanation: explanation.arena_bytes)

    @answers_habits
    def predict(self, X: ArrayLike) -> np.ndarray:
        """Return labels or values for raw host data; see `Model.predict`. With `ema`, by the average of the weights."""
        with self.model.store.averaged():
            return self.model.predict(X)

    def ema_model(self) -> Model:
        """Return a copy of the model that has the moving average of the weights, to save, export and predict with.

        Raises:
            StateError: the trainer keeps none.
        """
        if self.ema is None:
            raise StateError("ema_model: no average of the weights is kept; give Trainer(..., ema=0.999).")
        with self.model.store.averaged():
            return copy.deepcopy(self.model)

    def order(self, rows: int, shuffle: bool) -> np.ndarray:
        """Return the order of the rows in the epoch that begins or continues, (rows,)."""
        return random.permutation(rows, seed=self.seed, epoch=self.epoch) if shuffle else np.arange(rows)

    def save(self: Training, path: str | Path) -> None:
        """Write the full training state to a file; resuming is bit-for-bit identical. All ranks call it, rank 0 writes.

        Raises:
            ArgumentError: a layer, the loss, the optimizer or its schedule is of a class of your own that is not
                registered (`gn.register`), or whose configuration does not rebuild it.
            OSError: the file cannot be written; one that was there before is untouched.
        """
        checkpoint.save(self, path)

    def __repr__(self) -> str:
        epochs = f"{self.epoch} epoch{'' if self.epoch == 1 else 's'}"
        return f"<Trainer: {epochs} of {self.model!r} with {self.loss!r} and {self.optimizer!r}>"

    def __getstate__(self) -> Any:
        raise StateError(
            "a Trainer cannot be pickled or copied, but its model can; use trainer.save(path), gn.Trainer.resume(path)."
        )
