"""The base class of the models: layers that predict from raw host data and can be saved to a file."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike

from gpunet.arguments import shown
from gpunet.data import Standardizer, TableSchema
from gpunet.data.checks import as_dtype, check_samples
from gpunet.data.frames import frame_columns
from gpunet.data.indices import check_indices, check_range
from gpunet.device import Array, on_device
from gpunet.errors import ArgumentError, ShapeError, StateError
from gpunet.files import write_arrays
from gpunet.layers import Layer
from gpunet.losses import Task
from gpunet.models.configs import layer_config
from gpunet.models.freezing import matching
from gpunet.models.inference import LARGEST_BATCH, run_native
from gpunet.models.predictions import decoded, probabilities, warn_of_not_finite

SCALERS = "input_scaler", "target_scaler"


class Model(Layer):
    """A layer that predicts from raw host data and can be saved to a file.

    Attributes:
        task: the task of the training: "classification", "binary", "regression", "counts" or "similarity"; None before.
        classes: the names of the classes, or None.
        input_scaler, target_scaler: the standardisation of features and targets in training, or None.
        schema: how the columns of a table become features, or None.

    Example:
        >>> model = gn.MLP([2, 2])
        >>> history = gn.Trainer(model).fit(np.eye(2), np.array([0, 1]), epochs=100)
        >>> model.predict([[3.0, 0.0], [0.0, 3.0]]), model.predict_proba([[3.0, 0.0]]).shape
        (array([0, 1]), (1, 2))
    """

    outside_the_step = frozenset(("task", "classes", "input_scaler", "target_scaler", "schema"))

    def __init__(self) -> None:
        self.task: Task | None = None
        self.classes: tuple[str, ...] | None = None
        self.input_scaler: Standardizer | None = None
        self.target_scaler: Standardizer | None = None
        self.schema: TableSchema | None = None
        super().__init__()

    def parameters(self) -> dict[str, Array]:
        """Return views of the parameters by "layer.parameter"."""
        return self._views("params")

    def gradients(self) -> dict[str, Array]:
        """Return views of the gradients by "layer.parameter"."""
        return self._views("grads")

    def _views(self, which: str) -> dict[str, Array]:
        return {f"{path}.{name}": a for path, leaf in self.leaves().items() for name, a in getattr(leaf, which).items()}

    def __setattr__(self, name: str, value: Any) -> None:
        if name in SCALERS and not isinstance(value, Standardizer | None):
            raise ArgumentError(
                f"{name} must be a gn.data.Standardizer or None, got {shown(value)}. Standardizer.fit(X) makes one; "
                "Standardizer(scaler.mean_, scaler.scale_) converts scikit-learn's StandardScaler."
            )
        super().__setattr__(name, value)

    def freeze(self, *patterns: str) -> Self:
        """Freeze layers, so that training does not change them and computes no gradients for them; return the model.

        `Layer.trainable` says what a frozen layer does. Files and checkpoints store which layers are frozen.

        Args:
            *patterns: path of a layer, such as "0" or "1.linear1", which includes all layers inside; or a pattern that
                matches the names of all its parameters, such as "0.*", where * matches any text. By default all layers.

        Raises:
            ArgumentError: a pattern matches nothing, or only some parameters of a layer. No layer changes then.
        """
        self._freeze(matching(self.leaves(), patterns or ("*",)), True)
        return self

    def unfreeze(self, *patterns: str) -> Self:
        """Unfreeze layers; arguments and errors as for `freeze`.

        The optimizer continues with its state from before the freeze. Its step count, used for bias correction,
        includes the steps since then; PyTorch counts the steps of each parameter separately.
        """
        self._freeze(matching(self.leaves(), patterns or ("*",)), False)
        return self

    def outputs(self, X: ArrayLike) -> np.ndarray:
        """Return the raw outputs, logits or values, for raw features: (rows, outputs...) in host memory.

        Args:
            X: features (rows, features...), which are standardised as in training; or integers (rows, ...) if the first
                layer takes indices.

        Warns:
            GpunetWarning: outputs are NaN or infinite.

        Raises:
            DataError: features are empty, not finite, or too large for the model's dtype; indices are out of range.
        """
        y = self.ready_outputs(self.prepare(X))
        warn_of_not_finite(
            "outputs", y, "weights are, as after a training that diverged, or the forward pass overflows"
        )
        return y

    def ready_outputs(self, x: np.ndarray) -> np.ndarray:
        """Return the raw outputs for features that `prepare` returned."""
        y = np.empty((len(x), *self.output_shape(x.shape[1:])), self.dtype)
        device = self.device
        if device.xp is np and run_native(self, vars(self).setdefault("_inference", {}), x, y):
            return y
        with device.activate(), np.errstate(all="ignore"):
            for start in range(0, len(x), LARGEST_BATCH):
                rows = slice(start, start + LARGEST_BATCH)
                y[rows] = device.to_host(self.forward(device.asarray(x[rows])))
        return y

    def prepare(self, X: ArrayLike) -> np.ndarray:
        """Check and standardise raw features, and convert them to the model's dtype; errors as for `outputs`."""
        return self.convert(self.check(X))

    def check(self, X: ArrayLike) -> np.ndarray:
        """Check raw features and return them for `convert`; the schema of a table encodes data frames of raw columns.

        Integers, and features that will be standardised, keep their dtype: a training stores them in this form and
        converts each batch. Errors as for `outputs`.
        """
        columns = None if self.schema is None else frame_columns(X)
        if self.schema is not None and columns is not None:
            is_encoded = [name for name, _ in columns] == self.schema.feature_names
            X = X if is_encoded else self.schema.encode(X)
        x = check_samples(X) if self.index_range is None else check_indices(X, self.index_range)
        try:
            self.output_shape(x.shape[1:])
        except ShapeError as error:
            raise ShapeError(f"X: {error}") from None
        if self.input_scaler is None:
            return as_dtype(x, self.dtype, "X") if x.dtype.kind == "f" and x.dtype != self.dtype else x
        if self.index_range is not None:
            raise StateError("the model takes indices, which cannot be standardised; set its input_scaler to None.")
        self.input_scaler.check_fits(x, self.dtype)
        if not self.input_scaler.leaves_alone(self.category_columns):
            raise StateError(
                f"the input_scaler changes category indices (the last {self.category_columns} columns); fit it with "
                "Standardizer.fit(X, category_columns=model.category_columns)."
            )
        return x

    def convert(self, x: np.ndarray) -> np.ndarray:
        """Standardise features that `check` returned, and convert them to the model's dtype."""
        if self.index_range is not None:
            return x
        if self.input_scaler is not None:
            return self.input_scaler.apply(x, self.dtype)
        return x.astype(self.dtype, copy=False)

    def check_given(self, X: Any) -> None:
        """Raise `DataError` for indices out of range in prepared features in host memory; others are not checked."""
        if self.index_range is not None and not on_device(X):
            check_range(np.asarray(X), self.index_range, "X: indices")

    def predict(self, X: ArrayLike) -> np.ndarray:
        """Return labels or values for raw features; arguments and errors as for `outputs`.

        Returns:
            Classification: class names, or indices if the classes have no names, (rows,), or (rows, positions) with an
            output per position. Binary: 0 or 1, or names. Similarity: the cosine of each pair, (rows,). Otherwise:
            values in the units of the training targets. Binary outputs and values are (rows,) for one output, else
            (rows, outputs).
        """
        y = self.outputs(X)
        predictions = self.decode(y, self.task)
        if predictions.dtype.kind == "f" and not np.isfinite(predictions).all() and np.isfinite(y).all():
            warn_of_not_finite("predictions", predictions, f"they overflow in {predictions.dtype}")
        return predictions

    def decode(self, y: np.ndarray, task: Task | None) -> np.ndarray:
        """Convert raw outputs to the predictions of a task; see `predict`."""
        return decoded(y, task, self.classes, self.target_scaler)

    def predict_proba(self, X: ArrayLike) -> np.ndarray:
        """Return the probability of each class, (rows, ..., classes); with several binary outputs that of 1 for each.

        Arguments and errors as for `outputs`.

        Raises:
            StateError: the model is not a classifier.
        """
        return probabilities(self.outputs(X), self.task)

    def save(self, path: str | Path) -> None:
        """Save the model (layers, parameters, buffers, scalers, class names, frozen layers) to a safetensors file.

        Raises:
            ArgumentError: your own layer is not registered (`gn.register`), or its configuration does not rebuild it;
                or the model has your own activation function, which is code.
            OSError: the file cannot be written; an existing file stays intact.
        """
        arrays, description = self.to_arrays()
        write_arrays(path, arrays, {"kind": "model", **description})

    def to_arrays(self) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """Return the model as host arrays and a description of JSON values, for a file."""
        return self.host_arrays(), {
            "model": layer_config(self),
            "frozen": [path for path, leaf in self.leaves().items() if not leaf.trainable],
            "dtype": self.dtype.name,
            "task": self.task,
            "classes": self.classes,
            "schema": self.schema and self.schema.to_json(),
        }

    def host_arrays(self) -> dict[str, np.ndarray]:
        """Return parameters, buffers and scalers as host arrays by their names in a file."""
        arrays = {
            f"{which}.{key}": self.device.to_host(a)
            for which in ("params", "buffers")
            for key, a in self._views(which).items()
        }
        for name in SCALERS:
            scaler = getattr(self, name)
            if scaler is not None:
                arrays |= {f"{name}.mean": scaler.mean, f"{name}.scale": scaler.scale}
        return arrays
