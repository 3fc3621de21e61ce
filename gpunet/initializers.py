"""Initial weights of shape (fan_in, fan_out), drawn on the host in float64; the caller casts them.

An initializer is a function of a shape and a `numpy.random.Generator`. As in PyTorch, the "normal" ones do not
truncate.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TypeAlias

import numpy as np

from gpunet.arguments import shown
from gpunet.errors import ArgumentError, OutOfMemoryError, ShapeError

Initializer: TypeAlias = "Callable[[tuple[int, ...], np.random.Generator], np.ndarray]"
# a string, because importing np.random is slow


def _fans(shape: tuple[int, ...]) -> tuple[int, int]:
    """Return `(fan_in, fan_out)`."""
    if len(shape) != 2:
        raise ShapeError(f"shape {shape} has {len(shape)} axes; a weight has two, (fan_in, fan_out).")
    return shape[0], shape[1]


def _uniform(shape: tuple[int, ...], rng: np.random.Generator, scale: float, fan: float) -> np.ndarray:
    """Draw from the uniform distribution around 0 with variance `scale / fan`; a fan of 0 counts as 1."""
    bound = math.sqrt(3 * scale / max(fan, 1))
    return rng.uniform(-bound, bound, shape)


def _normal(shape: tuple[int, ...], rng: np.random.Generator, scale: float, fan: float) -> np.ndarray:
    """Draw from the normal distribution around 0 with variance `scale / fan`; a fan of 0 counts as 1."""
    return rng.normal(0.0, math.sqrt(scale / max(fan, 1)), shape)


def glorot_uniform(shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    """Draw from U(-a, a), a = sqrt(6 / (fan_in + fan_out)) (Glorot & Bengio 2010, eq. 16): for tanh, softmax."""
    return _uniform(shape, rng, 2, sum(_fans(shape)))


def glorot_normal(shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    """Draw from N(0, 2 / (fan_in + fan_out)) (Glorot & Bengio 2010, eq. 12): for tanh, softmax."""
    return _normal(shape, rng, 2, sum(_fans(shape)))


def he_uniform(shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    """Draw from U(-a, a), a = sqrt(6 / fan_in), the variance of He et al. 2015, eq. 10: for ReLU and similar."""
    return _uniform(shape, rng, 2, _fans(shape)[0])


def he_normal(shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    """Draw from N(0, 2 / fan_in) (He et al. 2015, eq. 10; PyTorch's `kaiming_normal_`): for ReLU and similar."""
    return _normal(shape, rng, 2, _fans(shape)[0])


def lecun_uniform(shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    """Draw from U(-a, a), a = sqrt(3 / fan_in), the variance of LeCun et al. 1998, eq. 16: for tanh or the identity."""
    return _uniform(shape, rng, 1, _fans(shape)[0])


def lecun_normal(shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    """Draw from N(0, 1 / fan_in) (LeCun et al. 1998, eq. 16): for tanh or the identity."""
    return _normal(shape, rng, 1, _fans(shape)[0])


def orthogonal(shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    """Draw a random matrix with orthonormal columns, or orthonormal rows if there are fewer rows (Saxe et al. 2014)."""
    fan_in, fan_out = _fans(shape)
    q, r = np.linalg.qr(rng.standard_normal((max(shape), min(shape))))
    q *= np.copysign(1.0, np.diagonal(r))  # else Q would not be uniformly distributed (Mezzadri 2007)
    return q if fan_in >= fan_out else q.T


def zeros(shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    """Return zeros, for example for the last layer."""
    return np.zeros(shape)


_INITIALIZERS: dict[str, Initializer] = {
    function.__name__: function
    for function in (
        glorot_uniform,
        glorot_normal,
        he_uniform,
        he_normal,
        lecun_uniform,
        lecun_normal,
        orthogonal,
        zeros,
    )
}


MOST_ELEMENTS = 2**48
"""Maximum elements of a parameter. More fit in no memory and could overflow NumPy's sizes."""

_zeros_budget: ContextVar[_Budget | None] = ContextVar("gpunet_zeros_budget", default=None)


class _Budget:
    """The number of elements that new parameters may still allocate."""

    def __init__(self, elements: int):
        self.elements = elements

    def claim(self, shape: tuple[int, ...]) -> None:
        self.elements -= math.prod(shape)
        if self.elements < 0:
            raise ArgumentError(
                f"the parameters, including one of shape {shown(shape)}, have more elements than the file contains."
            )


@contextmanager
def initialized_with_zeros(elements: int = MOST_ELEMENTS) -> Iterator[None]:
    """Initialise new layers with zeros inside the block, because their weights will be read from a file.

    Args:
        elements: number of elements in the file; more raise `ArgumentError` before they are allocated.
    """
    token = _zeros_budget.set(_Budget(elements))
    try:
        yield
    finally:
        _zeros_budget.reset(token)


def values_will_be_read() -> bool:
    """Return whether the values of new layers will be read from a file, so that they need not be copied."""
    return _zeros_budget.get() is not None


def filled(shape: tuple[int, ...], value: float) -> np.ndarray:
    """Return a constant float32 parameter; raise `OutOfMemoryError` if it does not fit in memory."""
    if budget := _zeros_budget.get():
        budget.claim(shape)
    array = _allocated(shape, lambda: np.zeros(shape, np.float32))  # touches no memory
    if value:
        array.fill(value)
    return array


def _allocated(shape: tuple[int, ...], make: Callable[[], np.ndarray]) -> np.ndarray:
    """Return `make()`, an array of that shape; raise `OutOfMemoryError` if it does not fit in memory."""
    elements = math.prod(shape)
    try:
        if elements > MOST_ELEMENTS:
            raise MemoryError
        return make()
    except MemoryError:
        size = f"{elements * 8 / 2**30:,.0f} GiB" if elements <= MOST_ELEMENTS else "more than any machine has"
        raise OutOfMemoryError(
            f"the initialization of a parameter of shape {shown(shape)} needs {size}; make it smaller."
        ) from None


def initializer(
    init: str | Initializer,
) -> Callable[[tuple[int, ...], np.random.Generator | int | None], np.ndarray]:
    """Return the initializer of that name, or the given function, with a check for memory; it also takes a seed."""
    if _zeros_budget.get():
        return lambda shape, rng: filled(shape, 0)
    function = init if callable(init) else _INITIALIZERS.get(init)
    if function is None:
        raise ArgumentError(f"unknown initializer init={init!r}; use a function or one of {', '.join(_INITIALIZERS)}.")
    return lambda shape, rng: _allocated(shape, lambda: function(shape, np.random.default_rng(rng)))
