"""Class weights in a training, by name or "balanced", and weights of validation rows."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from problems import classification, net, weights
from sklearn.utils.class_weight import compute_class_weight

import gpunet as gn
from gpunet.errors import ArgumentError, DataError, ModelFileError, ShapeError, StateError

X, LABELS = classification()
Y = np.repeat(np.arange(3), (5, 40, 15))
NAMES = np.array(["ape", "bee", "cat"])
WEIGHT = np.random.default_rng(0).uniform(0.5, 2, 60)


def trained(class_weight, y=Y, loss=gn.CrossEntropyLoss, outputs=3, **options):
    """Return a trainer after two epochs with the given class weights."""
    trainer = gn.Trainer(net(outputs), loss=loss(class_weight=class_weight))
    trainer.fit(X, y, epochs=2, **options)
    return trainer


def balanced(y):
    return compute_class_weight("balanced", classes=np.unique(y), y=y)


def same(*trainers):
    for one in trainers[1:]:
        assert_array_equal(weights(one.model), weights(trainers[0].model))


def refused(class_weight, error, message, y=Y, loss=gn.CrossEntropyLoss, outputs=3):
    """Check that a fit raises this error before the first step."""
    trainer = gn.Trainer(net(outputs), loss=loss(class_weight=class_weight))
    before = weights(trainer.model)
    with pytest.raises(error, match=message):
        trainer.fit(X, y)
    assert_array_equal(weights(trainer.model), before)
    assert (len(trainer.history), trainer.optimizer.steps, trainer.model.task) == (0, 0, None)


def test_balanced_weights_are_those_of_scikit_learn():
    trainer = trained("balanced")
    assert_allclose(trainer.loss.class_weight, balanced(Y), rtol=1e-15)
    same(trainer, trained(balanced(Y)))
    assert (weights(trainer.model) != weights(trained(None).model)).any()


def test_balanced_weights_are_those_of_the_rows_trained_on():
    kept, _ = gn.data.split_indices(Y, (0.5, 0.5), seed=0)
    assert_allclose(trained("balanced", validation=0.5).loss.class_weight, balanced(Y[kept]), rtol=1e-15)


def test_balanced_weights_count_a_row_of_weight_two_twice():
    twice = 1 + (np.arange(60) % 2)
    trainer = trained("balanced", sample_weight=twice)
    assert_allclose(trainer.loss.class_weight, balanced(np.repeat(Y, twice)), rtol=1e-6)


def test_a_class_without_rows_has_weight_one():
    trainer = trained("balanced", y=np.minimum(Y, 1))
    assert_allclose(trainer.loss.class_weight, [60 / 2 / 5, 60 / 2 / 55, 1])


def test_weights_are_given_by_the_names_or_the_labels_of_classes():
    by_array = trained([3, 1, 0.5])
    by_label, by_text = trained({0: 3, 2: 0.5}), trained({"0": 3, np.int64(2): 0.5})
    by_name = trained({"cat": 0.5, "ape": 3}, y=NAMES[Y])
    same(by_array, by_label, by_text, by_name)
    assert_array_equal(by_name.loss.class_weight, [3, 1, 0.5])


@pytest.mark.parametrize(
    ("class_weight", "y", "message"),
    [
        ({"dog": 2}, NAMES[Y], "class_weight names the class 'dog'; the classes are 'ape', 'bee', 'cat'"),
        ({0: 2}, NAMES[Y], "class_weight names the class '0'; the classes are 'ape'"),
        ({3: 2}, Y, "class_weight names the class '3'; the classes are '0', '1', '2'"),
        ({"ape": 2}, Y, "class_weight names the class 'ape'; the classes are '0', '1', '2'"),
        ([1, 2], Y, r"class_weight has shape \(2,\); the model has 3 classes"),
    ],
)
def test_class_weights_of_an_unknown_class_are_refused_before_the_first_step(class_weight, y, message):
    refused(class_weight, ArgumentError, message, y)


@pytest.mark.parametrize("loss", [gn.CrossEntropyLoss, gn.BCEWithLogitsLoss])
@pytest.mark.parametrize(
    ("class_weight", "message"),
    [
        ("balance", "class_weight must be 'balanced', a dict by class, or one number for each class, got 'balance'"),
        ({0: -1}, r"class_weight\[0\] must lie in"),
        ({0: "2"}, r"class_weight\[0\] must be a number, got '2'"),
        ({0: np.inf}, r"class_weight\[0\] must lie in"),
        ([1, np.nan], "class_weight must hold finite numbers"),
        ([0, 0], "class_weight is zero for every class"),
        ([1e38, 1], r"class_weight must hold 0 or numbers from 1e-30 to 1e\+30"),
        ([1e-40, 1e-40], r"class_weight must hold 0 or numbers from 1e-30"),
        ({0: 1e300}, r"class_weight must hold 0 or numbers from 1e-30"),
        ([10**400, 1], "class_weight must be 'balanced', a dict by class, or one number for each class"),
    ],
)
def test_invalid_weights_are_refused(loss, class_weight, message):
    with pytest.raises(ArgumentError, match=message):
        loss(class_weight=class_weight)


@pytest.mark.parametrize(
    ("class_weight", "error", "said"),
    [
        ({0: 0, 1: 0, 2: 0}, ArgumentError, "class_weight is zero for every class"),
        ([0, 0, 2], DataError, "y: all rows have weight zero"),
        ({0: 0, 1: 0}, DataError, "y: all rows have weight zero"),
    ],
)
def test_a_training_whose_rows_all_have_the_weight_zero_is_refused(class_weight, error, said):
    refused(class_weight, error, said, np.minimum(Y, 1))


def test_weights_that_are_all_zero_are_refused():
    trainer = gn.Trainer(net(), loss=gn.CrossEntropyLoss(class_weight=[1, 0, 0]))
    with pytest.raises(DataError, match="y: all rows have weight zero"):
        trainer.fit(X, Y, sample_weight=(Y > 0).astype(float))
    with pytest.raises(DataError, match="y: all rows have weight zero"):
        gn.Trainer(net(1), loss=gn.BCEWithLogitsLoss(class_weight=[1, 0])).fit(X, np.ones(60))


def test_weights_that_depend_on_labels_are_not_known_before_a_training():
    trainer = gn.Trainer(net(), loss=gn.CrossEntropyLoss(class_weight="balanced"), executor="eager")
    assert trainer.loss.class_weight == "balanced"
    for ask in (lambda: trainer.evaluate(X, Y), lambda: trainer.step(X, Y)):
        with pytest.raises(StateError, match="class_weight='balanced' depends on the labels"):
            ask()


def test_class_weights_are_computed_once_per_training():
    loss = gn.CrossEntropyLoss(class_weight="balanced")
    first = gn.Trainer(net(), loss=loss)
    first.fit(X, Y, epochs=1)
    found = loss.class_weight
    first.fit(X, LABELS, epochs=1)
    assert_array_equal(loss.class_weight, found)
    gn.Trainer(net(2), loss=loss).fit(X, Y > 0, epochs=1)
    assert_allclose(loss.class_weight, balanced(Y > 0))


def test_a_resumed_training_keeps_its_class_weights(tmp_path):
    path = tmp_path / "a.safetensors"
    whole, half = trained("balanced"), trained({0: 3})
    for trainer in (whole, half):
        trainer.save(path)
        resumed = gn.Trainer.resume(path)
        assert_array_equal(resumed.loss.class_weight, trainer.loss.class_weight)
        for one in (trainer, resumed):
            one.fit(X, LABELS, epochs=2)
        same(trainer, resumed)


@pytest.mark.parametrize("class_weight", ["balanced", {"0": 2.0}])
def test_class_weights_are_computed_after_a_resume_before_the_first_step(tmp_path, class_weight):
    path = tmp_path / "a.safetensors"
    gn.Trainer(net(), loss=gn.CrossEntropyLoss(class_weight=class_weight)).save(path)
    resumed = gn.Trainer.resume(path)
    assert resumed.loss.class_weight == class_weight
    resumed.fit(X, Y, epochs=2)
    same(resumed, trained(class_weight))


def test_distributions_are_balanced_by_their_shares():
    soft = np.random.default_rng(0).dirichlet([1, 2, 4], 60)
    trainer = trained("balanced", y=soft)
    assert_allclose(trainer.loss.class_weight, 60 / (3 * soft.sum(axis=0)), rtol=1e-6)


def test_labels_at_each_position_are_balanced_together():
    tags = np.random.default_rng(0).integers(0, 3, (60, 4))
    trainer = gn.Trainer(
        gn.Sequential(gn.Embedding(9, 3), gn.Linear(3, 3)), loss=gn.CrossEntropyLoss(class_weight="balanced")
    )
    trainer.fit(np.random.default_rng(1).integers(0, 9, (60, 4)), tags, epochs=1)
    assert_allclose(trainer.loss.class_weight, balanced(tags.ravel()))


class TestBinary:
    """A model with one binary output."""

    y = (Y > 1).astype(int)

    def test_binary_class_weights_equal_row_weights(self):
        by_class = trained({0: 1, 1: 3}, self.y, gn.BCEWithLogitsLoss, 1, validation=(X, self.y))
        rows = np.where(self.y, 3.0, 1.0)
        by_row = trained(None, self.y, gn.BCEWithLogitsLoss, 1, validation=(X, self.y, rows), sample_weight=rows)
        assert_allclose(weights(by_class.model), weights(by_row.model), atol=1e-6)
        assert_allclose(by_class.history["val_loss"], by_row.history["val_loss"], rtol=1e-5)

    def test_class_weights_multiply_row_weights(self):
        loss = gn.BCEWithLogitsLoss(class_weight=[1, 3])
        z, t = np.random.default_rng(0).normal(size=(60, 1)), self.y[:, None].astype(float)
        rows = WEIGHT * np.where(self.y, 3.0, 1.0)
        for found, expected in zip(
            loss.value_and_grad(z, t, WEIGHT), gn.BCEWithLogitsLoss().value_and_grad(z, t, rows), strict=True
        ):
            assert_allclose(found, expected, rtol=1e-12)
        assert_allclose(loss.norms(t, WEIGHT), rows)

    def test_balanced_weights_are_those_of_scikit_learn(self):
        names = np.array(["no", "yes"])
        trainer = trained("balanced", names[self.y], gn.BCEWithLogitsLoss, 1)
        assert_allclose(trainer.loss.class_weight, balanced(self.y))
        by_name = trained({"yes": 2}, names[self.y], gn.BCEWithLogitsLoss, 1)
        assert_array_equal(by_name.loss.class_weight, [1, 2])

    @pytest.mark.parametrize("executor", ["numpy", "native"])
    def test_recorded_steps_equal_eager_steps_bitwise(self, executor):
        if executor == "native" and (reason := gn.native.why_unavailable()):
            pytest.skip(reason)
        trainers = [
            gn.Trainer(net(1), loss=gn.BCEWithLogitsLoss("balanced"), executor=name) for name in ("eager", executor)
        ]
        for one in trainers:
            one.fit(X, self.y, epochs=3, batch_size=8, sample_weight=WEIGHT)
        assert_allclose(*(weights(one.model) for one in trainers), atol=0 if executor == "numpy" else 1e-6)

    def test_what_does_not_fit_is_refused(self):
        several = np.stack([Y > 0, Y > 1], axis=1)
        refused(
            "balanced",
            ShapeError,
            r"needs one output per row, got output shape \(2,\)",
            several,
            gn.BCEWithLogitsLoss,
            2,
        )
        refused([1, 2, 3], ArgumentError, r"has shape \(3,\); the model has 2 classes", self.y, gn.BCEWithLogitsLoss, 1)
        with pytest.raises(ShapeError, match="one output per row, got targets"):
            gn.BCEWithLogitsLoss([1, 2]).value(np.zeros((4, 2)), np.zeros((4, 2)))


class TestValidation:
    """Weighted validation."""

    def test_the_loss_is_the_mean_by_the_weights_and_metrics_count_rows(self):
        trainer = trained(None, validation=(X, Y, WEIGHT))
        outputs = trainer.model.outputs(X)
        losses = np.log(np.exp(outputs).sum(axis=1)) - outputs[np.arange(60), Y]
        assert trainer.history["val_loss"][-1] == pytest.approx(np.average(losses, weights=WEIGHT), rel=1e-6)
        assert trainer.history["val_accuracy"][-1] == (outputs.argmax(axis=1) == Y).mean()
        assert trainer.evaluate(X, Y, WEIGHT)["loss"] == trainer.history["val_loss"][-1]
        assert trainer.evaluate(X, Y)["loss"] == pytest.approx(losses.mean(), rel=1e-6)

    def test_weights_too_large_for_the_models_dtype_are_scaled(self):
        trainer = trained(None, validation=(X, Y, 1e200 * WEIGHT))
        assert trainer.history["val_loss"][-1] == trained(None, validation=(X, Y, WEIGHT)).history["val_loss"][-1]

    def test_rows_held_out_keep_their_weights(self):
        trainer = trained(None, validation=0.5, sample_weight=WEIGHT)
        kept, held_out = gn.data.split_indices(Y, (0.5, 0.5), seed=0)
        apart = gn.Trainer(net())
        apart.fit(
            X[kept],
            Y[kept],
            epochs=2,
            sample_weight=WEIGHT[kept],
            validation=(X[held_out], Y[held_out], WEIGHT[held_out]),
        )
        same(trainer, apart)
        assert trainer.history["val_loss"] == apart.history["val_loss"]

    def test_weights_of_none_stay_none(self):
        assert (
            trained(None, validation=(X, Y, None)).history["val_loss"]
            == trained(None, validation=(X, Y)).history["val_loss"]
        )

    @pytest.mark.parametrize(
        ("weight", "error", "message"),
        [
            (WEIGHT[:9], ShapeError, "^validation: sample_weight has 9 numbers for 60 samples"),
            (-WEIGHT, DataError, "^validation: sample_weight is -.* at row 0"),
            (0 * WEIGHT, DataError, "^validation: sample_weight is zero for every sample"),
        ],
    )
    def test_weights_that_cannot_be_used_are_refused_before_the_first_step(self, weight, error, message):
        trainer = gn.Trainer(net())
        with pytest.raises(error, match=message):
            trainer.fit(X, Y, validation=(X, Y, weight))
        assert (len(trainer.history), trainer.optimizer.steps) == (0, 0)

    def test_rows_held_out_without_weight_are_refused_before_the_first_step(self):
        trainer = gn.Trainer(net())
        weight = np.ones(60)
        weight[gn.data.split_indices(Y, (0.5, 0.5), seed=0)[1]] = 0
        with pytest.raises(DataError, match=r"^sample_weight of the rows held out is zero for every sample"):
            trainer.fit(X, Y, validation=0.5, sample_weight=weight)
        assert trainer.optimizer.steps == 0


def test_balanced_weights_that_are_too_large_are_refused_before_the_first_step():
    trainer = gn.Trainer(gn.MLP([5, 3]), loss=gn.CrossEntropyLoss(class_weight="balanced"))
    with pytest.raises(ArgumentError, match=r"class_weight='balanced' gives weights up to 3.67e\+35"):
        trainer.fit(X, Y, epochs=1, sample_weight=np.where(Y == 0, 1e-35, 1))
    assert trainer.optimizer.steps == 0


@pytest.mark.parametrize("class_weight", [[1e35, 1, 1e-35], {0: 1e35}])
def test_a_checkpoint_of_an_older_version_with_larger_weights_is_refused_by_name_and_its_model_loads(
    class_weight, monkeypatch, tmp_path
):
    with monkeypatch.context() as older:
        older.setattr("gpunet.data.class_weights.LARGEST", 1e300)
        trainer = trained(class_weight)
        trainer.save(tmp_path / "checkpoint.safetensors")
        trainer.model.save(tmp_path / "model.safetensors")
    with pytest.raises(ModelFileError, match=r"checkpoint\.safetensors: .* class_weight must hold 0 or"):
        gn.Trainer.resume(tmp_path / "checkpoint.safetensors")
    assert_array_equal(gn.load(tmp_path / "model.safetensors").predict(X), trainer.model.predict(X))
