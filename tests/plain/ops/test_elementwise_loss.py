"""The elementwise losses, compared with plain loops and finite differences, also far from zero."""

import math
from functools import partial

import numpy as np
import pytest
from gradcheck import directional_error
from numpy.testing import assert_allclose, assert_array_equal

from gpunet import Tape
from gpunet.errors import DTypeError, ShapeError
from gpunet.ops import absolute_error, binary_cross_entropy, huber, mean_squared_error, poisson_nll


def huber_of_one(p, t, delta=0.7):
    d = abs(p - t)
    return d * d / 2 if d <= delta else delta * (d - delta / 2)


def entropy_of_one(z, t):
    q = 1 / (1 + math.exp(-z))
    return -t * math.log(q) - (1 - t) * math.log(1 - q)


def of_rates(p, t, **options):
    """Return the loss of the rates exp(p), and its gradient by p."""
    value, slope = poisson_nll(np.exp(p), t, log_input=False, eps=0.01, **options)
    return value, np.multiply(slope, np.exp(p), out=slope)


LOSSES = {
    "mse": (mean_squared_error, lambda p, t: (p - t) ** 2),
    "huber": (lambda p, t, **kw: huber(p, t, 0.7, **kw), huber_of_one),
    "l1": (absolute_error, lambda p, t: abs(p - t)),
    "quantile": (partial(absolute_error, above=0.2, below=0.8), lambda p, t: max(0.8 * (t - p), 0.2 * (p - t))),
    "poisson": (poisson_nll, lambda p, t: math.exp(p) - t * p),
    "poisson rate": (of_rates, lambda p, t: math.exp(p) - t * math.log(math.exp(p) + 0.01)),
    "bce": (binary_cross_entropy, entropy_of_one),
}


@pytest.fixture(params=LOSSES.values(), ids=LOSSES.keys())
def loss(request):
    return request.param


@pytest.fixture(params=[(6,), (6, 1), (6, 3), (6, 2, 2)], ids=str)
def batch(request):
    """Predictions, targets in [0, 1] and row weights."""
    rng = np.random.default_rng(0)
    return 1.5 * rng.standard_normal(request.param), rng.uniform(size=request.param), rng.uniform(size=6)


@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float32, 1e-5), (np.float64, 1e-12)])
@pytest.mark.parametrize("weighted", [False, True])
def test_value_is_the_weighted_mean_over_all_elements(loss, batch, weighted, dtype, tolerance):
    op, of_one = loss
    p, t, w = (a.astype(dtype) for a in batch)
    value, slope = op(p, t, weight=w if weighted else None)
    terms = np.vectorize(of_one)(p.astype(float), t.astype(float)).reshape(6, -1)
    expected = np.average(terms.mean(axis=1), weights=w if weighted else None)
    assert value.shape == ()
    assert value.dtype == slope.dtype == dtype
    assert float(value) == pytest.approx(expected, rel=tolerance)


@pytest.mark.parametrize("weighted", [False, True])
def test_gradient_matches_finite_differences(loss, batch, weighted):
    op, _ = loss
    p, t, w = batch
    weight = w if weighted else None
    slope = op(p, t, weight=weight)[1]
    assert directional_error(lambda p: float(op(p, t, weight=weight)[0]), [p], [slope]) < 1e-9


def test_a_tape_reuses_its_memory_and_gives_the_same_results(loss, batch):
    op, _ = loss
    p, t, w = batch
    tape = Tape()
    first = op(p, t, weight=w, tape=tape)
    tape.reset()
    second = op(p, t, weight=w, tape=tape)
    for a, b, fresh in zip(first, second, op(p, t, weight=w), strict=True):
        assert np.shares_memory(a, b)
        assert_array_equal(a, fresh)


def test_any_memory_layout_gives_the_same_and_inputs_are_not_modified(loss):
    op, _ = loss
    p, t = np.random.default_rng(0).uniform(size=(2, 6, 4))
    w = np.arange(6.0)
    expected = op(p, t, weight=w)
    for change in (np.asfortranarray, lambda a: np.repeat(a, 2, axis=0)[::2], lambda a: a[::-1].copy()[::-1]):
        changed = [change(a) for a in (p, t, w)]
        for a in changed:
            a.flags.writeable = False
        for a, b in zip(op(*changed[:2], weight=changed[2]), expected, strict=True):
            assert_allclose(a, b, rtol=1e-14)


def test_no_rows_give_zero_loss(loss):
    op, _ = loss
    for weight in (None, np.empty(0)):
        value, slope = op(np.empty((0, 3)), np.empty((0, 3)), weight=weight)
        assert value == 0
        assert slope.shape == (0, 3)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_all_zero_weights_give_zero_loss(loss, dtype):
    value, slope = loss[0](np.ones((3, 2), dtype), np.zeros((3, 2), dtype), weight=np.zeros(3, dtype))
    assert value == 0
    assert_array_equal(slope, np.zeros((3, 2), dtype), strict=True)


def test_the_slope_of_the_absolute_error_is_zero_at_zero_and_nan_at_nan():
    slope = absolute_error(np.array([-2.0, 0, 3, np.nan]), np.zeros(4), above=1, below=3)[1]
    assert_array_equal(4 * slope, [-3, 0, 1, np.nan])


# PyTorch 2.13: F.poisson_nll_loss(p, t, log_input=..., eps=0.1) and F.l1_loss, with their gradients by p
@pytest.mark.parametrize(
    ("op", "loss", "slope"),
    [
        (
            partial(poisson_nll, eps=0.1),
            2.268585256637217,
            [-0.08781968232496795, 0.6795704571147613, 0.0795704571147613, 1.5972640247326626],
        ),
        (
            partial(poisson_nll, log_input=False, eps=0.1),
            1.137742367818056,
            [-0.5833333333333334, 0.25, -0.2954545454545454, 0.13095238095238096],
        ),
        (absolute_error, 1.225, [-0.25, 0.25, -0.25, 0.25]),
    ],
    ids=["logarithms", "rates", "l1"],
)
def test_values_match_pytorch(op, loss, slope):
    got = op(np.array([0.5, 1, 1, 2]), np.array([2, 0, 2.4, 1]))
    assert float(got[0]) == pytest.approx(loss, rel=1e-14)
    assert_allclose(got[1], slope, rtol=1e-13)


def test_huber_is_quadratic_up_to_delta_and_linear_beyond():
    p = np.array([-3.0, -0.5, 0.0, 0.5, 3.0])
    for i, (value, slope) in enumerate([(1.375, -0.5), (0.125, -0.5), (0, 0), (0.125, 0.5), (1.375, 0.5)]):
        got = huber(p[i : i + 1], np.zeros(1), 0.5)
        assert_array_equal([got[0], got[1][0]], [value, slope])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(
    ("logit", "target", "value", "slope"),
    [
        (1000, 1, 0, 0),
        (-1000, 0, 0, 0),
        (1000, 0, 1000, 1),
        (-1000, 1, 1000, -1),
        (0, 0.5, math.log(2), 0),
        (20, 1, math.log1p(math.exp(-20)), 1 / (1 + math.exp(-20)) - 1),
        (-20, 0, math.log1p(math.exp(-20)), 1 / (1 + math.exp(20))),
        (1000, 0.25, 750, 0.75),
    ],
)
def test_binary_cross_entropy_of_large_logits_is_exact_and_does_not_warn(logit, target, value, slope, dtype):
    got = binary_cross_entropy(np.array([logit], dtype), np.array([target], dtype))
    assert float(got[0]) == pytest.approx(value, rel=1e-6, abs=0)
    assert float(got[1][0]) == pytest.approx(slope, rel=1e-6, abs=float(np.finfo(dtype).eps))


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (lambda p, t, w: (p, t[:, :1], w), ShapeError, r"target has shape \(6, 1\), prediction \(6, 3\)"),
        (lambda p, t, w: (p, t[:, 0], w), ShapeError, r"target has shape \(6,\)"),
        (lambda p, t, w: (p[0, 0], t[0, 0], w), ShapeError, r"prediction \(\)"),
        (lambda p, t, w: (p, t, w[:5]), ShapeError, r"weight has shape \(5,\), expected \(6,\), one per row"),
        (lambda p, t, w: (p, t, w[:, None]), ShapeError, r"weight has shape \(6, 1\)"),
        (lambda p, t, w: (p, t.astype("f"), w), DTypeError, "target is float32"),
        (lambda p, t, w: (p, t.astype(int), w), DTypeError, "target is int64"),
        (lambda p, t, w: (p, t, w.astype("f")), DTypeError, "weight is float32"),
        (lambda p, t, w: (p, t.tolist(), w), DTypeError, "target.*list|got list"),
    ],
)
def test_invalid_arguments_raise(loss, change, error, message):
    p, t, w = change(np.ones((6, 3)), np.ones((6, 3)), np.ones(6))
    with pytest.raises(error, match=message):
        partial(loss[0], weight=w)(p, t)
