"""`gn.check_gradients` on the simulated GPU, and of CUDA expressions."""

import numpy as np
import pytest
from every_layer import EXAMPLES
from wrong_gradients import LAYERS, LOSSES

import gpunet as gn
from gpunet.errors import CompileError, GradientError

SQUARE, SLOPE = "z * z", "2 * z"


@pytest.fixture(params=["cpu", "sim"])
def device(request):
    with gn.use_device(request.param):
        yield request.param


@pytest.fixture
def sim():
    with gn.use_device("sim"):
        yield


def square(*cuda):
    return gn.CustomActivation(np.square, lambda z: 2 * z, cuda)


@pytest.mark.parametrize("name", ["Linear", "Embedding", "EntityEmbedding", "LayerNorm", "BatchNorm2d"])
def test_layers_pass(name, sim):
    make, x = EXAMPLES[name]
    assert gn.check_gradients(make(), x[:4].shape).device == "sim"


@pytest.mark.parametrize("loss", [gn.CrossEntropyLoss(0.1, [1, 2, 3, 1]), gn.HuberLoss(0.5)], ids=repr)
def test_losses_pass(loss, sim):
    report = gn.check_gradients(loss)
    assert (report.device, report.checked, report.unchecked) == ("sim", ("the prediction", "row weights"), ())


@pytest.mark.parametrize("kind", LAYERS)
def test_a_fault_of_a_layer_is_named(kind, sim):
    with pytest.raises(GradientError, match=LAYERS[kind]):
        gn.check_gradients(kind(5), (4, 5))


@pytest.mark.parametrize("kind", LOSSES)
def test_a_fault_of_a_loss_is_named(kind, sim):
    with pytest.raises(GradientError, match=LOSSES[kind]):
        gn.check_gradients(kind())


def test_right_cuda_expressions_pass(device):
    function = square(SQUARE, SLOPE)
    assert gn.check_gradients(function).checked == ("f'", "CUDA expressions on sim")
    for layer in (gn.Activation(function), gn.MLP([3, 4, 2], activation=function)):
        report = gn.check_gradients(layer, (5, 3))
        assert report.device == device
        assert report.checked[-1] == repr(function)


@pytest.mark.parametrize(
    ("cuda", "message"),
    [
        (("z * z * z", SLOPE), "f in CUDA, float32 on sim, is wrong: at z = 3 expected 9, found 27"),
        ((SQUARE, "z"), "f' in CUDA, float32 on sim, is wrong: at z = 3 expected 6, found 3"),
        ((SQUARE, "-2 * z"), "f' in CUDA, float32 on sim, is wrong: at z = 3 expected 6, found -6"),
        (("z * z + 1e-3f", SLOPE), "f in CUDA, float32 on sim, is wrong"),
        (("z * z + 1e-7f", SLOPE), "f in CUDA, float64 on sim, is wrong"),
    ],
    ids=["f", "factor of f'", "sign of f'", "offset of f", "float32 for float64"],
)
def test_a_cuda_expression_that_differs_from_numpy_is_named(cuda, message, device):
    function = square(*cuda)
    with pytest.raises(GradientError, match=message):
        gn.check_gradients(function, np.array([3.0]))
    with pytest.raises(GradientError, match=message.partition(" at")[0]):
        gn.check_gradients(gn.MLP([3, 4, 2], activation=function), (5, 3))


def test_a_cuda_expression_that_does_not_compile_is_an_error():
    with pytest.raises(CompileError, match="no_such_name"):
        gn.check_gradients(square("no_such_name(z)", SLOPE))
