"""Simulate device memory: host memory between guards, with flags for written bytes in check mode."""

from __future__ import annotations

import os
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar

import numpy as np

from gpunet.arguments import whole
from gpunet.errors import warn
from gpunet.simulator.device import Device
from gpunet.simulator.findings import Finding
from gpunet.simulator.stream import counters, refuse_capture

ALIGNMENT = 512  # bytes, as in CuPy's memory pool
GUARD = np.full(256, 0xFFF5A5A5, np.uint32).tobytes()  # before and after each allocation; NaN in float32 and float64

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
    """Return the seed of check mode's second order of blocks."""
    return _seed.get()


def collect(kernel: str, found: Sequence[Finding]) -> None:
    """Add findings to the list of the `check_mode` block; without a block, issue Python warnings."""
    collected = _findings.get()
    if collected is not None:
        collected += found
        return
    for finding in found:
        if finding.grade == "warning":
            warn(f"kernel {kernel}: {finding}")


@contextmanager
def check_mode(on: bool = True, *, seed: int = 0) -> Iterator[list[Finding]]:
    """Check kernels inside a `with` block: races, barriers, bounds, alignment, uninitialized reads.

    `with check_mode() as findings:` lists all findings. Errors also raise a `KernelError` at the end of the launch.
    Kernels run about 20 times slower.

    The blocks of each launch run in ascending order, then, from the same memory, in an order shuffled by `seed`, an
    integer of at least 0. Different results are a finding, unless the kernel used floating-point atomics or
    compare-and-swap: the last bits of such sums depend on the order.

    Memory that `empty` allocates inside the block counts as uninitialized, and reads as NaN in array code, until it is
    written.

    Args:
        on: whether kernels are checked.

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
    """An allocation of device memory.

    Attributes:
        buffer: the host memory that contains it, the `base` of all views.
        written: (size,) uint8, 1 for a byte that holds a value; None if check mode was off at the allocation.
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
        """Return which guard was overwritten since the last call, "before" or "past" the memory, and restore it."""
        for where, guard in self._guards.items():
            if guard.data != GUARD:
                guard.data[:] = GUARD
                return where
        return None


class MemoryPointer:
    """An address in an allocation, `offset` bytes from its begin."""

    def __init__(self, mem: Memory, offset: int):
        self.mem = mem
        self.ptr = mem.ptr + offset
        self.device_id = 0

    @property
    def device(self) -> Device:
        """The memory's device."""
        return Device(self.device_id)


def find(address: int) -> MemoryPointer | None:
    """Return a pointer to `address` in the allocation that contains it, or None."""
    found = (memory for memory in _alive if memory.ptr <= address < memory.ptr + memory.size)
    return next((MemoryPointer(memory, address - memory.ptr) for memory in found), None)


def alloc(size: int) -> MemoryPointer:
    """Allocate `size` bytes of uninitialized device memory."""
    allocator = _allocator.get()
    return MemoryPointer(Memory(size), 0) if allocator is None else allocator(size)


def alloc_pinned_memory(size: int) -> bytearray:
    """Allocate `size` bytes of host memory; the simulator does not pin it."""
    return bytearray(size)


@contextmanager
def using_allocator(allocator: Callable[[int], MemoryPointer] | None = None) -> Iterator[None]:
    """Allocate arrays by `allocator` inside a `with` block; None is the default allocator."""
    token = _allocator.set(allocator)
    try:
        yield
    finally:
        _allocator.reset(token)
