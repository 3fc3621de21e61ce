"""The examples that the framework grew from, by hand-computed numbers."""

from itertools import pairwise

import numpy as np
import pytest
from numpy.testing import assert_array_equal

import gpunet as gn
from gpunet.errors import ShapeError


@pytest.mark.parametrize(
    ("a", "b", "product"),
    [
        ([[1, 2, 3], [4, 5, 6]], [1, 2, 3], [14, 32]),
        ([[1, 2, 3], [2, 4, 6]], [[1, 2, 3, 4], [2, 4, 1, 2], [7, 8, 9, 7]], [[26, 34, 32, 29], [52, 68, 64, 58]]),
        (
            [[1, 2, 3], [4, 5, 6], [7, 8, 9], [10, 11, 12]],
            [[2, 3], [1, 2], [1, 1]],
            [[7, 10], [19, 28], [31, 46], [43, 64]],
        ),
        ([[1], [2], [5]], [[3, 4, 7]], [[3, 4, 7], [6, 8, 14], [15, 20, 35]]),
    ],
    ids=["matrix by vector", "2x3 by 3x4", "4x3 by 3x2", "outer product"],
)
def test_products(a, b, product):
    assert_array_equal(gn.ops.matmul(np.array(a), np.array(b)), product)


def test_a_product_of_wrong_shapes_names_both_and_the_axes_that_disagree():
    with pytest.raises(ShapeError) as error:
        gn.ops.matmul(np.ones((2, 3)), np.ones((4, 5)))
    for part in ("(2, 3)", "(4, 5)", "axis 1 of the first has 3", "axis 0 of the second has 4"):
        assert part in str(error.value)


def test_the_gradients_of_a_product_are_dy_bt_and_at_dy():
    a = np.array([[1.0, 2, 3], [4, 5, 6]])
    b = np.array([[1.0, 0], [2, -1], [0, 3]])
    dy = np.array([[1.0, 2], [3, 4]])
    da, db = gn.ops.matmul_backward(dy, a, b)
    assert_array_equal(da, [[1, 0, 6], [3, 2, 12]])
    assert_array_equal(db, [[13, 18], [17, 24], [21, 30]])


X = np.array([[1.0, 2], [0, 1]])
W1 = np.array([[1.0, 0], [1, -1]])
W2 = np.array([[1.0], [-2]])
T = np.array([[0.0], [1]])
# A = X·W1 = [[3, -2], [1, -1]], B = A² = [[9, 4], [1, 1]], C = B·W2 = [[1], [-1]], the output is C³,
# its error Y = C³ - T = [[1], [-2]] and the cost the sum of Y².


def square_cube_net() -> gn.Sequential:
    square = gn.CustomActivation(lambda z: z**2, lambda z: 2 * z)
    cube = gn.CustomActivation(lambda z: z**3, lambda z: 3 * z**2)
    net = gn.Sequential(gn.Linear(2, 2, bias=False), square, gn.Linear(2, 1, bias=False), cube).to(dtype="float64")
    net[0].params["weight"] = W1
    net[2].params["weight"] = W2
    return net


def test_the_net_of_square_and_cube_has_the_gradients_of_the_formula():
    net, tape = square_cube_net(), gn.Tape()
    output = net.forward(X, tape)
    assert_array_equal(output, [[1], [-1]])
    net.backward(2 * (output - T), tape)
    # Y·3C² = [[3], [-6]]; (Y·3C²)·W2ᵀ · 2A = [[18, 24], [-12, -24]]
    assert_array_equal(net[2].grads["weight"], [[42], [12]])  # 2·Bᵀ·(Y·3C²)
    assert_array_equal(net[0].grads["weight"], [[36, 48], [48, 48]])  # 2·Xᵀ·((Y·3C²)·W2ᵀ · 2A)


def test_the_cost_of_the_net_of_square_and_cube_falls_under_gradient_descent():
    net, tape, loss = square_cube_net(), gn.Tape(), gn.MSELoss()
    optimizer = gn.SGD(1e-4).attach(net)
    costs = []
    for _ in range(50):
        tape.reset()
        cost, gradient = loss.value_and_grad(net.forward(X, tape), T, tape=tape)
        costs.append(float(cost))
        net.backward(gradient, tape)
        optimizer.step()
    assert costs[0] == 2.5
    assert all(after < before for before, after in pairwise(costs))


def test_layer_after_layer_of_xw_plus_b():
    layers = [
        ([[1, 2, 3], [4, 5, 6]], [1, 0, -1], [[10, 12, 14]]),
        ([[1, 0], [0, 1], [1, 1]], [-4, 6], [[20, 32]]),
        ([[1], [-1]], [2], [[-10]]),
    ]
    net = gn.Sequential(*(gn.Linear(*np.shape(weight)) for weight, _, _ in layers))
    y = np.array([[1, 2]], np.float32)
    for layer, (weight, bias, expected) in zip(net.layers, layers, strict=True):
        layer.params["weight"] = weight
        layer.params["bias"] = bias
        y = gn.ops.linear(y, np.array(weight, np.float32), np.array(bias, np.float32))
        assert_array_equal(y, expected)
    assert_array_equal(net.forward(np.array([[1, 2]], np.float32)), [[-10]])
