"""The flat store: all parameters of a model in one buffer, their gradients in another, optimizer state in more.

One optimizer call updates everything, one reduction joins the gradients of several machines, one write saves all.
Layers hold views into it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from gpunet.device import Array, Device, device_of, to_host
from gpunet.errors import ArgumentError, ShapeError
from gpunet.recording import RecordedArray

if TYPE_CHECKING:
    from gpunet.layers.base import Layer

ALIGNMENT = 64
"""Elements: a segment begins at a multiple of 256 bytes in float32, so that a kernel's vector loads are aligned."""


class Views(Mapping[str, Array]):
    """A layer's parameters or gradients by name, as views into a flat store; assigning to a name copies in."""

    def __init__(self, arrays: Mapping[str, Array]):
        self._arrays = dict(arrays)

    def __getitem__(self, name: str) -> Array:
        return self._arrays[name]

    def __setitem__(self, name: str, value: Any) -> None:
        view = self[name]
        if np.shape(value) != view.shape:
            raise ShapeError(f"{name}: cannot assign shape {np.shape(value)} to a parameter of shape {view.shape}.")
        device_of(view).assign(view, value)

    def __iter__(self) -> Iterator[str]:
        return iter(self._arrays)

    def __len__(self) -> int:
        return len(self._arrays)

    def __repr__(self) -> str:
        return repr(self._arrays)

    def rebind(self, arrays: Mapping[str, Array]) -> None:
        """Look at other memory from here on; only the flat store calls this."""
        self._arrays = dict(arrays)


class Segment(NamedTuple):
    """Where a parameter lies in the flat buffers."""

    layer: Layer
    name: str
    start: int
    shape: tuple[int, ...]

    def view(self, flat: Array) -> Array:
        """Return the segment of a flat buffer in the parameter's shape."""
        return flat[self.start : self.start + math.prod(self.shape)].reshape(self.shape)


class FlatStore:
    """The parameters, gradients and optimizer state of some layers, in flat buffers.

    Building one moves the layers' parameters into it; the stores that held them before are `adopted` then.

    Args:
        layers: the layers by path.
        device: where the empty buffers of layers without parameters live; others stay where their parameters are.

    Raises:
        ArgumentError: a layer with parameters stands in two places.

    Attributes:
        device: where the buffers live.
        params: the parameters, (size,), on one device.
        grads: the gradients, likewise; zero in the gaps between segments.
        slots: the optimizer's buffers by name, likewise.
        optimizer: the optimizer that was attached last, whose slots these are.
        segments: where each parameter lies, by "layer.parameter".
        adopted: whether the parameters have moved on into another model's store.
    """

    def __init__(self, layers: Mapping[str, Layer], device: Device):
        self.slots: dict[str, Array] = {}
        self.segments: dict[str, Segment] = {}
        self.optimizer: object = None
        self.adopted = False
        places: dict[Layer, str] = {}
        size = 0
        for path, layer in layers.items():
            if layer.params and layer in places:
                raise ArgumentError(
                    f"{layer!r} stands in two places, {places[layer]} and {path}: its gradient would be that of one of "
                    "them alone. Make a layer for each place."
                )
            places[layer] = path
            for name, a in layer.params.items():
                self.segments[f"{path}.{name}" if path else name] = Segment(layer, name, size, a.shape)
                size += -(-a.size // ALIGNMENT) * ALIGNMENT
        arrays = [segment.layer.params[segment.name] for segment in self.segments.values()]
        self.device = device_of(arrays[0]) if arrays else device
        flat = np.zeros(size, arrays[0].dtype if arrays else np.float32)
        for segment, a in zip(self.segments.values(), arrays, strict=True):
            segment.view(flat)[...] = to_host(a)
        self.params = self.device.asarray(flat)
        self.grads = self.device.asarray(np.zeros_like(flat))
        for layer in places:
            layer.move_into(self)
        self._bind()

    def release(self) -> None:
        """Let go of the memory, as the parameters have moved on into another model's store."""
        self.adopted = True
        self.params = self.grads = self.params[:0].copy()
        self.slots = {}
        self.optimizer = None

    def views(self, flat: Array) -> dict[str, Array]:
        """Return the segments of a flat buffer in the shapes of the parameters, by "layer.parameter"."""
        return {key: segment.view(flat) for key, segment in self.segments.items()}

    def to(self, device: Device, dtype: np.dtype[Any]) -> None:
        """Move all buffers to `device` and `dtype`."""
        self.device = device
        self.params, self.grads = device.asarray(self.params, dtype), device.asarray(self.grads, dtype)
        self.slots = {name: device.asarray(slot, dtype) for name, slot in self.slots.items()}
        self._bind()

    @contextmanager
    def recorded(self) -> Iterator[None]:
        """Let the layers see their parameters and gradients, on the CPU, as arrays that record."""
        self._bind(RecordedArray.of)
        try:
            yield
        finally:
            self._bind()

    def _bind(self, wrap: Callable[[Array], Array] = lambda a: a) -> None:
        """Let every layer look at its segments."""
        of_layer: dict[Layer, dict[str, Segment]] = {}
        for segment in self.segments.values():
            of_layer.setdefault(segment.layer, {})[segment.name] = segment
        for layer, segments in of_layer.items():
            layer.params.rebind({name: wrap(segment.view(self.params)) for name, segment in segments.items()})
            layer.grads.rebind({name: wrap(segment.view(self.grads)) for name, segment in segments.items()})
