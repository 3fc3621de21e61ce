"""Directional finite differences in float64: is a gradient the gradient of its function?

For a function f, a point x and a direction v, (f(x + h·v) - f(x - h·v)) / 2h must equal <gradient, v>. A few random
directions find any wrong element of a gradient almost surely, at two evaluations each.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np


def directional_error(
    function: Callable[..., float], points: Sequence[np.ndarray], gradients: Sequence[np.ndarray], seed: int = 0
) -> float:
    """Return the largest relative error over some random directions, each in all `points` at once.

    Args:
        function: maps the points to a number.
        points: float64 arrays.
        gradients: the claimed gradients of `function`, in the shapes of the points.
        seed: of the directions.
    """
    rng = np.random.default_rng(seed)
    h = 1e-6
    worst = 0.0
    for _ in range(5):
        directions = [rng.standard_normal(p.shape) for p in points]
        ahead = function(*(p + h * v for p, v in zip(points, directions, strict=True)))
        behind = function(*(p - h * v for p, v in zip(points, directions, strict=True)))
        expected = (ahead - behind) / (2 * h)
        claimed = sum(float(np.sum(g * v)) for g, v in zip(gradients, directions, strict=True))
        worst = max(worst, abs(expected - claimed) / max(1.0, abs(expected)))
    return worst
