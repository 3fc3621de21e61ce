"""Metrics over host arrays, as scikit-learn defines them; the target comes first.

Where a metric takes classes, both `target` and `prediction` may be class numbers (n,) or one score per class (n, k):
logits, probabilities, soft labels. Of scores the largest counts; among equal ones, the lowest class number.

A metric says by its attribute `greater_is_better` which way it is better; callbacks that monitor it go by that. Its
attribute `takes` says what a `Trainer` gives it of a classifier's n answers, which are more than its rows where it
answers at several positions, or several questions:

- "labels": class numbers (n,) as predictions and as targets.
- "probabilities": those of each class (n, classes), of two classes that of class 1 (n,); targets are class numbers.
- "outputs", the default: logits (n, classes), and the targets as the loss takes them; with `BCEWithLogitsLoss` labels.

Any function of `sklearn.metrics` that returns a number is a metric, too. It gets what the name of its second parameter
asks for: labels for `y_pred`, probabilities for `y_score` and `y_proba`. Several yes-or-no answers of a row stay a row,
(rows, answers), as scikit-learn takes multilabel targets. `functools.partial` gives it more arguments:

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
