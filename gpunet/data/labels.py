"""Classification or regression, and the way from class names to class indices and back."""

from __future__ import annotations

from typing import Literal, TypeAlias

import numpy as np

from gpunet.data.checks import check_one_dimension, check_targets
from gpunet.errors import DataError

Task: TypeAlias = Literal["classification", "regression"]

MAX_INTEGER_CLASSES = 20


def infer_task(values: np.ndarray) -> Task:
    """Return the task that a target stands for.

    Text and booleans are classes. Numbers are classes where all are integers, at most 20 of them are distinct, and each
    distinct one comes twice or more on average; else they are values to regress on.
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
        task: what to take it for; as `infer_task` decides by default.

    Returns:
        Indices int64 (n,) with the sorted class names, or float values with None.

    Raises:
        DataError: values that are missing or infinite, or text as a regression target.
        DTypeError: neither text nor real numbers.
        ShapeError: several columns as classes.
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
        DataError: a label that is not among the classes.
        ShapeError: several columns.
    """
    index = {known: i for i, known in enumerate(classes)}
    names = [class_name(value) for value in check_one_dimension(values, name).tolist()]
    for row, label in enumerate(names):
        if label not in index:
            raise DataError(f"{name} is {label!r} at row {row}; the classes are {listing(classes)}.")
    return np.array([index[label] for label in names], np.int64)


def class_name(value: str | float) -> str:
    """Return the name of the class that `value` stands for: 3 and 3.0 are both "3"."""
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def listing(names: tuple[str, ...] | list[str]) -> str:
    """Return names for an error message, the first 20 of them."""
    more = f" and {len(names) - 20} more" if len(names) > 20 else ""
    return ", ".join(map(repr, names[:20])) + more
