"""Softmax, compared with math.exp and finite differences, also for large logits."""

import math

import numpy as np
import pytest
from gradcheck import directional_error
from numpy.testing import assert_allclose, assert_array_equal

from gpunet.errors import DTypeError, ShapeError
from gpunet.ops import softmax, softmax_backward


@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float32, 1e-6), (np.float64, 1e-14)])
def test_softmax_matches_the_formula(dtype, tolerance):
    x = np.array([[1, 2, 3], [-1, 0, 0.5]], dtype)
    expected = [[math.exp(v) / sum(map(math.exp, row)) for v in row] for row in x.tolist()]
    y = softmax(x)
    assert y.dtype == dtype
    assert_allclose(y, expected, rtol=tolerance)
    assert_allclose(softmax(x.T, axis=0), np.transpose(expected), rtol=tolerance)


@pytest.mark.parametrize("axis", [-1, 0, 1, 2])
def test_gradient_matches_finite_differences(axis):
    x, dy = np.random.default_rng(0).standard_normal((2, 3, 4, 5))
    dx = softmax_backward(dy, softmax(x, axis), axis)
    assert directional_error(lambda x: float((dy * softmax(x, axis)).sum()), [x], [dx]) < 1e-8


def test_large_logits_neither_overflow_nor_warn():
    x = np.array([[1000.0, -1000, 1000], [-1000, -1000, -np.inf]])
    assert_array_equal(softmax(x), [[0.5, 0, 0.5], [0.5, 0.5, 0]])


def test_softmax_works_in_place_and_otherwise_keeps_its_input():
    x = np.random.default_rng(0).standard_normal((3, 4))
    expected = softmax(x)
    x.flags.writeable = False
    out = np.empty_like(x)
    assert softmax(x, out=out) is out
    assert_array_equal(out, expected)
    x = x.copy()
    assert softmax(x, out=x) is x
    assert_array_equal(x, expected)


def test_no_rows_give_no_rows():
    assert softmax(np.empty((0, 3))).shape == softmax_backward(np.empty((0, 3)), np.empty((0, 3))).shape == (0, 3)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: softmax(np.ones((2, 0))), ShapeError, r"x of shape \(2, 0\) has no elements along axis -1"),
        (lambda: softmax(np.ones((2, 3)), axis=2), ShapeError, "along axis 2"),
        (lambda: softmax(np.array(1.0)), ShapeError, r"x of shape \(\)"),
        (
            lambda: softmax(np.ones((2, 3)), out=np.ones((3, 2))),
            ShapeError,
            r"out has shape \(3, 2\), expected \(2, 3\)",
        ),
        (lambda: softmax_backward(np.ones((1, 3)), np.ones((2, 3))), ShapeError, r"dy has shape \(1, 3\)"),
        (lambda: softmax(np.ones((2, 3), int)), DTypeError, "x is int64"),
        (lambda: softmax_backward(np.ones(3, "f"), np.ones(3)), DTypeError, "dy is float32, y is float64"),
    ],
)
def test_invalid_arguments_raise(call, error, message):
    with pytest.raises(error, match=message):
        call()
