"""Layer norm and RMS norm, forward and backward, compared with an independent reference."""

import math

import norms
import numpy as np
import pytest
from gradcheck import directional_error
from numpy.testing import assert_allclose, assert_array_equal

from gpunet.errors import DTypeError, ShapeError
from gpunet.ops import layer_norm, layer_norm_backward, rms_norm

SHAPES = [
    ((4, 1), 1),
    ((1, 7), 1),
    ((6, 5), 1),
    ((2, 3, 8), 1),
    ((2, 3, 8), 2),
    ((5, 2, 3, 4), 3),
    ((5,), 1),
    ((0, 3), 1),
]
TOLERANCE = {np.float32: {"rtol": 1e-5, "atol": 1e-5}, np.float64: {"rtol": 1e-9, "atol": 1e-9}}


def problem(shape, axes, dtype, offset=0.0):
    rng = np.random.default_rng(0)
    normalized = shape[-axes:]
    x, dy = (rng.standard_normal(shape) * 2 + offset).astype(dtype), rng.standard_normal(shape).astype(dtype)
    return x, dy, *(rng.standard_normal(normalized).astype(dtype) for _ in range(2)), normalized


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("affine", ["weight and bias", "weight", "none"])
@pytest.mark.parametrize("center", [True, False], ids=["layer norm", "RMS norm"])
@pytest.mark.parametrize(("shape", "axes"), SHAPES, ids=str)
def test_values_and_gradients_match_the_reference(shape, axes, center, affine, dtype):
    x, dy, weight, bias, normalized = problem(shape, axes, dtype, offset=1.5)
    weight, bias = weight if affine != "none" else None, bias if affine == "weight and bias" and center else None
    eps = 1e-3
    if center:
        y, mean, scale = layer_norm(x, normalized, weight, bias, eps)
    else:
        (y, scale), mean = rms_norm(x, normalized, weight, eps), None
    dweight, dbias = np.empty(normalized, dtype), np.empty(normalized, dtype)
    dx = layer_norm_backward(dy, x, normalized, mean, scale, weight, dweight=dweight, dbias=dbias)

    groups, g = (a.reshape(len(scale), *normalized) for a in (x, dy))
    flat = groups.reshape(len(groups), math.prod(normalized))
    normal = norms.normalise(flat, eps, center).reshape(groups.shape)
    w, b = 1.0 if weight is None else weight, 0.0 if bias is None else bias
    expected = norms.gradient(flat, (g * w).reshape(flat.shape), eps, center)
    for a, e in (
        (y, (normal * w + b).reshape(shape)),
        (dx, expected.reshape(shape)),
        (dweight, (g * normal).sum(axis=0)),
        (dbias, g.sum(axis=0, dtype=np.float64)),
    ):
        assert (a.shape, a.dtype) == (e.shape, dtype)
        assert_allclose(a, e, **TOLERANCE[dtype])


def test_a_row_matches_values_computed_by_hand():
    y, mean, scale = layer_norm(np.array([[1.0, 2, 3, 6]]), (4,), eps=0.5)
    assert (mean.tolist(), scale.tolist()) == ([3], [0.5])  # the variance is (4 + 1 + 0 + 9) / 4 = 3.5
    assert_array_equal(y, [[-1, -0.5, 0, 1.5]])
    y, scale = rms_norm(np.array([[1.0, 1, -1, 3]]), (4,), eps=1.0)
    assert_array_equal(y, [[0.5, 0.5, -0.5, 1.5]])  # the mean square is 12 / 4 = 3
    assert scale == 0.5


@pytest.mark.parametrize("center", [True, False])
def test_gradients_match_finite_differences(center):
    x, dy, weight, bias, normalized = problem((5, 6), 1, np.float64)

    def value(x, weight, bias):
        y = layer_norm(x, normalized, weight, bias, 0.1)[0] if center else rms_norm(x, normalized, weight, 0.1)[0]
        return float((dy * y).sum())

    mean, scale = layer_norm(x, normalized, eps=0.1)[1:] if center else (None, rms_norm(x, normalized, eps=0.1)[1])
    dweight, dbias = np.empty(6), np.empty(6)
    dx = layer_norm_backward(dy, x, normalized, mean, scale, weight, dweight=dweight, dbias=dbias)
    assert directional_error(value, [x, weight, bias], [dx, dweight, dbias * center]) < 1e-8


def test_variance_is_accurate_for_numbers_far_from_zero():
    x = (np.random.default_rng(0).standard_normal((4, 300)) + 3000).astype(np.float32)
    y = layer_norm(x, (300,))[0]
    assert_allclose(y, norms.normalise(x, 1e-5), atol=2e-3)


def test_rms_norm_adds_the_machine_epsilon_of_its_dtype():
    for dtype in (np.float32, np.float64):
        scale = rms_norm(np.zeros((1, 3), dtype), (3,))[1]
        assert_allclose(scale, 1 / np.sqrt(np.finfo(dtype).eps), rtol=1e-6)


def test_a_row_of_equal_numbers_gives_zeros_and_a_finite_gradient():
    x = np.full((2, 5), 7, np.float32)
    y, mean, scale = layer_norm(x, (5,))
    dx = layer_norm_backward(np.eye(2, 5, dtype=np.float32), x, (5,), mean, scale)
    assert (y == 0).all()
    assert np.isfinite(dx).all()


def test_parameter_gradients_do_not_need_the_input_gradient():
    x, dy, weight, _, normalized = problem((6, 5), 1, np.float64)
    _, mean, scale = layer_norm(x, normalized, weight)
    some, all_ = np.empty(5), np.empty(5)
    assert layer_norm_backward(dy, x, normalized, mean, scale, weight, dweight=some, input_gradient=False) is None
    assert layer_norm_backward(dy, x, normalized, mean, scale, weight, dweight=all_) is not None
    assert_array_equal(some, all_)


X = np.ones((3, 4), np.float32)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: layer_norm(X, (3,)), ShapeError, r"layer_norm: .* must be \(3,\), .* got shape \(3, 4\)"),
        (lambda: rms_norm(X, (2, 3, 4)), ShapeError, r"rms_norm: .* must be \(2, 3, 4\), .* got shape \(3, 4\)"),
        (lambda: layer_norm(X[:, :0], (0,)), ShapeError, r"all above 0; got shape \(3, 0\)"),
        (lambda: layer_norm(X, ()), ShapeError, r"must be \(\)"),
        (lambda: layer_norm(X, (4,), X[0, :3]), ShapeError, r"weight has shape \(3,\), expected \(4,\)"),
        (lambda: layer_norm(X, (4,), bias=X), ShapeError, r"bias has shape \(3, 4\), expected \(4,\)"),
        (lambda: layer_norm(X, (4,), X[0].astype(float)), DTypeError, "x is float32, weight is float64"),
        (lambda: rms_norm(X.astype(int), (4,)), DTypeError, "x is int64"),
        (
            lambda: layer_norm_backward(X[:2], X, (4,), None, X[:, 0]),
            ShapeError,
            r"layer_norm_backward: dy has shape \(2, 4\), expected \(3, 4\)",
        ),
        (lambda: layer_norm_backward(X, X, (4,), None, X[0]), ShapeError, r"scale has shape \(4,\), expected \(3,\)"),
    ],
)
def test_invalid_arguments_raise(call, error, message):
    with pytest.raises(error, match=message):
        call()
