"""The cosine embedding loss, which pulls vectors of a pair together or apart, and its gradient, in one pass.

For pairs (a_i, b_i), targets t_i of 1 or -1 and row weights w_i:

    c_i = a_i·b_i / √((a_i·a_i + 10⁻¹²)(b_i·b_i + 10⁻¹²))
    loss = Σ_i w_i l(c_i) / Σ_i w_i,    l(c) = 1 - c where t_i = 1, max(c - margin, 0) where t_i = -1

If all weights are zero, so are the loss and its gradient.
"""

from __future__ import annotations

from types import ModuleType

import numpy as np

from gpunet.arguments import real
from gpunet.cuda import Kernel
from gpunet.device import Array
from gpunet.errors import ShapeError
from gpunet.ops._cosine_similarity import ROWS_PER_BLOCK, measure, write_gradients
from gpunet.ops.checks import check_shape, float_module
from gpunet.ops.launch import THREADS, block_count, operand, partial_sums
from gpunet.ops.sums import weight_sum, weighted_mean
from gpunet.tape import Tape, empty, empty_like

COSINE_EMBEDDING = Kernel("cosine.cu", "cosine_embedding")

ADDED = float(np.float32(1e-12))
"""Added to the squared norms, as in PyTorch, in float32: a zero vector has the cosine 0."""


def cosine_embedding(
    pairs: Array, target: Array, margin: float = 0.0, *, weight: Array | None = None, tape: Tape | None = None
) -> tuple[Array, Array]:
    """Return (loss, dpairs).

    Args:
        pairs: (rows, 2, features).
        target: (rows,) in the dtype of `pairs`: 1 for similar pairs, -1 for dissimilar ones.
        margin: the cosine up to which a dissimilar pair has no loss, from -1 to 1.

    Example:
        >>> pairs = np.array([[[1.0, 0.0], [2.0, 0.0]], [[1.0, 0.0], [2.0, 0.0]]])
        >>> loss, dpairs = gn.ops.cosine_embedding(pairs, np.array([1.0, -1.0]))  # losses 0 and 1
        >>> float(loss), dpairs.shape
        (0.5, (2, 2, 2))
    """
    margin = real("cosine_embedding: margin", margin, -1, 1, closed="both")
    xp = float_module("cosine_embedding", pairs=pairs, target=target, weight=weight)
    if pairs.ndim != 3 or pairs.shape[1] != 2:
        raise ShapeError(f"cosine_embedding: pairs must be (rows, 2, features), got shape {pairs.shape}.")
    check_shape("cosine_embedding", pairs.shape[:1], target=target, weight=weight)
    if xp is np:
        return _numpy(pairs, target, margin, weight, tape)
    return _cuda(pairs, target, margin, weight, tape, xp)


def _numpy(pairs: Array, target: Array, margin: float, weight: Array | None, tape: Tape | None) -> tuple[Array, Array]:
    a, b = pairs[:, 0], pairs[:, 1]
    loss, slope, dpairs = empty_like(tape, target, np), empty_like(tape, target, np), empty_like(tape, pairs, np)
    alike = np.greater(target, 0, out=empty(tape, target.shape, np.dtype(bool), np))
    cosines = measure(a, b, tape, added=ADDED)
    np.subtract(cosines.cosine, margin, out=loss)
    np.greater_equal(loss, 0, out=slope)
    np.maximum(loss, 0, out=loss)
    np.subtract(1, cosines.cosine, out=loss, where=alike)
    np.copyto(slope, -1, where=alike)
    value, slope = weighted_mean(loss, slope, weight, tape)
    write_gradients(slope, cosines, a, b, dpairs[:, 0], dpairs[:, 1], tape)
    return value, dpairs


def _cuda(
    pairs: Array, target: Array, margin: float, weight: Array | None, tape: Tape | None, xp: ModuleType
) -> tuple[Array, Array]:
    rows, _, width = pairs.shape
    pairs, target, weight = operand(pairs, tape, xp), operand(target, tape, xp), operand(weight, tape, xp)
    dpairs, mean = empty_like(tape, pairs, xp), empty(tape, (), pairs.dtype, xp)
    blocks = max(1, block_count(rows, 4 * ROWS_PER_BLOCK))  # at least one, to write the loss 0 of no rows
    parts = partial_sums(blocks, pairs.dtype, tape, xp)
    weights = weight, weight_sum(weight, tape, xp)
    COSINE_EMBEDDING((blocks,), (THREADS,), pairs, target, *weights, dpairs, *parts, mean, rows, width, margin, ADDED)
    return mean, dpairs
