"""Sums, gather, dropout and metrics."""

import math

import numpy as np
import pytest
from compiler.kernels.checked import DTYPES, partial_sums, run, uninitialized

from gpunet import random
from gpunet.cuda import CTYPES, Kernel
from gpunet.data import Standardizer
from gpunet.ops.launch import row_lanes

SUM = Kernel("reduce.cu", "sum")
SUM_COLUMNS = Kernel("reduce.cu", "sum_columns")
GATHER = Kernel("gather.cu", "gather")
GATHER_BATCH = Kernel("gather.cu", "gather_batch")
DROPOUT = Kernel("dropout.cu", "dropout_forward")
DROPOUT_BACKWARD = Kernel("dropout.cu", "dropout_backward")
STORED = [(np.dtype(kind), DTYPES[0]) for kind in ("uint8", "int16", "uint64", "float32", "float64")]
STORED += [(np.dtype(np.uint8), DTYPES[1])]
METRICS = {name: Kernel("metrics.cu", f"accumulate_{name}") for name in ("loss", "labels", "distributions", "binary")}


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize(
    ("size", "blocks"), [(0, 5), (1, 5), (31, 5), (32, 5), (256, 5), (257, 5), (5000, 5), (9000, 33)]
)
def test_a_sum_over_several_blocks_is_correct_and_resets_its_counter(size, blocks, dtype):
    x, threads = np.random.default_rng(0).standard_normal(size).astype(dtype), 256 if blocks < 32 else 32
    parts, total = partial_sums(blocks, dtype), uninitialized(1, dtype)
    for _ in range(2):
        run(SUM, (blocks,), (threads,), x, *parts, total, size)
        np.testing.assert_allclose(total[0], x.sum(dtype=np.float64), atol=1e-4 if dtype == np.float32 else 1e-12)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("chunks", [1, 3])
@pytest.mark.parametrize(("rows", "n"), [(0, 3), (1, 1), (7, 127), (8, 128), (9, 129), (100, 10)])
def test_column_sums_are_correct(rows, n, chunks, dtype):
    x = np.random.default_rng(0).standard_normal((rows, n)).astype(dtype)
    grid = (math.ceil(n / (32 * 16 // dtype.itemsize)), chunks)
    sums, arrivals = uninitialized(n, dtype), np.zeros(grid[0], np.uint32)
    partial = uninitialized((chunks, n), dtype)
    run(SUM_COLUMNS, grid, (32, 8), x, partial, arrivals, sums, rows, n, math.ceil(rows / chunks))
    assert not arrivals.any()
    np.testing.assert_allclose(sums, x.sum(axis=0, dtype=np.float64), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("dtype", [np.uint32, np.uint8])
@pytest.mark.parametrize("width", [1, 3, 16, 64])
def test_gather_copies_rows(width, dtype):
    rng = np.random.default_rng(0)
    a = rng.integers(0, 100, (20, width)).astype(dtype)
    for blocks, count in ((2, 11), (1, 5), (3, 0)):
        rows, out = rng.integers(0, 20, count), uninitialized((count, width), a.dtype)
        run(GATHER, (blocks,), (256,), a, rows, out, 20, width, count)
        np.testing.assert_array_equal(out, a[rows])


def test_gather_clamps_indices_out_of_range():
    a = np.arange(5, dtype=np.uint32).reshape(5, 1)
    out = uninitialized((3, 1), a.dtype)
    run(GATHER, (1,), (256,), a, np.array([-3, 2, 99]), out, 5, 1, 3)
    np.testing.assert_array_equal(out.ravel(), [0, 2, 4])


def stored(dtype, shape):
    """Return numbers of a dtype, its largest and smallest among them."""
    rng = np.random.default_rng(0)
    if dtype.kind == "f":
        return (1000 + 3 * rng.standard_normal(shape)).astype(dtype)
    limits = np.iinfo(dtype)
    a = rng.integers(limits.min, limits.max, shape, dtype, endpoint=True)
    a.flat[:2] = limits.min, limits.max
    return a


@pytest.mark.parametrize(("source", "dtype"), STORED, ids=str)
@pytest.mark.parametrize("widths", [(1, 0, 0), (3, 2, 0), (16, 1, 1), (64, 4, 16)], ids=str)
def test_a_batch_is_converted_exactly_as_on_the_host_and_advances(widths, source, dtype):
    rng = np.random.default_rng(0)
    x = stored(source, (20, widths[0]))
    scaler = Standardizer.fit(x)
    others = [rng.integers(0, 100, (20, width)).astype(np.uint32) if width else None for width in widths[1:]]
    order, first, arrivals = rng.permutation(20), np.array([2]), np.zeros(1, np.uint32)
    options = {"SOURCE": CTYPES[source]}
    for blocks, count, scaling in ((2, 7, (scaler.mean, scaler.factor)), (1, 5, (None, None)), (3, 0, (None, None))):
        outs = [None if a is None else uninitialized((count, a.shape[1]), a.dtype) for a in others]
        out, begin = uninitialized((count, widths[0]), dtype), first[0]
        given = x, *scaling, *others, order, first, arrivals, out, *outs, 20, *widths, 20, count
        run(GATHER_BATCH, (blocks,), (256,), *given, options=options)
        assert first[0] == begin + count
        rows = order[begin : begin + count]
        expected = x[rows].astype(dtype) if scaling[0] is None else scaler.apply(x[rows], dtype)
        np.testing.assert_array_equal(out, expected)
        for a, of_batch in zip(others, outs, strict=True):
            if a is not None:
                np.testing.assert_array_equal(of_batch, a[rows])


def test_a_batch_clamps_positions_and_rows_out_of_range():
    x, out = np.arange(5, dtype=np.float32).reshape(5, 1), uninitialized((4, 1), np.dtype(np.float32))
    order, none = np.array([-3, 2, 99]), (None, None)
    given = x, *none, *none, order, np.array([0]), np.zeros(1, np.uint32), out, *none, 5, 1, 0, 0, 3, 4
    run(GATHER_BATCH, (1,), (256,), *given)
    np.testing.assert_array_equal(out.ravel(), [0, 2, 4, 4])


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize(
    ("rows", "width", "first_row"), [(1, 1, 0), (3, 8, 0), (5, 16, 3), (7, 5, 0), (7, 5, 11), (40, 64, 2)]
)
def test_dropout_masks_are_bit_identical_to_the_cpu(rows, width, first_row, dtype):
    seed, step, draw = 2**63 + 5, 17, 3
    uniform = np.empty((rows, width), np.float32)
    random.uniform(uniform, seed=seed, step=step, draw=draw, first_row=first_row)
    x = np.random.default_rng(0).standard_normal((rows, width)).astype(dtype)
    for grid, p in ((1, 0.3), (2, float(uniform[0, 0]))):  # an element whose number equals p is kept
        keep, scale = uniform >= np.float32(p), 1 / (1 - p)
        y, mask = uninitialized(x.shape, dtype), uninitialized(x.shape, np.dtype(bool))
        run(DROPOUT, (grid,), (256,), x, y, mask, np.array([step]), seed, draw, first_row * width, x.size, p, scale)
        np.testing.assert_array_equal(mask, keep)
        np.testing.assert_array_equal(y, x * dtype.type(scale) * keep)
    dx = uninitialized(x.shape, dtype)
    run(DROPOUT_BACKWARD, (2,), (256,), x, np.asarray(mask), dx, x.size, scale)
    np.testing.assert_array_equal(dx, y)


@pytest.mark.parametrize("classes", [1, 2, 10, 32, 77])
def test_correct_predictions_are_counted_as_with_numpys_argmax(classes):
    rng = np.random.default_rng(0)
    prediction = rng.integers(0, 4, (50, classes)).astype(np.float32)  # many ties
    prediction[3, -1] = prediction[4, 0] = np.nan
    target = rng.random((50, classes)).astype(np.float32)
    labels = rng.integers(0, classes, 50)
    target[7, 0], prediction[7, 0] = 0.5, 0  # neither is true
    big = 2.0**30  # in float, what is added to it would be lost
    totals, loss = np.array([big + 1, 2.0]), np.array([0.5], np.float32)
    options = {"LANES": row_lanes(classes)}
    run(METRICS["labels"], (1,), (512,), loss, prediction, labels, totals, 50, classes, options=options)
    right = int((prediction.argmax(axis=1) == labels).sum())
    assert totals.tolist() == [big + 26, 2 + right]
    run(METRICS["distributions"], (1,), (512,), loss, prediction, target, totals, 50, classes, options=options)
    right += int((prediction.argmax(axis=1) == target.argmax(axis=1)).sum())
    assert totals.tolist() == [big + 51, 2 + right]
    run(METRICS["binary"], (1,), (512,), loss, prediction, target, totals, 50, classes)
    right += int(((prediction > 0) == (target > 0.5)).sum())
    assert totals.tolist() == [big + 76, 2 + right]
    run(METRICS["loss"], (1,), (1,), loss, totals, 50)
    assert totals.tolist() == [big + 101, 2 + right]
