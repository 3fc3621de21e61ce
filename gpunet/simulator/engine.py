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
import itertools
import math
import threading
from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from gpunet.simulator import limits
from gpunet.simulator.compiler import compile_kernels, runtime_library
from gpunet.simulator.findings import Finding, accept, allowed_lines, raise_errors, read_findings
from gpunet.simulator.orders import Writable, in_both_orders
from gpunet.simulator.parameters import Buffer, pack, parameter
from gpunet.simulator.structs import BufferArgument, KernelEntry, Launch, LaunchCounts
from gpunet.simulator.symbols import SharedVariable, Symbols

_running = threading.Lock()  # the runtime runs one launch at a time


@dataclass(frozen=True)
class Counts:
    """What a launch did, counted in the mode "check" (barriers and launches in both). Counts add up with `+`.

    Example:
        >>> from gpunet.simulator import Counts
        >>> both = Counts(barriers=2, launches=1) + Counts(launches=1)
        >>> both.barriers, both.launches
        (2, 2)
    """

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
        allowed: kinds of findings that the source accepts, by "file:line".
    """

    def __init__(self, path: Path, mode: str, allowed: Mapping[str, set[str]]):
        self.path = path
        self.mode = mode
        self.allowed = allowed
        self.symbols = Symbols(path)
        self.runtime = _runtime(mode)  # first: it may lie in another folder, and what is loaded is not looked for
        self._library = ctypes.CDLL(str(path))  # kept, so that the kernels stay loaded
        self.touch_shared = self._library.gpunet_touch_shared
        table = KernelEntry.in_dll(self._library, "gpunet_kernels")
        self._table = ctypes.addressof(table)
        entry = ctypes.pointer(table)
        entries = list(itertools.takewhile(lambda row: row.name, (entry[i] for i in range(2**16))))
        names = [row.name.decode() for row in entries]
        self.kernels: dict[str, Kernel] = {
            name: Kernel(self, row, self.symbols.shared_variables_of(name, names))
            for name, row in zip(names, entries, strict=True)
        }

    @functools.cached_property
    def variables(self) -> list[Writable]:
        """The source's `__device__` variables in memory."""
        variables, untyped = self.symbols.device_variables, np.dtype("V")
        return [Writable(f"variable {v.name}", untyped, self._table + v.offset, v.nbytes) for v in variables]

    @functools.cached_property
    def variable_buffers(self) -> list[BufferArgument]:
        """The same, to be watched."""
        return [BufferArgument(v.name.encode(), v.address, v.nbytes, None, True) for v in self.variables]

    def findings(self, told: str) -> list[Finding]:
        """Return the findings that the runtime tells, those that the source allows as benign."""
        return accept(read_findings(self.symbols.name_shared(told), self.symbols.frames), self.allowed)


class Kernel:
    """A kernel of a library, ready to launch.

    Attributes:
        name: as in the source.
        parameters: in order.
        max_threads: the most threads a block may have: `__launch_bounds__`, else 1,024.
        static_shared_bytes: of `__shared__` variables.
        max_dynamic_shared_size_bytes: raise it, up to 227 KiB with the static ones, to opt in to more than 48 KiB.
    """

    def __init__(self, library: Library, entry: KernelEntry, variables: Sequence[SharedVariable]):
        self.name: str = entry.name.decode()
        types = entry.types.decode().split(",") if entry.types else []
        names = entry.names.decode().split(",") if entry.names else []
        self.parameters = tuple(parameter(n, t) for n, t in zip(names, types, strict=True))
        self.max_threads: int = entry.max_threads
        self.static_shared_bytes = sum(v.nbytes for v in variables)
        # With the gaps between them, where the library has other kernels' variables.
        self._static_begin = min((v.offset for v in variables), default=0)
        self._static_end = max((v.offset + v.nbytes for v in variables), default=0)
        self.max_dynamic_shared_size_bytes = limits.MAX_SHARED_BYTES - self.static_shared_bytes
        self._library = library
        self._entry = entry
        self._runtime = library.runtime

    def launch(self, grid: Sequence[int], block: Sequence[int], args: Sequence[Any], **options: Any) -> Counts:
        """Run the kernel to its end and return what was counted.

        Arguments and errors as for `inspect`.

        Raises:
            KernelError: findings that are errors. What the kernel wrote stays written.
        """
        counts, findings = self.inspect(grid, block, args, **options)
        raise_errors(self.name, findings)
        return counts

    def inspect(
        self,
        grid: Sequence[int],
        block: Sequence[int],
        args: Sequence[Any],
        *,
        shared_bytes: int = 0,
        cooperative: bool = False,
        seed: int = 0,
    ) -> tuple[Counts, list[Finding]]:
        """Run the kernel and return what was counted and all that was found.

        In the mode "check" the blocks of a launch run in two orders, in ascending order and then, from the same memory,
        in a shuffled one. What the first leaves and counts is the result. A result that depends on the order is a
        finding, unless the kernel has used atomics on floating-point numbers or compare-and-swap, by which it may have
        added up such numbers: the last bits of their sum may differ.

        Args:
            grid: one to three positive numbers of blocks.
            block: one to three positive numbers of threads.
            args: for a pointer a `Buffer` (or None for a null pointer), for a scalar a NumPy scalar of its dtype, for a
                struct a NumPy record or array of as many bytes.
            shared_bytes: dynamic shared memory.
            cooperative: whether all blocks live at once, so that they can wait for each other at a grid barrier.
            seed: of the shuffled order, 0 to 2**64 - 1.

        Raises:
            ArgumentError: a limit of CUDA's is passed, or the number of arguments is wrong.
            DTypeError: an argument of another type than the parameter.
        """
        grid3 = limits.dimensions(self.name, "grid", grid, limits.MAX_GRID)
        block3 = limits.dimensions(self.name, "block", block, limits.MAX_BLOCK)
        limits.check_threads(self.name, grid3, block3, self.max_threads, cooperative)
        limits.check_shared(self.name, shared_bytes, self.static_shared_bytes, self.max_dynamic_shared_size_bytes)
        values, arrays = pack(self.name, self.parameters, args)
        pointers = (ctypes.c_void_p * len(values))(*map(ctypes.addressof, values))
        checked = self._library.mode == "check"
        buffers = [*arrays, *self._library.variable_buffers] if checked else arrays
        launch = Launch(
            ctypes.addressof(self._entry),
            ctypes.addressof(pointers),
            (ctypes.c_uint * 3)(*grid3),
            (ctypes.c_uint * 3)(*block3),
            self._static_begin,
            self._static_end - self._static_begin,
            shared_bytes,
            ctypes.addressof(table := (BufferArgument * len(buffers))(*buffers)),
            len(table),
            cooperative,
            False,
            seed,
        )
        with _running:
            self._library.touch_shared()
            if checked and math.prod(grid3) > 1:
                return self._inspect_both_orders(launch, args)
            for buffer in [] if checked else arrays:  # nobody watches what it writes, so all of it counts as written
                if buffer.initialized and buffer.writable:
                    ctypes.memset(buffer.initialized, 1, buffer.bytes)
            return self._run(launch)

    def _run(self, launch: Launch) -> tuple[Counts, list[Finding]]:
        told = self._runtime.launch(ctypes.byref(launch))
        return self._runtime.counts(), self._library.findings(told.decode()) if told else []

    def _inspect_both_orders(self, launch: Launch, args: Sequence[Any]) -> tuple[Counts, list[Finding]]:
        def run(shuffled: bool) -> tuple[Counts, list[Finding]]:
            launch.shuffled = shuffled
            return self._run(launch)

        (counts, findings), (_, others), difference = in_both_orders(run, self._writable(args))
        known = {(f.kind, f.lines) for f in findings}
        order = f", in the order of blocks of seed {launch.seed}"
        findings += [f._replace(text=f.text + order) for f in others if (f.kind, f.lines) not in known]
        if difference and not self._runtime.rounded() and all(f.grade != "error" for f in findings):
            kind = "a result that depends on the order of blocks"
            text = f"{kind}: {difference} (seed {launch.seed}). A GPU runs blocks in any order"
            findings.append(Finding("error", kind, text))
        return counts, findings

    def _writable(self, args: Sequence[Any]) -> list[Writable]:
        """Return the memory that a launch with these arguments may write."""
        arrays = [
            Writable(f"array {parameter.name}", parameter.dtype, buffer.address, buffer.nbytes, buffer.initialized)
            for parameter, arg in zip(self.parameters, args, strict=True)
            if isinstance(arg, Buffer) and not parameter.const
            for buffer in (arg.targets if parameter.table else (arg,))
        ]
        return arrays + self._library.variables


def load(
    source: str, name: str, options: Sequence[str] = (), mode: str = "fast", expressions: Sequence[str] = ()
) -> Library:
    """Compile the CUDA text `source` (unless the cache has it) and load it. Arguments and errors: `compile_kernels`."""
    path = compile_kernels(source, name, options, mode, expressions)
    return Library(path, mode, allowed_lines(source, name))
