"""A kernel of a CUDA source: compiled at its first launch, its arguments checked at every launch."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from gpunet.cuda.signature import Signature
from gpunet.cuda.source import CTYPES, read_source
from gpunet.cuda.trace import Launch, tracing
from gpunet.device import Device, array_module, device_of, kernels_path
from gpunet.errors import ArgumentError, CompileError, DeviceError, GpunetError, located
from gpunet.faults import launch_numbers, raise_fault

MAX_ELEMENTS = 2**31 - 2**12
"""Kernels index elements with int32, and the last block runs past the end by up to a tile."""

MAX_GRID = (2**31 - 1, 65_535, 65_535)
MAX_THREADS = 1024
MAX_SHARED = 48 * 1024
REFUSALS = (1, 701, 720, 801)
"""CUDA error codes of a rejected launch: invalid value, out of resources, cooperative launch too large, not
supported."""

NULL = np.uint64(0)  # CuPy has no null pointer, but passes this number unchanged


class Kernel:
    """A kernel of a CUDA source, compiled at its first launch.

    Args:
        source: a file name in `kernels/`, or the path of your own file.
        name: the `extern "C" __global__` function.
    """

    def __init__(self, source: str | Path, name: str):
        self.path = kernels_path() / source
        self.name = name
        self.signature = Signature(self.path, name)

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
        cooperative: bool = False,
    ) -> Callable[[], None]:
        """Check the arguments and compile; return the launch, which can be called repeatedly.

        The launch raises `ArgumentError` if the GPU rejects it, and `KernelError` for a fault. On "sim" the fault is in
        this launch, on CUDA in an earlier one.

        Args:
            grid: blocks along x, y and z; if one of them is 0 the launch does nothing.
            block: threads along x, y and z, at most 1,024 in total.
            options: macros for the compiler.
            shared: bytes of dynamic shared memory, at most 48 KiB.
            cooperative: whether all blocks must be resident at once, as a grid barrier requires.

        Raises:
            CompileError: no such kernel, or the source does not compile.
            DeviceError: arrays in host memory.
        """
        values, dtype = self.check(grid, block, *args, shared=shared)
        arrays = {p.name: a for p, a in self.signature.arrays(args)}
        if array_module(**arrays) is np:
            raise DeviceError(
                f"{self.name}: the arrays are in host memory; move them: gn.get_device('cuda').asarray(array)."
            )
        if 0 in grid:
            return lambda: None
        device = device_of(next(iter(arrays.values())))
        flags = tuple(f"-D{key}={value}" for key, value in {"REAL": CTYPES[dtype], **(options or {})}.items())
        own = [code for name, code in (options or {}).items() if name.startswith("USER_")]
        with device.activate(), located(f"CustomActivation(…, cuda={(*own,)}): " if own else ""):
            function = _module(device, self.path, flags, cooperative).get_function(self.name)
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
                    f"{label}: the GPU rejects a launch of grid {grid} and block {block} with {shared} bytes of "
                    f"dynamic shared memory ({error}); reduce the grid, block or shared memory: the kernel's "
                    "__launch_bounds__, registers and shared memory limit them."
                ) from error
            launched[label] = next(launch_numbers)
            if (traced := tracing.get()) is not None:
                traced.append(self._launch(grid, block, args, options or {}))

        return launch

    def _launch(
        self, grid: tuple[int, ...], block: tuple[int, ...], args: tuple[Any, ...], options: Mapping[str, Any]
    ) -> Launch:
        shapes = {p.name: a.shape for p, a in self.signature.arrays(args)}
        return Launch(self.name, shapes, grid, block, dict(options), *self.signature.cost(args, _blocks(grid)))

    def check(
        self, grid: tuple[int, ...], block: tuple[int, ...], *args: Any, shared: int = 0
    ) -> tuple[tuple[Any, ...], np.dtype[Any]]:
        """Return the arguments as they are passed to the kernel, and the dtype of T; errors as for `prepare`."""
        if not (isinstance(grid, tuple) and isinstance(block, tuple)):
            raise ArgumentError(f"{self.name}: grid {grid!r} and block {block!r} must be tuples, such as (64,).")
        if not 1 <= len(grid) <= 3 or any(not 0 <= n <= most for n, most in zip(grid, MAX_GRID, strict=False)):
            raise ArgumentError(f"{self.name}: grid {grid} exceeds the limits of a GPU, {MAX_GRID} along x, y, z.")
        if not 1 <= len(block) <= 3 or min(block) < 1 or math.prod(block) > MAX_THREADS:
            raise ArgumentError(f"{self.name}: block {block} must have 1 to {MAX_THREADS} threads in total.")
        if not 0 <= shared <= MAX_SHARED:
            raise ArgumentError(f"{self.name}: {shared} bytes of shared memory; a block has at most {MAX_SHARED}.")
        values, dtype = self.signature.check(args, _blocks(grid), MAX_ELEMENTS)
        return tuple(NULL if value is None else value for value in values.values()), dtype


def _blocks(grid: tuple[int, ...]) -> dict[str, int]:
    """Return the grid dimensions by the names that a declaration's sizes use."""
    return dict(zip(("grid_x", "grid_y", "grid_z"), (*grid, 1, 1), strict=False))


@functools.cache
def _module(device: Device, path: Path, flags: tuple[str, ...], cooperative: bool) -> Any:
    """Return the compiled module for a device."""
    try:
        module = device.xp.RawModule(
            code=read_source(path), options=("-std=c++17", *flags), enable_cooperative_groups=cooperative
        )
        module.compile()
    except GpunetError:
        raise
    except Exception as error:  # CuPy's compiler, loader and driver raise different exceptions
        raise_fault(error, device.name, device.launched)
        raise CompileError(f"{path} does not compile with {' '.join(flags) or 'no options'}:\n{error}") from error
    return module
