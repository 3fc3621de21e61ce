"""RNN and LSTM with the kernels, compared with the CPU."""

import numpy as np
import pytest
from compiler.ops.simulated import DTYPES, assert_as_on_the_cpu

import gpunet as gn

SIZES = [(1, 1, 1), (3, 4, 5), (2, 9, 33), (2, 0, 4)]


def given(dtype, steps, rows, hidden, gates):
    """Return a gradient of the states, x, the weights, and where their gradients go."""
    rng = np.random.default_rng(0)
    weights = (3, gates * hidden), (hidden, gates * hidden), (gates * hidden,)
    shapes = (steps, rows, hidden), (steps, rows, 3), *weights, *weights
    return [rng.standard_normal(shape).astype(dtype) for shape in shapes]


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("sizes", SIZES, ids=str)
@pytest.mark.parametrize("nonlinearity", ["tanh", "relu"])
def test_rnn_matches_the_cpu(nonlinearity, sizes, dtype):
    def both_ways(dh, x, weight_ih, weight_hh, bias, *grads, tape):
        h = gn.ops.rnn(x, weight_ih, weight_hh, bias, nonlinearity, tape=tape)
        out = dict(zip(("dweight_ih", "dweight_hh", "dbias"), grads, strict=True))
        return [h, *gn.ops.rnn_backward(dh, x, h, weight_ih, weight_hh, nonlinearity, tape=tape, **out)]

    dh, *others = given(dtype, *sizes, 1)
    with gn.ops.use_kernel("tiled"):
        for gradient in (dh, dh[-1]):
            assert_as_on_the_cpu(both_ways, gradient, *others)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("sizes", SIZES, ids=str)
def test_lstm_matches_the_cpu(sizes, dtype):
    def both_ways(dh, x, weight_ih, weight_hh, bias, *grads, tape):
        h, c, gates = gn.ops.lstm(x, weight_ih, weight_hh, bias, tape=tape)
        out = dict(zip(("dweight_ih", "dweight_hh", "dbias"), grads, strict=True))
        return [h, c, *gn.ops.lstm_backward(dh, x, h, c, gates, weight_ih, weight_hh, tape=tape, **out)]

    dh, *others = given(dtype, *sizes, 4)
    with gn.ops.use_kernel("tiled"):
        for gradient in (dh, dh[-1]):
            assert_as_on_the_cpu(both_ways, gradient, *others)


@pytest.mark.parametrize("return_sequences", [True, False])
@pytest.mark.parametrize("make", [gn.RNN, gn.LSTM], ids=["rnn", "lstm"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_training_is_recorded_on_sim_and_matches_the_cpu(dtype, make, return_sequences):
    rng = np.random.default_rng(0)
    x = rng.standard_normal((40, 3, 4))
    y = (x[:, 0, 0] > 0).astype(int)

    def run(device, executor):
        recurrent = make(4, 6, return_sequences=return_sequences, rng=0)
        width = 18 if return_sequences else 6
        model = gn.Sequential(gn.Linear(4, 4, rng=1), recurrent, gn.Flatten(), gn.Linear(width, 2, rng=2))
        trainer = gn.Trainer(model.to(device, dtype=dtype), optimizer=gn.SGD(0.1), executor=executor)
        trainer.fit(x, y, epochs=2, batch_size=15)
        return gn.to_host(model.store.params)

    with gn.ops.use_kernel("tiled"):
        recorded = run("sim", "graph")
        np.testing.assert_array_equal(recorded, run("sim", "eager"))
    np.testing.assert_allclose(recorded, run("cpu", "auto"), atol=1e-5)
