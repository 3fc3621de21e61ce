"""A C++ kernel for the CPU, recorded as a node of a step, with checked arguments."""

from __future__ import annotations

import ctypes
import functools
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np

from gpunet.cuda.signature import Signature
from gpunet.cuda.source import CTYPES, Declaration, read_source
from gpunet.device import kernels_path
from gpunet.native.compiler import compile_library
from gpunet.recording import note

Division = Literal["ROWS", "SLICES", "WHOLE"]

Range = tuple[int, int]
"""The addresses of the first byte of an array and of the first byte after it."""

ROW_COUNTS = ("rows",), ("m",)
"""The first name of an array's declared size if the rows of the array are those of the batch."""

CPU_KERNEL = Declaration(r"(?:static )?\bvoid %s", "kernel void %s(Int begin, Int end, ...)")


class Kernel:
    """A kernel of a C++ source, called as a node of a native step.

    Its signature in the source is its only declaration, as for `gpunet.cuda.Kernel`. The macro below it says how its
    work is divided (kernels/cpu/common.h).
    """

    def __init__(self, source: str | Path, name: str):
        self.path = kernels_path() / "cpu" / source
        self.name = name
        self.signature = Signature(self.path, name, CPU_KERNEL, skip=2)

    @functools.cached_property
    def division(self) -> Division:
        """How the work of the kernel is divided."""
        found = re.search(rf"^(ROWS|SLICES|WHOLE)\({self.name}\)", read_source(self.path), re.MULTILINE)
        assert found is not None, f"{self.path}: no ROWS, SLICES or WHOLE after {self.name}"
        return found[1]  # type: ignore[return-value]

    def __call__(self, *args: Any, options: Mapping[str, Any] | None = None, **parts: int) -> None:
        """Record a call of the kernel in the current step; arguments as for `bind`."""
        note(self.bind(*args, options=options, **parts))

    def bind(self, *args: Any, options: Mapping[str, Any] | None = None, count: int = 1, grain: int = 0) -> Node:
        """Return the node that calls the kernel; checks the arguments as `gpunet.cuda.Kernel.prepare` does.

        Args:
            *args: the arguments of the kernel's signature after `begin` and `end`.
            options: macros for the compiler.
            count: number of rows or output elements to divide; 1 for a WHOLE kernel.
            grain: size of a part of a SLICES kernel.
        """
        args = tuple(a.view(np.ndarray) if isinstance(a, np.ndarray) else a for a in args)
        values, dtype = self.signature.check(args, {}, sys.maxsize)
        flags = tuple(f"-D{key}={value}" for key, value in {"REAL": CTYPES[dtype], **(options or {})}.items())
        return Node(self, args, values, flags, count, grain or count)


class Node:
    """A call of a kernel with its arguments.

    Attributes:
        args: its arguments, which keep the arrays alive.
        flags: the macros that the kernel is compiled with.
        count, grain: as for `Kernel.bind`.
        slots: (arguments,) int64, the arguments as the kernel reads them: addresses, integers, the bits of doubles.
        ranges: the address ranges of its arrays, by their index in `slots`.
        reads, writes: ranges that the kernel only reads, and that it may write.
        shared: ranges that every part of a ROWS kernel may read, such as the second operand of a product: arrays whose
            declared size does not begin with the number of rows.
    """

    def __init__(
        self,
        kernel: Kernel,
        args: tuple[Any, ...],
        values: dict[str, Any],
        flags: tuple[str, ...],
        count: int,
        grain: int,
    ):
        self.kernel, self.args, self.flags, self.count, self.grain = kernel, args, flags, count, grain
        self.slots = np.zeros(max(len(args), 1), np.int64)
        reals = self.slots.view(np.float64)
        self.ranges: dict[int, Range] = {}
        self.reads: list[Range] = []
        self.writes: list[Range] = []
        self.shared: set[Range] = set()
        for i, (p, value) in enumerate(zip(kernel.signature.parameters, values.values(), strict=True)):
            if not p.pointer:
                (reals if isinstance(value, np.floating) else self.slots)[i] = value
            elif value is not None:
                start = self.slots[i] = address(value)
                self.ranges[i] = int(start), int(start) + value.nbytes
                (self.reads if p.const else self.writes).append(self.ranges[i])
                if p.size is None or p.size.co_names[:1] not in ROW_COUNTS:
                    self.shared.add(self.ranges[i])

    @property
    def calls_blas(self) -> bool:
        """Whether the kernel calls the BLAS function that its argument `gemm` points to."""
        return self.kernel.signature.parameters[0].name == "gemm"

    def function(self) -> int:
        """Return the address of the compiled kernel, compiled unless it is cached."""
        return _function(self.kernel.path, self.flags, self.kernel.name)

    @property
    def cost(self) -> tuple[int, int | None]:
        """Bytes and FLOPs of a call, as declared in the source."""
        return self.kernel.signature.cost(self.args, {})


def address(a: np.ndarray) -> int:
    """Return the address of the first element of a C-contiguous array."""
    buffer: Any = a  # before Python 3.12 types have no buffer protocol
    try:
        return ctypes.addressof(ctypes.c_char.from_buffer(buffer))  # 6x faster than a.ctypes.data
    except (TypeError, ValueError):  # read-only or empty
        return a.__array_interface__["data"][0]


@functools.cache
def library(path: Path, flags: tuple[str, ...]) -> ctypes.CDLL:
    """Return the compiled library of a source in `kernels/cpu/`."""
    return ctypes.CDLL(str(compile_library(read_source(path), f"kernels/cpu/{path.name}", flags)))


def _function(path: Path, flags: tuple[str, ...], name: str) -> int:
    function = getattr(library(path, flags), f"gpunet_{name}")
    return ctypes.cast(function, ctypes.c_void_p).value or 0
