"""What every layer is: named parameters, a forward and a backward pass."""

from __future__ import annotations

import copy
import functools
import inspect
from collections.abc import Iterable, Mapping
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import DTypeLike

from gpunet.arguments import shown
from gpunet.device import CPU, Array, Device, current_device, get_device, on_device, to_host
from gpunet.errors import ArgumentError, DTypeError, StateError
from gpunet.layers.store import FlatStore, Views
from gpunet.registry import arguments_of
from gpunet.tape import Tape
from gpunet.versions import Versioned

TRANSIENT = ("grads", "_own", "_home", "_fused", "_inference")
"""Attributes that are rebuilt when a layer is unpickled."""


class Layer(Versioned):
    """A function with parameters, differentiable by hand.

    Write your own by subclassing: pass the initial parameters to `super().__init__`, write `forward` and `backward`,
    check them with `gn.check_gradients`. On a GPU a step is recorded where all its memory comes from `tape.empty`.

    Args:
        params: the initial parameters by name, as host arrays; they go to the current device.
        buffers: what else belongs to the layer's state, likewise, such as running statistics.

    Attributes:
        params: the parameters by name; assigning to a name copies in.
        grads: their gradients, which `backward` fills, by the same names.
        buffers: arrays that a training step may change in place, by name. They are saved, moved and copied with the
            parameters, in their dtype; the optimizer leaves them alone.
    """

    recordable: ClassVar[bool] = True
    """Whether a training step with it may be recorded; False for one that decides by numbers, or keeps state
    elsewhere than in `buffers`."""

    params: Views
    grads: Views
    buffers: Views
    _own: FlatStore
    _home: FlatStore | None = None
    _frozen: bool = False

    def __init__(self, params: Mapping[str, np.ndarray] | None = None, buffers: Mapping[str, np.ndarray] | None = None):
        self._place(_float32(params), _float32(buffers), current_device())

    def __init_subclass__(cls) -> None:
        """Let a `backward` of a user's own do without the parameter `input_gradient`."""
        backward = vars(cls).get("backward")
        if backward is not None and "input_gradient" not in inspect.signature(backward).parameters:

            @functools.wraps(backward)
            def whole(self: Layer, dy: Array, tape: Tape, *, input_gradient: bool = True) -> Any:
                return backward(self, dy, tape)

            cls.backward = whole  # type: ignore[method-assign]

    def forward(self, x: Array, tape: Tape | None = None) -> Array:
        """Return the output for the batch `x`, whose axis 0 is the row.

        With a tape (training) what backward needs is left on it, and the output is the tape's. Without one (inference)
        nothing is kept, and the output is a fresh array, or `x` itself where the layer does not change it.
        """
        raise self._lacks("forward")

    def __call__(self, x: Array) -> Array:
        """Return `forward(x)`, the output in inference; `x` is on the layer's device and in its dtype, or indices.

        Raises:
            DTypeError: no array.
        """
        if not isinstance(x, np.ndarray) and not on_device(x):
            raise DTypeError(
                f"{type(self).__name__} takes an array of its device, got a {type(x).__name__}: make one by "
                "model.device.asarray(x, model.dtype); model.outputs(X) and model.predict(X) take raw data."
            )
        return self.forward(x)

    def backward(self, dy: Array, tape: Tape, *, input_gradient: bool = True) -> Array | None:
        """Fill `grads` from the output's gradient and return the input's.

        Args:
            dy: the gradient of the output of the last `forward` with this tape, in its shape.
            tape: the tape given to `forward`.
            input_gradient: False if nobody needs the input's gradient (a first layer's); the result may be None then.
                A `backward` of your own may leave out this parameter.

        Raises:
            StateError: there was no such `forward`.
        """
        raise self._lacks("backward")

    def output_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Return the shape of a row's output for a row of the given shape; by default the same.

        Raises:
            ShapeError: the layer does not take such rows.
        """
        return shape

    def least_rows(self, shape: tuple[int, ...]) -> int:
        """Return the fewest rows that a training batch may have, for rows of the given shape; by default 1."""
        return 1

    @property
    def index_range(self) -> int | None:
        """n where the layer's input is indices, integers from 0 to n - 1; None where it is numbers."""
        return None

    @property
    def category_columns(self) -> int:
        """How many of a row's last columns are indices of categories, which no standardisation may change."""
        return 0

    def config(self) -> dict[str, Any]:
        """Return the constructor's arguments, as JSON, from which a saved layer is rebuilt.

        By default the attributes of the same names.
        """
        return arguments_of(self)

    def leaves(self, path: str = "") -> dict[str, Layer]:
        """Return the layers inside that hold parameters or buffers themselves, by path; by default this one alone."""
        return {path: self}

    @property
    def store(self) -> FlatStore:
        """The flat buffers of this layer's parameters.

        Raises:
            StateError: the layer was built into another model, which has them now.
        """
        if self._own.adopted:
            raise StateError(f"{self!r} is part of another model, which holds its parameters; call that model instead.")
        return self._own

    @property
    def trainable(self) -> bool:
        """Whether training changes the layer, or one inside it; setting it freezes or unfreezes all of them.

        A frozen layer keeps its parameters, bit for bit, and has no gradients: `grads` are zero. A frozen `BatchNorm`
        keeps its running statistics and normalises by them in training, too, as in Keras. A frozen `Dropout` still
        draws. A backward pass of your own runs as always; what it writes to the `grads` of a frozen layer is not used.
        """
        return not all(leaf._frozen for leaf in self.leaves().values())

    @trainable.setter
    def trainable(self, trainable: bool) -> None:
        if not isinstance(trainable, bool | np.bool_):
            raise ArgumentError(f"trainable is True or False, got {shown(trainable)}.")
        self._freeze(self.leaves().values(), not trainable)

    def _freeze(self, leaves: Iterable[Layer], frozen: bool) -> None:
        """Freeze or unfreeze some of the layers inside."""
        for leaf in leaves:
            leaf._frozen = frozen
        self._live_store.mark_frozen()

    @property
    def has_gradients(self) -> bool:
        """Whether there are parameters, here or inside, that are not frozen: else backward passes may end above."""
        return any(leaf.params and not leaf._frozen for leaf in self.leaves().values())

    def _gradient(self, name: str) -> Array | None:
        """Return where `backward` writes a parameter's gradient; None where none is wanted.

        That is where the layer has no such parameter, or is frozen.
        """
        return None if self._frozen else self.grads.get(name)

    @property
    def device(self) -> Device:
        """Where the parameters live."""
        return self._live_store.device

    @property
    def dtype(self) -> np.dtype[Any]:
        """The parameters' type: float32, or float64 after `to(dtype="float64")`."""
        dtype: np.dtype[Any] = self._live_store.params.dtype
        return dtype

    @property
    def _live_store(self) -> FlatStore:
        """The store that holds the parameters now: this layer's own or that of the model it was built into."""
        if not self._own.adopted:
            return self._own
        return next(leaf._home for leaf in self.leaves().values() if leaf._home is not None)

    def to(self, device: str | Device | None = None, *, dtype: DTypeLike | None = None) -> Self:
        """Move parameters, gradients, buffers and the optimizer's state; return the layer itself.

        Args:
            device: as for `use_device`; None stays.
            dtype: float32 or float64; None stays.

        Raises:
            DeviceError: no such device.
            DTypeError: another dtype.
            StateError: the layer is part of another model; move that.
        """
        new = np.dtype(self.dtype if dtype is None else dtype)
        if new not in (np.float32, np.float64):
            raise DTypeError(f"a model's dtype is float32 or float64, got {new}.")
        self.store.to(self.device if device is None else get_device(device), new)
        return self

    def move_into(self, store: FlatStore) -> None:
        """Take note that `store` holds the parameters from here on."""
        if self._home is not None:
            self._home.release()
        self._home = store

    def __setattr__(self, name: str, value: Any) -> None:
        if name in vars(self).get("params", ()):
            raise AttributeError(f"{self!r} has {name!r} among its params: write layer.params[{name!r}] = value.")
        super().__setattr__(name, value)

    def _place(self, params: Mapping[str, np.ndarray], buffers: Mapping[str, np.ndarray], device: Device) -> None:
        self.params = Views({name: device.asarray(a) for name, a in params.items()})
        self.buffers = Views({name: device.asarray(a) for name, a in buffers.items()})
        self.grads = Views({})
        self._own = FlatStore(self.leaves(), device)

    def __getstate__(self) -> dict[str, Any]:
        state = {key: value for key, value in vars(self).items() if key not in TRANSIENT}
        for which in ("params", "buffers"):
            state[which] = {name: to_host(a).copy() for name, a in state[which].items()}
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._place(state["params"], state["buffers"], CPU)

    def __copy__(self) -> Self:
        return copy.deepcopy(self)  # a parameter has its place in one store

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        twin = type(self).__new__(type(self))
        memo[id(self)] = twin
        twin.__setstate__(copy.deepcopy(self.__getstate__(), memo))
        return twin.to(self.device)

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"


def _float32(arrays: Mapping[str, np.ndarray] | None) -> dict[str, np.ndarray]:
    return {name: np.asarray(a, np.float32) for name, a in (arrays or {}).items()}
