"""Check the gradients of plain functions with the finite differences of `gn.check_gradients`."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from gpunet.gradcheck.differences import slope


def directional_error(
    function: Callable[..., float], points: Sequence[np.ndarray], gradients: Sequence[np.ndarray], seed: int = 0
) -> float:
    """Return the largest relative error of a gradient along random directions in all `points` at once.

    Args:
        function: maps the points to a number.
        points: float64 arrays.
        gradients: the claimed gradients of `function`, in the shapes of the points.
        seed: the seed of the directions.
    """
    ends = np.cumsum([point.size for point in points])[:-1]

    def of_one(flat: np.ndarray) -> float:
        parts = np.split(flat, ends)
        return function(*(part.reshape(point.shape) for part, point in zip(parts, points, strict=True)))

    at, gradient = (np.concatenate([a.reshape(-1) for a in arrays]) for arrays in (points, gradients))
    rng = np.random.default_rng(seed)
    worst = 0.0
    for _ in range(5):
        direction = rng.standard_normal(at.size)
        expected, claimed = slope(of_one, at, direction), float(gradient @ direction)
        worst = max(worst, abs(expected - claimed) / max(1.0, abs(expected)))
    return worst
