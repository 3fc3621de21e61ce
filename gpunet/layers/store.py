"""The flat store: all parameters of a model in one array, all gradients in another, and the same for other state.

One call updates all parameters, all-reduces all gradients or saves everything. Layers hold views into the arrays.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Literal, NamedTuple, Protocol

import numpy as np

from gpunet.device import Array, Device, device_of, to_host
from gpunet.errors import ArgumentError
from gpunet.initializers import values_will_be_read
from gpunet.layers.views import Views
from gpunet.memory import aligned
from gpunet.recording import RecordedArray, rebinding
from gpunet.versions import Versioned

ALIGNMENT = 64
"""Elements: a segment starts at a multiple of 256 bytes in float32, so that vector loads are aligned."""


class Holder(Protocol):
    """The part of a layer's interface that a store uses."""

    params: Views
    grads: Views
    buffers: Views
    _frozen: bool

    @property
    def is_own_code(self) -> bool: ...

    def move_into(self, store: FlatStore) -> None: ...


class Segment(NamedTuple):
    """The position of a parameter or buffer in its flat array."""

    layer: Holder
    name: str
    start: int
    shape: tuple[int, ...]

    def view(self, flat: Array) -> Array:
        """Return a view of this segment of a flat array, in its shape."""
        return flat[self.start : self.start + math.prod(self.shape)].reshape(self.shape)

    @property
    def stop(self) -> int:
        """The start of the next segment."""
        return self.start + -(-math.prod(self.shape) // ALIGNMENT) * ALIGNMENT


class FlatStore(Versioned):
    """The parameters, gradients, buffers and optimizer state of layers, in flat arrays.

    The constructor moves the layers' parameters into the new store and marks their previous stores as `adopted`. A
    layer with parameters or buffers may not appear twice.

    Args:
        layers: the layers by path.
        device: the device, if no layer has parameters or buffers.

    Attributes:
        params: the parameters, (size,).
        grads: the gradients, (size,); zero in the gaps between segments and in frozen layers.
        slots: the optimizer's arrays (size,) by name.
        average: the moving average of the parameters, (size,), NaN before the first step; None if it is off.
        decay: decay of the moving average, or None.
        buffers: the layers' buffers, in one array.
        optimizer: the optimizer that owns the slots.
        segments: the position of each parameter, by "layer.parameter".
        adopted: whether another model's store holds the parameters.
    """

    def __init__(self, layers: Mapping[str, Holder], device: Device):
        self.slots: dict[str, Array] = {}
        self.average: Array | None = None
        self.decay: float | None = None
        self.optimizer: object = None
        self.adopted = False
        places: dict[Holder, str] = {}
        for path, layer in layers.items():
            if layer in places and (layer.params or layer.buffers):
                raise ArgumentError(
                    f"{layer!r} appears twice, at {places[layer]} and {path}: its gradient would be that of only one "
                    "place. Make a separate layer for each."
                )
            places[layer] = path
        first = next((a for layer in places for kept in (layer.params, layer.buffers) for a in kept.values()), None)
        self.device = device if first is None else device_of(first)
        dtype = np.dtype(np.float32) if first is None else first.dtype
        self.segments, params = _flat(layers, "params", dtype)
        self._buffer_segments, buffers = _flat(layers, "buffers", dtype)
        self.params, self.buffers = self.device.asarray(params), self.device.asarray(buffers)
        self.grads = self.device.asarray(aligned(params.shape, dtype, np, zero=True))
        for layer in places:
            layer.move_into(self)
        self.mark_frozen()

    def release(self) -> None:
        """Free the memory; the parameters have moved to another model's store."""
        self.adopted = True
        self.params = self.grads = self.buffers = self.params[:0].copy()
        self.slots = {}
        self.average = self.decay = None
        self.optimizer = None

    @property
    def state(self) -> list[Array]:
        """The flat arrays that training changes, except the gradients."""
        return [self.params, self.buffers, *self.slots.values(), *([] if self.average is None else [self.average])]

    def keep_average(self, decay: float | None) -> None:
        """Turn the moving average of the parameters on, or off with None; an existing one continues with the new decay.

        After each applied step average += (1 - decay) * (params - average), as in
        `torch.optim.swa_utils.get_ema_multi_avg_fn`; it starts with the parameters after the first.
        """
        if decay is None:
            self.average = None
        elif self.average is None:
            with self.device.activate():
                self.average = aligned(self.params.shape, self.params.dtype, self.device.xp, zero=True)
                for average in self.views(self.average).values():
                    average.fill(math.nan)
        self.decay = decay

    @contextmanager
    def averaged(self) -> Iterator[None]:
        """Replace the parameters by their moving average inside the block, if it is on and has started."""
        if self.decay is None:
            yield
            return
        xp, params = self.device.xp, self.params
        with self.device.activate():
            kept = params.copy()
            params[...] = xp.where(xp.isnan(self.average), params, self.average)
        try:
            yield
        finally:
            self.device.assign(params, kept)

    def views(self, flat: Array) -> dict[str, Array]:
        """Return views of a flat array in the shapes of the parameters, by "layer.parameter"."""
        return {key: segment.view(flat) for key, segment in self.segments.items()}

    def to(self, device: Device, dtype: np.dtype[Any]) -> None:
        """Move all arrays to `device` and `dtype`."""
        if (device, dtype) == (self.device, self.params.dtype):
            return
        self.device = device
        self.params, self.grads, self.buffers = (
            _moved(a, device, dtype) for a in (self.params, self.grads, self.buffers)
        )
        self.slots = {name: _moved(slot, device, dtype) for name, slot in self.slots.items()}
        if self.average is not None:
            self.average = _moved(self.average, device, dtype)
        self.mark_frozen()

    def mark_frozen(self) -> None:
        """Update which layers are frozen: zero their gradients, and let later ones go to memory that nobody reads."""
        frozen = [segment for segment in self.segments.values() if segment.layer._frozen]
        with self.device.activate():
            for segment in frozen:
                segment.view(self.grads).fill(0)
            size = max((segment.stop - segment.start for segment in frozen), default=0)
            self._unread = aligned(size, self.grads.dtype, self.device.xp, zero=True)
        self._bind()

    @contextmanager
    def recorded(self) -> Iterator[None]:
        """Replace the layers' arrays by `RecordedArray`s inside the block; CPU only."""
        with rebinding():
            self._bind(RecordedArray.of)
            try:
                yield
            finally:
                self._bind()

    def _bind(self, wrap: Callable[[Array], Array] = lambda a: a) -> None:
        """Set the views of every layer to its segments."""
        segments_of = {"params": self.segments, "grads": self.segments, "buffers": self._buffer_segments}
        for which, segments in segments_of.items():
            flat = getattr(self, which)
            of_layer: dict[Holder, dict[str, Array]] = {}
            for segment in segments.values():
                if which == "grads" and segment.layer._frozen:
                    view = segment._replace(start=0).view(self._unread)
                else:
                    view = segment.view(flat)
                of_layer.setdefault(segment.layer, {})[segment.name] = wrap(view)
            for layer, arrays in of_layer.items():
                getattr(layer, which).rebind(arrays)


def _moved(a: Array, device: Device, dtype: np.dtype[Any]) -> Array:
    """Return a flat array on the device in the dtype; the same array if it already is."""
    moved = device.asarray(a, dtype)
    if moved is a or device.xp is not np:
        return moved
    flat = aligned(moved.shape, dtype, np)
    flat[...] = moved
    return flat


def _flat(
    layers: Mapping[str, Holder], which: Literal["params", "buffers"], dtype: np.dtype[Any]
) -> tuple[dict[str, Segment], np.ndarray]:
    """Copy the layers' arrays into one flat host array; return their positions by "layer.name", and the array."""
    segments: dict[str, Segment] = {}
    size = 0
    for path, layer in layers.items():
        for name, a in getattr(layer, which).items():
            key = f"{path}.{name}" if path else name
            segments[key] = Segment(layer, name, size, a.shape)
            size = segments[key].stop
    flat = aligned(size, dtype, np, zero=True)
    replaced = values_will_be_read()  # a user's layer gets its values anyway: its constructor may read them
    for segment in segments.values():
        if not (replaced and segment.layer.is_own_code):
            segment.view(flat)[...] = to_host(getattr(segment.layer, which)[segment.name])
    return segments, flat
