import itertools

import numpy as np
import pytest
from compiler.kernels.checked import DTYPES, partial_sums, run, uninitialized

from gpunet.cuda import Kernel
from gpunet.ops import (
    absolute_error,
    binary_cross_entropy,
    huber,
    mean_squared_error,
    poisson_nll,
    softmax_cross_entropy,
)
from gpunet.ops.launch import row_lanes

NORM = Kernel("softmax_cross_entropy.cu", "cross_entropy_norm")
LABELS = Kernel("softmax_cross_entropy.cu", "softmax_cross_entropy_labels")
DISTRIBUTIONS = Kernel("softmax_cross_entropy.cu", "softmax_cross_entropy_distributions")
ELEMENTWISE = {
    "mean_squared_error": (mean_squared_error, {}),
    "huber": (huber, {"delta": 0.5}),
    "absolute_error": (absolute_error, {"above": 0.2, "below": 0.8}),
    "poisson_nll": (poisson_nll, {"log_input": 1, "eps": 0.0}),
    "binary_cross_entropy": (binary_cross_entropy, {}),
}


def tolerance(dtype):
    eps = np.finfo(dtype).eps
    return {"rtol": 50 * eps, "atol": 20 * eps}


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("name", ELEMENTWISE)
def test_elementwise_losses_match_numpy(name, weighted, dtype):
    reference, constants = ELEMENTWISE[name]
    kernel = Kernel("losses.cu", name)
    for (rows, n), blocks in itertools.product([(1, 1), (7, 3), (300, 5)], (1, 3)):
        rng = np.random.default_rng(rows)
        p, t = rng.standard_normal((rows, n)).astype(dtype), rng.random((rows, n)).astype(dtype)
        weight = rng.random(rows).astype(dtype) if weighted else None
        weight_sum = None if weight is None else weight.sum(keepdims=True)
        slope, mean = uninitialized(p.shape, dtype), uninitialized(1, dtype)
        parts = partial_sums(blocks, dtype)
        run(kernel, (blocks,), (256,), p, t, weight, weight_sum, slope, *parts, mean, rows, n, *constants.values())
        loss, gradient = reference(p, t, **constants, weight=weight)
        np.testing.assert_allclose(mean[0], loss, **tolerance(dtype))
        np.testing.assert_allclose(slope, gradient, **tolerance(dtype))


def elementwise(name, p, t):
    """Return the loss and the slope of a row by the kernel."""
    slope, mean = uninitialized(p.shape, p.dtype), uninitialized(1, p.dtype)
    arrays, constants = (p, t, None, None, slope, None, None, mean, 1, p.size), ELEMENTWISE[name][1].values()
    run(Kernel("losses.cu", name), (1,), (256,), *arrays, *constants)
    return mean[0], np.asarray(slope)


def test_the_absolute_error_has_the_slope_zero_at_zero_and_nan_at_nan():
    loss, slope = elementwise("absolute_error", np.ones(4, np.float32), np.array([1, 0, 2, np.nan], np.float32))
    np.testing.assert_allclose(slope, [0, 0.05, -0.2, np.nan])
    assert np.isnan(loss)


def test_the_loss_of_a_confident_right_logit_keeps_its_digits():
    loss, _ = elementwise("binary_cross_entropy", np.array([30], np.float32), np.ones(1, np.float32))
    np.testing.assert_allclose(loss, np.exp(-30), rtol=1e-5)


def test_a_loss_of_no_rows_is_zero():
    none, loss = np.empty((0, 3), np.float32), uninitialized(1, np.dtype(np.float32))
    run(Kernel("losses.cu", "mean_squared_error"), (1,), (256,), none, none, None, None, none, None, None, loss, 0, 3)
    assert loss[0] == 0
    labels, loss = np.empty(0, np.int64), uninitialized(1, np.dtype(np.float32))
    run(LABELS, (1,), (256,), none, labels, None, None, None, none, None, None, loss, 0, 3, 0.0)
    assert loss[0] == 0


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("hard", [True, False], ids=["labels", "distributions"])
@pytest.mark.parametrize(
    ("weighted", "class_weighted", "smoothing"), [(0, 0, 0.0), (1, 0, 0.1), (0, 1, 0.0), (1, 1, 0.3)]
)
def test_softmax_cross_entropy_matches_numpy(hard, weighted, class_weighted, smoothing, dtype):
    for (rows, classes), blocks in itertools.product([(1, 2), (7, 10), (33, 32), (20, 33), (3, 300), (300, 3)], (1, 2)):
        rng = np.random.default_rng(rows)
        z = (5 * rng.standard_normal((rows, classes))).astype(dtype)
        labels = rng.integers(0, classes, rows)
        target = labels if hard else rng.dirichlet(np.ones(classes), rows).astype(dtype)
        weight = rng.random(rows).astype(dtype) if weighted else None
        class_weight = rng.random(classes).astype(dtype) if class_weighted else None
        norm = None
        if weighted or (hard and class_weighted):
            norm = uninitialized(1, dtype)
            run(NORM, (1,), (256,), weight, class_weight, labels if hard else None, norm, rows, classes,
                options={"REAL": {4: "float", 8: "double"}[dtype.itemsize]})  # fmt: skip
        dz, mean = uninitialized(z.shape, dtype), uninitialized(1, dtype)
        kernel, weights = LABELS if hard else DISTRIBUTIONS, (weight, class_weight, norm)
        sums = *partial_sums(blocks, dtype), mean
        options = {"LANES": row_lanes(classes)}
        run(kernel, (blocks,), (64,), z, target, *weights, dz, *sums, rows, classes, smoothing, options=options)
        loss, gradient = softmax_cross_entropy(
            z, target, weight=weight, class_weight=class_weight, label_smoothing=smoothing
        )
        np.testing.assert_allclose(mean[0], loss, **tolerance(dtype))
        np.testing.assert_allclose(dz, gradient, **tolerance(dtype))


def test_the_gradient_may_overwrite_the_logits():
    z = np.random.default_rng(0).standard_normal((9, 40)).astype(np.float32)
    labels = np.arange(9)
    _, gradient = softmax_cross_entropy(z, labels)
    sums = *partial_sums(2, z.dtype), uninitialized(1, z.dtype)
    run(LABELS, (2,), (256,), z, labels, None, None, None, z, *sums, 9, 40, 0.0)
    np.testing.assert_allclose(z, gradient, **tolerance(z.dtype))


def test_a_class_excluded_by_minus_infinity_has_no_loss_and_no_gradient():
    z = np.array([[0, -np.inf, 0]], np.float32)
    dz, loss = uninitialized(z.shape, z.dtype), uninitialized(1, z.dtype)
    run(LABELS, (1,), (256,), z, np.array([0]), None, None, None, dz, None, None, loss, 1, 3, 0.0)
    np.testing.assert_allclose(loss[0], np.log(2), rtol=1e-6)
    np.testing.assert_allclose(dz, [[-0.5, 0, 0.5]])


def test_huge_logits_do_not_overflow():
    z = np.array([[1e4, -1e4, 0]], np.float32)
    dz, loss = uninitialized(z.shape, z.dtype), uninitialized(1, z.dtype)
    run(LABELS, (1,), (256,), z, np.array([1]), None, None, None, dz, None, None, loss, 1, 3, 0.0)
    assert loss[0] == 2e4
    np.testing.assert_array_equal(dz, [[1, -1, 0]])
