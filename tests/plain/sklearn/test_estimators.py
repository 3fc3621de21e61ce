"""The estimators train the same networks as scikit-learn's, and store them in the same attributes."""

import copy
import inspect
import pickle
import signal
import sys

import joblib
import numpy as np
import pandas as pd
import pytest
from scipy.sparse import coo_array, csc_array, csr_array, csr_matrix
from sklearn import neural_network
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from gpunet.errors import ArgumentError, DataError, DeviceError, MissingPackageError
from gpunet.sklearn import MLPClassifier, MLPRegressor

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

rng = np.random.default_rng(0)
X = rng.standard_normal((130, 7))
CLASSES = np.array(["few", "some", "many"])[(X[:, 0] + X[:, 1] > 0).astype(int) + (X[:, 2] > 1)]
LABELS = (X[:, :3] > 0).astype(int)
VALUES = X @ rng.standard_normal((7, 2))
WEIGHTS = 3 * rng.random(130)

SMALL = {"hidden_layer_sizes": (9, 5), "batch_size": 40, "max_iter": 8, "alpha": 0.05, "random_state": 3}
SGD = {"solver": "sgd", "learning_rate_init": 0.05}
ADAM = {"epsilon": 1e-3}  # so large that its position in the formula matters
LBFGS = {"solver": "lbfgs"}
STOPPING = {"early_stopping": True, "max_iter": 40, "n_iter_no_change": 2}
PLATEAU = {**SGD, "max_iter": 60, "tol": 0.1, "n_iter_no_change": 2}


def pair(kind, **params):
    """Return scikit-learn's estimator and gpunet's of the same parameters."""
    return getattr(neural_network, kind)(**SMALL | params), globals()[kind](**SMALL | params)


def weights(estimator):
    return np.concatenate([a.ravel() for a in (*estimator.coefs_, *estimator.intercepts_)])


def check_same(ours, theirs, tolerance=1e-9):
    assert vars(theirs).keys() - vars(ours).keys() <= {"_optimizer", "_coef_indptr", "_intercept_indptr"}
    np.testing.assert_allclose(weights(ours), weights(theirs), rtol=0, atol=tolerance)
    for name in ("loss_curve_", "validation_scores_", "best_loss_", "best_validation_score_", "loss_"):
        if getattr(theirs, name, None) is not None:
            np.testing.assert_allclose(getattr(ours, name), getattr(theirs, name), atol=tolerance, err_msg=name)
    for name in ("n_iter_", "t_", "n_layers_", "n_outputs_", "out_activation_", "n_features_in_"):
        assert getattr(ours, name) == getattr(theirs, name), name


@pytest.mark.parametrize("solver", [SGD, ADAM, LBFGS], ids=["sgd", "adam", "lbfgs"])
@pytest.mark.parametrize(
    ("kind", "y", "params", "weighted"),
    [
        ("MLPClassifier", CLASSES, {}, False),
        ("MLPClassifier", CLASSES, {"hidden_layer_sizes": (), "shuffle": False}, True),
        ("MLPClassifier", LABELS[:, 0], {"hidden_layer_sizes": 6, "activation": "identity"}, True),
        ("MLPClassifier", LABELS, {"activation": "tanh"}, False),
        ("MLPClassifier", LABELS, {"alpha": 0}, True),
        ("MLPClassifier", LABELS.sum(axis=1), STOPPING, True),
        ("MLPRegressor", VALUES, {"activation": "logistic"}, False),
        ("MLPRegressor", VALUES[:, 0], {}, True),
        ("MLPRegressor", VALUES**2, {"loss": "poisson", "learning_rate_init": 0.001}, True),
        ("MLPRegressor", VALUES, {"activation": "tanh", **STOPPING}, False),
    ],
    ids=lambda value: str(value) if isinstance(value, dict | str | bool) else "y",
)
def test_the_network_is_that_of_scikit_learn(kind, y, params, weighted, solver):
    if solver is LBFGS and params.keys() >= STOPPING.keys():
        # few iterations, because L-BFGS amplifies rounding
        params = {name: value for name, value in params.items() if name != "max_iter"}
    theirs, ours = pair(kind, **solver | params)
    for estimator in (theirs, ours):
        estimator.fit(X, y, sample_weight=WEIGHTS if weighted else None)
    check_same(ours, theirs)
    assert ours.score(X, y, WEIGHTS) == pytest.approx(theirs.score(X, y, WEIGHTS), abs=1e-6)
    if kind == "MLPClassifier":
        np.testing.assert_array_equal(ours.predict(X), theirs.predict(X))
        np.testing.assert_allclose(ours.predict_proba(X), theirs.predict_proba(X), atol=1e-6)
        with np.errstate(divide="ignore"):  # a probability of zero
            np.testing.assert_allclose(ours.predict_log_proba(X), theirs.predict_log_proba(X), rtol=1e-5)


@pytest.mark.parametrize("nesterov", [True, False])
@pytest.mark.parametrize("schedule", ["invscaling", "adaptive"])
def test_the_learning_rates_are_those_of_scikit_learn(schedule, nesterov):
    theirs, ours = pair("MLPRegressor", **PLATEAU, learning_rate=schedule, nesterovs_momentum=nesterov)
    check_same(ours.fit(X, VALUES), theirs.fit(X, VALUES))


@pytest.mark.parametrize("solver", [SGD, ADAM], ids=["sgd", "adam"])
def test_partial_fit_and_warm_start_continue_as_in_scikit_learn(solver):
    theirs, ours = pair("MLPClassifier", warm_start=True, **solver)
    for estimator in (theirs, ours):
        estimator.partial_fit(X[:50], CLASSES[:50], classes=np.unique(CLASSES))
        estimator.partial_fit(X[50:], CLASSES[50:], sample_weight=WEIGHTS[50:])
        estimator.fit(X, CLASSES).fit(X, CLASSES)
        estimator.partial_fit(X, CLASSES)
    check_same(ours, theirs)


def test_a_warm_partial_fit_replays_a_recorded_step():
    ours = MLPRegressor(**SMALL)
    for _ in range(3):
        ours.partial_fit(X[:40], VALUES[:40])
    (step,) = ours._trainer._steps._steps.values()
    nodes = len(step.describe().nodes)
    ours.partial_fit(X[40:80], VALUES[40:80])
    assert list(ours._trainer._steps._steps.values()) == [step]
    assert step.is_current
    assert nodes > 10


def test_the_float_dtype_is_kept():
    for dtype, y in ((np.float32, CLASSES), (np.float64, CLASSES)):
        ours = MLPClassifier(**SMALL).fit(X.astype(dtype), y)
        assert {a.dtype for a in (*ours.coefs_, *ours.intercepts_, ours.predict_proba(X))} == {np.dtype(dtype)}
    assert MLPRegressor(**SMALL).fit(X.astype(np.float32), VALUES).predict(X).dtype == np.float32


@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
def test_a_warm_start_keeps_the_networks_dtype(solver):
    ours = MLPRegressor(**SMALL, solver=solver, warm_start=True).fit(X, VALUES)
    before = weights(ours)
    assert weights(ours.fit(X.astype(np.float32), VALUES)).dtype == np.float64
    assert (weights(ours) != before).any()


MORE = {"MLPClassifier": {"device": "auto", "class_weight": None}, "MLPRegressor": {"device": "auto"}}
"""The additional parameters of gpunet's estimators, and their defaults."""


@pytest.mark.parametrize(("kind", "more"), MORE.items())
def test_parameters_and_defaults_extend_scikit_learns(kind, more):
    theirs, ours = (inspect.signature(type(estimator)).parameters for estimator in pair(kind))
    assert {**theirs, **{name: ours[name] for name in more}} == dict(ours)
    assert {name: ours[name].default for name in more} == more


@pytest.mark.parametrize("solver", [SGD | {"learning_rate": "invscaling"}, ADAM], ids=["sgd", "adam"])
@pytest.mark.parametrize("how", ["pickle", "joblib"])
def test_a_pickled_estimator_resumes_bit_for_bit(how, solver, tmp_path):
    ours = MLPClassifier(**SMALL | solver | {"shuffle": False}).fit(X, CLASSES)
    ours.partial_fit(X, CLASSES)
    if how == "pickle":
        twin = pickle.loads(pickle.dumps(ours))
    else:
        joblib.dump(ours, tmp_path / "model")
        twin = joblib.load(tmp_path / "model", mmap_mode="r")
    np.testing.assert_array_equal(twin.predict_proba(X), ours.predict_proba(X))
    for _ in range(3):
        ours.partial_fit(X, CLASSES)
        twin.partial_fit(X, CLASSES)
    np.testing.assert_array_equal(weights(twin), weights(ours))


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy])
def test_a_copy_is_trained_on_its_own(copied):
    ours = MLPRegressor(**SMALL | {"shuffle": False}).fit(X, VALUES)
    twin = copied(ours)
    twin.partial_fit(X, VALUES)
    assert (weights(twin) != weights(ours)).any()
    ours.partial_fit(X, VALUES)
    np.testing.assert_array_equal(weights(twin), weights(ours))


@pytest.mark.parametrize("params", [{}, {"early_stopping": True}], ids=str)
@pytest.mark.parametrize("pickled", [False, True])
def test_changed_weights_are_those_that_predict(pickled, params):
    ours = MLPRegressor(**SMALL | params).fit(X, VALUES)
    if pickled:
        ours = pickle.loads(pickle.dumps(ours))
        ours.predict(X)
    ours.coefs_[-1] = np.zeros_like(ours.coefs_[-1])
    ours.intercepts_[-1][:] = 2, 3
    np.testing.assert_array_equal(ours.predict(X[:1]), [[2, 3]])


def test_it_works_in_a_grid_search_over_a_pipeline_in_two_processes():
    pipeline = make_pipeline(StandardScaler(), MLPClassifier(**SMALL))
    search = GridSearchCV(pipeline, {"mlpclassifier__alpha": [1e-3, 1e-1]}, n_jobs=2, cv=2).fit(X, CLASSES)
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()
    assert set(search.predict(X)) <= set(CLASSES)
    assert search.best_estimator_[-1].get_params()["device"] == "auto"


def test_a_clone_is_not_fitted():
    with pytest.raises(NotFittedError):
        clone(MLPClassifier(**SMALL).fit(X, CLASSES)).predict(X)


def test_the_decision_function_gives_the_logits_of_multilabel_targets():
    ours = MLPClassifier(**SMALL).fit(X, LABELS)
    np.testing.assert_allclose(1 / (1 + np.exp(-ours.decision_function(X))), ours.predict_proba(X))


@pytest.mark.parametrize("kind", ["MLPClassifier", "MLPRegressor"])
def test_a_fitted_estimator_has_the_methods_of_scikit_learns(kind):
    theirs, ours = (e.fit(X, CLASSES == "few") for e in pair(kind))
    public, own = ({name for name in dir(e) if name[0] != "_" and hasattr(e, name)} for e in (theirs, ours))
    assert own == public | MORE[kind].keys()


def test_meta_estimators_give_the_same_results_as_with_scikit_learn():
    theirs, ours = pair("MLPClassifier")
    expected, found = (CalibratedClassifierCV(e, cv=2).fit(X, CLASSES).predict_proba(X) for e in (theirs, ours))
    np.testing.assert_allclose(found, expected)


@pytest.mark.parametrize("go_on", [lambda e: e, lambda e: e.partial_fit(X, VALUES)], ids=["predict", "partial_fit"])
def test_an_activation_that_is_changed_after_training_is_taken_over(go_on):
    theirs, ours = (go_on(e.partial_fit(X, VALUES).set_params(activation="tanh")) for e in pair("MLPRegressor"))
    np.testing.assert_allclose(ours.predict(X), theirs.predict(X))


def interrupt(estimator, monkeypatch):
    monkeypatch.setattr(estimator, "_end_epoch", lambda *_: signal.raise_signal(signal.SIGINT))
    estimator.fit(X, CLASSES)


@pytest.mark.parametrize(
    ("params", "fit", "category", "said"),
    [
        ({}, lambda e, _: e.fit(X, CLASSES), ConvergenceWarning, r"Maximum iterations \(8\)"),
        (LBFGS, lambda e, _: e.fit(X, CLASSES), ConvergenceWarning, r"lbfgs .*after 8 iteration.*max_iter"),
        ({}, lambda e, _: make_pipeline(StandardScaler(), e).fit(X, CLASSES), ConvergenceWarning, "Maximum iterations"),
        (
            {"batch_size": 500},
            lambda e, _: e.partial_fit(X, CLASSES, classes=np.unique(CLASSES)),
            UserWarning,
            "clipped",
        ),
        ({}, interrupt, UserWarning, "interrupted by user"),
    ],
    ids=["adam", "lbfgs", "pipeline", "batch size", "interrupt"],
)
def test_a_warning_points_to_the_line_of_the_user(params, fit, category, said, monkeypatch):
    with pytest.warns(category, match=said) as caught:
        fit(MLPClassifier(**SMALL | params), monkeypatch)
    assert {warning.filename for warning in caught} == {__file__}


def names(first):
    return pd.DataFrame(X, columns=[first, *"bcdefg"])


@pytest.mark.parametrize(
    ("refused", "error", "match"),
    [
        (lambda e: e.partial_fit(X, np.full(len(X), "none")), DataError, "'none'"),
        (lambda e: e.partial_fit(X[:, :3], CLASSES), DataError, "3 features"),
        (lambda e: e.partial_fit(csr_array(X[:, :3]), CLASSES), DataError, "3 features"),
        (lambda e: e.predict(csr_array(np.full((1, 7), np.nan))), DataError, "NaN"),
        (lambda e: e.partial_fit(X + 1j, CLASSES), DataError, "Complex"),
        (lambda e: e.predict(X + 1j), DataError, "Complex"),
        (lambda e: e.partial_fit(names("z"), CLASSES), DataError, "z"),
        (lambda e: e.predict(names("z")), DataError, "z"),
        (lambda e: e.predict(np.full((1, 7), np.nan)), DataError, "NaN"),
        (lambda e: e.partial_fit(names("a"), CLASSES, sample_weight=-WEIGHTS), DataError, "sample_weight"),
        (lambda e: e.set_params(device="tpu").predict(names("a")), DeviceError, "'tpu'"),
        (lambda e: e.set_params(early_stopping=True).partial_fit(names("a"), CLASSES), ArgumentError, "early_stopping"),
    ],
)
@pytest.mark.filterwarnings("ignore:X does not have valid feature names")
def test_bad_input_is_refused_and_changes_nothing(refused, error, match):
    ours = MLPClassifier(**SMALL).fit(names("a"), CLASSES)
    before = weights(ours)
    with pytest.raises(error, match=match):
        refused(ours)
    np.testing.assert_array_equal(weights(ours), before)
    np.testing.assert_array_equal(ours.feature_names_in_, list("abcdefg"))


@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
def test_a_poisson_loss_refuses_counts_below_zero(solver):
    with pytest.raises(DataError, match=r"y: .*poisson.*needs targets >= 0"):
        MLPRegressor(**SMALL, solver=solver, loss="poisson").fit(X, VALUES)


NOT_FINITE = pytest.mark.filterwarnings(*(f"ignore:{what}:RuntimeWarning" for what in ("overflow", "invalid value")))


@NOT_FINITE
@pytest.mark.parametrize("solver", ["adam", "sgd"])
def test_a_training_that_diverges_is_an_error(solver):
    theirs, ours = pair("MLPRegressor", activation="identity", solver=solver)
    for estimator, error in ((theirs, ValueError), (ours, DataError)):
        with pytest.raises(error, match="large values"):
            estimator.fit(1e200 * X, 1e200 * VALUES)
        with pytest.raises(error, match="large values"):
            estimator.partial_fit(1e200 * X, 1e200 * VALUES)


@NOT_FINITE
def test_a_training_that_diverges_ends_in_the_best_network_where_it_stops_early():
    params = {"activation": "identity", "solver": "sgd", "learning_rate_init": 1, "max_iter": 20, "shuffle": False}
    theirs, ours = pair("MLPRegressor", **params, early_stopping=True)
    for estimator in (theirs, ours):
        estimator.fit(10 * X, 10 * VALUES[:, 0])
    np.testing.assert_allclose(weights(ours), weights(theirs))
    np.testing.assert_array_equal(np.isfinite(ours.loss_curve_), np.isfinite(theirs.loss_curve_))
    np.testing.assert_allclose(ours.validation_scores_, theirs.validation_scores_)
    assert str(ours.validation_scores_[-1]) == "nan"
    assert np.isfinite(ours.predict(X)).all()


@NOT_FINITE
@pytest.mark.parametrize("solver", [ADAM, SGD | STOPPING, ADAM | STOPPING, LBFGS], ids=str)
def test_a_loss_that_is_infinite_is_no_error_where_the_weights_stay_finite(solver):
    theirs, ours = pair("MLPRegressor", **solver)
    for estimator in (theirs, ours):
        estimator.fit(X, VALUES[:, 0] * 1e160)
    assert not np.isfinite(ours.loss_)
    assert not np.isfinite(theirs.loss_)
    np.testing.assert_allclose(weights(ours), weights(theirs))
    np.testing.assert_allclose(ours.predict(X), theirs.predict(X))


@NOT_FINITE
@pytest.mark.parametrize("solver", [ADAM, ADAM | STOPPING], ids=str)
@pytest.mark.parametrize("scale", [1e10, 1e25, 1e50, 1e160])
@pytest.mark.parametrize("form", [np.asarray, csr_array], ids=["dense", "sparse"])
def test_float32_features_with_targets_beyond_float32_train_as_with_scikit_learn(solver, scale, form):
    theirs, ours = pair("MLPRegressor", **solver)
    for estimator in (theirs, ours):
        estimator.fit(form(X.astype(np.float32)), VALUES[:, 0] * scale)
    assert np.isfinite(ours.loss_) == np.isfinite(theirs.loss_)
    np.testing.assert_allclose(weights(ours), weights(theirs), atol=1e-4)
    np.testing.assert_allclose(
        ours.predict(form(X.astype(np.float32))), theirs.predict(X.astype(np.float32)), atol=1e-3
    )


ZEROS = np.where(np.abs(X) > 0.7, X, 0)


@pytest.mark.parametrize("form", [csr_array, csc_array, csr_matrix, coo_array])
@pytest.mark.parametrize("solver", [SGD | STOPPING, ADAM, LBFGS], ids=["sgd", "adam", "lbfgs"])
def test_sparse_features_give_the_network_of_scikit_learn(solver, form):
    theirs, ours = pair("MLPClassifier", **solver)
    for estimator in (theirs, ours):
        estimator.fit(form(ZEROS), CLASSES, sample_weight=WEIGHTS)
    check_same(ours, theirs)
    np.testing.assert_array_equal(ours.predict(form(ZEROS)), ours.predict(ZEROS))
    if solver is ADAM:
        for estimator in (theirs, ours):
            estimator.partial_fit(form(ZEROS), CLASSES)
        check_same(ours, theirs)


def test_no_more_than_a_batch_of_sparse_features_is_made_dense(monkeypatch):
    sizes = []
    made = csr_array.toarray
    monkeypatch.setattr(csr_array, "toarray", lambda self: sizes.append(self.shape[0]) or made(self))
    rows = csr_array((5000, 7))
    MLPRegressor(**SMALL | {"max_iter": 1}).fit(rows, np.arange(5000)).predict(rows)
    assert max(sizes[:125]) == 40
    assert sizes[125:] == [4096, 904]


def test_without_scikit_learn_the_import_says_what_to_install(monkeypatch):
    for name in [name for name in sys.modules if name.startswith("gpunet.sklearn")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "sklearn", None)
    with pytest.raises(MissingPackageError, match="pip install 'scikit-learn"):
        import gpunet.sklearn  # noqa: F401
