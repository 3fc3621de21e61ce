"""The callbacks: progress bar, early stopping, checkpoints, logs, and TerminateOnNaN."""

import csv
import io
import json
import math
import re

import numpy as np
import pytest
from problems import classification, measured, net, weights

import gpunet as gn
from gpunet.errors import ArgumentError
from gpunet.training import Monitor

X, Y = classification()

NOT_FINITE = pytest.mark.filterwarnings("ignore:epoch .* gradients were not finite")


class Play(gn.Callback):
    """Set the validation loss of each epoch to a given value, and keep the weights at the end of each epoch."""

    def __init__(self, *values):
        self.values = values
        self.weights = []

    def on_epoch_end(self, trainer, row):
        row["val_loss"] = self.values[len(self.weights)]
        self.weights.append(weights(trainer.model))


class Poison(gn.Callback):
    """Make a weight NaN after a step."""

    def __init__(self, after):
        self.after = after

    def on_step_end(self, trainer, rows):
        if trainer.optimizer.steps == self.after:
            trainer.model[0].params["weight"][0, 0] = np.nan


# the order of the calls


def test_callbacks_are_called_in_their_order_and_checkpoints_last(tmp_path):
    calls = []

    class Note(gn.Callback):
        def __init__(self, name):
            self.name = name

        def on_fit_begin(self, trainer, total_rows):
            calls.append((self.name, "begin", total_rows))

        def on_step_end(self, trainer, rows):
            calls.append((self.name, "step", rows))

        def on_epoch_end(self, trainer, row):
            calls.append((self.name, "epoch", row["epoch"]))

        def on_fit_end(self, trainer):
            calls.append((self.name, "end", trainer.history.stopped))

        def state(self):
            calls.append((self.name, "state", trainer.epoch))
            return {}

    notes = [Note("a"), gn.Checkpoint(tmp_path / "c.safetensors"), Note("b")]
    trainer = gn.Trainer(net(), callbacks=notes)
    trainer.fit(X, Y, epochs=1, batch_size=40)
    both = [("begin", 60), ("step", 40), ("step", 20), ("epoch", 1), ("state", 1), ("end", None)]
    assert calls == [(name, *call) for call in both for name in "ab"]


@pytest.mark.parametrize("executor", ["auto", "numpy", "eager"])
def test_a_callback_sees_each_step_or_all_steps_of_a_call(executor):
    class Steps(gn.Callback):
        def __init__(self):
            self.calls = []

        def on_steps_end(self, trainer, steps, rows):
            self.calls.append((steps, rows, trainer.position, trainer.optimizer.steps))

    class EachStep(gn.Callback):
        rows = ()

        def on_step_end(self, trainer, rows):
            self.rows = (*self.rows, rows)

    alone, together, each = Steps(), Steps(), EachStep()
    for callbacks in ([alone], [together, each]):
        gn.Trainer(net(), callbacks=callbacks, executor=executor).fit(X, Y, epochs=2, batch_size=7)
    for calls in (alone.calls, together.calls):
        assert sum(steps for steps, *_ in calls) == 2 * 9
        assert sum(rows for _, rows, *_ in calls) == 2 * 60
        done = 0
        for steps, rows, position, of_optimizer in calls:
            done += steps
            assert of_optimizer == done
            assert rows in (7 * steps, 4)
            assert 0 < position <= 60
    assert [steps for steps, *_ in together.calls] == 18 * [1]
    assert each.rows == 2 * (*8 * [7], 4)


def test_a_callback_can_end_the_training():
    class Stop(gn.Callback):
        def on_step_end(self, trainer, rows):
            trainer.stop("enough")

    history = gn.Trainer(net(), callbacks=[Stop()]).fit(X, Y, epochs=5, batch_size=10)
    assert (len(history), history.stopped) == (1, "enough")


def test_the_end_of_fit_is_called_also_after_an_error():
    ended = []

    class Fail(gn.Callback):
        def on_step_end(self, trainer, rows):
            raise ZeroDivisionError

        def on_fit_end(self, trainer):
            ended.append(trainer.history.stopped)

    trainer = gn.Trainer(net(), callbacks=[Fail()])
    with pytest.raises(ZeroDivisionError):
        trainer.fit(X, Y)
    assert ended == ["error"]


# the progress bar


def test_the_bar_shows_epoch_loss_metric_and_rate(monkeypatch):
    monkeypatch.delenv("COLUMNS", raising=False)  # no limit on the width of the bar
    shown = io.StringIO()
    history = gn.Trainer(net(), callbacks=[gn.ProgressBar(file=shown)]).fit(X, Y, epochs=2, validation=0.2)
    last = shown.getvalue().rsplit("\r", 1)[-1]
    assert last.startswith("epoch 2: 100%")
    assert "96.0/96.0" in last
    assert re.search(r"[\d.]+k? samples/s", last)
    for name in ("loss", "accuracy", "val_loss", "val_accuracy"):
        assert f"{name}={history.last[name]:.4g}" in last
    assert "seconds" not in last
    assert last.endswith("\n")


# early stopping


@pytest.mark.parametrize(
    ("losses", "patience", "min_delta", "best", "stopped"),
    [
        ([3, 2, 1, 2, 2, 2], 2, 0, 3, "early stopping"),
        ([3, 2, 3, 1, 2, 2], 2, 0, 4, "early stopping"),
        ([3, 2, 2.5], 2, 0, 2, None),
        ([3, 2.9, 2.8, 2.7], 2, 0.5, 1, "early stopping"),
        ([3, math.nan, 1, math.nan], 2, 0, 3, None),
        ([math.nan, 2, 3], 2, 0, 2, None),
    ],
)
def test_early_stopping_stops_and_restores_the_best_weights(losses, patience, min_delta, best, stopped):
    play = Play(*losses)
    stopping = gn.EarlyStopping(patience, monitor="val_loss", min_delta=min_delta)
    trainer = gn.Trainer(net(), callbacks=[play, stopping])
    history = trainer.fit(X, Y, epochs=len(losses))
    assert history.stopped == stopped
    np.testing.assert_array_equal(weights(trainer.model), play.weights[best - 1])


def test_restore_best_false_keeps_the_last_weights():
    play = Play(1, 2, 3, 4)
    trainer = gn.Trainer(net(), callbacks=[play, gn.EarlyStopping(2, restore_best=False)])
    assert len(trainer.fit(X, Y, epochs=4)) == 3
    np.testing.assert_array_equal(weights(trainer.model), play.weights[-1])


class Follow(Monitor):
    """Note for each epoch whether it is the best so far."""

    def __init__(self, *args, **options):
        super().__init__(*args, **options)
        self.improvements = []

    def on_epoch_end(self, trainer, row):
        self.improvements.append(self.improved(row))


class Rows(gn.Callback):
    """Set columns of the history to given values, one per epoch."""

    def __init__(self, **columns):
        self.columns = columns

    def on_epoch_end(self, trainer, row):
        row |= {name: values[row["epoch"] - 1] for name, values in self.columns.items()}


def auc(target, prediction):
    return 0.5


def declared(greater_is_better):
    def metric(target, prediction):
        return 0.5

    metric.greater_is_better = greater_is_better
    return metric


def improves(metrics=None, monitor=None, mode=None, **columns):
    """Return whether a monitor finds the second of two epochs better, if the columns have these values."""
    follow = Follow(monitor, mode=mode)
    trainer = gn.Trainer(net(), callbacks=[Rows(**columns), follow], metrics=metrics)
    trainer.fit(X, Y, epochs=2, validation=(X, Y))
    assert follow.improvements[0]
    return follow.improvements[1]


@pytest.mark.parametrize(
    ("columns", "monitor", "better"),
    [
        ({"loss": [2, 1], "val_loss": [1, 2]}, None, False),
        ({"loss": [2, 1], "val_loss": [1, 2]}, "loss", True),
        ({"accuracy": [0.5, 0.6]}, "accuracy", True),
        ({"val_accuracy": [0.5, 0.6]}, "val_accuracy", True),
        ({"val_f1": [0.5, 0.6]}, "val_f1", True),
        ({"val_top": [0.5, 0.4]}, "val_top", False),
        ({"val_r2": [0.5, 0.4]}, "val_r2", False),
        ({"val_mae": [0.5, 0.4]}, "val_mae", True),
    ],
)
def test_a_monitor_uses_the_direction_that_gpunet_metrics_declare(columns, monitor, better):
    own = gn.metrics
    of_labels = {"accuracy": own.accuracy, "f1": own.macro_f1, "top": own.top_k_accuracy}
    of_values = {"r2": lambda t, p: 0.5, "mae": lambda t, p: 0.5}  # stand in for metrics of regression
    for name, metric in (("r2", own.r2_score), ("mae", own.mean_absolute_error)):
        of_values[name].greater_is_better = metric.greater_is_better
    assert improves(of_labels | of_values, monitor, **columns) is better


@pytest.mark.parametrize(("greater", "better"), [(True, True), (False, False)])
def test_a_user_metric_declares_its_direction(greater, better):
    assert improves({"auc": declared(greater)}, "val_auc", val_auc=[0.5, 0.6]) is better
    assert improves({"auc": gn.metrics.direction(greater_is_better=greater)(lambda t, p: 0.5)}, "val_auc",
                    val_auc=[0.5, 0.6]) is better  # fmt: skip


@pytest.mark.parametrize(("mode", "better"), [("max", True), ("min", False)])
def test_mode_overrides_the_direction_that_the_metric_declares(mode, better):
    for metric in (auc, declared(True), declared(False)):
        assert improves({"auc": metric}, "val_auc", mode, val_auc=[0.5, 0.6]) is better
    assert improves({}, "of_a_callback", mode, of_a_callback=[0.5, 0.6]) is better
    with pytest.raises(ArgumentError, match="mode must be 'min', 'max' or None"):
        gn.EarlyStopping(monitor="val_auc", mode="best")


@pytest.mark.parametrize("kind", ["EarlyStopping", "Checkpoint"])
def test_an_unknown_direction_is_refused_before_the_first_step(kind, tmp_path):
    if kind == "EarlyStopping":
        callback = gn.EarlyStopping(3, monitor="val_auc")
    else:
        callback = gn.Checkpoint(tmp_path / "best.safetensors", best=True, monitor="val_auc")
    trainer = gn.Trainer(net(), callbacks=[callback], metrics={"auc": auc})
    with pytest.raises(
        ArgumentError, match=f"{kind}: unknown whether larger or smaller 'val_auc' is better; give mode='max'"
    ):
        trainer.fit(X, Y, validation=0.2)
    assert trainer.optimizer.steps == 0
    callback.mode = "max"
    trainer.fit(X, Y, validation=0.2, epochs=1)


@pytest.mark.parametrize("mode", [None, "max"])
def test_early_stopping_and_the_best_checkpoint_keep_the_epoch_of_the_largest_auc(mode, tmp_path):
    path = tmp_path / "best.safetensors"
    metrics = {"auc": auc if mode else declared(True)}
    kept = [gn.Checkpoint(path, best=True, monitor="val_auc", mode=mode), gn.EarlyStopping(2, monitor="val_auc",
            mode=mode)]  # fmt: skip
    play = Play(*7 * [1])
    trainer = gn.Trainer(net(), callbacks=[play, Rows(val_auc=[0.6, 0.7, 0.9, 0.8, 0.8]), *kept], metrics=metrics)
    history = trainer.fit(X, Y, epochs=5, validation=(X, Y))
    assert (len(history), history.stopped) == (5, "early stopping")
    np.testing.assert_array_equal(weights(trainer.model), play.weights[2])
    assert gn.Trainer.resume(path).epoch == 3


def test_a_fit_after_early_stopping_restarts_patience_and_keeps_the_best():
    play = Play(1, 2, 2, 2, 2, 2)
    trainer = gn.Trainer(net(), callbacks=[play, gn.EarlyStopping(2, monitor="val_loss")])
    assert len(trainer.fit(X, Y, epochs=6)) == 3
    history = trainer.fit(X, Y, epochs=3)
    assert (len(history), history.stopped) == (5, "early stopping")
    np.testing.assert_array_equal(weights(trainer.model), play.weights[0])


@pytest.mark.parametrize(("monitor", "hint"), [("val_f1", "; give fit validation data"), ("val_loss", ""), ("f1", "")])
@pytest.mark.parametrize("kind", [gn.EarlyStopping, lambda **given: gn.Checkpoint("run", best=True, **given)])
def test_a_monitor_of_a_missing_column_names_those_there_are_before_the_first_step(kind, monitor, hint):
    trainer = gn.Trainer(net(), callbacks=[kind(monitor=monitor, mode="max")])
    said = f": no column '{monitor}' to monitor; there are epoch, loss, accuracy, lr, seconds{hint}"
    with pytest.raises(ArgumentError, match=said):
        trainer.fit(X, Y)
    assert trainer.optimizer.steps == 0


def test_a_user_callback_may_add_a_column_that_another_callback_monitors():
    trainer = gn.Trainer(net(), callbacks=[Rows(score=[3, 2, 1]), gn.EarlyStopping(2, monitor="score", mode="max")])
    assert len(trainer.fit(X, Y, epochs=5)) == 3


# checkpoints


def test_a_checkpoint_is_written_every_n_epochs_with_the_epoch_in_its_name(tmp_path):
    trainer = gn.Trainer(net(), callbacks=[gn.Checkpoint(tmp_path / "run-{epoch}.safetensors", every=2)])
    trainer.fit(X, Y, epochs=5)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["run-2.safetensors", "run-4.safetensors"]
    assert gn.Trainer.resume(tmp_path / "run-4.safetensors").epoch == 4


def test_a_checkpoint_of_the_best_holds_the_best(tmp_path):
    path = tmp_path / "best.safetensors"
    play = Play(3, 1, 2, math.nan, 1)
    trainer = gn.Trainer(net(), callbacks=[gn.Checkpoint(path, best=True), play])
    trainer.fit(X, Y, epochs=5)
    best = gn.Trainer.resume(path)
    assert best.epoch == 2
    np.testing.assert_array_equal(weights(best.model), play.weights[1])


def test_an_error_in_a_step_does_not_change_the_last_checkpoint(tmp_path):
    path = tmp_path / "c.safetensors"

    class Interrupt(gn.Callback):
        def on_step_end(self, trainer, rows):
            if trainer.optimizer.steps == 3:
                trainer.stop("interrupted")
                raise KeyboardInterrupt  # a second Ctrl-C, which may come in the middle of an update

    trainer = gn.Trainer(net(), callbacks=[Interrupt(), gn.Checkpoint(path)])
    with pytest.raises(KeyboardInterrupt):
        trainer.fit(X, Y, epochs=4, batch_size=30)
    assert gn.Trainer.resume(path).optimizer.steps == 2


# logs


def read_log(path):
    if path.suffix == ".csv":
        with open(path, newline="", encoding="utf-8") as file:
            return [{name: float(value) for name, value in row.items() if value} for row in csv.DictReader(file)]
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


@pytest.mark.parametrize("name", ["log.jsonl", "log.csv"])
def test_a_log_grows_with_each_epoch_and_holds_the_history(name, tmp_path):
    path, lengths = tmp_path / name, []

    class Watch(gn.Callback):
        def on_epoch_end(self, trainer, row):
            lengths.append(len(read_log(path)))

    path.write_text("of an older training\n")
    history = gn.Trainer(net(), callbacks=[gn.Log(path), Watch()]).fit(X, Y, epochs=3, validation=0.2)
    assert lengths == [1, 2, 3]
    assert read_log(path) == history.epochs


@pytest.mark.parametrize("name", ["log.jsonl", "log.csv"])
def test_a_log_continues_with_a_resumed_training(name, tmp_path):
    path = tmp_path / name
    trainer = gn.Trainer(net(), callbacks=[gn.Log(path)])
    trainer.fit(X, Y, epochs=2)
    trainer.save(tmp_path / "run.safetensors")
    path.unlink()
    resumed = gn.Trainer.resume(tmp_path / "run.safetensors", callbacks=[gn.Log(path)])
    history = resumed.fit(X, Y, epochs=2, validation=0.2)  # with columns that the first epochs lack
    assert read_log(path) == history.epochs
    assert len(history) == 4


@NOT_FINITE
def test_a_log_is_valid_json_even_with_a_nan_loss(tmp_path):
    path = tmp_path / "log.jsonl"
    trainer = gn.Trainer(net(), callbacks=[gn.Log(path), gn.TerminateOnNaN(), Poison(after=1)])
    trainer.fit(X, Y, epochs=3, batch_size=20)

    def refuse(constant):
        raise AssertionError(f"{constant} is not JSON")

    (row,) = [json.loads(line, parse_constant=refuse) for line in path.read_text().splitlines()]
    assert row["loss"] is None
    assert row["epoch"] == 1


@pytest.mark.parametrize("name", ["log.jsonl", "log.csv"])
def test_a_log_that_cannot_be_written_is_refused_before_the_first_step(name, tmp_path):
    trainer = gn.Trainer(net(), callbacks=[gn.Log(tmp_path / "nowhere" / name)])
    with pytest.raises(FileNotFoundError, match="nowhere"):
        trainer.fit(X, Y)
    assert trainer.optimizer.steps == 0


# NaN


@NOT_FINITE
@pytest.mark.parametrize("last_step", [False, True], ids=["the loss is NaN", "only the weights are NaN"])
@pytest.mark.parametrize("validation", [None, (X, Y)], ids=["alone", "with validation"])
def test_training_stops_on_nan_with_the_last_finite_weights(last_step, validation):
    trainer = gn.Trainer(net(), optimizer=gn.SGD(0.01, momentum=0.9))
    trainer.fit(X, Y, epochs=2, batch_size=20)
    before = weights(trainer.model)
    trainer.callbacks = [Poison(after=9 if last_step else 8), gn.TerminateOnNaN()]
    history = trainer.fit(X, Y, epochs=5, batch_size=20, validation=validation)
    assert math.isfinite(history.last["loss"]) is last_step
    assert math.isnan(history.last.get("val_accuracy", math.nan))
    assert (len(history), history.stopped) == (3, "non-finite loss")
    np.testing.assert_array_equal(weights(trainer.model), before)


@NOT_FINITE
def test_training_can_go_on_after_nan():
    trainer = gn.Trainer(net(), optimizer=gn.Adam(), callbacks=[Poison(after=2), gn.TerminateOnNaN()])
    trainer.fit(X, Y, epochs=2, batch_size=20)
    history = trainer.fit(X, Y, epochs=2, batch_size=20)
    assert history.stopped is None
    assert np.isfinite(weights(trainer.model)).all()


@NOT_FINITE
@pytest.mark.parametrize("monitor", ["loss", "accuracy"])
@pytest.mark.parametrize("after", [2, 3], ids=["the loss is NaN", "only the weights are NaN"])
@pytest.mark.parametrize("nan_first", [False, True])
def test_early_stopping_never_restores_nan_weights(monitor, after, nan_first):
    callbacks = [gn.EarlyStopping(monitor=monitor), gn.TerminateOnNaN()]
    model = net()
    before = weights(model)
    trainer = gn.Trainer(model, callbacks=[Poison(after), *(callbacks[::-1] if nan_first else callbacks)])
    assert trainer.fit(X, Y, epochs=3, batch_size=20).stopped == "non-finite loss"
    np.testing.assert_array_equal(weights(model), before)


def test_a_finite_training_is_not_changed():
    plain, watched = gn.Trainer(net()), gn.Trainer(net(), callbacks=[gn.TerminateOnNaN()])
    plain.fit(X, Y, epochs=2)
    watched.fit(X, Y, epochs=2)
    assert watched.history.stopped is None
    assert measured(watched.history) == measured(plain.history)
    np.testing.assert_array_equal(weights(watched.model), weights(plain.model))


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: gn.EarlyStopping(0), "EarlyStopping: patience must be a whole number of at least 1, got 0"),
        (
            lambda: gn.Checkpoint("c.safetensors", every=0),
            "Checkpoint: every must be a whole number of at least 1, got 0",
        ),
    ],
)
def test_counts_below_one_are_refused(make, said):
    with pytest.raises(ArgumentError, match=said):
        make()


def test_a_callback_used_in_another_training_is_reset():
    X, y = classification()
    stopping = gn.EarlyStopping(2)
    first, second, alone = (gn.Trainer(gn.MLP([5, 4, 3], seed=k), callbacks=c) for k, c in
                            ((0, [stopping]), (1, [stopping]), (1, [gn.EarlyStopping(2)])))  # fmt: skip
    for trainer in (first, second, alone):
        trainer.fit(X, y, epochs=8, validation=0.25)
    assert second.history["loss"] == alone.history["loss"]
    np.testing.assert_array_equal(second.model.store.params, alone.model.store.params)


def test_a_checkpoint_s_missing_folder_is_named_before_the_first_step(tmp_path):
    trainer = gn.Trainer(gn.MLP([5, 3]), callbacks=[gn.Checkpoint(tmp_path / "missing" / "run")])
    with pytest.raises(ArgumentError, match=r"the folder .*missing does not exist"):
        trainer.fit(*classification(), epochs=1)
    assert trainer.optimizer.steps == 0


@NOT_FINITE
def test_an_epoch_that_diverged_before_an_interruption_restores_finite_weights_after_a_resume(tmp_path):
    class Interrupt(gn.Callback):
        def on_step_end(self, trainer, rows):
            if trainer.optimizer.steps == 6:
                trainer.model.store.params[...] = np.nan
                trainer.stop("interrupted")

    X, y = classification()
    callbacks = [gn.TerminateOnNaN(), gn.Checkpoint(tmp_path / "run"), Interrupt()]
    trainer = gn.Trainer(gn.MLP([5, 4, 3]), callbacks=callbacks)
    trainer.fit(X, y, epochs=2, batch_size=5)
    resumed = gn.Trainer.resume(tmp_path / "run", callbacks=[gn.TerminateOnNaN()])
    assert resumed.position
    assert not np.isfinite(resumed.model.store.params).all()
    resumed.fit(X, y, epochs=1, batch_size=5)
    assert resumed.history.stopped == "non-finite loss"
    assert np.isfinite(resumed.model.store.params).all()
