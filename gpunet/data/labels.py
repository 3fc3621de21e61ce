"""Choose between classification and regression, and convert labels to class indices."""

from __future__ import annotations

from typing import Literal, TypeAlias

import numpy as np

from gpunet.data.checks import check_one_dimension, check_targets
from gpunet.errors import DataError

Task: TypeAlias = Literal["classification", "regression"]

MAX_INTEGER_CLASSES = 20


def infer_task(values: np.ndarray) -> Task:
    """Return the task that a target (n,) or (n, targets) suggests, by the rule in `gpunet.data.load`."""
    if values.dtype.kind in "bU":
        return "classification"
    if values.ndim != 1 or (values != np.round(values)).any():
        return "regression"
    few = min(MAX_INTEGER_CLASSES, len(values) // 2)
    return "classification" if len(np.unique(values)) <= few else "regression"


def encode_target(values: np.ndarray, task: Task | None = None) -> tuple[np.ndarray, tuple[str, ...] | None]:
    """Return a target as `Dataset` holds it, and its sorted class names (None for regression).

    Args:
        values: text (n,), or numbers (n,) or (n, targets).
        task: by default that of `infer_task`.
    """
    numbers = None if values.dtype.kind == "U" else check_targets(values)
    if (task or infer_task(values)) == "regression":
        if numbers is None:
            raise DataError(f"y is text, such as {str(values.flat[0])!r}; regression needs numbers.")
        return numbers, None
    distinct, indices = np.unique(check_one_dimension(values, "y"), return_inverse=True)
    return indices.astype(np.int64), tuple(map(class_name, distinct.tolist()))


def label_indices(values: np.ndarray, classes: tuple[str, ...], name: str = "y") -> np.ndarray:
    """Return labels (n,) of text or numbers as indices int64 (n,) into `classes`."""
    index = {known: i for i, known in enumerate(classes)}
    names = [class_name(value) for value in check_one_dimension(values, name).tolist()]
    for row, label in enumerate(names):
        if label not in index:
            raise DataError(f"{name} is {label!r} at row {row}; the classes are {listing(classes)}.")
    return np.array([index[label] for label in names], np.int64)


def class_name(value: str | float) -> str:
    """Return a label's class name: 3 and 3.0 are both "3"."""
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def listing(names: tuple[str, ...] | list[str]) -> str:
    """List at most 20 of the names in an error message."""
    more = f" and {len(names) - 20} more" if len(names) > 20 else ""
    return ", ".join(map(repr, names[:20])) + more
