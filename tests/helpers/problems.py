"""Small learning problems, and the results of training runs that tests compare."""

from __future__ import annotations

import numpy as np

import gpunet as gn


def classification(rows: int = 60, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Return X (rows, 5) and labels (rows,): three clusters that a small net can separate."""
    rng = np.random.default_rng(seed)
    y = np.arange(rows) % 3
    X = 4 * np.eye(3, 5)[y] + rng.normal(size=(rows, 5))
    return X.astype(np.float32), y


def regression(rows: int = 60, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Return X (rows, 5) and targets (rows,): a linear function with a large offset, as in raw data."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(rows, 5)).astype(np.float32)
    return X, (500 + 100 * X @ np.arange(1, 6)).astype(np.float32)


def net(outputs: int = 3, dropout: float = 0.0, seed: int = 0) -> gn.MLP:
    """Return an MLP for five features."""
    return gn.MLP([5, 8, outputs], dropout=dropout, seed=seed)


def weights(model: gn.Model) -> np.ndarray:
    """Return a copy of all parameters, for bitwise comparison."""
    return gn.to_host(model.store.params).copy()


def measured(history: gn.History) -> list[dict[str, float]]:
    """Return the rows of a history without their times."""
    return [{name: value for name, value in row.items() if name != "seconds"} for row in history.epochs]
