"""Gated linear units, forward and backward."""

import numpy as np
import pytest
from gradcheck import directional_error
from numpy.testing import assert_allclose, assert_array_equal

import gpunet as gn
from gpunet.errors import ShapeError
from gpunet.ops import glu, glu_backward
from gpunet.ops.activations import FUNCTIONS, activation_function

CUBE = gn.CustomActivation(lambda z: z**3, lambda z: 3 * z**2)


def test_the_first_half_gated_by_the_second_matches_values_computed_by_hand():
    x = np.array([[1.0, 2, 0, -np.log(3)]])  # the sigmoid of 0 is 1/2, that of -log 3 is 1/4
    assert_allclose(glu(x), [[0.5, 0.5]])
    assert_allclose(glu_backward(np.array([[1.0, 4]]), x), [[0.5, 1, 1 / 4, 4 * 2 * 3 / 16]])
    assert_array_equal(glu(np.array([[1.0, 2, 3, -4]]), activation="relu"), [[3, 0]])


@pytest.mark.parametrize("activation", [*FUNCTIONS, CUBE], ids=[*FUNCTIONS, "custom"])
@pytest.mark.parametrize(("shape", "axis"), [((5, 6), -1), ((3, 4, 5), 1), ((2, 3, 4), -1), ((4, 3), 0)], ids=str)
def test_values_match_the_halves_and_gradients_match_finite_differences(shape, axis, activation):
    rng = np.random.default_rng(0)
    x = rng.standard_normal(shape)
    y = glu(x, axis, activation)
    a, b = np.split(x, 2, axis=axis)
    assert_allclose(y, a * activation_function(activation)(np.ascontiguousarray(b)), rtol=1e-12)
    dy = rng.standard_normal(y.shape)
    dx = glu_backward(dy, x, axis, activation)
    assert directional_error(lambda x: float((dy * glu(x, axis, activation)).sum()), [x], [dx]) < 1e-8


@pytest.mark.parametrize(("shape", "axis"), [((3, 5), -1), ((3, 4), 0), ((3, 4), 2), ((), -1)], ids=str)
def test_an_axis_of_odd_size_raises(shape, axis):
    with pytest.raises(ShapeError, match=f"glu: axis {axis} of x must have an even number of elements, got shape"):
        glu(np.ones(shape), axis)


def test_a_gradient_of_another_shape_raises():
    with pytest.raises(ShapeError, match=r"glu_backward: dy has shape \(3, 4\), expected \(3, 2\)"):
        glu_backward(np.ones((3, 4)), np.ones((3, 4)))
