"""Dividing samples into parts, such as training, validation and test."""

from __future__ import annotations

import math
from collections.abc import Sequence
from operator import add

import numpy as np
from numpy.typing import ArrayLike

from gpunet.errors import ArgumentError, DataError


def split_indices(y: int | ArrayLike, fractions: Sequence[float], *, seed: int) -> tuple[np.ndarray, ...]:
    """Divide samples at random into disjoint parts that together hold all of them.

    The parts depend on `y`, `fractions` and `seed` alone: they come from Philox's raw bits, which NumPy keeps the same
    on every platform and in every version.

        train, validation, test = split_indices(y, (0.64, 0.16, 0.2), seed=0)

    Args:
        y: class labels (n,): each class is divided in these proportions (rounded by the largest remainder), and is in
            every part if it has as many members as there are parts. The first member of a smaller class goes to the
            largest part; all rows of smaller classes together are divided in these proportions. Or float targets
            (n, ...), or the number n of samples: divided without regard to the values.
        fractions: the share of each part; positive, together 1.
        seed: an integer from 0 on.

    Returns:
        For each part the indices of its samples, int64, ascending.

    Raises:
        ArgumentError: fractions or a seed that make no sense.
        DataError: too few samples: a part would be empty.
    """
    if not fractions or min(fractions) <= 0 or not math.isclose(sum(fractions), 1, abs_tol=1e-9):
        raise ArgumentError(f"fractions={tuple(fractions)}: give positive numbers that add up to 1.")
    if not isinstance(seed, int | np.integer) or seed < 0:
        raise ArgumentError(f"seed={seed!r}: give an integer from 0 on.")
    part = np.empty(y if isinstance(y, int | np.integer) else len(np.asarray(y)), np.int64)
    order = np.argsort(np.random.Philox(int(seed)).random_raw(part.size), kind="stable")
    small = [0] * len(fractions)
    for members in _classes(y, order):
        if members.size < len(fractions):
            sizes = _sizes_of_small(members.size, fractions, small)
            small = list(map(add, small, sizes))
        else:
            sizes = _sizes(members.size, fractions)
        part[members] = np.repeat(np.arange(len(fractions)), sizes)
    parts = tuple(np.flatnonzero(part == k) for k in range(len(fractions)))
    if not all(indices.size for indices in parts):
        found = ", ".join(str(indices.size) for indices in parts)
        raise DataError(f"{part.size} samples would be divided into parts of {found}; more samples are needed.")
    return parts


def _classes(y: int | ArrayLike, order: np.ndarray) -> list[np.ndarray]:
    """Return `order` cut up by class, or whole where `y` holds no class labels."""
    labels = np.asarray(y)
    if labels.ndim != 1 or labels.dtype.kind == "f":
        return [order]
    counts = np.unique(labels, return_counts=True)[1]
    by_class = order[np.argsort(labels[order], kind="stable")]
    return np.split(by_class, np.cumsum(counts)[:-1])


def _sizes(n: int, fractions: Sequence[float]) -> list[int]:
    """Return the sizes of the parts of `n` samples: largest remainder, and none empty if `n` allows it."""
    sizes = [math.floor(n * fraction) for fraction in fractions]
    by_remainder = sorted(range(len(sizes)), key=lambda k: sizes[k] - n * fractions[k])
    for k in by_remainder[: n - sum(sizes)]:
        sizes[k] += 1
    while n >= len(sizes) and 0 in sizes:
        sizes[sizes.index(max(sizes))] -= 1
        sizes[sizes.index(0)] += 1
    return sizes


def _sizes_of_small(n: int, fractions: Sequence[float], before: Sequence[int]) -> list[int]:
    """Return the sizes of the parts of a class with fewer members than parts, after those of other such classes."""
    sizes, total = [0] * len(fractions), sum(before) + n
    for member in range(n):
        among = [k for k in range(len(fractions)) if member or fractions[k] == max(fractions)]
        sizes[max(among, key=lambda k: fractions[k] * total - before[k] - sizes[k])] += 1
    return sizes
