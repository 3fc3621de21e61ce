"""The array-module shim: devices, transfers between them, and the array module of an operation.

A `Device` pairs a name ("cpu", "cuda:0", "sim") with the array module that computes there. An operation takes its
module from its arguments (`array_module`); `default_device.py` selects the device of new arrays and parameters. CuPy
and the simulator are imported when their device is first used.
"""

from __future__ import annotations

import functools
import os
import re
import sys
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from types import ModuleType
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import DTypeLike

from gpunet.attributes import Strict
from gpunet.errors import DeviceError, DeviceMismatchError, DTypeError
from gpunet.faults import Active
from gpunet.probe import usable_cupy

Array: TypeAlias = np.ndarray[Any, Any]
"""An `ndarray` of numpy, cupy or gpunet.simulator. Type checkers see NumPy's, whose interface the others share."""


def kernels_path() -> Path:
    """Return the folder of the CUDA sources: inside the package in a wheel, next to it in a checkout."""
    package = Path(__file__).parent
    return next(p for p in (package / "kernels", package.parent / "kernels") if p.is_dir())


class Device(Strict):
    """A CPU or a GPU: it stores arrays and computes with them.

    Attributes:
        name: "cpu", "cuda:N" for the N-th GPU, or "sim" for the simulated one.
        xp: the array module: `numpy`, `cupy` or `gpunet.simulator`.
        host_reads: number of `to_host` calls; a training epoch makes one, at its end.
        launched: the number of the last launch of each kernel launched since the last synchronization.

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
        """The GPU's index; 0 for the CPU and the simulated GPU."""
        return int(self.name.partition(":")[2] or 0)

    def activate(self) -> AbstractContextManager[Any]:
        """Return a context manager that makes this GPU the current one; on the CPU it does nothing.

        It turns a kernel fault into a `KernelError` (see `synchronize`).
        """
        if self.xp is np:
            return _NOTHING
        return Active(self.xp.cuda.Device(self.index), self.name, self.launched)

    def asarray(self, x: Any, dtype: DTypeLike | None = None) -> Array:
        """Return an array or array-like as an array on this device, without a copy if it is one already."""
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
        """Return `a` as a NumPy array and count the read; waits and raises like `synchronize`."""
        self.host_reads += 1
        if self.xp is np:
            return np.asarray(a)
        with self.activate():
            host: np.ndarray = self.xp.asnumpy(a)
        self.launched.clear()
        return host

    def free_bytes(self) -> int:
        """Return the free memory of the GPU or the host in bytes; 0 if unknown."""
        if self.name.startswith("cuda"):
            with self.activate():
                return int(self.xp.cuda.runtime.memGetInfo()[0])
        pages = os.sysconf("SC_AVPHYS_PAGES") if hasattr(os, "sysconf") else 0
        return pages * os.sysconf("SC_PAGE_SIZE") if pages else 0

    def synchronize(self) -> None:
        """Wait until all work queued on this device is done; returns immediately on the CPU.

        Raises:
            KernelError: a kernel launched since the last synchronization failed, for example by an illegal memory
                access. On CUDA the process must be restarted.
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


CPU = Device("cpu", np)


@functools.cache
def _simulated_device() -> Device:
    """Return the simulated GPU. Its arrays always work; a kernel launch raises `DeviceError` without a C++ compiler."""
    from gpunet import simulator

    return Device("sim", simulator)


@functools.cache
def _cuda_device(index: int) -> Device:
    """Return the `index`-th GPU; errors as for `usable_cupy`."""
    return Device(f"cuda:{index}", usable_cupy(index, (kernels_path() / "probe.cu").read_text(encoding="utf-8")))


def get_device(spec: str | Device) -> Device:
    """Return the device named "auto", "cpu", "cuda", "cuda:N" or "sim"; a `Device` is returned unchanged.

    "auto" is CUDA if a trivial kernel compiles and runs there, else the CPU.

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
    """Return the device of "auto" and the reason."""
    try:
        return _cuda_device(0), "a kernel compiled and ran on the GPU"
    except DeviceError as error:
        return CPU, str(error)


def auto_reason() -> str:
    """Return the reason, as text, for the device that "auto" selected."""
    return _auto()[1]


def _made_by(library: str, a: Any) -> bool:
    """Return whether `a` is an array of `library`, without importing it."""
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


def array_module(*arrays: Array | None, **named: Array | None) -> ModuleType:
    """Return the array module (numpy, cupy or gpunet.simulator) of arrays on one device; `None`s are ignored.

    Args:
        **named: more arrays, with the names to use in an error message.

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


def on_device(a: Any) -> bool:
    """Return whether `a` is an array on a GPU, real or simulated."""
    return type(a) is not np.ndarray and (_made_by("cupy", a) or _made_by("gpunet.simulator", a))


def pointer(a: Array) -> int:
    """Return the address of the first element of a GPU's array, real or simulated."""
    memory: Any = a.data  # a MemoryPointer; the type of NumPy's `data` has no `ptr`
    return memory.ptr


def to_host(a: Any) -> Any:
    """Return an array on a GPU as a NumPy array, anything else unchanged.

    Example:
        >>> a = gn.get_device("sim").asarray([1.0, 2.0])
        >>> type(a).__module__, gn.to_host(a)
        ('gpunet.simulator.array', array([1., 2.]))
    """
    return device_of(a).to_host(a) if on_device(a) else a
