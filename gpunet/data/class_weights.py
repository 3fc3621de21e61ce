"""The weights of classes in a loss: one for each, some by name, or such that all classes count alike."""

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


class ClassWeights(Versioned):
    """What a loss was given as the weights of the classes, and what that means for the labels of a training.

    Args:
        given: as `gpunet.losses.ClassWeightedLoss` takes it.

    Attributes:
        given: the same: float64 (classes,), a dict by name, "balanced", or None.
        known: float64 (classes,), or None for no weights; a dict and "balanced" stay themselves until `begin`.

    Raises:
        ArgumentError: none of these.
    """

    given: np.ndarray | dict[str, float] | str | None
    known: np.ndarray | dict[str, float] | str | None

    def __init__(self, given: ClassWeight):
        self.given = self.known = _checked(given)

    def begin(self, target: np.ndarray, weight: np.ndarray | None, classes: tuple[str, ...]) -> None:
        """Find out the weights for a training.

        Args:
            target: labels (rows, ...), or distributions (rows, ..., classes).
            weight: (rows,) row weights, which count for "balanced", or None.
            classes: their names.

        Raises:
            ArgumentError: a weight for a class that is not there, or no weight above 0.
        """
        if isinstance(self.given, str):
            self.known = _balanced(_sizes(target, weight, len(classes)))
        elif isinstance(self.given, dict):
            self.known = _not_zero(_by_name(self.given, classes))

    @property
    def array(self) -> np.ndarray | None:
        """The weights (classes,), or None for none.

        Raises:
            StateError: they depend on the labels, which no training has shown yet.
        """
        if isinstance(self.known, str | dict):
            raise StateError(
                f"class_weight={shown(self.given)} depends on the labels, which `Trainer.fit` looks at; train first, "
                "or give a weight for each class as an array."
            )
        return self.known

    def check_shape(self, classes: int) -> None:
        """Refuse weights given as an array for another number of classes.

        Raises:
            ArgumentError: they are.
        """
        if isinstance(self.given, np.ndarray) and self.given.shape != (classes,):
            raise ArgumentError(f"class_weight has shape {self.given.shape}, the model {classes} classes.")

    def config(self) -> Any:
        """Return what is known, as JSON."""
        return self.known.tolist() if isinstance(self.known, np.ndarray) else self.known


def _checked(given: ClassWeight) -> Any:
    if given is None or (isinstance(given, str) and given == "balanced"):
        return given
    if isinstance(given, Mapping):
        named = {class_name(key): real(f"class_weight[{key!r}]", w, 0, closed="left") for key, w in given.items()}
        return dict(sorted(named.items()))  # in one order, so that equal losses have equal files
    try:
        weights = np.asarray(given, np.float64)
    except (TypeError, ValueError):
        raise ArgumentError(
            f"class_weight must be 'balanced', a dict by class, or a number for each class, got {shown(given)}."
        ) from None
    if not (np.isfinite(weights) & (weights >= 0)).all():
        raise ArgumentError("class_weight must hold finite numbers >= 0.")
    return _not_zero(weights)


def _not_zero(weights: np.ndarray) -> np.ndarray:
    if not weights.any():
        raise ArgumentError("class_weight is zero for every class; at least one must count.")
    return weights


def _by_name(given: Mapping[str, float], classes: tuple[str, ...]) -> np.ndarray:
    for name in given:
        if name not in classes:
            raise ArgumentError(f"class_weight has the class {name!r}; the classes are {listing(classes)}.")
    return np.array([given.get(name, 1.0) for name in classes])


def _balanced(sizes: np.ndarray) -> np.ndarray:
    """Return weights by which all classes that are there count alike, with a mean of 1 over the rows; 1 for others."""
    there = sizes > 0
    return np.where(there, sizes.sum() / (np.count_nonzero(there) * np.where(there, sizes, 1)), 1.0)


def _sizes(target: np.ndarray, weight: np.ndarray | None, classes: int) -> np.ndarray:
    """Return how much there is of each class (classes,): rows, or the sum of their weights."""
    weight = np.ones(len(target)) if weight is None else weight
    if target.dtype.kind == "f":
        sizes: np.ndarray = np.tensordot(weight, target, 1).reshape(-1, classes).sum(axis=0)
        return sizes
    return np.bincount(target.ravel(), np.repeat(weight, target.size // len(target)), classes)
