"""Run CUDA kernels on the CPU: load a compiled source, list its kernels, launch them on host memory.

    matmul = load(source, "kernels/matmul.cu", ["-DT=float"]).kernels["matmul"]
    matmul.launch((8, 8), (16, 16), [Buffer(a.ctypes.data, a.nbytes), ..., np.int32(128)])

The only state is in the arrays: see `Buffer`.
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
from gpunet.simulator.findings import GRADES, Finding, accept, allowed_lines, raise_errors, read_findings
from gpunet.simulator.orders import Writable, in_both_orders
from gpunet.simulator.parameters import Buffer, pack, parameter
from gpunet.simulator.structs import BufferArgument, KernelEntry, Launch, LaunchCounts
from gpunet.simulator.symbols import SharedVariable, Symbols

_running = threading.Lock()  # the runtime runs one launch at a time


@dataclass(frozen=True)
class Counts:
    """What a launch did: bytes moved (counted in check mode only), barriers, launches. `+` adds counts.

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
        """Return whether rounding in the last launch may depend on the order of its blocks."""
        return bool(self._counts.rounding_atomics > 0)


_runtime = functools.cache(_Runtime)


class Library:
    """A compiled source, the shared library at `path`.

    Attributes:
        mode: "fast" or "check".
        allowed: kinds of findings that comments in the source accept, by "file:line".
    """

    def __init__(self, path: Path, mode: str, allowed: Mapping[str, set[str]]):
        self.path = path
        self.mode = mode
        self.allowed = allowed
        self.symbols = Symbols(path)
        self.runtime = _runtime(mode)  # load it first: the kernel library links to it, and its folder may be another
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
        """The `__device__` variables of the source."""
        variables, untyped = self.symbols.device_variables, np.dtype("V")
        return [Writable(f"variable {v.name}", untyped, self._table + v.offset, v.nbytes) for v in variables]

    @functools.cached_property
    def variable_buffers(self) -> list[BufferArgument]:
        """The `__device__` variables as buffers for the checker."""
        return [BufferArgument(v.name.encode(), v.address, v.nbytes, None, True) for v in self.variables]

    def findings(self, report: str) -> list[Finding]:
        """Parse the runtime's findings; those that the source accepts are graded benign."""
        return accept(read_findings(self.symbols.name_shared(report), self.symbols.frames), self.allowed)


class Kernel:
    """A kernel of a library, ready to launch.

    Attributes:
        max_threads: maximum number of threads in a block: `__launch_bounds__`, else 1024.
        static_shared_bytes: bytes of `__shared__` variables.
        max_dynamic_shared_size_bytes: maximum dynamic shared memory of a launch. Set it to use more than 48 KiB, up to
            227 KiB including static shared memory.
    """

    def __init__(self, library: Library, entry: KernelEntry, variables: Sequence[SharedVariable]):
        self.name: str = entry.name.decode()
        types = entry.types.decode().split(",") if entry.types else []
        names = entry.names.decode().split(",") if entry.names else []
        self.parameters = tuple(parameter(n, t) for n, t in zip(names, types, strict=True))
        self.max_threads: int = entry.max_threads
        self.static_shared_bytes = sum(v.nbytes for v in variables)
        # The range includes gaps, in which other kernels' variables lie.
        self._static_begin = min((v.offset for v in variables), default=0)
        self._static_end = max((v.offset + v.nbytes for v in variables), default=0)
        self.max_dynamic_shared_size_bytes = limits.MAX_SHARED_BYTES - self.static_shared_bytes
        self._library = library
        self._entry = entry
        self._runtime = library.runtime

    def launch(self, grid: Sequence[int], block: Sequence[int], args: Sequence[Any], **options: Any) -> Counts:
        """Run the kernel like `inspect`, and return its counts.

        Raises:
            KernelError: there are findings of grade "error". The kernel's writes are kept.
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
        """Run the kernel and return its counts and all findings; errors as for `RawKernel`.

        In mode "check" the blocks run in two orders, see `check_mode`; the results and counts are those of the first.

        Args:
            grid: number of blocks along one to three axes.
            block: number of threads along one to three axes.
            args: a `Buffer` for a pointer (None for a null pointer), a NumPy scalar of the same dtype for a scalar, a
                NumPy record or array of the same size for a struct.
            shared_bytes: bytes of dynamic shared memory.
            cooperative: whether all blocks are resident, so that they can meet at a grid barrier.
            seed: of the second order, 0 to 2**64 - 1.
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
            for buffer in [] if checked else arrays:  # its writes are not tracked, so all bytes count as written
                if buffer.initialized and buffer.writable:
                    ctypes.memset(buffer.initialized, 1, buffer.bytes)
            return self._run(launch)

    def _run(self, launch: Launch) -> tuple[Counts, list[Finding]]:
        report = self._runtime.launch(ctypes.byref(launch))
        return self._runtime.counts(), self._library.findings(report.decode()) if report else []

    def _inspect_both_orders(self, launch: Launch, args: Sequence[Any]) -> tuple[Counts, list[Finding]]:
        def run(shuffled: bool) -> tuple[Counts, list[Finding]]:
            launch.shuffled = shuffled
            return self._run(launch)

        (counts, findings), (_, others), difference = in_both_orders(run, self._writable(args))
        known = {f.key: f.rank for f in findings}
        order = f", in the order of blocks of seed {launch.seed}"
        findings += [f._replace(text=f.text + order) for f in others if f.rank < known.get(f.key, len(GRADES))]
        if difference and not self._runtime.rounded() and all(f.grade != "error" for f in findings):
            kind = "a result that depends on the order of blocks"
            text = f"{kind}: {difference} (seed {launch.seed}). A GPU runs blocks in any order"
            findings.append(Finding("error", kind, text))
        return counts, findings

    def _writable(self, args: Sequence[Any]) -> list[Writable]:
        """Return the memory that a launch with `args` may write."""
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
    """Compile a CUDA source and load it; arguments and errors as for `compile_kernels`."""
    path = compile_kernels(source, name, options, mode, expressions)
    return Library(path, mode, allowed_lines(source, name))
