"""Which kernel serves a matrix product, and its launch.

The kernels are a ladder that teaches, `kernels/matmul_*.cu`; "tiled" is the one in use, "mma" runs on tensor cores in
TF32, on request only. `matmul_plan` says which would run for a shape, with which tile and how many splits, and why.
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

from gpunet.cuda import Kernel
from gpunet.device import Array, Device, current_device, device_of
from gpunet.errors import ArgumentError, DeviceError
from gpunet.ops.activations import ActivationFunction, Identity
from gpunet.ops.tiles import FLOAT32, TILES, Tile
from gpunet.ops.tuned import Product, gpu_name, winners
from gpunet.tape import Tape, empty, zeros


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

RUNGS = {rung: Kernel(f"matmul_{rung}.cu", f"matmul_{rung}") for rung in (*BLOCKS, "tiled", "mma")}

_policy: list[str | None] = [None]
_inside: ContextVar[str | None] = ContextVar("gpunet_kernel", default=None)


def set_kernel(kernel: str | None) -> None:
    """Set what serves the products of this process whose call names no kernel: None (the plan's choice) or a name.

    Raises:
        ArgumentError: no such kernel.
    """
    check_kernel(kernel)
    _policy[0] = kernel


@contextmanager
def use_kernel(kernel: str | None) -> Iterator[None]:
    """Let a kernel serve the products inside the block, as `set_kernel` does for the process.

    None leaves the choice to the process.

    Raises:
        ArgumentError: no such kernel.
    """
    check_kernel(kernel)
    token = _inside.set(kernel)
    try:
        yield
    finally:
        _inside.reset(token)


def chosen_kernel() -> str | None:
    """Return what serves the products whose call names no kernel: a name, or None for the plan's choice."""
    return _inside.get() or _policy[0]


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
        DeviceError: the current device cannot be used.
    """
    check_kernel(kernel)
    dtype = np.dtype(dtype)
    product = Product.of(m, n, k, layout, dtype)
    chosen = kernel or chosen_kernel()
    why = "asked for" if kernel else "this process's choice"
    if chosen == "blas":
        return MatmulPlan("blas", None, 1, why)
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


def plan_for(a: Array, b: Array, c: Array, kernel: str | None, xp: ModuleType) -> MatmulPlan | None:
    """Return the plan of the kernels that write the product of `a` and `b` to `c`, or None where the library serves.

    The library serves NumPy arrays, what the plan leaves to it, and what the kernels don't take: several batch axes,
    both operands transposed, gaps in memory, mixed dtypes.

    Raises:
        ArgumentError: a kernel that does not take such operands was asked for.
        DeviceError: TF32 was asked for on a GPU without tensor cores for it.
    """
    if xp is np:
        return None
    stored = a.ndim <= c.ndim <= 3 and b.ndim <= c.ndim and min(a.ndim, b.ndim) >= 2 and c.flags.c_contiguous
    stored = stored and all(x.ndim == 2 or len(x) == len(c) for x in (a, b)) and a.dtype == b.dtype == c.dtype
    transposes = [_is_transposed(x) for x in (a, b)] if stored else [None]
    if None in transposes or all(transposes):
        if kernel in RUNGS:
            raise ArgumentError(f"kernel {kernel!r} does not take operands like these; use 'blas' or None.")
        return None
    batch = len(c) if c.ndim == 3 else 1
    m, n = c.shape[-2:]
    layout, device = "".join("NT"[bool(transpose)] for transpose in transposes), device_of(c)
    plan = matmul_plan(m, n, a.shape[-1], layout=layout, batch=batch, dtype=c.dtype, kernel=kernel, device=device)
    if plan.kernel == "mma":
        _check_tensor_cores(device)
    return None if plan.kernel == "blas" else plan


@functools.cache
def _check_tensor_cores(device: Device) -> None:
    """Raise `DeviceError` for a GPU that has none for TF32."""
    capability = device.xp.cuda.Device(device.index).compute_capability
    if int(capability) < 80:
        raise DeviceError(f"kernel 'mma' needs compute capability 8.0 or more; {device.name} has {capability}.")


def _is_transposed(a: Array) -> bool | None:
    """Return whether the matrices of `a` lie in memory column by column; None: neither so nor row by row."""
    if a.flags.c_contiguous:
        return False
    return True if a.swapaxes(-1, -2).flags.c_contiguous else None


def run_plan(
    plan: MatmulPlan,
    a: Array,
    b: Array,
    c: Array,
    *,
    bias: Array | None = None,
    activation: ActivationFunction | None = None,
    preactivation: Array | None = None,
    saved: Array | None = None,
    column_sums: Array | None = None,
    tape: Tape | None = None,
    xp: ModuleType,
) -> None:
    """Launch the kernel of a plan: c = f(a·b + bias), or c = (a·b)·f'(saved).

    Args:
        plan: from `plan_for`.
        a: (m, k) or a batch of them, also as a transposed view.
        b: (k, n) or a batch of them, also as a transposed view. An operand without the batch's axis is shared.
        c: (m, n) or a batch of them, C-contiguous.
        bias: (n,), or None.
        activation: the function f, one with `cuda_options`; None is the identity.
        preactivation: where to leave a·b + bias, like `c`; or None.
        saved: what f' is computed from, like `c`; None for a forward pass.
        column_sums: where to leave the sums over k of `b`, (n,); or None. Only for a plan with a tile.
        tape: where scratch comes from.
        xp: the array module.
    """
    (m, n), k = c.shape[-2:], a.shape[-1]
    batch = len(c) if c.ndim == 3 else 1
    flips = [bool(_is_transposed(x)) for x in (a, b)]
    a, b = (x.swapaxes(-1, -2) if flip else x for x, flip in zip((a, b), flips, strict=True))
    strides = [x.shape[1] * x.shape[2] if x.ndim == 3 else 0 for x in (a, b)]
    function = activation or Identity()
    options = {"TRANSPOSE_A": int(flips[0]), "TRANSPOSE_B": int(flips[1]), **(function.cuda_options() or {})}
    if saved is not None:
        options["GRADIENT"] = 1
    sides = bias, saved, preactivation
    if plan.tile is None:
        (rows, columns), threads = BLOCKS[plan.kernel]
        grid = (math.ceil(m / rows) * math.ceil(n / columns), 1, batch)
        args = (a, b, *sides, c, m, n, k, *strides, function.parameter)
        RUNGS[plan.kernel](grid, (threads,), *args, options=options)
        return
    tile = plan.tile
    tiles, part_size = tile.blocks(m, n), tile.part_size(column_sums is not None)
    parts = arrivals = None
    if plan.splits > 1:
        parts = empty(tape, (tiles * plan.splits * batch * part_size,), c.dtype, xp)
        arrivals = zeros(tape, (tiles * batch,), np.dtype(np.uint32), xp)
    options |= {**tile.options(), "VECTOR_A": by_vectors(a), "VECTOR_B": by_vectors(b)}
    if column_sums is not None:
        options["COLUMN_SUMS"] = 1
    if plan.kernel == "tiled":
        options["VECTOR_A"] &= flips[0]  # what lies along k goes word by word: a variant less
        options["VECTOR_B"] &= not flips[1]
        options["VECTOR_C"] = by_vectors(c, *sides)
    scratch = column_sums, parts, arrivals
    args = (a, b, *sides, c, *scratch, m, n, k, *strides, part_size, function.parameter)
    RUNGS[plan.kernel]((tiles, plan.splits, batch), (tile.threads,), *args, options=options)


def by_vectors(*arrays: Array | None) -> int:
    """Return 1 where every row of the arrays is made of 16-byte vectors that are aligned, else 0."""
    given = [a for a in arrays if a is not None]
    return int(all(a.shape[-1] * a.itemsize % 16 == 0 and a.data.ptr % 16 == 0 for a in given))
