"""Compile a CUDA source and launch its kernels with checked arguments.

The signature of a kernel in its `.cu` file is its only declaration, and a launch is held to it:

    extern "C" __global__ void scale(
        const T* x,         // [rows * n]
        const T* factors,   // [n] or null
        T* y,               // [rows * n]
        int rows, int n)

A pointer takes a C-contiguous array of its dtype with at least the elements in brackets (an expression of the integer
parameters), or None where the comment says "or null"; a scalar takes a Python or NumPy number. `T` is whatever the
arrays hold: the compiler gets it as `-DREAL=float` and the source says `using T = REAL;`. A kernel is compiled once for
each T, set of options and device.

    SCALE = Kernel("scale.cu", "scale")
    SCALE((blocks,), (256,), x, None, y, rows, n, options={"TILE": 32})
"""

from __future__ import annotations

import functools
import math
import operator
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any, NamedTuple

import numpy as np

from gpunet.device import Array, array_module, device_of, kernels_path
from gpunet.errors import ArgumentError, DTypeError, GpunetError, KernelError, ShapeError

MAX_ELEMENTS = 2**31 - 1
"""Kernels count elements in int32."""

MAX_GRID = (2**31 - 1, 65_535, 65_535)
MAX_THREADS = 1024
MAX_SHARED = 48 * 1024

DTYPES = {
    "float": np.dtype(np.float32),
    "double": np.dtype(np.float64),
    "int": np.dtype(np.int32),
    "long long": np.dtype(np.int64),
    "unsigned": np.dtype(np.uint32),
    "unsigned long long": np.dtype(np.uint64),
    "unsigned char": np.dtype(np.uint8),
    "bool": np.dtype(bool),
}
CTYPES = {dtype: ctype for ctype, dtype in DTYPES.items()}

NULL = np.uint64(0)  # CuPy passes it on as it is; it has no null pointer of its own


class Parameter(NamedTuple):
    """A parameter of a kernel, as its source declares it."""

    name: str
    ctype: str
    pointer: bool
    size: CodeType | None
    optional: bool


class Kernel:
    """A kernel of a CUDA source, compiled when it is first launched.

    Args:
        source: a file name in `kernels/`, or the path of a file of your own.
        name: the `extern "C" __global__` function in it.
    """

    def __init__(self, source: str | Path, name: str):
        self.path = kernels_path() / source
        self.name = name

    @functools.cached_property
    def parameters(self) -> tuple[Parameter, ...]:
        """What the source declares."""
        return parse_parameters(read_source(self.path), self.name)

    def __call__(
        self,
        grid: tuple[int, ...],
        block: tuple[int, ...],
        *args: Any,
        options: Mapping[str, Any] | None = None,
        shared: int = 0,
    ) -> None:
        """Launch the kernel; arguments and errors as for `prepare`."""
        self.prepare(grid, block, *args, options=options, shared=shared)()

    def prepare(
        self,
        grid: tuple[int, ...],
        block: tuple[int, ...],
        *args: Any,
        options: Mapping[str, Any] | None = None,
        shared: int = 0,
    ) -> Callable[[], None]:
        """Check the arguments and compile; return the launch, which may be called again and again.

        Args:
            grid: blocks along x, y and z; where one is 0 the launch does nothing.
            block: threads along x, y and z, 1,024 at most in all.
            *args: what the kernel's signature asks for.
            options: macros for the compiler.
            shared: bytes of dynamic shared memory, 48 KiB at most.

        Raises:
            KernelError: no such kernel, a source that does not compile, a wrong number of arguments, a grid, block or
                shared memory that no GPU takes.
            DTypeError: an array or number of another dtype than the parameter; an array where a number belongs.
            ShapeError: an array with fewer elements than the declaration asks for, or not C-contiguous, or too large.
            ArgumentError: None for a pointer that may not be null, a number that does not fit its type.
            DeviceMismatchError: arrays on different devices.
        """
        if len(args) != len(self.parameters):
            names = ", ".join(p.name for p in self.parameters)
            raise KernelError(f"{self.name}: {len(args)} arguments given, {len(self.parameters)} expected: {names}.")
        named = dict(zip((p.name for p in self.parameters), args, strict=True))
        arrays = {p.name: named[p.name] for p in self.parameters if p.pointer and named[p.name] is not None}
        if array_module(**arrays) is np:
            raise KernelError(
                f"{self.name}: its arrays are in host memory; a kernel runs on the device 'cuda' or 'sim'."
            )
        dtype = self._dtype(arrays)
        scalars = {p.name: self._scalar(p, named[p.name], dtype) for p in self.parameters if not p.pointer}
        for p in self.parameters:
            if p.pointer:
                self._check_array(p, named[p.name], dtype, scalars)
        self._check_launch(grid, block, shared)
        if 0 in grid:
            return lambda: None

        device = device_of(next(iter(arrays.values())))
        macros = {} if dtype is None else {"REAL": CTYPES[dtype]}
        flags = tuple(f"-D{key}={value}" for key, value in {**macros, **(options or {})}.items())
        place = device.xp.cuda.Device(device.index)
        with place:
            function = _module(device.xp, device.name, self.path, flags).get_function(self.name)
        values = tuple(
            scalars[p.name] if not p.pointer else NULL if named[p.name] is None else named[p.name]
            for p in self.parameters
        )

        def launch() -> None:
            with place:
                function(grid, block, values, shared_mem=shared)

        return launch

    def _dtype(self, arrays: Mapping[str, Array]) -> np.dtype[Any] | None:
        """Return what T stands for: the dtype of the first array that a `T*` takes."""
        for p in self.parameters:
            if p.ctype == "T" and p.name in arrays:
                dtype = np.dtype(arrays[p.name].dtype)
                if dtype not in CTYPES:
                    raise DTypeError(f"{self.name}: {p.name} is {dtype}; kernels take {', '.join(map(str, CTYPES))}.")
                return dtype
        return None

    def _scalar(self, p: Parameter, value: Any, dtype: np.dtype[Any] | None) -> np.generic:
        wanted = dtype if p.ctype == "T" and dtype is not None else DTYPES[p.ctype]
        if not isinstance(value, int | float | np.number | np.bool_):
            raise DTypeError(f"{self.name}: {p.name} must be a number, got {type(value).__name__}.")
        try:
            return wanted.type(value if wanted.kind == "f" else operator.index(value))
        except (TypeError, OverflowError):
            raise ArgumentError(f"{self.name}: {p.name}={value!r} is no {wanted}.") from None

    def _check_array(
        self, p: Parameter, a: Array, dtype: np.dtype[Any] | None, scalars: Mapping[str, np.generic]
    ) -> None:
        if a is None:
            if not p.optional:
                raise ArgumentError(f"{self.name}: {p.name} is None; it needs an array.")
            return
        wanted = dtype if p.ctype == "T" else DTYPES[p.ctype]
        if a.dtype != wanted:
            raise DTypeError(f"{self.name}: {p.name} is {a.dtype}, expected {wanted}.")
        if not a.flags.c_contiguous:
            raise ShapeError(f"{self.name}: {p.name} is not C-contiguous (strides {a.strides}); make it a copy.")
        if a.size > MAX_ELEMENTS:
            raise ShapeError(f"{self.name}: {p.name} has {a.size} elements, over {MAX_ELEMENTS}; split it.")
        if p.size is not None:
            wanted_size = eval(p.size, {"__builtins__": {}}, {name: int(value) for name, value in scalars.items()})
            if a.size < wanted_size:
                raise ShapeError(f"{self.name}: {p.name} has {a.size} elements, the launch needs {wanted_size}.")

    def _check_launch(self, grid: tuple[int, ...], block: tuple[int, ...], shared: int) -> None:
        if not 1 <= len(grid) <= 3 or any(not 0 <= n <= most for n, most in zip(grid, MAX_GRID, strict=False)):
            raise KernelError(f"{self.name}: grid {grid} exceeds what a GPU takes, {MAX_GRID} along x, y, z.")
        if not 1 <= len(block) <= 3 or min(block) < 1 or math.prod(block) > MAX_THREADS:
            raise KernelError(f"{self.name}: block {block} must have 1 to {MAX_THREADS} threads in all.")
        if not 0 <= shared <= MAX_SHARED:
            raise KernelError(f"{self.name}: {shared} bytes of shared memory; a block has {MAX_SHARED} at most.")


@functools.cache
def _module(xp: ModuleType, device: str, path: Path, flags: tuple[str, ...]) -> Any:
    """Return the compiled module of `xp` for one device."""
    try:
        module = xp.RawModule(code=read_source(path), options=("-std=c++17", *flags))
        module.compile()
    except GpunetError:
        raise
    except Exception as error:  # CuPy's compiler, loader and driver each have their own
        raise KernelError(f"{path} does not compile with {' '.join(flags) or 'no options'}:\n{error}") from error
    return module


@functools.cache
def read_source(path: Path) -> str:
    """Return a CUDA source with the headers beside it put in place, so that a compiler's cache sees them change.

    Raises:
        KernelError: the file or a header that it includes is not there.
    """
    return _expanded(path, set())


def _expanded(path: Path, seen: set[Path]) -> str:
    seen.add(path)
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise KernelError(f"{path} cannot be read: {error.strerror}.") from None
    lines = [f'#line 1 "{path.name}"']
    for number, line in enumerate(text.splitlines(), 1):
        if include := re.fullmatch(r'\s*#include\s+"([^"]+)".*', line):
            header = path.parent / include[1]
            lines += [*([] if header in seen else [_expanded(header, seen)]), f'#line {number + 1} "{path.name}"']
        else:
            lines.append(line)
    return "\n".join(lines) + "\n"


def parse_parameters(source: str, name: str) -> tuple[Parameter, ...]:
    """Return the parameters of the kernel `name` as its source declares them.

    Raises:
        KernelError: no such kernel, or a parameter of a type that no array or number has.
    """
    found = re.search(rf'extern\s+"C"\s+__global__[^;{{]*?\b{name}\s*\((.*?)\)\s*\{{', source, re.DOTALL)
    if found is None:
        raise KernelError(f'there is no kernel extern "C" __global__ ... {name}(...) in the source.')
    return tuple(
        _parameter(name, declaration, comment)
        for line in found[1].splitlines()
        for declarations, _, comment in [line.partition("//")]
        for declaration in declarations.split(",")
        if declaration.strip()
    )


def _parameter(kernel: str, declaration: str, comment: str) -> Parameter:
    words = re.sub(r"\b(const|__restrict__)\b", " ", declaration).replace("*", " * ").split()
    ctype, parameter = " ".join(word for word in words[:-1] if word != "*"), words[-1]
    if ctype != "T" and ctype not in DTYPES:
        raise KernelError(f"{kernel}: the type of {declaration.strip()!r} is none of T, {', '.join(DTYPES)}.")
    size = re.search(r"\[(.*?)\]", comment)
    code = compile(size[1].strip(), kernel, "eval") if size else None
    return Parameter(parameter, ctype, "*" in words, code, "or null" in comment)
