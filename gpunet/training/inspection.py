"""Methods of a Trainer that do not change the training."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, TypeVar

import numpy as np
from numpy.typing import ArrayLike

from gpunet import random
from gpunet.arguments import counted
from gpunet.data.iterables import check_iterable
from gpunet.errors import StateError
from gpunet.habits import explains_wrong_arguments
from gpunet.losses import Loss
from gpunet.models import Model
from gpunet.optimizers import Optimizer
from gpunet.registry import Custom, checked
from gpunet.training import checkpoint, range_test
from gpunet.training.callbacks import Callback
from gpunet.training.evaluation import Evaluation
from gpunet.training.explain import Explanation
from gpunet.training.metrics import Metric
from gpunet.training.protocol import Training
from gpunet.training.range_test import RangeTest
from gpunet.training.step import ExecutorName
from gpunet.versions import Versioned

T = TypeVar("T", bound=Training)


class Inspection(Versioned):
    """Base class of `Trainer` with the methods that do not change the training."""

    model: Model
    loss: Loss
    optimizer: Optimizer
    callbacks: list[Callback]
    metrics: dict[str, Metric]
    seed: int
    executor: ExecutorName
    precision: Literal["float32", "tf32", "3xtf32"]
    ema: float | None
    accumulate: int
    epoch: int
    _steps: Any

    @explains_wrong_arguments
    def evaluate(
        self, X: ArrayLike | Iterable[Any], y: ArrayLike | None = None, sample_weight: ArrayLike | None = None
    ) -> dict[str, float]:
        """Return the loss and the metrics on data, as {"loss": ..., "accuracy": ...}; NaN if outputs are not finite.

        Data and errors as for `fit`. `sample_weight` weights the loss, but not the metrics.
        """
        if y is None:
            check_iterable(X, "evaluate")
        return Evaluation(self.model, self.loss, self.metrics, X, y, sample_weight)()

    @explains_wrong_arguments
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
        """Run a learning rate range test: increase the rate by a factor at each step until the loss diverges.

        The test trains a copy of the model and the optimizer's state; the trainer does not change. Other arguments and
        errors as for `fit`.

        Args:
            X: features as for `fit`, but not an iterable of batches.
            lowest: the first learning rate, > 0.
            highest: the last learning rate, > `lowest`.
            steps: number of learning rates, >= 2.

        Returns:
            The rates, their losses and a suggested rate; `find_lr(X, y).plot("rates.png")` plots them.

        Raises:
            ArgumentError: an invalid range, or an iterable.
            StateError: the training is distributed, or the loss is not finite before the first step.
        """
        return range_test.find(self, X, y, sample_weight, batch_size, lowest, highest, steps)

    def explain(self) -> Explanation:
        """Describe the recorded step of the largest batch: executor, nodes with shapes, memory.

        Raises `StateError` if no step was recorded.
        """
        found: list[Explanation] = self._steps.explanations()
        if not found:
            raise StateError(
                "explain: no step was recorded; call fit (or step) first, with an executor other than 'eager'."
            )
        return max(found, key=lambda explanation: explanation.arena_bytes)

    @explains_wrong_arguments
    def predict(self, X: ArrayLike) -> np.ndarray:
        """Predict labels or values like `Model.predict`; with `ema`, by the average of the weights."""
        with self.model.store.averaged():
            return self.model.predict(X)

    def ema_model(self) -> Model:
        """Return a copy of the model with the moving average of the weights; raise `StateError` without one."""
        if self.ema is None:
            raise StateError("ema_model: there is no moving average of the weights; use Trainer(..., ema=0.999).")
        with self.model.store.averaged():
            return copy.deepcopy(self.model)

    def order(self, rows: int, shuffle: bool) -> np.ndarray:
        """Return the order (rows,) of the rows in the current epoch."""
        return random.permutation(rows, seed=self.seed, epoch=self.epoch) if shuffle else np.arange(rows)

    def save(self: Training, path: str | Path) -> None:
        """Save the full training state to a file; a resumed training is bit-for-bit identical.

        In distributed training all ranks must call it.

        Raises:
            ArgumentError: your own layer, loss, optimizer or schedule is not registered (`gn.register`), or its
                configuration does not rebuild it.
            OSError: the file cannot be written; an existing file stays intact.
        """
        checkpoint.save(self, path)

    @classmethod
    def resume(
        cls: type[T],
        path: str | Path,
        *,
        callbacks: Sequence[Callback] = (),
        metrics: Mapping[str, Metric] | None = None,
        distributed: Literal["mpi"] | None = None,
        custom: Custom | None = None,
    ) -> T:
        """Return the trainer that `save` wrote, on the current device; `fit` continues the training.

        Callbacks, metrics and `distributed` are not in the file: pass them again, as for `Trainer`. The number of ranks
        may differ. Each callback restores the saved state of its kind.

        Args:
            custom: maps names in the file to your own classes that are not registered (`gn.register`).

        Raises:
            FileNotFoundError: there is no such file.
            ModelFileError: the file is truncated, altered or not a checkpoint, or it names an unknown class.
        """
        return checkpoint.load(cls, path, callbacks, metrics, distributed, checked(custom))

    def __repr__(self) -> str:
        return f"<Trainer: {counted(self.epoch, 'epoch')} of {self.model!r} with {self.loss!r} and {self.optimizer!r}>"

    def __getstate__(self) -> Any:
        raise StateError(
            "a Trainer cannot be pickled or copied; use trainer.save(path) and gn.Trainer.resume(path), or pickle its "
            "model."
        )
