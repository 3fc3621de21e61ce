"""Run CUDA kernels on the CPU: load a compiled source, list its kernels, launch them on host memory.

    library = load(source, "kernels/matmul.cu", ["-DT=float"])
    matmul = library.kernels["matmul"]
    matmul.launch((8, 8), (16, 16), [Buffer(a.ctypes.data, a.nbytes), ..., np.int32(128)])

There is no state but the arrays: a `Buffer` says which addresses a launch may touch and, in the mode "check", which of
their bytes hold a value.
"""

from __future__ import annotations

import ctypes
import functools
import math
import threading
from collections.abc import Sequence
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from gpunet.errors import ArgumentError, DTypeError, KernelError
from gpunet.simulator.compiler import compile_kernels, runtime_library
from gpunet.simulator.orders import Writable, in_both_orders
from gpunet.simulator.structs import BufferArgument, KernelEntry, Launch, LaunchCounts
from gpunet.simulator.symbols import Symbols

# What CUDA documents for compute capability 9.0.
MAX_GRID = (2**31 - 1, 65_535, 65_535)
MAX_BLOCK = (1024, 1024, 64)
MAX_SHARED_BYTES = 48 * 1024
MAX_SHARED_BYTES_OPT_IN = 227 * 1024
MAX_RESIDENT_THREADS = 4 * 2048
"""Threads of a cooperative launch: as if the simulated GPU had 4 multiprocessors."""

_running = threading.Lock()  # the runtime runs one launch at a time


@dataclass(frozen=True)
class Parameter:
    """A kernel's parameter: a scalar of `dtype`, or a pointer to such elements (a `float4*` counts as float32)."""

    name: str
    dtype: np.dtype[Any]
    pointer: bool
    const: bool


@dataclass(frozen=True)
class Buffer:
    """The memory behind a pointer argument, which the kernel may touch and nothing beside it.

    Attributes:
        address: of the first byte.
        nbytes: how many bytes.
        initialized: the address of `nbytes` flags (uint8), one per byte: 1 where it holds a value. Launches set the
            flags of what they write. 0 means that all bytes hold values.
    """

    address: int
    nbytes: int
    initialized: int = 0


@dataclass(frozen=True)
class Counts:
    """What a launch did, counted in the mode "check" (barriers and launches in both). Counts add up with `+`."""

    global_bytes_read: int = 0
    global_bytes_written: int = 0
    shared_bytes_read: int = 0
    shared_bytes_written: int = 0
    barriers: int = 0
    launches: int = 0

    def __add__(self, other: Counts) -> Counts:
        return Counts(*(a + b for a, b in zip(astuple(self), astuple(other), strict=True)))


class _Runtime:
    """The runtime of a mode, loaded once."""

    def __init__(self, mode: str):
        library = ctypes.CDLL(str(runtime_library(mode)))
        self.launch = library.gpunet_launch
        self.launch.restype = ctypes.c_char_p
        library.gpunet_counts.restype = ctypes.POINTER(LaunchCounts)
        self._counts = library.gpunet_counts().contents

    def counts(self) -> Counts:
        c = self._counts
        return Counts(c.global_read, c.global_written, c.shared_read, c.shared_written, c.barriers, 1)

    def rounded(self) -> bool:
        """Return whether the last bits of what the last launch left may depend on the order of its blocks."""
        return bool(self._counts.rounding_atomics > 0)


_runtime = functools.cache(_Runtime)


class Library:
    """A compiled source.

    Attributes:
        path: the shared library.
        mode: "fast" or "check".
        kernels: its kernels by name.
    """

    def __init__(self, path: Path, mode: str):
        self.path = path
        self.mode = mode
        self.symbols = Symbols(path)
        self.runtime = _runtime(mode)  # first: it may lie in another folder, and what is loaded is not looked for
        self._library = ctypes.CDLL(str(path))  # kept, so that the kernels stay loaded
        self.touch_shared = self._library.gpunet_touch_shared
        self.kernels: dict[str, Kernel] = {}
        table = KernelEntry.in_dll(self._library, "gpunet_kernels")
        self._table = ctypes.addressof(table)
        entry = ctypes.pointer(table)
        for i in range(2**16):
            if not entry[i].name:
                break
            self.kernels[entry[i].name.decode()] = Kernel(self, entry[i])

    @functools.cached_property
    def variables(self) -> list[Writable]:
        """The source's `__device__` variables in memory."""
        variables, untyped = self.symbols.device_variables, np.dtype("V")
        return [Writable(f"variable {v.name}", untyped, self._table + v.offset, v.nbytes) for v in variables]


class Kernel:
    """A kernel of a library, ready to launch.

    Attributes:
        name: as in the source.
        parameters: in order.
        max_threads: the most threads a block may have: `__launch_bounds__`, else 1,024.
        static_shared_bytes: of `__shared__` variables.
        max_dynamic_shared_size_bytes: raise it, up to 227 KiB with the static ones, to opt in to more than 48 KiB.
    """

    def __init__(self, library: Library, entry: KernelEntry):
        self.name: str = entry.name.decode()
        types = entry.types.decode().split(",") if entry.types else []
        names = entry.names.decode().split(",") if entry.names else []
        self.parameters = tuple(_parameter(n, t) for n, t in zip(names, types, strict=True))
        self.max_threads: int = entry.max_threads
        variables = library.symbols.shared_variables_of(self.name)
        self.static_shared_bytes = sum(v.nbytes for v in variables)
        # With the gaps between them, where the library has other kernels' variables.
        self._static_begin = min((v.offset for v in variables), default=0)
        self._static_end = max((v.offset + v.nbytes for v in variables), default=0)
        self.max_dynamic_shared_size_bytes = MAX_SHARED_BYTES - self.static_shared_bytes
        self._library = library
        self._entry = entry
        self._runtime = library.runtime

    def launch(
        self,
        grid: Sequence[int],
        block: Sequence[int],
        args: Sequence[Any],
        *,
        shared_bytes: int = 0,
        cooperative: bool = False,
        seed: int = 0,
    ) -> Counts:
        """Run the kernel to its end and return what was counted.

        In the mode "check" the blocks of a launch run in two orders, in ascending order and then, from the same memory,
        in a shuffled one. What the first leaves and counts is the result.

        Args:
            grid: one to three positive numbers of blocks.
            block: one to three positive numbers of threads.
            args: for a pointer a `Buffer` (or None for a null pointer), for a scalar a NumPy scalar of its dtype.
            shared_bytes: dynamic shared memory.
            cooperative: whether all blocks live at once, so that they can wait for each other at a grid barrier.
            seed: of the shuffled order, 0 to 2**64 - 1.

        Raises:
            ArgumentError: a limit of CUDA's is passed, or the number of arguments is wrong.
            DTypeError: an argument of another type than the parameter.
            KernelError: a fault in the kernel, and what it wrote before stays written; or a result that depends on the
                order of blocks, unless the kernel has used atomics on floating-point numbers or compare-and-swap, by
                which it may have added up such numbers: the last bits of their sum may differ.
        """
        grid3 = self._dimensions("grid", grid, MAX_GRID)
        block3 = self._dimensions("block", block, MAX_BLOCK)
        self._check_limits(grid3, block3, shared_bytes, cooperative)
        values, buffers = self._pack(args)
        pointers = (ctypes.c_void_p * len(values))(*map(ctypes.addressof, values))
        launch = Launch(
            ctypes.addressof(self._entry),
            ctypes.addressof(pointers),
            (ctypes.c_uint * 3)(*grid3),
            (ctypes.c_uint * 3)(*block3),
            self._static_begin,
            self._static_end - self._static_begin,
            shared_bytes,
            ctypes.addressof(buffers),
            len(buffers),
            cooperative,
            False,
            seed,
        )

        def run(shuffled: bool) -> Counts:
            launch.shuffled = shuffled
            if failure := self._runtime.launch(ctypes.byref(launch)):
                text = self._library.symbols.resolve(failure.decode())
                order = f", in the order of blocks of seed {seed}" if shuffled else ""
                raise KernelError(f"kernel {self.name}: {text}{order}.")
            return self._runtime.counts()

        with _running:
            self._library.touch_shared()
            if self._library.mode == "fast" or math.prod(grid3) == 1:
                return run(False)
            counts, difference = in_both_orders(run, self._writable(args))
            if difference and not self._runtime.rounded():
                raise KernelError(
                    f"kernel {self.name}: a result that depends on the order of blocks: {difference} (seed {seed}). A "
                    "GPU runs blocks in any order: what a block writes must not depend on which have run before it."
                )
        return counts

    def _dimensions(self, what: str, given: Sequence[int], limits: tuple[int, int, int]) -> tuple[int, ...]:
        if not 1 <= len(given) <= 3 or min(given) < 1:
            raise ArgumentError(f"kernel {self.name}: {what}: expected one to three positive numbers, got {given}.")
        full = (*given, *(1,) * (3 - len(given)))
        for axis, n, limit in zip("xyz", full, limits, strict=True):
            if n > limit:
                raise ArgumentError(f"kernel {self.name}: {what}.{axis} is {n:,}, and CUDA's limit is {limit:,}.")
        return full

    def _check_limits(
        self, grid: tuple[int, ...], block: tuple[int, ...], shared_bytes: int, cooperative: bool
    ) -> None:
        threads, blocks = math.prod(block), math.prod(grid)
        if threads > self.max_threads:
            why = "its __launch_bounds__ allow" if self.max_threads < 1024 else "CUDA allows"
            raise ArgumentError(f"kernel {self.name}: a block of {threads:,} threads; {why} {self.max_threads:,}.")
        if blocks >= 2**32:
            raise ArgumentError(f"kernel {self.name}: {blocks:,} blocks are more than the simulator can number.")
        if cooperative and blocks * threads > MAX_RESIDENT_THREADS:
            raise ArgumentError(
                f"kernel {self.name}: a cooperative launch of {blocks:,} blocks of {threads} threads does not fit on "
                f"the device at once ({MAX_RESIDENT_THREADS:,} threads); use fewer blocks and a grid-stride loop."
            )
        allowed = min(self.max_dynamic_shared_size_bytes, MAX_SHARED_BYTES_OPT_IN - self.static_shared_bytes)
        if not 0 <= shared_bytes <= allowed:
            raise ArgumentError(
                f"kernel {self.name}: {shared_bytes:,} bytes of dynamic shared memory beside "
                f"{self.static_shared_bytes:,} static ones; {allowed:,} are allowed. Above 48 KiB in all, set "
                "max_dynamic_shared_size_bytes, up to 227 KiB in all."
            )

    def _pack(self, args: Sequence[Any]) -> tuple[list[Any], ctypes.Array[BufferArgument]]:
        """Return each argument's value in memory, and the buffers among them."""
        if len(args) != len(self.parameters):
            raise ArgumentError(f"kernel {self.name}: takes {len(self.parameters)} arguments, got {len(args)}.")
        values: list[Any] = []
        buffers = []
        for parameter, arg in zip(self.parameters, args, strict=True):
            if isinstance(arg, Buffer) and parameter.pointer:
                values.append(ctypes.c_void_p(arg.address))
                buffers.append(self._buffer_argument(parameter, arg))
            elif parameter.pointer and (arg is None or (isinstance(arg, np.uint64) and arg == 0)):  # CuPy has no null
                values.append(ctypes.c_void_p(None))
            elif isinstance(arg, np.generic) and arg.dtype == parameter.dtype and not parameter.pointer:
                values.append((ctypes.c_char * arg.nbytes).from_buffer_copy(arg.tobytes()))
            else:
                wanted = "a Buffer" if parameter.pointer else f"a NumPy scalar of type {parameter.dtype}"
                got = f"{type(arg).__name__} {arg!r}"
                raise DTypeError(f"kernel {self.name}: argument {parameter.name!r}: expected {wanted}, got {got}.")
        return values, (BufferArgument * len(buffers))(*buffers)

    def _writable(self, args: Sequence[Any]) -> list[Writable]:
        """Return the memory that a launch with these arguments may write."""
        arrays = [
            Writable(f"array {parameter.name}", parameter.dtype, arg.address, arg.nbytes, arg.initialized)
            for parameter, arg in zip(self.parameters, args, strict=True)
            if isinstance(arg, Buffer) and not parameter.const
        ]
        return arrays + self._library.variables

    def _buffer_argument(self, parameter: Parameter, buffer: Buffer) -> BufferArgument:
        initialized = buffer.initialized
        if initialized and not parameter.const and self._library.mode == "fast":
            # Nobody watches what it writes, so all of it counts as written.
            ctypes.memset(initialized, 1, buffer.nbytes)
        name = parameter.name.encode()
        return BufferArgument(name, buffer.address, buffer.nbytes, initialized or None, not parameter.const)


def _parameter(name: str, code: str) -> Parameter:
    """Return the parameter that export.h describes as `code`, such as "i4" or "const f4*"."""
    pointer, const = code.endswith("*"), code.startswith("const ")
    return Parameter(name, np.dtype(code.removeprefix("const ").removesuffix("*")), pointer, const)


def load(source: str, name: str, options: Sequence[str] = (), mode: str = "fast") -> Library:
    """Compile the CUDA text `source` (unless the cache has it) and load it. Arguments and errors: `compile_kernels`."""
    return Library(compile_kernels(source, name, options, mode), mode)
