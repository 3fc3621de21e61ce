import math

import numpy as np
import pytest
from activation_limits import LIMITS, assert_limits, points, slopes, values
from compiler.kernels.checked import DTYPES, run, uninitialized

from gpunet.cuda import Kernel
from gpunet.ops.activations import ELU, FUNCTIONS, CustomActivation, LeakyReLU

FORWARD = Kernel("bias_activation.cu", "bias_activation_forward")
BACKWARD = Kernel("bias_activation.cu", "bias_activation_backward")

SIZES = [(0, 4), (1, 1), (5, 7), (8, 127), (9, 128), (7, 129), (33, 12), (7, 10), (3, 300), (9, 640)]
CASES = [cls() for cls in FUNCTIONS.values()] + [LeakyReLU(0.2), ELU(0.7)]


def parameter(function):
    return next(iter(vars(function).values()), 0.0) if not isinstance(function, CustomActivation) else 0.0


def backward(dy, saved, options, value, chunks=1):
    rows, n = dy.shape
    dz, dbias = uninitialized(dy.shape, dy.dtype), uninitialized(n, dy.dtype)
    grid = (math.ceil(n / (32 * 16 // dy.itemsize)), chunks)
    sums = uninitialized((chunks, n), dy.dtype), np.zeros(grid[0], np.uint32), dbias
    run(BACKWARD, grid, (32, 8), dy, saved, dz, *sums, rows, n, math.ceil(rows / chunks), value, options=options)
    return dz, dbias


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("function", CASES, ids=repr)
def test_every_activation_and_its_derivative_match_numpy(function, dtype):
    rng = np.random.default_rng(0)
    options, value = {"ACTIVATION": function.name}, parameter(function)
    for rows, n in [(5, 7), (6, 128)]:
        z, bias, dy = (3 * rng.standard_normal(shape).astype(dtype) for shape in ((rows, n), (n,), (rows, n)))
        y, inner = uninitialized(z.shape, dtype), uninitialized(z.shape, dtype)
        run(FORWARD, (2,), (256,), z, bias, inner, y, rows, n, value, options=options)
        tolerance = {"rtol": 20 * np.finfo(dtype).eps, "atol": 1e-5 if dtype == np.float32 else 1e-11}
        np.testing.assert_array_equal(inner, z + bias)
        np.testing.assert_allclose(y, function(z + bias), **tolerance)

        saved = y if function.saves == "output" else inner
        dz, dbias = backward(dy, saved, options, value)
        expected = np.empty_like(dy)
        function.backward(dy, np.asarray(saved), expected, np, None)
        np.testing.assert_allclose(dz, expected, **tolerance)
        np.testing.assert_allclose(dbias, expected.sum(axis=0), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("grid", [1, 3])
@pytest.mark.parametrize(("rows", "n"), SIZES)
def test_forward_of_any_size_and_grid_with_and_without_bias_and_in_place(rows, n, grid):
    rng = np.random.default_rng(0)
    for bias in (None, rng.standard_normal(n, np.float32)):
        z = rng.standard_normal((rows, n), np.float32)
        expected = np.maximum(z if bias is None else z + bias, 0)
        run(FORWARD, (grid,), (256,), z, bias, None, z, rows, n, 0.0, options={"ACTIVATION": "relu"})
        np.testing.assert_array_equal(z, expected)


@pytest.mark.parametrize("chunks", [1, 4])
@pytest.mark.parametrize(("rows", "n"), SIZES)
def test_the_bias_gradient_of_any_size_and_number_of_chunks(rows, n, chunks):
    rng = np.random.default_rng(0)
    dy, y = (rng.standard_normal((rows, n)).astype(np.float32) for _ in range(2))
    dz, dbias = backward(dy, y, {"ACTIVATION": "relu"}, 0.0, chunks)
    np.testing.assert_array_equal(dz, dy * (y > 0))
    np.testing.assert_allclose(dbias, (dy * (y > 0)).sum(axis=0), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("function", LIMITS, ids=repr)
def test_infinite_huge_and_zero_arguments_give_the_limits_and_nan_stays_nan(function, dtype):
    z, options, value = points(dtype), {"ACTIVATION": function.name}, parameter(function)
    y = uninitialized(z.shape, dtype)
    run(FORWARD, (1,), (256,), z, None, None, y, *z.shape, value, options=options)
    assert_limits(y, values(function, dtype))
    saved = np.ascontiguousarray((y if function.saves == "output" else z)[:, :-1])
    assert_limits(backward(np.ones_like(saved), saved, options, value)[0], slopes(function, dtype))


def test_a_custom_activation_is_compiled_in():
    options = {"ACTIVATION": "custom", "USER_FORWARD": "z > 0 ? z * z : T(0)", "USER_BACKWARD": "z > 0 ? 2 * z : T(0)"}
    z = np.linspace(-2, 2, 15, dtype=np.float32).reshape(3, 5)
    y = uninitialized(z.shape, z.dtype)
    run(FORWARD, (1,), (256,), z, None, None, y, 3, 5, 0.0, options=options)
    np.testing.assert_allclose(y, np.maximum(z, 0) ** 2)
    dz, _ = backward(np.ones_like(z), z, options, 0.0)
    np.testing.assert_allclose(dz, 2 * np.maximum(z, 0))
