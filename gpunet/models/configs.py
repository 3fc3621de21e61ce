"""Layer configurations as JSON values, for model files."""

from __future__ import annotations

from typing import Any

from gpunet import layers as all_layers
from gpunet.errors import ArgumentError
from gpunet.initializers import initialized_with_zeros
from gpunet.layers import Layer
from gpunet.layers.stack import Stack
from gpunet.registry import Custom, check_complete, find, is_variadic, name_of, register, saved_class

for _name in all_layers.__all__:
    if _name != "Layer":
        register(getattr(all_layers, _name))


def layer_config(layer: Layer) -> dict[str, Any]:
    """Return the configuration of a layer as JSON values, for `layer_from_config`.

    Raises:
        ArgumentError: the class is not registered, the configuration would rebuild a different layer, or the layer
            contains a user's function.
    """
    name = name_of(layer)
    config = {"type": name, **layer.config()}
    if isinstance(layer, Stack) and is_variadic(saved_class(layer)):
        config["layers"] = [layer_config(inner) for inner in layer.layers]
    if not layer.is_own_code:
        _check_rebuilt(layer, config)
    return config


def layer_from_config(config: dict[str, Any], custom: Custom) -> Layer:
    """Rebuild a layer with new parameters."""
    arguments = dict(config)
    kind = find(arguments.pop("type"), Layer, custom)
    if issubclass(kind, Stack) and is_variadic(kind):
        layers = arguments.pop("layers")
        return kind(*(layer_from_config(inner, custom) for inner in layers), **arguments)
    return kind(**arguments)


def _check_rebuilt(layer: Layer, config: dict[str, Any]) -> None:
    """Refuse a user's layer that cannot be rebuilt from its configuration; called before a file is written."""
    wrong = f"{layer!r} cannot be saved: its config() must return the arguments that rebuild it"
    try:
        check_complete(layer, config)
        with initialized_with_zeros():
            rebuilt = layer_from_config(config, {type(layer).__name__: type(layer)})
    except Exception as error:  # a user's constructor may raise anything
        raise ArgumentError(f"{wrong}, but {layer.config()} does not: {error}") from error
    if _shapes(rebuilt) != _shapes(layer):
        raise ArgumentError(
            f"{wrong}, but {layer.config()} rebuilds a layer with {_shapes(rebuilt)}, not {_shapes(layer)}."
        )


def _shapes(layer: Layer) -> dict[str, tuple[int, ...]]:
    """Return the shapes of a layer's parameters and buffers."""
    return {
        f"{path}.{name}": a.shape
        for path, leaf in layer.leaves().items()
        for views in (leaf.params, leaf.buffers)
        for name, a in views.items()
    }
