"""The losses as objects: their operations, accepted targets and errors."""

import numpy as np
import pytest
from numpy.testing import assert_array_equal

import gpunet as gn
from gpunet import ops
from gpunet.errors import ArgumentError, DataError, DTypeError, ShapeError
from gpunet.losses import LOSSES

RNG = np.random.default_rng(0)
P, T, W = RNG.standard_normal((5, 3)), RNG.uniform(size=(5, 3)), RNG.uniform(size=5)
LABELS = np.array([0, 2, 1, 1, 0])
CLASS_WEIGHT = [1.0, 2.0, 0.5]
CASES = {
    "hard": (gn.CrossEntropyLoss(), LABELS, lambda: ops.softmax_cross_entropy(P, LABELS, weight=W)),
    "soft": (gn.CrossEntropyLoss(), T, lambda: ops.softmax_cross_entropy(P, T, weight=W)),
    "smooth": (
        gn.CrossEntropyLoss(0.1, CLASS_WEIGHT),
        LABELS,
        lambda: ops.softmax_cross_entropy(
            P, LABELS, weight=W, class_weight=np.array(CLASS_WEIGHT), label_smoothing=0.1
        ),
    ),
    "bce": (gn.BCEWithLogitsLoss(), T, lambda: ops.binary_cross_entropy(P, T, weight=W)),
    "mse": (gn.MSELoss(), T, lambda: ops.mean_squared_error(P, T, weight=W)),
    "huber": (gn.HuberLoss(0.5), T, lambda: ops.huber(P, T, 0.5, weight=W)),
    "l1": (gn.L1Loss(), T, lambda: ops.absolute_error(P, T, weight=W)),
    "quantile": (gn.QuantileLoss(0.9), T, lambda: ops.absolute_error(P, T, above=1 - 0.9, below=0.9, weight=W)),
    "poisson": (gn.PoissonNLLLoss(), T, lambda: ops.poisson_nll(P, T, weight=W)),
    "poisson rate": (
        gn.PoissonNLLLoss(log_input=False, eps=9.0),
        T,
        lambda: ops.poisson_nll(P, T, log_input=False, eps=9.0, weight=W),
    ),
}


@pytest.fixture(params=CASES.values(), ids=CASES.keys())
def case(request):
    return request.param


def test_value_and_gradient_are_those_of_the_operation(case):
    loss, target, operation = case
    for a, b in zip(loss.value_and_grad(P, target, W), operation(), strict=True):
        assert_array_equal(a, b, strict=True)
    assert_array_equal(loss.value(P, target, W), operation()[0], strict=True)


def test_a_configuration_rebuilds_the_loss(case):
    loss, target, operation = case
    twin = LOSSES[type(loss).__name__](**loss.config())
    assert repr(twin) == repr(loss)
    assert_array_equal(twin.value(P, target, W), operation()[0])


def test_the_repr_of_a_loss_is_its_constructor_call():
    assert repr(gn.CrossEntropyLoss(0.1)) == "CrossEntropyLoss(label_smoothing=0.1)"
    assert repr(gn.HuberLoss(0.5)) == "HuberLoss(delta=0.5)"


def test_with_log_input_eps_may_be_zero():
    rates, counts = np.array([[0.5], [2.0]]), np.array([[1.0], [3.0]])
    found, usual = gn.PoissonNLLLoss(eps=0).value(rates, counts), gn.PoissonNLLLoss().value(rates, counts)
    assert found == usual


def test_class_weights_follow_the_dtype_of_the_prediction():
    loss = gn.CrossEntropyLoss(class_weight=CLASS_WEIGHT)
    for dtype in ("float64", "float32", "float64"):
        value, gradient = loss.value_and_grad(P.astype(dtype), LABELS)
        assert value.dtype == gradient.dtype == dtype


def test_every_loss_has_its_task():
    tasks = {name: loss().task for name, loss in LOSSES.items()}
    assert tasks == {
        "CrossEntropyLoss": "classification",
        "BCEWithLogitsLoss": "binary",
        "MSELoss": "regression",
        "HuberLoss": "regression",
        "L1Loss": "regression",
        "QuantileLoss": "regression",
        "PoissonNLLLoss": "counts",
        "CosineEmbeddingLoss": "similarity",
    }
    assert gn.PoissonNLLLoss(log_input=False).task == "regression"


@pytest.mark.parametrize(
    ("target", "error", "message"),
    [
        (np.array([0, 1, 2, 3, 0]), DataError, r"labels must lie in 0 \.\. 2, got 0 \.\. 3"),
        (np.array([0, 1, 2, -1, 0]), DataError, r"got -1 \.\. 2"),
        (np.array([0.0, 1, 2, 1, 0]), DataError, "must be integers, got float64"),
        (LABELS[:4], ShapeError, r"target has shape \(4,\)"),
        (T[:, :2], ShapeError, r"target has shape \(5, 2\)"),
        (T.astype("float32"), DTypeError, "target is float32"),
    ],
)
def test_bad_labels_are_refused_before_they_are_used(target, error, message):
    with pytest.raises(error, match=message):
        gn.CrossEntropyLoss().value_and_grad(P, target)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: gn.CrossEntropyLoss(label_smoothing=-0.1), "label_smoothing must lie in .*-0.1"),
        (lambda: gn.CrossEntropyLoss(label_smoothing=1.1), "label_smoothing must lie in .*1.1"),
        (lambda: gn.CrossEntropyLoss(label_smoothing=float("nan")), "label_smoothing .*nan"),
        (lambda: gn.CrossEntropyLoss(class_weight=[1, -1]), "class_weight must hold finite numbers >= 0"),
        (lambda: gn.CrossEntropyLoss(class_weight=[1, float("nan")]), "class_weight"),
        (lambda: gn.HuberLoss(0), "delta must lie in .*got 0"),
        (lambda: gn.HuberLoss(float("inf")), "delta .*inf"),
        (lambda: gn.HuberLoss(float("nan")), "delta .*nan"),
        (lambda: gn.QuantileLoss(0), "quantile must lie in .*got 0"),
        (lambda: gn.QuantileLoss(1), "quantile must lie in .*got 1"),
        (lambda: gn.PoissonNLLLoss(log_input=False, eps=0), "eps must lie in .*got 0"),
    ],
)
def test_invalid_arguments_are_refused(call, message):
    with pytest.raises(ArgumentError, match=message):
        call()


class TestCheckTarget:
    """Host targets, as passed by the Trainer."""

    def test_labels_become_int64_and_targets_the_dtype_of_the_model(self):
        labels = gn.CrossEntropyLoss().check_target([2, 0], (3,), np.dtype("f"))
        assert_array_equal(labels, np.array([2, 0]), strict=True)
        for loss in (gn.CrossEntropyLoss(), gn.MSELoss(), gn.BCEWithLogitsLoss()):
            target = loss.check_target([[1, 0, 0], [0, 0.5, 0.5]], (3,), np.dtype("f"))
            assert target.dtype == np.float32

    def test_one_target_per_row_matches_one_output(self):
        for loss in (gn.MSELoss(), gn.HuberLoss(), gn.BCEWithLogitsLoss()):
            for y in ([0, 1, 1], [[0], [1], [1]]):
                assert_array_equal(loss.check_target(y, (1,), np.dtype("f")), [[0], [1], [1]])

    @pytest.mark.parametrize(
        ("loss", "y", "outputs", "error", "message"),
        [
            (gn.CrossEntropyLoss(), [0, 3], (3,), DataError, "y is 3 at row 1"),
            (gn.CrossEntropyLoss(), [0.0, 1.0], (3,), DTypeError, "class labels are integers"),
            (gn.CrossEntropyLoss(), [0, 1], (1,), ShapeError, "at least 2 outputs"),
            (gn.CrossEntropyLoss(), [0, 1], (2, 2), ShapeError, r"shape \(2,\); expected \(samples, 2\), one label"),
            (gn.CrossEntropyLoss(), [[0, 1], [2, 1]], (2, 2), DataError, "y is 2 at row 1, column 0; 2 classes"),
            (gn.CrossEntropyLoss(), np.full((1, 2, 2), 0.6), (2, 2), DataError, "every row must sum to 1"),
            (gn.CrossEntropyLoss(), [[1, 0]], (3,), DataError, r"shape \(2,\) don't match .* \(3,\)"),
            (gn.CrossEntropyLoss(), [[0.5, 0.4]], (2,), DataError, "must sum to 1"),
            (gn.CrossEntropyLoss(), [[1.5, -0.5]], (2,), DataError, "each >= 0"),
            (gn.CrossEntropyLoss(class_weight=[1, 1]), [0, 1], (3,), ArgumentError, r"class_weight has shape \(2,\)"),
            (gn.BCEWithLogitsLoss(), [0, 2], (1,), DataError, "between 0 and 1"),
            (gn.BCEWithLogitsLoss(), [0, -1], (1,), DataError, "between 0 and 1"),
            (gn.MSELoss(), [0, 1], (2,), DataError, r"shape \(\) don't match .* \(2,\)"),
            (gn.MSELoss(), [[0, 1]], (1,), DataError, r"shape \(2,\) don't match .* \(1,\)"),
            (gn.MSELoss(), [0, np.nan], (1,), DataError, "y is nan at row 1"),
            (gn.HuberLoss(), [], (1,), DataError, "y is empty"),
            (gn.PoissonNLLLoss(), [1, -1], (1,), DataError, "PoissonNLLLoss needs targets >= 0"),
            (gn.MSELoss(), ["a"], (1,), DTypeError, "y has dtype"),
        ],
    )
    def test_targets_that_do_not_match_are_refused(self, loss, y, outputs, error, message):
        with pytest.raises(error, match=message):
            loss.check_target(y, outputs, np.dtype("f"))
