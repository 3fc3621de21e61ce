"""Split samples at random into parts, such as training, validation and test."""

from __future__ import annotations

import math
from collections.abc import Sequence
from operator import add

import numpy as np
from numpy.typing import ArrayLike

from gpunet.arguments import counted
from gpunet.errors import ArgumentError, DataError


def split_indices(y: int | ArrayLike, fractions: Sequence[float], *, seed: int) -> tuple[np.ndarray, ...]:
    """Split samples at random into disjoint parts that cover all of them; stratify by class labels.

    The result depends only on `y`, `fractions` and `seed`, not on the platform or NumPy's version.

        train, validation, test = split_indices(y, (0.64, 0.16, 0.2), seed=0)

    Args:
        y: class labels (n,), float targets (n, ...), or the number n of samples. Labels stratify the split: each class
            is divided in the given proportions (rounded by largest remainder), and every part gets at least one of its
            samples. Classes with fewer samples than parts are divided together; the largest part gets the first sample
            of each. Float targets do not influence the split.
        fractions: positive, with a sum of 1.
        seed: an integer >= 0.

    Returns:
        The ascending indices of each part's samples, int64.

    Raises:
        ArgumentError: `fractions` or `seed` is invalid.
        DataError: a part would be empty.

    Example:
        >>> train, test = gn.data.split_indices([0, 0, 0, 0, 1, 1, 1, 1], (0.75, 0.25), seed=0)
        >>> len(train), len(test)  # one sample of each class in the second part
        (6, 2)
    """
    if not fractions or min(fractions) <= 0 or not math.isclose(sum(fractions), 1, abs_tol=1e-9):
        raise ArgumentError(f"fractions={tuple(fractions)}: use positive numbers that add up to 1.")
    if not isinstance(seed, int | np.integer) or seed < 0:
        raise ArgumentError(f"seed={seed!r}: use an integer >= 0.")
    part = np.empty(y if isinstance(y, int | np.integer) else len(np.asarray(y)), np.int64)
    # Philox's raw bits are the same on every platform and in every version of NumPy
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
        classes = len(_classes(y, order))
        samples = counted(part.size, "sample") + (f" of {classes} classes" if classes > 1 else "")
        raise DataError(f"{samples} would be divided into parts of {found}; more samples are needed.")
    return parts


def _classes(y: int | ArrayLike, order: np.ndarray) -> list[np.ndarray]:
    """Return `order` split by class, or as a single class if `y` holds no class labels."""
    labels = np.asarray(y)
    if labels.ndim != 1 or labels.dtype.kind == "f":
        return [order]
    counts = np.unique(labels, return_counts=True)[1]
    by_class = order[np.argsort(labels[order], kind="stable")]
    return np.split(by_class, np.cumsum(counts)[:-1])


def _sizes(n: int, fractions: Sequence[float]) -> list[int]:
    """Return the part sizes for `n` samples, rounded by largest remainder; none is empty if `n` is large enough."""
    sizes = [math.floor(n * fraction) for fraction in fractions]
    by_remainder = sorted(range(len(sizes)), key=lambda k: sizes[k] - n * fractions[k])
    for k in by_remainder[: n - sum(sizes)]:
        sizes[k] += 1
    while n >= len(sizes) and 0 in sizes:
        sizes[sizes.index(max(sizes))] -= 1
        sizes[sizes.index(0)] += 1
    return sizes


def _sizes_of_small(n: int, fractions: Sequence[float], before: Sequence[int]) -> list[int]:
    """Return the part sizes for a class with fewer samples than parts; `before` sums the sizes of earlier ones."""
    sizes, total = [0] * len(fractions), sum(before) + n
    for member in range(n):
        candidates = [k for k in range(len(fractions)) if member or fractions[k] == max(fractions)]
        sizes[max(candidates, key=lambda k: fractions[k] * total - before[k] - sizes[k])] += 1
    return sizes
