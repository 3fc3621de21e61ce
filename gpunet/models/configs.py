"""Layers as JSON, from which a model's file rebuilds them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from gpunet import layers as all_layers
from gpunet.errors import ArgumentError
from gpunet.layers import Layer
from gpunet.layers.stack import Stack

LAYERS: dict[str, Callable[..., Layer]] = {
    name: getattr(all_layers, name) for name in all_layers.__all__ if name != "Layer"
}
"""What a file may hold, by its name there; `gpunet.models.sequential` adds its own."""

NAMES = {cls: name for name, cls in LAYERS.items()}

STACKS = ("Residual", "Sequential")
"""Of these, the ones that are made of the layers that they are given and of nothing else."""


def layer_config(layer: Layer) -> dict[str, Any]:
    """Return what `layer_from_config` rebuilds a layer from, as JSON.

    Raises:
        ArgumentError: a layer or a function of your own.
    """
    name = NAMES.get(type(layer))
    if name is None:
        raise ArgumentError(f"{layer!r} cannot be saved: only gpunet's own layers can be rebuilt from a file.")
    if name in STACKS and isinstance(layer, Stack):
        return {"type": name, "layers": [layer_config(inner) for inner in layer.layers]}
    return {"type": name, **layer.config()}


def layer_from_config(config: dict[str, Any]) -> Layer:
    """Rebuild a layer, with new parameters."""
    arguments = dict(config)
    name = arguments.pop("type")
    if name in STACKS:
        return LAYERS[name](*map(layer_from_config, arguments["layers"]))
    return LAYERS[name](**arguments)
