"""Softmax cross-entropy: every combination of its arguments, compared with loops over PyTorch's documented formula."""

import math
from itertools import product

import numpy as np
import pytest
from gradcheck import directional_error
from numpy.testing import assert_allclose, assert_array_equal

from gpunet import Tape
from gpunet.errors import DataError, DTypeError, ShapeError
from gpunet.ops import softmax_cross_entropy

ROWS, CLASSES = 7, 4
COMBINATIONS = list(product([True, False], [0.0, 0.1, 1.0], [False, True], [False, True]))


def formula(logits, target, row_weight, class_weight, smoothing):
    """The weighted mean of the rows' losses.

    The loss of row i is -Σ_c w_c log p_ic t'_ic with t' = (1 - smoothing)·t + smoothing/classes. Integer labels y are
    averaged with the weights w_y, distributions evenly; row weights multiply these.
    """
    total = norm = 0.0
    for i, z in enumerate(logits):
        lse = math.log(sum(math.exp(v) for v in z))
        hard = target.ndim == 1
        loss = 0.0
        for c in range(CLASSES):
            t = float(target[i] == c) if hard else target[i, c]
            loss -= class_weight[c] * (z[c] - lse) * ((1 - smoothing) * t + smoothing / CLASSES)
        total += row_weight[i] * loss
        norm += row_weight[i] * (class_weight[target[i]] if hard else 1.0)
    return total / norm


@pytest.fixture(params=COMBINATIONS, ids="hard={0[0]} smoothing={0[1]} class_weight={0[2]} weight={0[3]}".format)
def case(request):
    """Logits, targets, and the keyword arguments of a combination."""
    hard, smoothing, by_class, by_row = request.param
    rng = np.random.default_rng(0)
    logits = 3 * rng.standard_normal((ROWS, CLASSES))
    target = rng.integers(0, CLASSES, ROWS) if hard else rng.dirichlet(np.ones(CLASSES), ROWS)
    weights = {
        "weight": rng.uniform(size=ROWS) if by_row else None,
        "class_weight": rng.uniform(size=CLASSES) if by_class else None,
    }
    return logits, target, {**weights, "label_smoothing": smoothing}


@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float32, 1e-5), (np.float64, 1e-12)])
def test_value_matches_pytorchs_formula(case, dtype, tolerance):
    logits, target, options = case
    expected = formula(
        logits,
        target,
        np.ones(ROWS) if options["weight"] is None else options["weight"],
        np.ones(CLASSES) if options["class_weight"] is None else options["class_weight"],
        options["label_smoothing"],
    )
    cast = {k: v.astype(dtype) if isinstance(v, np.ndarray) else v for k, v in options.items()}
    value, slope = softmax_cross_entropy(
        logits.astype(dtype), target if target.ndim == 1 else target.astype(dtype), **cast
    )
    assert value.shape == ()
    assert value.dtype == slope.dtype == dtype
    assert float(value) == pytest.approx(expected, rel=tolerance)


def test_gradient_matches_finite_differences(case):
    logits, target, options = case
    slope = softmax_cross_entropy(logits, target, **options)[1]
    error = directional_error(lambda z: float(softmax_cross_entropy(z, target, **options)[0]), [logits], [slope])
    assert error < 1e-8


def test_a_tape_reuses_its_memory_and_gives_the_same_results(case):
    logits, target, options = case
    tape = Tape()
    first = softmax_cross_entropy(logits, target, **options, tape=tape)
    tape.reset()
    second = softmax_cross_entropy(logits, target, **options, tape=tape)
    for a, b, fresh in zip(first, second, softmax_cross_entropy(logits, target, **options), strict=True):
        assert np.shares_memory(a, b)
        assert_array_equal(a, fresh)


def test_any_memory_layout_gives_the_same_and_inputs_are_not_modified(case):
    logits, target, options = case
    expected = softmax_cross_entropy(logits, target, **options)
    for change in (np.asfortranarray, lambda a: np.repeat(a, 2, axis=0)[::2], lambda a: a[::-1].copy()[::-1]):
        arrays = [change(a) for a in (logits, target)]
        changed = {k: change(v) if isinstance(v, np.ndarray) else v for k, v in options.items()}
        for a in (*arrays, *changed.values()):
            if isinstance(a, np.ndarray):
                a.flags.writeable = False
        for a, b in zip(softmax_cross_entropy(*arrays, **changed), expected, strict=True):
            assert_allclose(a, b, rtol=1e-12, atol=1e-16)


@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.int32, np.uint64])
def test_labels_may_be_any_integers(dtype):
    logits = np.random.default_rng(0).standard_normal((3, 4))
    labels = np.array([3, 0, 2])
    expected = softmax_cross_entropy(logits, labels)
    for a, b in zip(softmax_cross_entropy(logits, labels.astype(dtype)), expected, strict=True):
        assert_array_equal(a, b)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_large_logits_neither_overflow_nor_warn(dtype):
    logits = np.array([[1000, -1000, 0], [20, 0, -1000]], dtype)
    for labels, value in (([0, 0], math.log1p(math.exp(-20)) / 2), ([1, 1], 1010), ([2, 2], 1010)):
        got, slope = softmax_cross_entropy(logits, np.array(labels))
        assert float(got) == pytest.approx(value, rel=1e-6, abs=float(np.finfo(dtype).eps))
        assert np.isfinite(slope).all()


@pytest.mark.parametrize("labels", [[1, 3], [-1, 0], [0.0, 1.0]], ids=str)
def test_invalid_labels_raise(labels):
    with pytest.raises(DataError, match=r"target: labels must (lie in 0 \.\. 2|be integers)"):
        softmax_cross_entropy(np.zeros((2, 3)), np.array(labels))


@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.int32, np.uint64])
def test_labels_of_any_integer_dtype_give_the_same(dtype):
    logits, labels = np.random.default_rng(0).standard_normal((4, 3)), np.array([2, 0, 1, 1])
    for expected, actual in zip(
        *(softmax_cross_entropy(logits, y) for y in (labels, labels.astype(dtype))), strict=True
    ):
        assert_array_equal(actual, expected)


@pytest.mark.parametrize("target", [np.empty(0, int), np.empty((0, 3))], ids=["hard", "soft"])
def test_no_rows_give_zero_loss(target):
    value, slope = softmax_cross_entropy(np.empty((0, 3)), target)
    assert value == 0
    assert slope.shape == (0, 3)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize(
    "weights", [{"weight": np.zeros(2)}, {"class_weight": np.array([0.0, 1, 1])}], ids=["rows", "classes"]
)
def test_all_zero_weights_give_zero_loss(weights, smoothing, dtype):
    logits = np.ones((2, 3), dtype)
    weights = {name: a.astype(dtype) for name, a in weights.items()}
    value, slope = softmax_cross_entropy(logits, np.array([0, 0]), label_smoothing=smoothing, **weights)
    assert value == 0
    assert_array_equal(slope, np.zeros_like(logits), strict=True)


Z, LABELS = np.ones((5, 3)), np.zeros(5, int)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: softmax_cross_entropy(Z[0], LABELS), ShapeError, r"\(rows, classes\).*\(3,\)"),
        (lambda: softmax_cross_entropy(Z[:, :0], LABELS), ShapeError, r"\(rows, classes\).*\(5, 0\)"),
        (
            lambda: softmax_cross_entropy(Z, LABELS[:4]),
            ShapeError,
            r"target has shape \(4,\), expected \(5,\) or \(5, 3\)",
        ),
        (lambda: softmax_cross_entropy(Z, Z[:, :2]), ShapeError, r"target has shape \(5, 2\)"),
        (
            lambda: softmax_cross_entropy(Z, LABELS[:, None]),
            ShapeError,
            r"target has shape \(5, 1\), expected \(5,\) or",
        ),
        (
            lambda: softmax_cross_entropy(Z, LABELS, weight=np.ones(3)),
            ShapeError,
            r"weight has shape \(3,\), expected \(5,\)",
        ),
        (
            lambda: softmax_cross_entropy(Z, LABELS, class_weight=np.ones(5)),
            ShapeError,
            r"class_weight has shape \(5,\)",
        ),
        (lambda: softmax_cross_entropy(Z[None], LABELS), ShapeError, r"expected \(1, 5\) or \(1, 5, 3\)"),
        (lambda: softmax_cross_entropy(Z, Z.astype("f")), DTypeError, "target is float32"),
        (lambda: softmax_cross_entropy(Z, LABELS, weight=LABELS), DTypeError, "weight is int64"),
        (lambda: softmax_cross_entropy(Z.astype(int), LABELS), DTypeError, "logits is int64"),
    ],
)
def test_invalid_arguments_raise(call, error, message):
    with pytest.raises(error, match=message):
        call()


@pytest.mark.parametrize("hard", [True, False], ids=["labels", "distributions"])
def test_each_position_of_a_row_counts_as_a_row_with_its_weight(hard):
    rng = np.random.default_rng(0)
    logits, target = rng.standard_normal((3, 4, 5)), rng.integers(0, 5, (3, 4))
    target = target if hard else np.eye(5)[target]
    weight = np.array([0.5, 1, 2])
    options = {"class_weight": np.arange(1.0, 6), "label_smoothing": 0.1}
    flat = target.reshape(12, *target.shape[2:])
    loss, gradient = softmax_cross_entropy(logits, target, weight=weight, **options)
    expected = softmax_cross_entropy(logits.reshape(12, 5), flat, weight=np.repeat(weight, 4), **options)
    np.testing.assert_allclose(loss, expected[0], rtol=1e-12)
    np.testing.assert_allclose(gradient, expected[1].reshape(3, 4, 5), rtol=1e-12)
    assert softmax_cross_entropy(logits[:0], target[:0])[1].shape == (0, 4, 5)


@pytest.mark.parametrize("target", [np.array([2]), np.array([[0, 0, 1]], np.float32)], ids=["label", "distribution"])
def test_a_class_excluded_by_minus_infinity_has_no_loss(target):
    logits = np.array([[1.0, -np.inf, 2.0]], np.float32)
    loss, gradient = softmax_cross_entropy(logits, target)
    np.testing.assert_allclose(loss, np.log1p(np.exp(-1.0)), rtol=1e-6)
    assert np.isfinite(gradient).all()
    assert gradient[0, 1] == 0
