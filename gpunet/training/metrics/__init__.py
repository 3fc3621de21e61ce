"""Metrics over host arrays, with scikit-learn's definitions; the first argument is the target.

In classification metrics, `target` and `prediction` are class numbers (n,) or one score per class (n, k): logits,
probabilities or soft labels. The predicted class is that of the largest score, and the lowest number among equal ones.
Functions raise `ShapeError` for lengths that differ or a wrong number of axes, `DTypeError` for values that are not
real numbers or class numbers that are not integers, and `DataError` for empty arrays, NaN, infinite values of a
regression, and class numbers that are negative or without a score.

A metric's attribute `greater_is_better` tells callbacks which direction is better. Its attribute `takes` determines
what a `Trainer` passes for the n predictions of a classifier; n is larger than the number of rows if a row has several
positions or several binary outputs:

- "labels": class numbers (n,) as predictions and as targets.
- "probabilities": those of each class (n, classes), or of class 1 (n,) if there are two; targets are class numbers.
- "outputs", the default: logits (n, classes), and the targets of the loss; with `BCEWithLogitsLoss` labels.

A function of `sklearn.metrics` that returns a number is also a metric. The name of its second parameter determines what
it gets: labels for `y_pred`, probabilities for `y_score` and `y_proba`. Several binary outputs of a row stay together,
(rows, outputs), which is scikit-learn's format of multilabel targets. Set other arguments with `functools.partial`:

    metrics = {"f1": partial(f1_score, average="macro"), "auc": partial(roc_auc_score, multi_class="ovr")}
"""

from gpunet.training.metrics.classes import (
    accuracy,
    confusion_matrix,
    f1,
    macro_f1,
    precision,
    recall,
    top_k_accuracy,
)
from gpunet.training.metrics.declared import Metric, direction, is_greater_better, what_it_takes
from gpunet.training.metrics.scores import average_precision, log_loss, roc_auc
from gpunet.training.metrics.values import mean_absolute_error, r2_score, root_mean_squared_error

__all__ = [
    "Metric",
    "accuracy",
    "average_precision",
    "confusion_matrix",
    "direction",
    "f1",
    "is_greater_better",
    "log_loss",
    "macro_f1",
    "mean_absolute_error",
    "precision",
    "r2_score",
    "recall",
    "roc_auc",
    "root_mean_squared_error",
    "top_k_accuracy",
    "what_it_takes",
]
