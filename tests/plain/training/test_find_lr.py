"""The learning rate range test: rates, end, suggestion, and an unchanged trainer."""

import builtins

import numpy as np
import pytest
from problems import classification, measured, net, regression, weights

import gpunet as gn
from gpunet.errors import ArgumentError, DataError, MissingPackageError, StateError
from gpunet.training.range_test import RangeTest

X, Y = classification(90)
EXECUTORS = ["auto", "numpy", "eager"]


def trainer(executor="auto", **options):
    options = {"optimizer": gn.SGD(gn.CosineLR(0.1, 30), momentum=0.9), **options}
    return gn.Trainer(net(dropout=0.2), executor=executor, **options)


@pytest.mark.parametrize("options", [{}, {"ema": 0.9, "accumulate": 2}], ids=str)
@pytest.mark.parametrize("executor", EXECUTORS)
@pytest.mark.parametrize("epochs", [0, 2], ids=["before training", "in training"])
def test_find_lr_does_not_change_the_trainer(epochs, executor, options, tmp_path):
    runs = [trainer(executor, **options) for _ in range(2)]
    for run in runs:
        if epochs:
            run.fit(X, Y, epochs=epochs, batch_size=8)
    found = runs[0].find_lr(X, Y, batch_size=8)
    assert len(found.rates) > 20
    assert runs[0].model.task == (runs[1].model.task if epochs else None)
    for run in runs:
        run.fit(X, Y, epochs=2, batch_size=8)
        run.save(tmp_path / "run")
    assert measured(runs[0].history) == measured(runs[1].history)
    for a, b in zip(*(run.model.store.state for run in runs), strict=True):
        np.testing.assert_array_equal(a, b)


def test_rates_rise_by_a_factor_and_losses_equal_those_of_a_training():
    run = gn.Trainer(net(), optimizer=gn.SGD(1.0))
    found = run.find_lr(X, Y, batch_size=90, lowest=1e-3, highest=0.1, steps=5)
    np.testing.assert_allclose(found.rates, [1e-3, 10**-2.5, 1e-2, 10**-1.5, 0.1])
    losses = []
    for lr in found.rates:
        run.optimizer.lr = lr
        losses.append(float(run.step(X, Y)))
    np.testing.assert_allclose(found.losses, losses, rtol=1e-5)
    assert found.initial == pytest.approx(losses[0], rel=1e-5)
    mean = found.initial  # each batch is the whole data, with the same loss before
    for loss, smoothed in zip(losses, found.smoothed, strict=True):
        mean = 0.9 * mean + 0.1 * loss
        assert smoothed == pytest.approx(mean)


def test_the_rates_of_groups_keep_their_ratio_to_the_rate():
    found = gn.Trainer(net(), optimizer=gn.SGD(0.1, groups={"*.bias": {"lr": 0.5}})).find_lr(
        X, Y, batch_size=90, lowest=0.02, highest=0.03, steps=2
    )
    run = gn.Trainer(net(), optimizer=gn.SGD(0.02, groups={"*.bias": {"lr": 0.1}}))
    np.testing.assert_allclose(found.losses, [float(run.step(X, Y)) for _ in range(2)], rtol=1e-5)


def test_the_copy_starts_with_the_optimizers_state():
    run = gn.Trainer(net(), optimizer=gn.Adam(0.01))
    run.fit(X, Y, epochs=2)
    found = run.find_lr(X, Y, batch_size=90, lowest=0.01, highest=0.01 + 1e-9, steps=3)
    losses = [float(run.step(X, Y)) for _ in range(3)]
    np.testing.assert_allclose(found.losses, losses, rtol=1e-5)


@pytest.mark.parametrize("executor", EXECUTORS)
def test_the_test_ends_when_the_loss_diverges(executor):
    X, y = regression()
    run = gn.Trainer(net(1), loss=gn.MSELoss(), optimizer=gn.SGD(0.1), executor=executor)
    found = run.find_lr(X, (y - y.mean()) / y.std(), highest=1e6)
    assert len(found.rates) < 100
    assert np.isfinite(found.losses).all()
    assert found.rates[0] < found.suggestion < found.rates[-1] / 10


def test_the_suggestion_trains():
    found = trainer().find_lr(X, Y, batch_size=16)
    run = gn.Trainer(net(), optimizer=gn.SGD(found.suggestion, momentum=0.9))
    run.fit(X, Y, epochs=10, batch_size=16)
    assert run.evaluate(X, Y)["accuracy"] > 0.9


def shown(*smoothed, initial=4.0):
    rates = np.array([1e-3, 1e-2, 0.1, 1])
    return RangeTest(rates, np.array(smoothed), np.array(smoothed), initial, 0.5)


def test_the_suggestion_is_a_tenth_of_the_best_rate_and_the_repr_is_short():
    assert shown(4.0, 3, 2, 5).suggestion == pytest.approx(0.01)
    assert repr(shown(4.0, 3, 2, 5)) == "<RangeTest: 4 rates from 0.001 to 1; suggestion: 0.01>"


def test_the_suggestion_is_one_of_the_rates_tested():
    assert shown(3.0, 4, 5, 6).suggestion == 1e-3


def test_there_is_no_suggestion_if_no_rate_lowers_the_loss(tmp_path):
    found = shown(4.0, 3.96, 4.0, 9)
    with pytest.raises(StateError, match=r"no rate lowered the loss: it is 4 ± 0.5 without training, and 3.96 at best"):
        found.suggestion  # noqa: B018
    assert repr(found) == "<RangeTest: 4 rates from 0.001 to 1; no rate lowered the loss>"
    pytest.importorskip("matplotlib")
    found.plot(tmp_path / "rates.png")
    frozen = trainer()
    frozen.model.freeze()
    assert "no rate lowered" in repr(frozen.find_lr(X, Y, highest=1e-6))


def counts():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(2000, 3))
    return X, rng.poisson(3 * np.exp(0.3 * X[:, 0]))


@pytest.mark.parametrize("offset", [0.0, 1.0, -3.0])
@pytest.mark.parametrize("optimizer", [gn.Adam, gn.SGD])
def test_noisy_first_batches_do_not_end_the_test(optimizer, offset):
    class Shifted(gn.PoissonNLLLoss):
        """Only changes of the loss matter, not its sign and size."""

        def value_and_grad(self, *args, **options):
            value, gradient = super().value_and_grad(*args, **options)
            return np.add(value, offset, out=value), gradient

    found = gn.Trainer(gn.MLP([3, 16, 1], seed=1), loss=Shifted(), optimizer=optimizer(0.1)).find_lr(*counts())
    assert len(found.rates) > 60
    assert 1e-4 < found.suggestion < 1


@pytest.mark.parametrize("spoil", [lambda run: 1e30, lambda run: run.model[0].params["weight"].fill(np.nan) or 1.0])
def test_a_loss_that_is_not_finite_before_the_first_step_is_refused(spoil):
    X, y = regression()
    run = gn.Trainer(net(1), loss="mse")
    factor = spoil(run)
    with pytest.raises(StateError, match="find_lr: the loss is not finite before the first step"):
        run.find_lr(X, y * factor)


def test_an_iterable_is_refused_by_name():
    with pytest.raises(ArgumentError, match=r"find_lr: y is missing; give arrays"):
        trainer().find_lr([(X, Y)])


def test_rates_of_groups_without_an_lr_of_the_optimizer_are_refused():
    run = gn.Trainer(net(), optimizer=gn.SGD(0.0, groups={"*.bias": {"lr": 0.5}}))
    with pytest.raises(ArgumentError, match="find_lr scales the rates of groups with the optimizer's lr"):
        run.find_lr(X, Y)


def test_negative_losses_do_not_count_as_divergence():
    loss, counts = gn.PoissonNLLLoss(), np.full(90, 30)
    found = gn.Trainer(net(1), loss=loss, optimizer=gn.SGD(0.1)).find_lr(X, counts, highest=1e-3)
    assert len(found.rates) == 100
    assert found.smoothed.min() < 0


@pytest.mark.parametrize("epochs", [0, 1])
def test_balanced_classes_are_those_of_the_training(epochs):
    loss = gn.CrossEntropyLoss(class_weight="balanced")
    run = trainer(loss=loss)
    if epochs:
        run.fit(X, Y, epochs=1)
    found = run.find_lr(X[:40], np.minimum(Y[:40], 1), steps=3)
    assert np.isfinite(found.losses).all()
    run.fit(X, Y, epochs=1)
    again = trainer(loss=gn.CrossEntropyLoss(class_weight="balanced"))
    again.fit(X, Y, epochs=1 + epochs)
    np.testing.assert_array_equal(weights(run.model), weights(again.model))


def test_text_labels_row_weights_and_few_rows_are_accepted():
    run = trainer()
    names = np.array(["a", "b", "c"])[Y]
    found = run.find_lr(X[:9], names[:9], sample_weight=np.arange(9), steps=12)
    assert len(found.rates) == 12
    assert run.model.classes is None


def test_a_plot_is_written(tmp_path):
    pytest.importorskip("matplotlib")
    trainer().find_lr(X, Y, steps=20).plot(tmp_path / "rates.png")
    assert (tmp_path / "rates.png").read_bytes().startswith(b"\x89PNG")


def test_without_matplotlib_a_plot_is_refused_by_name(tmp_path, monkeypatch):
    found, real = trainer().find_lr(X, Y, steps=2), builtins.__import__

    def without(name, *args, **kwargs):
        if name.startswith("matplotlib"):
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(MissingPackageError, match="pip install 'matplotlib"):
        found.plot(tmp_path / "rates.png")


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"lowest": 0}, "find_lr: lowest must lie in"),
        ({"lowest": 1, "highest": 0.1}, "find_lr: highest must lie in"),
        ({"steps": 1}, "find_lr: steps must be a whole number of at least 2"),
        ({"batch_size": 0}, "find_lr: batch_size must be a whole number"),
    ],
)
def test_an_invalid_range_is_refused(asked, said):
    with pytest.raises(ArgumentError, match=said):
        trainer().find_lr(X, Y, **asked)


def test_data_that_cannot_be_used_is_refused_as_by_fit():
    with pytest.raises(DataError, match="X is nan"):
        trainer().find_lr(np.full((9, 5), np.nan), Y[:9])
    layers = gn.Linear(5, 8, rng=0), gn.BatchNorm1d(8), gn.Linear(8, 3, rng=1)
    run = gn.Trainer(gn.Sequential(*layers))
    before = weights(run.model)
    with pytest.raises(ArgumentError, match="a batch of 1, but the model needs at least 2 rows"):
        run.find_lr(X, Y, batch_size=1)
    np.testing.assert_array_equal(weights(run.model), before)
