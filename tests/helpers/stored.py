"""Features in various dtypes, and training runs with them in their own dtype or standardised beforehand."""

from __future__ import annotations

import numpy as np

import gpunet as gn
from gpunet.data import Standardizer

Y = np.random.default_rng(1).integers(0, 3, 60)
WEIGHT = np.linspace(0, 2, 60)
SHAPE = (60, 7)

KINDS = ("uint8", "int64", "bool", "float64")


def features(kind: str) -> np.ndarray:
    """Return features (60, 7) of a dtype, all of whose rows differ."""
    x = np.random.default_rng(0).integers(0, 200, SHAPE)
    return x > 99 if kind == "bool" else (x + 0.123 if kind == "float64" else x).astype(kind)


def train(X: np.ndarray, executor: str, device: str = "cpu", *, scaler: Standardizer | None = None, **options: str):
    """Train three epochs with batch size 16 and a smaller last batch; return the trainer."""
    model = gn.MLP([7, 16, 3], dropout=0.2, seed=0).to(device, **options)
    model.input_scaler = scaler
    trainer = gn.Trainer(model, optimizer=gn.Adam(0.01), executor=executor)
    trainer.fit(X, Y, epochs=3, batch_size=16, sample_weight=WEIGHT)
    return trainer


def standardised(X: np.ndarray, scaler: Standardizer | None, dtype: str = "float32") -> np.ndarray:
    """Return the features as the layers get them according to the documentation."""
    return (X if scaler is None else (X.astype(np.float64) - scaler.mean) * (1 / scaler.scale)).astype(dtype)


def assert_same_bits(one: gn.Trainer, other: gn.Trainer) -> None:
    """Check that two training runs have the same weights and losses."""
    np.testing.assert_array_equal(*(gn.to_host(each.model.store.params) for each in (one, other)))
    assert one.history["loss"] == other.history["loss"]
