"""Weights from PyTorch and back: each layer's tensors by the names and in the layouts of its PyTorch twin."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.numpy
from safetensors import SafetensorError

from gpunet.device import to_host
from gpunet.errors import ArgumentError, DTypeError, MissingPackageError, ModelFileError
from gpunet.interop.torch_layers import TWINS
from gpunet.layers import Conv2d, GlobalAvgPool2d, Layer, Linear
from gpunet.layers.stack import Stack
from gpunet.models import Model


def load_torch(model: Model, source: str | Path | Mapping[str, Any], *, modules: Sequence[str] | None = None) -> None:
    """Take over the weights of a PyTorch module. What the module does between its weights is not checked.

    The tensors go to the layers with parameters by the names of a `torch.nn.Sequential` of the same layers, where the
    activation of a `Linear` or convolution and the flattening of a `GlobalAvgPool2d` are modules of their own; else in
    the order of the numbers in their names, such as fc1 and fc2. A `TransformerEncoderLayer` is one module, PyTorch's
    with `norm_first=True`. Where the model has a standardisation, set it to what the module was trained with, or to
    None.

    Args:
        model: the model, on any device; floats are rounded to its dtype.
        source: a state_dict (tensors, or arrays of any device), or a safetensors file, which needs no PyTorch.
        modules: the names of the PyTorch modules that hold the weights, in the order of the model's layers, such as
            ["hidden", "out"]; [""] for those of a layer alone.

    Raises:
        ArgumentError: tensors that are missing, of no layer, or of another shape: all are listed, and nothing has
            changed. A layer without a PyTorch twin. Names that tell no order.
        DTypeError: a tensor of integers or complex numbers where floating-point numbers belong.
        FileNotFoundError: there is no such file.
        ModelFileError: not a whole safetensors file.
    """
    given = _given(source)
    layers = _layers(model, list(modules) if modules is not None else None, given)
    wanted = {_joined(module, name): a for module, layer in layers.items() for name, a in _tensors(layer).items()}
    faults = [f"missing: {name} {a.shape}" for name, a in wanted.items() if name not in given]
    faults += [f"of no layer: {name} {_shape(given[name])}" for name in given if name not in wanted]
    for name, a in wanted.items():
        if name in given and _shape(given[name]) != a.shape:
            faults.append(f"misshaped: {name} {_shape(given[name])}, the model needs {a.shape}")
    if faults:
        raise ArgumentError(f"load_torch: the tensors do not fit the model. {'; '.join(faults)}.")
    arrays = {name: _array(name, given[name], a.dtype.kind) for name, a in wanted.items()}
    for module, layer in layers.items():
        own = {name: arrays[_joined(module, name)] for name in _tensors(layer)}
        TWINS[type(layer)].load(layer, own)


def to_torch(model: Model, *, modules: Sequence[str] | None = None) -> dict[str, Any]:
    """Return the weights as a state_dict, which `torch.nn.Module.load_state_dict` takes.

    Args:
        model: the model, on any device.
        modules: the names of the PyTorch modules, as for `load_torch`; by default those in a `torch.nn.Sequential`.

    Returns:
        Tensors of the model's dtype on the CPU, which share no memory with the model.

    Raises:
        ArgumentError: a layer without a PyTorch twin, or not as many modules as layers with parameters.
        MissingPackageError: PyTorch is not installed.
    """
    try:
        import torch
    except ImportError:
        raise MissingPackageError("to_torch needs PyTorch: pip install torch") from None
    layers = _twins(model)
    named = layers if modules is None else _renamed(layers, list(modules))
    return {
        _joined(module, name): torch.from_numpy(np.array(a, order="C"))
        for module, layer in named.items()
        for name, a in _tensors(layer).items()
    }


def _given(source: Any) -> Mapping[str, Any]:
    if isinstance(source, Mapping):
        return source
    if isinstance(source, str | Path):
        return _read(Path(source))
    kind = type(source).__name__
    raise ArgumentError(f"load_torch takes a state_dict or a safetensors file, got {kind}; pass module.state_dict().")


def _read(path: Path) -> dict[str, np.ndarray]:
    """Return the tensors of a safetensors file."""
    try:
        return safetensors.numpy.load(path.read_bytes())
    except KeyError as error:
        raise DTypeError(
            f"{path}: holds tensors of type {error}, which NumPy lacks; pass safetensors.torch.load_file(path)."
        ) from None
    except SafetensorError as error:
        raise ModelFileError(
            f"{path}: not a whole safetensors file ({error}). A .pt file is a pickle, which gpunet never opens: pass "
            "torch.load(path, weights_only=True)."
        ) from None


def _array(name: str, tensor: Any, kind: str) -> np.ndarray:
    """Return a tensor, or an array of any device, as a host array of a kind of dtype: "f" or "i"."""
    if hasattr(tensor, "detach"):
        tensor = tensor.detach().cpu()
        if tensor.is_floating_point():
            tensor = tensor.double()  # exact for every float, and NumPy has no bfloat16
    array = np.asarray(to_host(tensor))
    if array.dtype.kind != kind:
        raise DTypeError(f"load_torch: {name} is of type {array.dtype}, which is not what the model holds there.")
    return array


def _twins(layer: Layer, path: str = "") -> dict[str, Layer]:
    """Return the layers with tensors by the names of their twins in a `torch.nn.Sequential` of the same layers."""
    found: dict[str, Layer] = {}
    if type(layer) in TWINS:
        return {path: layer} if _tensors(layer) else {}
    if isinstance(layer, Stack):
        for place, part in _numbered(layer.layers).items():
            found |= _twins(part, _joined(path, place))
    elif any(leaf.params or leaf.buffers for leaf in layer.leaves().values()):
        known = ", ".join(twin.__name__ for twin in TWINS)
        raise ArgumentError(f"layer {path}, {type(layer).__name__}, has no PyTorch twin. Those with one: {known}.")
    return found


def _numbered(layers: Iterable[Layer]) -> dict[str, Layer]:
    """Return layers by their places in a `torch.nn.Sequential`, where some of them are two modules."""
    found: dict[str, Layer] = {}
    place = 0
    for layer in layers:
        found[str(place)] = layer
        fused = isinstance(layer, Linear | Conv2d) and layer.activation.name != "identity"
        place += 2 if fused or isinstance(layer, GlobalAvgPool2d) else 1
    return found


def _layers(model: Model, modules: list[str] | None, given: Collection[str]) -> dict[str, Layer]:
    """Return the layers with tensors by the names of the modules that they are to take them from."""
    layers = _twins(model)
    if modules is not None:
        return _renamed(layers, modules)
    own = {name for layer in layers.values() for name in _tensors(layer)}
    found = {_module(name, own): None for name in given}
    if len(found) != len(layers) or found.keys() == layers.keys():
        return layers
    ordered = sorted(found, key=_numbers)
    for a, b in pairwise(map(_numbers, ordered)):
        # in turns, so an odd place holds numbers; where one name begins the other, no number differs
        if next((i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), 0) % 2 == 0:
            raise ArgumentError(
                f"load_torch: the names tell no order of the modules {', '.join(found)}; give "
                "modules=[...] in the order of the model's layers."
            )
    return _renamed(layers, ordered)


def _renamed(layers: Mapping[str, Layer], modules: list[str]) -> dict[str, Layer]:
    """Return the layers by other names."""
    twice = [name for name, count in Counter(modules).items() if count > 1]
    if len(modules) != len(layers) or twice:
        raise ArgumentError(
            f"modules must name {len(layers)} different modules, one for each layer with parameters, got {modules}."
        )
    return dict(zip(modules, layers.values(), strict=True))


def _numbers(name: str) -> tuple[str | int, ...]:
    """Return a name as texts and numbers in turns, so that fc10 comes after fc9."""
    return tuple(int(part) if i % 2 else part for i, part in enumerate(re.split(r"(\d+)", name)))


def _tensors(layer: Layer) -> dict[str, np.ndarray]:
    return TWINS[type(layer)].tensors(layer)


def _module(name: str, own: Collection[str]) -> str:
    """Return the module that a tensor belongs to.

    Args:
        name: the tensor's whole name.
        own: the names of tensors within a module, such as "weight", or "out_proj.weight" in attention.
    """
    words = name.split(".")
    inside = next((i for i in range(len(words)) if ".".join(words[i:]) in own), -1)
    return ".".join(words[:inside])


def _shape(tensor: Any) -> tuple[int, ...]:
    return tuple(np.shape(tensor))


def _joined(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name
