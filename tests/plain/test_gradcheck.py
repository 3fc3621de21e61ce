"""The gradient checker accepts correct gradients and rejects every kind of wrong one."""

import numpy as np
import pytest
from every_layer import EXAMPLES
from gradcheck import directional_error
from own_layers import Scale
from wrong_gradients import LAYERS, LOSSES, WRONG, OneElement, Squares

import gpunet as gn
from gpunet.errors import ArgumentError, DeviceError, GradientError
from gpunet.ops.activations import FUNCTIONS

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


@pytest.mark.parametrize("name", EXAMPLES)
def test_every_layer_passes(name):
    make, x = EXAMPLES[name]
    layer = make()
    report = gn.check_gradients(layer, x[:4].shape)
    keys = list(layer.store.segments)
    assert report.checked == (*keys, *([] if name == "Embedding" else ["the input"]))
    assert report == gn.check_gradients(layer, x[:4], seed=1)


@pytest.mark.parametrize("activation", FUNCTIONS.values(), ids=FUNCTIONS)
def test_every_activation_passes(activation):
    assert gn.check_gradients(activation()).checked == ("f'",)


@pytest.mark.parametrize(
    "loss",
    [
        Squares(),
        gn.CrossEntropyLoss(),
        gn.CrossEntropyLoss(label_smoothing=0.1, class_weight=[1, 2, 3, 1]),
        gn.BCEWithLogitsLoss(),
        gn.MSELoss(),
        gn.HuberLoss(0.5),
        gn.CosineEmbeddingLoss(0.1),
    ],
    ids=repr,
)
def test_every_loss_passes_with_its_row_weights(loss):
    assert gn.check_gradients(loss).checked == ("the prediction", "row weights")


def test_a_loss_is_checked_for_given_predictions_and_targets():
    soft = RNG.dirichlet(np.ones(3), 5)
    assert gn.check_gradients(gn.CrossEntropyLoss(), RNG.standard_normal((5, 3)), soft).unchecked == ()
    assert gn.check_gradients(gn.CrossEntropyLoss(), (5, 2, 3), RNG.integers(0, 3, (5, 2))).unchecked == ()


def test_a_model_is_checked_layer_by_layer_and_not_changed():
    model = gn.MLP([5, 4, 3], activation="elu", dropout=0.2)
    before = model.store.params.copy()
    report = gn.check_gradients(model, (6, 5))
    assert report.checked == ("0.weight", "0.bias", "2.weight", "2.bias", "the input")
    assert repr(report) == f"{model!r}: correct on cpu: {', '.join(report.checked)}"
    np.testing.assert_array_equal(model.store.params, before)
    assert (model.dtype, model.store.grads.any()) == (np.float32, False)


@pytest.mark.parametrize("kind", LAYERS)
def test_a_wrong_gradient_of_a_layer_is_named(kind):
    with np.errstate(all="ignore"), pytest.raises(GradientError, match=LAYERS[kind]):
        gn.check_gradients(kind(5), (4, 5))


@pytest.mark.parametrize("kind", LOSSES)
def test_a_wrong_gradient_of_a_loss_is_named(kind):
    with pytest.raises(GradientError, match=LOSSES[kind]):
        gn.check_gradients(kind())


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (gn.CustomActivation(np.square, np.copy), "at z = 3 expected 6, found 3"),
        (gn.CustomActivation(np.square, lambda z: -2 * z), "at z = 3 expected 6, found -6"),
        (gn.CustomActivation(np.square, lambda z: z * np.nan), "at z = 3 expected 6, found nan"),
    ],
    ids=["factor", "sign", "nan"],
)
def test_a_wrong_derivative_of_an_activation_is_named(function, message):
    with pytest.raises(GradientError, match=f"f' in NumPy is wrong: {message}"):
        gn.check_gradients(function, np.array([3.0]))
    with pytest.raises(GradientError, match=r"f' in NumPy is wrong: at z = .* expected .*, found"):
        gn.check_gradients(gn.MLP([3, 4, 2], activation=function), (5, 3))


def test_an_activation_that_ignores_the_gradient_of_its_output_is_found():
    class Ignoring(gn.Tanh):
        def backward(self, dy, saved, out, xp, tape):
            super().backward(xp.ones_like(dy), saved, out, xp, tape)

    with pytest.raises(GradientError, match="f' in NumPy is wrong"):
        gn.check_gradients(Ignoring())


def test_cuda_expressions_that_no_device_can_run_are_reported_with_the_reason(monkeypatch):
    def refuse(*args):
        raise DeviceError("no compiler here")

    monkeypatch.setattr(gn.gradcheck.activation, "bias_activation", refuse)
    square = gn.CustomActivation(np.square, lambda z: 2 * z, cuda=("z * z", "2 * z"))
    for subject, shape in ((square, None), (gn.MLP([3, 4, 2], activation=square), (5, 3))):
        report = gn.check_gradients(subject, shape)
        (unchecked,) = report.unchecked
        assert unchecked == f"the CUDA expressions of {square!r}: no compiler here"
        assert f"\n  not checked: {unchecked}" in repr(report)


def test_a_wrong_gradient_inside_a_model_is_located():
    model = gn.Sequential(gn.Linear(3, 5), gn.Sequential(OneElement(5), gn.ReLU()), gn.Linear(5, 2))
    with pytest.raises(GradientError, match=rf"the gradient of 1.0.scale is wrong: at element \(2,\) {WRONG}"):
        gn.check_gradients(model, (4, 3))


def test_a_loss_that_is_not_a_mean_over_rows_or_ignores_weights_is_reported():
    class Sum(gn.losses.Loss):
        task = "regression"

        def value_and_grad(self, prediction, target, weight=None, tape=None):
            error = prediction - target
            scale = 1 if weight is None else weight[:, None]
            return (scale * error * error).sum(), 2 * scale * error

    class Unweighted(Squares):
        def value_and_grad(self, prediction, target, tape=None):
            return super().value_and_grad(prediction, target)

    assert "not checked: row weights: the loss is not the mean of its rows" in repr(gn.check_gradients(Sum()))
    assert "not checked: row weights: value_and_grad has no parameter" in repr(gn.check_gradients(Unweighted()))


@pytest.mark.parametrize(("subject", "message"), [(Scale(5), "needs a batch"), (np.sin, "takes a layer, model, loss")])
def test_unsupported_arguments_are_refused(subject, message):
    with pytest.raises(ArgumentError, match=message):
        gn.check_gradients(subject)
