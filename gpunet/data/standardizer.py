"""Standardisation: each feature with mean 0 and standard deviation 1, as the training part has them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from gpunet.arguments import whole
from gpunet.data.checks import as_dtype, check_targets
from gpunet.errors import DataError, ShapeError

_BLOCK_ROWS = 1024


@dataclass(frozen=True, eq=False, repr=False)
class Standardizer:
    """The map x -> (x - mean) * (1 / scale) of each feature, and its inverse.

    It is computed in float64, and its result rounded once: the same bits wherever it is computed, as no compiler can
    contract a difference and a product.

    Attributes:
        mean: float64, of the shape of one sample.
        scale: float64, of the same shape; the standard deviation, 1 for a constant feature.
    """

    mean: np.ndarray
    scale: np.ndarray

    @classmethod
    def fit(cls, X: ArrayLike, *, category_columns: int = 0) -> Standardizer:
        """Return the standardizer of the samples `X` (n, features...) or targets (n,).

        Args:
            X: an array, a list or a data frame.
            category_columns: how many of the last features are indices of categories, which it leaves as they are.

        Raises:
            ArgumentError: a negative number of `category_columns`.
            DataError: no samples, NaN or infinite values, or a feature too large to square.
            ShapeError: more `category_columns` than the samples have features.
        """
        samples = check_targets(X, "X")
        with np.errstate(over="ignore"):
            mean = samples.mean(axis=0, dtype=np.float64)
        squares = np.zeros_like(mean)
        with np.errstate(over="ignore", invalid="ignore"):
            for start in range(0, len(samples), _BLOCK_ROWS):  # so that no float64 copy of all samples is made
                squares += np.square(samples[start : start + _BLOCK_ROWS] - mean).sum(axis=0)
        scale = np.sqrt(squares / len(samples))
        if not np.isfinite(scale).all():
            raise DataError("X has values too large for a standard deviation; divide it by a power of ten first.")
        # a rounded mean can leave a constant feature a standard deviation that is tiny instead of zero
        constant = (samples == samples[0]).all(axis=0) | (scale == 0)
        scale = np.where(constant, 1.0, scale)
        if whole("Standardizer.fit: category_columns", category_columns, 0):
            if category_columns > sum(mean.shape[-1:]):
                raise ShapeError(f"X has samples of shape {mean.shape}, with fewer than {category_columns} features.")
            last = _last(mean, category_columns)
            mean[last], scale[last] = 0, 1
        return cls(mean, scale)

    @cached_property
    def factor(self) -> np.ndarray:
        """1 / scale."""
        return 1 / np.asarray(self.scale, np.float64)

    def apply(self, X: ArrayLike, dtype: np.dtype[Any] | None = None) -> np.ndarray:
        """Return the samples `X` (n, features...) standardised; each step is computed in float64.

        Args:
            X: an array, or what `fit` takes, with its errors.
            dtype: a float dtype, by default that of `X`, for integers one that holds them.

        Raises:
            ShapeError: its samples have another shape than those fitted on.
        """
        if not isinstance(X, np.ndarray):
            X = check_targets(X, "X")
        self._check_shape(X)
        out = np.empty(X.shape, dtype or np.result_type(X.dtype, np.float32))
        with np.errstate(over="ignore"):
            for start in range(0, len(X), _BLOCK_ROWS):  # so that no float64 copy of all samples is made
                rows = slice(start, start + _BLOCK_ROWS)
                self.write(X[rows], np.empty(X[rows].shape), out[rows])
        return out

    def write(self, X: np.ndarray, centred: np.ndarray, out: np.ndarray) -> None:
        """Write `X` standardised to `out`; `centred` is float64 memory of their shape."""
        np.subtract(X, self.mean, centred, dtype=np.float64)
        np.multiply(centred, self.factor, out)

    def check_fits(self, X: np.ndarray, dtype: np.dtype[Any]) -> None:
        """Raise `DataError` where a number of `X`, standardised, is too large for a float dtype; else as `apply`."""
        self._check_shape(X)
        largest = np.iinfo(X.dtype).max if X.dtype.kind in "iu" else 2 * math.sqrt(np.vdot(X, X))  # no less than any
        with np.errstate(over="ignore"):
            bounds = (float(largest) + np.abs(self.mean)) * self.factor
        if bounds.max() < np.finfo(dtype).max / 2:
            return
        as_dtype(self.apply(X, dtype), dtype, "X")

    def leaves_alone(self, category_columns: int) -> bool:
        """Return whether the last features, so many of them, stay as they are."""
        last = _last(self.mean, category_columns)
        return not self.mean[last].any() and bool((self.scale[last] == 1).all())

    def invert(self, X: np.ndarray) -> np.ndarray:
        """Return what `apply` made `X` from, in float64."""
        self._check_shape(X)
        out: np.ndarray = X * self.scale
        out += self.mean
        return out

    def __repr__(self) -> str:
        return f"<Standardizer of rows of shape {self.mean.shape}>"

    def _check_shape(self, X: np.ndarray) -> None:
        if X.shape[1:] != self.mean.shape:  # broadcasting would take some wrong shapes without a word
            raise ShapeError(f"X has samples of shape {X.shape[1:]}; the standardizer was fitted on {self.mean.shape}.")


def _last(a: np.ndarray, columns: int) -> tuple[Any, ...]:
    return ..., slice(sum(a.shape[-1:]) - columns, None)
