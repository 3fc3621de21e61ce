"""Batch norm, forward and backward, compared with an independent reference."""

import norms
import numpy as np
import pytest
from gradcheck import directional_error
from numpy.testing import assert_allclose, assert_array_equal

from gpunet.errors import DTypeError, ShapeError
from gpunet.ops import batch_norm, batch_norm_backward, batch_statistics
from gpunet.ops._batch_statistics import Running

SHAPES = [(2, 1), (7, 5), (64, 3), (1, 4, 6), (5, 3, 1), (6, 3, 4), (3, 2, 4, 5), (2, 3, 1, 1)]
TOLERANCE = {np.float32: {"rtol": 1e-5, "atol": 2e-5}, np.float64: {"rtol": 1e-9, "atol": 1e-9}}


def problem(shape, dtype):
    rng = np.random.default_rng(0)
    x, dy = (rng.standard_normal(shape) * 2 + 1.5).astype(dtype), rng.standard_normal(shape).astype(dtype)
    return x, dy, *(rng.standard_normal(shape[1]).astype(dtype) for _ in range(2))


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("affine", [True, False])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_values_and_gradients_match_the_reference(shape, affine, dtype):
    x, dy, weight, bias = problem(shape, dtype)
    weight, bias = (weight, bias) if affine else (None, None)
    eps = 1e-2
    mean, variance = batch_statistics(x)
    y = batch_norm(x, mean, variance, weight, bias, eps)
    dx, dweight, dbias = batch_norm_backward(dy, x, mean, variance, weight, eps)

    groups, g = norms.channels(x), norms.channels(dy)
    normal = norms.normalise(groups, eps)
    w, b = (1.0, 0.0) if weight is None else (weight[:, None], bias[:, None])
    for a, e in (
        (y, norms.from_channels(normal * w + b, shape)),
        (dx, norms.from_channels(norms.gradient(groups, g * w, eps), shape)),
        (dweight, (g * normal).sum(axis=1)),
        (dbias, g.sum(axis=1, dtype=np.float64)),
        (mean, groups.mean(axis=1, dtype=np.float64)),
        (variance, groups.var(axis=1, dtype=np.float64)),
    ):
        assert (a.shape, a.dtype) == (e.shape, dtype)
        assert_allclose(a, e, **TOLERANCE[dtype])


def test_two_channels_match_values_computed_by_hand():
    x = np.array([[1.0, 5], [3, 5], [5, 5], [3, 5]])
    mean, variance = batch_statistics(x)
    assert (mean.tolist(), variance.tolist()) == ([3, 5], [2, 0])
    assert_array_equal(batch_norm(x, mean, variance, eps=2), [[-1, 0], [0, 0], [1, 0], [0, 0]])


@pytest.mark.parametrize("shape", [(6, 4), (3, 2, 5)], ids=str)
def test_gradients_match_finite_differences(shape):
    x, dy, weight, bias = problem(shape, np.float64)

    def value(x, weight, bias):
        return float((dy * batch_norm(x, *batch_statistics(x), weight, bias, 0.1)).sum())

    gradients = batch_norm_backward(dy, x, *batch_statistics(x), weight, 0.1)
    assert directional_error(value, [x, weight, bias], gradients) < 1e-8


def test_running_statistics_move_by_momentum_towards_mean_and_unbiased_variance():
    x = np.array([[1.0], [3]])
    running = Running(np.array([10.0]), np.array([1.0]), np.array(4.0), 0.25)
    batch_statistics(x, running)
    assert running[:3] == (10 + 0.25 * (2 - 10), 1 + 0.25 * (2 - 1), 5)


def test_running_statistics_without_momentum_are_plain_means_of_all_batches():
    batches = np.random.default_rng(0).standard_normal((5, 8, 3))
    running = Running(np.zeros(3), np.ones(3), np.zeros(()), None)
    for x in batches:
        batch_statistics(x, running)
    assert_allclose(running.mean, batches.mean(axis=(0, 1)))
    assert_allclose(running.var, batches.var(axis=1, ddof=1).mean(axis=0))


def test_non_finite_and_single_elements_do_not_change_the_running_statistics():
    running = Running(np.array([1.0, 2]), np.array([3.0, 4]), np.zeros(()), 0.5)
    with np.errstate(all="ignore"):
        batch_statistics(np.array([[np.inf, 1], [0, 3]]), running)
    assert (running.mean.tolist(), running.var.tolist()) == ([1, 2], [3, 3])
    for rows in (0, 1):
        batch_statistics(np.ones((rows, 2)), running)
    assert (running.mean.tolist(), running.var.tolist()) == ([1, 2], [3, 3])


X = np.ones((3, 4), np.float32)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: batch_statistics(X[0]), ShapeError, r"x must be \(rows, channels, ...\), .* got shape \(4,\)"),
        (lambda: batch_statistics(X[:, :0]), ShapeError, r"where only rows may be 0; got shape \(3, 0\)"),
        (
            lambda: batch_statistics(X, Running(X[0], X[0, :3], X[0, 0], 0.1)),
            ShapeError,
            r"running_var has shape \(3,\), expected \(4,\)",
        ),
        (lambda: batch_norm(X, X[0], X[0], X[:, 0]), ShapeError, r"batch_norm: weight has shape \(3,\), .* \(4,\)"),
        (lambda: batch_norm(X, X[0].astype(float), X[0]), DTypeError, "x is float32, mean is float64"),
        (lambda: batch_norm_backward(X.T, X, X[0], X[0]), ShapeError, r"dy has shape \(4, 3\), expected \(3, 4\)"),
    ],
)
def test_invalid_arguments_raise(call, error, message):
    with pytest.raises(error, match=message):
        call()
