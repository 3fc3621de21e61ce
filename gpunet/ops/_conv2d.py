"""2-D convolution as a matrix product with the patches of the image (im2col; Chellapilla et al. 2006).

    columns = im2col(x),    z = W·columns,    y = f(z + bias)
    dW = dz·columnsᵀ,    dbias = Σ_rows,pixels dz,    dx = col2im(Wᵀ·dz)

Each column of `columns` is a patch: 2·rows·out_channels·out_pixels·patch FLOPs forward, twice that backward. The
patches take patch·out_pixels elements per row. With groups, the channels are divided and each group has its own
filters and its own product.
"""

from __future__ import annotations

import math
from types import ModuleType

import numpy as np

from gpunet.arguments import whole
from gpunet.cuda import Kernel
from gpunet.device import Array, device_of
from gpunet.errors import ArgumentError, ShapeError
from gpunet.ops._bias_activation import activation_backward
from gpunet.ops._matmul import matmul
from gpunet.ops._matmul_plan import multiprocessors
from gpunet.ops.activations import ActivationFunction, Identity, activation_function
from gpunet.ops.checks import check_buffers, check_shape, float_module
from gpunet.ops.im2col import col2im, im2col
from gpunet.ops.launch import THREADS, block_count, operand
from gpunet.ops.window import Size, Window
from gpunet.tape import Tape, empty, zeros

OUTPUT = Kernel("convolution.cu", "conv2d_output")
OUTPUT_BACKWARD = Kernel("convolution.cu", "conv2d_output_backward")

PATCH_ELEMENTS = {"cpu": 2**20, "gpu": 2**26}
"""Maximum size of the patches in inference, which bounds the memory; on the CPU they stay in the cache."""


def conv2d(
    x: Array,
    weight: Array,
    bias: Array | None = None,
    stride: Size = 1,
    padding: Size = 0,
    dilation: Size = 1,
    groups: int = 1,
    *,
    activation: str | ActivationFunction | None = None,
    out: Array | None = None,
    columns: Array | None = None,
    preactivation: Array | None = None,
    kernel: str | None = None,
    tape: Tape | None = None,
) -> Array:
    """Return f(x * weight + bias), the cross-correlation of each image with each filter, as PyTorch's `conv2d`.

    Args:
        x: (rows, channels, height, width).
        weight: (out_channels, channels / groups, kernel_h, kernel_w); groups must divide both numbers of channels.
        bias: (out_channels,), or None.
        padding: number of zeros on each side of an image.
        out: (rows, out_channels, out_h, out_w), C-contiguous.
        columns: where to write the patches for the backward pass, C-contiguous:
            (groups, channels·kernel_h·kernel_w / groups, rows·out_h·out_w).
        preactivation: where to write x * weight + bias, C-contiguous and not `out`.

    Example:
        >>> x, weight = np.ones((1, 1, 4, 4)), np.ones((2, 1, 3, 3))
        >>> gn.ops.conv2d(x, weight).shape, gn.ops.conv2d(x, weight, padding=1).shape
        ((1, 2, 2, 2), (1, 2, 4, 4))
    """
    xp = float_module("conv2d", x=x, weight=weight, bias=bias, out=out, columns=columns, preactivation=preactivation)
    window, shape, columns_shape = _geometry("conv2d", x, weight, stride, padding, dilation, groups)
    check_shape("conv2d", shape[1:2], bias=bias)
    check_buffers("conv2d", columns_shape, columns=columns)
    check_buffers("conv2d", shape, out=out, preactivation=preactivation)
    if out is None:
        out = empty(tape, shape, x.dtype, xp)
    inference = tape is None and columns is None and preactivation is None
    at_once = max(1, PATCH_ELEMENTS["cpu" if xp is np else "gpu"] * len(x) // max(1, math.prod(columns_shape)))
    if inference and at_once < len(x):
        for first in range(0, len(x), at_once):
            rows = slice(first, first + at_once)
            conv2d(x[rows], weight, bias, *window[1:], groups, activation=activation, out=out[rows], kernel=kernel)
        return out
    if columns is None:
        columns = empty(tape, columns_shape, x.dtype, xp)
    im2col(x, window, columns, tape)
    z = empty(tape, (groups, shape[1] // groups, columns_shape[2]), x.dtype, xp)
    matmul(_filters(weight, groups), columns, out=z, kernel=kernel, tape=tape)
    _output(z, bias, activation_function(activation), preactivation, out, tape, xp)
    return out


def conv2d_backward(
    dy: Array,
    x: Array,
    weight: Array,
    stride: Size = 1,
    padding: Size = 0,
    dilation: Size = 1,
    groups: int = 1,
    *,
    saved: Array | None = None,
    activation: str | ActivationFunction | None = None,
    columns: Array | None = None,
    input_gradient: bool = True,
    weight_gradient: bool = True,
    bias_gradient: bool = True,
    dweight: Array | None = None,
    dbias: Array | None = None,
    kernel: str | None = None,
    tape: Tape | None = None,
) -> tuple[Array | None, Array | None, Array | None]:
    """Return (dx, dweight, dbias), the gradients of y = conv2d(x, weight, bias, ...).

    Args:
        saved: required unless the activation is the identity.
        columns: the array that `conv2d` filled, which is overwritten; None recomputes the patches.
        dweight, dbias: C-contiguous.

    Example:
        >>> x, weight, dy = np.ones((1, 1, 4, 4)), np.ones((2, 1, 3, 3)), np.ones((1, 2, 2, 2))
        >>> dx, dweight, dbias = gn.ops.conv2d_backward(dy, x, weight)
        >>> dx.shape, dweight.shape, dbias
        ((1, 1, 4, 4), (2, 1, 3, 3), array([4., 4.]))
    """
    name = "conv2d_backward"
    xp = float_module(name, dy=dy, x=x, weight=weight, saved=saved, columns=columns, dweight=dweight, dbias=dbias)
    window, shape, columns_shape = _geometry(name, x, weight, stride, padding, dilation, groups)
    check_shape(name, shape, dy=dy, saved=saved)
    check_buffers(name, columns_shape, columns=columns)
    check_buffers(name, weight.shape, dweight=dweight)
    check_buffers(name, weight.shape[:1], dbias=dbias)
    function = activation_function(activation)
    if isinstance(function, Identity):
        saved = None
    elif saved is None:
        raise ArgumentError(f"{name}: the derivative of {function!r} needs saved, its {function.saves}.")
    if dweight is None and weight_gradient:
        dweight = xp.empty(weight.shape, weight.dtype)
    if dbias is None and bias_gradient:
        dbias = xp.empty(weight.shape[:1], weight.dtype)
    if columns is None:
        columns = empty(tape, columns_shape, x.dtype, xp)
        if dweight is not None:
            im2col(x, window, columns, tape)
    dz = empty(tape, (groups, shape[1] // groups, columns_shape[2]), x.dtype, xp)
    _output_backward(dy, saved, function, dz, dbias, tape, xp)
    if dweight is not None:
        matmul(dz, columns, transpose_b=True, out=_filters(dweight, groups), kernel=kernel, tape=tape)
    if not input_gradient:
        return None, dweight, dbias
    matmul(_filters(weight, groups), dz, transpose_a=True, out=columns, kernel=kernel, tape=tape)
    return col2im(columns, window, x.shape, tape), dweight, dbias


def _output(
    z: Array,
    bias: Array | None,
    function: ActivationFunction,
    preactivation: Array | None,
    out: Array,
    tape: Tape | None,
    xp: ModuleType,
) -> None:
    """Write f(z + bias) to `out` in row order; `z` is in channel order."""
    inner = out if preactivation is None else preactivation
    rows, channels, *pixels = out.shape
    if xp is np:
        z = z.reshape(channels, rows, *pixels).swapaxes(0, 1)
        if bias is None:
            np.copyto(inner, z)
        else:
            np.add(z, bias.reshape(channels, 1, 1), out=inner)
        function.forward(inner, out, xp, tape)
        return
    options = function.cuda_options()
    if options is None:  # array code, which runs separately
        _output(z, bias, Identity(), None, inner, tape, xp)
        function.forward(inner, out, xp, tape)
        return
    grid = (block_count(out.nbytes, 16 * THREADS),)
    sizes = rows, channels, math.prod(pixels), function.parameter
    OUTPUT(grid, (THREADS,), z, bias, preactivation, out, *sizes, options=options)


def _output_backward(
    dy: Array,
    saved: Array | None,
    function: ActivationFunction,
    dz: Array,
    dbias: Array | None,
    tape: Tape | None,
    xp: ModuleType,
) -> None:
    """Write dy · f'(saved) to `dz` in channel order, and the sum of each channel to `dbias`."""
    rows, channels, *pixels = dy.shape
    if xp is np:
        kept = dy if saved is None else saved  # the identity reads neither
        function.backward(dy, kept, dz.reshape(channels, rows, *pixels).swapaxes(0, 1), xp, tape)
        if dbias is not None:
            np.add.reduce(dz.reshape(channels, rows * math.prod(pixels)), axis=1, out=dbias)
        return
    options = function.cuda_options()
    if options is None:
        dy, saved, options = activation_backward(dy, saved, function, tape=tape), None, {}
    most = multiprocessors(device_of(dy)) // max(1, channels)  # fill the GPU, with at least 64 bytes per thread
    chunks = max(1, min(most, block_count(dy.nbytes // max(1, channels), 64 * THREADS)))
    sums = arrivals = None
    if chunks > 1:
        sums = empty(tape, (channels, chunks), dy.dtype, xp)
        arrivals = zeros(tape, (channels,), np.dtype(np.uint32), xp)
    arrays = operand(dy, tape, xp), operand(saved, tape, xp), dz, sums, arrivals, dbias
    sizes = rows, channels, math.prod(pixels), function.parameter
    OUTPUT_BACKWARD((chunks, channels), (THREADS,), *arrays, *sizes, options=options)


def _filters(weight: Array, groups: int) -> Array:
    """View the filters as matrices (groups, out_channels / groups, elements of a filter)."""
    return weight.reshape(groups, len(weight) // groups, math.prod(weight.shape[1:]))


def _geometry(
    op: str, x: Array, weight: Array, stride: Size, padding: Size, dilation: Size, groups: int
) -> tuple[Window, tuple[int, ...], tuple[int, ...]]:
    """Return the window, the shape of the output and the shape of the columns."""
    if x.ndim != 4 or weight.ndim != 4:
        raise ShapeError(
            f"{op}: x has shape {x.shape}, weight {weight.shape}; expected (rows, channels, height, width) and "
            "(out_channels, channels / groups, kernel_h, kernel_w)."
        )
    window = Window.of(op, weight.shape[2:], stride, padding, dilation)
    rows, channels = x.shape[:2]
    filters, depth = weight.shape[:2]
    groups = whole(f"{op}: groups", groups)
    if channels % groups or filters % groups:
        raise ArgumentError(f"{op}: groups={groups} must divide the {channels} channels of x and {filters} filters.")
    if channels // groups != depth:
        raise ShapeError(
            f"{op}: x of shape {x.shape} has {channels // groups} channels for each of {groups} groups, but weight of "
            f"shape {weight.shape} expects {depth}."
        )
    out = window.places(op, x.shape[2:])
    return window, (rows, filters, *out), (groups, depth * math.prod(window.kernel_size), rows * math.prod(out))
