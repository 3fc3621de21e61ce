"""Convolution, compared with loops over the output's pixels and with PyTorch."""

import itertools
import tracemalloc

import numpy as np
import pytest
from gradcheck import directional_error
from numpy.testing import assert_allclose, assert_array_equal

from gpunet.errors import ArgumentError, DTypeError, ShapeError
from gpunet.ops import conv2d, conv2d_backward
from gpunet.ops._conv2d import PATCH_ELEMENTS
from gpunet.ops.activations import FUNCTIONS

TOLERANCES = {np.float32: {"rtol": 1e-5, "atol": 1e-5}, np.float64: {"rtol": 1e-9, "atol": 1e-9}}


def configurations(count):
    """Return seeded random (rows, channels of a group, filters of a group, image, kernel, stride, ... groups)."""
    rng, found = np.random.default_rng(0), []
    while len(found) < count:
        rows, depth, filters, groups = (int(n) for n in rng.integers(1, 4, 4))
        image, kernel, stride, padding, dilation = (
            tuple(map(int, rng.integers(low, high, 2))) for low, high in ((1, 10), (1, 4), (1, 4), (0, 3), (1, 3))
        )
        spans = [(k - 1) * d + 1 for k, d in zip(kernel, dilation, strict=True)]
        if all(size + 2 * p >= span for size, p, span in zip(image, padding, spans, strict=True)):
            found.append((rows, depth, filters, image, kernel, stride, padding, dilation, groups))
    return found


CONFIGURATIONS = configurations(40)


def problem(rows, depth, filters, image, kernel, stride, padding, dilation, groups, dtype=np.float64):
    """Return (x, weight, bias, dy) and the sizes that `conv2d` takes."""
    rng = np.random.default_rng(1)
    x, weight = (
        rng.standard_normal((rows, groups * depth, *image)),
        rng.standard_normal((groups * filters, depth, *kernel)),
    )
    bias, sizes = rng.standard_normal(groups * filters), (stride, padding, dilation, groups)
    dy = rng.standard_normal(conv2d(x, weight, bias, *sizes).shape)
    return [a.astype(dtype) for a in (x, weight, bias, dy)], sizes


def by_pixels(x, weight, bias, dy, stride, padding, dilation, groups):
    """Return y and the gradients (dx, dweight, dbias), output pixel by output pixel."""
    (filters, depth, kernel_h, kernel_w), (height, width) = weight.shape, x.shape[2:]
    padded = np.pad(x, ((0, 0), (0, 0), (padding[0],) * 2, (padding[1],) * 2))
    y, dpadded, dweight = np.empty_like(dy), np.zeros_like(padded), np.zeros_like(weight)
    for group, a, b in np.ndindex(groups, *dy.shape[2:]):
        its, own = slice(group * depth, (group + 1) * depth), slice(*np.array([group, group + 1]) * filters // groups)
        down = a * stride[0] + np.arange(kernel_h) * dilation[0]
        across = b * stride[1] + np.arange(kernel_w) * dilation[1]
        patch = (slice(None), its, down[:, None], across)
        y[:, own, a, b] = np.tensordot(padded[patch], weight[own], ([1, 2, 3], [1, 2, 3])) + bias[own]
        dweight[own] += np.tensordot(dy[:, own, a, b], padded[patch], (0, 0))
        dpadded[patch] += np.tensordot(dy[:, own, a, b], weight[own], (1, 0))
    dx = dpadded[:, :, padding[0] : padding[0] + height, padding[1] : padding[1] + width]
    return y, dx, dweight, dy.sum(axis=(0, 2, 3))


def test_a_3x3_image_and_a_2x2_filter_match_values_computed_by_hand():
    image = np.array([[1.0, 2, 3], [4, 5, 6], [7, 8, 9]])
    filter = np.array([[1.0, 2], [3, 4]])
    y = conv2d(image[None, None], filter[None, None])[0, 0]
    assert y[0, 0] == 1 * 1 + 2 * 2 + 4 * 3 + 5 * 4 == 37
    assert y[0, 1] == 2 * 1 + 3 * 2 + 5 * 3 + 6 * 4 == 47
    assert y[1, 0] == 4 * 1 + 5 * 2 + 7 * 3 + 8 * 4 == 67
    assert y[1, 1] == 5 * 1 + 6 * 2 + 8 * 3 + 9 * 4 == 77


def test_input_gradient_of_a_3x3_image_matches_values_computed_by_hand():
    dy, filter = np.array([[1.0, 10], [100, 1000]]), np.array([[1.0, 2], [3, 4]])
    image = np.arange(9.0).reshape(1, 1, 3, 3)
    dx, dweight, dbias = conv2d_backward(dy[None, None], image, filter[None, None])
    assert_array_equal(dx[0, 0], [[1, 12, 20], [103, 1234, 2040], [300, 3400, 4000]])
    assert_array_equal(
        dweight[0, 0], [[0 + 10 + 300 + 4000, 1 + 20 + 400 + 5000], [3 + 40 + 600 + 7000, 4 + 50 + 700 + 8000]]
    )
    assert_array_equal(dbias, [1111])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_output_and_gradients_match_loops_over_pixels(dtype):
    for configuration in CONFIGURATIONS:
        (x, weight, bias, dy), sizes = problem(*configuration)
        expected = by_pixels(x, weight, bias, dy, *sizes)
        x, weight, bias, dy = (a.astype(dtype) for a in (x, weight, bias, dy))
        results = conv2d(x, weight, bias, *sizes), *conv2d_backward(dy, x, weight, *sizes)
        for a, b in zip(results, expected, strict=True):
            assert a.dtype == dtype
            assert_allclose(a, b, **TOLERANCES[dtype], err_msg=str(configuration))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_output_and_gradients_match_pytorch(dtype):
    torch = pytest.importorskip("torch", reason="PyTorch is not installed: nothing to compare with")
    for configuration in CONFIGURATIONS:
        (x, weight, bias, dy), sizes = problem(*configuration, dtype=dtype)
        tensors = [torch.tensor(a, requires_grad=True) for a in (x, weight, bias)]
        y = torch.nn.functional.conv2d(*tensors, *sizes)
        y.backward(torch.tensor(dy))
        results = conv2d(x, weight, bias, *sizes), *conv2d_backward(dy, x, weight, *sizes)
        for a, b in zip(results, (y.detach(), *(t.grad for t in tensors)), strict=True):
            assert_allclose(a, b.numpy(), **TOLERANCES[dtype], err_msg=str(configuration))


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_fused_activation_and_its_gradient(name):
    (x, weight, bias, dy), sizes = problem(2, 2, 3, (5, 6), (3, 2), (1, 2), (1, 0), (1, 1), 2)
    function = FUNCTIONS[name]()
    z = np.empty_like(dy)
    y = conv2d(x, weight, bias, *sizes, activation=function, preactivation=z)
    assert_array_equal(z, conv2d(x, weight, bias, *sizes))
    assert_array_equal(y, function(z))
    saved = y if function.saves == "output" else z
    gradients = conv2d_backward(dy, x, weight, *sizes, saved=saved, activation=function)
    error = directional_error(
        lambda *point: float((dy * conv2d(*point, *sizes, activation=function)).sum()), [x, weight, bias], gradients
    )
    assert error < 1e-8


def test_one_number_stands_for_both_axes():
    x, weight = np.random.default_rng(0).standard_normal((2, 1, 3, 9, 9))[0], np.ones((2, 3, 3, 3))
    assert_array_equal(conv2d(x, weight, None, 2, 1, 2), conv2d(x, weight, None, (2, 2), (1, 1), (2, 2)))


def test_patches_from_forward_equal_those_that_backward_recomputes():
    (x, weight, bias, dy), sizes = problem(*CONFIGURATIONS[0])
    groups, pixels = sizes[-1], dy.shape[0] * dy.shape[2] * dy.shape[3]
    columns = np.full((groups, weight[0].size, pixels), np.nan)
    conv2d(x, weight, bias, *sizes, columns=columns)
    for a, b in zip(
        conv2d_backward(dy, x, weight, *sizes, columns=columns), conv2d_backward(dy, x, weight, *sizes), strict=True
    ):
        assert_array_equal(a, b)


def test_unneeded_gradients_are_skipped_and_others_written_to_given_arrays():
    (x, weight, _, dy), sizes = problem(*CONFIGURATIONS[1])
    dweight, dbias = np.empty_like(weight), np.empty(len(weight))
    dx, *written = conv2d_backward(dy, x, weight, *sizes, input_gradient=False, dweight=dweight, dbias=dbias)
    assert dx is None
    assert written[0] is dweight
    assert written[1] is dbias
    expected = conv2d_backward(dy, x, weight, *sizes)
    assert_array_equal(dweight, expected[1])
    assert_array_equal(dbias, expected[2])
    assert conv2d_backward(dy, x, weight, *sizes, bias_gradient=False)[2] is None


def test_any_memory_layout_gives_the_same_and_inputs_are_not_modified():
    (x, weight, bias, dy), sizes = problem(*CONFIGURATIONS[2])
    expected = conv2d(x, weight, bias, *sizes), *conv2d_backward(dy, x, weight, *sizes)
    for change in (np.asfortranarray, lambda a: a[::-1].copy()[::-1]):
        given = [change(a) for a in (x, weight, bias, dy)]
        for a in given:
            a.flags.writeable = False
        results = conv2d(*given[:3], *sizes), *conv2d_backward(given[3], *given[:2], *sizes)
        for a, b in zip(results, expected, strict=True):
            assert_allclose(a, b, rtol=1e-12, atol=1e-12)


def test_no_rows_give_no_rows_and_zero_gradients():
    x, weight = np.empty((0, 2, 5, 5)), np.ones((3, 2, 3, 3))
    y = conv2d(x, weight, np.ones(3))
    dx, dweight, dbias = conv2d_backward(y, x, weight)
    assert (y.shape, dx.shape) == ((0, 3, 3, 3), x.shape)
    assert not dweight.any()
    assert not dbias.any()


def test_inference_on_many_rows_takes_the_memory_of_a_few():
    x, weight = (
        np.random.default_rng(0).standard_normal((600, 1, 28, 28), np.float32),
        np.ones((2, 1, 5, 5), np.float32),
    )
    tracemalloc.start()
    try:
        y = conv2d(x, weight, padding=2)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert 25 * x.size > 10 * PATCH_ELEMENTS["cpu"]
    assert peak < y.nbytes + 3 * x.itemsize * PATCH_ELEMENTS["cpu"]
    assert_allclose(y[[0, 299, 599]], conv2d(x[[0, 299, 599]], weight, padding=2), rtol=1e-5, atol=1e-5)


X, WEIGHT = np.ones((2, 4, 5, 6)), np.ones((6, 2, 3, 3))


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (
            lambda: conv2d(X, np.ones((6, 4, 6, 3))),
            ShapeError,
            "kernel, which spans 6 x 3, is larger than the image of 5 x 6",
        ),
        (lambda: conv2d(X, np.ones((6, 4, 3, 3)), None, 1, 0, 4), ShapeError, "spans 9 x 9, .* its padding, 5 x 6"),
        (lambda: conv2d(X, WEIGHT), ShapeError, r"\(2, 4, 5, 6\) has 4 channels .* \(6, 2, 3, 3\) expects 2"),
        (lambda: conv2d(X, WEIGHT, groups=3), ArgumentError, "groups=3 must divide the 4 channels of x and 6 filters"),
        (lambda: conv2d(X, np.ones((5, 2, 3, 3)), groups=2), ArgumentError, "groups=2 must divide .* 5 filters"),
        (lambda: conv2d(X[0], WEIGHT), ShapeError, r"x has shape \(4, 5, 6\).* \(rows, channels, height, width\)"),
        (lambda: conv2d(X, WEIGHT, np.ones(5), groups=2), ShapeError, r"bias has shape \(5,\), expected \(6,\)"),
        (
            lambda: conv2d(X, WEIGHT, stride=0, groups=2),
            ArgumentError,
            "stride must be a whole number of at least 1, got 0",
        ),
        (lambda: conv2d(X, WEIGHT, padding=-1, groups=2), ArgumentError, "padding .* at least 0, got -1"),
        (lambda: conv2d(X, WEIGHT, padding=(1, 1, 1), groups=2), ArgumentError, r"or 2 of them, got \(1, 1, 1\)"),
        (lambda: conv2d(X, WEIGHT, padding="same", groups=2), ArgumentError, "got 'same'"),
        (lambda: conv2d(X, WEIGHT, groups=0), ArgumentError, "groups must be .* got 0"),
        (lambda: conv2d(X, WEIGHT.astype(np.float32), groups=2), DTypeError, "x is float64, weight is float32"),
        (lambda: conv2d(X, WEIGHT, groups=2, out=np.ones((2, 6, 3, 3))), ShapeError, "out has shape"),
        (lambda: conv2d(X, WEIGHT, groups=2, out=np.ones((4, 6, 3, 2)).T), ShapeError, "out"),
        (lambda: conv2d_backward(X, X, WEIGHT, groups=2), ShapeError, r"dy has shape .* expected \(2, 6, 3, 4\)"),
        (
            lambda: conv2d_backward(np.ones((2, 6, 3, 4)), X, WEIGHT, groups=2, activation="relu"),
            ArgumentError,
            r"ReLU\(\) needs saved, its output",
        ),
        (
            lambda: conv2d_backward(np.ones((2, 6, 3, 4)), X, WEIGHT, groups=2, dweight=WEIGHT.copy("F")),
            ShapeError,
            "dweight must be C-contiguous",
        ),
    ],
)
def test_invalid_arguments_raise(call, error, message):
    with pytest.raises(error, match=message):
        call()


def test_every_kernel_size_on_every_small_image_covers_each_pixel_correctly():
    for size, kernel, stride, padding, dilation in itertools.product(
        range(1, 6), (1, 2, 3), (1, 2, 3), (0, 1, 2), (1, 2)
    ):
        span = (kernel - 1) * dilation + 1
        if size + 2 * padding < span:
            continue
        x, weight = np.ones((1, 1, 1, size)), np.ones((1, 1, 1, kernel))
        sizes = (1, stride), (0, padding), (1, dilation)
        seen = np.zeros(size + 2 * padding)
        for start in range(0, len(seen) - span + 1, stride):
            seen[start : start + span : dilation] += 1
        y = conv2d(x, weight, None, *sizes)
        dx, _, _ = conv2d_backward(np.ones_like(y), x, weight, *sizes)
        assert_array_equal(dx[0, 0, 0], seen[padding : padding + size])
        assert y.sum() == dx.sum()
