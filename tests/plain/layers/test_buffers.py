"""Buffers are moved, copied and saved like parameters, and optimizers do not change them."""

import copy
import pickle

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from problems import classification

import gpunet as gn
from gpunet.errors import ArgumentError, ModelFileError
from gpunet.files import read_arrays, write_arrays

X, Y = classification(80)


def model() -> gn.Sequential:
    inner = gn.Residual(gn.BatchNorm1d(8, momentum=None, affine=False), gn.Linear(8, 8, rng=1), gn.GELU())
    return gn.Sequential(gn.BatchNorm1d(5), gn.Linear(5, 8, rng=0), inner, gn.Linear(8, 3, rng=2))


def trainer(executor="auto", *, of=model, **options) -> gn.Trainer:
    return gn.Trainer(of(), optimizer=gn.Adam(0.01), seed=3, executor=executor, **options)


def trained() -> gn.Sequential:
    run = trainer()
    run.fit(X, Y, epochs=1, batch_size=20)
    return run.model


def buffers(model: gn.Model) -> dict[str, np.ndarray]:
    return {f"{path}.{key}": a.copy() for path, leaf in model.leaves().items() for key, a in leaf.buffers.items()}


def assert_same(first: gn.Model, second: gn.Model) -> None:
    assert buffers(first).keys() == buffers(second).keys()
    for key, a in buffers(first).items():
        assert_array_equal(a, buffers(second)[key], err_msg=key)
    assert_array_equal(first.store.params, second.store.params)


def test_buffers_are_views_into_their_own_flat_array():
    one = model()
    assert list(buffers(one))[:3] == ["0.running_mean", "0.running_var", "0.num_batches_tracked"]
    assert list(one.parameters()) == ["0.weight", "0.bias", "1.weight", "1.bias", "2.1.weight", "2.1.bias"] + [
        f"3.{name}" for name in ("weight", "bias")
    ]
    for leaf in one.leaves().values():
        assert all(np.shares_memory(a, one.store.buffers) for a in leaf.buffers.values())
    one[0].buffers["running_mean"] = np.arange(5)
    assert_array_equal(one.store.buffers[:5], np.arange(5))


@pytest.mark.parametrize(
    "again",
    [
        copy.copy,
        copy.deepcopy,
        lambda one: pickle.loads(pickle.dumps(one)),
        lambda one: one.to(dtype="float64").to(dtype="float32"),
    ],
    ids=["copy", "deepcopy", "pickle", "to"],
)
def test_a_copy_has_its_own_buffers(again):
    one = trained()
    before, original = buffers(one), copy.deepcopy(one)
    twin = again(original)
    assert_same(one, original)
    assert_same(one, twin)
    twin.forward(X, gn.Tape())
    assert twin[0].buffers["num_batches_tracked"] == 5
    for key, a in buffers(one).items():
        assert_array_equal(a, before[key])


def test_a_saved_model_has_them_and_predicts_the_same(tmp_path):
    one = trained()
    one.save(tmp_path / "model")
    twin = gn.load(tmp_path / "model")
    assert_same(one, twin)
    assert_array_equal(one.predict_proba(X), twin.predict_proba(X))


def test_a_file_without_buffers_is_refused(tmp_path):
    trained().save(tmp_path / "model")
    arrays, description = read_arrays(tmp_path / "model", "model")
    del arrays["buffers.0.running_mean"]
    write_arrays(tmp_path / "model", arrays, {**description, "kind": "model"})
    with pytest.raises(ModelFileError, match=r"buffers\.0\.running_mean"):
        gn.load(tmp_path / "model")


def test_a_model_without_buffers_is_written_as_before(tmp_path):
    gn.MLP([5, 3]).save(tmp_path / "model")
    assert set(read_arrays(tmp_path / "model", "model")[0]) == {"params.0.weight", "params.0.bias"}


@pytest.mark.parametrize("executor", ["auto", "numpy", "eager"])
def test_a_resumed_training_gives_the_same_bits(executor, tmp_path):
    whole, first = trainer(executor), trainer(executor)
    whole.fit(X, Y, epochs=4, batch_size=17)
    first.fit(X, Y, epochs=2, batch_size=17)
    first.save(tmp_path / "run")
    resumed = gn.Trainer.resume(tmp_path / "run")
    resumed.fit(X, Y, epochs=2, batch_size=17)
    assert_same(whole.model, resumed.model)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_replayed_step_updates_them_as_an_eager_one(dtype):
    pair = [trainer(executor, of=lambda: model().to(dtype=dtype)) for executor in ("numpy", "eager")]
    for one in pair:
        one.fit(X, Y, epochs=5, batch_size=17)
    assert_same(pair[0].model, pair[1].model)
    assert pair[0].model[0].buffers["num_batches_tracked"] == 25


class Own(gn.Layer):
    """A layer whose replay is compared with its code before the first step."""

    def forward(self, x, tape=None):
        return x * 1

    def backward(self, dy, tape, *, input_gradient=True):
        return dy * 1


class Looking(Own):
    def forward(self, x, tape=None):
        return x * (1 if tape is None or float(x.max()) else 2)


@pytest.mark.parametrize(("kind", "executor"), [(Own, "numpy"), (Looking, "auto")])
@pytest.mark.filterwarnings("ignore:falling back to eager steps")
def test_recording_and_checking_a_step_leaves_them_as_they_were(kind, executor):
    pair = [trainer(executor, of=lambda: gn.Sequential(*model().layers, kind())) for executor in (executor, "eager")]
    for one in pair:
        one.fit(X, Y, epochs=3, batch_size=20)
    assert_same(pair[0].model, pair[1].model)
    assert pair[0].model[0].buffers["num_batches_tracked"] == 12


def test_early_stopping_restores_the_best_buffers_also_after_a_resume(tmp_path):
    stopping, states = gn.EarlyStopping(patience=2, monitor="val_loss", mode="max"), []

    class Note(gn.Callback):
        def on_epoch_end(self, trainer, row):
            states.append((row["val_loss"], copy.deepcopy(trainer.model)))
            trainer.save(tmp_path / f"{trainer.epoch}")

    run = trainer(callbacks=[stopping, Note()])
    run.fit(X, Y, epochs=9, batch_size=20, validation=(X, Y))
    assert run.history.stopped == "early stopping"
    best = max(states, key=lambda state: state[0])[1]
    assert len(states) > 1
    assert_same(run.model, best)
    resumed = gn.Trainer.resume(
        tmp_path / "2", callbacks=[gn.EarlyStopping(patience=2, monitor="val_loss", mode="max")]
    )
    resumed.fit(X, Y, epochs=9, batch_size=20, validation=(X, Y))
    assert_same(resumed.model, best)


def test_a_layer_with_buffers_can_appear_only_once():
    layer = gn.BatchNorm1d(4, affine=False)
    with pytest.raises(ArgumentError, match=r"BatchNorm1d\(4\) appears twice, at 0 and 2"):
        gn.Sequential(layer, gn.Linear(4, 4), layer)


def test_a_user_layer_may_have_buffers():
    class Count(gn.Layer):
        def __init__(self):
            super().__init__(buffers={"calls": np.zeros(2)})

        def forward(self, x, tape=None):
            self.buffers["calls"] += 1
            return x

    layer = Count()
    gn.Sequential(layer).forward(X)
    assert_array_equal(copy.deepcopy(layer).buffers["calls"], [1, 1])
