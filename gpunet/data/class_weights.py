"""Class weights of a loss: an array, a dict by class name, or "balanced"."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import ArrayLike

from gpunet.arguments import real, shown
from gpunet.data.labels import class_name, listing
from gpunet.errors import ArgumentError, StateError
from gpunet.versions import Versioned

ClassWeight: TypeAlias = Literal["balanced"] | Mapping[Any, float] | ArrayLike | None

LARGEST = 1e30
"""Maximum weight of a class: sums over a batch do not overflow in float32. Its inverse is the minimum above 0."""


class ClassWeights(Versioned):
    """Class weights as the user gave them, and as an array once the labels are known.

    Args:
        given: the `class_weight` argument of `gpunet.losses.ClassWeightedLoss`; other values raise `ArgumentError`.

    Attributes:
        given: float64 (classes,), a dict by class name, "balanced", or None for no weights.
        known: the same before `begin`; afterwards float64 (classes,) or None.
    """

    given: np.ndarray | dict[str, float] | str | None
    known: np.ndarray | dict[str, float] | str | None

    def __init__(self, given: ClassWeight):
        self.given = self.known = _checked(given)

    def begin(self, target: np.ndarray, weight: np.ndarray | None, classes: tuple[str, ...]) -> None:
        """Compute the weights from the labels of a training run.

        Args:
            target: labels (rows, ...), or distributions (rows, ..., classes).
            weight: row weights (rows,), included in "balanced".

        Raises:
            ArgumentError: a weight names an unknown class, all weights are zero, or "balanced" gives too large ones.
        """
        if isinstance(self.given, str):
            self.known = _balanced(_sizes(target, weight, len(classes)))
        elif isinstance(self.given, dict):
            self.known = _not_zero(_by_name(self.given, classes))

    @property
    def array(self) -> np.ndarray | None:
        """The weights (classes,), or None for no weights.

        Raises:
            StateError: the weights depend on the labels; call `begin` first.
        """
        if isinstance(self.known, str | dict):
            raise StateError(
                f"class_weight={shown(self.given)} depends on the labels, which `Trainer.fit` reads; train first, "
                "or pass an array with one weight for each class."
            )
        return self.known

    def check_shape(self, classes: int) -> None:
        """Raise `ArgumentError` if an array of weights does not have one weight per class."""
        if isinstance(self.given, np.ndarray) and self.given.shape != (classes,):
            raise ArgumentError(f"class_weight has shape {self.given.shape}; the model has {classes} classes.")

    def config(self) -> Any:
        """Return `known` as a JSON value."""
        return self.known.tolist() if isinstance(self.known, np.ndarray) else self.known


def _checked(given: ClassWeight) -> Any:
    if given is None or (isinstance(given, str) and given == "balanced"):
        return given
    if isinstance(given, Mapping):
        named = {class_name(key): real(f"class_weight[{key!r}]", w, 0, closed="left") for key, w in given.items()}
        _check_range(np.array(list(named.values())))
        return dict(sorted(named.items()))  # sorted, so that equal losses are saved as equal files
    try:
        weights = np.asarray(given, np.float64)
    except (TypeError, ValueError, OverflowError):
        raise ArgumentError(
            f"class_weight must be 'balanced', a dict by class, or one number for each class, got {shown(given)}."
        ) from None
    if not (np.isfinite(weights) & (weights >= 0)).all():
        raise ArgumentError("class_weight must hold finite numbers >= 0.")
    _check_range(weights)
    return _not_zero(weights)


def _out_of_range(weights: np.ndarray) -> bool:
    return bool(((weights > LARGEST) | ((weights > 0) & (weights < 1 / LARGEST))).any())


def _check_range(weights: np.ndarray) -> None:
    """Raise `ArgumentError` for weights that underflow in float32, or whose sum over a batch overflows."""
    if _out_of_range(weights):
        raise ArgumentError(
            f"class_weight must hold 0 or numbers from {1 / LARGEST:g} to {LARGEST:g}; only their ratios "
            "matter, so scale them."
        )


def _not_zero(weights: np.ndarray) -> np.ndarray:
    if not weights.any():
        raise ArgumentError("class_weight is zero for every class; at least one must be positive.")
    return weights


def _by_name(given: Mapping[str, float], classes: tuple[str, ...]) -> np.ndarray:
    for name in given:
        if name not in classes:
            raise ArgumentError(f"class_weight names the class {name!r}; the classes are {listing(classes)}.")
    return np.array([given.get(name, 1.0) for name in classes])


def _balanced(sizes: np.ndarray) -> np.ndarray:
    """Return weights inversely proportional to the class sizes, with a mean of 1 over all rows; 1 for empty classes."""
    present = sizes > 0
    weights = np.where(present, sizes.sum() / (np.count_nonzero(present) * np.where(present, sizes, 1)), 1.0)
    if _out_of_range(weights):
        raise ArgumentError(
            f"class_weight='balanced' gives weights up to {weights.max():.3g}, above {LARGEST:g}: the sample weights "
            "of the classes differ too much."
        )
    return weights


def _sizes(target: np.ndarray, weight: np.ndarray | None, classes: int) -> np.ndarray:
    """Return the number of rows of each class, or the sum of their row weights: (classes,)."""
    weight = np.ones(len(target)) if weight is None else weight
    if target.dtype.kind == "f":
        sizes: np.ndarray = np.tensordot(weight, target, 1).reshape(-1, classes).sum(axis=0)
        return sizes
    return np.bincount(target.ravel(), np.repeat(weight, target.size // len(target)), classes)
