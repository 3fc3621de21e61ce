"""Every layer, and nested layers, against finite differences in float64."""

import numpy as np
import pytest
from gradcheck import directional_error

import gpunet as gn
from gpunet.ops.activations import FUNCTIONS

CUBE = gn.CustomActivation(lambda z: z**3, lambda z: 3 * z**2)
ACTIVATIONS = [*FUNCTIONS, CUBE]
NAMES = [*FUNCTIONS, "custom"]


def gradient_error(layer: gn.Layer, *shape: int) -> float:
    """Check the gradients of the input and of all parameters at random values of both."""
    rng = np.random.default_rng(0)
    store = layer.to(dtype="float64").store
    tape = gn.Tape(seed=3)

    def output(x: np.ndarray, params: np.ndarray) -> np.ndarray:
        store.params[...] = params
        tape.reset(step=0)  # the same dropout masks each time
        return layer.forward(x, tape)

    x, params = rng.standard_normal(shape), rng.standard_normal(store.params.shape)
    dy = rng.standard_normal(output(x, params).shape)
    dx = layer.backward(dy, tape).copy()
    grads = store.grads.copy()
    return directional_error(lambda *point: float((dy * output(*point)).sum()), [x, params], [dx, grads])


@pytest.mark.parametrize("shape", [(4,), (6, 4), (2, 3, 4)], ids=str)
@pytest.mark.parametrize("activation", ACTIVATIONS, ids=NAMES)
def test_linear(activation, shape):
    assert gradient_error(gn.Linear(4, 3, activation=activation), *shape) < 1e-8


def test_linear_without_bias():
    assert gradient_error(gn.Linear(4, 3, bias=False, activation="tanh"), 6, 4) < 1e-8


@pytest.mark.parametrize("activation", ACTIVATIONS, ids=NAMES)
def test_activation(activation):
    assert gradient_error(gn.Activation(activation), 6, 4) < 1e-8


def test_dropout_under_a_fixed_mask():
    assert gradient_error(gn.Dropout(0.4), 6, 4) < 1e-8


@pytest.mark.parametrize("shape", [(6, 4), (2, 3, 4)], ids=str)
@pytest.mark.parametrize("layer", [gn.LayerNorm, gn.RMSNorm], ids=["layer norm", "rms norm"])
def test_norms_of_rows(layer, shape):
    assert gradient_error(layer(4, eps=0.01), *shape) < 1e-8
    assert gradient_error(layer(shape[1:], elementwise_affine=False, eps=0.01), *shape) < 1e-8


@pytest.mark.parametrize("affine", [True, False])
@pytest.mark.parametrize(
    ("layer", "shape"), [(gn.BatchNorm1d, (6, 4)), (gn.BatchNorm1d, (3, 4, 2)), (gn.BatchNorm2d, (2, 4, 3, 2))], ids=str
)
def test_batch_norm(layer, shape, affine):
    assert gradient_error(layer(4, affine=affine), *shape) < 1e-8


@pytest.mark.parametrize("layer", [gn.GLU(), gn.GLU(1), gn.SwiGLU(4, 3), gn.GEGLU(4, 3, bias=False)], ids=repr)
def test_gated_linear_units(layer):
    assert gradient_error(layer, 5, 2, 4) < 1e-8


@pytest.mark.parametrize(
    "layers",
    [
        (gn.Linear(4, 5), gn.SiLU(), gn.Linear(5, 3), gn.Linear(3, 4)),
        (gn.LayerNorm(4), gn.Residual(gn.Linear(4, 4), gn.Dropout(0.3)), gn.BatchNorm1d(4)),
        (gn.Tanh(), gn.Activation("gelu")),
    ],
    ids=["chain", "nested", "no parameters"],
)
def test_residual(layers):
    assert gradient_error(gn.Residual(*layers), 6, 4) < 1e-8


def test_flatten():
    assert gradient_error(gn.Flatten(), 6, 2, 3) < 1e-8


@pytest.mark.parametrize("activation", ACTIVATIONS, ids=NAMES)
def test_sequential_that_fuses(activation):
    assert gradient_error(gn.Sequential(gn.Linear(4, 5), gn.Activation(activation), gn.Linear(5, 2)), 6, 4) < 1e-8


def test_sequentials_within_sequentials():
    inner = gn.Sequential(gn.Linear(6, 5), gn.SiLU(), gn.Dropout(0.2))
    outer = gn.Sequential(gn.Flatten(), inner, gn.Sequential(gn.Tanh()), gn.Linear(5, 2, activation="softplus"))
    assert gradient_error(outer, 6, 2, 3) < 1e-8


def test_one_activation_in_several_places():
    gelu = gn.Activation("gelu")
    assert gradient_error(gn.Sequential(gn.Linear(4, 4), gelu, gelu, gn.Linear(4, 4), gelu), 6, 4) < 1e-8


def test_mlp_with_dropout():
    assert gradient_error(gn.MLP([4, 6, 5, 2], activation="elu", dropout=0.3), 7, 4) < 1e-8


@pytest.mark.parametrize(
    ("loss", "target"),
    [
        (gn.CrossEntropyLoss(label_smoothing=0.1, class_weight=[1, 2, 0.5]), np.array([0, 2, 1, 1, 2])),
        (gn.CrossEntropyLoss(), np.random.default_rng(1).dirichlet(np.ones(3), 5)),
        (gn.BCEWithLogitsLoss(), np.random.default_rng(1).uniform(size=(5, 3))),
        (gn.MSELoss(), np.random.default_rng(1).standard_normal((5, 3))),
        (gn.HuberLoss(0.5), np.random.default_rng(1).standard_normal((5, 3))),
    ],
    ids=["cross-entropy", "soft cross-entropy", "bce", "mse", "huber"],
)
def test_a_whole_step_of_model_and_loss(loss, target):
    model = gn.MLP([4, 6, 3], activation="tanh").to(dtype="float64")
    x, weight = np.random.default_rng(2).standard_normal((5, 4)), np.arange(1.0, 6)
    tape = gn.Tape()

    def cost(params: np.ndarray) -> float:
        model.store.params[...] = params
        return float(loss.value(model.forward(x), target, weight))

    params = model.store.params.copy()
    _, gradient = loss.value_and_grad(model.forward(x, tape), target, weight, tape)
    model.backward(gradient, tape, input_gradient=False)
    assert directional_error(cost, [params], [model.store.grads]) < 1e-8
