"""Refuse numbers of a table that overflow the dtype of a model, with their line and column."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from gpunet.data import Dataset, Standardizer, Table, TableSchema
from gpunet.errors import DataError
from gpunet.models import Model


def refuse_too_large(model: Model, part: Dataset) -> None:
    """Raise `DataError` if a feature or target from a table overflows in the model."""
    if part.rows is None or part.schema is None:
        return
    refuse_too_large_features(model, part.X, part.rows, part.schema)
    if part.classes is None:
        _refuse(model, model.target_scaler, part.y, part.rows, [part.schema.target])


def refuse_too_large_features(model: Model, X: np.ndarray, table: Table, schema: TableSchema) -> None:
    """Raise `DataError` if a feature in the rows of a table overflows in the model."""
    if model.input_scaler is None or model.input_scaler.mean.shape == X.shape[1:]:  # else the model refuses the shape
        _refuse(model, model.input_scaler, X, table, schema.feature_names)


def _refuse(model: Model, scaler: Standardizer | None, values: np.ndarray, table: Table, names: Sequence[str]) -> None:
    with np.errstate(over="ignore"):
        converted = values.astype(model.dtype) if scaler is None else scaler.apply(values, model.dtype)
    wrong = np.argwhere(~np.isfinite(converted.reshape(len(table), -1)))
    if len(wrong):
        row, column = wrong[0].tolist()
        number, place = values[row].flat[column], f"{table.name}, {table.place(row)}, column {names[column]!r}"
        raise DataError(
            f"{place}: {number:g} is too large for the model, which computes in {model.dtype}; correct it, or remove "
            "the row."
        )
