"""Convert estimators of gpunet.sklearn to models."""

from __future__ import annotations

from typing import Protocol

import numpy as np

from gpunet.default_device import use_device
from gpunet.errors import ArgumentError
from gpunet.initializers import initialized_with_zeros
from gpunet.losses import Task
from gpunet.models import MLP

TASKS: dict[str, Task] = {
    "exp": "regression",
    "identity": "regression",
    "logistic": "binary",
    "softmax": "classification",
}
"""The task of a network by scikit-learn's name of its output activation."""


class Estimator(Protocol):
    """A fitted `gpunet.sklearn.MLPClassifier` or `MLPRegressor`; the attributes are scikit-learn's."""

    activation: str
    classes_: np.ndarray
    coefs_: list[np.ndarray]
    intercepts_: list[np.ndarray]
    out_activation_: str


def as_model(estimator: Estimator) -> MLP:
    """Return a model with the weights and classes of a fitted estimator, without its output activation."""
    if not hasattr(estimator, "coefs_"):
        raise ArgumentError(f"to_onnx takes a model or a fitted estimator of gpunet.sklearn, got {estimator!r}.")
    weights, biases = estimator.coefs_, estimator.intercepts_
    hidden = "sigmoid" if estimator.activation == "logistic" else estimator.activation
    with use_device("cpu"), initialized_with_zeros():
        model = MLP([len(weights[0]), *map(len, biases)], hidden).to(dtype=weights[0].dtype)
    for layer, weight, bias in zip(model.layers, weights, biases, strict=True):
        layer.params["weight"], layer.params["bias"] = weight, bias
    model.task = TASKS[estimator.out_activation_]
    if model.task == "classification":
        model.classes = tuple(estimator.classes_.tolist())
    elif model.task == "binary" and len(biases[-1]) == 1:
        model.classes = tuple(estimator.classes_[[0, -1]].tolist())  # both are the same if there is one class
    return model
