"""Metrics against values that were computed by hand and agree with scikit-learn's."""

import math

import numpy as np
import pytest

from gpunet.errors import ArgumentError, DataError, DTypeError, ShapeError
from gpunet.training.metrics import (
    accuracy,
    average_precision,
    confusion_matrix,
    f1,
    log_loss,
    macro_f1,
    mean_absolute_error,
    precision,
    r2_score,
    recall,
    roc_auc,
    root_mean_squared_error,
    top_k_accuracy,
)

TARGET = [0, 1, 2, 2, 5, 0]
PREDICTION = [0, 2, 2, 1, 0, 0]
SCORES = np.eye(6)[PREDICTION]

CLASS_METRICS = [accuracy, precision, recall, f1, confusion_matrix]
SCORE_METRICS = [top_k_accuracy, roc_auc, average_precision, log_loss]
VALUE_METRICS = [mean_absolute_error, root_mean_squared_error, r2_score]
METRICS = [*CLASS_METRICS, *SCORE_METRICS, *VALUE_METRICS]


def test_accuracy_is_the_fraction_predicted_correctly():
    assert accuracy(TARGET, PREDICTION) == 0.5


def test_macro_f1_is_the_mean_over_the_classes_that_occur():
    # class 0: 2*2/(2*2+1); class 1: 0; class 2: 2*1/(2*1+1+1); class 5: 0; classes 3 and 4 do not occur
    assert macro_f1(TARGET, PREDICTION) == pytest.approx((0.8 + 0 + 0.5 + 0) / 4)


def test_a_class_that_is_only_predicted_counts_in_macro_f1():
    assert macro_f1([0, 0], [0, 1]) == pytest.approx((2 / 3 + 0) / 2)


def test_confusion_matrix_has_the_true_class_in_rows():
    counts = confusion_matrix([0, 0, 0, 2], [0, 1, 1, 1])
    assert counts.dtype == np.int64
    assert counts.tolist() == [[1, 2, 0], [0, 0, 0], [0, 1, 0]]
    assert confusion_matrix([0, 1], [0, 0], n_classes=3).tolist() == [[1, 0, 0], [1, 0, 0], [0, 0, 0]]


@pytest.mark.parametrize("metric", CLASS_METRICS)
def test_scores_and_soft_labels_are_reduced_by_argmax(metric):
    soft_target = 0.1 + 0.4 * np.eye(6)[TARGET]
    expected = metric(TARGET, PREDICTION)
    np.testing.assert_array_equal(metric(TARGET, SCORES), expected)
    np.testing.assert_array_equal(metric(soft_target, SCORES), expected)
    np.testing.assert_array_equal(metric(soft_target, PREDICTION), expected)


def test_among_equal_scores_the_lowest_class_is_predicted():
    assert accuracy([1, 1], [[0, 5, 5], [5, 5, 0]]) == 0.5


@pytest.mark.parametrize(("k", "expected"), [(1, 0.25), (2, 0.75), (3, 1.0), (5, 1.0)])
def test_top_k_accuracy_is_the_part_whose_class_is_among_the_k_best(k, expected):
    scores = [[0.1, 0.5, 0.4], [0.7, 0.2, 0.1], [0.2, 0.3, 0.5], [0.2, 0.1, 0.7]]
    assert top_k_accuracy([2, 1, 0, 2], scores, k) == expected
    assert top_k_accuracy(np.eye(3)[[2, 1, 0, 2]], scores, k) == expected


def test_top_k_accuracy_prefers_the_lower_class_among_equal_scores():
    scores = np.zeros((4, 4))
    assert [top_k_accuracy([0, 1, 2, 3], scores, k) for k in (1, 2, 3, 4)] == [0.25, 0.5, 0.75, 1.0]


def test_top_1_accuracy_is_accuracy_ties_included():
    rng = np.random.default_rng(0)
    target, scores = rng.integers(0, 4, 200), rng.integers(0, 3, (200, 4))
    assert top_k_accuracy(target, scores, k=1) == accuracy(target, scores)


def test_top_k_accuracy_counts_5_classes_by_default():
    assert top_k_accuracy([4, 5], [[6, 5, 4, 3, 2, 1], [6, 5, 4, 3, 2, 1]]) == 0.5


def test_mean_absolute_error_is_the_mean_over_samples_and_outputs():
    assert mean_absolute_error([3, -0.5, 2, 7], [2.5, 0, 2, 8]) == pytest.approx(0.5)
    assert mean_absolute_error([[0.5, 1], [-1, 1], [7, -6]], [[0, 2], [-1, 2], [8, -5]]) == pytest.approx(0.75)


def test_r2_is_1_minus_the_unexplained_fraction_of_the_variance():
    # mean 2.875; residuals 0.25 + 0.25 + 0 + 1; total 29.1875
    assert r2_score([3, -0.5, 2, 7], [2.5, 0, 2, 8]) == pytest.approx(1 - 1.5 / 29.1875)


def test_r2_of_several_outputs_is_their_unweighted_mean():
    target, prediction = [[0.5, 1, 2], [-1, 1, 2], [7, -6, 2]], [[0, 2, 2], [-1, 2, 2], [8, -5, 2]]
    # outputs: 1 - 1.25/36.1667, 1 - 3/32.6667, and a constant one, predicted perfectly
    assert r2_score(target, prediction) == pytest.approx((0.96543779 + 0.90816327 + 1) / 3)


def test_r2_of_a_constant_target_is_1_if_perfect_and_0_if_not():
    assert r2_score([2, 2, 2], [2, 2, 2]) == 1.0
    assert r2_score([2, 2, 2], [2, 2, 2.1]) == 0.0


def test_r2_of_a_single_sample_is_nan():
    assert math.isnan(r2_score([1.0], [1.0]))


@pytest.mark.parametrize("metric", VALUE_METRICS)
def test_one_output_may_be_a_column(metric):
    target, column = np.array([1.0, 2.0, 4.0]), np.array([[1.0], [3.0], [3.0]])
    assert metric(target, column) == metric(target, column.ravel())  # not broadcast to (3, 3)


@pytest.mark.parametrize("metric", METRICS)
def test_lengths_that_differ_are_refused(metric):
    with pytest.raises(ShapeError, match=r"target has shape \(3,\) and (prediction|scores) \(2, 3\)"):
        metric([0, 1, 2], np.zeros((2, 3)))


@pytest.mark.parametrize("metric", METRICS)
def test_no_samples_are_refused(metric):
    with pytest.raises(DataError, match="are empty"):
        metric(np.zeros(0, int), np.zeros((0, 3)))


@pytest.mark.parametrize("metric", METRICS)
def test_a_number_in_place_of_an_array_is_refused(metric):
    with pytest.raises(ShapeError, match=r"target has shape \(\)"):
        metric(1, [1])


@pytest.mark.parametrize("metric", [*CLASS_METRICS, *SCORE_METRICS])
@pytest.mark.parametrize(
    ("target", "error", "message"),
    [
        ([0.0, 1.0], DTypeError, "target has dtype float64"),
        (["a", "b"], DTypeError, "target has dtype <U1"),
        ([0, -1], DataError, "target has the class number -1"),
        ([[0], [1]], ShapeError, r"target has shape \(2, 1\)"),
        ([[0, 1], [1, math.nan]], DataError, "target has NaN in row 1"),
        ([[0, 1j], [1, 0]], DTypeError, "target has dtype complex128"),
    ],
)
def test_an_invalid_class_number_is_refused(metric, target, error, message):
    with pytest.raises(error, match=message):
        metric(target, [[0, 1], [1, 0]])


def test_a_class_number_beyond_n_classes_is_refused():
    with pytest.raises(DataError, match="class number 5 with n_classes=5"):
        confusion_matrix(TARGET, PREDICTION, n_classes=5)


def test_top_k_accuracy_refuses_a_class_without_a_score():
    with pytest.raises(DataError, match="class number 3, but scores has 3 classes"):
        top_k_accuracy([3], [[0, 1, 2]])


def test_top_k_accuracy_refuses_k_below_1():
    with pytest.raises(ArgumentError, match="k must be a whole number of at least 1, got 0"):
        top_k_accuracy([0], [[0, 1]], k=0)


@pytest.mark.parametrize("metric", VALUE_METRICS)
@pytest.mark.parametrize(
    ("prediction", "error", "message"),
    [
        ([1.0, math.nan], DataError, "prediction has NaN or infinite"),
        ([1.0, math.inf], DataError, "prediction has NaN or infinite"),
        ([1.0, None], DTypeError, "prediction has dtype object"),
        ([[1.0, 2.0], [3.0, 4.0]], ShapeError, "target has 1 outputs per sample and prediction 2"),
    ],
)
def test_incompatible_values_are_refused(metric, prediction, error, message):
    with pytest.raises(error, match=message):
        metric([1.0, 2.0], prediction)
