"""scikit-learn's estimator checks: all pass, and none is skipped."""

import warnings

import numpy as np
import pytest
from sklearn.utils.estimator_checks import check_estimator

from gpunet.sklearn import MLPClassifier, MLPRegressor

BEYOND_FLOAT32 = {
    f"check_sample_weight_equivalence_on_{kind}_data": "compares to 1e-7, and float32 rounds to 6e-8 in every operation"
    for kind in ("dense", "sparse")
}


class Float32Classifier(MLPClassifier):
    """Takes the checks' data, which are float64, as float32."""

    def _validate_input(self, *args, **kwargs):
        X, y = super()._validate_input(*args, **kwargs)
        return X.astype(np.float32), y


class Float32Regressor(MLPRegressor):
    """Takes the checks' data, which are float64, as float32."""

    def _validate_input(self, *args, **kwargs):
        X, y = super()._validate_input(*args, **kwargs)
        return X.astype(np.float32), y


def not_passed(estimator):
    """Return the statuses of the checks that did not pass, with their errors."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the checks train for few iterations
        results = check_estimator(estimator, on_fail=None, on_skip=None)
    assert len(results) > 50
    return {r["check_name"]: f"{r['status']}: {r['exception']}" for r in results if r["status"] != "passed"}


@pytest.mark.parametrize("estimator", [MLPClassifier(), MLPRegressor()], ids=str)
def test_every_check_passes_in_float64(estimator):
    assert not_passed(estimator) == {}


@pytest.mark.parametrize("estimator", [Float32Classifier(), Float32Regressor()], ids=str)
def test_only_checks_beyond_the_precision_of_float32_fail_in_float32(estimator):
    assert not_passed(estimator).keys() == BEYOND_FLOAT32.keys()
