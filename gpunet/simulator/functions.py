"""The functions of the module, with CuPy's names and parameters, computed by NumPy."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from gpunet.simulator.array import FUNCTIONS, compute, delegate, ndarray, unwrap, upload
from gpunet.simulator.stream import Stream

UNARY = """abs absolute arctan ceil conjugate cos cosh exp exp2 expm1 floor invert isfinite isinf isnan log log10 log1p
    log2 logical_not negative positive reciprocal rint sign sin sinh sqrt square tan tanh trunc"""

BINARY = """add arctan2 bitwise_and bitwise_or bitwise_xor copysign divide equal floor_divide fmax fmin greater
    greater_equal hypot left_shift less less_equal logical_and logical_or logical_xor maximum minimum multiply not_equal
    power remainder right_shift subtract true_divide"""

FROM_NUMPY = """bool_ complex128 complex64 dtype e float16 float32 float64 inf int16 int32 int64 int8 nan newaxis pi
    uint16 uint32 uint64 uint8"""

# The syntax is that of `delegate`: parameters that end with "=" are optional.
PARAMETERS = {
    "all": "a axis= out= keepdims=",
    "allclose": "a b rtol= atol= equal_nan=",
    "any": "a axis= out= keepdims=",
    "arange": "start stop= step= dtype=",
    "argmax": "a axis= dtype= out= keepdims=",
    "argmin": "a axis= dtype= out= keepdims=",
    "argsort": "a axis= kind=",
    "array_equal": "a1 a2 equal_nan=",
    "broadcast_to": "array shape",
    "clip": "a a_min a_max out=",
    "concatenate": "tup axis= out= * dtype= casting=",
    "count_nonzero": "a axis=",
    "cumsum": "a axis= dtype= out=",
    "diagonal": "a offset= axis1= axis2=",
    "dot": "a b out=",
    "expand_dims": "a axis",
    "eye": "N M= k= dtype= order=",
    "flip": "a axis=",
    "full": "shape fill_value dtype= order=",
    "full_like": "a fill_value dtype= order= subok= shape=",
    "inner": "a b",
    "isclose": "a b rtol= atol= equal_nan=",
    "linspace": "start stop num= endpoint= retstep= dtype= axis=",
    "matmul": "x1 x2 / out= * casting= dtype=",
    "max": "a axis= out= keepdims=",
    "mean": "a axis= dtype= out= keepdims=",
    "min": "a axis= out= keepdims=",
    "moveaxis": "a source destination",
    "ndim": "a",
    "nonzero": "a",
    "ones": "shape dtype= order=",
    "ones_like": "a dtype= order= subok= shape=",
    "outer": "a b out=",
    "prod": "a axis= dtype= out= keepdims=",
    "ravel": "a order=",
    "repeat": "a repeats axis=",
    "reshape": "a newshape order=",
    "round": "a decimals= out=",
    "shape": "a",
    "size": "a axis=",
    "sort": "a axis= kind=",
    "squeeze": "a axis=",
    "stack": "tup axis= out= * dtype= casting=",
    "std": "a axis= dtype= out= ddof= keepdims=",
    "sum": "a axis= dtype= out= keepdims=",
    "swapaxes": "a axis1 axis2",
    "tensordot": "a b axes=",
    "tile": "A reps",
    "trace": "a offset= axis1= axis2= dtype= out=",
    "transpose": "a axes=",
    "unique": "ar return_index= return_inverse= return_counts= axis= * equal_nan=",
    "var": "a axis= dtype= out= ddof= keepdims=",
    "vdot": "a b",
    "zeros": "shape dtype= order=",
    "zeros_like": "a dtype= order= subok= shape=",
}


def array(obj: Any, dtype: DTypeLike | None = None, copy: bool = True, order: Any = "K") -> ndarray:
    """Copy `obj` to a device array."""
    if not isinstance(obj, ndarray):
        return upload(np.asarray(obj, dtype, order=order))
    return obj.astype(dtype or obj.dtype, order, copy=copy)


def asarray(a: Any, dtype: DTypeLike | None = None, order: Any = None) -> ndarray:
    """Return `a` as a device array; no copy if it is one of this dtype."""
    return array(a, dtype, copy=False, order=order or "K")


def ascontiguousarray(a: Any, dtype: DTypeLike | None = None) -> ndarray:
    """Return `a` as a C-contiguous device array with at least one axis; no copy if it is one."""
    x = asarray(a, dtype)
    x = x if x.ndim else x.reshape(1)
    return x if x.flags.c_contiguous else x.copy()


def asnumpy(a: Any, stream: Stream | None = None, order: Any = "C", out: np.ndarray | None = None) -> np.ndarray:
    """Return `a` as a NumPy array.

    Example:
        >>> import gpunet.simulator as cp
        >>> cp.asnumpy(cp.asarray([1.0, 2.0]) * 2)
        array([2., 4.])
    """
    return a.get(stream, order, out) if isinstance(a, ndarray) else np.asarray(a, order=order)


def copyto(dst: ndarray, src: Any, casting: Any = "same_kind", where: ndarray | None = None) -> None:
    """Broadcast `src` and copy it to `dst`, or to the elements of `dst` at which `where` is true."""
    mask = True if where is None else unwrap(where)
    sources = [a for a in (src, where) if isinstance(a, ndarray)]
    dst._write(partial(np.copyto, unwrap(dst), unwrap(src), casting=casting, where=mask), sources)


def empty(shape: int | Sequence[int], dtype: DTypeLike = float, order: Any = "C") -> ndarray:
    """Return an uninitialized array."""
    return ndarray(shape, dtype, order=order)


def empty_like(prototype: ndarray, dtype: DTypeLike | None = None, order: Any = "K") -> ndarray:
    """Return an uninitialized array with the shape of `prototype`."""
    host = unwrap(prototype)
    if order in "KA":
        order = "F" if host.flags.fnc else "C"
    return ndarray(host.shape, dtype or host.dtype, order=order)


def take(a: ndarray, indices: Any, axis: int | None = None, out: ndarray | None = None) -> ndarray:
    """Return the elements of `a` at `indices` along an axis; indices out of range wrap around."""
    return a.take(indices, axis, out)


def where(condition: ndarray, x: Any = None, y: Any = None) -> Any:
    """Return elements of `x` where the condition is true, else of `y`; without `x` and `y`, the indices of true."""
    return condition.nonzero() if x is None and y is None else compute(np.where, condition, x, y)


FUNCTIONS.update({name: delegate(name, "x / out= * casting= dtype=") for name in UNARY.split()})
FUNCTIONS.update({name: delegate(name, "x1 x2 / out= * casting= dtype=") for name in BINARY.split()})
FUNCTIONS.update({name: delegate(name, parameters) for name, parameters in PARAMETERS.items()})
for function in (array, asarray, ascontiguousarray, asnumpy, copyto, empty, empty_like, take, where):
    FUNCTIONS[function.__name__] = function

NAMESPACE: dict[str, Any] = {**{name: getattr(np, name) for name in FROM_NUMPY.split()}, **FUNCTIONS}
"""The functions, dtypes and constants of the module by name."""
