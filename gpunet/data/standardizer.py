"""Standardisation: each feature with mean 0 and standard deviation 1, as the training part has them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from gpunet.data.checks import check_targets
from gpunet.errors import DataError, ShapeError

_BLOCK_ROWS = 4096


@dataclass(frozen=True, eq=False, repr=False)
class Standardizer:
    """The map x -> (x - mean) / scale of each feature, and its inverse.

    Attributes:
        mean: float64, of the shape of one sample.
        scale: float64, of the same shape; the standard deviation, 1 for a constant feature.
    """

    mean: np.ndarray
    scale: np.ndarray

    @classmethod
    def fit(cls, X: ArrayLike) -> Standardizer:
        """Return the standardizer of the samples `X` (n, features...) or targets (n,).

        Raises:
            DataError: no samples, NaN or infinite values, or a feature too large to square.
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
        return cls(mean, np.where(constant, 1.0, scale))

    def apply(self, X: np.ndarray) -> np.ndarray:
        """Return the float array `X` (n, features...) standardised, in its dtype; each step is computed in float64.

        Raises:
            ShapeError: its samples have another shape than those fitted on.
        """
        self._check_shape(X)
        out: np.ndarray = np.empty_like(X)  # written in blocks, so that no float64 copy of all samples is made
        np.subtract(X, self.mean, out=out)
        out /= self.scale
        return out

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
