"""Device memory: host memory that knows its bounds, between guards, and in check mode which bytes were written."""

from __future__ import annotations

import os
import warnings
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar

import numpy as np

from gpunet.arguments import whole
from gpunet.errors import GpunetWarning
from gpunet.simulator.findings import Finding
from gpunet.simulator.stream import Device, counters, refuse_capture

ALIGNMENT = 512  # bytes, as CuPy's memory pool gives it
GUARD = np.full(256, 0xFFF5A5A5, np.uint32).tobytes()  # what lies around each piece; NaN in float32 and float64

_allocator: ContextVar[Callable[[int], MemoryPointer] | None] = ContextVar("gpunet_simulator_allocator", default=None)
_checked: ContextVar[bool | None] = ContextVar("gpunet_simulator_check", default=None)
_seed: ContextVar[int] = ContextVar("gpunet_simulator_seed", default=0)
_findings: ContextVar[list[Finding] | None] = ContextVar("gpunet_simulator_findings", default=None)


def checking() -> bool:
    """Return whether check mode is on: by `check_mode`, else by the environment variable `GPUNET_SIM_CHECK`.

    Example:
        >>> import gpunet.simulator as cp
        >>> with cp.check_mode():
        ...     cp.checking()
        True
    """
    by_block = _checked.get()
    return os.environ.get("GPUNET_SIM_CHECK", "0") not in ("", "0") if by_block is None else by_block


def order_seed() -> int:
    """Return the seed from which check mode draws its second order of blocks."""
    return _seed.get()


def collect(kernel: str, found: Sequence[Finding]) -> None:
    """Hand what was found to the block of `check_mode`; outside of one, a warning is Python's."""
    collected = _findings.get()
    if collected is not None:
        collected += found
        return
    for finding in found:
        if finding.grade == "warning":
            warnings.warn(f"kernel {kernel}: {finding}", GpunetWarning, stacklevel=2)


@contextmanager
def check_mode(on: bool = True, *, seed: int = 0) -> Iterator[list[Finding]]:
    """Return a block in which kernels are checked: races, barriers, bounds, alignment, uninitialised reads.

    It gives the list of all that is found, `with check_mode() as findings:`. Those that are errors also raise a
    `KernelError` at the end of the launch.

    The blocks of each launch run in two orders: ascending, and shuffled by `seed`. Where what they leave differs, that
    is a finding too, unless floating-point numbers may have been added up by atomics (those, or compare-and-swap).

    Memory taken inside by `empty` counts as unwritten (and reads as NaN in array code) until something is written.
    Kernels run many times slower.

    Args:
        on: whether kernels are checked.
        seed: of the second order, at least 0; the same seed shuffles a grid in the same way.

    Raises:
        ArgumentError: `seed` is no whole number of at least 0.

    Example:
        >>> import gpunet.simulator as cp
        >>> kernel = cp.RawKernel('extern "C" __global__ void set(float* x) { x[threadIdx.x + 1] = 0; }', "set")
        >>> with cp.check_mode():
        ...     kernel((1,), (3,), (cp.zeros(3, "float32"),))
        Traceback (most recent call last):
            ...
        gpunet.errors.KernelError: kernel set: out of bounds: write of 4 bytes at kernel.cu:1 by thread
        (2,0,0) of block (0,0,0): byte 12 of array x, which has 12 bytes.
    """
    seed = whole("seed", seed, least=0)
    findings: list[Finding] = []
    checked, seeded, collected = _checked.set(on), _seed.set(seed), _findings.set(findings)
    try:
        yield findings
    finally:
        _findings.reset(collected)
        _checked.reset(checked)
        _seed.reset(seeded)


_alive: weakref.WeakSet[Memory] = weakref.WeakSet()


class Memory:
    """A piece of device memory.

    Attributes:
        buffer: the host memory in which it lies; views into it have this as their `base`.
        ptr: its address.
        size: in bytes.
        written: (size,) uint8, 1 for a byte that holds a value; None where check mode was off.
    """

    def __init__(self, size: int):
        refuse_capture()
        counters.allocations += 1
        self.buffer = np.empty(size + ALIGNMENT + 2 * len(GUARD), np.uint8)
        address = self.buffer.ctypes.data
        self.ptr = -(-(address + len(GUARD)) // ALIGNMENT) * ALIGNMENT
        self.size = size
        self.written = None
        if checking():
            self.buffer.fill(0xFF)
            self.written = np.zeros(size, np.uint8)
        begin = self.ptr - address
        bounds = {"before": begin - len(GUARD), "past": begin + size}
        self._guards = {where: self.buffer[start : start + len(GUARD)] for where, start in bounds.items()}
        for guard in self._guards.values():
            guard.data[:] = GUARD
        _alive.add(self)

    def overwritten(self) -> str | None:
        """Return where a guard was written since the last call, "before" or "past" the memory, and mend it."""
        for where, guard in self._guards.items():
            if guard.data != GUARD:
                guard.data[:] = GUARD
                return where
        return None


class MemoryPointer:
    """An address in a piece of memory, `offset` bytes from its begin."""

    def __init__(self, mem: Memory, offset: int):
        self.mem = mem
        self.ptr = mem.ptr + offset
        self.device_id = 0

    @property
    def device(self) -> Device:
        """The device of the memory."""
        return Device(self.device_id)


def find(address: int) -> MemoryPointer | None:
    """Return the address as one in a piece of memory that is alive, or None where there is none."""
    found = (memory for memory in _alive if memory.ptr <= address < memory.ptr + memory.size)
    return next((MemoryPointer(memory, address - memory.ptr) for memory in found), None)


def alloc(size: int) -> MemoryPointer:
    """Take `size` bytes of device memory, which hold anything."""
    allocator = _allocator.get()
    return MemoryPointer(Memory(size), 0) if allocator is None else allocator(size)


def alloc_pinned_memory(size: int) -> bytearray:
    """Take `size` bytes of host memory; here all of it is as good as pinned."""
    return bytearray(size)


@contextmanager
def using_allocator(allocator: Callable[[int], MemoryPointer] | None = None) -> Iterator[None]:
    """Return a block in which arrays take their memory from `allocator`; None is the usual one."""
    token = _allocator.set(allocator)
    try:
        yield
    finally:
        _allocator.reset(token)
