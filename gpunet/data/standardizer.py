"""Standardise features to mean 0 and standard deviation 1 with the statistics of the training part."""

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
    """Map each feature x to (x - mean) * (1 / scale), and back.

    It is computed in float64 and rounded once, with the same bits on every device.

    Attributes:
        mean: float64, with the shape of one sample.
        scale: like `mean`; the standard deviation, or 1 for a constant feature.

    Example:
        >>> standardizer = gn.data.Standardizer.fit([[1.0, 5.0], [3.0, 5.0]])
        >>> standardizer.mean, standardizer.scale
        (array([2., 5.]), array([1., 1.]))
        >>> standardizer.apply([[4.0, 6.0]])
        array([[2., 1.]])
    """

    mean: np.ndarray
    scale: np.ndarray

    @classmethod
    def fit(cls, X: ArrayLike, *, category_columns: int = 0) -> Standardizer:
        """Return the standardizer of the samples (n, features...) or targets (n,).

        Args:
            X: an array, a nested list or a data frame.
            category_columns: how many of the last features are category indices, which stay unchanged.

        Raises:
            DataError: `X` is empty, or has values that are NaN, infinite, or overflow when squared.
            ShapeError: `category_columns` exceeds the number of features.
        """
        samples = check_targets(X, "X")
        with np.errstate(over="ignore"):
            mean = samples.mean(axis=0, dtype=np.float64)
        squares = np.zeros_like(mean)
        with np.errstate(over="ignore", invalid="ignore"):
            for start in range(0, len(samples), _BLOCK_ROWS):  # in blocks, without a float64 copy of all samples
                squares += np.square(samples[start : start + _BLOCK_ROWS] - mean).sum(axis=0)
        scale = np.sqrt(squares / len(samples))
        if not np.isfinite(scale).all():
            raise DataError("X has values too large for a standard deviation; divide X by a power of ten first.")
        # rounding of the mean can give a constant feature a tiny standard deviation instead of zero
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
        """Standardise samples (n, features...).

        Args:
            X: an array, not checked for NaN; or anything else that `fit` accepts, which is checked.
            dtype: a float dtype; by default that of `X`, or one that can hold the integers of `X`.

        Samples of another shape than the fitted ones raise `ShapeError`.
        """
        if not isinstance(X, np.ndarray):
            X = check_targets(X, "X")
        self._check_shape(X)
        out = np.empty(X.shape, dtype or np.result_type(X.dtype, np.float32))
        with np.errstate(over="ignore"):
            for start in range(0, len(X), _BLOCK_ROWS):  # in blocks, without a float64 copy of all samples
                rows = slice(start, start + _BLOCK_ROWS)
                self.write(X[rows], np.empty(X[rows].shape), out[rows])
        return out

    def write(self, X: np.ndarray, centred: np.ndarray, out: np.ndarray) -> None:
        """Standardise `X` into `out`; `centred` is a float64 buffer of the same shape."""
        # a compiler cannot fuse a subtraction followed by a multiplication, so that all devices give the same bits
        np.subtract(X, self.mean, centred, dtype=np.float64)
        np.multiply(centred, self.factor, out)

    def check_fits(self, X: np.ndarray, dtype: np.dtype[Any]) -> None:
        """Raise `DataError` if a standardised value of `X` overflows `dtype`; other errors as for `apply`."""
        self._check_shape(X)
        largest = np.iinfo(X.dtype).max if X.dtype.kind in "iu" else 2 * math.sqrt(np.vdot(X, X))  # an upper bound
        with np.errstate(over="ignore"):
            bounds = (float(largest) + np.abs(self.mean)) * self.factor
        if bounds.max() < np.finfo(dtype).max / 2:
            return
        as_dtype(self.apply(X, dtype), dtype, "X")

    def leaves_alone(self, category_columns: int) -> bool:
        """Return whether the last `category_columns` features stay unchanged."""
        last = _last(self.mean, category_columns)
        return not self.mean[last].any() and bool((self.scale[last] == 1).all())

    def invert(self, X: np.ndarray) -> np.ndarray:
        """Undo `apply`; return float64."""
        self._check_shape(X)
        out: np.ndarray = X * self.scale
        out += self.mean
        return out

    def __repr__(self) -> str:
        return f"<Standardizer of rows of shape {self.mean.shape}>"

    def _check_shape(self, X: np.ndarray) -> None:
        if X.shape[1:] != self.mean.shape:  # broadcasting would accept some wrong shapes
            raise ShapeError(f"X has samples of shape {X.shape[1:]}; the standardizer was fitted on {self.mean.shape}.")


def _last(a: np.ndarray, columns: int) -> tuple[Any, ...]:
    return ..., slice(sum(a.shape[-1:]) - columns, None)
