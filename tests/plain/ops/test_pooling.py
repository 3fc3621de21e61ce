"""Pooling, compared with loops over windows and with PyTorch."""

import numpy as np
import pytest
from gradcheck import directional_error
from numpy.testing import assert_allclose, assert_array_equal

from gpunet.errors import ArgumentError, DTypeError, ShapeError
from gpunet.ops import (
    avg_pool2d,
    avg_pool2d_backward,
    global_avg_pool2d,
    global_avg_pool2d_backward,
    max_pool2d,
    max_pool2d_backward,
)

TOLERANCES = {np.float32: {"rtol": 1e-5, "atol": 1e-5}, np.float64: {"rtol": 1e-9, "atol": 1e-9}}


def configurations(count):
    """Return seeded random (image, kernel, stride or None, padding, dilation)."""
    rng, found = np.random.default_rng(0), []
    while len(found) < count:
        image, kernel, stride, padding, dilation = (
            tuple(map(int, rng.integers(low, high, 2))) for low, high in ((1, 10), (1, 5), (1, 4), (0, 4), (1, 3))
        )
        spans = [(k - 1) * d + 1 for k, d in zip(kernel, dilation, strict=True)]
        fits = all(size + 2 * p >= span for size, p, span in zip(image, padding, spans, strict=True))
        if fits and all(2 * p <= min(k, span) for p, k, span in zip(padding, kernel, spans, strict=True)):
            found.append((image, kernel, None if rng.random() < 0.3 else stride, padding, dilation))
    return found


CONFIGURATIONS = configurations(60)


def images(image, dtype=np.float64):
    """Return x (2, 3, height, width) with many equal elements."""
    return np.random.default_rng(1).integers(-2, 3, (2, 3, *image)).astype(dtype)


def windows(x, kernel, stride, padding, dilation, fill):
    """Yield (a, b, window, pixels): each window's place, elements and their indices into the padded images."""
    padded = np.pad(x, ((0, 0), (0, 0), (padding[0],) * 2, (padding[1],) * 2), constant_values=fill)
    stride = stride or kernel
    down, across = (np.arange(k) * d for k, d in zip(kernel, dilation, strict=True))
    for a in range((padded.shape[2] - down[-1] - 1) // stride[0] + 1):
        for b in range((padded.shape[3] - across[-1] - 1) // stride[1] + 1):
            pixels = (slice(None), slice(None), (a * stride[0] + down)[:, None], b * stride[1] + across)
            yield a, b, padded[pixels], pixels


def unpadded(dpadded, padding, image):
    return dpadded[:, :, padding[0] : padding[0] + image[0], padding[1] : padding[1] + image[1]]


def max_both(x, dy, *sizes):
    winners = np.empty(dy.shape, np.int32)
    y = max_pool2d(x, *sizes, winners=winners)
    assert_array_equal(max_pool2d(x, *sizes), y)
    return y, max_pool2d_backward(dy, winners, x.shape, *sizes)


def test_max_pooling_matches_loops_over_windows_and_the_first_of_equal_elements_wins():
    for configuration in CONFIGURATIONS:
        image, *sizes = configuration
        x, padding = images(image), sizes[2]
        dy = np.random.default_rng(2).standard_normal(max_pool2d(x, *sizes).shape)
        dpadded = np.zeros((2, 3, image[0] + 2 * padding[0], image[1] + 2 * padding[1]))
        y, dx = max_both(x, dy, *sizes)
        for a, b, window, pixels in windows(x, *sizes, -np.inf):
            flat = window.reshape(2, 3, -1)
            assert_array_equal(y[:, :, a, b], flat.max(axis=2))
            won = np.arange(flat.shape[2]) == flat.argmax(axis=2)[..., None]  # argmax gives the first
            np.add.at(dpadded, pixels, won.reshape(window.shape) * dy[:, :, a, b, None, None])
        assert_allclose(dx, unpadded(dpadded, padding, image), err_msg=str(configuration), atol=1e-12)


def test_average_pooling_matches_loops_over_windows():
    for configuration in CONFIGURATIONS:
        image, *sizes = configuration
        x, padding = images(image), sizes[2]
        sizes[3] = (1, 1)
        y = avg_pool2d(x, *sizes[:3])
        dy = np.random.default_rng(2).standard_normal(y.shape)
        dpadded = np.zeros((2, 3, image[0] + 2 * padding[0], image[1] + 2 * padding[1]))
        for a, b, window, pixels in windows(x, *sizes, 0):
            assert_allclose(y[:, :, a, b], window.mean(axis=(2, 3)), atol=1e-12)
            np.add.at(dpadded, pixels, np.broadcast_to(dy[:, :, a, b, None, None], window.shape) / window[0, 0].size)
        dx = avg_pool2d_backward(dy, x.shape, *sizes[:3])
        assert_allclose(dx, unpadded(dpadded, padding, image), err_msg=str(configuration), atol=1e-12)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_all_poolings_and_their_gradients_match_pytorch(dtype):
    torch = pytest.importorskip("torch", reason="PyTorch is not installed: nothing to compare with")

    def assert_as_there(function, x, results, dy):
        given = torch.tensor(x, requires_grad=True)
        y = function(given)
        y.backward(torch.tensor(dy).reshape(y.shape))
        for a, b in zip(results, (y.detach(), given.grad), strict=True):
            assert a.dtype == dtype
            assert_allclose(a.reshape(b.shape), b.numpy(), **TOLERANCES[dtype])

    for image, *sizes in CONFIGURATIONS:
        x = images(image, dtype)
        y = max_pool2d(x, *sizes)
        if np.isinf(y).any():  # a window sees padding alone, for which PyTorch writes out of bounds
            continue
        dy = np.random.default_rng(2).standard_normal(y.shape).astype(dtype)
        assert_as_there(lambda a, s=sizes: torch.nn.functional.max_pool2d(a, *s), x, max_both(x, dy, *sizes), dy)
        y = avg_pool2d(x, *sizes[:3])
        dy = np.random.default_rng(2).standard_normal(y.shape).astype(dtype)
        results = y, avg_pool2d_backward(dy, x.shape, *sizes[:3])
        assert_as_there(lambda a, s=sizes: torch.nn.functional.avg_pool2d(a, *s[:3]), x, results, dy)
        y = global_avg_pool2d(x)
        dy = np.random.default_rng(2).standard_normal(y.shape).astype(dtype)
        results = y, global_avg_pool2d_backward(dy, x.shape)
        assert_as_there(lambda a: torch.nn.functional.adaptive_avg_pool2d(a, 1), x, results, dy)


def test_a_hand_computed_example():
    x = np.array([[1.0, 2, 5, 0], [4, 3, 1, 2], [0, 0, 7, 8], [0, 0, 6, 9]])[None, None]
    dy = np.array([[1.0, 2], [3, 4]])[None, None]
    y, dx = max_both(x, dy, 2)
    assert_array_equal(y[0, 0], [[4, 5], [0, 9]])
    assert_array_equal(dx[0, 0], [[0, 0, 2, 0], [1, 0, 0, 0], [3, 0, 0, 0], [0, 0, 0, 4]])
    assert_array_equal(avg_pool2d(x, 2)[0, 0], [[2.5, 2], [0, 7.5]])
    assert_array_equal(avg_pool2d_backward(dy, x.shape, 2)[0, 0, ::2, ::2], [[0.25, 0.5], [0.75, 1]])
    assert global_avg_pool2d(x) == 3
    assert_array_equal(global_avg_pool2d_backward(np.array([[16.0]]), x.shape), np.ones((1, 1, 4, 4)))


@pytest.mark.parametrize(
    "pooling",
    [
        (lambda x: max_pool2d(x, 3, 2, 1), lambda x, dy: max_both(x, dy, 3, 2, 1)[1]),
        (lambda x: avg_pool2d(x, (3, 2), 1, 1), lambda x, dy: avg_pool2d_backward(dy, x.shape, (3, 2), 1, 1)),
        (global_avg_pool2d, lambda x, dy: global_avg_pool2d_backward(dy, x.shape)),
    ],
    ids=["max", "average", "global"],
)
def test_gradient_matches_finite_differences(pooling):
    forward, backward = pooling
    x = np.random.default_rng(0).standard_normal((2, 3, 5, 6))
    dy = np.random.default_rng(1).standard_normal(forward(x).shape)
    assert directional_error(lambda x: float((dy * forward(x)).sum()), [x], [backward(x, dy)]) < 1e-8


def test_nan_wins_and_the_first_pixel_wins_among_minus_infinities():
    x = np.array([[np.nan, 1, -np.inf, -np.inf], [2, 3, -np.inf, -np.inf]])[None, None]
    y, dx = max_both(x, np.ones((1, 1, 1, 2)), 2)
    assert_array_equal(y[0, 0], [[np.nan, -np.inf]])
    assert_array_equal(dx[0, 0, :, 2:], [[1, 0], [0, 0]])


def test_no_rows_give_no_rows():
    x = np.empty((0, 3, 4, 4))
    y, dx = max_both(x, np.empty((0, 3, 2, 2)), 2)
    assert (y.shape, dx.shape) == ((0, 3, 2, 2), x.shape)
    assert avg_pool2d(x, 2).shape == (0, 3, 2, 2)
    assert global_avg_pool2d(x).shape == (0, 3)


X = np.ones((2, 3, 4, 5))


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: max_pool2d(X, 5), ShapeError, "max_pool2d: the kernel, which spans 5 x 5, .* image of 4 x 5"),
        (lambda: avg_pool2d(X, (4, 6)), ShapeError, "avg_pool2d: the kernel, which spans 4 x 6"),
        (
            lambda: max_pool2d(X, 2, padding=2),
            ArgumentError,
            "padding=2 is more than half of the window, which spans 2, so a window could contain only padding",
        ),
        (lambda: avg_pool2d(X, 0), ArgumentError, "avg_pool2d: kernel_size must be a whole number .* got 0"),
        (lambda: max_pool2d(X, 2, stride=0), ArgumentError, "stride must be .* got 0"),
        (lambda: max_pool2d(X[0], 2), ShapeError, r"\(rows, channels, height, width\), got shape \(3, 4, 5\)"),
        (lambda: global_avg_pool2d(X[0]), ShapeError, r"got \(3, 4, 5\)"),
        (lambda: global_avg_pool2d(X[..., :0]), ShapeError, r"with pixels, got \(2, 3, 4, 0\)"),
        (lambda: max_pool2d(X.astype(int), 2), DTypeError, "x is int64"),
        (lambda: avg_pool2d_backward(X, X.shape, 2), ShapeError, r"dy has shape .* expected \(2, 3, 2, 2\)"),
        (lambda: max_pool2d_backward(X, X, X.shape, 2), ShapeError, r"dy has shape .* expected \(2, 3, 2, 2\)"),
        (lambda: global_avg_pool2d_backward(X, X.shape), ShapeError, r"dy has shape .* expected \(2, 3\)"),
    ],
)
def test_invalid_arguments_raise(call, error, message):
    with pytest.raises(error, match=message):
        call()
