"""The kernels before and after the product of a convolution, for any size, grid and number of chunks."""

import math

import numpy as np
import pytest
from compiler.kernels.checked import run, uninitialized

from gpunet.cuda import Kernel
from gpunet.ops import conv2d, conv2d_backward

IM2COL = Kernel("convolution.cu", "im2col")
COL2IM = Kernel("convolution.cu", "col2im")
OUTPUT = Kernel("convolution.cu", "conv2d_output")
OUTPUT_BACKWARD = Kernel("convolution.cu", "conv2d_output_backward")

RNG = np.random.default_rng(0)
FLOAT = np.dtype(np.float32)
RELU = {"ACTIVATION": "relu"}
GEOMETRIES = [  # rows, channels, image, kernel, stride, padding, dilation
    (2, 3, (5, 6), (3, 2), (1, 2), (1, 0), (1, 2)),
    (3, 2, (7, 4), (2, 3), (3, 1), (0, 2), (2, 1)),
    (1, 1, (1, 1), (1, 1), (1, 1), (0, 0), (1, 1)),
    (0, 2, (3, 3), (3, 3), (1, 1), (1, 1), (1, 1)),
]
SIZES = [(0, 3, 4), (1, 1, 1), (5, 3, 7), (3, 5, 8), (3, 5, 6), (2, 2, 600)]  # rows, channels, pixels


def normal(*shape):
    return RNG.standard_normal(shape, np.float32)


@pytest.mark.parametrize("grid", [1, 3])
@pytest.mark.parametrize("geometry", GEOMETRIES, ids=str)
def test_im2col_and_col2im_match_numpy(geometry, grid):
    rows, channels, image, kernel, *sizes = geometry
    taps = channels * math.prod(kernel)
    x, each = normal(rows, channels, *image), np.eye(taps, dtype=np.float32).reshape(taps, channels, *kernel)
    y = conv2d(x, each, None, *sizes)  # each filter has a single 1, so its output is an element of each patch
    out = y.shape[2:]
    columns = uninitialized((taps, rows * math.prod(out)), FLOAT)
    numbers = (*x.shape, *out, *kernel, *(size for pair in sizes for size in pair))
    run(IM2COL, (grid,), (256,), x, columns, *numbers, options=RELU)
    np.testing.assert_array_equal(columns, y.swapaxes(0, 1).reshape(columns.shape))

    dy = normal(*y.shape)
    dx = uninitialized(x.shape, FLOAT)
    dcolumns = np.ascontiguousarray(dy.swapaxes(0, 1)).reshape(columns.shape)
    run(COL2IM, (grid,), (256,), dcolumns, dx, *numbers, options=RELU)
    np.testing.assert_array_equal(dx, conv2d_backward(dy, x, each, *sizes)[0])  # the same order, so the same bits


@pytest.mark.parametrize("grid", [1, 3])
@pytest.mark.parametrize(("rows", "channels", "pixels"), SIZES)
def test_conv2d_output_adds_bias_and_activation_in_row_order(rows, channels, pixels, grid):
    z, bias = normal(channels, rows, pixels), normal(channels)
    y, inner = (uninitialized((rows, channels, pixels), FLOAT) for _ in range(2))
    run(OUTPUT, (grid,), (256,), z, bias, inner, y, rows, channels, pixels, 0.0, options=RELU)
    expected = z.swapaxes(0, 1) + bias[:, None]
    np.testing.assert_array_equal(inner, expected)
    np.testing.assert_array_equal(y, np.maximum(expected, 0))
    run(OUTPUT, (grid,), (256,), z, None, None, y, rows, channels, pixels, 0.0, options=RELU)
    np.testing.assert_array_equal(y, np.maximum(z.swapaxes(0, 1), 0))


@pytest.mark.parametrize("chunks", [1, 4])
@pytest.mark.parametrize(("rows", "channels", "pixels"), SIZES)
def test_conv2d_output_backward_writes_channel_order_and_sums_channels(rows, channels, pixels, chunks):
    dy, y = normal(rows, channels, pixels), normal(rows, channels, pixels)
    for saved, expected in ((y, dy * (y > 0)), (None, dy)):
        dz, dbias = uninitialized((channels, rows, pixels), FLOAT), uninitialized(channels, FLOAT)
        sums, arrivals = uninitialized((channels, chunks), FLOAT), np.zeros(channels, np.uint32)
        scratch = sums, arrivals, dbias
        arguments = rows, channels, pixels, 0.0
        run(OUTPUT_BACKWARD, (chunks, channels), (256,), dy, saved, dz, *scratch, *arguments, options=RELU)
        np.testing.assert_array_equal(dz, expected.swapaxes(0, 1))
        np.testing.assert_allclose(dbias, expected.sum(axis=(0, 2)), rtol=1e-5, atol=1e-5)
        assert not arrivals.any()
