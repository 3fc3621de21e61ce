"""`MLPClassifier(class_weight=...)` equals row weights, by scikit-learn's convention."""

import numpy as np
import pytest
from numpy.testing import assert_allclose
from sklearn.utils.class_weight import compute_sample_weight

from gpunet.errors import ArgumentError
from gpunet.sklearn import MLPClassifier, MLPRegressor

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

rng = np.random.default_rng(0)
X = rng.standard_normal((130, 7))
CLASSES = np.array(["few", "some", "many"])[(X[:, 0] + X[:, 1] > 0).astype(int) + (X[:, 2] > 1)]
WEIGHTS = 3 * rng.random(130)
TARGETS = {
    "names": (CLASSES, {"few": 3, "many": 0.5}),
    "two classes": (np.where(CLASSES == "many", 7, 2), {7: 5}),
    "booleans": (CLASSES == "many", {True: 4, False: 1.5}),
    "floats": (np.where(CLASSES == "many", 1.0, 2.0), {1: 3}),
}
SOLVERS = {
    "adam": {},
    "sgd": {"solver": "sgd", "learning_rate_init": 0.05},
    "lbfgs": {"solver": "lbfgs"},
    "early stopping": {"early_stopping": True},
}


def network(**params):
    return MLPClassifier((9, 5), batch_size=40, max_iter=6, random_state=3, **params)


def same(ours, theirs):
    for a, b in zip((*ours.coefs_, *ours.intercepts_), (*theirs.coefs_, *theirs.intercepts_), strict=True):
        assert_allclose(a, b, rtol=0, atol=1e-12)


def by_hand(given, y):
    """Return the row weights that scikit-learn computes; it needs a dict with all classes."""
    full = given if given == "balanced" else {label: given.get(label, 1) for label in np.unique(y).tolist()}
    return compute_sample_weight(full, y)


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("balanced", [True, False], ids=["balanced", "dict"])
def test_class_weights_equal_row_weights(target, solver, balanced):
    y, given = TARGETS[target]
    given = "balanced" if balanced else given
    ours = network(class_weight=given, **SOLVERS[solver]).fit(X, y)
    same(ours, network(**SOLVERS[solver]).fit(X, y, sample_weight=by_hand(given, y)))


def test_class_weights_multiply_row_weights():
    ours = network(class_weight={"few": 3}).fit(X, CLASSES, sample_weight=WEIGHTS)
    same(ours, network().fit(X, CLASSES, sample_weight=WEIGHTS * np.where(CLASSES == "few", 3, 1)))


def test_balanced_weights_count_a_row_of_weight_two_twice():
    twice = 1 + (np.arange(130) % 2)
    ours = network(class_weight="balanced").fit(X, CLASSES, sample_weight=twice)
    classes, index = np.unique(CLASSES, return_inverse=True)
    sizes = np.bincount(index, twice)
    same(ours, network().fit(X, CLASSES, sample_weight=twice * (sizes.sum() / len(classes) / sizes)[index]))


def test_a_dict_weighs_the_rows_of_partial_fit():
    ours, theirs = network(class_weight={"few": 3}), network()
    for rows in (slice(0, 60), slice(60, 130)):
        ours.partial_fit(X[rows], CLASSES[rows], classes=np.unique(CLASSES))
        weight = np.where(CLASSES[rows] == "few", 3.0, 1.0)
        theirs.partial_fit(X[rows], CLASSES[rows], sample_weight=weight, classes=np.unique(CLASSES))
    same(ours, theirs)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: network(class_weight={"none": 2}).fit(X, CLASSES),
            "class 'none'; the classes are 'few', 'many', 'some'",
        ),
        (lambda: network(class_weight={"few": -2}).fit(X, CLASSES), r"class_weight\['few'\] must lie in"),
        (
            lambda: network(class_weight="balance").fit(X, CLASSES),
            "'class_weight' parameter .* must be a str among {'balanced'}",
        ),
        (lambda: network(class_weight={0: 2}).fit(X, X[:, :3] > 0), "class_weight does not support multilabel targets"),
        (
            lambda: network(class_weight="balanced").partial_fit(X, CLASSES, classes=np.unique(CLASSES)),
            "partial_fit does not support class_weight='balanced'",
        ),
    ],
)
def test_weights_that_do_not_match_are_refused(call, message):
    with pytest.raises((ArgumentError, ValueError), match=message):
        call()


def test_a_regressor_has_no_classes():
    assert "class_weight" not in MLPRegressor().get_params()
