"""Convolution and pooling on the device "sim" in check mode: the results of the CPU, with launches only."""

import numpy as np
import pytest
from compiler.ops.simulated import DTYPES, SIM, assert_as_on_the_cpu, to_sim

import gpunet as gn
from gpunet import simulator
from gpunet.ops import (
    avg_pool2d,
    avg_pool2d_backward,
    conv2d,
    conv2d_backward,
    global_avg_pool2d,
    global_avg_pool2d_backward,
    max_pool2d,
    max_pool2d_backward,
)
from gpunet.tape import empty

CONVOLUTIONS = [  # channels, filters, kernel, stride, padding, dilation, groups
    (4, 6, (3, 3), 1, 1, 1, 1),
    (4, 6, (3, 2), (2, 1), (0, 2), (1, 2), 2),
    (4, 4, (1, 1), 1, 0, 1, 4),
]
POOLINGS = [(2, None, 0), ((3, 2), 1, 1), (4, (1, 3), (2, 0))]
DIGITS = gn.data.digits()


def convolve(x, weight, bias, dy, dweight, dbias, *, sizes, tape):
    y = conv2d(x, weight, bias, *sizes, activation="relu", tape=tape)
    written = {"dweight": dweight, "dbias": dbias}
    return y, *conv2d_backward(dy, x, weight, *sizes, saved=y, activation="relu", **written, tape=tape)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize(("channels", "filters", "kernel", "stride", "padding", "dilation", "groups"), CONVOLUTIONS)
def test_convolution(channels, filters, kernel, stride, padding, dilation, groups, dtype):
    rng, sizes = np.random.default_rng(0), (stride, padding, dilation, groups)
    weight, bias = rng.standard_normal((filters, channels // groups, *kernel)), rng.standard_normal(filters)
    x = rng.standard_normal((5, channels, 7, 6))
    dy = rng.standard_normal(conv2d(x, weight, bias, *sizes).shape)
    arrays = [a.astype(dtype) for a in (x, weight, bias, dy, 0 * weight, 0 * bias)]

    def op(*arrays, tape):
        with gn.ops.use_kernel("tiled" if type(arrays[0]) is not np.ndarray else None):  # for float64, too
            return convolve(*arrays, sizes=sizes, tape=tape)

    assert_as_on_the_cpu(op, *arrays)
    x, _, _, dy, *_ = empty_handed = [to_sim(a) for a in (arrays[0][:0], *arrays[1:3], arrays[3][:0], *arrays[4:])]
    y, dx, dweight, dbias = op(*empty_handed, tape=gn.Tape())
    assert (y.shape, dx.shape) == (dy.shape, x.shape)
    assert not SIM.to_host(dweight).any()
    assert not SIM.to_host(dbias).any()


def test_a_function_in_array_code_runs_separately():
    rng = np.random.default_rng(0)
    square = gn.CustomActivation(lambda z: z * z, lambda z: 2 * z)
    x, weight, bias = (rng.standard_normal(shape) for shape in ((2, 3, 5, 5), (4, 3, 3, 3), (4,)))
    z = np.empty((2, 4, 3, 3))
    y = conv2d(x, weight, bias, activation=square, preactivation=z)
    there = [to_sim(a) for a in (x, weight, bias, z)]
    result = conv2d(*there[:3], activation=square, preactivation=there[3])
    np.testing.assert_allclose(SIM.to_host(result), y, rtol=1e-12)
    np.testing.assert_allclose(SIM.to_host(conv2d(*there[:3], activation=square)), y, rtol=1e-12)
    expected = conv2d_backward(y, x, weight, saved=z, activation=square)
    for a, b in zip(conv2d_backward(result, *there[:2], saved=there[3], activation=square), expected, strict=True):
        np.testing.assert_allclose(SIM.to_host(a), b, rtol=1e-10, atol=1e-10)


def test_inference_in_parts_equals_inference_on_the_whole(monkeypatch):
    x, weight = np.random.default_rng(0).standard_normal((7, 2, 6, 6)), np.ones((3, 2, 3, 3))
    whole = conv2d(to_sim(x), to_sim(weight))
    monkeypatch.setitem(gn.ops.conv2d.__globals__["PATCH_ELEMENTS"], "gpu", 2 * 18 * 16)
    np.testing.assert_array_equal(SIM.to_host(conv2d(to_sim(x), to_sim(weight))), SIM.to_host(whole))


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("sizes", POOLINGS, ids=str)
def test_pooling_by_windows(sizes, dtype):
    rng = np.random.default_rng(0)
    x = rng.integers(-2, 3, (4, 3, 7, 8)).astype(dtype)  # with many equal elements
    dy = rng.standard_normal(max_pool2d(x, *sizes).shape).astype(dtype)

    def largest(x, dy, *, tape):
        winners = empty(tape, dy.shape, np.dtype(np.int32), gn.array_module(x))
        y = max_pool2d(x, *sizes, winners=winners, tape=tape)
        return y, max_pool2d_backward(dy, winners, x.shape, *sizes, tape=tape)

    def average(x, dy, *, tape):
        return avg_pool2d(x, *sizes, tape=tape), avg_pool2d_backward(dy, x.shape, *sizes, tape=tape)

    for op in (largest, average):
        assert_as_on_the_cpu(op, x, dy)
        assert [a.shape for a in op(to_sim(x[:0]), to_sim(dy[:0]), tape=None)] == [
            (0, *dy.shape[1:]),
            (0, *x.shape[1:]),
        ]


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_global_pooling(dtype):
    for rows, image in ((5, (7, 9)), (300, (1, 2))):
        x = np.random.default_rng(0).standard_normal((rows, 3, *image)).astype(dtype)
        assert_as_on_the_cpu(
            lambda x, dy, *, tape: (
                global_avg_pool2d(x, tape=tape),
                global_avg_pool2d_backward(dy, x.shape, tape=tape),
            ),
            x,
            x[..., 0, 0],
        )


def test_nan_among_numbers_wins_and_the_first_pixel_wins_among_minus_infinities():
    rng = np.random.default_rng(0)
    x = rng.standard_normal((2, 3, 8, 8)).astype(np.float32)
    x[rng.random(x.shape) < 0.1] = np.nan
    x[:, :, :4, :4] = -np.inf
    winners, there = np.empty((2, 3, 4, 4), np.int32), to_sim(np.empty((2, 3, 4, 4), np.int32))
    y = max_pool2d(x, 2, winners=winners)
    np.testing.assert_array_equal(SIM.to_host(max_pool2d(to_sim(x), 2, winners=there)), y)
    np.testing.assert_array_equal(SIM.to_host(there)[~np.isnan(y)], winners[~np.isnan(y)])


def test_nan_wins_and_a_window_of_only_padding_is_minus_infinity():
    x = np.full((1, 1, 1, 4), np.nan, np.float32)
    np.testing.assert_array_equal(SIM.to_host(max_pool2d(to_sim(x), (1, 2))), max_pool2d(x, (1, 2)))
    lone = np.zeros((1, 1, 1, 1), np.float32)
    assert (max_pool2d(lone, 2, 1, 1, 2) == SIM.to_host(max_pool2d(to_sim(lone), 2, 1, 1, 2))).all()
    assert np.isneginf(max_pool2d(lone, 2, 1, 1, 2)).all()


def cnn(device):
    model = gn.Sequential(
        gn.Conv2d(1, 4, 3, padding=1, rng=0),
        gn.ReLU(),
        gn.MaxPool2d(2),
        gn.Conv2d(4, 8, 3, groups=2, bias=False, rng=1),
        gn.ReLU(),
        gn.AvgPool2d(2, 1),
        gn.Conv2d(8, 8, 1, rng=2),
        gn.GlobalAvgPool2d(),
        gn.Linear(8, 10, rng=3),
    )
    return model.to(device)


def test_replayed_steps_equal_eager_steps_bitwise_and_match_the_cpu():
    X, y = DIGITS.X[:100].reshape(-1, 1, 8, 8), DIGITS.y[:100]
    where = ("sim", "graph"), ("sim", "eager"), ("cpu", "auto")
    runs = [gn.Trainer(cnn(device), executor=executor) for device, executor in where]
    for run in runs:
        run.fit(X, y, epochs=4, batch_size=33)
    replayed, plain, here = (gn.to_host(run.model.store.params) for run in runs)
    np.testing.assert_array_equal(replayed, plain)
    np.testing.assert_allclose(replayed, here, atol=1e-4)
    np.testing.assert_allclose(runs[0].model.outputs(X), runs[2].model.outputs(X), rtol=1e-3, atol=1e-3)
    assert len(runs[0].explain().nodes) <= 33


def test_check_mode_finds_nothing_in_a_recorded_step_of_images_and_sequences():
    X, y = DIGITS.X[:30], DIGITS.y[:30]
    with simulator.check_mode():
        gn.Trainer(cnn("sim"), executor="graph").fit(X.reshape(-1, 1, 8, 8), y, epochs=3, batch_size=15)
        model = gn.Sequential(gn.Conv1d(2, 4, 5, 3, rng=0), gn.ReLU(), gn.Flatten(), gn.Linear(40, 10, rng=1)).to("sim")
        gn.Trainer(model, executor="graph").fit(X.reshape(-1, 2, 32), y, epochs=3, batch_size=15)
