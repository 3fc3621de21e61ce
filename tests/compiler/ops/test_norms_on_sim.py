"""Layer norm, RMS norm, batch norm and gated linear units with their kernels, and their layers in a recorded step."""

import norms
import numpy as np
import pytest
from compiler.ops.simulated import CPU, DTYPES, SIM, assert_as_on_the_cpu, tolerance

import gpunet as gn
from gpunet import simulator
from gpunet.ops import glu, glu_backward, layer_norm, layer_norm_backward, rms_norm
from gpunet.ops._batch_norm import batch_norm, batch_norm_backward
from gpunet.ops._batch_statistics import Running, batch_statistics

ROWS = [(0, 3), (1, 1), (5, 31), (7, 32), (9, 33), (3, 4, 8), (2, 130), (70, 132), (300, 5)]
CHANNELS = [
    (0, 3),
    (2, 1),
    (5, 31),
    (9, 33),
    (7, 128),
    (70, 132),
    (300, 5),
    (2, 3, 1),
    (3, 5, 4),
    (70, 3, 5, 5),
    (70, 5, 33),
]


def numbers(dtype, *shapes):
    rng = np.random.default_rng(0)
    return [rng.standard_normal(shape).astype(dtype) for shape in shapes]


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("center", [True, False], ids=["layer norm", "rms norm"])
@pytest.mark.parametrize("shape", ROWS, ids=str)
def test_norms_of_rows_match_the_cpu(shape, center, dtype):
    x, dy, weight, bias = numbers(dtype, shape, shape, shape[-1:], shape[-1:])

    def op(x, dy, weight, bias, *, tape):
        xp, of_row = gn.array_module(x), weight.shape
        forward = (
            [*layer_norm(x, of_row, weight, bias, tape=tape)] if center else [*rms_norm(x, of_row, weight, tape=tape)]
        )
        mean, scale = forward[1] if center else None, forward[-1]
        dweight, dbias = xp.empty(of_row, x.dtype) if tape is None else tape.empty(of_row, x.dtype, xp), None
        if center:
            dbias = xp.empty(of_row, x.dtype) if tape is None else tape.empty(of_row, x.dtype, xp)
        dx = layer_norm_backward(dy, x, of_row, mean, scale, weight, dweight=dweight, dbias=dbias, tape=tape)
        return [a for a in (*forward, dx, dweight, dbias) if a is not None]

    assert_as_on_the_cpu(op, x, dy, weight, bias)


def test_a_norm_without_parameters_and_of_views_matches_the_cpu():
    x, dy = numbers(np.float32, (5, 8), (5, 8))
    with simulator.check_mode():
        for change in (lambda a: a, lambda a: a.T, lambda a: a[::2]):
            ours, grad = change(SIM.asarray(x)), change(SIM.asarray(dy))
            of_row = ours.shape[1:]
            y, mean, scale = layer_norm(ours, of_row)
            expected, *statistics = layer_norm(change(x), of_row)
            dx = layer_norm_backward(grad, ours, of_row, mean, scale)
            np.testing.assert_allclose(SIM.to_host(y), expected, **tolerance(x.dtype))
            expected = layer_norm_backward(change(dy), change(x), of_row, *statistics)
            np.testing.assert_allclose(SIM.to_host(dx), expected, **tolerance(x.dtype))


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("shape", CHANNELS, ids=str)
def test_batch_norm_matches_the_cpu(shape, dtype):
    x, dy, weight, bias = numbers(dtype, shape, shape, shape[1:2], shape[1:2])

    def op(x, dy, weight, bias, *, tape):
        mean, variance = batch_statistics(x, tape=tape)
        y = batch_norm(x, mean, variance, weight, bias, tape=tape)
        return mean, variance, y, *batch_norm_backward(dy, x, mean, variance, weight, tape=tape)

    assert_as_on_the_cpu(op, x, dy, weight, bias)


@pytest.mark.parametrize("momentum", [0.25, None])
@pytest.mark.parametrize("shape", [(0, 3), (1, 3), (6, 3), (70, 3), (4, 3, 5)], ids=str)
def test_running_statistics_move_as_on_the_cpu(shape, momentum):
    results = []
    for device in (CPU, SIM):
        with simulator.check_mode():
            running = Running(*(device.asarray(a) for a in (np.ones(3), np.full(3, 2.0), np.array(4.0))), momentum)
            for x in numbers(np.float64, shape, shape):
                if len(x):
                    x[0, 0] = np.inf  # of this channel nothing is followed
                with np.errstate(all="ignore"):
                    batch_statistics(device.asarray(x), running)
            results.append([device.to_host(a) for a in running[:3]])
    for a, b in zip(*results, strict=True):
        np.testing.assert_allclose(b, a, rtol=1e-13)
    assert results[1][2] == 6


@pytest.mark.parametrize("activation", ["sigmoid", "silu", "gelu", "leaky_relu"])
@pytest.mark.parametrize(("shape", "axis"), [((1, 2), -1), ((5, 6), -1), ((3, 8, 5), 1), ((40, 64), -1)], ids=str)
def test_gated_linear_units_match_the_cpu(shape, axis, activation):
    x, dy = numbers(np.float32, shape, glu(np.zeros(shape, np.float32), axis).shape)

    def op(x, dy, *, tape):
        return glu(x, axis, activation, tape=tape), glu_backward(dy, x, axis, activation, tape=tape)

    assert_as_on_the_cpu(op, x, dy)


def test_a_gate_without_cuda_expressions_runs_in_array_code():
    cube = gn.CustomActivation(lambda z: z**3, lambda z: 3 * z**2)
    for shape in ((5, 6), (0, 6)):
        x, dy = numbers(np.float64, shape, (shape[0], 3))
        with simulator.check_mode():
            y, dx = glu(SIM.asarray(x), activation=cube), glu_backward(SIM.asarray(dy), SIM.asarray(x), activation=cube)
            np.testing.assert_allclose(SIM.to_host(y), glu(x, activation=cube))
            np.testing.assert_allclose(SIM.to_host(dx), glu_backward(dy, x, activation=cube))


@pytest.mark.parametrize("layers", norms.LAYERS.values(), ids=norms.LAYERS)
def test_a_recorded_step_equals_an_eager_step_bitwise_and_matches_the_cpu(layers):
    where = ("sim", "graph"), ("sim", "eager"), ("cpu", "auto")
    recorded, eager, cpu = (norms.trainer(layers, *each) for each in where)
    for kept in ("params", "buffers"):
        a, b, c = (gn.to_host(getattr(run.model.store, kept)) for run in (recorded, eager, cpu))
        np.testing.assert_array_equal(a, b)
        np.testing.assert_allclose(a, c, atol=1e-4)
    np.testing.assert_allclose(
        recorded.evaluate(norms.X, norms.Y)["loss"], cpu.evaluate(norms.X, norms.Y)["loss"], rtol=1e-4
    )
