"""Check the arguments of metrics."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from gpunet.data.checks import host_array
from gpunet.errors import DataError, DTypeError, ShapeError


def paired(target: ArrayLike, prediction: ArrayLike, name: str = "prediction") -> tuple[np.ndarray, np.ndarray]:
    """Return both as arrays; reject empty ones and different lengths."""
    t, p = host_array(target, "target"), host_array(prediction, name)
    if t.ndim == 0 or p.ndim == 0 or len(t) != len(p):
        raise ShapeError(f"target has shape {t.shape} and {name} {p.shape}; give both one row per sample.")
    if len(t) == 0:
        raise DataError(f"target and {name} are empty; give at least one sample.")
    return t, p


def real_numbers(name: str, values: np.ndarray) -> np.ndarray:
    """Return `values` if they are real numbers, else raise `DTypeError`."""
    if values.dtype.kind not in "buif":
        raise DTypeError(f"{name} has dtype {values.dtype}; give real numbers.")
    return values


def class_scores(name: str, values: np.ndarray) -> np.ndarray:
    """Return `values` if they are scores (n, k) without NaN."""
    if values.ndim != 2 or values.shape[1] < 2:
        raise ShapeError(f"{name} has shape {values.shape}; give class numbers (n,) or scores (n, k) with k >= 2.")
    if np.isnan(real_numbers(name, values).max()):
        row = np.isnan(values).any(axis=1).argmax()
        raise DataError(f"{name} has NaN in row {row}; give comparable scores.")
    return values


def class_numbers(name: str, values: np.ndarray) -> np.ndarray:
    """Return class numbers (n,) as int64, or those of the largest scores (n, k)."""
    if values.ndim != 1:
        return class_scores(name, values).argmax(axis=1)
    if values.dtype.kind not in "bui":
        raise DTypeError(f"{name} has dtype {values.dtype}; give class numbers as integers.")
    classes = values.astype(np.int64)
    if classes.min() < 0:
        raise DataError(f"{name} has the class number {classes.min()}; class numbers start at 0.")
    return classes


def finite_values(name: str, values: np.ndarray) -> np.ndarray:
    """Return finite values (n,) or (n, outputs) as float64 (n, outputs)."""
    if not np.isfinite(real_numbers(name, values)).all():
        raise DataError(f"{name} has NaN or infinite values; give finite numbers.")
    return values.reshape(len(values), -1).astype(np.float64)


def paired_outputs(target: ArrayLike, prediction: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """Return both as float64 (n, outputs)."""
    t, p = paired(target, prediction)
    t, p = finite_values("target", t), finite_values("prediction", p)
    if t.shape != p.shape:
        raise ShapeError(
            f"target has {t.shape[1]} outputs per sample and prediction {p.shape[1]}; give the same number."
        )
    return t, p
