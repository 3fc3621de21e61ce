"""Each layer's tensors as PyTorch's layer has them: a line a layer, in a table."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

from gpunet.device import to_host
from gpunet.layers import Layer, Linear


class Twin(NamedTuple):
    """How the arrays of a layer stand in its PyTorch twin.

    Attributes:
        tensors: returns the layer's arrays on the host, by the names and in the layouts of the twin.
        load: copies such arrays into the layer.
    """

    tensors: Callable[[Any], dict[str, np.ndarray]]
    load: Callable[[Any, Mapping[str, np.ndarray]], None]


def _params(layer: Layer) -> dict[str, np.ndarray]:
    return {name: to_host(a) for name, a in layer.params.items()}


def _assign(layer: Layer, arrays: Mapping[str, np.ndarray]) -> None:
    for name, a in arrays.items():
        layer.params[name] = a


def _transposed(arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return the arrays with the weight from (in, out) to (out, in), or back."""
    return {name: a.T if name == "weight" else a for name, a in arrays.items()}


TWINS: dict[type[Layer], Twin] = {
    Linear: Twin(lambda layer: _transposed(_params(layer)), lambda layer, a: _assign(layer, _transposed(a))),
}
