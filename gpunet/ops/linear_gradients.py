"""One launch that computes both gradients of a small linear layer, dx = dz·Wᵀ and dW = xᵀ·dz."""

from __future__ import annotations

from gpunet.cuda import Kernel
from gpunet.device import Array
from gpunet.ops._matmul_plan import MatmulPlan
from gpunet.ops.activations import ActivationFunction
from gpunet.ops.matmul_launch import by_vectors
from gpunet.ops.tiles import Tile

BACKWARD = Kernel("linear_backward.cu", "linear_backward")

LARGEST_SHARED = 32 * 32
"""Elements of the largest tile for which one launch computes both gradients. A product with enough blocks for a larger
tile fills the GPU alone, and its threads have no registers left for a second product."""


def shared_tile(of_weight: MatmulPlan | None, of_input: MatmulPlan | None, *operands: Array) -> Tile | None:
    """Return the tile with which one launch computes both gradients, or None if two launches are better.

    It is the larger of the tiles that the two plans have.
    """
    tiles = [
        plan.tile
        for plan in (of_weight, of_input)
        if plan is not None and plan.kernel == "tiled" and plan.tile is not None and plan.splits == 1
    ]
    if len(tiles) < 2 or not all(a.size and a.flags.c_contiguous for a in operands):
        return None
    tile = max(tiles, key=lambda tile: tile.bm * tile.bn)
    return tile if tile.bm * tile.bn <= LARGEST_SHARED else None


def launch_both(
    tile: Tile,
    x: Array,
    weight: Array,
    dz: Array,
    dx: Array,
    dweight: Array,
    dbias: Array | None,
    *,
    activation: ActivationFunction | None = None,
    saved: Array | None = None,
) -> None:
    """Launch `kernels/linear_backward.cu`; with an activation g, dx is multiplied by g'."""
    (rows, inputs), outputs = x.shape, dz.shape[1]
    vectors = {"VECTOR_INPUTS": by_vectors(x, saved, dx), "VECTOR_OUTPUTS": by_vectors(dz, weight, dweight)}
    options = {**tile.options(), **vectors}
    if activation is not None:
        options |= {"GRADIENT": 1, **(activation.cuda_options() or {})}
    if dbias is not None:
        options["COLUMN_SUMS"] = 1
    grid = (tile.blocks(inputs, outputs) + tile.blocks(rows, inputs),)
    arrays, sizes = (x, weight, dz, saved, dx, dweight, dbias), (rows, inputs, outputs)
    parameter = 0.0 if activation is None else activation.parameter
    BACKWARD(grid, (tile.threads,), *arrays, *sizes, parameter, options=options)
