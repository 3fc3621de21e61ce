"""Describe the parameters of a kernel, and pack the arguments of a launch."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from gpunet.arguments import counted
from gpunet.errors import ArgumentError, DTypeError
from gpunet.simulator.structs import BufferArgument


@dataclass(frozen=True)
class Parameter:
    """A kernel's parameter: a value or a pointer.

    Attributes:
        dtype: the type of the value or of the elements; float32 for `float4*`, `V8` for a struct of 8 bytes.
        const: whether the elements are const.
        table: whether it is a pointer to pointers.
    """

    name: str
    dtype: np.dtype[Any]
    pointer: bool
    const: bool
    table: bool = False


@dataclass(frozen=True)
class Buffer:
    """The memory of a pointer argument, the only memory that the kernel may access through it.

    Attributes:
        address: of the first byte.
        nbytes: the size in bytes.
        initialized: the address of `nbytes` uint8 flags, 1 for a byte that holds a value. Launches set the flags of the
            bytes they write. 0: all bytes hold values.
        targets: for a parameter such as `float**`, the memory of the pointers in the buffer.
    """

    address: int
    nbytes: int
    initialized: int = 0
    targets: tuple[Buffer, ...] = ()


def parameter(name: str, code: str) -> Parameter:
    """Return the parameter for a type code of export.h, such as "i4", "V8", "const f4*" or "f4**"."""
    pointer, const = code.endswith("*"), code.startswith("const ")
    return Parameter(name, np.dtype(code.removeprefix("const ").rstrip("*")), pointer, const, code.endswith("**"))


def pack(kernel: str, parameters: Sequence[Parameter], args: Sequence[Any]) -> tuple[list[Any], list[BufferArgument]]:
    """Return the arguments as ctypes objects, and the buffers among them; raise like `RawKernel`."""
    if len(args) != len(parameters):
        raise ArgumentError(f"kernel {kernel}: takes {counted(len(parameters), 'argument')}, got {len(args)}.")
    values: list[Any] = []
    buffers = []
    for p, arg in zip(parameters, args, strict=True):
        if isinstance(arg, Buffer) and p.pointer:
            values.append(ctypes.c_void_p(arg.address))
            named = {f"array {p.name}": arg} | {f"array {p.name}[{i}]": target for i, target in enumerate(arg.targets)}
            buffers += [
                BufferArgument(name.encode(), b.address, b.nbytes, b.initialized or None, not p.const)
                for name, b in named.items()
            ]
        elif p.pointer and (arg is None or (isinstance(arg, np.uint64) and arg == 0)):  # CuPy has no null
            values.append(ctypes.c_void_p(None))
        elif not p.pointer and _is_value(arg, p.dtype):
            values.append((ctypes.c_char * arg.nbytes).from_buffer_copy(arg.tobytes()))
        else:
            got = f"{type(arg).__name__} {arg!r}"
            raise DTypeError(f"kernel {kernel}: argument {p.name!r}: expected {_wanted(p)}, got {got}.")
    return values, buffers


def _is_value(arg: Any, dtype: np.dtype[Any]) -> bool:
    """Return whether `arg` is a value of `dtype`; for a struct, a record or array of the same size."""
    if dtype.kind == "V":
        return isinstance(arg, np.void | np.ndarray | np.complexfloating) and arg.nbytes == dtype.itemsize
    return isinstance(arg, np.generic) and arg.dtype == dtype


def _wanted(p: Parameter) -> str:
    if p.pointer:
        return "a Buffer"
    if p.dtype.kind == "V":
        return f"a struct of {p.dtype.itemsize} bytes: a NumPy record, or an array of that size"
    return f"a NumPy scalar of type {p.dtype}"
