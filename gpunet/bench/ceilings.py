"""Measure the limits of a device with a large copy and a large matrix product."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from gpunet.bench.case import DType
from gpunet.bench.timing import Clock, interleave
from gpunet.device import Device

COPY_BYTES = {"cpu": 2**27, "cuda": 2**29}
GEMM_SIZE = {"cpu": 1536, "cuda": 8192}


@dataclass(frozen=True)
class Ceilings:
    """The measured limits of a device.

    Attributes:
        bytes_per_second: of a copy, counting reads and writes.
        flops_per_second: of the library's matrix product.
    """

    bytes_per_second: float
    flops_per_second: float

    def seconds(self, flops: int, nbytes: int) -> float:
        """Return the minimum time by the roofline model (Williams, Waterman and Patterson 2009)."""
        return max(flops / self.flops_per_second, nbytes / self.bytes_per_second)


def measure_ceilings(
    device: Device, dtype: DType, clock: Clock, *, copy_bytes: int | None = None, gemm_size: int | None = None
) -> Ceilings:
    """Measure a device; the best of several rounds counts.

    Args:
        copy_bytes: of the copied array; by default larger than any cache.
        gemm_size: rows and columns of the square matrices.
    """
    kind, xp = device.name.partition(":")[0], device.xp
    nbytes, n = copy_bytes or COPY_BYTES[kind], gemm_size or GEMM_SIZE[kind]
    rng = np.random.default_rng(0)
    with device.activate():
        source, a, b = (
            device.asarray(rng.standard_normal(shape, dtype.type))
            for shape in (nbytes // dtype.itemsize, (n, n), (n, n))
        )
        target, c = xp.empty_like(source), xp.empty_like(a)
        calls = {"copy": lambda: xp.copyto(target, source), "gemm": lambda: xp.matmul(a, b, out=c)}
        best = {name: min(times) for name, times in interleave(calls, clock, seconds=0.5).items()}
    return Ceilings(2 * source.nbytes / best["copy"], 2 * n**3 / best["gemm"])
