"""The estimators of gpunet.sklearn as ONNX files."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest
from sklearn.datasets import load_digits

import gpunet as gn
from gpunet.sklearn import MLPClassifier, MLPRegressor

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

X = np.random.default_rng(0).standard_normal((90, 7)).astype(np.float32)
SMALL = {"hidden_layer_sizes": (9, 5), "max_iter": 5, "random_state": 3}


@pytest.fixture
def run(tmp_path):
    """Export an estimator and return what onnxruntime makes of X."""

    def run(estimator, X):
        path = tmp_path / "model.onnx"
        gn.interop.to_onnx(estimator, path)
        onnx.checker.check_model(path, full_check=True)
        session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
        answers = session.run(None, {"X": X.astype(np.float32)})
        return dict(zip((output.name for output in session.get_outputs()), answers, strict=True))

    return run


@pytest.mark.parametrize(
    "classes",
    [
        ("few", "some", "many"),
        ("no", "yes"),
        (3, 5, 9),
        (-1, 1),
        (False, True),
        (1.0, 2.0, 3.0),
        (7,),
        np.array(["no", "yes"], object),
    ],
    ids=str,
)
def test_a_classifier_gives_its_own_labels_and_probabilities(run, classes):
    y = np.asarray(classes)[np.arange(90) % len(classes)]
    estimator = MLPClassifier(**SMALL).fit(X, y)
    answers = run(estimator, X)
    assert answers["prediction"].tolist() == estimator.predict(X).tolist()
    assert np.abs(answers["probabilities"] - estimator.predict_proba(X)).max() <= 1e-5


def test_a_classifier_of_several_labels_at_once_gives_each(run):
    estimator = MLPClassifier(**SMALL).fit(X, (X[:, :3] > 0).astype(int))
    answers = run(estimator, X)
    assert (answers["prediction"] == estimator.predict(X)).all()
    assert np.abs(answers["probabilities"] - estimator.predict_proba(X)).max() <= 1e-5


@pytest.mark.parametrize("loss", ["squared_error", "poisson"])
@pytest.mark.parametrize("outputs", [1, 2])
def test_a_regressor_gives_its_values(run, outputs, loss):
    y = np.abs(X @ np.ones((7, outputs)))
    estimator = MLPRegressor(**SMALL, loss=loss).fit(X, y[:, 0] if outputs == 1 else y)
    expected = estimator.predict(X)
    values = run(estimator, X)["prediction"]
    assert values.shape == expected.shape
    np.testing.assert_allclose(values, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("activation", ["identity", "logistic", "tanh", "relu"])
@pytest.mark.parametrize("hidden", [(), (9,)])
def test_every_network_of_a_regressor_is_exported(run, activation, hidden):
    estimator = MLPRegressor(**SMALL | {"hidden_layer_sizes": hidden}, activation=activation).fit(X, X[:, 0])
    assert np.abs(run(estimator, X)["prediction"] - estimator.predict(X)).max() <= 1e-5


def test_a_classifier_trained_in_float64_is_exported_in_float32(run):
    X, y = load_digits(return_X_y=True)
    estimator = MLPClassifier(max_iter=3, random_state=0).fit(X / 16, y)
    assert estimator.coefs_[0].dtype == np.float64
    assert (run(estimator, X / 16)["prediction"] == estimator.predict(X / 16)).all()


@pytest.mark.parametrize("given", [MLPClassifier(), "model.safetensors", None, np.ones(3)], ids=repr)
def test_neither_a_model_nor_a_fitted_estimator_is_refused(tmp_path, given):
    with pytest.raises(gn.errors.ArgumentError, match=r"takes a model or a fitted estimator of gpunet\.sklearn, got"):
        gn.interop.to_onnx(given, tmp_path / "model.onnx")
