"""CuPy's `RawModule` and `RawKernel`: CUDA sources and kernels that the engine runs."""

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

SOURCE = "kernel.cu"  # the name in findings of a source that does not begin with `#line 1 "name.cu"`

_counted: ContextVar[list[Counts] | None] = ContextVar("gpunet_simulator_counted", default=None)


@contextmanager
def counting() -> Iterator[list[Counts]]:
    """List the counts of each kernel launch inside a `with` block; array code is not counted.

    `sum(launches, Counts())` is their total. Bytes are counted in check mode only.

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
    """Raise during a stream capture, as CUDA does when it loads a module. The cache skips this for loaded modules."""
    refuse_capture()


class RawModule:
    """A source of CUDA C++.

    Args:
        options: compiler options such as `-DNAME=VALUE` and `-IFOLDER`.
        enable_cooperative_groups: make cooperative launches, whose blocks can meet at a grid barrier.
        name_expressions: instances of template kernels for `get_function`, such as "scale<float>".

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
        """Compile the source before the first launch.

        Raises:
            CompileError: the source does not compile; the message is the compiler's log.
            DeviceError: no compiler was found.
        """
        _library(self.code, self.options, "check" if checking() else "fast", self.name_expressions)

    def get_function(self, name: str) -> RawKernel:
        """Return the kernel `name`."""
        kernel = RawKernel(self.code, name, self.options, enable_cooperative_groups=self.enable_cooperative_groups)
        kernel._expressions = self.name_expressions
        return kernel


class RawKernel:
    """The kernel `name` of a CUDA source; see `RawModule`.

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
        """The kernel, compiled for the current mode."""
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
        """Maximum dynamic shared memory of a launch in bytes. Set it to use more than 48 KiB in total."""
        return self.kernel.max_dynamic_shared_size_bytes

    @max_dynamic_shared_size_bytes.setter
    def max_dynamic_shared_size_bytes(self, nbytes: int) -> None:
        self._max_dynamic_shared = nbytes

    def compile(self, log_stream: Any = None) -> None:
        """Compile the kernel before the first launch; errors as for `RawModule.compile`."""
        _ = self.kernel

    def __call__(self, grid: Sequence[int], block: Sequence[int], args: Sequence[Any], *, shared_mem: int = 0) -> None:
        """Launch the kernel and wait for it, or record the launch if the stream is captured.

        As in CuPy, an array passes the address of its first element and ignores strides, a Python int is an int64, a
        Python float a double, and a dimension below 1 counts as 1.

        Args:
            grid: number of blocks along each axis.
            block: number of threads in a block along each axis.
            args: arrays, numbers and NumPy scalars.
            shared_mem: bytes of dynamic shared memory.

        Raises:
            ArgumentError: the launch exceeds a limit of CUDA, or the number of arguments is wrong.
            DTypeError: the type of an argument differs from its parameter.
            KernelError: the kernel has an error.
            TypeError: `grid` or `block` is not a tuple of integers.
            CompileError, DeviceError: see `RawModule.compile`.
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
        guarded = {i: weakref.ref(memory) for i, memory in memories.items()}  # a graph must not keep the memory alive
        submit(functools.partial(_run, launch, kernel, guarded), memories.values())


def _dimensions(name: str, given: Sequence[int]) -> list[int]:
    """Return the dimensions of a grid or a block by CuPy's rules."""
    if not isinstance(given, tuple):
        raise TypeError(f"{name} must be a tuple of integers, as in CuPy; got {given!r}")
    return [max(1, operator.index(n)) for n in given]


def _run(
    launch: Callable[[], tuple[Counts, list[Finding]]], kernel: Kernel, memories: Mapping[int, weakref.ref[Memory]]
) -> None:
    """Run a launch, collect counts and findings, and check the guards of `memories`, by index of the argument."""
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
            f"kernel {kernel.name}: out of bounds: it wrote just {where} the memory of array "
            f"{kernel.parameters[i].name}. Check mode (GPUNET_SIM_CHECK=1) reports the line and the thread."
        )


def _argument(value: Any, table: bool) -> Buffer | np.generic | np.ndarray:
    """Convert an argument for the engine; a table is an array of addresses."""
    if isinstance(value, ndarray):
        found = (find(address) for address in unwrap(value).ravel().tolist()) if table else ()
        targets = (_buffer(target, target.mem.ptr + target.mem.size - target.ptr) for target in found if target)
        return replace(_buffer(value.data, _extent(value)), targets=tuple(targets))
    if isinstance(value, MemoryPointer):
        return _buffer(value, value.mem.ptr + value.mem.size - value.ptr)
    if isinstance(value, bool | int | float | complex):
        value = np.array(value)[()]
    if not isinstance(value, np.generic | np.ndarray):  # a host array passes a struct
        raise TypeError(f"Unsupported type {type(value)}")
    return value


def _extent(a: ndarray) -> int:
    """Return the number of bytes from the begin of the first element to the end of the last."""
    if a.size == 0:
        return 0
    reach = sum((n - 1) * stride for n, stride in zip(a.shape, a.strides, strict=True) if stride > 0)
    return int(a.itemsize + reach)


def _buffer(pointer: MemoryPointer, nbytes: int) -> Buffer:
    memory: Memory = pointer.mem
    written = 0 if memory.written is None else memory.written.ctypes.data + pointer.ptr - memory.ptr
    return Buffer(pointer.ptr, nbytes, written)
