"""The array-module shim: which array library makes new arrays, and how they get there and back.

A `Device` names a place ("cpu", "cuda:0", "sim") and the module that computes there (numpy, cupy, gpunet.simulator).
`use_device` decides where *new* arrays and parameters are made; an operation takes its module from the arrays that it
is given (`array_module`). CuPy and the simulator are imported only when their device is asked for.
"""

from __future__ import annotations

import functools
import math
import os
import re
import sys
from contextlib import AbstractContextManager, nullcontext
from contextvars import ContextVar, Token
from pathlib import Path
from types import ModuleType, TracebackType
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import DTypeLike

from gpunet.attributes import Strict
from gpunet.errors import DeviceError, DeviceMismatchError, DTypeError
from gpunet.faults import raise_fault

Array: TypeAlias = Any
"""An `ndarray` of numpy, cupy or gpunet.simulator. No library has a type that covers them all."""

CUPY_PACKAGES = "'cupy-cuda12x[ctk]>=14.2' for a CUDA 12 driver, 'cupy-cuda13x[ctk]>=14.2' for CUDA 13"


def kernels_path() -> Path:
    """Return the folder of the CUDA sources: inside the package in a wheel, beside it in a checkout."""
    package = Path(__file__).parent
    return next(p for p in (package / "kernels", package.parent / "kernels") if p.is_dir())


class Device(Strict):
    """A place where arrays live and are computed with.

    Attributes:
        name: "cpu", "cuda:N" for the N-th GPU, or "sim" for the simulated one.
        xp: the array module: `numpy`, `cupy` or `gpunet.simulator`.
        host_reads: how often `to_host` copied something back; a training epoch reads once, at its end.
        launched: what was launched since the GPU was last waited for, to be named where there was a fault: a kernel
            with its file, and the number of its last launch. Whoever launches notes
            `launched[name] = next(launch_numbers)`.

    Example:
        >>> device = gn.get_device("cpu")
        >>> device.name, device.xp.__name__
        ('cpu', 'numpy')
        >>> device.asarray([1, 2])
        array([1, 2])
    """

    def __init__(self, name: str, xp: ModuleType):
        self.name = name
        self.xp = xp
        self.host_reads = 0
        self.launched: dict[str, int] = {}

    @functools.cached_property
    def index(self) -> int:
        """The GPU's number; 0 for the CPU and the simulated GPU."""
        return int(self.name.partition(":")[2] or 0)

    def activate(self) -> AbstractContextManager[Any]:
        """Return a block in which CuPy allocates and computes on this GPU; nothing to do on the CPU.

        A kernel's fault that CuPy meets in it, whichever call it was, becomes a `KernelError` (see `synchronize`).
        """
        return _NOTHING if self.xp is np else _Active(self)

    def asarray(self, x: Any, dtype: DTypeLike | None = None) -> Array:
        """Return `x` (an array of any device, or what NumPy takes) as an array on this device: itself if it is one."""
        if type(x) is self.xp.ndarray and (dtype is None or x.dtype == dtype) and device_of(x) is self:
            return x
        if self.xp is np:
            return np.asarray(to_host(x), dtype)
        with self.activate():
            return self.xp.asarray(x, dtype)

    def assign(self, target: Array, value: Any) -> None:
        """Copy `value` (as for `asarray`) into `target`, an array on this device."""
        with self.activate():
            target[...] = self.asarray(value, target.dtype)

    def to_host(self, a: Array) -> np.ndarray:
        """Return `a` as a NumPy array (itself where it is one) and count the read.

        On a GPU this waits for the GPU.

        Raises:
            KernelError: as for `synchronize`.
        """
        self.host_reads += 1
        if self.xp is np:
            return np.asarray(a)
        with self.activate():
            host: np.ndarray = self.xp.asnumpy(a)
        self.launched.clear()
        return host

    def free_bytes(self) -> int:
        """Return how much memory is free, of the GPU or of the host."""
        if self.name.startswith("cuda"):
            with self.activate():
                return int(self.xp.cuda.runtime.memGetInfo()[0])
        pages = os.sysconf("SC_AVPHYS_PAGES") if hasattr(os, "sysconf") else 0
        return pages * os.sysconf("SC_PAGE_SIZE") if pages else 0

    def synchronize(self) -> None:
        """Wait until all work queued on this device is done; nothing to wait for on the CPU.

        Raises:
            KernelError: a kernel that was launched since the last wait did something that no GPU survives, such as an
                access to an illegal address; names it, or those that it may be. On CUDA the process must start anew.
        """
        if self.xp is np:
            return
        with self.activate():
            self.xp.cuda.Device(self.index).synchronize()
        self.launched.clear()

    def __repr__(self) -> str:
        return f"Device({self.name!r})"

    def __reduce__(self) -> tuple[Any, ...]:
        return get_device, (self.name,)


_NOTHING = nullcontext()

CACHE_LINE = 64
"""Bytes. CuPy's arrays begin at multiples of more, NumPy's at any multiple of 16."""


class _Active:
    """The block of `Device.activate`: a class, since a generator costs a training step more than the block does."""

    def __init__(self, device: Device):
        self.device = device
        self.place = device.xp.cuda.Device(device.index)

    def __enter__(self) -> None:
        self.place.__enter__()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.place.__exit__(kind, error, trace)
        if isinstance(error, RuntimeError):
            raise_fault(error, self.device.name, self.device.launched)


CPU = Device("cpu", np)


@functools.cache
def _simulated_device() -> Device:
    """Return the simulated GPU. Its arrays work anywhere; a kernel launch raises `DeviceError` without a compiler."""
    from gpunet import simulator

    return Device("sim", simulator)


@functools.cache
def _cuda_device(index: int) -> Device:
    """Return the `index`-th GPU, or raise `DeviceError` naming what is missing. A trivial kernel must really run."""
    try:
        import cupy
    except Exception as error:  # an unwritable HOME, for one, is an OSError from CuPy's cache folder
        if isinstance(error, ModuleNotFoundError) and error.name == "cupy":
            raise DeviceError(f"cuda: CuPy is not installed. To use the GPU: pip install {CUPY_PACKAGES}.") from None
        raise DeviceError(f"cuda: CuPy is installed but cannot be imported: {error}") from error
    try:
        count = cupy.cuda.runtime.getDeviceCount()
    except cupy.cuda.runtime.CUDARuntimeError as error:
        raise DeviceError(
            f"cuda: no usable NVIDIA driver or GPU ({error}). Check `nvidia-smi`; the driver comes with the system."
        ) from error
    if index >= count:
        raise DeviceError(f"cuda:{index}: this machine has {count} GPU(s), numbered from 0.")
    try:
        with cupy.cuda.Device(index):
            probe = cupy.RawKernel((kernels_path() / "probe.cu").read_text(encoding="utf-8"), "probe")
            out = cupy.zeros(32, np.int32)
            probe((1,), (32,), (out, np.int32(out.size)))
            ran = np.array_equal(cupy.asnumpy(out), np.arange(32))
    except Exception as error:
        raise DeviceError(
            f"cuda:{index}: a trivial kernel could not be compiled and run ({error}). NVRTC or the CUDA headers may be "
            f"missing: pip install {CUPY_PACKAGES}."
        ) from error
    if not ran:
        raise DeviceError(f"cuda:{index}: a trivial kernel ran and gave wrong numbers; the driver may not fit CuPy.")
    return Device(f"cuda:{index}", cupy)


def get_device(spec: str | Device) -> Device:
    """Return the device that `spec` names: "auto", "cpu", "cuda", "cuda:N" or "sim"; a `Device` is returned as it is.

    "auto" is CUDA where a trivial kernel really compiles and runs, else the CPU.

    Raises:
        DeviceError: an unknown spec, or a CUDA device that cannot be used; the message names the missing part.

    Example:
        >>> gn.get_device("cpu").name
        'cpu'
    """
    if isinstance(spec, Device):
        return spec
    if spec == "auto":
        return _auto()[0]
    if spec == "cpu":
        return CPU
    if spec == "sim":
        return _simulated_device()
    if match := re.fullmatch(r"cuda(?::(\d+))?", str(spec)):
        return _cuda_device(int(match[1] or 0))
    raise DeviceError(f"unknown device {spec!r}; use 'auto', 'cpu', 'cuda', 'cuda:N' or 'sim'.")


@functools.cache
def _auto() -> tuple[Device, str]:
    """Return what "auto" resolves to, and why."""
    try:
        return _cuda_device(0), "a kernel compiled and ran on the GPU"
    except DeviceError as error:
        return CPU, str(error)


def auto_reason() -> str:
    """Say in one sentence why "auto" chose the device it chose."""
    return _auto()[1]


_inside: ContextVar[Device] = ContextVar("gpunet_device")
_defaults: list[use_device] = []  # plain calls, oldest first: the last is the process's default


class use_device:
    """Decide where new arrays and parameters are made.

    `gn.use_device("cuda")` sets the process's default; `with gn.use_device("cuda"):` sets it inside the block only, for
    this thread or task. Unset, it is the environment variable `GPUNET_DEVICE`, else "auto".

    Args:
        spec: as for `get_device`.

    Raises:
        DeviceError: as for `get_device`.

    Example:
        >>> with gn.use_device("cpu"):
        ...     model = gn.MLP([4, 8, 3])
        >>> model.device.name
        'cpu'
    """

    def __init__(self, spec: str | Device):
        self.device = get_device(spec)
        self._tokens: list[Token[Device]] = []
        _defaults.append(self)

    def __enter__(self) -> Device:
        if self in _defaults:  # it turned out to be a block, not a plain call
            _defaults.remove(self)
        self._tokens.append(_inside.set(self.device))
        return self.device

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        _inside.reset(self._tokens.pop())


def current_device() -> Device:
    """Return the device on which new arrays and parameters are made.

    Example:
        >>> with gn.use_device("cpu"):
        ...     gn.current_device().name
        'cpu'
    """
    device = _inside.get(None)
    if device is not None:
        return device
    if _defaults:
        return _defaults[-1].device
    return get_device(os.environ.get("GPUNET_DEVICE", "auto"))


def _made_by(library: str, a: Any) -> bool:
    """Return whether `a` is an array of a library that may not be imported."""
    module = sys.modules.get(library)
    return module is not None and isinstance(a, module.ndarray)


def device_of(a: Array) -> Device:
    """Return the device that holds the array `a`."""
    if isinstance(a, np.ndarray | np.generic):
        return CPU
    if _made_by("cupy", a):
        return _cuda_device(a.device.id)
    if _made_by("gpunet.simulator", a):
        return _simulated_device()
    raise DTypeError(
        f"expected an array, got {type(a).__name__}; make one with numpy.asarray or gn.get_device(...).asarray."
    )


def array_module(*arrays: Array, **named: Array) -> ModuleType:
    """Return the module (numpy, cupy or gpunet.simulator) that computes with the arrays; `None`s are passed over.

    Args:
        *arrays: arrays, all on one device.
        **named: the same, with the argument names that an error should speak of.

    Raises:
        DeviceMismatchError: they live on different devices; says which is where and how to move it.
        DTypeError: something that is not an array.

    Example:
        >>> gn.array_module(np.zeros(2)).__name__
        'numpy'
    """
    for a in (*arrays, *named.values()):
        if type(a) is not np.ndarray and a is not None:
            break
    else:
        return np
    labelled = {**{f"array {i}": a for i, a in enumerate(arrays)}, **named}
    devices = {label: device_of(a) for label, a in labelled.items() if a is not None}
    if len({device.name for device in devices.values()}) > 1:
        places = ", ".join(f"{label} is on {device.name}" for label, device in devices.items())
        first = next(iter(devices.values())).name
        raise DeviceMismatchError(
            f"arrays on different devices: {places}. Move an array with gn.get_device({first!r}).asarray(array), "
            f"a model with model.to({first!r})."
        )
    return next(iter(devices.values())).xp


def aligned(shape: int | tuple[int, ...], dtype: DTypeLike, xp: ModuleType, *, zero: bool = False) -> Array:
    """Return an array of `xp`, uninitialised or of zeros, that begins at a cache line: for buffers that stay.

    Where a buffer does not, every other vector that the CPU loads lies in two lines: Adam took 172 µs in place of 154
    for 100,000 parameters.
    """
    make = xp.zeros if zero else xp.empty
    if xp is not np:
        return make(shape, dtype)
    nbytes = math.prod(shape if isinstance(shape, tuple) else (shape,)) * np.dtype(dtype).itemsize
    room = make(nbytes + CACHE_LINE, np.uint8)  # zeros come by pages that nobody has filled yet
    start = -room.ctypes.data % CACHE_LINE
    return room[start : start + nbytes].view(dtype).reshape(shape)


def on_device(a: Any) -> bool:
    """Return whether `a` is an array of a GPU, real or simulated."""
    return type(a) is not np.ndarray and (_made_by("cupy", a) or _made_by("gpunet.simulator", a))


def to_host(a: Any) -> Any:
    """Return the array `a` as a NumPy array; what is no array of a device is returned as it is.

    Example:
        >>> a = gn.get_device("sim").asarray([1.0, 2.0])
        >>> type(a).__module__, gn.to_host(a)
        ('gpunet.simulator.array', array([1., 2.]))
    """
    return device_of(a).to_host(a) if on_device(a) else a
