"""The last batch of an epoch: too small for the model, dropped, or with an error."""

import re

import numpy as np
import pytest
from problems import classification, measured, weights

import gpunet as gn
from gpunet.errors import ArgumentError, DataError, ShapeError

X, Y = classification(150)
EXECUTORS = ["auto", "numpy", "eager"]


def normed(executor="auto", callbacks=(), seed=0):
    layers = gn.Linear(5, 8, rng=seed), gn.BatchNorm1d(8), gn.ReLU(), gn.Linear(8, 3, rng=seed + 1)
    return gn.Trainer(gn.Sequential(*layers), executor=executor, callbacks=callbacks)


def refused(trainer, X, y, said, **options):
    """Fit, expect a refusal before the first step, and check that it changed nothing."""
    before = weights(trainer.model), trainer.model.store.buffers.copy()
    with pytest.raises(ArgumentError, match=said):
        trainer.fit(X, y, **options)
    assert trainer.optimizer.steps == trainer.position == 0
    for now, then in zip((trainer.model.store.params, trainer.model.store.buffers), before, strict=True):
        np.testing.assert_array_equal(now, then)


ONE = re.escape(
    "fit: a batch of 1, but the model needs at least 2 rows per batch, for example for batch norm. "
    "The data has 129 rows in"
)


@pytest.mark.parametrize(
    ("rows", "options"),
    [(129, {"batch_size": 32}), (129, {"batch_size": 1}), (150, {"batch_size": 32, "validation": 0.14})],
    ids=str,
)
def test_a_batch_of_one_row_is_refused_before_the_first_step_where_the_model_has_batch_norm(rows, options):
    trainer = normed()
    refused(trainer, X[:rows], Y[:rows], ONE, **options)
    history = trainer.fit(X[:128], Y[:128], epochs=1, batch_size=32)
    assert len(history) == 1
    assert trainer.optimizer.steps == 4


def test_a_data_set_of_one_row_is_refused():
    refused(normed(), X[:1], Y[:1], "a batch of 1, but the model needs at least 2 rows per batch")


@pytest.mark.parametrize(
    ("rows", "batch_size", "advice"),
    [
        (129, 32, "use drop_last=True, or another batch_size"),
        (129, 1, "use a batch_size of at least 2"),
        (1, 32, "use more rows"),
        (1, 1, "use more rows"),
    ],
)
def test_the_advice_for_a_batch_of_one_row_helps(rows, batch_size, advice):
    refused(normed(), X[:rows], Y[:rows], f"{advice}\\.$", batch_size=batch_size)


def test_batch_norm_is_found_within_other_layers_and_by_the_shape_of_its_input():
    inner = gn.Residual(gn.Linear(5, 5, rng=0), gn.BatchNorm1d(5))
    refused(gn.Trainer(gn.Sequential(inner, gn.Linear(5, 3, rng=1))), X[:129], Y[:129], ONE)
    long = gn.Sequential(gn.BatchNorm1d(5), gn.Flatten(), gn.Linear(10, 3, rng=1))  # two numbers a row and channel
    rows = np.stack([X[:129], X[:129]], axis=2)
    gn.Trainer(long).fit(rows, Y[:129], epochs=1)
    refused(gn.Trainer(gn.Sequential(gn.BatchNorm1d(5), gn.Flatten(), gn.Linear(5, 3))), rows[:, :, :1], Y[:129], ONE)


@pytest.mark.parametrize("executor", EXECUTORS)
def test_a_last_batch_that_is_dropped_leaves_batches_of_one_size(executor):
    class Note(gn.Callback):
        def __init__(self):
            self.rows, self.total = [], 0

        def on_fit_begin(self, trainer, total_rows):
            self.total = total_rows

        def on_step_end(self, trainer, rows):
            self.rows.append(rows)

    note = Note()
    trainer = normed(executor, [note])
    trainer.fit(X[:129], Y[:129], epochs=2, batch_size=32, drop_last=True)
    assert note.rows == 8 * [32]
    assert note.total == sum(note.rows)
    assert (trainer.epoch, trainer.position, trainer.optimizer.steps) == (2, 0, 8)


@pytest.mark.parametrize("executor", EXECUTORS)
def test_the_rows_left_out_differ_from_epoch_to_epoch_and_the_means_are_of_the_others(executor):
    dropping, whole = normed(executor), normed(executor)
    dropping.fit(X[:129], Y[:129], epochs=1, batch_size=32, drop_last=True)
    order = gn.random.permutation(129, seed=0, epoch=0)[:128]
    whole.fit(X[order], Y[order], epochs=1, batch_size=32, shuffle=False)
    np.testing.assert_array_equal(weights(dropping.model), weights(whole.model))
    assert measured(dropping.history) == measured(whole.history)
    assert gn.random.permutation(129, seed=0, epoch=0)[-1] != gn.random.permutation(129, seed=0, epoch=1)[-1]


def test_without_a_smaller_batch_there_is_nothing_to_drop():
    dropping, plain = normed(), normed()
    dropping.fit(X, Y, epochs=2, batch_size=30, drop_last=True)
    plain.fit(X, Y, epochs=2, batch_size=30)
    np.testing.assert_array_equal(weights(dropping.model), weights(plain.model))


def test_dropping_every_row_is_refused():
    refused(normed(), X[:20], Y[:20], "with drop_last there is no batch of 32 in 20 rows; use a smaller batch_size",
            drop_last=True)  # fmt: skip


def test_an_interrupted_epoch_drops_the_same_rows_after_a_resume():
    class Interrupt(gn.Callback):
        def on_step_end(self, trainer, rows):
            if trainer.optimizer.steps == 2:
                trainer.stop("interrupted")

    one, whole = normed(callbacks=[Interrupt()]), normed()
    for _ in range(2):
        one.fit(X[:129], Y[:129], epochs=1, batch_size=32, drop_last=True)
    whole.fit(X[:129], Y[:129], epochs=1, batch_size=32, drop_last=True)
    np.testing.assert_array_equal(weights(one.model), weights(whole.model))
    assert measured(one.history) == measured(whole.history)


class Picky(gn.Layer):
    """A layer that refuses a batch of one row, although `least_rows` is 1."""

    def forward(self, x, tape=None):
        if len(x) == 1:
            raise ShapeError("one row")
        return x

    def backward(self, dy, tape, *, input_gradient=True):
        return dy


@pytest.mark.filterwarnings("ignore:falling back")
@pytest.mark.parametrize("executor", EXECUTORS)
def test_after_an_error_within_an_epoch_other_data_start_a_new_epoch(executor):
    trainer = gn.Trainer(gn.Sequential(Picky(), gn.Linear(5, 3, rng=0)), executor=executor)
    with pytest.raises(ShapeError, match="one row"):
        trainer.fit(X[:129], Y[:129], epochs=1, batch_size=32)
    assert (trainer.history.stopped, trainer.optimizer.steps, trainer.position) == ("error", 4, 128)
    twin = gn.Trainer(gn.Sequential(Picky(), gn.Linear(5, 3, rng=0)), executor=executor)
    twin.attach()
    twin.model.store.params[...] = trainer.model.store.params
    for name, slot in trainer.model.store.slots.items():
        twin.model.store.slots[name][...] = slot
    twin.optimizer.steps = 4
    for one in (trainer, twin):
        one.fit(X[:60], Y[:60], epochs=1, batch_size=30)
    np.testing.assert_array_equal(weights(trainer.model), weights(twin.model))
    assert measured(trainer.history) == measured(twin.history)  # the means are those of this epoch only
    assert trainer.history.stopped is None


@pytest.mark.filterwarnings("ignore:falling back")
def test_after_an_error_in_a_last_batch_the_same_data_continues_without_it():
    trainer = gn.Trainer(gn.Sequential(Picky(), gn.Linear(5, 3, rng=0)))
    with pytest.raises(ShapeError):
        trainer.fit(X[:129], Y[:129], epochs=1, batch_size=32)
    history = trainer.fit(X[:129], Y[:129], epochs=2, batch_size=32, drop_last=True)
    assert (len(history), trainer.optimizer.steps) == (2, 8)


def test_after_an_interruption_other_data_is_refused_as_before():
    class Interrupt(gn.Callback):
        def on_step_end(self, trainer, rows):
            trainer.stop("interrupted")

    trainer = normed(callbacks=[Interrupt()])
    trainer.fit(X, Y, epochs=1, batch_size=30)
    with pytest.raises(DataError, match="the interrupted epoch had 150"):
        trainer.fit(X[:60], Y[:60], epochs=1)


@pytest.mark.parametrize("executor", EXECUTORS)
def test_a_step_on_a_batch_of_one_row_is_refused_and_the_next_one_runs(executor):
    trainer = normed(executor)
    with pytest.raises(ShapeError, match="a single value per channel has no variance"):
        trainer.step(X[:1], Y[:1])
    trainer.step(X[:2], Y[:2])
    assert trainer.optimizer.steps == 1
