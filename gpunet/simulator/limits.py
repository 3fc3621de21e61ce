"""Check the limits of a launch, as documented by CUDA for compute capability 9.0."""

from __future__ import annotations

import math
from collections.abc import Sequence

from gpunet.errors import ArgumentError

MAX_GRID = (2**31 - 1, 65_535, 65_535)
MAX_BLOCK = (1024, 1024, 64)
MAX_SHARED_BYTES = 48 * 1024
MAX_SHARED_BYTES_OPT_IN = 227 * 1024
MAX_RESIDENT_THREADS = 4 * 2048
"""Maximum number of threads in a cooperative launch, as on a GPU with 4 SMs."""


def dimensions(kernel: str, what: str, given: Sequence[int], limits: tuple[int, int, int]) -> tuple[int, ...]:
    """Return three dimensions; raise `ArgumentError` unless given one to three positive numbers within the limits."""
    if not 1 <= len(given) <= 3 or min(given) < 1:
        raise ArgumentError(f"kernel {kernel}: {what}: expected one to three positive numbers, got {given}.")
    full = (*given, *(1,) * (3 - len(given)))
    for axis, n, limit in zip("xyz", full, limits, strict=True):
        if n > limit:
            raise ArgumentError(f"kernel {kernel}: {what}.{axis} is {n:,}, and CUDA's limit is {limit:,}.")
    return full


def check_threads(
    kernel: str, grid: tuple[int, ...], block: tuple[int, ...], max_threads: int, cooperative: bool
) -> None:
    """Raise `ArgumentError` if a block has too many threads or a grid too many blocks."""
    threads, blocks = math.prod(block), math.prod(grid)
    if threads > max_threads:
        why = "its __launch_bounds__ allows" if max_threads < 1024 else "CUDA allows"
        raise ArgumentError(f"kernel {kernel}: a block of {threads:,} threads; {why} {max_threads:,}.")
    if blocks >= 2**32:
        raise ArgumentError(f"kernel {kernel}: a grid of {blocks:,} blocks; the simulator allows 4,294,967,295.")
    if cooperative and blocks * threads > MAX_RESIDENT_THREADS:
        raise ArgumentError(
            f"kernel {kernel}: a cooperative launch of {blocks:,} blocks of {threads} threads exceeds the "
            f"{MAX_RESIDENT_THREADS:,} threads that can be resident; use fewer blocks and a grid-stride loop."
        )


def check_shared(kernel: str, dynamic: int, static: int, max_dynamic: int) -> None:
    """Raise `ArgumentError` if a launch asks for too much dynamic shared memory."""
    allowed = min(max_dynamic, MAX_SHARED_BYTES_OPT_IN - static)
    if not 0 <= dynamic <= allowed:
        raise ArgumentError(
            f"kernel {kernel}: {dynamic:,} bytes of dynamic shared memory; the limit is {allowed:,} (static shared "
            f"memory: {static:,} bytes). For a total of more than 48 KiB, up to 227 KiB, set "
            "max_dynamic_shared_size_bytes."
        )
