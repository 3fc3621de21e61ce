"""Checks of arguments that the operations share."""

from __future__ import annotations

from collections.abc import Mapping
from types import ModuleType
from typing import Any

import numpy as np

from gpunet.device import Array, array_module
from gpunet.errors import DTypeError, ShapeError

FLOATS = frozenset(map(np.dtype, (np.float32, np.float64)))


def float_module(op: str, **arrays: Array | None) -> ModuleType:
    """Return the array module of the given arrays, which must all be float32 or all float64."""
    dtype = None
    for a in arrays.values():
        if a is not None:
            if type(a) is not np.ndarray or a.dtype is not (dtype or a.dtype):
                break
            dtype = a.dtype
    else:
        if dtype in FLOATS:  # fast path: NumPy arrays of one dtype, as in every training step on the CPU
            return np
    xp = array_module(**arrays)
    given = {name: a.dtype for name, a in arrays.items() if a is not None}
    for name, dtype in given.items():
        if dtype not in FLOATS:
            raise DTypeError(f"{op}: {name} is {dtype}; use float32 or float64, for example {name}.astype('float32').")
    if len(set(given.values())) > 1:
        found = ", ".join(f"{name} is {dtype}" for name, dtype in given.items())
        raise DTypeError(f"{op}: dtypes differ: {found}; convert {_conversion(given)}.")
    return xp


def _conversion(given: Mapping[str, np.dtype[Any]]) -> str:
    """Return the casts that give all arguments one dtype, if one argument differs from the others."""
    dtypes = [*given.values()]
    others = {name: next(d for d in dtypes if d != own) for name, own in given.items() if dtypes.count(own) == 1}
    casts = " or ".join(f"{name} with {name}.astype('{other}')" for name, other in others.items())
    return casts or "them to one dtype"


def check_shape(op: str, shape: tuple[int, ...], **arrays: Array | None) -> None:
    """Raise `ShapeError` unless all given arrays have this shape."""
    for name, a in arrays.items():
        if a is not None and a.shape != shape:
            raise ShapeError(f"{op}: {name} has shape {a.shape}, expected {shape}.")


def check_buffers(op: str, shape: tuple[int, ...], **arrays: Array | None) -> None:
    """Raise `ShapeError` unless all given arrays have this shape and are C-contiguous."""
    check_shape(op, shape, **arrays)
    for name, a in arrays.items():
        if a is not None and not a.flags.c_contiguous:
            raise ShapeError(f"{op}: {name} must be C-contiguous, its strides are {a.strides}.")
