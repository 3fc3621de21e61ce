"""What a model is worth on raw data: its loss and its metrics."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import ArrayLike

from gpunet.losses import Loss
from gpunet.models import Model
from gpunet.training.examples import check_examples, row_weights
from gpunet.training.metrics import accuracy, mean_absolute_error, r2_score

Metric = Callable[[np.ndarray, np.ndarray], float]


def default_metrics(loss: Loss) -> dict[str, Metric]:
    """Return the metrics by name that `Trainer` takes for a loss where it is given none."""
    if loss.task == "regression":
        return {"mae": mean_absolute_error, "r2": r2_score}
    return {} if loss.task == "similarity" else {"accuracy": accuracy}


class Evaluation:
    """Evaluates a model on data that are checked once, however often it is called.

    Args:
        model: the model.
        loss: the loss to report.
        metrics: functions (target, prediction) -> float by name.
        X: as for `Trainer.fit`.
        y: as for `Trainer.fit`.
        sample_weight: (rows,) weights >= 0 of the rows in the loss, or None.

    Raises:
        DataError, DTypeError, ShapeError: data that cannot be used.
    """

    def __init__(
        self,
        model: Model,
        loss: Loss,
        metrics: Mapping[str, Metric],
        X: ArrayLike,
        y: ArrayLike,
        sample_weight: ArrayLike | None = None,
    ):
        self._model, self._loss, self._metrics = model, loss, metrics
        self._x, self._target = check_examples(model, loss, X, y, model.classes)
        self._weight = row_weights(model, sample_weight, len(self._x))
        self._y = np.asarray(y, np.float64) if loss.task == "regression" else None

    def __call__(self) -> dict[str, float]:
        """Return the loss and the metrics by name; NaN for a NaN model."""
        outputs = self._model.ready_outputs(self._x)
        results = {"loss": float(self._loss.value(outputs, self._target, self._weight))}
        if not np.isfinite(outputs).all():  # metrics would refuse them, and a training that diverged could not continue
            return results | dict.fromkeys(self._metrics, math.nan)
        target, predicted = _seen_by_metrics(self._model, self._loss, self._target, outputs, self._y)
        return results | {name: float(metric(target, predicted)) for name, metric in self._metrics.items()}


def _seen_by_metrics(
    model: Model, loss: Loss, target: np.ndarray, outputs: np.ndarray, y: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray]:
    """Return targets and predictions as metrics take them; `y` are a regression's raw targets."""
    if y is not None:
        target = y
        outputs = model.decode(outputs).reshape(y.shape)
    elif loss.task == "classification":  # each position counts, where a row has several
        target = target.reshape(-1, *target.shape[outputs.ndim - 1 :])
        outputs = outputs.reshape(-1, outputs.shape[-1])
    elif loss.task == "similarity":
        outputs = model.decode(outputs)
    elif loss.task == "binary":
        outputs, target = (outputs > 0).astype(np.int64).ravel(), (target > 0.5).astype(np.int64).ravel()
    return target, outputs
