"""The Trainer: fit, evaluate and predict for every kind of task."""

import numpy as np
import pytest
from problems import classification, measured, net, regression, weights

import gpunet as gn
from gpunet import random
from gpunet.data import Standardizer, digits, split_indices

# classification


def test_a_classifier_learns_digits():
    data = digits()
    train, test = (data.take(part) for part in split_indices(data.y, (0.8, 0.2), seed=0))
    model = gn.MLP([64, 32, 10])
    model.input_scaler = Standardizer.fit(train.X)
    trainer = gn.Trainer(model, optimizer=gn.Adam(3e-3))
    history = trainer.fit(train.X, train.y, epochs=8, batch_size=64)
    results = trainer.evaluate(test.X, test.y)
    assert results.keys() == {"loss", "accuracy"}
    assert results["accuracy"] > 0.93
    assert history["loss"][-1] < 0.3 * history["loss"][0]
    assert (trainer.predict(test.X) == test.y).mean() == results["accuracy"]


def test_the_history_has_a_row_per_epoch_with_what_was_measured():
    X, y = classification()
    trainer = gn.Trainer(net())
    history = trainer.fit(X, y, epochs=3, validation=0.25)
    assert history is trainer.history
    assert history.columns == ["epoch", "loss", "accuracy", "val_loss", "val_accuracy", "lr", "seconds"]
    assert history["epoch"] == [1, 2, 3]
    assert history["lr"] == [0.001] * 3
    assert history.stopped is None
    assert trainer.epoch == 3


def test_without_validation_there_are_no_such_columns():
    X, y = classification()
    assert gn.Trainer(net()).fit(X, y, epochs=1).columns == ["epoch", "loss", "accuracy", "lr", "seconds"]


def test_the_loss_of_an_epoch_is_the_mean_over_its_rows():
    X, y = classification(rows=50)
    trainer = gn.Trainer(net(), optimizer=gn.SGD(1e-30))
    for bias in (trainer.model[0].params["bias"], trainer.model[1].params["bias"]):
        bias[...] = 0.1  # which stays as it is; zeros would not
    row = trainer.fit(X, y, epochs=1, batch_size=32).last
    now = trainer.evaluate(X, y)
    assert row["loss"] == pytest.approx(now["loss"], rel=1e-6)
    assert row["accuracy"] == pytest.approx(now["accuracy"])


def test_validation_data_are_measured_after_the_epoch():
    X, y = classification()
    other = classification(rows=20, seed=1)
    trainer = gn.Trainer(net())
    row = trainer.fit(X, y, epochs=2, validation=other).last
    assert {"loss": row["val_loss"], "accuracy": row["val_accuracy"]} == trainer.evaluate(*other)


def test_a_validation_fraction_is_stratified_by_class():
    X, y = np.eye(50, 5, dtype=np.float32) + np.arange(50)[:, None], np.repeat([0, 1, 2], [30, 15, 5])
    seen = []

    class Watch(gn.Callback):
        def on_fit_begin(self, trainer, total_rows):
            seen.append(total_rows)

    def keep(target, prediction):
        seen.append(np.bincount(target).tolist())
        return 0.0

    gn.Trainer(net(), callbacks=[Watch()], metrics={"keep": keep}).fit(X, y, epochs=1, validation=0.2)
    assert seen == [40, [6, 3, 1]]


def test_held_out_rows_are_not_trained_on():
    X, y = classification()
    kept, held_out = split_indices(y, (0.8, 0.2), seed=3)
    share, data = gn.Trainer(net(), seed=3), gn.Trainer(net(), seed=3)
    share.fit(X, y, epochs=2, validation=0.2)
    data.fit(X[kept], y[kept], epochs=2, validation=(X[held_out], y[held_out]))
    np.testing.assert_array_equal(weights(share.model), weights(data.model))
    assert measured(share.history) == measured(data.history)


def test_class_names_are_labels_and_come_back_from_predict(tmp_path):
    X, y = classification()
    names = np.array(["cat", "ant", "bee"])[y]
    trainer = gn.Trainer(net(), optimizer=gn.Adam(0.05))
    trainer.fit(X, names, epochs=20, validation=0.2)
    assert trainer.model.classes == ("ant", "bee", "cat")
    assert trainer.evaluate(X, names)["accuracy"] > 0.9
    assert (trainer.predict(X) == names).mean() == pytest.approx(trainer.evaluate(X, names)["accuracy"])
    trainer.model.save(tmp_path / "model.safetensors")
    np.testing.assert_array_equal(gn.load(tmp_path / "model.safetensors").predict(X), trainer.predict(X))


def test_known_class_names_keep_their_order():
    X, y = classification()
    trainer = gn.Trainer(net())
    trainer.model.classes = ("cat", "ant", "bee")
    trainer.fit(X, np.array(["cat", "ant", "bee"])[y], epochs=1)
    by_number = gn.Trainer(net())
    by_number.fit(X, y, epochs=1)
    np.testing.assert_array_equal(weights(trainer.model), weights(by_number.model))
    assert trainer.model.classes == ("cat", "ant", "bee")


def test_one_hot_soft_labels_train_like_labels():
    X, y = classification()
    hard, soft = gn.Trainer(net()), gn.Trainer(net())
    hard.fit(X, y, epochs=2)
    soft.fit(X, np.eye(3)[y], epochs=2)
    np.testing.assert_allclose(weights(soft.model), weights(hard.model), rtol=1e-5, atol=1e-7)
    assert soft.history["accuracy"] == hard.history["accuracy"]
    assert soft.evaluate(X, np.eye(3)[y])["accuracy"] == hard.evaluate(X, y)["accuracy"]


def test_a_row_of_weight_two_counts_as_two_rows():
    X, y = classification(rows=12)
    weight = np.ones(12)
    weight[3] = 2
    weighted, doubled = gn.Trainer(net(), optimizer=gn.SGD(0.1)), gn.Trainer(net(), optimizer=gn.SGD(0.1))
    weighted.fit(X, y, epochs=3, batch_size=20, sample_weight=weight)
    rows = [*range(12), 3]
    doubled.fit(X[rows], y[rows], epochs=3, batch_size=20)
    np.testing.assert_allclose(weights(weighted.model), weights(doubled.model), rtol=1e-4, atol=1e-6)


def test_weights_go_with_their_rows_into_the_training_part():
    X, y = classification()
    weight = np.linspace(0.5, 2, len(y))
    kept, _ = split_indices(y, (0.8, 0.2), seed=0)
    share, data = gn.Trainer(net()), gn.Trainer(net())
    share.fit(X, y, epochs=1, validation=0.2, sample_weight=weight)
    data.fit(X[kept], y[kept], epochs=1, sample_weight=weight[kept])
    np.testing.assert_array_equal(weights(share.model), weights(data.model))


# other tasks


def test_a_binary_classifier_predicts_0_or_1():
    X, y = classification()
    trainer = gn.Trainer(net(outputs=1), loss=gn.BCEWithLogitsLoss(), optimizer=gn.Adam(0.05))
    history = trainer.fit(X, y == 2, epochs=20, validation=0.2)
    assert history.columns[:5] == ["epoch", "loss", "accuracy", "val_loss", "val_accuracy"]
    assert trainer.predict(X).shape == (60,)
    assert set(trainer.predict(X)) == {0, 1}
    accuracy = trainer.evaluate(X, y == 2)["accuracy"]
    assert accuracy > 0.9
    assert (trainer.predict(X) == (y == 2)).mean() == pytest.approx(accuracy)


def test_several_binary_outputs_per_row_are_predicted():
    X, y = classification()
    answers = np.stack([y == 0, y > 0], axis=1)
    trainer = gn.Trainer(net(outputs=2), loss=gn.BCEWithLogitsLoss(), optimizer=gn.Adam(0.05))
    trainer.fit(X, answers, epochs=20, validation=0.2)
    assert trainer.predict(X).shape == (60, 2)
    assert trainer.evaluate(X, answers)["accuracy"] == pytest.approx((trainer.predict(X) == answers).mean())
    assert trainer.history.last["accuracy"] > 0.9


@pytest.mark.parametrize("columns", [(), (1,)])
def test_a_regression_on_scaled_targets_predicts_raw_values(columns):
    X, y = regression()
    y = y.reshape(-1, *columns)
    model = net(outputs=1)
    model.target_scaler = Standardizer.fit(y)
    trainer = gn.Trainer(model, loss=gn.MSELoss(), optimizer=gn.Adam(0.02))
    history = trainer.fit(X, y, epochs=60, validation=0.2)
    assert history.columns[:5] == ["epoch", "loss", "val_loss", "val_mae", "val_r2"]
    results = trainer.evaluate(X, y)
    assert results["r2"] > 0.95
    assert results["mae"] == pytest.approx(np.abs(trainer.predict(X) - y.ravel()).mean(), rel=1e-5)
    assert trainer.predict(X).shape == (60,)
    assert 400 < trainer.predict(X).mean() < 600


def test_several_values_per_row_are_predicted():
    X, y = regression()
    y = np.stack([y, -y], axis=1)
    trainer = gn.Trainer(net(outputs=2), loss=gn.HuberLoss())
    trainer.fit(X, y, epochs=1)
    assert trainer.predict(X).shape == (60, 2)
    assert trainer.evaluate(X, y)["mae"] == pytest.approx(np.abs(trainer.predict(X) - y).mean(), rel=1e-5)


def test_integer_regression_targets_are_held_out_without_stratification():
    X = classification()[0]
    history = gn.Trainer(net(outputs=1), loss=gn.MSELoss()).fit(X, np.arange(60), epochs=1, validation=0.1)
    assert "val_mae" in history


def test_user_metrics_get_targets_and_the_logits_of_a_classifier():
    X, y = classification()

    def metric(target, prediction):
        return np.float32(target.sum() + 100 * prediction.shape[1])

    trainer = gn.Trainer(net(), metrics={"mine": metric})
    assert trainer.fit(X, y, epochs=1, validation=(X, y)).last["val_mine"] == y.sum() + 300
    assert type(trainer.evaluate(X, y)["mine"]) is float


def test_a_schedule_sees_the_validation_loss_or_else_the_loss():
    class Seen(gn.ConstantLR):
        def observe(self, value):
            seen.append(value)

    X, y = classification()
    for validation, column in ((None, "loss"), (0.2, "val_loss")):
        seen = []
        history = gn.Trainer(net(), optimizer=gn.SGD(Seen(0.1))).fit(X, y, epochs=3, validation=validation)
        assert seen == history[column]


# the order of the samples


def orders(**options):
    """Return the rows of each epoch in the order in which they were trained on."""
    X, y = np.arange(40, dtype=np.float32).reshape(10, 4), np.arange(10) % 2
    batches = []

    class FirstFeature(gn.Layer):
        def forward(self, x, tape=None):
            if tape is not None:
                batches.append((x[:, 0] // 4).astype(int).tolist())
            return x

        def backward(self, dy, tape, *, input_gradient=True):
            return dy

    model = gn.Sequential(FirstFeature(), gn.Linear(4, 2, rng=0))
    gn.Trainer(model, seed=options.pop("seed", 0), executor="eager").fit(X, y, epochs=2, **options)
    rows = [row for batch in batches for row in batch]
    return [rows[:10], rows[10:]], [len(batch) for batch in batches[: len(batches) // 2]]


def test_the_order_is_a_function_of_seed_and_epoch():
    for seed in (0, 5):
        epochs, sizes = orders(seed=seed, batch_size=4)
        assert epochs == [random.permutation(10, seed=seed, epoch=epoch).tolist() for epoch in (0, 1)]
        assert sizes == [4, 4, 2]


def test_without_shuffling_the_rows_come_in_their_own_order():
    epochs, sizes = orders(shuffle=False, batch_size=5)
    assert epochs == [list(range(10))] * 2
    assert sizes == [5, 5]


def test_a_batch_size_larger_than_the_data_means_one_batch():
    epochs, sizes = orders(shuffle=False, batch_size=1000)
    assert epochs == [list(range(10))] * 2
    assert sizes == [10]


# again and on


def test_the_same_seed_gives_the_same_bits():
    X, y = classification()
    runs = []
    for _ in range(2):
        trainer = gn.Trainer(net(dropout=0.3), optimizer=gn.SGD(0.05, momentum=0.9), seed=11)
        trainer.fit(X, y, epochs=3, batch_size=16, validation=0.2)
        runs.append((weights(trainer.model).tobytes(), measured(trainer.history)))
    assert runs[0] == runs[1]


def test_another_seed_gives_another_training():
    X, y = classification()
    results = []
    for seed in (0, 1):
        trainer = gn.Trainer(net(), seed=seed)
        trainer.fit(X, y, epochs=1, batch_size=16)
        results.append(weights(trainer.model))
    assert not np.array_equal(*results)


def test_a_second_fit_continues_the_first():
    X, y = classification()
    once, twice = (gn.Trainer(net(dropout=0.2), optimizer=gn.SGD(0.05, momentum=0.9)) for _ in range(2))
    once.fit(X, y, epochs=5, batch_size=16)
    twice.fit(X, y, epochs=2, batch_size=16)
    history = twice.fit(X, y, epochs=3, batch_size=16)
    np.testing.assert_array_equal(weights(twice.model), weights(once.model))
    assert measured(history) == measured(once.history)


def test_a_step_is_what_fit_does_with_a_batch():
    X, y = classification(rows=16)
    by_fit, by_step = gn.Trainer(net(dropout=0.2)), gn.Trainer(net(dropout=0.2))
    by_fit.fit(X, y, epochs=3, batch_size=16, shuffle=False)
    losses = [float(by_step.step(X, y)) for _ in range(3)]
    np.testing.assert_array_equal(weights(by_step.model), weights(by_fit.model))
    assert losses == pytest.approx(by_fit.history["loss"])
    assert by_step.optimizer.steps == 3


def test_a_step_takes_targets_and_weights_of_any_float_type():
    X, y = regression(rows=8)
    steps = []
    for dtype in (np.float32, np.float64, np.float16):
        trainer = gn.Trainer(net(outputs=1), loss=gn.MSELoss(), optimizer=gn.SGD(1e-6))
        trainer.step(X.astype(np.float64), (y // 100).reshape(8, 1).astype(dtype), np.full(8, 0.5, dtype))
        steps.append(weights(trainer.model))
    np.testing.assert_array_equal(steps[0], steps[1])
    np.testing.assert_array_equal(steps[0], steps[2])


def test_a_double_precision_model_trains_in_double_precision():
    X, y = classification()
    trainer = gn.Trainer(net().to(dtype="float64"))
    trainer.fit(X, y, epochs=1, validation=0.2)
    assert weights(trainer.model).dtype == np.float64
    assert trainer.model.outputs(X).dtype == np.float64


def test_training_does_not_change_the_data():
    X, y = classification()
    weight = np.ones(60, np.float32)
    before = [a.copy() for a in (X, y, weight)]
    gn.Trainer(net(dropout=0.5)).fit(X, y, epochs=2, validation=(X, y), sample_weight=weight)
    for a, b in zip((X, y, weight), before, strict=True):
        np.testing.assert_array_equal(a, b)


def test_evaluate_runs_the_model_once(monkeypatch):
    trainer, calls = gn.Trainer(net(outputs=1), loss=gn.MSELoss()), []
    outputs = trainer.model.ready_outputs
    monkeypatch.setattr(trainer.model, "ready_outputs", lambda x: calls.append(x) or outputs(x))
    trainer.evaluate(*regression())
    assert len(calls) == 1


# who has charge of a model


def test_evaluation_does_not_disturb_another_training(tmp_path):
    X, y = classification()
    trainer = gn.Trainer(net(), optimizer=gn.SGD(0.1, momentum=0.9))
    trainer.fit(X, y, epochs=2)
    assert gn.Trainer(trainer.model, loss=gn.MSELoss()).model.task == "classification"
    gn.Trainer(trainer.model).evaluate(X, y)
    trainer.save(tmp_path / "run")
    trainer.fit(X, y, epochs=1)
    resumed = gn.Trainer.resume(tmp_path / "run")
    resumed.fit(X, y, epochs=1)
    np.testing.assert_array_equal(weights(resumed.model), weights(trainer.model))


def test_one_optimizer_in_two_trainings_is_refused_where_the_first_would_train_the_second_s_model():
    X, y = classification()
    optimizer = gn.Adam()
    first, second = (gn.Trainer(net(), optimizer=optimizer) for _ in range(2))
    first.fit(X, y, epochs=1)
    second.fit(X, y, epochs=1)
    with pytest.raises(gn.errors.StateError, match="now belongs to another training"):
        first.fit(X, y, epochs=1)


def test_a_model_without_parameters_is_refused():
    class Hidden(gn.Model):
        def __init__(self):
            self.inner = gn.Linear(5, 3)
            super().__init__()

        def leaves(self, path=""):
            return {}

        def output_shape(self, shape):
            return self.inner.output_shape(shape)

    with pytest.raises(gn.errors.ArgumentError, match="no parameters to train"):
        gn.Trainer(Hidden()).fit(*classification(), epochs=1)


def test_only_the_ratios_of_sample_weights_count():
    X, y = classification()
    trained = []
    for scale in (1.0, 1e38, 1e-300):
        trainer = gn.Trainer(net())
        trainer.fit(X, y, epochs=1, sample_weight=scale * np.linspace(1, 2, len(y)))
        trained.append(weights(trainer.model))
    for other in trained[1:]:
        np.testing.assert_allclose(other, trained[0], rtol=1e-4, atol=1e-6)
