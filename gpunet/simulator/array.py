"""Arrays in the memory of the simulated GPU, with the API of `cupy.ndarray`.

NumPy computes on the same bytes. As in CuPy, NumPy operands and implicit conversions to NumPy arrays raise `TypeError`.
`counters` counts what would make a GPU wait or copy.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from inspect import Parameter, Signature
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import DTypeLike

from gpunet.simulator.memory import MemoryPointer, alloc
from gpunet.simulator.stream import (
    Device,
    Stream,
    counters,
    get_current_stream,
    refuse_capture,
    submit,
    synchronize,
)

Function: TypeAlias = Callable[..., Any]

FUNCTIONS: dict[str, Function] = {}
"""The functions of the module by name (see functions.py). NumPy's functions of the same name dispatch to them."""

_CUBLAS = {np.matmul, np.dot, np.tensordot, np.inner, np.vdot}
_SIZED_BY_VALUES = {np.nonzero, np.flatnonzero, np.unique}  # the host needs the result's size


def delegate(name: str, parameters: str, function: Function | None = None) -> Function:
    """Wrap a NumPy function for device arrays.

    Args:
        name: CuPy's name of the function.
        parameters: CuPy's parameters, such as "x / out= * dtype=". Optional ones end with `=` and have NumPy's
            defaults.
        function: the function to wrap; None is NumPy's function `name`.
    """
    compute_it = partial(compute, function or getattr(np, name))
    signature = Signature(list(_parameters(parameters)))
    required = [p.name for p in signature.parameters.values() if p.default is Parameter.empty]

    def call(*args: Any, **options: Any) -> Any:
        try:
            given = signature.bind(*args, **options).arguments
        except TypeError as error:
            raise TypeError(f"{name}{signature}: {error}") from None
        positional = [given.pop(name) for name in required]
        return compute_it(*positional, **given)

    call.__name__ = call.__qualname__ = name
    call.__doc__ = f"See `numpy.{name}`; the parameters are CuPy's."
    call.__dict__["__signature__"] = signature
    return call


def _parameters(text: str) -> Iterator[Parameter]:
    names, _, keywords = text.partition(" * ")
    positional, _, both = names.rpartition(" / ")
    for part, kind in (
        (positional, Parameter.POSITIONAL_ONLY),
        (both, Parameter.POSITIONAL_OR_KEYWORD),
        (keywords, Parameter.KEYWORD_ONLY),
    ):
        for name in part.split():
            yield Parameter(name.rstrip("="), kind, default=None if name.endswith("=") else Parameter.empty)


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


@dataclass(frozen=True)
class Flags:
    """The memory layout of an array."""

    c_contiguous: bool
    f_contiguous: bool
    owndata: bool

    def __getitem__(self, name: str) -> Any:
        return getattr(self, name.lower())


class ndarray(np.lib.mixins.NDArrayOperatorsMixin):
    """An array in the memory of the simulated GPU.

    Args:
        shape: the shape.
        dtype: a numeric type or bool.
        memptr: the address of the first element; by default new, uninitialized memory.
        strides: in bytes; by default contiguous.
        order: "C" or "F".

    Attributes:
        base: the array that this is a view of, or None.
    """

    def __init__(
        self,
        shape: int | Sequence[int],
        dtype: DTypeLike = float,
        memptr: MemoryPointer | None = None,
        strides: Sequence[int] | None = None,
        order: Any = "C",
    ):
        dtype = np.dtype(dtype)
        if dtype.kind not in "biufc":
            raise ValueError(f"Unsupported dtype {dtype}")
        if memptr is None:
            memptr = alloc(math.prod(shape if isinstance(shape, Sequence) else (shape,)) * dtype.itemsize)
        self.base: ndarray | None = None
        self._memory = memptr.mem
        offset = memptr.ptr - self._memory.buffer.ctypes.data
        self._host = np.ndarray(shape, dtype, self._memory.buffer, offset, strides, order)

    def _view(self, host: np.ndarray) -> ndarray:
        """Return `host`, an array in this array's memory, as a view."""
        view = object.__new__(ndarray)
        view.base = self if self.base is None else self.base
        view._memory, view._host = self._memory, host
        return view

    def _write(self, work: Callable[[], Any], sources: Iterable[ndarray] = (), key: Any = ...) -> None:
        """Submit work that reads `sources` and writes `self[key]`."""

        def quiet() -> None:
            with np.errstate(all="ignore"):  # a GPU does not warn
                work()

        submit(quiet, [a._memory for a in (self, *sources)])
        self._mark(key)

    def _mark(self, key: Any = ...) -> None:
        """Mark the elements `key` as initialized, for check mode."""
        if self._memory.written is not None and self.size:
            element = np.dtype((np.void, self.itemsize))
            offset = self.data.ptr - self._memory.ptr
            written = np.ndarray(self.shape, element, self._memory.written, offset, self.strides)
            written[key] = np.void(b"\1" * self.itemsize)

    # Metadata

    shape = property(lambda self: self._host.shape, doc="The shape.")
    dtype = property(lambda self: self._host.dtype, doc="The type of an element.")
    strides = property(lambda self: self._host.strides, doc="Bytes from one element to the next along each axis.")
    ndim = property(lambda self: self._host.ndim, doc="The number of axes.")
    size = property(lambda self: self._host.size, doc="The number of elements.")
    itemsize = property(lambda self: self._host.itemsize, doc="Bytes of an element.")
    nbytes = property(lambda self: self._host.nbytes, doc="Bytes of all elements.")
    device = property(lambda self: Device(0), doc="The device of the memory.")
    T = property(lambda self: self.transpose(), doc="A view with the axes reversed.")

    @property
    def data(self) -> MemoryPointer:
        """The address of the first element."""
        return MemoryPointer(self._memory, self._host.ctypes.data - self._memory.ptr)

    @property
    def flags(self) -> Flags:
        """The memory layout."""
        layout = self._host.flags
        return Flags(layout.c_contiguous, layout.f_contiguous, self.base is None)

    # Access from the host, which waits for the device and copies

    def get(
        self, stream: Stream | None = None, order: Any = "C", out: np.ndarray | None = None, blocking: bool = True
    ) -> np.ndarray:
        """Return a copy as a NumPy array, or write it to `out`."""
        synchronize(stream)
        counters.downloads += 1
        if out is None:
            return np.array(self._host, order=order)
        out[...] = self._host
        return out

    def item(self) -> Any:
        """Return the element of an array of size 1 as a Python number."""
        return self.get().item()

    def tolist(self) -> Any:
        """Return the elements as nested lists."""
        return self.get().tolist()

    def __bool__(self) -> bool:
        return bool(self.get())

    def __int__(self) -> int:
        return int(self.item())

    def __index__(self) -> int:
        return operator.index(self.get())

    def __float__(self) -> float:
        return float(self.item())

    def __complex__(self) -> complex:
        return complex(self.item())

    def __repr__(self) -> str:
        return repr(self.get())

    def __str__(self) -> str:
        return str(self.get())

    def __format__(self, spec: str) -> str:
        return format(self.get(), spec)

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

    def set(self, arr: np.ndarray, stream: Stream | None = None) -> None:
        """Copy a NumPy array of the same shape and dtype from the host."""
        if not isinstance(arr, np.ndarray):
            raise TypeError("Only numpy.ndarray can be set to cupy.ndarray")
        if arr.dtype != self.dtype:
            raise TypeError(f"{arr.dtype} array cannot be set to {self.dtype} array")
        if arr.shape != self.shape:
            raise ValueError(f"Shape mismatch. Old shape: {self.shape}, new shape: {arr.shape}")
        if not (self.flags.c_contiguous or self.flags.f_contiguous):
            raise RuntimeError("Cannot set to non-contiguous array")
        refuse_capture()
        counters.uploads += 1
        self._host[...] = arr
        self._mark()

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
