"""Export a trained model to an ONNX file, from raw features to predictions."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TypeAlias

import numpy as np

from gpunet.data import Standardizer
from gpunet.errors import ArgumentError, DataError, MissingPackageError, ShapeError
from gpunet.files import write_bytes
from gpunet.interop.onnx_estimators import Estimator, as_model
from gpunet.interop.onnx_graph import DOUBLE, FLOAT, INT64, Graph
from gpunet.interop.onnx_layers import add_layer
from gpunet.interop.onnx_shapes import Row, input_row, output_row
from gpunet.models import Model
from gpunet.ops._cosine_similarity import EPS

IR_VERSION = 10
OPSETS = (20, 21)
"""20 is the first opset with GELU, 21 the newest that IR version 10 allows."""


def to_onnx(
    model: Model | Estimator, path: str | Path, *, input_shape: tuple[int | None, ...] | None = None, opset: int = 20
) -> None:
    """Export a model, or an estimator of `gpunet.sklearn`, to an ONNX file (IR version 10).

    - Input "X", (rows, features...): raw rows as for `model.predict`, in float32; int64 if the first layer takes
      indices, float64 if the model was trained on a table.
    - Output "prediction": the result of `model.predict`; of a classifier also "probabilities", that of `predict_proba`.

    Constants are float32, except the standardisation of a table's features. The metadata of such a model contains the
    names of the "features" and the "schema" as JSON; `TableSchema.from_json` reads the schema and converts a table to
    X.

    Args:
        input_shape: the shape of one row of X, with None for an axis of any length; by default that of the
            standardisation, else that of the first layer.
        opset: the ONNX opset version, 20 or 21.

    Raises:
        ArgumentError: a layer or activation has no ONNX form, or `input_shape` is needed.
        DataError: a number is too large for float32.
        MissingPackageError: onnx is not installed.
        OSError: the file cannot be written; an existing file stays intact.
        ShapeError: the model does not accept rows of this shape, or not of every length.

    Example:
        >>> import onnx
        >>> gn.interop.to_onnx(gn.MLP([4, 8, 3]), "model.onnx")
        >>> [output.name for output in onnx.load("model.onnx").graph.output]
        ['prediction']
    """
    if opset not in OPSETS:
        raise ArgumentError(
            f"to_onnx: opset must be 20 (the default) or 21, got {opset!r}: older ones have no GELU, and runtimes "
            f"for IR version {IR_VERSION} need not support newer ones."
        )
    try:
        from onnx import helper
    except ImportError:
        raise MissingPackageError("to_onnx needs onnx: pip install 'onnx>=1.17'") from None
    network = model if isinstance(model, Model) else as_model(model)
    row = input_row(network, input_shape)
    graph = Graph()
    # float32 lacks the digits of a table's times with seconds
    kind = INT64 if network.index_range is not None else FLOAT if network.schema is None else DOUBLE
    x = _standardised(graph, network.input_scaler, kind)
    y = add_layer(graph, network, x, row)
    if not isinstance(model, Model) and model.out_activation_ == "exp":  # a regressor with loss="poisson"
        y = graph.add("Exp", y)
    outputs = _outputs(graph, network, y, output_row(network, row))
    proto = helper.make_model(
        helper.make_graph(
            graph.nodes,
            "gpunet",
            [helper.make_tensor_value_info("X", kind, ["rows", *row])],
            [helper.make_tensor_value_info(name, kind, ["rows", *row]) for name, kind, row in outputs],
            graph.constants,
        ),
        opset_imports=[helper.make_opsetid("", opset)],
        ir_version=IR_VERSION,
        producer_name="gpunet",
    )
    if network.schema is not None:
        schema = {"features": network.schema.feature_names, "schema": network.schema.to_json()}
        helper.set_model_props(proto, {name: json.dumps(value) for name, value in schema.items()})
    write_bytes(path, proto.SerializeToString())


def _standardised(graph: Graph, scaler: Standardizer | None, kind: int) -> str:
    """Add the standardisation of X: in float64 and rounded to float32 if X is float64, else in float32."""
    if kind != DOUBLE:
        return "X" if scaler is None else _standardised_in_float32(graph, scaler)
    x = "X"
    if scaler is not None:
        x = graph.add("Mul", graph.add("Sub", x, graph.double(scaler.mean)), graph.double(scaler.factor))
    return graph.add("Cast", x, to=FLOAT)


def _standardised_in_float32(graph: Graph, scaler: Standardizer) -> str:
    """Add (X - mean) / scale, with the mean in two float32 parts, so that features far from zero keep their digits."""
    with np.errstate(over="ignore", under="ignore"):
        high, scale = scaler.mean.astype(np.float32), scaler.scale.astype(np.float32)
    if (scale == 0).any() or not np.isfinite([high, scale]).all():
        raise DataError(
            "to_onnx: a feature's mean or standard deviation is out of the range of float32; scale the feature first."
        )
    centred = graph.add("Sub", graph.add("Sub", "X", high), scaler.mean - high)
    return graph.add("Div", centred, scale)


Outputs: TypeAlias = list[tuple[str, int, Row]]
"""The graph's outputs: name, ONNX element type, and shape of one row."""


def _outputs(graph: Graph, model: Model, y: str, row: Row) -> Outputs:
    """Add the steps of `predict` and `predict_proba` after the raw outputs `y`, whose rows have the shape `row`."""
    if row == (None,) or (None in row and model.target_scaler is not None):
        raise ShapeError(
            "to_onnx: the number of output values per row must be fixed; give the length of the axis in input_shape."
        )
    if model.task == "classification":
        graph.add("Softmax", y, output="probabilities")
        labels = _labels(graph, model, graph.add("ArgMax", y, axis=-1, keepdims=0), row[:-1])
        return [labels, ("probabilities", FLOAT, row)]
    if model.task == "similarity":
        graph.add("Identity", _cosine(graph, y), output="prediction")
        return [("prediction", FLOAT, row[2:-1])]
    if model.task == "counts":
        y = graph.add("Exp", y)
    if model.target_scaler is not None:
        row = model.target_scaler.mean.shape
        scaled = graph.add("Mul", graph.add("Reshape", y, np.array([0, *row])), model.target_scaler.scale)
        y = graph.add("Add", scaled, model.target_scaler.mean)
    one = row == (1,)
    values = graph.add("Squeeze", y, np.array([1])) if one else y
    if model.task != "binary":
        graph.add("Identity", values, output="prediction")
        return [("prediction", FLOAT, () if one else row)]
    positive = graph.add("Cast", graph.add("Greater", values, np.array(0.0)), to=INT64)
    p = graph.add("Sigmoid", y)
    if one:
        graph.add("Concat", graph.add("Sub", np.array(1.0), p), p, axis=1, output="probabilities")
    else:
        graph.add("Identity", p, output="probabilities")
    labels = _labels(graph, model, positive, () if one else row)
    return [labels, ("probabilities", FLOAT, (2,) if one else row)]


def _cosine(graph: Graph, y: str) -> str:
    """Add the cosine of the angle between the two vectors of each row."""
    norm = graph.add("Max", graph.add("ReduceL2", y, np.array([-1])), np.array(EPS))
    pair = (graph.add("Gather", graph.add("Div", y, norm), np.array(part), axis=1) for part in range(2))
    return graph.add("ReduceSum", graph.add("Mul", *pair), np.array([-1]), keepdims=0)


def _labels(graph: Graph, model: Model, indices: str, row: Row) -> tuple[str, int, Row]:
    """Add the output "prediction": class names looked up by index, or the indices if the classes have no names."""
    if model.classes is None:
        graph.add("Identity", indices, output="prediction")
        return ("prediction", INT64, row)
    names = np.array(model.classes)
    graph.add("Gather", names.astype(object) if names.dtype.kind == "U" else names, indices, output="prediction")
    return ("prediction", graph.constants[-1].data_type, row)
