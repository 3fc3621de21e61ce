"""The choice of the kernel, tile and splits of a matrix product.

The kernels `kernels/matmul_*.cu` go from simple to fast. "tiled" is the one in use. Only on request, "mma" and "mma3"
multiply on tensor cores, in TF32 and with the error of float32. `matmul_plan` returns the kernel, tile and splits for a
shape, and the reason.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from types import ModuleType
from typing import NamedTuple

import numpy as np
from numpy.typing import DTypeLike

from gpunet import versions
from gpunet.arguments import counted
from gpunet.cuda import MAX_ELEMENTS
from gpunet.default_device import current_device
from gpunet.device import Device
from gpunet.errors import ArgumentError, ShapeError
from gpunet.ops.tiles import FLOAT32, TILES, Tile
from gpunet.ops.tuned import Product, gpu_name, winners


class MatmulPlan(NamedTuple):
    """How a product is computed.

    Attributes:
        kernel: "blas" or the name of a hand-written kernel.
        tile: the tile of "tiled", "mma" or "mma3", else None.
        splits: split-K: the number of parts of k that different blocks sum.
        why: the reason, as text.

    Example:
        >>> plan = gn.ops.matmul_plan(64, 64, 4096)
        >>> plan.kernel, plan.splits, plan.tile
        ('tiled', 8, Tile(bm=16, bn=16, bk=64, wm=16, wn=16, tm=2, tn=4, stages=4, slices=4, min_blocks=1))
    """

    kernel: str
    tile: Tile | None
    splits: int
    why: str


FIXED_TILES = {
    **{"naive": (8, 32, 1), "shared": (16, 16, 16)},
    **dict.fromkeys(("register", "vectorized", "double_buffered", "warp_tiled", "split_k"), (64, 64, 16)),
}
"""Rows, columns and depth of the tile of the kernels without a choice. Their blocks have 256 threads."""

TENSOR_CORE_KERNELS = ("mma", "mma3")
"""The kernels that multiply float32 operands on tensor cores, which need compute capability 8.0."""

KERNEL_NAMES = (*FIXED_TILES, "tiled", *TENSOR_CORE_KERNELS)

PRECISIONS = {"float32": "tiled", "tf32": "mma", "3xtf32": "mma3"}
"""The kernel of float32 products for each precision: TF32 rounds the operands to 10 bits of mantissa; 3xTF32 multiplies
on tensor cores, too, with the error of float32."""

_inside: ContextVar[str | None] = ContextVar("gpunet_kernel", default=None)


@contextmanager
def use_kernel(kernel: str | None) -> Iterator[None]:
    """Use a kernel for all products in the `with` block that name none; None is the plan's choice.

    Example:
        >>> with gn.ops.use_kernel("shared"):
        ...     gn.ops.matmul_plan(256, 256, 256).kernel
        'shared'
    """
    check_kernel(kernel)
    token = _inside.set(kernel)
    versions.advance()  # steps recorded with other kernels must be recorded again
    try:
        yield
    finally:
        _inside.reset(token)
        versions.advance()


def chosen_kernel() -> str | None:
    """Return the kernel set by `use_kernel`, or None for the plan's choice."""
    return _inside.get()


def check_kernel(kernel: str | None, xp: ModuleType | None = None) -> None:
    """Raise `ArgumentError` for an unknown kernel, or one that cannot run on arrays of `xp`."""
    if kernel is None or kernel == "blas":
        return
    if kernel not in KERNEL_NAMES:
        names = ", ".join(map(repr, ("blas", *KERNEL_NAMES)))
        raise ArgumentError(f"unknown kernel {kernel!r}; use None or one of {names}.")
    if xp is np:
        raise ArgumentError(f"kernel {kernel!r} runs on a GPU or on the device 'sim'; the arrays are on the CPU.")


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
    """Return how products of (m, k) and (k, n) run on a GPU.

    If `gpunet tune` has measured the product on this GPU, the plan is the fastest that it found. Both gradients of a
    small linear layer are one launch, which uses the larger of their two tiles.

    Args:
        layout: "NN", or "NT" or "TN" if one of the operands is a transposed view.
        batch: number of products.
        kernel: as for `matmul`.
        device: by default the current device. For the CPU, the plan is that of a GPU like an H200.

    Raises:
        ShapeError: a matrix has more elements than a kernel can index (`gpunet.cuda.MAX_ELEMENTS`).

    Example:
        >>> gn.ops.matmul_plan(256, 256, 256).kernel
        'tiled'
        >>> gn.ops.matmul_plan(256, 256, 256, dtype="float64")
        MatmulPlan(kernel='blas', tile=None, splits=1, why='float64 uses the library unless a kernel is requested')
    """
    check_kernel(kernel)
    dtype = np.dtype(dtype)
    product = Product.of(m, n, k, layout, dtype)
    chosen = kernel or chosen_kernel()
    why = "requested" if kernel else "chosen by use_kernel"
    if chosen == "blas":
        return MatmulPlan("blas", None, 1, why)
    if max(m * k, k * n, m * n) > MAX_ELEMENTS:
        if chosen:
            raise ShapeError(
                f"kernel {chosen!r}: a matrix of {m}x{n}x{k} has over {MAX_ELEMENTS:,} elements; split it."
            )
        return MatmulPlan("blas", None, 1, f"a matrix has over {MAX_ELEMENTS:,} elements, the maximum of a kernel")
    if kernel in TENSOR_CORE_KERNELS and dtype != FLOAT32:
        raise ArgumentError(f"kernel {kernel!r} multiplies float32 operands on tensor cores; got {dtype}.")
    if ("tiled", dtype) not in TILES or (chosen in (None, *TENSOR_CORE_KERNELS) and dtype != FLOAT32):
        return MatmulPlan("blas", None, 1, f"{dtype} uses the library unless a kernel is requested")
    device = device or current_device()
    if chosen in FIXED_TILES:
        splits = 1
        if chosen == "split_k":
            blocks = batch * fixed_blocks(chosen, m, n)
            splits = _splits(blocks, k, FIXED_TILES[chosen][2], multiprocessors(device))
        return MatmulPlan(chosen, None, splits, why)
    with_tiles = chosen or "tiled"
    if batch == 1 and (tuned := winners(device).get((with_tiles, product))):
        tile, splits, date = tuned
        why = f"tuned on {gpu_name(device)} on {date}: tile {tile}, splits {splits}"
        return MatmulPlan(with_tiles, tile, splits, why)
    return default_plan(with_tiles, product, batch, multiprocessors(device))


def fixed_blocks(kernel: str, m: int, n: int) -> int:
    """Return the number of tiles of a result with m rows and n columns."""
    rows, columns, _ = FIXED_TILES[kernel]
    return math.ceil(m / rows) * math.ceil(n / columns)


def default_plan(kernel: str, product: Product, batch: int, processors: int) -> MatmulPlan:
    """Return the plan of a kernel with tiles on a GPU with `processors` SMs, without measurements."""
    tile, blocks = next(
        (tile, blocks)
        for tile, fill in TILES[kernel, product.dtype]
        if (blocks := batch * tile.blocks(product.m, product.n)) >= fill * processors
    )
    splits = _splits(blocks, product.k, tile.bk, processors)
    split_k = f" in {splits} splits" if splits > 1 else ""
    return MatmulPlan(kernel, tile, splits, f"{counted(blocks, 'block')}{split_k} for {processors} SMs")


def _splits(blocks: int, k: int, depth: int, processors: int) -> int:
    """Return the splits with which `blocks` tiles, in steps of `depth` along k, have about a block per SM."""
    # with fewer than eight steps per split, the sum over the splits costs more than the extra blocks gain
    return max(1, min(processors // max(blocks, 1), k // (8 * depth)))


@functools.cache
def multiprocessors(device: Device) -> int:
    """Return the number of SMs of a GPU; for the CPU, that of an H100 or H200."""
    if device.xp is np:
        return 132
    return int(device.xp.cuda.runtime.getDeviceProperties(device.index)["multiProcessorCount"])
