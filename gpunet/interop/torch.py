"""Convert weights from and to PyTorch, with the names and layouts of the equivalent PyTorch modules."""

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
from gpunet.interop.torch_layers import EQUIVALENTS
from gpunet.layers import Conv2d, GlobalAvgPool2d, Layer, Linear
from gpunet.layers.stack import Stack
from gpunet.models import Model


def load_torch(model: Model, source: str | Path | Mapping[str, Any], *, modules: Sequence[str] | None = None) -> None:
    """Copy the weights of a PyTorch module into a model. Only names and shapes are checked, not the computation.

    Tensors are assigned by name if the names are those of a `torch.nn.Sequential` of the same layers, where activations
    and the flattening of a `GlobalAvgPool2d` are separate modules; otherwise in the order of the numbers in their
    names, such as fc1 and fc2. A `TransformerEncoderLayer` corresponds to PyTorch's with `norm_first=True`. Set the
    model's scalers to the standardisation that the module was trained with, or to None.

    Args:
        source: a state_dict of tensors or arrays, or a safetensors file, which needs no PyTorch.
        modules: names of the PyTorch modules with weights, in the order of the model's layers; [""] for a single layer.

    Raises:
        ArgumentError: tensors do not match the model, which is unchanged then; a layer has no PyTorch equivalent; the
            names give no order.
        FileNotFoundError: there is no such file.
        ModelFileError: not a valid safetensors file.

    Example:
        >>> model = gn.MLP([3, 2])
        >>> gn.interop.load_torch(model, {"0.weight": np.eye(2, 3), "0.bias": np.ones(2)})
        >>> model.outputs([[1.0, 2.0, 3.0]])
        array([[2., 3.]], dtype=float32)
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
        raise ArgumentError(f"load_torch: the tensors do not match the model. {'; '.join(faults)}.")
    arrays = {name: _array(name, given[name], a.dtype.kind) for name, a in wanted.items()}
    for module, layer in layers.items():
        own = {name: arrays[_joined(module, name)] for name in _tensors(layer)}
        EQUIVALENTS[type(layer)].load(layer, own)


def to_torch(model: Model, *, modules: Sequence[str] | None = None) -> dict[str, Any]:
    """Return copies of the weights as a state_dict of CPU tensors, for `torch.nn.Module.load_state_dict`.

    Args:
        modules: as for `load_torch`; by default the names in a `torch.nn.Sequential`.

    Raises:
        ArgumentError: a layer has no PyTorch equivalent.
        MissingPackageError: PyTorch is not installed.
    """
    try:
        import torch
    except ImportError:
        raise MissingPackageError("to_torch needs PyTorch: pip install torch") from None
    layers = _by_module(model)
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
            f"{path}: contains tensors of type {error}, which NumPy lacks; pass safetensors.torch.load_file(path)."
        ) from None
    except SafetensorError as error:
        raise ModelFileError(
            f"{path}: not a valid safetensors file ({error}). A .pt file is a pickle, which gpunet never opens: pass "
            "torch.load(path, weights_only=True)."
        ) from None


def _array(name: str, tensor: Any, kind: str) -> np.ndarray:
    """Return a tensor, or an array on any device, as a host array; `kind` is the required dtype kind, "f" or "i"."""
    if hasattr(tensor, "detach"):
        tensor = tensor.detach().cpu()
        if tensor.is_floating_point():
            tensor = tensor.double()  # exact for every float, and NumPy has no bfloat16
    array = np.asarray(to_host(tensor))
    if array.dtype.kind != kind:
        wanted = "floats" if kind == "f" else "integers"
        raise DTypeError(f"load_torch: {name} has dtype {array.dtype}; the model needs {wanted}.")
    return array


def _by_module(layer: Layer, path: str = "") -> dict[str, Layer]:
    """Return the layers with tensors by module names in a `torch.nn.Sequential` of the same layers."""
    found: dict[str, Layer] = {}
    if type(layer) in EQUIVALENTS:
        return {path: layer} if _tensors(layer) else {}
    if isinstance(layer, Stack):
        for index, part in _numbered(layer.layers).items():
            found |= _by_module(part, _joined(path, index))
    elif any(leaf.params or leaf.buffers for leaf in layer.leaves().values()):
        known = ", ".join(cls.__name__ for cls in EQUIVALENTS)
        raise ArgumentError(
            f"layer {path}, {type(layer).__name__}, has no PyTorch equivalent; these layers do: {known}."
        )
    return found


def _numbered(layers: Iterable[Layer]) -> dict[str, Layer]:
    """Return layers by their indices in a `torch.nn.Sequential`, where some of them are two modules."""
    found: dict[str, Layer] = {}
    index = 0
    for layer in layers:
        found[str(index)] = layer
        fused = isinstance(layer, Linear | Conv2d) and layer.activation.name != "identity"
        index += 2 if fused or isinstance(layer, GlobalAvgPool2d) else 1
    return found


def _layers(model: Model, modules: list[str] | None, given: Collection[str]) -> dict[str, Layer]:
    """Return the layers with tensors by the names of the modules in `given` that they correspond to."""
    layers = _by_module(model)
    if modules is not None:
        return _renamed(layers, modules)
    own = {name for layer in layers.values() for name in _tensors(layer)}
    found = {_module(name, own): None for name in given}
    if len(found) != len(layers) or found.keys() == layers.keys():
        return layers
    ordered = sorted(found, key=_numbers)
    for a, b in pairwise(map(_numbers, ordered)):
        # odd indices are numbers; if one name is a prefix of the other, no number differs
        if next((i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), 0) % 2 == 0:
            raise ArgumentError(
                f"load_torch: the order of the modules {', '.join(found)} is not clear from their names; give "
                "modules=[...] in the order of the model's layers."
            )
    return _renamed(layers, ordered)


def _renamed(layers: Mapping[str, Layer], modules: list[str]) -> dict[str, Layer]:
    """Return the layers by other module names."""
    repeated = [name for name, count in Counter(modules).items() if count > 1]
    if len(modules) != len(layers) or repeated:
        raise ArgumentError(
            f"modules must name {len(layers)} different modules, one for each layer with parameters, got {modules}."
        )
    return dict(zip(modules, layers.values(), strict=True))


def _numbers(name: str) -> tuple[str | int, ...]:
    """Split a name into alternating texts and numbers, so that fc10 sorts after fc9."""
    return tuple(int(part) if i % 2 else part for i, part in enumerate(re.split(r"(\d+)", name)))


def _tensors(layer: Layer) -> dict[str, np.ndarray]:
    return EQUIVALENTS[type(layer)].tensors(layer)


def _module(name: str, own: Collection[str]) -> str:
    """Return the name of the module that a tensor belongs to.

    Args:
        own: names of tensors relative to a module, such as "weight", or "out_proj.weight" in attention.
    """
    words = name.split(".")
    inside = next((i for i in range(len(words)) if ".".join(words[i:]) in own), -1)
    return ".".join(words[:inside])


def _shape(tensor: Any) -> tuple[int, ...]:
    return tuple(np.shape(tensor))


def _joined(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name
