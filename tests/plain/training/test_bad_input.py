"""Input that the Trainer and a model refuse without a change of state, and unusual arrays that they accept."""

import re

import numpy as np
import pytest
from problems import classification, measured, net, regression, weights

import gpunet as gn
from gpunet.data import Standardizer
from gpunet.errors import ArgumentError, DataError, DTypeError, ShapeError, StateError


class Sparse:
    """What a sparse matrix has and an array has not."""

    ndim, shape = 2, (60, 5)

    def toarray(self):
        raise AssertionError("made dense without being asked")


def put(array, value, row=7):
    """Return a copy of an array with another value in one row."""
    changed = np.array(array, np.result_type(array, np.min_scalar_type(value)) if np.isrealobj(value) else complex)
    changed[row] = value
    return changed


X, Y = classification()
VALUES = regression()[1]

BAD_FEATURES = {
    "NaN": (put(X, np.nan), DataError, "X is nan at row 7, column 0"),
    "infinite": (put(X, -np.inf), DataError, "X is -inf at row 7, column 0"),
    "too large": (put(X, 1e300), DataError, "X as float32 is inf at row 7, column 0"),
    "empty": (X[:0], DataError, "X is empty, its shape is (0, 5)"),
    "one dimension": (X[:, 0], ShapeError, "X has shape (60,); expected (samples, features)"),
    "a number": (3.0, ShapeError, "X has shape ()"),
    "object": (X.astype(object), DTypeError, "X has dtype object"),
    "complex": (X + 0j, DTypeError, "X has dtype complex64"),
    "text": (X.astype(str), DTypeError, "X has dtype <U"),
    "sparse": (Sparse(), DTypeError, "X is a sparse matrix; make it dense first, with X.toarray()"),
    "ragged": ([[1.0], [1.0, 2.0]], ShapeError, "X is not a regular array"),
    "masked": (np.ma.masked_greater(X, 1), DataError, "X has masked entries"),
    "None": (None, DTypeError, "X is a NoneType; pass an array"),
}
BAD_LABELS = {
    "too large": (put(Y, 3), DataError, "y is 3 at row 7; 3 classes have labels 0 to 2"),
    "negative": (put(Y, -1), DataError, "y is -1 at row 7; 3 classes have labels 0 to 2"),
    "float": (Y.astype(float), DTypeError, "y holds floats (float64); class labels are integers from 0 to 2"),
    "a column": (
        Y[:, None],
        ShapeError,
        "y has shape (60, 1); expected (samples,). Flatten a single column with y.ravel()",
    ),
    "empty": (Y[:0], DataError, "y is empty"),
    "shorter": (Y[:-1], ShapeError, "lengths differ: X has 60, y has 59"),
    "longer": (np.r_[Y, Y], ShapeError, "lengths differ: X has 60, y has 120"),
    "object": (Y.astype(object), DTypeError, "y has dtype object"),
    "complex": (Y + 0j, DTypeError, "y has dtype complex128"),
    "too many names": (np.array(list("abcd"))[np.arange(60) % 4], DataError, "y: 4 classes have names"),
    "NaN in soft labels": (put(np.eye(3)[Y], np.nan), DataError, "y is nan at row 7"),
    "soft labels that are no shares": (2 * np.eye(3)[Y], DataError, "y: soft labels must be distributions"),
    "soft labels of another width": (np.eye(4)[Y], DataError, "y: rows of shape (4,) don't match"),
}
BAD_VALUES = {
    "NaN": (put(VALUES, np.nan), DataError, "y is nan at row 7"),
    "infinite": (put(VALUES, np.inf), DataError, "y is inf at row 7"),
    "too large": (put(VALUES, 1e300), DataError, "y as float32 is inf at row 7"),
    "another width": (np.stack([VALUES, VALUES], 1), DataError, "y: rows of shape (2,) don't match"),
    "text": (VALUES.astype(str), DTypeError, "y has dtype <U"),
    "sparse": (Sparse(), DTypeError, "y is a sparse matrix; make it dense first, with y.toarray()"),
    "shorter": (VALUES[:3], ShapeError, "lengths differ: X has 60, y has 3"),
}
BAD_WEIGHTS = {
    "negative": (put(np.ones(60), -1), DataError, "sample_weight is -1.0 at row 7"),
    "NaN": (put(np.ones(60), np.nan), DataError, "sample_weight is nan at row 7"),
    "all zero": (np.zeros(60), DataError, "sample_weight is zero for every sample"),
    "overflowing": (np.full(60, 1e307), DataError, "sample_weight: the sum of the weights overflows"),
    "shorter": (np.ones(59), ShapeError, "sample_weight has 59 numbers for 60 samples"),
    "a column": (np.ones((60, 1)), ShapeError, "sample_weight has shape (60, 1); expected (samples,)"),
}
BAD_OPTIONS = {
    "epochs=0": ({"epochs": 0}, ArgumentError, "epochs must be a whole number of at least 1, got 0"),
    "epochs=2.5": ({"epochs": 2.5}, ArgumentError, "epochs must be a whole number of at least 1, got 2.5"),
    "batch_size=0": ({"batch_size": 0}, ArgumentError, "batch_size must be a whole number of at least 1, got 0"),
    "batch_size=-1": ({"batch_size": -1}, ArgumentError, "batch_size must be a whole number of at least 1, got -1"),
    "batch_size='8'": ({"batch_size": "8"}, ArgumentError, "batch_size must be a whole number of at least 1, got '8'"),
    "validation=0.0": ({"validation": 0.0}, ArgumentError, "validation must be a fraction between 0 and 1"),
    "validation=1": ({"validation": 1}, ArgumentError, "validation must be a fraction between 0 and 1"),
    "validation=NaN": (
        {"validation": np.float32("nan")},
        ArgumentError,
        "validation must be a fraction between 0 and 1",
    ),
    "validation=(X,)": ({"validation": (X,)}, ArgumentError, "validation must be a fraction of the rows, (X, y) or"),
    "validation=X": ({"validation": X}, ArgumentError, "validation must be a fraction of the rows, (X, y) or"),
    "validation, NaN": ({"validation": (put(X, np.nan), Y)}, DataError, "validation: X is nan at row 7, column 0"),
    "validation, label": ({"validation": (X, put(Y, 9))}, DataError, "validation: y is 9 at row 7"),
    "validation, length": ({"validation": (X, Y[:9])}, ShapeError, "validation: lengths differ: X has 60, y has 9"),
}


def cases(table):
    return pytest.mark.parametrize(("bad", "error", "said"), table.values(), ids=table.keys())


def refused_fit(trainer, X, y, error, said, **options):
    """Fit, expect a refusal, and check that it changed nothing."""
    before = weights(trainer.model)
    with pytest.raises(error, match=re.escape(said)):
        trainer.fit(X, y, **options)
    np.testing.assert_array_equal(weights(trainer.model), before)
    assert (len(trainer.history), trainer.epoch, trainer.position, trainer.optimizer.steps) == (0, 0, 0, 0)
    assert trainer.model.classes is None


@cases(BAD_FEATURES)
def test_bad_features_are_refused_and_nothing_changes(bad, error, said):
    trainer = gn.Trainer(net())
    refused_fit(trainer, bad, Y, error, said)
    refused_fit(trainer, bad, Y, error, said, validation=0.2)
    for ask in (trainer.model.predict, trainer.model.predict_proba, trainer.predict, lambda X: trainer.evaluate(X, Y)):
        with pytest.raises(error, match=re.escape(said)):
            ask(bad)


@cases(BAD_LABELS)
def test_bad_labels_are_refused_and_nothing_changes(bad, error, said):
    trainer = gn.Trainer(net())
    refused_fit(trainer, X, bad, error, said)
    refused_fit(trainer, X, bad, error, said, validation=0.2)
    if bad.dtype.kind != "U":
        with pytest.raises(error, match=re.escape(said)):
            trainer.evaluate(X, bad)


@cases(BAD_VALUES)
def test_bad_targets_of_a_regression_are_refused_and_nothing_changes(bad, error, said):
    for scaler in (None, Standardizer.fit(VALUES)):
        trainer = gn.Trainer(net(outputs=1), loss=gn.MSELoss())
        trainer.model.target_scaler = scaler
        refused_fit(trainer, X, bad, error, said)
        refused_fit(trainer, X, bad, error, said, validation=0.2)


def test_invalid_probabilities_are_refused():
    trainer = gn.Trainer(net(outputs=1), loss=gn.BCEWithLogitsLoss())
    refused_fit(trainer, X, put(Y % 2, 2), DataError, "y: BCEWithLogitsLoss needs targets between 0 and 1")


@cases(BAD_WEIGHTS)
def test_bad_sample_weights_are_refused_and_nothing_changes(bad, error, said):
    refused_fit(gn.Trainer(net()), X, Y, error, said, sample_weight=bad)
    refused_fit(gn.Trainer(net()), X, Y, error, said, sample_weight=bad, validation=0.2)


@cases(BAD_OPTIONS)
def test_bad_options_of_fit_are_refused_and_nothing_changes(bad, error, said):
    refused_fit(gn.Trainer(net()), X, Y, error, said, **bad)


def test_too_few_rows_for_a_validation_part_are_refused():
    refused_fit(gn.Trainer(net()), X[:2], Y[:2], DataError, "more samples are needed", validation=0.2)


@pytest.mark.parametrize("seed", [-1, 2**64, 1.5, "0", None])
def test_a_bad_seed_is_refused(seed):
    with pytest.raises(ArgumentError, match="seed must be a whole number from 0 to 2"):
        gn.Trainer(net(), seed=seed)


@pytest.mark.parametrize("lr", [-1e-3, np.nan, np.inf, "1e-3"])
def test_an_invalid_learning_rate_is_refused(lr):
    said = "lr must be a number, got '1e-3'" if isinstance(lr, str) else "lr must lie in"
    optimizer = gn.Adam(0.5)
    with pytest.raises(ArgumentError, match=said):
        gn.Adam(lr)
    with pytest.raises(ArgumentError, match=said):
        optimizer.lr = lr
    assert optimizer.lr == 0.5


@pytest.mark.parametrize("metrics", [["accuracy"], {"accuracy": 1}])
def test_metrics_must_map_names_to_functions(metrics):
    with pytest.raises(ArgumentError, match=r"metrics must map names to functions \(target, prediction\), as in \{"):
        gn.Trainer(net(), metrics=metrics)


def test_a_layer_without_features_is_refused():
    with pytest.raises(ArgumentError, match="out_features must be a whole number of at least 1, got 0"):
        gn.MLP([5, 0, 3])


@pytest.mark.parametrize("wrong", [4, 6])
def test_another_number_of_features_is_refused_before_and_after_training(wrong):
    trainer = gn.Trainer(net())
    other = np.ones((60, wrong))
    said = f"must have 5 features, got shape ({wrong},)"
    refused_fit(trainer, other, Y, ShapeError, said)
    trainer.fit(X, Y, epochs=1)
    for ask in (trainer.predict, trainer.model.predict_proba, lambda X: trainer.evaluate(X, Y)):
        with pytest.raises(ShapeError, match=re.escape(said)):
            ask(other)


def test_a_loss_that_does_not_fit_the_outputs_is_refused():
    refused_fit(gn.Trainer(net(outputs=1)), X, Y, ShapeError, "needs at least 2 outputs per row")
    uneven = gn.CrossEntropyLoss(class_weight=[1, 2])
    refused_fit(
        gn.Trainer(net(), loss=uneven), X, Y, ArgumentError, "class_weight has shape (2,); the model has 3 classes"
    )


def test_text_labels_without_known_names_cannot_be_evaluated():
    with pytest.raises(DataError, match="y: text labels, but the model's classes have no names"):
        gn.Trainer(net()).evaluate(X, np.array(["a", "b", "c"])[Y])


def test_an_unknown_class_name_is_refused_with_the_known_ones():
    trainer = gn.Trainer(net())
    trainer.fit(X, np.array(["a", "b", "c"])[Y], epochs=1)
    with pytest.raises(DataError, match="y is 'd' at row 1; the classes are 'a', 'b', 'c'"):
        trainer.evaluate(X, np.array(["a", "d", "c"])[Y])


def test_probabilities_of_a_regression_are_refused():
    trainer = gn.Trainer(net(outputs=1), loss=gn.MSELoss())
    with pytest.raises(StateError, match="predict_proba needs a model trained as a classifier"):
        trainer.model.predict_proba(X)


def test_a_batch_whose_rows_all_have_weight_zero_changes_nothing():
    weight = np.ones(60)
    weight[:20] = 0
    for loss, y in ((gn.CrossEntropyLoss(), Y), (gn.MSELoss(), np.eye(3)[Y])):
        trainer = gn.Trainer(net(), loss=loss)
        history = trainer.fit(X, y, epochs=1, batch_size=10, shuffle=False, sample_weight=weight)
        assert np.isfinite(history["loss"]).all()
        assert np.isfinite(weights(trainer.model)).all()


# arrays that are odd, not bad


def strided(array):
    room = np.zeros((array.shape[0] * 2, *(2 * n for n in array.shape[1:])), array.dtype)
    view = room[tuple(slice(None, None, 2) for _ in array.shape)]
    view[...] = array
    return view


def read_only(array):
    array = array.copy()
    array.flags.writeable = False
    return array


ODD = {
    "Fortran order": np.asfortranarray,
    "strided": strided,
    "negative strides": lambda a: a[::-1].copy()[::-1],
    "read-only": read_only,
    "big-endian": lambda a: a.astype(a.dtype.newbyteorder(">")),
    "little-endian": lambda a: a.astype(a.dtype.newbyteorder("<")),
    "unaligned": lambda a: np.frombuffer(b"x" + a.tobytes(), np.uint8)[1:].view(a.dtype).reshape(a.shape),
    "nested lists": lambda a: a.tolist(),
}


@pytest.mark.parametrize("odd", ODD.values(), ids=ODD.keys())
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_arrays_of_any_layout_give_the_same_bits_and_are_not_written(odd, dtype):
    if odd is ODD["nested lists"] and dtype is np.float32:
        dtype = np.float64  # what a list holds
    plain = (X.astype(dtype), Y, np.linspace(0.5, 2, 60, dtype=dtype), X[::3].astype(dtype), Y[::3])
    strange = [odd(a) for a in plain]
    before = [np.array(a) for a in strange]
    results = []
    for features, labels, weight, more_features, more_labels in (plain, strange):
        trainer = gn.Trainer(net(dropout=0.2))
        trainer.model.input_scaler = Standardizer.fit(features)
        history = trainer.fit(features, labels, epochs=2, sample_weight=weight, validation=(more_features, more_labels))
        share = gn.Trainer(net()).fit(features, labels, epochs=1, validation=0.2)
        predicted = trainer.model.predict_proba(features)
        results.append((weights(trainer.model).tobytes(), predicted.tobytes(), measured(history), measured(share)))
    assert results[0] == results[1]
    for a, b in zip(strange, before, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.uint64, np.int32, bool])
def test_integers_are_accepted_as_features_and_labels(dtype):
    features, labels = (X > 1).astype(dtype), (Y == 2).astype(dtype)
    results = []
    for f, t in ((features, labels), (features.astype(np.float32), labels.astype(np.int64))):
        trainer = gn.Trainer(net(outputs=2))
        trainer.fit(f, t, epochs=2)
        results.append(weights(trainer.model))
    np.testing.assert_array_equal(*results)


def test_features_beyond_float32_are_refused_and_nothing_changes():
    trainer = gn.Trainer(gn.MLP([2, 2]))
    before = trainer.model.store.params.copy()
    with pytest.raises(gn.errors.DataError, match="X as float32"):
        trainer.fit(np.full((4, 2), 1e300), [0, 1, 0, 1], epochs=1)
    np.testing.assert_array_equal(trainer.model.store.params, before)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"loss": gn.MSELoss}, r"loss must be an object, not a class: write MSELoss\(...\)"),
        ({"optimizer": gn.Adam}, r"optimizer must be an object, not a class: write Adam\(...\)"),
        ({"callbacks": [gn.ProgressBar]}, r"callbacks must be an object, not a class: write ProgressBar\(...\)"),
        ({"loss": 3}, "loss must be a `Loss`, got 3"),
        (
            {"loss": lambda prediction, y: 0},
            r"loss must be a `Loss`, got <.*>: losses derive from gn\.losses\.Loss and define task and "
            r"value_and_grad, as help\(gn\.losses\.Loss\) shows\.$",
        ),
        ({"loss": gn.losses.Loss()}, "Loss needs an attribute `task`, .*: 'classification', .*, got None"),
        ({"callbacks": [3]}, "callbacks must be a `Callback`, got 3"),
        ({"model": gn.Linear(2, 2)}, "model must be a `Model`"),
    ],
)
def test_unusable_data_is_refused_by_name(arguments, message):
    with pytest.raises(gn.errors.ArgumentError, match=message):
        gn.Trainer(**{"model": gn.MLP([2, 2]), **arguments})


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("ema", 2, "ema must lie in"),
        ("ema", "x", "ema must be a number"),
        ("executor", "foo", "executor must be 'auto'"),
        ("precision", "half", "precision must be"),
        ("loss", "ms", "loss must be 'cross_entropy'"),
        ("optimizer", 3, "optimizer must be a `Optimizer`, got 3: optimizers derive from"),
        ("callbacks", gn.EarlyStopping(2), "callbacks must be a sequence"),
        ("callbacks", 3, "callbacks must be a sequence"),
        ("metrics", {"a": 1}, "metrics must map names to functions"),
        ("seed", -1, "seed must be"),
        ("accumulate", 0, "accumulate must be a whole number"),
        ("model", gn.Linear(5, 3), "model must be a `Model`"),
    ],
)
def test_a_setting_is_checked_when_it_is_set_later(name, value, said):
    trainer = gn.Trainer(net())
    before = getattr(trainer, name)
    with pytest.raises(ArgumentError, match=f"Trainer: {said}"):
        setattr(trainer, name, value)
    assert getattr(trainer, name) is before


def test_names_and_sequences_are_taken_when_they_are_set_later():
    trainer = gn.Trainer(net())
    trainer.loss, trainer.optimizer, trainer.metrics = "cross_entropy", "sgd", None
    first, last = gn.EarlyStopping(2), gn.Checkpoint("nowhere")
    trainer.callbacks = (last, first)
    assert trainer.callbacks == [first, last]
    assert list(trainer.metrics) == ["accuracy"]
    trainer.callbacks = ()
    assert trainer.fit(X, Y, epochs=1).last["epoch"] == 1
    assert (repr(trainer.loss)[:12], repr(trainer.optimizer)) == ("CrossEntropy", "SGD(lr=0.01)")


def test_incompatible_settings_are_refused_before_the_next_step():
    trainer = gn.Trainer(gn.Sequential(gn.Linear(5, 3, rng=0), gn.BatchNorm1d(3)))
    trainer.accumulate = 2
    with pytest.raises(ArgumentError, match="with accumulate=2 BatchNorm1d"):
        trainer.fit(X, Y)


def test_a_wrong_number_of_features_names_x_and_both_numbers():
    with pytest.raises(gn.errors.ShapeError, match=r"X: layer 0, Linear\(4, 2\).* 4 features, got shape \(3,\)"):
        gn.MLP([4, 2]).predict(np.zeros((1, 3)))


def test_weights_that_are_all_held_out_are_refused_and_nothing_changes():
    trainer = gn.Trainer(gn.MLP([5, 3]))
    before = trainer.model.store.params.copy()
    _, held_out = gn.data.split_indices(Y, (0.8, 0.2), seed=0)
    weight = np.zeros(len(Y))
    weight[held_out] = 1
    with pytest.raises(DataError, match="without the rows held out, is zero for every sample"):
        trainer.fit(X, Y, epochs=1, validation=0.2, sample_weight=weight)
    np.testing.assert_array_equal(trainer.model.store.params, before)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: gn.Trainer(gn.MLP([2, 2]), callbacks=gn.ProgressBar()), "callbacks must be a sequence"),
        (lambda: gn.Trainer(gn.MLP([2, 2]), metrics={"a": 1}), "metrics must map names to functions"),
        (lambda: gn.MLP(64), "sizes needs an input and an output size"),
        (lambda: gn.MLP([2, 2], seed=-1), "seed must be a whole number of at least 0"),
        (lambda: gn.MLP([2, 2], activation="rleu"), "unknown activation 'rleu'"),
    ],
)
def test_arguments_of_another_kind_are_refused_by_name(make, message):
    with pytest.raises(ArgumentError, match=message):
        make()


def test_a_device_of_another_kind_is_refused_by_name():
    with pytest.raises(gn.errors.DeviceError, match="unknown device 3"):
        gn.use_device(3)


@pytest.mark.parametrize("device", ["cpu", "sim"])
@pytest.mark.parametrize("accumulate", [1, 2])
@pytest.mark.parametrize(
    ("batch", "shapes"),
    [
        ((X[:8], Y[:5]), r"X \(8, 5\), y \(5,\)"),
        ((X[:5], Y[:8]), r"X \(5, 5\), y \(8,\)"),
        ((X[:8].tolist(), Y[:5].tolist()), r"X \(8, 5\), y \(5,\)"),
        ((X[:8], Y[:8], np.ones(3)), r"X \(8, 5\), y \(8,\), weight \(3,\)"),
        ((X[:8], Y[:8], np.ones(9)), r"X \(8, 5\), y \(8,\), weight \(9,\)"),
        ((X[:8], Y[0]), r"X \(8, 5\), y \(\)"),
        ((X[0, 0], Y[0]), r"X \(\), y \(\)"),
    ],
)
def test_a_step_on_arrays_with_different_numbers_of_rows_is_refused(device, accumulate, batch, shapes):
    trainer = gn.Trainer(gn.MLP([5, 3]).to(device), accumulate=accumulate)
    with pytest.raises(ShapeError, match=f"X, y and weight need the same number of rows; the shapes are {shapes}"):
        trainer.step(*batch)
    assert trainer.optimizer.steps == 0


@pytest.mark.filterwarnings("ignore:falling back to eager steps")
@pytest.mark.parametrize("executor", ["auto", "numpy", "eager"])
@pytest.mark.parametrize("kind", [gn.SGD, gn.RMSprop])
def test_a_momentum_that_was_0_at_first_is_refused(kind, executor):
    trainer = gn.Trainer(gn.MLP([2, 3]), optimizer=kind(0.1), executor=executor)
    X, y = np.ones((4, 2), np.float32), np.zeros(4, np.int64)
    trainer.step(X, y)
    trainer.optimizer.momentum = 0.9
    with pytest.raises(StateError, match="momentum was 0 at first"):
        trainer.step(X, y)
