"""Features in the dtypes in which users have them, and trainings on them in their own dtype and made ready before."""

from __future__ import annotations

import numpy as np

import gpunet as gn
from gpunet.data import Standardizer

Y = np.random.default_rng(1).integers(0, 3, 60)
WEIGHT = np.linspace(0, 2, 60)
SHAPE = (60, 7)

KINDS = ("uint8", "int64", "bool", "float64")


def features(kind: str) -> np.ndarray:
    """Return (60, 7) features of a dtype; of bools as of numbers no row is like another."""
    x = np.random.default_rng(0).integers(0, 200, SHAPE)
    return x > 99 if kind == "bool" else (x + 0.123 if kind == "float64" else x).astype(kind)


def train(X: np.ndarray, executor: str, device: str = "cpu", *, scaler: Standardizer | None = None, **options: str):
    """Return a trainer after three epochs of batches of 16 and a smaller last one."""
    model = gn.MLP([7, 16, 3], dropout=0.2, seed=0).to(device, **options)
    model.input_scaler = scaler
    trainer = gn.Trainer(model, optimizer=gn.Adam(0.01), executor=executor)
    trainer.fit(X, Y, epochs=3, batch_size=16, sample_weight=WEIGHT)
    return trainer


def standardised(X: np.ndarray, scaler: Standardizer | None, dtype: str = "float32") -> np.ndarray:
    """Return the features as the documentation says that the layers take them."""
    return (X if scaler is None else (X.astype(np.float64) - scaler.mean) * (1 / scaler.scale)).astype(dtype)


def assert_same_bits(one: gn.Trainer, other: gn.Trainer) -> None:
    """Check that two trainings have the same weights and losses."""
    np.testing.assert_array_equal(*(gn.to_host(each.model.store.params) for each in (one, other)))
    assert one.history["loss"] == other.history["loss"]
