"""The kernels of the norms with grids that the operations use only for large batches."""

import math

import norms
import numpy as np
import pytest
from compiler.kernels.checked import DTYPES, run, uninitialized

from gpunet.cuda import Kernel

LAYER_NORM = {name: Kernel("layer_norm.cu", f"layer_norm_{name}") for name in ("forward", "backward", "columns")}
BATCH_MEAN = Kernel("batch_norm.cu", "batch_norm_mean")
GLU = {name: Kernel("glu.cu", f"glu_{name}") for name in ("forward", "backward")}


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("rms", [0, 1])
@pytest.mark.parametrize("blocks", [1, 2, 3])
def test_layer_norm_strides_over_more_rows_than_it_has_warps(blocks, rms, dtype):
    rng = np.random.default_rng(0)
    rows, n = 21, 36
    x, dy, weight = (rng.standard_normal(shape).astype(dtype) for shape in ((rows, n), (rows, n), n))
    y, scale, dx = uninitialized((rows, n), dtype), uninitialized(rows, dtype), uninitialized((rows, n), dtype)
    mean, options = None if rms else uninitialized(rows, dtype), {"RMS": rms}
    run(LAYER_NORM["forward"], (blocks,), (256,), x, weight, None, y, mean, scale, rows, n, 0.1, options=options)
    kept = None if mean is None else np.asarray(mean), np.asarray(scale)
    run(LAYER_NORM["backward"], (blocks,), (256,), dy, x, weight, *kept, dx, rows, n, options=options)
    tolerance = {"rtol": 1e-5, "atol": 1e-5}
    np.testing.assert_allclose(y, norms.normalise(x, 0.1, not rms) * weight, **tolerance)
    np.testing.assert_allclose(dx, norms.gradient(x, dy * weight, 0.1, not rms), **tolerance)

    grid = math.ceil(n / (32 * 16 // dtype.itemsize)), blocks
    partial, arrivals = uninitialized((blocks, 2, n), dtype), np.zeros(grid[0], np.uint32)
    dweight, dbias = uninitialized(n, dtype), uninitialized(n, dtype)
    sizes = rows, n, math.ceil(rows / blocks)
    for _ in range(2):  # ready for the next launch
        run(
            LAYER_NORM["columns"], grid, (32, 8), dy, x, *kept, partial, arrivals, dweight, dbias, *sizes,
            options=options,
        )  # fmt: skip
        np.testing.assert_allclose(dweight, (dy * norms.normalise(x, 0.1, not rms)).sum(axis=0), **tolerance)
        np.testing.assert_allclose(dbias, dy.sum(axis=0), **tolerance)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("chunks", [1, 3])
@pytest.mark.parametrize(("channels", "size"), [(5, 1), (130, 1), (3, 40), (9, 33)])
def test_channels_are_summed_over_columns_and_chunks(channels, size, chunks, dtype):
    x = np.random.default_rng(0).standard_normal((20, channels, size)).astype(dtype)
    n = channels * size
    grid = math.ceil(n / (32 * 16 // dtype.itemsize)), chunks
    columns = (None, None) if size == 1 else (uninitialized(n, dtype), np.zeros(1, np.uint32))
    scratch = *columns, uninitialized((chunks, n), dtype), np.zeros(grid[0], np.uint32)
    mean, batches = uninitialized(channels, dtype), np.zeros(1, dtype)
    for _ in range(2):
        run(BATCH_MEAN, grid, (32, 8), x, *scratch, mean, batches, 20, channels, size, math.ceil(20 / chunks))
        np.testing.assert_allclose(mean, x.mean(axis=(0, 2), dtype=np.float64), rtol=1e-5, atol=1e-6)
    assert batches == 2


@pytest.mark.parametrize("n", [6, 7, 8])
def test_gated_units_stride_over_more_elements_than_there_are_threads(n):
    rng = np.random.default_rng(0)
    x, dy = (rng.standard_normal(shape).astype(np.float32) for shape in ((300, 2 * n), (300, n)))
    y, dx = uninitialized(dy.shape, dy.dtype), uninitialized(x.shape, x.dtype)
    run(GLU["forward"], (1,), (256,), x, y, 300, n, 0.0, options={"ACTIVATION": "relu"})
    run(GLU["backward"], (1,), (256,), dy, x, dx, 300, n, 0.0, options={"ACTIVATION": "relu"})
    a, b = x[:, :n], x[:, n:]
    np.testing.assert_array_equal(y, a * np.maximum(b, 0))
    np.testing.assert_array_equal(dx, np.hstack([dy * np.maximum(b, 0), dy * a * (b > 0)]))
