"""Limits of the activation functions and of their derivatives at zero and infinity."""

import math

import numpy as np

import gpunet as gn
from gpunet.ops.activations import SELU_LIMIT, SELU_SCALE

INFINITY = math.inf

# function: (f(-infinity), f(0), f'(-infinity), f'(0), f'(infinity)); f(infinity) is infinity, except for BOUNDED
LIMITS = {
    gn.Identity(): (-INFINITY, 0, 1, 1, 1),
    gn.ReLU(): (0, 0, 0, 0, 1),
    gn.LeakyReLU(0.25): (-INFINITY, 0, 0.25, 0.25, 1),
    gn.LeakyReLU(0): (0, 0, 0, 0, 1),
    gn.ELU(1.5): (-1.5, 0, 0, 1.5, 1),
    gn.GELU(): (0, 0, 0, 0.5, 1),
    gn.GELUTanh(): (0, 0, 0, 0.5, 1),
    gn.SELU(): (-SELU_LIMIT, 0, 0, SELU_LIMIT, SELU_SCALE),
    gn.SiLU(): (0, 0, 0, 0.5, 1),
    gn.Sigmoid(): (0, 0.5, 0, 0.25, 0),
    gn.Tanh(): (-1, 0, 0, 1, 0),
    gn.SoftClip(1.0): (-1, 0, 0, 1, 0),
    gn.Softplus(): (0, math.log(2), 0, 0.5, 1),
}
BOUNDED = "sigmoid", "soft_clip", "tanh"


def points(dtype: np.dtype) -> np.ndarray:
    """Return z (1, 7): infinities, numbers next to the largest, zeros and NaN."""
    huge = 3e38 if dtype == np.float32 else 1.7e308
    return np.array([[-INFINITY, -huge, -0.0, 0.0, huge, INFINITY, math.nan]], dtype)


def values(function: gn.ops.activations.ActivationFunction, dtype: np.dtype) -> np.ndarray:
    """Return f at `points`, (1, 7)."""
    left, zero, _, _, right_slope = LIMITS[function]
    z = points(dtype)[0]
    slope = function.parameter if function.name == "leaky_relu" else 1
    far_left = slope * z[1] if left == -INFINITY else left
    right = (1, 1) if function.name in BOUNDED else right_slope * z[4:6]
    return np.array([[left, far_left, zero, zero, *right, math.nan]], dtype)


def slopes(function: gn.ops.activations.ActivationFunction, dtype: np.dtype) -> np.ndarray:
    """Return f' at `points` without the last one (NaN), (1, 6)."""
    left, zero, right = LIMITS[function][2:]
    return np.array([[left, left, zero, zero, right, right]], dtype)


def assert_limits(found: np.ndarray, expected: np.ndarray) -> None:
    """Check that numbers agree up to rounding and underflow."""
    np.testing.assert_allclose(found, expected, rtol=2e-7 if found.dtype == np.float32 else 1e-15, atol=1e-37)
