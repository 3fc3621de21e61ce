"""Reference normalisation in float64, group by group, with the full Jacobian; and training runs of such layers."""

from collections.abc import Callable

import numpy as np
from problems import classification

import gpunet as gn


def normalise(groups: np.ndarray, eps: float, center: bool = True) -> np.ndarray:
    """Return each row of `groups` divided by its root mean square, after subtracting its mean if `center` is true."""
    groups = np.asarray(groups, np.float64)
    mean = groups.mean(axis=1, keepdims=True) if center else 0.0
    return (groups - mean) / np.sqrt(((groups - mean) ** 2).mean(axis=1, keepdims=True) + eps)


def gradient(groups: np.ndarray, g: np.ndarray, eps: float, center: bool = True) -> np.ndarray:
    """Return the gradient of `groups` from that of the output of `normalise`: Jᵀ·g with J_ij = ∂normal_i / ∂x_j."""
    normal, n = normalise(groups, eps, center), groups.shape[1]
    result = np.empty(groups.shape)
    for i, x in enumerate(np.asarray(groups, np.float64)):
        deviation = np.sqrt(((x - center * x.mean()) ** 2).mean() + eps)
        jacobian = (np.eye(n) - center * np.ones((n, n)) / n - np.outer(normal[i], normal[i]) / n) / deviation
        result[i] = jacobian.T @ np.asarray(g[i], np.float64)
    return result


def channels(x: np.ndarray) -> np.ndarray:
    """Return x (rows, channels, ...) as groups, one for each channel."""
    return np.moveaxis(x, 1, 0).reshape(x.shape[1], -1)


def from_channels(groups: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Undo `channels`."""
    return np.moveaxis(groups.reshape(shape[1], shape[0], *shape[2:]), 0, 1)


X, Y = classification(80)
LAYERS = {
    "layer norm": lambda: [gn.LayerNorm(8)],
    "rms norm": lambda: [gn.RMSNorm(8, elementwise_affine=False)],
    "batch norm": lambda: [gn.BatchNorm1d(8)],
    "batch norm by the mean of all": lambda: [gn.BatchNorm1d(8, momentum=None, affine=False)],
    "residual": lambda: [gn.Residual(gn.Linear(8, 8, rng=5), gn.ReLU(), gn.Linear(8, 8, rng=6), gn.Dropout(0.2))],
    "glu": lambda: [gn.GLU(), gn.Linear(4, 8, rng=7)],
    "swiglu": lambda: [gn.SwiGLU(8, 8, rng=5)],
}


def trainer(layers: Callable[[], list[gn.Layer]], device: str, executor: str) -> gn.Trainer:
    """Train a model with these layers for a few steps; return its trainer."""
    # no bias before batch norm: its gradient is only rounding error, which Adam would scale to full updates
    model = gn.Sequential(gn.Linear(5, 8, bias=False, rng=0), *layers(), gn.Tanh(), gn.Linear(8, 3, rng=1))
    run = gn.Trainer(model.to(device), optimizer=gn.Adam(0.01), seed=3, executor=executor)
    run.fit(X, Y, epochs=2, batch_size=17)
    return run
