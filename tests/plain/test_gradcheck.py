"""The checker of gradients is checked: it passes the right gradient and fails every kind of wrong one."""

import numpy as np
import pytest
from gradcheck import directional_error

import gpunet as gn

RNG = np.random.default_rng(0)
X, W, B, DY = (RNG.standard_normal(shape) for shape in ((5, 4), (4, 4), (4,), (5, 4)))


def error_of(*gradients: np.ndarray) -> float:
    def function(x, weight, bias):
        return float((DY * gn.ops.linear(x, weight, bias, "tanh")).sum())

    return directional_error(function, [X, W, B], gradients)


def right_gradients() -> list[np.ndarray]:
    y = gn.ops.linear(X, W, B, "tanh")
    return list(gn.ops.linear_backward(DY, X, W, y, "tanh"))


def one_wrong_element(a: np.ndarray) -> np.ndarray:
    wrong = a.copy()
    wrong[1, 2] += 1e-3
    return wrong


def test_the_right_gradient_passes():
    assert error_of(*right_gradients()) < 1e-8


@pytest.mark.parametrize("position", [0, 1, 2], ids=["x", "weight", "bias"])
@pytest.mark.parametrize("plant", [np.negative, lambda a: 2 * a, np.zeros_like], ids=["sign", "factor", "missing"])
def test_a_wrong_gradient_of_any_argument_fails(plant, position):
    gradients = right_gradients()
    gradients[position] = plant(gradients[position])
    assert error_of(*gradients) > 1e-2


@pytest.mark.parametrize("plant", [np.transpose, one_wrong_element], ids=["transposed", "one element"])
def test_a_wrong_gradient_of_the_weight_fails(plant):
    dx, dweight, dbias = right_gradients()
    assert error_of(dx, plant(dweight), dbias) > 1e-4


def test_a_gradient_without_the_derivative_of_the_activation_fails():
    assert error_of(*gn.ops.linear_backward(DY, X, W)) > 1e-2
