"""The base class of the layers: named parameters, a forward and a backward pass."""

from __future__ import annotations

import copy
import functools
import inspect
from collections.abc import Iterable, Mapping
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import DTypeLike

from gpunet.arguments import shown
from gpunet.default_device import current_device
from gpunet.device import CPU, Array, Device, get_device, on_device, to_host
from gpunet.errors import ArgumentError, DTypeError, StateError
from gpunet.layers.store import FlatStore
from gpunet.layers.views import Views
from gpunet.registry import arguments_of
from gpunet.tape import Tape
from gpunet.versions import Versioned

TRANSIENT = ("grads", "_own", "_home", "_fused", "_inference")
"""Attributes that are rebuilt when a layer is unpickled."""


class Layer(Versioned):
    """A function with parameters and a hand-written backward pass.

    To write a layer, pass the initial parameters to `super().__init__`, define `forward` and `backward`, and check them
    with `gn.check_gradients`. On a GPU a step can be recorded only if it allocates all its arrays with `tape.empty`.

    Args:
        params: the initial parameters by name, as host arrays.
        buffers: other arrays of the layer's state by name, such as running statistics.

    Attributes:
        params: the parameters by name; assigning to a name copies the values.
        grads: the gradients by the same names; `backward` fills them.
        buffers: arrays that a training step may change in place. They are saved, moved and copied like the parameters.

    Example:
        >>> class Double(gn.Layer):
        ...     def forward(self, x, tape=None):
        ...         return 2 * x
        ...     def backward(self, dy, tape):
        ...         return 2 * dy
        >>> gn.check_gradients(Double(), x=(4, 3))
        Double(): correct on cpu: the input
    """

    recordable: ClassVar[bool] = True
    """Whether a training step may be recorded. Set it to False in a layer that branches on array values, or that has
    state outside `buffers`."""

    _set_by_init = frozenset(("params", "grads", "buffers", "_own"))

    params: Views
    grads: Views
    buffers: Views
    _own: FlatStore
    _home: FlatStore | None = None
    _frozen: bool = False

    def __init__(self, params: Mapping[str, np.ndarray] | None = None, buffers: Mapping[str, np.ndarray] | None = None):
        self._place(_float32(params), _float32(buffers), current_device())

    def __init_subclass__(cls) -> None:
        """Check the signatures of a user's methods; allow `backward` without the parameter `input_gradient`."""
        super().__init_subclass__()
        cls._check_method("forward", "(self, x, tape=None)", None, None, None)
        cls._check_method("backward", "(self, dy, tape)", None, None, None)
        backward = vars(cls).get("backward")
        if backward is not None and "input_gradient" not in inspect.signature(backward).parameters:

            @functools.wraps(backward)
            def wrapper(self: Layer, dy: Array, tape: Tape, *, input_gradient: bool = True) -> Any:
                return backward(self, dy, tape)

            cls.backward = wrapper  # type: ignore[method-assign]

    def forward(self, x: Array, tape: Tape | None = None) -> Array:
        """Return the output for the batch `x`.

        In training (with a tape) the layer saves the arrays for `backward` on the tape, and the output is a buffer of
        the tape. In inference the output is a new array, or `x` itself if the layer changes nothing.
        """
        raise self._not_implemented("forward")

    def __call__(self, x: Array) -> Array:
        """Return the output in inference for an array with the layer's device and dtype, or of indices."""
        if not isinstance(x, np.ndarray) and not on_device(x):
            raise DTypeError(
                f"{type(self).__name__} takes an array on its device, got a {type(x).__name__}: convert it with "
                "model.device.asarray(x, model.dtype), or call model.outputs(X) or model.predict(X) with raw data."
            )
        return self.forward(x)

    def backward(self, dy: Array, tape: Tape, *, input_gradient: bool = True) -> Array | None:
        """Fill `grads` from the gradient of the output and return the gradient of the input.

        Args:
            dy: the gradient of the output of the last `forward` with this tape.
            input_gradient: False if the input's gradient is not needed, as in a first layer; the result may then be
                None. Your own `backward` may omit this parameter.

        Raises:
            StateError: there was no `forward` with this tape.
        """
        raise self._not_implemented("backward")

    def output_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Return the output shape of one row for an input row of the given shape; the same by default."""
        return shape

    def least_rows(self, shape: tuple[int, ...]) -> int:
        """Return the minimum rows of a training batch, for rows of the given shape."""
        return 1

    @property
    def index_range(self) -> int | None:
        """n if the input holds indices from 0 to n - 1; None if it holds floats."""
        return None

    @property
    def category_columns(self) -> int:
        """The number of columns with category indices: the input's last columns, which must not be standardised."""
        return 0

    def config(self) -> dict[str, Any]:
        """Return the constructor's arguments as JSON values; by default the attributes of the same names."""
        return arguments_of(self)

    def leaves(self, path: str = "") -> dict[str, Layer]:
        """Return the innermost layers, which hold parameters and buffers, by path."""
        return {path: self}

    @property
    def store(self) -> FlatStore:
        """The flat arrays of this layer's parameters; raises `StateError` in a layer that is part of another model."""
        if self._own.adopted:
            raise StateError(f"{self!r} is part of another model, which holds its parameters; call that model instead.")
        return self._own

    @property
    def trainable(self) -> bool:
        """Whether training changes this layer or one inside it; setting it freezes or unfreezes all of them.

        A frozen layer keeps its parameters bit for bit, and its `grads` are zero. A frozen `BatchNorm` keeps its
        running statistics and normalises by them, as in Keras. A frozen `Dropout` still zeroes elements. Your own
        `backward` still runs; what it writes to `grads` is ignored.
        """
        return not all(leaf._frozen for leaf in self.leaves().values())

    @trainable.setter
    def trainable(self, trainable: bool) -> None:
        if not isinstance(trainable, bool | np.bool_):
            raise ArgumentError(f"trainable must be True or False, got {shown(trainable)}.")
        self._freeze(self.leaves().values(), not trainable)

    def _freeze(self, leaves: Iterable[Layer], frozen: bool) -> None:
        """Freeze or unfreeze some of the innermost layers."""
        for leaf in leaves:
            leaf._frozen = frozen
        self._live_store.mark_frozen()

    @property
    def has_gradients(self) -> bool:
        """Whether this layer or one inside it has parameters that are not frozen."""
        return any(leaf.params and not leaf._frozen for leaf in self.leaves().values())

    def _gradient(self, name: str) -> Array | None:
        """Return the array for a parameter's gradient; None if there is no such parameter or the layer is frozen."""
        return None if self._frozen else self.grads.get(name)

    @property
    def device(self) -> Device:
        """The device of the parameters."""
        return self._live_store.device

    @property
    def dtype(self) -> np.dtype[Any]:
        """The dtype of the parameters: float32, or float64 after `to(dtype="float64")`."""
        dtype: np.dtype[Any] = self._live_store.params.dtype
        return dtype

    @property
    def _live_store(self) -> FlatStore:
        """The store that holds the parameters now: the layer's own or that of the model that contains it."""
        if not self._own.adopted:
            return self._own
        return next(leaf._home for leaf in self.leaves().values() if leaf._home is not None)

    def to(self, device: str | Device | None = None, *, dtype: DTypeLike | None = None) -> Self:
        """Move parameters, gradients, buffers and the optimizer's state; return the layer itself.

        Args:
            device: as for `use_device`; None keeps the device.
            dtype: float32 or float64; None keeps the dtype.

        Raises:
            StateError: the layer is part of another model; move that model.
        """
        new = np.dtype(self.dtype if dtype is None else dtype)
        if new not in (np.float32, np.float64):
            raise DTypeError(f"a model's dtype must be float32 or float64, got {new}.")
        self.store.to(self.device if device is None else get_device(device), new)
        return self

    def move_into(self, store: FlatStore) -> None:
        """Register `store` as the one that holds the parameters; release the previous one."""
        if self._home is not None:
            self._home.release()
        self._home = store

    def __setattr__(self, name: str, value: Any) -> None:
        if name in vars(self).get("params", ()):
            raise AttributeError(f"{name!r} is a parameter of {self!r}: write layer.params[{name!r}] = value.")
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
        return copy.deepcopy(self)  # a parameter belongs to one store

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        twin = type(self).__new__(type(self))
        memo[id(self)] = twin
        twin.__setstate__(copy.deepcopy(self.__getstate__(), memo))
        return twin.to(self.device)

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"


def _float32(arrays: Mapping[str, np.ndarray] | None) -> dict[str, np.ndarray]:
    return {name: np.asarray(a, np.float32) for name, a in (arrays or {}).items()}
