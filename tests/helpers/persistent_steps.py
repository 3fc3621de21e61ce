"""Training runs of the persistent kernel on the simulated GPU, and of the CPU for comparison."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

import gpunet as gn
from gpunet import simulator

ROWS = 33


def layers(*parts: Any) -> Callable[[], gn.Sequential]:
    """Return a function that makes a model from widths, activations and dropout probabilities."""

    def make() -> gn.Sequential:
        rng, made, width = np.random.default_rng(0), [], parts[0]
        for part in parts[1:]:
            if isinstance(part, int):
                made.append(gn.Linear(width, part, rng=rng))
                made[-1].params["bias"] = rng.normal(size=part) * 0.1
                width = part
            else:
                made.append(gn.Dropout(part) if isinstance(part, float) else gn.layers.Activation(part))
        return gn.Sequential(*made)

    return make


def data(n_in: int, n_out: int, rows: int, regression: bool = False) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(1)
    X = rng.normal(size=(rows, n_in)).astype(np.float32)
    if regression:
        return X, rng.normal(size=(rows, n_out)).astype(np.float32)
    return X, rng.integers(0, n_out, rows)


class Training:
    """A training run on one device.

    Args:
        model: makes the model.
        device: "cpu" or "sim".
        optimizer: makes the optimizer.
        executor: the executor; by default "eager" on the CPU and "persistent" on sim.
        **options: options of the trainer.
    """

    def __init__(self, model, device="sim", optimizer=lambda: gn.Adam(0.01), executor=None, **options):
        executor = executor or {"cpu": "eager", "sim": "persistent"}[device]
        with gn.use_device(device):
            self.trainer = gn.Trainer(model(), optimizer=optimizer(), seed=3, executor=executor, **options)

    def fit(self, X, y, *, check=True, epochs=1, batch_size=ROWS, **options):
        with simulator.check_mode(check):
            self.trainer.fit(X, y, epochs=epochs, batch_size=batch_size, **options)
        return self

    def state(self) -> np.ndarray:
        """Return the parameters and the optimizer's state in one flat array."""
        store = self.trainer.model.store
        return np.concatenate([gn.to_host(a).ravel() for a in (store.params, *store.slots.values())])

    def history(self) -> list[list[float]]:
        names = [name for name in self.trainer.history.epochs[0] if name in ("loss", "accuracy")]
        return [[row[name] for name in names] for row in self.trainer.history.epochs]


def assert_follows(one: Training, other: Training) -> None:
    """Check that two training runs agree up to rounding in weights, state and history."""
    assert one.trainer.optimizer.steps == other.trainer.optimizer.steps
    assert one.trainer.optimizer.first_skipped == other.trainer.optimizer.first_skipped
    np.testing.assert_allclose(one.state(), other.state(), rtol=0, atol=1e-5)
    np.testing.assert_allclose(one.history(), other.history(), rtol=1e-5)


def assert_same(one: Training, other: Training) -> None:
    """Check that two training runs have the same bits."""
    np.testing.assert_array_equal(one.state(), other.state())
    assert one.history() == other.history()
