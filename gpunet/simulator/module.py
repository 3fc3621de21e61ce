"""CUDA sources and their kernels, called as in CuPy and run by the engine."""

from __future__ import annotations

import functools
import operator
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import replace
from typing import Any

import numpy as np

from gpunet.errors import ArgumentError, KernelError
from gpunet.simulator.array import ndarray, unwrap
from gpunet.simulator.engine import Counts, Kernel, Library, load
from gpunet.simulator.findings import Finding, raise_errors
from gpunet.simulator.memory import Memory, MemoryPointer, checking, collect, find, order_seed
from gpunet.simulator.parameters import Buffer
from gpunet.simulator.stream import refuse_capture, submit

SOURCE = "kernel.cu"  # how findings call a source that does not begin with `#line 1 "name.cu"`

_counted: ContextVar[list[Counts] | None] = ContextVar("gpunet_simulator_counted", default=None)


@contextmanager
def counting() -> Iterator[list[Counts]]:
    """Return a block that collects what each launch of a kernel did, in a list: `sum(launches, Counts())` is all of it.

    Bytes are counted in check mode alone, and array code is not counted.

    Example:
        >>> import gpunet.simulator as cp
        >>> kernel = cp.RawKernel('extern "C" __global__ void set(float* x) { x[threadIdx.x] = 1; }', "set")
        >>> with cp.check_mode(), cp.counting() as launches:
        ...     kernel((1,), (3,), (cp.empty(3, "float32"),))
        >>> launches[0].global_bytes_written
        12
    """
    counted: list[Counts] = []
    token = _counted.set(counted)
    try:
        yield counted
    finally:
        _counted.reset(token)


@functools.cache
def _library(code: str, options: tuple[str, ...], mode: str, expressions: tuple[str, ...]) -> Library:
    _refuse_to_load(code, options)
    return load(code, SOURCE, options, mode, expressions)


@functools.cache
def _refuse_to_load(code: str, options: tuple[str, ...]) -> None:
    """Raise during a capture, where CUDA loads no module; one that is loaded, for either mode, may be launched."""
    refuse_capture()


class RawModule:
    """A CUDA source.

    Args:
        code: CUDA C++.
        options: `-DNAME=VALUE`, `-IFOLDER` and the like.
        enable_cooperative_groups: launch the kernels so that all blocks live at once and can wait for each other.
        name_expressions: instances of template kernels, such as "scale<float>", for `get_function`.

    Example:
        >>> import gpunet.simulator as cp
        >>> code = "template<typename T> __global__ void twice(T* x) { x[threadIdx.x] *= 2; }"
        >>> module, x = cp.RawModule(code, name_expressions=["twice<float>"]), cp.ones(3, "float32")
        >>> module.get_function("twice<float>")((1,), (3,), (x,))
        >>> x
        array([2., 2., 2.], dtype=float32)
    """

    def __init__(
        self,
        code: str,
        *,
        options: tuple[str, ...] = (),
        enable_cooperative_groups: bool = False,
        name_expressions: Sequence[str] | None = None,
    ):
        self.code = code
        self.options = tuple(options)
        self.enable_cooperative_groups = enable_cooperative_groups
        self.name_expressions = tuple(name_expressions or ())

    def compile(self, log_stream: Any = None) -> None:
        """Compile now what the first launch would compile.

        Raises:
            CompileError: the compiler refuses the source; the message is its log.
            DeviceError: there is no compiler; says what to do.
        """
        _library(self.code, self.options, "check" if checking() else "fast", self.name_expressions)

    def get_function(self, name: str) -> RawKernel:
        """Return a kernel of the source."""
        kernel = RawKernel(self.code, name, self.options, enable_cooperative_groups=self.enable_cooperative_groups)
        kernel._expressions = self.name_expressions
        return kernel


class RawKernel:
    """A kernel of a CUDA source.

    Args:
        code: CUDA C++.
        name: of the kernel.
        options: as for `RawModule`.
        enable_cooperative_groups: as for `RawModule`.

    Example:
        >>> import gpunet.simulator as cp
        >>> kernel = cp.RawKernel('extern "C" __global__ void twice(float* x) { x[threadIdx.x] *= 2; }', "twice")
        >>> x = cp.ones(3, "float32")
        >>> kernel((1,), (3,), (x,))  # one block of three threads
        >>> x
        array([2., 2., 2.], dtype=float32)
    """

    def __init__(self, code: str, name: str, options: tuple[str, ...] = (), *, enable_cooperative_groups: bool = False):
        self.code = code
        self.name = name
        self.options = tuple(options)
        self.enable_cooperative_groups = enable_cooperative_groups
        self._expressions: tuple[str, ...] = ()
        self._max_dynamic_shared: int | None = None

    @property
    def kernel(self) -> Kernel:
        """The kernel, compiled for the mode that is on."""
        mode = "check" if checking() else "fast"
        kernels = _library(self.code, self.options, mode, self._expressions).kernels
        if self.name not in kernels:
            raise ArgumentError(f"the source has no kernel {self.name!r}; it has {', '.join(kernels) or 'none'}.")
        kernel = kernels[self.name]
        if self._max_dynamic_shared is not None:
            kernel.max_dynamic_shared_size_bytes = self._max_dynamic_shared
        return kernel

    @property
    def max_dynamic_shared_size_bytes(self) -> int:
        """How much dynamic shared memory a launch may ask for; raise it to opt in to more than 48 KiB in all."""
        return self.kernel.max_dynamic_shared_size_bytes

    @max_dynamic_shared_size_bytes.setter
    def max_dynamic_shared_size_bytes(self, nbytes: int) -> None:
        self._max_dynamic_shared = nbytes

    def compile(self, log_stream: Any = None) -> None:
        """Compile now what the first launch would compile; errors as for `RawModule.compile`."""
        _ = self.kernel

    def __call__(self, grid: Sequence[int], block: Sequence[int], args: Sequence[Any], *, shared_mem: int = 0) -> None:
        """Launch the kernel and, where the stream is not captured, run it to its end.

        An array is passed as the address of its first element: its strides are not seen. A Python int is an int64, a
        float a double. A dimension below 1 counts as 1. All that as in CuPy.

        Args:
            grid: the number of blocks, by axis.
            block: the number of threads of a block, by axis.
            args: arrays, numbers and NumPy scalars.
            shared_mem: bytes of dynamic shared memory.

        Raises:
            ArgumentError: one of CUDA's limits is passed, or the number of arguments is wrong.
            DTypeError: an argument of another type than the kernel's parameter.
            KernelError: a fault in the kernel.
            TypeError: grid or block is no tuple of whole numbers.
            CompileError, DeviceError: as for `RawModule.compile`.
        """
        kernel = self.kernel
        tables = {i for i, p in enumerate(kernel.parameters) if p.table}
        launch = functools.partial(
            kernel.inspect,
            _dimensions("grid", grid),
            _dimensions("block", block),
            [_argument(arg, i in tables) for i, arg in enumerate(args)],
            shared_bytes=shared_mem,
            cooperative=self.enable_cooperative_groups,
            seed=order_seed(),
        )
        pointers = [arg.data if isinstance(arg, ndarray) else arg for arg in args]
        memories = {i: pointer.mem for i, pointer in enumerate(pointers) if isinstance(pointer, MemoryPointer)}
        guarded = {i: weakref.ref(memory) for i, memory in memories.items()}  # a graph does not keep them alive
        submit(functools.partial(_run, launch, kernel, guarded), memories.values())


def _dimensions(name: str, given: Sequence[int]) -> list[int]:
    """Return the dimensions of a grid or a block as CuPy takes them."""
    if not isinstance(given, tuple):
        raise TypeError(f"{name} must be a tuple of whole numbers, as CuPy takes it, got {given!r}")
    return [max(1, operator.index(n)) for n in given]


def _run(
    launch: Callable[[], tuple[Counts, list[Finding]]], kernel: Kernel, memories: Mapping[int, weakref.ref[Memory]]
) -> None:
    """Do a launch and count it, then look at the guards around the memory of its arguments, by their number."""
    try:
        counts, findings = launch()
        if (counted := _counted.get()) is not None:
            counted.append(counts)
        collect(kernel.name, findings)
        raise_errors(kernel.name, findings)
    finally:
        damage = [
            (i, where) for i, memory in memories.items() if (alive := memory()) and (where := alive.overwritten())
        ]
    for i, where in damage:
        raise KernelError(
            f"kernel {kernel.name}: out of bounds: it has written close {where} the memory of array "
            f"{kernel.parameters[i].name}. Check mode (GPUNET_SIM_CHECK=1) names the line and the thread."
        )


def _argument(value: Any, table: bool) -> Buffer | np.generic | np.ndarray:
    """Return what the engine passes for an argument; a table is an array of addresses."""
    if isinstance(value, ndarray):
        found = (find(address) for address in unwrap(value).ravel().tolist()) if table else ()
        targets = (_buffer(target, target.mem.ptr + target.mem.size - target.ptr) for target in found if target)
        return replace(_buffer(value.data, _extent(value)), targets=tuple(targets))
    if isinstance(value, MemoryPointer):
        return _buffer(value, value.mem.ptr + value.mem.size - value.ptr)
    if isinstance(value, bool | int | float | complex):
        value = np.array(value)[()]
    if not isinstance(value, np.generic | np.ndarray):  # an array of the host is a struct
        raise TypeError(f"Unsupported type {type(value)}")
    return value


def _extent(a: ndarray) -> int:
    """Return how many bytes lie between the first element's begin and the last one's end."""
    if a.size == 0:
        return 0
    reach = sum((n - 1) * stride for n, stride in zip(a.shape, a.strides, strict=True) if stride > 0)
    return int(a.itemsize + reach)


def _buffer(pointer: MemoryPointer, nbytes: int) -> Buffer:
    memory: Memory = pointer.mem
    written = 0 if memory.written is None else memory.written.ctypes.data + pointer.ptr - memory.ptr
    return Buffer(pointer.ptr, nbytes, written)
