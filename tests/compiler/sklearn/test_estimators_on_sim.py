"""The estimators on the simulated GPU: the same networks as on the CPU, and moves between devices."""

import pickle

import numpy as np
import pytest
from scipy.sparse import csr_array

import gpunet as gn
from gpunet.sklearn import MLPClassifier, MLPRegressor

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

rng = np.random.default_rng(0)
X = rng.standard_normal((50, 5))
CLASSES = np.array(["few", "some", "many"])[(X[:, 0] + X[:, 1] > 0).astype(int) + (X[:, 2] > 1)]
VALUES = X @ rng.standard_normal((5, 2))
WEIGHTS = 3 * rng.random(50)

SMALL = {"hidden_layer_sizes": (6,), "batch_size": 20, "max_iter": 3, "alpha": 0.05, "random_state": 3}
SGD = {"solver": "sgd", "learning_rate": "invscaling", "learning_rate_init": 0.05}


def weights(estimator):
    return np.concatenate([a.ravel() for a in (*estimator.coefs_, *estimator.intercepts_)])


def check_same(a, b):
    np.testing.assert_allclose(weights(a), weights(b), rtol=0, atol=1e-10)
    np.testing.assert_allclose(a.loss_, b.loss_)


@pytest.mark.parametrize(
    ("kind", "y", "params"),
    [
        (MLPClassifier, CLASSES, {"epsilon": 1e-3}),
        (MLPClassifier, CLASSES == "few", SGD),
        (MLPClassifier, VALUES > 0, {"solver": "lbfgs"}),
        (MLPClassifier, CLASSES, {"early_stopping": True, "validation_fraction": 0.2}),
        (MLPRegressor, VALUES, SGD),
        (MLPRegressor, VALUES**2, {"loss": "poisson"}),
    ],
    ids=["adam", "sgd", "lbfgs", "early stopping", "regression", "poisson"],
)
def test_the_network_is_that_of_the_cpu(kind, y, params):
    cpu, sim = (kind(**SMALL | params, device=device).fit(X, y, WEIGHTS) for device in ("cpu", "sim"))
    check_same(sim, cpu)
    np.testing.assert_allclose(
        sim.predict_proba(X) if kind is MLPClassifier else sim.predict(X),
        cpu.predict_proba(X) if kind is MLPClassifier else cpu.predict(X),
        atol=1e-6,
    )
    for a in (*sim.coefs_, *sim.intercepts_):
        assert type(a) is np.ndarray
        with pytest.raises(ValueError, match="read-only"):
            a.fill(0)  # it would not reach the network


@pytest.mark.filterwarnings("ignore:overflow:RuntimeWarning", "ignore:invalid value:RuntimeWarning")
def test_a_training_that_diverges_on_sim_ends_in_the_best_network():
    params = {"activation": "identity", "solver": "sgd", "learning_rate_init": 1e3, "early_stopping": True}
    cpu, sim = (MLPRegressor(**SMALL | params, device=device).fit(X, VALUES) for device in ("cpu", "sim"))
    np.testing.assert_allclose(weights(sim), weights(cpu))
    assert np.isnan(sim.validation_scores_[-1])


def test_sparse_features_train_on_sim():
    sparse, dense = (MLPRegressor(**SMALL, device="sim").fit(given, VALUES) for given in (csr_array(X), X))
    check_same(sparse, dense)
    np.testing.assert_allclose(sparse.predict(csr_array(X)), dense.predict(X))


def test_an_estimator_pickled_on_sim_continues_on_the_cpu():
    cpu, sim = (MLPRegressor(**SMALL | SGD) for _ in range(2))
    cpu.fit(X, VALUES)
    with gn.use_device("sim"):
        sim.fit(X, VALUES)
    twin = pickle.loads(pickle.dumps(sim))
    np.testing.assert_allclose(twin.predict(X), cpu.predict(X))
    assert twin._trainer.model.device.name == "cpu"
    for estimator in (cpu, twin):
        estimator.partial_fit(X, VALUES)
    check_same(twin, cpu)


def test_training_continues_on_another_device():
    cpu, moved = MLPRegressor(**SMALL | SGD, device="cpu"), MLPRegressor(**SMALL | SGD, device="cpu")
    for device in ("cpu", "sim", "cpu"):
        moved.set_params(device=device).partial_fit(X, VALUES)
        assert moved._trainer.model.device.name == device
        cpu.partial_fit(X, VALUES)
    check_same(moved, cpu)


def test_a_warm_partial_fit_launches_one_recorded_step():
    sim = MLPRegressor(**SMALL, device="sim")
    for _ in range(4):
        sim.partial_fit(X[:20], VALUES[:20])
    (step,) = sim._trainer._steps._steps.values()
    assert step.describe() is not None
    sim.partial_fit(X[20:40], VALUES[20:40])
    assert list(sim._trainer._steps._steps.values()) == [step]
