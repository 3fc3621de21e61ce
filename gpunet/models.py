"""Models: layers in a row, their prediction on raw data, and their files."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from gpunet import layers as all_layers
from gpunet.arguments import whole
from gpunet.data import Standardizer, TableSchema, check_features
from gpunet.data.checks import as_dtype, check_indices, check_range
from gpunet.device import Array, on_device
from gpunet.errors import ArgumentError, ModelFileError, ShapeError, StateError
from gpunet.files import read_arrays, write_arrays
from gpunet.initializers import undrawn
from gpunet.layers import Dropout, Layer, LayerNorm, Linear, Residual, RMSNorm
from gpunet.layers.stack import Stack, fuse
from gpunet.losses import Task
from gpunet.ops import cosine_similarity, softmax
from gpunet.ops.activations import ActivationFunction, activation_function

PREDICT_ROWS = 4096
"""Rows that `predict` sends through the model at a time, which bounds its memory."""


class Model(Layer):
    """A layer that is used on its own: it predicts from raw host data, and is written to a file.

    Attributes:
        task: what it was trained for ("classification", "binary", "regression", "similarity"), or None before training.
        classes: the names of the classes, or None.
        input_scaler: the standardisation that raw features go through, or None.
        target_scaler: the standardisation that targets went through in training, or None.
        schema: how a CSV file's columns become features, or None.
    """

    beside_the_step = frozenset(("task", "classes", "input_scaler", "target_scaler", "schema"))

    def __init__(self) -> None:
        self.task: Task | None = None
        self.classes: tuple[str, ...] | None = None
        self.input_scaler: Standardizer | None = None
        self.target_scaler: Standardizer | None = None
        self.schema: TableSchema | None = None
        super().__init__()

    def parameters(self) -> dict[str, Array]:
        """Return the parameters by "layer.parameter", as views."""
        return self._live("params")

    def gradients(self) -> dict[str, Array]:
        """Return the gradients by the names of the parameters, as views."""
        return self._live("grads")

    def _live(self, which: str) -> dict[str, Array]:
        return {f"{path}.{name}": a for path, leaf in self.leaves().items() for name, a in getattr(leaf, which).items()}

    def outputs(self, X: ArrayLike) -> np.ndarray:
        """Return the raw outputs, logits or values, for raw features.

        Args:
            X: (rows, features...) host data, standardised as in training; or integers (rows, ...), where the first
                layer takes indices.

        Returns:
            (rows, outputs...) in host memory.

        Raises:
            DataError: features that are not finite, too large for the model's dtype, or none; indices out of range.
            DTypeError: features that are no real numbers, indices that are no integers.
            ShapeError: not the number of features that the model takes.
        """
        x = self.prepare(X)
        y = np.empty((len(x), *self.output_shape(x.shape[1:])), self.dtype)
        device = self.device
        with device.activate():
            for start in range(0, len(x), PREDICT_ROWS):
                rows = slice(start, start + PREDICT_ROWS)
                y[rows] = device.to_host(self.forward(device.asarray(x[rows])))
        return y

    def prepare(self, X: ArrayLike) -> np.ndarray:
        """Return raw features as the layers take them: checked, scaled, in the model's dtype.

        Arguments and errors as for `outputs`.
        """
        x = check_features(X) if self.index_range is None else check_indices(X, self.index_range)
        try:
            self.output_shape(x.shape[1:])
        except ShapeError as error:
            raise ShapeError(f"X: {error}") from None
        if self.index_range is None:
            if self.input_scaler is not None:
                x = self.input_scaler.apply(x)
            elif x.dtype == self.dtype:
                return x
            return as_dtype(x, self.dtype, "X")
        if self.input_scaler is not None:
            raise StateError("the model takes indices, which cannot be standardised; set its input_scaler to None.")
        return x

    def check_given(self, X: Any) -> None:
        """Refuse ready features for a step that hold indices out of range, where they are in host memory.

        Raises:
            DataError: they do.
        """
        if self.index_range is not None and not on_device(X):
            check_range(np.asarray(X), self.index_range, "X: indices")

    def predict(self, X: ArrayLike) -> np.ndarray:
        """Return labels or values for raw features.

        Args:
            X: as for `outputs`.

        Returns:
            Classification: class names (rows,), or class indices where the classes have no names; (rows, positions)
            where the model answers at each position of a row. Binary: 0 or 1 (or names), (rows,) for one output, else
            (rows, outputs). Similarity: the cosine of each pair, (rows,). Otherwise values, (rows,) for one output,
            else (rows, outputs), in the units of the training targets.
        """
        return self.decode(self.outputs(X))

    def decode(self, y: np.ndarray) -> np.ndarray:
        """Return what `predict` returns, from what `outputs` returned."""
        if self.task == "classification":
            return self._named(y.argmax(axis=-1))
        if self.task == "similarity":
            return np.asarray(cosine_similarity(y[:, 0], y[:, 1]))
        if self.target_scaler is not None:
            y = self.target_scaler.invert(y.reshape(len(y), *self.target_scaler.mean.shape))
        if y.ndim == 2 and y.shape[1] == 1:
            y = y[:, 0]
        return self._named((y > 0).astype(np.int64)) if self.task == "binary" else y

    def predict_proba(self, X: ArrayLike) -> np.ndarray:
        """Return the probability of each class, (rows, ..., classes); for several binary outputs that of each being 1.

        Args:
            X: as for `outputs`.

        Raises:
            StateError: the model is no classifier.
        """
        y = self.outputs(X)
        if self.task == "classification":
            return np.asarray(softmax(y))
        if self.task != "binary":
            raise StateError(f"predict_proba needs a model trained as a classifier; this one's task is {self.task}.")
        p = np.asarray(activation_function("sigmoid")(y))
        return np.hstack([1 - p, p]) if p.shape[1] == 1 else p

    def _named(self, labels: np.ndarray) -> np.ndarray:
        return labels if self.classes is None else np.asarray(self.classes)[labels]

    def save(self, path: str | Path) -> None:
        """Write the model (layers, parameters, buffers, scalers, class names) to the safetensors file `path`.

        Raises:
            ArgumentError: a layer holds your own code, which no file can hold.
            OSError: the file cannot be written; one that was there before is untouched.
        """
        arrays, description = self.to_arrays()
        write_arrays(path, arrays, {"kind": "model", **description})

    def to_arrays(self) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """Return the model as host arrays and a JSON description, for a file."""
        arrays = {
            f"{which}.{key}": self.device.to_host(a)
            for which in ("params", "buffers")
            for key, a in self._live(which).items()
        }
        for name in ("input_scaler", "target_scaler"):
            scaler = getattr(self, name)
            if scaler is not None:
                arrays |= {f"{name}.mean": scaler.mean, f"{name}.scale": scaler.scale}
        return arrays, {
            "model": layer_config(self),
            "dtype": self.dtype.name,
            "task": self.task,
            "classes": self.classes,
            "schema": self.schema and self.schema.to_json(),
        }


class Sequential(Stack, Model):
    """Layers one after the other. A `Linear` or convolution followed by an activation is one fused operation.

    Args:
        *layers: layers, or activation functions such as `gn.ReLU()`, which are wrapped in an `Activation`.

    Raises:
        ArgumentError: something that is no layer, or a layer with parameters in two places.
    """

    def summary(self, input_shape: tuple[int, ...] | None = None) -> str:
        """Return a table of the layers: what is fused, the shape of a row's output, the number of parameters.

        Args:
            input_shape: of a row of the input; None: as far as the layers tell it.

        Raises:
            ShapeError: the model does not take such rows.
        """
        rows = [("layer", "output of a row", "parameters")]
        shape = input_shape or _told_shape(self)
        position, program = 0, fuse(self.layers)
        for number, runs in enumerate(program):
            layer = self.layers[position]
            fused = runs is not layer
            shape = shape or _taken(_told_shape(runs), program[number:])
            shape = shape and runs.output_shape(shape)
            count = sum(a.size for leaf in runs.leaves().values() for a in leaf.params.values())
            label = f"{layer!r} + {self.layers[position + 1]!r}, fused" if fused else repr(layer)
            rows.append((f"{position}  {label}", "?" if shape is None else str(shape), f"{count:,}"))
            position += 2 if fused else 1
        widths = [max(len(row[column]) for row in rows) for column in range(3)]
        lines = [f"{a:<{widths[0]}}  {b:<{widths[1]}}  {c:>{widths[2]}}" for a, b, c in rows]
        total = sum(a.size for a in self.parameters().values())
        return "\n".join([*lines, f"{total:,} parameters, {self.dtype}, on {self.device.name}"])

    def __repr__(self) -> str:
        return f"Sequential({', '.join(map(repr, self.layers))})"


class MLP(Sequential):
    """A multilayer perceptron: linear layers with an activation between them, and logits or raw values at the end.

    Args:
        sizes: features of the input, of each hidden layer, and of the output; at least two.
        activation: the function after each hidden layer, by name or object.
        dropout: the probability of a zero after each hidden layer, 0 for none.
        seed: the seed of the initial weights; None for fresh entropy.
    """

    def __init__(
        self,
        sizes: Sequence[int],
        activation: str | ActivationFunction = "relu",
        dropout: float = 0.0,
        seed: int | None = 0,
    ):
        if not isinstance(sizes, Sequence) or len(sizes) < 2:
            raise ArgumentError(f"MLP: sizes needs an input and an output size, got {sizes!r}; give a list, [64, 10].")
        activation = activation_function(activation)
        rng = np.random.default_rng(seed if seed is None else whole("MLP: seed", seed, 0))
        layers: list[Layer] = []
        for n_in, n_out in itertools.pairwise(sizes[:-1]):
            layers.append(Linear(n_in, n_out, activation=activation, rng=rng))
            if dropout:
                layers.append(Dropout(dropout))
        super().__init__(*layers, Linear(sizes[-2], sizes[-1], rng=rng))


LAYERS: dict[str, type[Layer]] = {
    name: getattr(all_layers, name) for name in all_layers.__all__ if name not in ("Layer", "Residual")
}
STACKS: dict[str, type[Stack]] = {cls.__name__: cls for cls in (Residual, Sequential)}


def layer_config(layer: Layer) -> dict[str, Any]:
    """Return what `layer_from_config` rebuilds a layer from, as JSON.

    Raises:
        ArgumentError: a layer or a function of your own.
    """
    name = "Sequential" if type(layer) is MLP else type(layer).__name__
    if isinstance(layer, Stack) and type(layer) in (MLP, *STACKS.values()):
        return {"type": name, "layers": [layer_config(inner) for inner in layer.layers]}
    if type(layer) not in LAYERS.values():
        raise ArgumentError(f"{layer!r} cannot be saved: only gpunet's own layers can be rebuilt from a file.")
    return {"type": name, **layer.config()}


def layer_from_config(config: dict[str, Any]) -> Layer:
    """Rebuild a layer, with new parameters."""
    arguments = dict(config)
    name = arguments.pop("type")
    if name in STACKS:
        return STACKS[name](*map(layer_from_config, arguments["layers"]))
    return LAYERS[name](**arguments)


def load(path: str | Path) -> Model:
    """Read a model that `save` wrote, onto the current device.

    Raises:
        FileNotFoundError: there is no such file.
        ModelFileError: the file is truncated, altered, of another program, version or kind.
    """
    return model_from_arrays(*read_arrays(path, "model"), source=str(path))


def model_from_arrays(arrays: dict[str, np.ndarray], description: dict[str, Any], *, source: str) -> Model:
    """Rebuild a model from what `Model.to_arrays` returned."""
    try:
        with undrawn():
            model = layer_from_config(description["model"])
        if not isinstance(model, Model):
            raise ModelFileError(f"{source}: holds no model.")
        model.to(dtype=description["dtype"])
        model.task = description["task"]
        model.classes = description["classes"] and tuple(description["classes"])
        model.schema = description["schema"] and TableSchema.from_json(description["schema"])
        for leaf_path, leaf in model.leaves().items():
            for which, views in (("params", leaf.params), ("buffers", leaf.buffers)):
                for name in views:
                    views[name] = arrays[f"{which}.{leaf_path}.{name}"]
        for name in ("input_scaler", "target_scaler"):
            if f"{name}.mean" in arrays:
                setattr(model, name, Standardizer(arrays[f"{name}.mean"], arrays[f"{name}.scale"]))
    except (KeyError, TypeError, AttributeError, ArgumentError, ShapeError) as error:
        raise ModelFileError(
            f"{source}: the description of the model is not one that this gpunet reads: {error}"
        ) from None
    return model


def _told_shape(layer: Layer) -> tuple[int, ...] | None:
    """Return the shape of a row that the layer takes, where the layer itself says so."""
    if layer.index_range is not None:  # as many indices as you like
        return None
    if isinstance(layer, LayerNorm | RMSNorm):
        return layer.normalized_shape
    if isinstance(layer, Stack):
        return _taken(next((shape for shape in map(_told_shape, layer.layers) if shape), None), layer.layers)
    return (layer.in_features,) if isinstance(layer, Linear) else None


def _taken(shape: tuple[int, ...] | None, layers: Sequence[Layer]) -> tuple[int, ...] | None:
    """Return the shape of a row where these layers, one after the other, take such rows; else None."""
    row = shape
    try:
        for layer in layers:
            row = row and layer.output_shape(row)
    except ShapeError:  # such as a convolution, or a layer after rows of several positions
        return None
    return shape
