"""What a model is worth on raw data: its loss and its metrics."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import ArrayLike

from gpunet.losses import Loss
from gpunet.models import Model
from gpunet.training.examples import check_examples
from gpunet.training.metrics import accuracy, mean_absolute_error, r2_score

Metric = Callable[[np.ndarray, np.ndarray], float]


def default_metrics(loss: Loss) -> dict[str, Metric]:
    """Return the metrics by name that `Trainer` takes for a loss where it is given none."""
    if loss.task == "regression":
        return {"mae": mean_absolute_error, "r2": r2_score}
    return {} if loss.task == "similarity" else {"accuracy": accuracy}


def evaluate(model: Model, loss: Loss, metrics: Mapping[str, Metric], X: ArrayLike, y: ArrayLike) -> dict[str, float]:
    """Return the loss and the metrics by name; the documentation is at `Trainer.evaluate`."""
    target = check_examples(model, loss, X, y, model.classes)[1]
    outputs = model.outputs(X)
    results = {"loss": float(loss.value(outputs, target))}
    if not np.isfinite(outputs).all():  # metrics would refuse them, and a training that diverged could not go on
        return results | dict.fromkeys(metrics, math.nan)
    if loss.task == "regression":
        target = np.asarray(y, np.float64)
        outputs = model.decode(outputs).reshape(target.shape)
    elif loss.task == "classification":  # each position counts, where a row has several
        target = target.reshape(-1, *target.shape[outputs.ndim - 1 :])
        outputs = outputs.reshape(-1, outputs.shape[-1])
    elif loss.task == "similarity":
        outputs = model.decode(outputs)
    elif loss.task == "binary":
        outputs, target = (outputs > 0).astype(np.int64).ravel(), (target > 0.5).astype(np.int64).ravel()
    return results | {name: float(metric(target, outputs)) for name, metric in metrics.items()}
