"""The memory of an array on the simulated GPU, its layout, and access to it from the host."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import DTypeLike

from gpunet.simulator.device import Device
from gpunet.simulator.memory import MemoryPointer, alloc
from gpunet.simulator.stream import Stream, counters, refuse_capture, submit, synchronize


@dataclass(frozen=True)
class Flags:
    """The memory layout of an array."""

    c_contiguous: bool
    f_contiguous: bool
    owndata: bool

    def __getitem__(self, name: str) -> Any:
        return getattr(self, name.lower())


class Storage:
    """The memory of an array, without arithmetic; see `ndarray`."""

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
        self.base: Self | None = None
        self._memory = memptr.mem
        offset = memptr.ptr - self._memory.buffer.ctypes.data
        self._host = np.ndarray(shape, dtype, self._memory.buffer, offset, strides, order)

    def _view(self, host: np.ndarray) -> Self:
        """Return `host`, an array in this array's memory, as a view."""
        view = object.__new__(type(self))
        view.base = self if self.base is None else self.base
        view._memory, view._host = self._memory, host
        return view

    def _write(self, work: Callable[[], Any], sources: Iterable[Storage] = (), key: Any = ...) -> None:
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
