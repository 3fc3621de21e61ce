"""A kernel of a CUDA source: compiled when it is first launched, its arguments checked at each launch."""

from __future__ import annotations

import functools
import math
import operator
from collections.abc import Callable, Mapping
from pathlib import Path
from types import CodeType
from typing import Any

import numpy as np

from gpunet.cuda.source import CTYPES, DTYPES, Parameter, parse_flops, parse_parameters, read_source
from gpunet.cuda.trace import Launch, tracing
from gpunet.device import Device, array_module, device_of, kernels_path
from gpunet.errors import ArgumentError, CompileError, DeviceError, DTypeError, GpunetError, ShapeError
from gpunet.faults import launch_numbers, raise_fault

MAX_ELEMENTS = 2**31 - 2**12
"""Kernels count elements in int32, and the last block runs past the end by up to a tile."""

MAX_GRID = (2**31 - 1, 65_535, 65_535)
MAX_THREADS = 1024
MAX_SHARED = 48 * 1024
REFUSALS = (1, 701)  # CUDA_ERROR_INVALID_VALUE, CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES

NULL = np.uint64(0)  # CuPy passes it on as it is; it has no null pointer of its own


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

    @functools.cached_property
    def flops(self) -> CodeType | None:
        """How many floating-point operations a launch does, as the line "FLOPs: ..." before the kernel says."""
        return parse_flops(read_source(self.path), self.name)

    def __call__(self, grid: tuple[int, ...], block: tuple[int, ...], *args: Any, **keywords: Any) -> None:
        """Launch the kernel; arguments and errors as for `prepare`."""
        self.prepare(grid, block, *args, **keywords)()

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
            CompileError: no such kernel, or a source that does not compile.
            ArgumentError: a wrong number of arguments, None for a pointer that may not be null, a number that does not
                fit its type; a grid, block or shared memory that no GPU takes.
            DTypeError: an array of another dtype than the parameter, or what is no array or number.
            ShapeError: an array with fewer elements than the declaration asks for, not C-contiguous, or too large.
            DeviceError: arrays in host memory, or on different devices.

        The launch raises `ArgumentError` where this kernel may not be launched so, and `KernelError` for a fault: on
        "sim" its own, on CUDA that of an earlier launch; its own is raised when the GPU is waited for.
        """
        values, dtype = self.check(grid, block, *args, shared=shared)
        arrays = {p.name: a for p, a in zip(self.parameters, args, strict=True) if p.pointer and a is not None}
        if array_module(**arrays) is np:
            raise DeviceError(
                f"{self.name}: its arrays are in host memory; move them: gn.get_device('cuda').asarray(array)."
            )
        if 0 in grid:
            return lambda: None
        device = device_of(next(iter(arrays.values())))
        flags = tuple(f"-D{key}={value}" for key, value in {"REAL": CTYPES[dtype], **(options or {})}.items())
        with device.activate():
            function = _module(device, self.path, flags).get_function(self.name)
        place, launched, label = device.xp.cuda.Device(device.index), device.launched, f"{self.name} ({self.path.name})"

        def launch() -> None:
            try:
                with place:
                    function(grid, block, values, shared_mem=shared)
            except RuntimeError as error:
                raise_fault(error, device.name, launched, label)
                if getattr(error, "status", None) not in REFUSALS:
                    raise
                raise ArgumentError(
                    f"{label}: the GPU refuses a launch of grid {grid} and block {block} with {shared} bytes of "
                    f"dynamic shared memory ({error}); its __launch_bounds__, registers or shared memory allow no more."
                ) from error
            launched[label] = next(launch_numbers)
            if (traced := tracing.get()) is not None:
                traced.append(self._launch(grid, block, args, options or {}))

        return launch

    def _launch(
        self, grid: tuple[int, ...], block: tuple[int, ...], args: tuple[Any, ...], options: Mapping[str, Any]
    ) -> Launch:
        given = list(zip(self.parameters, args, strict=True))
        known = self._integers({p.name: value for p, value in given if not p.pointer}, grid)
        arrays = {p: a for p, a in given if p.pointer and a is not None}
        sizes = (a.size if p.size is None else eval(p.size, {}, known) for p, a in arrays.items())
        nbytes = sum(size * a.itemsize for size, a in zip(sizes, arrays.values(), strict=True))
        flops = None if self.flops is None else int(eval(self.flops, {}, known))
        return Launch(
            self.name, {p.name: a.shape for p, a in arrays.items()}, grid, block, dict(options), nbytes, flops
        )

    @staticmethod
    def _integers(scalars: Mapping[str, Any], grid: tuple[int, ...]) -> dict[str, int]:
        """Return what the expressions of a declaration may speak of."""
        known = {name: int(value) for name, value in scalars.items() if np.dtype(type(value)).kind in "iu"}
        return known | dict(zip(("grid_x", "grid_y", "grid_z"), (*grid, 1, 1), strict=False))

    def check(
        self, grid: tuple[int, ...], block: tuple[int, ...], *args: Any, shared: int = 0
    ) -> tuple[tuple[Any, ...], np.dtype[Any]]:
        """Return the arguments as they are passed on, and what T stands for. Errors as for `prepare`."""
        if not (isinstance(grid, tuple) and isinstance(block, tuple)):
            raise ArgumentError(f"{self.name}: grid {grid!r} and block {block!r} must be tuples, such as (64,).")
        if not 1 <= len(grid) <= 3 or any(not 0 <= n <= most for n, most in zip(grid, MAX_GRID, strict=False)):
            raise ArgumentError(f"{self.name}: grid {grid} exceeds what a GPU takes, {MAX_GRID} along x, y, z.")
        if not 1 <= len(block) <= 3 or min(block) < 1 or math.prod(block) > MAX_THREADS:
            raise ArgumentError(f"{self.name}: block {block} must have 1 to {MAX_THREADS} threads in all.")
        if not 0 <= shared <= MAX_SHARED:
            raise ArgumentError(f"{self.name}: {shared} bytes of shared memory; a block has {MAX_SHARED} at most.")
        if len(args) != len(self.parameters):
            names = ", ".join(p.name for p in self.parameters)
            raise ArgumentError(f"{self.name}: {len(args)} arguments given, {len(self.parameters)} expected: {names}.")
        given = list(zip(self.parameters, args, strict=True))
        dtype = next(
            (a.dtype for p, a in given if p.ctype == "T" and p.pointer and hasattr(a, "dtype")), DTYPES["float"]
        )
        if dtype not in CTYPES:
            raise DTypeError(f"{self.name}: {dtype} arrays given; kernels take {', '.join(map(str, CTYPES))}.")
        values: dict[str, Any] = {p.name: self._scalar(p, value, dtype) for p, value in given if not p.pointer}
        known = self._integers(values, grid)
        for p, a in given:
            if p.pointer:
                self._check_array(p, a, dtype, known)
                values[p.name] = NULL if a is None else a
        return tuple(values[p.name] for p in self.parameters), dtype

    def _scalar(self, p: Parameter, value: Any, dtype: np.dtype[Any]) -> Any:
        wanted: Any = dtype if p.ctype == "T" else DTYPES[p.ctype]
        if not isinstance(value, int | float | np.integer | np.floating | np.bool_):
            raise DTypeError(f"{self.name}: {p.name} must be a number, got {type(value).__name__}.")
        try:
            return wanted.type(value if wanted.kind == "f" else operator.index(value))  # type: ignore[arg-type]
        except (TypeError, OverflowError):
            raise ArgumentError(f"{self.name}: {p.name}={value!r} is no {wanted}.") from None

    def _check_array(self, p: Parameter, a: Any, dtype: np.dtype[Any], known: Mapping[str, int]) -> None:
        if a is None:
            if not p.optional:
                raise ArgumentError(f"{self.name}: {p.name} is None; it needs an array.")
            return
        wanted = dtype if p.ctype == "T" else DTYPES[p.ctype]
        if getattr(a, "dtype", None) != wanted:
            raise DTypeError(f"{self.name}: {p.name} must be an array of {wanted}, got {getattr(a, 'dtype', type(a))}.")
        if not a.flags.c_contiguous:
            raise ShapeError(f"{self.name}: {p.name} is not C-contiguous (strides {a.strides}); make it a copy.")
        if a.size > MAX_ELEMENTS:
            raise ShapeError(f"{self.name}: {p.name} has {a.size} elements, over {MAX_ELEMENTS}; split it.")
        if p.size is not None and a.size < (least := eval(p.size, {"__builtins__": {}}, dict(known))):
            raise ShapeError(f"{self.name}: {p.name} has {a.size} elements, the launch needs {least}.")


@functools.cache
def _module(device: Device, path: Path, flags: tuple[str, ...]) -> Any:
    """Return the compiled module for one device."""
    try:
        module = device.xp.RawModule(code=read_source(path), options=("-std=c++17", *flags))
        module.compile()
    except GpunetError:
        raise
    except Exception as error:  # CuPy's compiler, loader and driver each have their own
        raise_fault(error, device.name, device.launched)
        raise CompileError(f"{path} does not compile with {' '.join(flags) or 'no options'}:\n{error}") from error
    return module
