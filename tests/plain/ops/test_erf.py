import math
import tracemalloc

import numpy as np
import pytest

from gpunet.ops._erf import erf

TOLERANCE = {np.float32: 1e-7, np.float64: 1e-12}
both_precisions = pytest.mark.parametrize("dtype", TOLERANCE)


def compute(x, out=None):
    out = np.empty_like(x) if out is None else out
    erf(x, out, np.empty_like(x), np.empty_like(x))
    return out


def everywhere(dtype):
    """Return numbers of every size, and dense ones where erf bends."""
    smallest, largest = np.finfo(dtype).smallest_subnormal, np.finfo(dtype).max
    sizes = np.geomspace(smallest, largest / 2, 20_000)
    positive = np.concatenate([sizes, [largest], np.linspace(0, 7, 100_001)]).astype(dtype)
    return np.concatenate([-positive, positive])


@both_precisions
def test_error_is_within_the_documented_bound_from_subnormals_to_the_largest_number(dtype):
    x = everywhere(dtype)
    truth = np.array([math.erf(value) for value in x.tolist()])
    assert np.abs(compute(x) - truth).max() <= TOLERANCE[dtype]


@both_precisions
def test_relative_error_is_small_near_zero_too(dtype):
    x = np.geomspace(1e-30, 1, 10_000).astype(dtype)
    truth = np.array([math.erf(value) for value in x.tolist()])
    np.testing.assert_allclose(compute(x), truth, rtol=5 * TOLERANCE[dtype])


@both_precisions
def test_infinities_zeros_and_nan_are_exact(dtype):
    x = np.array([np.inf, -np.inf, 0.0, -0.0, np.nan], dtype)
    y = compute(x)
    np.testing.assert_array_equal(y, np.array([1, -1, 0, 0, np.nan], dtype))
    assert np.signbit(y[:4]).tolist() == [False, True, False, True]


@both_precisions
def test_erf_is_odd_and_saturates_to_exactly_one(dtype):
    x = everywhere(dtype)
    y = compute(x)
    np.testing.assert_array_equal(compute(-x), -y)
    assert (y[x >= 6] == 1).all()


@both_precisions
def test_out_may_be_the_input(dtype):
    x = everywhere(dtype)
    expected = compute(x)
    np.testing.assert_array_equal(compute(x, out=x), expected)


@both_precisions
def test_no_floating_point_warning_is_raised(dtype):
    x = np.append(everywhere(dtype), [np.inf, -np.inf, np.nan]).astype(dtype)
    with np.errstate(over="raise", invalid="raise", divide="raise"):
        compute(x)


@both_precisions
def test_no_array_as_large_as_a_row_is_allocated(dtype):
    x = np.zeros((256, 512), dtype)
    buffers = [np.empty_like(x) for _ in range(3)]
    erf(x, *buffers)
    tracemalloc.start()
    erf(x, *buffers)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < x[0].nbytes
