"""Choose between classification and regression, and convert labels to class indices."""

from __future__ import annotations

from typing import Literal, TypeAlias

import numpy as np

from gpunet.data.checks import check_one_dimension, check_targets
from gpunet.errors import DataError

Task: TypeAlias = Literal["classification", "regression"]

MAX_INTEGER_CLASSES = 20


def infer_task(values: np.ndarray) -> Task:
    """Return the task that a target (n,) or (n, targets) suggests.

    Text and booleans are classes. Numbers are classes if all are integers, at most 20 are distinct, and each occurs
    twice or more on average; otherwise they are regression targets.
    """
    if values.dtype.kind in "bU":
        return "classification"
    if values.ndim != 1 or (values != np.round(values)).any():
        return "regression"
    few = min(MAX_INTEGER_CLASSES, len(values) // 2)
    return "classification" if len(np.unique(values)) <= few else "regression"


def encode_target(values: np.ndarray, task: Task | None = None) -> tuple[np.ndarray, tuple[str, ...] | None]:
    """Return the target as `Dataset` holds it, and its class names.

    Args:
        values: text (n,), or numbers (n,) or (n, targets).
        task: the task; by default that of `infer_task`.

    Returns:
        Class indices int64 (n,) and the sorted class names, or float targets and None.

    Raises:
        DataError: a value is missing or infinite, or a regression target is text.
        DTypeError: the values are neither text nor real numbers.
        ShapeError: class labels have several columns.
    """
    numbers = None if values.dtype.kind == "U" else check_targets(values)
    if (task or infer_task(values)) == "regression":
        if numbers is None:
            raise DataError(f"y is text, such as {str(values.flat[0])!r}; regression needs numbers.")
        return numbers, None
    distinct, indices = np.unique(check_one_dimension(values, "y"), return_inverse=True)
    return indices.astype(np.int64), tuple(map(class_name, distinct.tolist()))


def label_indices(values: np.ndarray, classes: tuple[str, ...], name: str = "y") -> np.ndarray:
    """Return labels (n,) of text or numbers as indices int64 (n,) into `classes`.

    Raises:
        DataError: a label is not among the classes.
        ShapeError: the labels have several columns.
    """
    index = {known: i for i, known in enumerate(classes)}
    names = [class_name(value) for value in check_one_dimension(values, name).tolist()]
    for row, label in enumerate(names):
        if label not in index:
            raise DataError(f"{name} is {label!r} at row {row}; the classes are {listing(classes)}.")
    return np.array([index[label] for label in names], np.int64)


def class_name(value: str | float) -> str:
    """Return the class name of a label: 3 and 3.0 are both "3"."""
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def listing(names: tuple[str, ...] | list[str]) -> str:
    """Return at most 20 of the names as text for an error message."""
    more = f" and {len(names) - 20} more" if len(names) > 20 else ""
    return ", ".join(map(repr, names[:20])) + more
