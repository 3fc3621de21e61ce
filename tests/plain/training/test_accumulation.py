"""Gradient accumulation: several batches give the update of one large batch."""

import numpy as np
import pytest
from problems import classification, measured, net, weights

import gpunet as gn
from gpunet.errors import ArgumentError, DataError, StateError
from gpunet.training.distributed import Ranks
from gpunet.training.step import Step

X, Y = classification(90)
WEIGHT = np.linspace(0, 2, 90)
EXECUTORS = ["auto", "numpy", "eager"]
TOLERANCE = {"float64": 1e-10, "float32": 1e-5}


def trainer(accumulate, executor="auto", dtype="float64", dropout=0.2, **options):
    outputs = options.pop("outputs", 3)
    return gn.Trainer(
        net(outputs, dropout).to(dtype=dtype),
        optimizer=options.pop("optimizer", None) or gn.Adam(0.01),
        accumulate=accumulate,
        executor=executor,
        **options,
    )


def assert_alike(one, other, tolerance=1e-10):
    assert one.optimizer.steps == other.optimizer.steps
    np.testing.assert_allclose(weights(one.model), weights(other.model), atol=tolerance)
    assert one.history.columns == other.history.columns
    for column in set(one.history.columns) - {"seconds"}:
        np.testing.assert_allclose(one.history[column], other.history[column], rtol=10 * tolerance)


LOSSES = {
    "labels": (gn.CrossEntropyLoss, Y),
    "weighted classes": (lambda: gn.CrossEntropyLoss(class_weight=[1, 2, 3]), Y),
    "balanced classes": (lambda: gn.CrossEntropyLoss(class_weight="balanced"), np.minimum(Y * Y, 2)),
    "soft labels": (gn.CrossEntropyLoss, np.eye(3)[Y]),
    "squares": (gn.MSELoss, X[:, :3]),
    "binary": (gn.BCEWithLogitsLoss, np.eye(3)[Y]),
    "weighted answers": (lambda: gn.BCEWithLogitsLoss(class_weight=[1, 3]), Y == 1),
}


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("executor", EXECUTORS)
@pytest.mark.parametrize("weight", [None, WEIGHT], ids=["alike", "weighted"])
@pytest.mark.parametrize("loss", LOSSES)
def test_four_batches_of_8_equal_one_of_32_and_the_last_26_rows_one_of_26(loss, weight, executor, dtype):
    make, y = LOSSES[loss]
    outputs = 1 if loss == "weighted answers" else 3
    runs = [trainer(accumulate, executor, dtype, loss=make(), outputs=outputs) for accumulate in (4, 1)]
    for run, batch_size in zip(runs, (8, 32), strict=True):
        run.fit(X, y, epochs=5, batch_size=batch_size, sample_weight=weight)
    assert runs[0].optimizer.steps == 15
    assert_alike(*runs, TOLERANCE[dtype])


OPTIMIZERS = {
    "clipped": lambda: gn.SGD(0.1, momentum=0.9, clip_norm=0.2, clip_value=0.1),
    "a schedule": lambda: gn.AdamW(gn.CosineLR(0.05, 12)),
    "plateau": lambda: gn.RMSprop(gn.ReduceLROnPlateau(0.01, patience=0, threshold=0.5)),
}


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_clipping_and_schedules_see_the_sum(optimizer):
    runs = [trainer(accumulate, optimizer=OPTIMIZERS[optimizer]()) for accumulate in (4, 1)]
    for run, batch_size in zip(runs, (8, 32), strict=True):
        run.fit(X, Y, epochs=5, batch_size=batch_size, validation=0.1)
    assert_alike(*runs)


@pytest.mark.parametrize("executor", EXECUTORS)
def test_a_step_splits_its_rows_and_returns_their_loss(executor):
    loss = gn.CrossEntropyLoss(class_weight=[1, 2, 3])
    runs = [trainer(accumulate, executor, loss=loss) for accumulate in (4, 1)]
    for rows in (slice(0, 32), slice(32, 64), slice(64, 67), slice(67, 90)):
        given = X[rows].astype(np.float64), Y[rows], WEIGHT[rows]
        values = [float(run.step(*given)) for run in runs]
        np.testing.assert_allclose(*values, rtol=1e-12)
    assert_alike(*runs)


def test_dropped_rows_are_those_that_fill_no_batch():
    dropped, short = trainer(4), trainer(4)
    dropped.fit(X, Y, epochs=2, batch_size=8, drop_last=True, shuffle=False)
    short.fit(X[:88], Y[:88], epochs=2, batch_size=8, shuffle=False)
    assert_alike(dropped, short)


def test_a_part_with_zero_weight_does_not_count():
    weight = np.where(np.arange(90) < 16, 0.0, 1.0)
    runs = [trainer(accumulate, dropout=0.0, optimizer=gn.SGD(0.1)) for accumulate in (4, 1)]
    for run, batch_size in zip(runs, (8, 32), strict=True):
        run.fit(X, Y, epochs=1, batch_size=batch_size, shuffle=False, sample_weight=weight)
    assert_alike(*runs)


@pytest.mark.parametrize("executor", EXECUTORS)
@pytest.mark.filterwarnings("ignore:epoch 1. from step", "ignore:overflow", "ignore:invalid value")
def test_an_update_with_one_non_finite_batch_gradient_is_skipped(executor):
    x = X.astype(np.float64)
    x[40] = 1e200
    run = trainer(4, executor, dropout=0.0, loss=gn.MSELoss(), optimizer=gn.SGD(0.01))
    run.fit(x, X[:, :3], epochs=1, batch_size=8, shuffle=False)
    assert run.optimizer.first_skipped == 2
    assert np.isfinite(weights(run.model)).all()


class Interrupt(gn.Callback):
    def on_step_end(self, trainer, rows):
        if trainer.optimizer.steps == 3:
            trainer.stop("interrupted")


@pytest.mark.parametrize("weight", [None, WEIGHT], ids=["alike", "weighted"])
@pytest.mark.parametrize("executor", EXECUTORS)
def test_a_training_interrupted_within_an_epoch_resumes_bitwise(executor, weight, tmp_path):
    asked = {"batch_size": 7, "sample_weight": weight}
    whole = trainer(3, executor, ema=0.9)
    whole.fit(X, Y, epochs=3, **asked)
    first = trainer(3, executor, ema=0.9, callbacks=[Interrupt(), gn.Checkpoint(tmp_path / "run")])
    first.fit(X, Y, epochs=3, **asked)
    resumed = gn.Trainer.resume(tmp_path / "run")
    assert (resumed.accumulate, resumed.position, resumed.optimizer.steps) == (3, 63, 3)
    resumed.fit(X, Y, epochs=3 - resumed.epoch, **asked)
    np.testing.assert_array_equal(weights(resumed.model), weights(whole.model))
    np.testing.assert_array_equal(weights(resumed.ema_model()), weights(whole.ema_model()))
    assert measured(resumed.history) == measured(whole.history)


@pytest.mark.parametrize("executor", EXECUTORS)
def test_a_fit_with_another_batch_size_records_new_steps(executor, tmp_path):
    run = trainer(4, executor)
    run.fit(X[:20], Y[:20], epochs=1, batch_size=8)  # 8, 8 and 4 rows
    run.save(tmp_path / "run")
    resumed = gn.Trainer.resume(tmp_path / "run")
    for one in (run, resumed):
        one.fit(X[:20], Y[:20], epochs=1, batch_size=5)
    np.testing.assert_array_equal(weights(run.model), weights(resumed.model))


@pytest.mark.parametrize("loss", ["labels", "weighted classes"])
@pytest.mark.parametrize("weight", [None, WEIGHT], ids=["alike", "weighted"])
@pytest.mark.parametrize("executor", EXECUTORS)
def test_batches_of_an_iterable_and_memory_mapped_ones_make_the_steps_of_arrays(executor, weight, loss, tmp_path):
    asked = {"batch_size": 8, "epochs": 2, "shuffle": False}
    runs = [trainer(4, executor, loss=LOSSES[loss][0]()) for _ in range(3)]
    runs[0].fit(X, Y, sample_weight=weight, **asked)
    parts = [X, Y] if weight is None else [X, Y, weight / weight.mean()]
    batches = [tuple(a[start : start + 8] for a in parts) for start in range(0, 90, 8)]
    runs[1].fit(batches, epochs=2)
    np.save(tmp_path / "x.npy", X)
    runs[2].fit(np.load(tmp_path / "x.npy", mmap_mode="r"), Y, sample_weight=weight, **asked)
    for run in runs[1:]:
        assert run.optimizer.steps == 6
        assert_alike(run, runs[0])


def test_one_call_runs_many_updates(monkeypatch):
    asked, real = [], Step.run
    monkeypatch.setattr(Step, "run", lambda self, steps=1: (asked.append(steps), real(self, steps))[1])
    monkeypatch.setattr("gpunet.training.epochs._steps_of_a_call", lambda step: 5)
    trainer(2).fit(X, Y, epochs=1, batch_size=3)
    assert asked == [5, 5, 5]


def test_batch_norm_is_refused_before_the_first_step():
    layers = gn.Linear(5, 8), gn.Residual(gn.BatchNorm1d(8)), gn.Linear(8, 3)
    with pytest.raises(ArgumentError, match=r"with accumulate=2 BatchNorm1d\(8\) would normalise over each batch"):
        gn.Trainer(gn.Sequential(*layers), accumulate=2)


def test_accumulate_accepts_a_frozen_batch_norm_until_it_is_unfrozen():
    layers = gn.Linear(5, 8, rng=0), gn.BatchNorm1d(8), gn.Linear(8, 3, rng=1)
    model = gn.Sequential(*layers)
    gn.Trainer(model).fit(X, Y, epochs=1)
    model.freeze("1.*")
    runs = [gn.Trainer(model.__copy__(), optimizer=gn.SGD(0.1), accumulate=accumulate) for accumulate in (4, 1)]
    for run, batch_size in zip(runs, (8, 32), strict=True):
        run.fit(X, Y, epochs=2, batch_size=batch_size)
    assert_alike(*runs, 1e-5)
    runs[0].model.unfreeze("1.*")
    before = weights(runs[0].model)
    with pytest.raises(ArgumentError, match="with accumulate=4 BatchNorm1d"):
        runs[0].fit(X, Y, epochs=1)
    np.testing.assert_array_equal(weights(runs[0].model), before)


@pytest.mark.parametrize("accumulate", [0, -1, 1.5, "4"])
def test_an_invalid_number_of_batches_is_refused(accumulate):
    with pytest.raises(ArgumentError, match="Trainer: accumulate must be a whole number of at least 1"):
        gn.Trainer(net(), accumulate=accumulate)


def test_a_trainer_can_continue_after_an_error_within_a_step():
    whole, run = trainer(4, "eager", dropout=0.0), trainer(4, "eager", dropout=0.0)
    forward, calls = run.model.forward, []

    def fail(x, tape=None):
        calls.append(len(x))
        if len(calls) == 3:
            raise DataError("a planted error")
        return forward(x, tape)

    vars(run.model)["forward"] = fail
    with pytest.raises(DataError, match="planted"):
        run.fit(X, Y, epochs=1, batch_size=8)
    del vars(run.model)["forward"]
    run.fit(X, Y, epochs=1, batch_size=8)
    whole.fit(X, Y, epochs=1, batch_size=8)
    assert run.optimizer.steps == 3
    np.testing.assert_array_equal(weights(run.model), weights(whole.model))


class TwoRanks:
    """A communicator of two ranks that are always alike."""

    rank, size = 0, 2

    def allgather(self, thing):
        return [thing, thing]


def test_several_ranks_are_refused_before_the_first_step():
    run = trainer(4)
    run.ranks = Ranks(TwoRanks())
    for train in (run.fit, lambda X, y: run.step(X.astype(np.float64), y)):
        with pytest.raises(
            ArgumentError, match="Trainer: accumulate=4 works in one process only, but 2 ranks share each"
        ):
            train(X, Y)
    assert run.optimizer.steps == 0
    with pytest.raises(StateError, match="find_lr works in one process"):
        run.find_lr(X, Y)
