"""Launch the kernels of a matrix product."""

from __future__ import annotations

import functools
import math
from types import ModuleType
from typing import Any

import numpy as np

from gpunet import native
from gpunet.cuda import MAX_GRID, Kernel
from gpunet.device import Array, Device, device_of, pointer
from gpunet.errors import ArgumentError, DeviceError
from gpunet.ops._matmul_plan import (
    FIXED_TILES,
    KERNEL_NAMES,
    TENSOR_CORE_KERNELS,
    MatmulPlan,
    fixed_blocks,
    matmul_plan,
)
from gpunet.ops.activations import ActivationFunction, Identity
from gpunet.recording import records_native
from gpunet.tape import Tape, empty, zeros

MOST_MATRICES = MAX_GRID[2]
"""Maximum number of matrices of a batch in one launch, which has one z-layer of blocks for each."""

KERNELS = {name: Kernel(f"matmul_{name}.cu", f"matmul_{name}") for name in KERNEL_NAMES}

PRODUCT = native.Kernel("product.cpp", "product")
TRANSPOSED_PRODUCT = native.Kernel("product.cpp", "transposed_product")

SLICE_FLOPS = 2_000_000
"""Minimum FLOPs of a slice of a weight gradient on the CPU, which one thread computes."""

SLICE_ROWS = 48
"""Minimum rows of a slice: BLAS needs more time per row for fewer."""

MOST_SLICES = 16


def product(
    plan: MatmulPlan | None, a: Array, b: Array, out: Array, tape: Tape | None, xp: ModuleType, **epilogue: Any
) -> None:
    """Write the product of two matrices to `out`. `epilogue` (see `run_plan`) requires a plan."""
    if plan is not None:
        run_plan(plan, a, b, out, tape=tape, xp=xp, **epilogue)
    elif records_native(out) and _serves_native(a, b) and (blas := native.find_blas()) is not None:
        _note_product(blas, a, b, out)
    else:
        xp.dot(a, b, out=out)  # same as matmul for matrices, with less overhead


def _serves_native(a: Array, b: Array) -> bool:
    """Return whether a native node supports the operands: contiguous, aligned and not both transposed."""
    if not (a.flags.aligned and b.flags.aligned):
        return False
    if a.flags.c_contiguous:
        return b.flags.c_contiguous or b.T.flags.c_contiguous
    return a.T.flags.c_contiguous and b.flags.c_contiguous


def _note_product(blas: native.Blas, a: Array, b: Array, out: Array) -> None:
    """Record the product as a node that calls BLAS: divided by batch rows, or by slices if `a` is a transposed view."""
    (m, n), k = out.shape, a.shape[1]
    gemm, options = blas.gemm[out.dtype], {"BLAS_INT": blas.integer}
    if a.flags.c_contiguous:
        transposed = not b.flags.c_contiguous
        b = b.T if transposed else b
        sizes = m, n, k, k, b.shape[1], n
        PRODUCT(gemm, a, b, out, *sizes, transposed, count=m, options=options)
    else:
        slices = max(1, min(MOST_SLICES, 2 * m * n * k // SLICE_FLOPS, m // SLICE_ROWS))
        tile = native.tile_rows()
        grain = tile * math.ceil(m / slices / tile)
        sizes = m, n, k, m, n, n
        TRANSPOSED_PRODUCT(gemm, a.T, b, out, *sizes, count=m, grain=grain, options=options)


def plan_for(a: Array, b: Array, c: Array, kernel: str | None, xp: ModuleType) -> MatmulPlan | None:
    """Return the plan of the kernel that writes the product of `a` and `b` to `c`, or None for the library.

    The library computes products of NumPy arrays, those that the plan assigns to it, and those that the kernels don't
    support: several batch axes, both operands transposed, non-contiguous operands, mixed dtypes. A kernel that was
    requested for such operands raises `ArgumentError`.
    """
    if xp is np:
        return None
    stored = a.ndim <= c.ndim <= 3 and b.ndim <= c.ndim and min(a.ndim, b.ndim) >= 2 and c.flags.c_contiguous
    stored = stored and all(x.ndim == 2 or len(x) == len(c) for x in (a, b)) and a.dtype == b.dtype == c.dtype
    transposes = [_is_transposed(x) for x in (a, b)] if stored else [None]
    if None in transposes or all(transposes):
        if kernel in KERNEL_NAMES:
            raise ArgumentError(
                f"kernel {kernel!r} does not support these layouts, batch axes or dtypes; use 'blas' or None."
            )
        return None
    batch = len(c) if c.ndim == 3 else 1
    m, n = c.shape[-2:]
    layout, device = "".join("NT"[bool(transpose)] for transpose in transposes), device_of(c)
    plan = matmul_plan(m, n, a.shape[-1], layout=layout, batch=batch, dtype=c.dtype, kernel=kernel, device=device)
    if plan.kernel in TENSOR_CORE_KERNELS:
        check_tensor_cores(device, plan.kernel)
    return None if plan.kernel == "blas" else plan


@functools.cache
def check_tensor_cores(device: Device, kernel: str) -> None:
    """Raise `DeviceError` for a kernel on tensor cores on a GPU without TF32 tensor cores."""
    capability = device.xp.cuda.Device(device.index).compute_capability
    if int(capability) < 80:
        raise DeviceError(f"kernel {kernel!r} needs compute capability 8.0 or more; {device.name} has {capability}.")


def _is_transposed(a: Array) -> bool | None:
    """Return whether the matrices of `a` are stored column by column; None if neither so nor row by row."""
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
    """Launch the kernel of a plan from `plan_for`: c = f(a·b + bias), or c = (a·b)·f'(saved).

    Args:
        a: (m, k) or a batch of them, also as a transposed view.
        b: (k, n), as `a`. An operand without the batch axis is shared.
        c: (m, n) or a batch of at most `MOST_MATRICES`, C-contiguous.
        activation: the function f, one with `cuda_options`.
        preactivation: where to write a·b + bias, like `c`.
        saved: the input of f', like `c`.
        column_sums: where to write the sums over k of `b`, (n,). Requires a plan with a tile.
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
    tile = plan.tile
    if tile is None:
        tiles, part_size = fixed_blocks(plan.kernel, m, n), math.prod(FIXED_TILES[plan.kernel][:2])
    else:
        tiles, part_size = tile.blocks(m, n), tile.part_size(column_sums is not None)
    grid = tiles, plan.splits, batch
    parts = arrivals = None
    if plan.splits > 1:
        parts = empty(tape, (math.prod(grid) * part_size,), c.dtype, xp)
        arrivals = zeros(tape, (tiles * batch,), np.dtype(np.uint32), xp)
    if tile is None:
        scratch, sizes = ((parts, arrivals), (part_size,)) if plan.kernel == "split_k" else ((), ())
        args = (a, b, *sides, c, *scratch, m, n, k, *strides, *sizes, function.parameter)
        KERNELS[plan.kernel](grid, (256,), *args, options=options)
        return
    options |= {
        **tile.options(),
        "VECTOR_A": by_vectors(a),
        "VECTOR_B": by_vectors(b),
        "VECTOR_C": by_vectors(c, *sides),
    }
    if column_sums is not None:
        options["COLUMN_SUMS"] = 1
    args = (a, b, *sides, c, column_sums, parts, arrivals, m, n, k, *strides, part_size, function.parameter)
    KERNELS[plan.kernel](grid, (tile.threads,), *args, options=options)


def by_vectors(*arrays: Array | None) -> int:
    """Return 1 if every row of the arrays consists of aligned 16-byte vectors, else 0."""
    given = [a for a in arrays if a is not None]
    return int(all(a.shape[-1] * a.itemsize % 16 == 0 and pointer(a) % 16 == 0 for a in given))
