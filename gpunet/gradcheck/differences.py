"""Check a gradient with directional finite differences in float64.

For a function f, a point x and a direction v, (f(x + h·v) - f(x - h·v)) / 2h must equal <gradient, v>. A few random
directions detect a wrong element almost surely. Bisection of a direction then finds it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from gpunet.device import Array, device_of, to_host
from gpunet.errors import GradientError

STEP = 2e-5
"""Length of the step h·v in either direction."""

DIRECTIONS = 3

TOLERANCE = 1e-6
"""Maximum relative error of a derivative."""

NOISE = 1e-9
"""Rounding error of a derivative, relative to the values that its function sums."""


def slope(function: Callable[[np.ndarray], float], point: np.ndarray, direction: np.ndarray) -> float:
    """Return the derivative of `function` at `point`, float64, along `direction`."""
    length = float(np.linalg.norm(direction))
    if not length:
        return 0.0
    step = STEP / length * direction
    return (function(point + step) - function(point - step)) / (2 * STEP) * length


def require_gradient(
    where: str, value: Callable[[], float], view: Array, gradient: np.ndarray, size: float, rng: np.random.Generator
) -> None:
    """Raise `GradientError` if `gradient` is not the gradient of `value` with respect to the array `view`.

    Args:
        where: name of the gradient, for the error message.
        value: returns the function's value for the current contents of `view`.
        view: float64 array on any device; it is restored after the check.
        size: magnitude of the values that `value` sums.
    """
    device, point = device_of(view), np.array(to_host(view))

    def function(moved: np.ndarray) -> float:
        device.assign(view, moved)
        return value()

    wrong = _wrong_element(function, point, gradient, size, rng)
    device.assign(view, point)
    if wrong is not None:
        unit = np.zeros(point.shape)
        unit[wrong] = 1
        raise GradientError(
            f"{where} is wrong: at element {wrong} expected {slope(function, point, unit):.6g}, by finite differences, "
            f"found {gradient[wrong]:.6g}."
        )


def _wrong_element(
    function: Callable[[np.ndarray], float],
    point: np.ndarray,
    gradient: np.ndarray,
    size: float,
    rng: np.random.Generator,
) -> tuple[int, ...] | None:
    """Return the index of a wrong element, or None; arguments as for `require_gradient`."""

    def error(direction: np.ndarray) -> float:
        return slope(function, point, direction) - float((gradient * direction).sum())

    if not np.isfinite(gradient).all():
        return first_index(~np.isfinite(gradient))
    for _ in range(DIRECTIONS):
        direction = rng.standard_normal(point.shape)
        left = error(direction)
        rounding = NOISE * size * np.linalg.norm(direction)
        if abs(left) <= TOLERANCE * np.linalg.norm(gradient * direction) + rounding:
            continue
        suspects = np.arange(point.size)
        while len(suspects) > 1:
            half, others = np.array_split(suspects, 2)
            part = np.zeros(point.shape)
            part.flat[half] = direction.flat[half]
            in_half = error(part)
            suspects, left = (half, in_half) if abs(in_half) >= abs(left - in_half) else (others, left - in_half)
        return tuple(map(int, np.unravel_index(suspects[0], point.shape)))
    return None


def random_batch(x: Any, rng: np.random.Generator, indices: int | None = None) -> np.ndarray:
    """Return `x` as float64, or as int64 if `indices` is given; if `x` is a shape, return random values."""
    if not (isinstance(x, tuple) and all(isinstance(n, int | np.integer) for n in x)):
        return np.array(to_host(x), np.float64 if indices is None else np.int64)
    return rng.standard_normal(x) if indices is None else rng.integers(0, indices, x)


def first_index(mask: np.ndarray) -> tuple[int, ...]:
    """Return the index of the first true element."""
    return tuple(map(int, np.argwhere(mask)[0]))


def described(a: Any) -> str:
    """Return the dtype and the shape of an array, or the repr of another object."""
    return f"{a.dtype} of shape {a.shape}" if hasattr(a, "dtype") else repr(a)
