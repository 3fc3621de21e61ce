"""linear and bias_activation, compared with their formula and finite differences; their errors."""

import numpy as np
import pytest
from gradcheck import directional_error
from numpy.testing import assert_allclose, assert_array_equal

import gpunet as gn
from gpunet.errors import ArgumentError, DTypeError, ShapeError
from gpunet.ops import bias_activation, bias_activation_backward, linear, linear_backward
from gpunet.ops.activations import FUNCTIONS, activation_function

ACTIVATIONS = [*FUNCTIONS, gn.CustomActivation(lambda z: z**3, lambda z: 3 * z**2)]
SHAPES = [(4,), (5, 4), (2, 3, 4), (0, 4), (2, 0, 4)]


@pytest.fixture(params=ACTIVATIONS, ids=lambda a: a if isinstance(a, str) else a.name)
def activation(request):
    return activation_function(request.param)


@pytest.fixture(params=SHAPES, ids=str)
def x(request):
    return np.random.default_rng(1).standard_normal(request.param)


def weights(n_in=4, n_out=3):
    rng = np.random.default_rng(0)
    return rng.standard_normal((n_in, n_out)), rng.standard_normal(n_out)


def saved_by(activation, x, weight, bias):
    return x @ weight + bias if activation.saves == "input" else activation(x @ weight + bias)


def test_linear_is_product_bias_and_activation(activation, x):
    weight, bias = weights()
    z = np.full((*x.shape[:-1], 3), np.nan)
    y = linear(x, weight, bias, activation, preactivation=z)
    assert_allclose(z, np.einsum("...i,ij->...j", x, weight) + bias, rtol=1e-12, atol=1e-14)
    assert_array_equal(y, activation(z), strict=True)
    assert_array_equal(linear(x, weight, bias, activation), y, strict=True)


def test_linear_gradients_match_finite_differences(activation, x):
    weight, bias = weights()
    y = linear(x, weight, bias, activation)
    dy = np.random.default_rng(2).standard_normal(y.shape)
    gradients = linear_backward(dy, x, weight, saved_by(activation, x, weight, bias), activation)
    assert [g.shape for g in gradients] == [x.shape, weight.shape, bias.shape]
    error = directional_error(lambda *p: float((dy * linear(*p, activation)).sum()), [x, weight, bias], gradients)
    assert error < 1e-8


def test_linear_without_bias_and_activation_is_the_product():
    weight, _ = weights()
    x = np.random.default_rng(1).standard_normal((5, 4))
    z = np.empty((5, 3))
    assert_array_equal(linear(x, weight, preactivation=z), x @ weight)
    assert_array_equal(z, x @ weight)


def test_other_gradients_are_the_same_without_the_input_gradient(x):
    weight, bias = weights()
    y = linear(x, weight, bias, "tanh")
    _, dweight, dbias = linear_backward(np.ones_like(y), x, weight, y, "tanh")
    dx, *others = linear_backward(np.ones_like(y), x, weight, y, "tanh", input_gradient=False)
    assert dx is None
    assert_array_equal(others[0], dweight)
    assert_array_equal(others[1], dbias)


def test_results_are_written_to_given_arrays():
    weight, bias = weights()
    x = np.random.default_rng(1).standard_normal((5, 4))
    out, dweight, dbias = np.empty((5, 3)), np.empty((4, 3)), np.empty(3)
    assert linear(x, weight, bias, out=out) is out
    _, a, b = linear_backward(np.ones((5, 3)), x, weight, dweight=dweight, dbias=dbias)
    assert a is dweight
    assert b is dbias
    z = out.copy()
    assert bias_activation(z, bias, "relu", out=z) is z
    assert bias_activation_backward(np.ones((5, 3)), z, "relu", dbias=dbias)[1] is dbias
    every_other = np.zeros(6)[::2]
    assert bias_activation_backward(np.ones((5, 3)), None, None, dbias=every_other)[1] is every_other
    assert_array_equal(every_other, [5, 5, 5])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_dtype_is_kept(dtype):
    x, weight, bias = (a.astype(dtype) for a in (np.ones((5, 4)), *weights()))
    y = linear(x, weight, bias, "gelu")
    results = [y, *linear_backward(y, x, weight, y, "gelu"), bias_activation(y, bias, "elu")]
    assert {a.dtype for a in (*results, *bias_activation_backward(y, y, "elu"))} == {np.dtype(dtype)}


@pytest.mark.parametrize(
    "change",
    [np.asfortranarray, lambda a: np.repeat(a, 2, axis=0)[::2], lambda a: a[::-1].copy()[::-1]],
    ids=["Fortran order", "strided", "negative strides"],
)
def test_any_memory_layout_gives_the_same_result_and_inputs_are_not_modified(change):
    weight, bias = weights()
    rng = np.random.default_rng(1)
    plain = [rng.standard_normal((2, 5, 4)), weight, bias, rng.standard_normal((2, 5, 3))]
    changed = [change(a) for a in plain]
    for a in changed:
        a.flags.writeable = False

    def results(x, weight, bias, dy):
        y = linear(x, weight, bias, "tanh")
        fused = bias_activation(dy, bias, "gelu"), *bias_activation_backward(dy, dy, "gelu")
        return [y, *linear_backward(dy, x, weight, y, "tanh"), *fused]

    for a, b in zip(results(*changed), results(*plain), strict=True):
        assert_allclose(a, b, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("shape", [(3,), (5, 3), (2, 4, 3), (0, 3), (5, 0)], ids=str)
def test_bias_activation_matches_its_formula_and_gradient(activation, shape):
    rng = np.random.default_rng(3)
    z, dy = rng.standard_normal((2, *shape))
    bias = rng.standard_normal(shape[-1:])
    inner = np.empty_like(z)
    y = bias_activation(z, bias, activation, preactivation=inner)
    assert_array_equal(inner, z + bias)
    assert_array_equal(y, activation(z + bias))
    gradients = bias_activation_backward(dy, inner if activation.saves == "input" else y, activation)
    assert [g.shape for g in gradients] == [z.shape, bias.shape]
    error = directional_error(lambda *p: float((dy * bias_activation(*p, activation)).sum()), [z, bias], gradients)
    assert error < 1e-8


def test_bias_activation_without_a_bias_is_the_activation_in_a_fresh_array():
    z = np.array([[-1.0, 2.0]])
    assert_array_equal(bias_activation(z, None, "relu"), [[0, 2]])
    copy = bias_activation(z, None, None)
    assert_array_equal(copy, z)
    assert not np.shares_memory(copy, z)


ONES = np.ones((5, 4)), np.ones((4, 3)), np.ones(3), np.ones((5, 3))
X, W, B, Y = ONES


@pytest.mark.parametrize(
    "call",
    [
        lambda: bias_activation(Y, B, "relu", kernel="magic"),
        lambda: bias_activation_backward(Y, Y, "relu", kernel="magic"),
    ],
)
def test_an_unknown_kernel_raises(call):
    with pytest.raises(ArgumentError, match="unknown kernel 'magic'"):
        call()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: linear(X, W.T), r"x of shape \(5, 4\) and weight of shape \(3, 4\)"),
        (lambda: linear(X, B), r"two-dimensional weight"),
        (lambda: linear(np.array(1.0), W), r"x of shape \(\)"),
        (lambda: linear(X, W, np.ones(4)), r"bias of shape \(4,\) does not fit axis 1 of weight, \(4, 3\)"),
        (lambda: linear(X, W, out=np.empty((3, 5))), r"out has shape \(3, 5\), expected \(5, 3\)"),
        (lambda: linear(X, W, out=np.empty((5, 3), order="F")), r"out must be C-contiguous"),
        (lambda: linear(X, W, preactivation=np.empty((5, 4))), r"preactivation has shape \(5, 4\), expected \(5, 3\)"),
        (lambda: linear_backward(X, X, W), r"dy has shape \(5, 4\), expected \(5, 3\)"),
        (lambda: linear_backward(Y, X, W, Y[:1], "relu"), r"dy has shape \(5, 3\), saved \(1, 3\)"),
        (lambda: linear_backward(Y, X, W, None, "relu"), r"saved None"),
        (lambda: linear_backward(Y, X, W, dweight=W.T.copy()), r"dweight has shape \(3, 4\)"),
        (lambda: linear_backward(Y, X, W, dbias=np.ones(4)), r"dbias has shape \(4,\)"),
        (lambda: bias_activation(Y, np.ones(4), "relu"), r"bias of shape \(4,\).*\(5, 3\)"),
        (lambda: bias_activation(Y, np.ones((1, 3)), "relu"), r"bias of shape \(1, 3\)"),
        (lambda: bias_activation(Y, B, "relu", out=np.empty((3, 5))), r"out has shape \(3, 5\), expected \(5, 3\)"),
        (lambda: bias_activation_backward(Y, X, "relu"), r"dy has shape \(5, 3\), saved \(5, 4\)"),
        (lambda: bias_activation_backward(Y, Y, "relu", dbias=np.ones(4)), r"dbias has shape \(4,\)"),
    ],
)
def test_mismatched_shapes_raise(call, message):
    with pytest.raises(ShapeError, match=message):
        call()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: linear(X.astype("float32"), W), "x is float32, weight is float64"),
        (lambda: linear(X.astype(int), W), "x is int64; use float32 or float64"),
        (lambda: linear(X.astype(">f8"), W), "x is >f8"),
        (lambda: linear(X.astype(complex), W), "x is complex128"),
        (lambda: linear(X, W, out=np.empty((5, 3), "float32")), "out is float32"),
        (lambda: linear_backward(Y.astype("float32"), X, W), "dy is float32"),
        (lambda: linear_backward(Y, X, W, dweight=W.astype("float32")), "dweight is float32"),
        (lambda: bias_activation(Y, B.astype("float32"), "relu"), "z is float64, bias is float32"),
        (lambda: bias_activation_backward(Y, Y.astype("float32"), "relu"), "saved is float32"),
        (lambda: bias_activation_backward(Y, Y, "relu", dbias=B.astype("float32")), "dbias is float32"),
        (lambda: linear([[1.0]], W), "x is .*list|got list"),
    ],
)
def test_mismatched_dtypes_raise(call, message):
    with pytest.raises(DTypeError, match=message):
        call()


def test_the_gradient_of_the_identity_is_a_separate_array():
    dz, _ = bias_activation_backward(Y, Y, None)
    assert_array_equal(dz, Y)
    assert not np.shares_memory(dz, Y)
