"""Features in their own dtype with native nodes and on the simulated GPU; uploads of a repeated `fit`."""

import gc
import weakref

import numpy as np
import pytest
from stored import KINDS, WEIGHT, Y, assert_same_bits, features, standardised, train

import gpunet as gn
from gpunet import simulator
from gpunet.data import Standardizer
from gpunet.simulator import counters
from gpunet.training.step.graph import GraphExecutor
from gpunet.uploads import Staging


@pytest.mark.parametrize("scaled", [False, True], ids=["plain", "scaled"])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "where", [("native", "cpu"), ("graph", "sim"), ("persistent", "sim"), ("eager", "sim")], ids=str
)
def test_features_of_any_dtype_train_bitwise_like_converted_ones(where, kind, scaled):
    X = features(kind)
    scaler = Standardizer.fit(X) if scaled else None
    assert_same_bits(train(X, *where, scaler=scaler), train(standardised(X, scaler), *where))


@pytest.mark.parametrize("where", [("numpy", "cpu"), ("native", "cpu"), ("graph", "sim")], ids=str)
def test_a_scaler_of_any_layout_and_dtype_is_computed_in_float64(where):
    X = features("uint8")
    own = Standardizer(np.full(7, 0.1, np.float32), np.repeat(np.linspace(50, 60, 7), 2)[::2])
    assert_same_bits(train(X, *where, scaler=own), train(standardised(X, own), *where))


@pytest.mark.parametrize("executor", ["graph", "persistent"])
def test_check_mode_finds_nothing_where_bytes_are_standardised(executor):
    X = features("uint8")
    with simulator.check_mode():
        train(X, executor, "sim", scaler=Standardizer.fit(X))


def test_wide_rows_are_standardised_by_the_persistent_kernel_as_by_others():
    """Rows of several vectors a lane, the last one in part."""
    X, runs = np.random.default_rng(0).integers(0, 256, (60, 1100), np.uint8), []
    scaler = Standardizer.fit(X)
    for given in (X, standardised(X, scaler)):
        model = gn.MLP([1100, 8, 3], seed=0).to("sim")
        model.input_scaler = None if given is not X else scaler
        runs.append(gn.Trainer(model, executor="persistent"))
        runs[-1].fit(given, Y, epochs=1, batch_size=32)
    assert_same_bits(*runs)


def test_several_threads_convert_to_the_same_bits(several_threads):
    X, trainers = features("uint8"), []
    for threads in (1, 3):
        several_threads(threads)
        trainers.append(train(X, "native", scaler=Standardizer.fit(X)))
    assert_same_bits(*trainers)


@pytest.mark.parametrize("where", [("native", "cpu"), ("graph", "sim"), ("persistent", "sim")], ids=str)
def test_a_training_on_bytes_resumes_bitwise(where, tmp_path):
    X = features("uint8")
    scaler = Standardizer.fit(X)
    whole = train(X, *where, scaler=scaler)
    model = gn.MLP([7, 16, 3], dropout=0.2, seed=0).to(where[1])
    model.input_scaler = scaler
    cut = gn.Trainer(model, optimizer=gn.Adam(0.01), executor=where[0])
    cut.fit(X, Y, epochs=1, batch_size=16, sample_weight=WEIGHT)
    cut.save(tmp_path / "run")
    with gn.use_device(where[1]):
        resumed = gn.Trainer.resume(tmp_path / "run")
    resumed.fit(X, Y, epochs=2, batch_size=16, sample_weight=WEIGHT)
    assert_same_bits(resumed, whole)


# repeated fits on a GPU


@pytest.fixture
def uploaded(monkeypatch):
    """The bytes that were uploaded of data sets, piece by piece."""
    sizes, real = [], Staging.upload
    monkeypatch.setattr(Staging, "upload", lambda self, a, target: sizes.append(a.nbytes) or real(self, a, target))
    return sizes


@pytest.fixture
def captured(monkeypatch):
    """The numbers of steps of the graphs that were captured."""
    sizes, real = [], GraphExecutor._capture
    monkeypatch.setattr(GraphExecutor, "_capture", lambda self, steps: sizes.append(steps) or real(self, steps))
    return sizes


def on_sim(**options):
    return gn.Trainer(gn.MLP([7, 16, 3], seed=0).to("sim"), executor="graph", **options)


def fit(trainer, X, y=Y):
    counters.reset()
    trainer.fit(X, y, epochs=1, batch_size=16)


def test_bytes_are_uploaded_as_bytes(uploaded):
    X = features("uint8")
    fit(on_sim(), X)
    assert uploaded == [X.nbytes, Y.nbytes]


def test_a_repeated_fit_of_the_same_numbers_uploads_nothing_and_captures_nothing(uploaded, captured):
    X, trainer = features("uint8"), on_sim()
    fit(trainer, X)
    uploaded.clear()
    captured.clear()
    for again in (X, X.copy(), np.asfortranarray(X)):
        fit(trainer, again)
    assert not uploaded
    assert not captured


def test_a_repeated_fit_uploads_as_much_as_one_more_epoch():
    X, trainer, counted = features("uint8"), on_sim(), {}
    fit(trainer, X)
    for epochs in (1, 2, 3):
        counters.reset()
        trainer.fit(X, Y, epochs=epochs, batch_size=16)
        counted[epochs] = counters.uploads
    assert counted[1] == counted[2] - counted[1] == counted[3] - counted[2]  # the order, and the learning rates


def test_a_repeated_fit_equals_a_longer_one_bitwise():
    X, split, whole = features("uint8"), on_sim(), on_sim()
    for _ in range(3):
        fit(split, X)
    whole.fit(X, Y, epochs=3, batch_size=16)
    assert_same_bits(split, whole)


def test_only_data_that_changed_in_place_is_uploaded_again(uploaded, captured):
    X, y = features("uint8"), Y.copy()
    trainer, other = on_sim(), on_sim()
    fit(trainer, X, y)
    fit(other, X.copy(), y.copy())
    for change, sizes in ((lambda: X.__setitem__((3, 2), 77), [X.nbytes]), (lambda: y.__setitem__(5, 2), [y.nbytes])):
        change()
        uploaded.clear()
        captured.clear()
        fit(trainer, X, y)
        assert uploaded == sizes
        assert not captured  # the data has its old place
        other._steps._batches = None  # which uploads all of it
        fit(other, X, y)
    assert_same_bits(trainer, other)


def test_other_data_replaces_the_old():
    X, trainer = features("uint8"), on_sim()
    fit(trainer, X)
    old = weakref.ref(trainer._steps._batches.rows()[0][0])
    gc.disable()
    try:
        fit(trainer, X[:50], Y[:50])
        assert old() is None
    finally:
        gc.enable()
    expected = on_sim()
    fit(expected, X)
    fit(expected, X[:50].copy(), Y[:50])
    assert_same_bits(trainer, expected)


def test_a_deleted_trainer_frees_its_data():
    trainer = on_sim()
    fit(trainer, features("uint8"))
    data = weakref.ref(trainer._steps._batches.rows()[0][0])
    del trainer
    gc.collect()
    assert data() is None


def test_another_scaler_takes_effect_at_the_next_fit(uploaded):
    X, trainers = features("uint8"), [on_sim(), on_sim()]
    for mean in (100.0, 20.0):
        scaler = Standardizer(np.full(7, mean), np.full(7, 50.0))
        trainers[0].model.input_scaler = scaler
        fit(trainers[0], X)
        fit(trainers[1], standardised(X, scaler))
    assert_same_bits(*trainers)


def test_data_that_does_not_fit_is_converted_on_the_host(monkeypatch):
    X = features("uint8")
    scaler = Standardizer.fit(X)
    expected = train(X, "eager", "sim", scaler=scaler)

    def refuse(*_):
        raise MemoryError("nothing left")

    monkeypatch.setattr("gpunet.training.batches.Mirror", refuse)
    with pytest.warns(UserWarning, match="does not fit on sim"):
        trained = train(X, "auto", "sim", scaler=scaler)
    assert_same_bits(trained, expected)
