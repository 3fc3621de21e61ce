"""Predictions of models trained on counts, medians and quantiles."""

import numpy as np
import onnxruntime
import pytest

import gpunet as gn
from gpunet.errors import StateError

RNG = np.random.default_rng(0)
X = RNG.uniform(-1, 1, (2000, 2))
RATE = np.exp(1 + X[:, 0])


def fitted(loss, y, **options):
    model = gn.MLP([2, 1], seed=0)
    trainer = gn.Trainer(model, loss=loss, optimizer=gn.Adam(0.05), **options)
    trainer.fit(X, y, epochs=30, batch_size=100, validation=0.2)
    return trainer


def test_a_model_of_counts_predicts_their_rate(tmp_path):
    trainer = fitted(gn.PoissonNLLLoss(), RNG.poisson(RATE))
    predicted = trainer.predict(X)
    np.testing.assert_allclose(predicted, RATE, rtol=0.15)
    np.testing.assert_array_equal(predicted, np.exp(trainer.model.outputs(X))[:, 0])
    assert trainer.history.columns[2:4] == ["val_loss", "val_mae"]
    assert trainer.evaluate(X, RATE)["r2"] > 0.95
    trainer.model.save(tmp_path / "model")
    np.testing.assert_array_equal(gn.load(tmp_path / "model").predict(X), predicted)
    gn.interop.to_onnx(trainer.model, tmp_path / "model.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx")
    np.testing.assert_allclose(session.run(["prediction"], {"X": X.astype("f")})[0], predicted, rtol=1e-5)


@pytest.mark.filterwarnings("ignore:overflow:RuntimeWarning")
def test_an_overflowing_rate_is_reported_without_an_error():
    trainer = gn.Trainer(gn.MLP([2, 1], seed=0), loss=gn.PoissonNLLLoss())
    trainer.model.parameters()["0.bias"][...] = 100
    found = trainer.evaluate(X, RATE)
    assert np.isinf(found["loss"])
    assert np.isnan([found["mae"], found["r2"]]).all()


def test_a_model_of_rates_predicts_its_output():
    model = gn.Sequential(gn.Linear(2, 1, rng=0), gn.Softplus())
    trainer = gn.Trainer(model, loss=gn.PoissonNLLLoss(log_input=False), optimizer=gn.Adam(0.05))
    trainer.fit(X, RATE, epochs=20)
    assert trainer.evaluate(X, RATE)["r2"] > 0.9


def test_counts_cannot_be_standardised():
    for log_input in (True, False):
        trainer = gn.Trainer(gn.MLP([2, 1]), loss=gn.PoissonNLLLoss(log_input))
        trainer.model.target_scaler = gn.data.Standardizer.fit(RATE)
        with pytest.raises(StateError, match=r"PoissonNLLLoss.* cannot be standardised; set the model's target_scaler"):
            trainer.fit(X, RATE)


@pytest.mark.parametrize(("loss", "share"), [(gn.L1Loss(), 0.5), (gn.QuantileLoss(0.9), 0.9), (gn.QuantileLoss(), 0.5)])
def test_the_share_of_targets_below_the_prediction_is_its_quantile(loss, share):
    y = X[:, 0] + RNG.exponential(size=2000)
    assert (y < fitted(loss, y).predict(X)).mean() == pytest.approx(share, abs=0.03)
