"""Arrays in the memory of the simulated GPU, with the API of `cupy.ndarray`.

NumPy computes on the same bytes. As in CuPy, NumPy operands and implicit conversions to NumPy arrays raise `TypeError`.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import DTypeLike

from gpunet.simulator.signatures import with_signature
from gpunet.simulator.storage import Storage
from gpunet.simulator.stream import counters, get_current_stream, refuse_capture, synchronize

Function: TypeAlias = Callable[..., Any]

FUNCTIONS: dict[str, Function] = {}
"""The functions of the module by name (see functions.py). NumPy's functions of the same name dispatch to them."""

_CUBLAS = {np.matmul, np.dot, np.tensordot, np.inner, np.vdot}
_SIZED_BY_VALUES = {np.nonzero, np.flatnonzero, np.unique}  # the host needs the result's size


def delegate(name: str, parameters: str, function: Function | None = None) -> Function:
    """Wrap a function, by default NumPy's `name`, for device arrays; see `with_signature` for the parameters."""
    return with_signature(name, parameters, partial(compute, function or getattr(np, name)))


def compute(function: Function, *args: Any, out: ndarray | None = None, **options: Any) -> Any:
    """Run a NumPy function on device arrays as one launch, which writes to `out` or to new memory."""
    if function in _CUBLAS and get_current_stream().is_capturing():
        raise NotImplementedError("calling cuBLAS API during stream capture is currently unsupported")
    if function in _SIZED_BY_VALUES:
        synchronize()
    host = map(_operand if isinstance(function, np.ufunc) else unwrap, args)
    run = partial(function, *host, **{name: unwrap(value) for name, value in options.items()})
    arrays = [a for a in args if isinstance(a, ndarray)]
    if out is None:
        with np.errstate(all="ignore"):
            return wrap(run(), arrays)
    if not isinstance(out, ndarray):
        raise TypeError(f"out: Unsupported type {type(out)}")
    out._write(partial(run, out=out._host), arrays)
    return out


def unwrap(value: Any) -> Any:
    """Return a device array, or a list or tuple of them, as NumPy arrays; reject NumPy arrays; return others as is."""
    if isinstance(value, ndarray):
        return value._host
    if isinstance(value, np.ndarray):
        raise TypeError(f"Unsupported type {type(value)}")
    return type(value)(map(unwrap, value)) if type(value) in (list, tuple) else value


def _operand(value: Any) -> Any:
    if isinstance(value, list | tuple):
        raise TypeError(f"Unsupported type {type(value)}")
    return unwrap(value)


def wrap(result: Any, parents: Iterable[ndarray]) -> Any:
    """Return a NumPy result as device arrays: a view where it is one of a parent, else a copy in new memory."""
    if isinstance(result, tuple | list):
        return type(result)(wrap(part, parents) for part in result)
    if not isinstance(result, np.ndarray | np.generic | bool):
        return result
    if isinstance(result, np.ndarray):
        for parent in parents:
            if result.base is parent._memory.buffer:
                return parent._view(result)
    fresh = _fresh(np.asarray(result))
    counters.launches += 1
    return fresh


def upload(host: np.ndarray) -> ndarray:
    """Copy a NumPy array to the device."""
    refuse_capture()
    counters.uploads += 1
    return _fresh(host)


def _fresh(host: np.ndarray) -> ndarray:
    array = ndarray(host.shape, host.dtype.newbyteorder("="), order="F" if host.flags.fnc else "C")
    array._host[...] = host
    array._mark()
    return array


class ndarray(Storage, np.lib.mixins.NDArrayOperatorsMixin):
    """An array in the memory of the simulated GPU.

    Args:
        dtype: a numeric type or bool.
        memptr: the first element; by default new, uninitialized memory.
        strides: in bytes; by default contiguous.
        order: "C" or "F".

    Attributes:
        base: the array that this is a view of, or None.
    """

    T = property(lambda self: self.transpose(), doc="A view with the axes reversed.")

    def __reduce__(self) -> tuple[Any, ...]:
        return upload, (self.get(),)

    # NumPy's dispatch protocols

    def __array__(self, dtype: Any = None, copy: Any = None) -> np.ndarray:
        raise TypeError(
            "Implicit conversion to a NumPy array is not allowed. Please use `.get()` to construct a NumPy array "
            "explicitly."
        )

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **options: Any) -> Any:
        function = FUNCTIONS.get(ufunc.__name__)
        if function is None or method != "__call__":
            return NotImplemented
        (out,) = options.pop("out", (None,))
        return function(*inputs, out=out, **options)

    def __array_function__(
        self, function: Function, types: Iterable[type], args: tuple[Any, ...], options: dict[str, Any]
    ) -> Any:
        ours = FUNCTIONS.get(function.__name__)
        if ours is None or any(t is not ndarray for t in types):
            return NotImplemented
        return ours(*args, **options)

    # Elements

    def __len__(self) -> int:
        return len(self._host)

    def __iter__(self) -> Iterator[ndarray]:
        return (self[i] for i in range(len(self)))

    def __getitem__(self, key: Any) -> ndarray:
        key = self._key(key)
        if any(isinstance(part, np.ndarray) and part.dtype == bool for part in key):
            synchronize()  # for the size of the result
        element: ndarray = wrap(self._host[key], [self])
        return element

    def __setitem__(self, key: Any, value: Any) -> None:
        key = self._key(key)
        sources = [value] if isinstance(value, ndarray) else []
        self._write(partial(operator.setitem, self._host, key, _operand(value)), sources, key)

    def _key(self, key: Any) -> tuple[Any, ...]:
        """Return the index for NumPy. As in CuPy, index arrays wrap around, and `x[0]` of a vector is a view."""
        parts = list(key) if isinstance(key, tuple) else [key]
        axis: int | None = 0
        for i, part in enumerate(parts):
            index = upload(np.asarray(part)) if isinstance(part, list | np.ndarray) else part
            parts[i] = unwrap(index)
            if part is Ellipsis or axis is None or (isinstance(index, ndarray) and index.dtype == bool):
                axis = None
            elif part is not None:
                if isinstance(index, ndarray) and index.ndim and axis < self.ndim:
                    parts[i] = parts[i] % max(self.shape[axis], 1)
                axis += 1
        return tuple(parts) if any(part is Ellipsis for part in parts) else (*parts, ...)

    def fill(self, value: Any) -> None:
        """Set all elements to a number."""
        self._write(partial(self._host.fill, _operand(value)))

    # Copies and views

    def copy(self, order: Any = "C") -> ndarray:
        """Return a copy in new memory."""
        return self._computed(np.array(self._host, order=order))

    def __deepcopy__(self, memo: Any) -> ndarray:
        return self.copy("K")

    def astype(
        self, dtype: DTypeLike, order: Any = "K", casting: Any = None, subok: None = None, copy: bool = True
    ) -> ndarray:
        """Return a copy with another dtype; with `copy=False`, the array itself if it has this dtype."""
        if not copy and self.dtype == dtype:
            return self
        with np.errstate(all="ignore"):
            return self._computed(self._host.astype(dtype, order, casting or "unsafe"))

    def view(self, dtype: DTypeLike | None = None) -> ndarray:
        """Return a view of the same bytes with another dtype."""
        return self._computed(self._host.view(dtype or self.dtype))

    def reshape(self, *shape: Any, order: Any = "C") -> ndarray:
        """Return the elements in another shape, as a view if the strides allow it."""
        return self._computed(self._host.reshape(*shape, order=order))

    def transpose(self, *axes: Any) -> ndarray:
        """Return a view with the axes permuted, by default reversed."""
        return self._computed(self._host.transpose(*axes))

    def flatten(self, order: Any = "C") -> ndarray:
        """Return a one-dimensional copy."""
        return self._computed(self._host.flatten(order))

    def _computed(self, host: np.ndarray) -> ndarray:
        result: ndarray = wrap(host, [self])
        return result

    all = delegate("all", "self axis= out= keepdims=")
    any = delegate("any", "self axis= out= keepdims=")
    argmax = delegate("argmax", "self axis= out= dtype= keepdims=")
    argmin = delegate("argmin", "self axis= out= dtype= keepdims=")
    argsort = delegate("argsort", "self axis= kind=")
    clip = delegate("clip", "self min= max= out=")
    cumsum = delegate("cumsum", "self axis= dtype= out=")
    diagonal = delegate("diagonal", "self offset= axis1= axis2=")
    dot = delegate("dot", "self b out=")
    max = delegate("max", "self axis= out= keepdims=")
    mean = delegate("mean", "self axis= dtype= out= keepdims=")
    min = delegate("min", "self axis= out= keepdims=")
    nonzero = delegate("nonzero", "self")
    prod = delegate("prod", "self axis= dtype= out= keepdims=")
    ravel = delegate("ravel", "self order=")
    repeat = delegate("repeat", "self repeats axis=")
    round = delegate("round", "self decimals= out=")
    squeeze = delegate("squeeze", "self axis=")
    std = delegate("std", "self axis= dtype= out= ddof= keepdims=")
    sum = delegate("sum", "self axis= dtype= out= keepdims=")
    swapaxes = delegate("swapaxes", "self axis1 axis2")
    take = delegate("take", "self indices axis= out=", partial(np.take, mode="wrap"))
    trace = delegate("trace", "self offset= axis1= axis2= dtype= out=")
    var = delegate("var", "self axis= dtype= out= ddof= keepdims=")
