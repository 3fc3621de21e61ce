"""Layer norm and RMS norm: normalize each row over its features.

    normal = (x - mean) · scale,  scale = 1 / √(variance + eps),  y = normal · weight + bias
    g = dy · weight,  dx = (g - mean(g) - normal · mean(g · normal)) · scale
    dweight = Σ_rows dy · normal,  dbias = Σ_rows dy

Means are over the features of a row. In layer norm (Ba et al. 2016) the variance is biased, and computed from the
differences to the mean. RMS norm (Zhang & Sennrich 2019) subtracts no means and has no bias.
"""

from __future__ import annotations

import math
from types import ModuleType

import numpy as np

from gpunet.arguments import real
from gpunet.cuda import Kernel
from gpunet.device import Array
from gpunet.errors import ShapeError
from gpunet.ops._bias_activation import ones, sum_columns
from gpunet.ops.checks import check_shape, float_module
from gpunet.ops.launch import THREADS, block_count, column_grid, column_sums, operand
from gpunet.tape import Tape, empty, empty_like

FORWARD = Kernel("layer_norm.cu", "layer_norm_forward")
BACKWARD = Kernel("layer_norm.cu", "layer_norm_backward")
COLUMNS = Kernel("layer_norm.cu", "layer_norm_columns")

ROWS_PER_BLOCK = THREADS // 32
"""One warp per row."""


def layer_norm(
    x: Array,
    normalized_shape: tuple[int, ...],
    weight: Array | None = None,
    bias: Array | None = None,
    eps: float = 1e-5,
    *,
    tape: Tape | None = None,
) -> tuple[Array, Array, Array]:
    """Return (y, mean, scale): y in the shape of `x`; mean and scale (rows,), which `layer_norm_backward` needs.

    Args:
        x: (..., *normalized_shape).
        normalized_shape: the last axes of `x`, over which means are taken.
        weight, bias: of shape `normalized_shape`; None for ones and zeros.

    Example:
        >>> y, mean, scale = gn.ops.layer_norm(np.array([[1.0, 3.0], [10.0, 30.0]]), (2,))
        >>> y.round(2), mean
        (array([[-1.,  1.],
               [-1.,  1.]]), array([ 2., 20.]))
    """
    eps = real("layer_norm: eps", eps, 0, closed="left")
    xp = float_module("layer_norm", x=x, weight=weight, bias=bias)
    rows, _ = _matrix_shape("layer_norm", x, normalized_shape, weight=weight, bias=bias)
    mean = empty(tape, (rows,), x.dtype, xp)
    y, scale = _forward(x, normalized_shape, weight, bias, mean, eps, tape, xp)
    return y, mean, scale


def rms_norm(
    x: Array,
    normalized_shape: tuple[int, ...],
    weight: Array | None = None,
    eps: float | None = None,
    *,
    tape: Tape | None = None,
) -> tuple[Array, Array]:
    """Return (y, scale), where y = x · weight / √(mean(x²) + eps); other arguments as for `layer_norm`.

    Args:
        eps: >= 0; None for the machine epsilon of the dtype, as in PyTorch.

    Example:
        >>> y, scale = gn.ops.rms_norm(np.array([[1.0, 7.0]]), (2,))  # mean of the squares: 25
        >>> y.round(2), scale.round(2)
        (array([[0.2, 1.4]]), array([0.2]))
    """
    xp = float_module("rms_norm", x=x, weight=weight)
    _matrix_shape("rms_norm", x, normalized_shape, weight=weight)
    eps = real("rms_norm: eps", np.finfo(x.dtype).eps if eps is None else eps, 0, closed="left")
    return _forward(x, normalized_shape, weight, None, None, eps, tape, xp)


def _forward(
    x: Array,
    normalized_shape: tuple[int, ...],
    weight: Array | None,
    bias: Array | None,
    mean: Array | None,
    eps: float,
    tape: Tape | None,
    xp: ModuleType,
) -> tuple[Array, Array]:
    """Return (y, scale) and fill `mean`; without `mean` this is RMS norm."""
    n = math.prod(normalized_shape)
    rows = x.size // n
    y, scale = empty_like(tape, x, xp), empty(tape, (rows,), x.dtype, xp)
    if xp is np:
        _numpy(_matrix(x, n), _vector(weight), _vector(bias), _matrix(y, n), mean, scale, eps)
        return y, scale
    x, weight, bias = operand(x, tape, xp), operand(weight, tape, xp), operand(bias, tape, xp)
    blocks, options = block_count(rows, ROWS_PER_BLOCK), {"RMS": int(mean is None)}
    FORWARD((blocks,), (THREADS,), x, weight, bias, y, mean, scale, rows, n, eps, options=options)
    return y, scale


def _numpy(
    x: Array, weight: Array | None, bias: Array | None, y: Array, mean: Array | None, scale: Array, eps: float
) -> None:
    n = x.shape[1]
    centered = x
    if mean is not None:
        _mean_of_rows(x, mean)
        centered = np.subtract(x, mean[:, None], out=y)
    np.vecdot(centered, centered, out=scale)
    np.divide(scale, n, out=scale)
    np.add(scale, eps, out=scale)
    np.sqrt(scale, out=scale)
    np.divide(1, scale, out=scale)
    np.multiply(centered, scale[:, None], out=y)
    if weight is not None:
        np.multiply(y, weight, out=y)
    if bias is not None:
        np.add(y, bias, out=y)


def layer_norm_backward(
    dy: Array,
    x: Array,
    normalized_shape: tuple[int, ...],
    mean: Array | None,
    scale: Array,
    weight: Array | None = None,
    *,
    dweight: Array | None = None,
    dbias: Array | None = None,
    input_gradient: bool = True,
    tape: Tape | None = None,
) -> Array | None:
    """Return dx, and write the gradients of weight and bias if requested.

    Args:
        mean: None for RMS norm.
        dweight, dbias: None to skip this gradient; dbias only together with dweight.

    Example:
        >>> x, dy = np.array([[1.0, 3.0]]), np.array([[5.0, 5.0]])
        >>> _, mean, scale = gn.ops.layer_norm(x, (2,))
        >>> gn.ops.layer_norm_backward(dy, x, (2,), mean, scale)  # a shift of the whole row does not change y
        array([[0., 0.]])
    """
    xp = float_module(
        "layer_norm_backward", dy=dy, x=x, mean=mean, scale=scale, weight=weight, dweight=dweight, dbias=dbias
    )
    vectors = {"weight": weight, "dweight": dweight, "dbias": dbias}
    rows, n = _matrix_shape("layer_norm_backward", x, normalized_shape, **vectors)
    check_shape("layer_norm_backward", x.shape, dy=dy)
    check_shape("layer_norm_backward", (rows,), mean=mean, scale=scale)
    if xp is np:
        matrices, gradients = (_matrix(dy, n), _matrix(x, n)), (_vector(dweight), _vector(dbias))
        dx = _numpy_backward(*matrices, mean, scale, _vector(weight), *gradients, input_gradient, tape)
        return None if dx is None else dx.reshape(x.shape)
    dy, x, weight = operand(dy, tape, xp), operand(x, tape, xp), operand(weight, tape, xp)
    options = {"RMS": int(mean is None)}
    if dweight is not None:
        grid = column_grid(x, rows, n)
        partial = column_sums(grid, 2, n, x.dtype, tape, xp)
        sizes = rows, n, math.ceil(rows / grid[1])
        COLUMNS(grid, (32, 8), dy, x, mean, scale, *partial, dweight, dbias, *sizes, options=options)
    if not input_gradient:
        return None
    dx = empty_like(tape, x, xp)
    blocks = block_count(rows, ROWS_PER_BLOCK)
    BACKWARD((blocks,), (THREADS,), dy, x, weight, mean, scale, dx, rows, n, options=options)
    return dx


def _numpy_backward(
    dy: Array,
    x: Array,
    mean: Array | None,
    scale: Array,
    weight: Array | None,
    dweight: Array | None,
    dbias: Array | None,
    input_gradient: bool,
    tape: Tape | None,
) -> Array | None:
    n = x.shape[1]
    normal, g = empty_like(tape, x, np), empty_like(tape, x, np)
    centered = x if mean is None else np.subtract(x, mean[:, None], out=normal)
    np.multiply(centered, scale[:, None], out=normal)
    if dweight is not None:
        sum_columns(np.multiply(dy, normal, out=g), dweight, tape, np)
    if dbias is not None:
        sum_columns(dy, dbias, tape, np)
    if not input_gradient:
        return None
    of_row = empty_like(tape, scale, np)
    if weight is None:
        np.copyto(g, dy)
    else:
        np.multiply(dy, weight, out=g)
    np.vecdot(g, normal, out=of_row)
    np.divide(of_row, n, out=of_row)
    np.multiply(normal, of_row[:, None], out=normal)
    if mean is not None:
        _mean_of_rows(g, of_row)
        np.add(normal, of_row[:, None], out=normal)
    np.subtract(g, normal, out=g)
    return np.multiply(g, scale[:, None], out=g)


def _mean_of_rows(a: Array, out: Array) -> None:
    np.dot(a, ones(a.shape[1], a.dtype), out=out)  # BLAS is faster than mean(axis=1)
    np.divide(out, a.shape[1], out=out)


def _matrix(a: Array, n: int) -> Array:
    """View (..., *normalized_shape), n elements, as (rows, n)."""
    return a if a.ndim == 2 and a.shape[1] == n else a.reshape(a.size // n, n)


def _vector(a: Array | None) -> Array | None:
    """View a parameter as (n,)."""
    return a if a is None or a.ndim == 1 else a.reshape(-1)


def _matrix_shape(op: str, x: Array, normalized_shape: tuple[int, ...], **parameters: Array | None) -> tuple[int, int]:
    """Check the shapes; return rows and features of `x`."""
    axes, n = len(normalized_shape), math.prod(normalized_shape)
    if not axes or not n or x.shape[-axes:] != normalized_shape:
        raise ShapeError(f"{op}: the last axes of x must be {normalized_shape}, all above 0; got shape {x.shape}.")
    check_shape(op, normalized_shape, **parameters)
    return x.size // n, n
