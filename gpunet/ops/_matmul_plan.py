"""Which kernel serves a matrix product.

The kernels are a ladder that teaches, `kernels/matmul_*.cu`; "tiled" is the one in use, "mma" runs on tensor cores in
TF32, on request only. `matmul_plan` says which would run for a shape, with which tile and how many splits, and why.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from types import ModuleType
from typing import NamedTuple

import numpy as np
from numpy.typing import DTypeLike

from gpunet import versions
from gpunet.cuda import MAX_ELEMENTS
from gpunet.device import Device, current_device
from gpunet.errors import ArgumentError, ShapeError
from gpunet.ops.tiles import FLOAT32, TILES, Tile
from gpunet.ops.tuned import Product, gpu_name, winners


class MatmulPlan(NamedTuple):
    """What runs for a product.

    Attributes:
        kernel: "blas", or a rung of the ladder.
        tile: the tiles of the rungs "tiled" and "mma", else None.
        splits: into how many parts k is divided between blocks.
        why: the reason, in words.
    """

    kernel: str
    tile: Tile | None
    splits: int
    why: str


BLOCKS = {"naive": ((8, 32), 256), "shared": ((16, 16), 256), "register": ((64, 64), 256)}
"""Of the rungs below "tiled": the tile of a block, and its threads."""

RUNGS = (*BLOCKS, "tiled", "mma")

_inside: ContextVar[str | None] = ContextVar("gpunet_kernel", default=None)


@contextmanager
def use_kernel(kernel: str | None) -> Iterator[None]:
    """Let a kernel serve the products inside the block whose call names none; None is the plan's choice.

    Raises:
        ArgumentError: no such kernel.
    """
    check_kernel(kernel)
    token = _inside.set(kernel)
    versions.advance()  # recorded steps of other products are to be recorded again
    try:
        yield
    finally:
        _inside.reset(token)
        versions.advance()


def chosen_kernel() -> str | None:
    """Return what serves the products whose call names no kernel: a name, or None for the plan's choice."""
    return _inside.get()


def check_kernel(kernel: str | None, xp: ModuleType | None = None) -> None:
    """Raise `ArgumentError` for a kernel that is not there or not for arrays of `xp`; None is gpunet's choice."""
    if kernel is None or kernel == "blas":
        return
    if kernel not in RUNGS:
        names = ", ".join(map(repr, ("blas", *RUNGS)))
        raise ArgumentError(f"unknown kernel {kernel!r}; use None or one of {names}.")
    if xp is np:
        raise ArgumentError(f"kernel {kernel!r} runs on a GPU or on the device 'sim', and the arrays are on the CPU.")


def matmul_plan(
    m: int,
    n: int,
    k: int,
    *,
    layout: str = "NN",
    batch: int = 1,
    dtype: DTypeLike = np.float32,
    kernel: str | None = None,
    device: Device | None = None,
) -> MatmulPlan:
    """Return what runs on a GPU for products of (m, k) and (k, n).

    Where `gpunet tune` has measured the product on this GPU, the plan is what was the fastest then. Both gradients of a
    small layer are one launch, which takes the larger of their two tiles.

    Args:
        m: rows of the result.
        n: columns of the result.
        k: the inner size.
        layout: "NN", or "NT" or "TN" where one of the operands is a transposed view.
        batch: the number of products.
        dtype: of the operands.
        kernel: as for `matmul`.
        device: where; by default the current device. For the CPU the plan is that of a GPU like an H200.

    Raises:
        ArgumentError: no such kernel or layout, or a kernel that does not take the dtype.
        ShapeError: a matrix of more elements than a kernel takes (`gpunet.cuda.MAX_ELEMENTS`).
        DeviceError: the current device cannot be used.
    """
    check_kernel(kernel)
    dtype = np.dtype(dtype)
    product = Product.of(m, n, k, layout, dtype)
    chosen = kernel or chosen_kernel()
    why = "asked for" if kernel else "chosen by use_kernel"
    if chosen == "blas":
        return MatmulPlan("blas", None, 1, why)
    if max(m * k, k * n, m * n) > MAX_ELEMENTS:
        if chosen:
            raise ShapeError(
                f"kernel {chosen!r}: a matrix of {m}x{n}x{k} has over {MAX_ELEMENTS:,} elements; split it."
            )
        return MatmulPlan("blas", None, 1, f"a matrix has over {MAX_ELEMENTS:,} elements, the most that a kernel takes")
    if kernel == "mma" and dtype != FLOAT32:
        raise ArgumentError(f"kernel 'mma' multiplies float32 operands as TF32; these are {dtype}.")
    if ("tiled", dtype) not in TILES or (chosen in (None, "mma") and dtype != FLOAT32):
        return MatmulPlan("blas", None, 1, f"{dtype} is for the library unless a kernel is asked for")
    if chosen in BLOCKS:
        return MatmulPlan(chosen, None, 1, why)
    device = device or current_device()
    if chosen != "mma" and batch == 1 and (tuned := winners(device).get(product)):
        tile, splits, date = tuned
        why = f"tuned on {gpu_name(device)} on {date}: tile {tile}, splits {splits}"
        return MatmulPlan("tiled", tile, splits, why)
    return default_plan(chosen or "tiled", product, batch, multiprocessors(device))


def default_plan(rung: str, product: Product, batch: int, processors: int) -> MatmulPlan:
    """Return the plan of a rung with tiles, for a GPU of so many multiprocessors on which nothing was tuned."""
    tile, blocks = next(
        (tile, blocks)
        for tile, fill in TILES[rung, product.dtype]
        if (blocks := batch * tile.blocks(product.m, product.n)) >= fill * processors
    )
    # each part of k keeps at least eight steps, or the sum of the parts costs more than the blocks bring
    splits = max(1, min(processors // max(blocks, 1), product.k // (8 * tile.bk)))
    parts = f" in {splits} parts" if splits > 1 else ""
    return MatmulPlan(rung, tile, splits, f"{blocks} blocks{parts} for {processors} multiprocessors")


@functools.cache
def multiprocessors(device: Device) -> int:
    """Return how many a GPU has; with fewer blocks than these, a part of it stands idle.

    The CPU has none; for it, those of an H100 or H200.
    """
    if device.xp is np:
        return 132
    return int(device.xp.cuda.runtime.getDeviceProperties(device.index)["multiProcessorCount"])
