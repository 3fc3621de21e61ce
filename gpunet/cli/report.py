"""Score a trained model, describe its data, give hints about rare classes."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import click
import numpy as np

from gpunet.arguments import counted, printable
from gpunet.data import Dataset
from gpunet.data.labels import label_indices, listing
from gpunet.data.table.units import in_unit
from gpunet.errors import ArgumentError
from gpunet.losses import BCEWithLogitsLoss, CrossEntropyLoss, Loss, MSELoss, PoissonNLLLoss
from gpunet.models import Model
from gpunet.training import Trainer
from gpunet.training.metrics import (
    Metric,
    accuracy,
    average_precision,
    confusion_matrix,
    f1,
    log_loss,
    mean_absolute_error,
    precision,
    r2_score,
    recall,
    roc_auc,
    root_mean_squared_error,
)

LOSS_OF_TASK: dict[str | None, type[Loss]] = {
    "classification": CrossEntropyLoss,
    "binary": BCEWithLogitsLoss,
    "regression": MSELoss,
    "counts": PoissonNLLLoss,
}

CLASS_METRICS: dict[str, Metric] = {
    "accuracy": accuracy,
    "auc": roc_auc,
    "average_precision": average_precision,
    "f1": f1,
    "log_loss": log_loss,
    "precision": precision,
    "recall": recall,
}
VALUE_METRICS: dict[str, Metric] = {"mae": mean_absolute_error, "r2": r2_score, "rmse": root_mean_squared_error}

RANKING = ("auc", "average_precision")
"""The metrics that are undefined for rows of a single class."""

RARE = 0.2
"""A class is rare if it has less than this fraction of rows / classes."""


def described(parts: Mapping[str, Dataset]) -> str:
    """Describe the data of a run and, for a table, its format and schema."""
    train = parts["train"]
    unit = "" if train.schema is None else in_unit(train.schema.target_form)
    kind = f"values to predict{unit}" if train.classes is None else f"{len(train.classes)} classes"
    sizes = ", ".join(f"{len(part):,} {name}" for name, part in parts.items())
    text = f"data    {printable(train.name)}: {counted(train.X.shape[1], 'feature')}, {kind}; {sizes}\n"
    return text if train.schema is None else f"{text}read    {train.found}\n\n{train.schema.describe()}\n"


def show_data(parts: Mapping[str, Dataset], class_weight: object, say: Callable[[str], None]) -> None:
    """Describe the data of a run by `say`, and print a hint about rare classes to stderr."""
    say(described(parts))
    if hint := rare_classes(parts["train"], class_weight):
        click.echo(hint, err=True)


def score(model: Model, X: np.ndarray, y: np.ndarray, *metrics: str | None) -> dict[str, float]:
    """Return the metrics of a trained model, and its loss without label smoothing and class weights.

    Args:
        X: raw features (rows, features...).
        y: as for `Trainer.evaluate`.
        *metrics: names from `CLASS_METRICS` or `VALUE_METRICS`, in addition to the default ones; None is ignored.

    Raises:
        ArgumentError: the model was never trained, or on another task.
    """
    if model.task is None:
        raise ArgumentError("this model was never trained; train it first.")
    if model.task not in LOSS_OF_TASK:
        raise ArgumentError(
            f"the task of this model is {model.task}; the command evaluates {', '.join(map(str, LOSS_OF_TASK))}."
        )
    return Trainer(model, loss=LOSS_OF_TASK[model.task](), metrics=chosen_metrics(model.task, *metrics)).evaluate(X, y)


def chosen_metrics(task: str, *names: str | None) -> dict[str, Metric]:
    """Return the default metrics of a task, then those of the names that are not None."""
    known = CLASS_METRICS if task in ("classification", "binary") else VALUE_METRICS
    wanted = [name for name in names if name is not None]
    for name in wanted:
        if name not in known:
            what = "classes" if known is CLASS_METRICS else "values"
            raise ArgumentError(f"--metric {name}: the target holds {what}; choose from {', '.join(known)}.")
    always = ["accuracy"] if known is CLASS_METRICS else ["mae", "r2"]
    return {name: known[name] for name in dict.fromkeys([*always, *wanted])}


def is_undefined(metric: str | None, y: np.ndarray) -> bool:
    """Return whether a metric is undefined for rows with the targets `y`."""
    return metric in RANKING and len(np.unique(y)) < 2


def check_defined(metric: str | None, y: np.ndarray, classes: tuple[str, ...] | None) -> None:
    """Raise `ArgumentError` if a metric is undefined for a validation part with the targets `y`."""
    if classes is not None and is_undefined(metric, y):
        missing = [name for k, name in enumerate(classes) if k not in y]
        raise ArgumentError(
            f"--metric {metric}: undefined, as the validation part has no row of class {listing(missing)}; choose "
            "another metric, or a larger --validation."
        )


def class_scores(model: Model, X: np.ndarray, y: np.ndarray) -> dict[str, dict[str, float]]:
    """Return rows, precision, recall, F1 and AUC of each class against all others; empty for regression.

    Arguments as for `score`.
    """
    if model.task not in ("classification", "binary"):
        return {}
    p = model.predict_proba(X)
    if p.ndim != 2 or np.ndim(y) != 1:  # a label per position, or several labels
        return {}
    names = model.classes or tuple(map(str, range(p.shape[1])))
    true = y if y.dtype.kind in "iu" else label_indices(y, names)
    counts = confusion_matrix(true, p, len(names))
    right, predicted, rows = counts.diagonal(), counts.sum(axis=0), counts.sum(axis=1)
    return {
        name: {
            "rows": int(rows[k]),
            "precision": float(right[k] / max(predicted[k], 1)),
            "recall": float(right[k] / max(rows[k], 1)),
            "f1": float(2 * right[k] / max(rows[k] + predicted[k], 1)),
            "auc": roc_auc((true == k).astype(np.int64), p[:, k]),
        }
        for k, name in enumerate(names)
    }


def rare_classes(train: Dataset, class_weight: object) -> str | None:
    """Return a hint about rare classes (`RARE`) in the training rows, or None."""
    if train.classes is None:
        return None
    shares = np.bincount(train.y, minlength=len(train.classes)) / len(train)
    rare = [k for k in np.argsort(shares) if shares[k] * len(shares) < RARE]
    if not rare:
        return None
    named = ", ".join(f"{train.classes[k]!r} {shares[k]:.1%}" for k in rare[:5])
    more = f" and {len(rare) - 5} more" if len(rare) > 5 else ""
    weights = "" if class_weight else "--class-weight balanced weights all classes equally, "
    return (
        f"Rare classes: {named}{more} of the training rows. Accuracy says little about them; {weights}"
        "--metric auc selects the epoch with the best AUC."
    )


def never_predicted(scores: Mapping[str, Mapping[str, float]], class_weight: object) -> str | None:
    """Return a warning about classes of which no row is predicted correctly, or None.

    Args:
        scores: what `class_scores` returned.
    """
    missed = [name for name, own in scores.items() if own["rows"] and not own["recall"]]
    if not missed:
        return None
    hint = "" if class_weight else "; try --class-weight balanced"
    return f"Warning: no row of class {', '.join(map(repr, missed[:5]))} is recognised{hint}."
