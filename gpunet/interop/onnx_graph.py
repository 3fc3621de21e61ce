"""Build the nodes and constants of an ONNX graph."""

from __future__ import annotations

from typing import Any

import numpy as np

from gpunet.errors import DataError

FLOAT, INT64, DOUBLE = 1, 7, 11
"""ONNX element types (TensorProto.DataType in onnx.proto)."""


class Graph:
    """An ONNX graph under construction (`onnx.NodeProto`, `onnx.TensorProto`); nodes refer to values by name."""

    def __init__(self) -> None:
        self.nodes: list[Any] = []
        self.constants: list[Any] = []

    def add(self, operator: str, *inputs: str | np.ndarray, output: str | None = None, **attributes: Any) -> str:
        """Add a node and return the name of its first output.

        Args:
            *inputs: names of values, or arrays, which become constants; "" omits an optional input.
            output: the name of the output; by default a unique one.
        """
        from onnx import helper

        names = [value if isinstance(value, str) else self.constant(value) for value in inputs]
        output = output or f"{operator}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(operator, names, [output], name=output, **attributes))
        return output

    def constant(self, array: np.ndarray) -> str:
        """Add a constant, with floats as float32, and return its name.

        Raises:
            DataError: a number is too large for float32.
        """
        if array.dtype.kind == "f":
            with np.errstate(over="ignore"):
                single = array.astype(np.float32)
            if (np.isinf(single) & np.isfinite(array)).any():
                raise DataError("to_onnx: the model contains a number that is too large for float32.")
            array = single
        return self._add_constant(array)

    def double(self, array: np.ndarray) -> str:
        """Add a float64 constant and return its name."""
        return self._add_constant(array.astype(np.float64))

    def _add_constant(self, array: np.ndarray) -> str:
        from onnx import numpy_helper

        name = f"constant_{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.ascontiguousarray(array).reshape(array.shape), name))
        return name
