"""The recorded step equals the eager step bitwise, and is never out of date."""

import warnings

import numpy as np
import pandas as pd
import pytest
from own_layers import Scale
from own_optimizers import Shrinking
from problems import classification, weights

import gpunet as gn
from gpunet.errors import ArgumentError, DataError, DeviceError, OutOfMemoryError, StateError
from gpunet.native import why_unavailable
from gpunet.recording import do

X, Y = classification(80)

OPTIMIZERS = {
    "adam": lambda: gn.Adam(0.01),
    "sgd": lambda: gn.SGD(0.05, momentum=0.9, nesterov=True, weight_decay=0.01),
    "clipped": lambda: gn.AdamW(gn.CosineLR(0.01, 60), clip_norm=0.1),
    "values clipped": lambda: gn.RMSprop(0.01, clip_value=0.01),
}


def trainer(executor, *, sizes=(5, 16, 8, 3), optimizer="adam", dropout=0.2, dtype="float32", loss=None, **options):
    model = gn.MLP(sizes, dropout=dropout, seed=0).to(dtype=dtype)
    return gn.Trainer(model, optimizer=OPTIMIZERS[optimizer](), loss=loss, seed=3, executor=executor, **options)


def state(trainer):
    store = trainer.model.store
    return [gn.to_host(a).copy() for a in (store.params, *store.slots.values())]


def assert_same(first, second):
    for a, b in zip(state(first), state(second), strict=True):
        np.testing.assert_array_equal(a, b)
    assert first.history["loss"] == second.history["loss"]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_fifty_replayed_steps_give_the_bits_of_eager_steps(optimizer, dtype):
    pair = [trainer(executor, optimizer=optimizer, dtype=dtype) for executor in ("numpy", "eager")]
    for one in pair:
        one.fit(X, Y, epochs=10, batch_size=17, sample_weight=np.linspace(0, 2, 80))  # the last batch is a smaller one
    assert pair[0].optimizer.steps == 50
    assert_same(*pair)


@pytest.mark.parametrize(
    ("loss", "outputs", "y"),
    [
        (gn.CrossEntropyLoss(0.1, class_weight=[1, 2, 3]), 3, Y),
        (gn.CrossEntropyLoss(), 3, np.eye(3)[Y]),
        (gn.BCEWithLogitsLoss(), 2, np.stack([Y > 0, Y > 1], axis=1)),
        (gn.MSELoss(), 1, X[:, :1]),
        (gn.HuberLoss(0.5), 1, X[:, :1]),
        (gn.QuantileLoss(0.9), 1, X[:, :1]),
        (gn.PoissonNLLLoss(), 1, Y),
        (gn.PoissonNLLLoss(log_input=False, eps=99.0), 1, Y),
    ],
    ids=lambda value: type(value).__name__,
)
@pytest.mark.parametrize("weight", [None, np.linspace(0, 2, 80)], ids=["alike", "weighted"])
def test_every_loss_is_replayed(loss, outputs, y, weight):
    pair = [trainer(executor, sizes=(5, 8, outputs), loss=loss) for executor in ("numpy", "eager")]
    for one in pair:
        one.fit(X, y, epochs=3, batch_size=20, sample_weight=weight)
    assert_same(*pair)


@pytest.mark.parametrize(
    "activation",
    ["relu", "leaky_relu", "elu", "selu", "sigmoid", "tanh", "soft_clip", "softplus", "silu", "gelu", "gelu_tanh"],
)
def test_every_activation_is_replayed(activation):
    pair = [gn.Trainer(gn.MLP([5, 8, 8, 3], activation), executor=executor) for executor in ("numpy", "eager")]
    for one in pair:
        one.fit(X, Y, epochs=2, batch_size=20)
    assert_same(*pair)


def test_single_steps_are_replayed_over_the_batches_given():
    pair = [trainer(executor) for executor in ("numpy", "eager")]
    for rows in (slice(0, 20), slice(20, 40), slice(40, 60), slice(60, 80), slice(0, 7), slice(3, 10), slice(8, 15)):
        losses = [float(one.step(X[rows], Y[rows])) for one in pair]
        assert losses[0] == losses[1]
    for a, b in zip(*map(state, pair), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("executor", ["auto", "numpy"])
def test_a_replayed_step_still_checks_the_labels_given(executor):
    one = trainer(executor)
    for _ in range(3):
        one.step(X, Y)
    before = state(one)
    with pytest.raises(DataError, match=r"labels must lie in 0 \.\. 2, got 0 \.\. 3"):
        one.step(X, np.where(Y == 2, 3, Y))
    for a, b in zip(before, state(one), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("kind", [np.asarray, pd.Series])
@pytest.mark.parametrize("executor", ["auto", "numpy", "eager"])
def test_labels_are_checked_in_the_first_step(executor, kind):
    one = trainer(executor)
    one.attach()
    before = state(one)
    with pytest.raises(DataError, match=r"labels must lie in 0 \.\. 2, got 0 \.\. 3"):
        one.step(X, kind(np.where(Y == 2, 3, Y)))
    for a, b in zip(before, state(one), strict=True):
        np.testing.assert_array_equal(a, b)


def change_dropout(one):
    one.model[1].p = 0.7


def change_activation(one):
    one.model[0].activation = gn.Tanh()


def change_loss(one):
    one.loss.label_smoothing = 0.2


def replace_loss(one):
    one.loss = gn.CrossEntropyLoss(0.2)


def change_class_weight(one):
    one.loss.class_weight = np.array([1, 2, 9])


def change_optimizer(one):
    one.optimizer.weight_decay = 0.1


def change_schedule(one):
    one.optimizer.schedule = gn.StepLR(0.5, 3)


def change_weights(one):
    one.model[0].params["weight"] = np.full((5, 16), 0.1)


@pytest.mark.parametrize(
    "change",
    [
        change_dropout,
        change_activation,
        change_loss,
        replace_loss,
        change_class_weight,
        change_optimizer,
        change_schedule,
        change_weights,
    ],
)
def test_a_change_after_the_recording_takes_effect_at_the_next_step(change):
    class Change(gn.Callback):
        def on_step_end(self, trainer, rows):
            if trainer.optimizer.steps == 7:
                change(trainer)

    untouched = trainer("numpy", loss=gn.CrossEntropyLoss(class_weight=[1, 1, 1]))
    untouched.fit(X, Y, epochs=3, batch_size=20)
    losses = [gn.CrossEntropyLoss(class_weight=[1, 1, 1]) for _ in range(2)]
    pair = [
        trainer(executor, loss=loss, callbacks=[Change()])
        for executor, loss in zip(("numpy", "eager"), losses, strict=True)
    ]
    for one in pair:
        one.fit(X, Y, epochs=3, batch_size=20)
    assert_same(*pair)
    assert pair[0].history["loss"][-1] != untouched.history["loss"][-1]


def test_a_change_by_a_function_assigned_to_a_callback_takes_effect():
    def change(trainer, rows):
        if trainer.optimizer.steps == 7:
            change_loss(trainer)

    pair = [trainer(executor, callbacks=[gn.Callback()]) for executor in ("numpy", "eager")]
    for one in pair:
        one.callbacks[0].on_step_end = change
        one.fit(X, Y, epochs=3, batch_size=20)
    assert_same(*pair)


def test_a_model_may_change_its_dtype_between_two_fits():
    pair = [trainer(executor) for executor in ("numpy", "eager")]
    for one in pair:
        for dtype in ("float32", "float64", "float32"):
            one.model.to(dtype=dtype)
            one.fit(X, Y, epochs=1, batch_size=20)
    assert_same(*pair)


def test_other_data_of_the_same_shape_is_what_the_next_fit_sees():
    pair = [trainer(executor) for executor in ("numpy", "eager")]
    for one in pair:
        one.fit(X, Y, epochs=2, batch_size=20)
        one.fit(X[:60] * 2, Y[:60], epochs=2, batch_size=20)
    assert_same(*pair)


def own(executor, kind=Scale):
    return gn.Trainer(gn.Sequential(kind(5), gn.Linear(5, 3, rng=0)), executor=executor)


def test_a_user_layer_is_replayed():
    pair = [own(executor) for executor in ("numpy", "eager")]
    for one in pair:
        one.fit(X, Y, epochs=5, batch_size=20)
    assert_same(*pair)


class Escaping(Scale):
    """Goes past the recording: what it computes by plain arrays is the same at every replay."""

    def forward(self, x, tape=None):
        return super().forward(np.asarray(x) * 1, tape)


class OwnLoss(gn.CrossEntropyLoss):
    """A user's class that changes nothing."""


class Looking(Scale):
    def forward(self, x, tape=None):
        return super().forward(x if x.max() > 0 else -x, tape)


class Remembering(Scale):
    """Keeps its input in an attribute instead of the tape."""

    def forward(self, x, tape=None):
        self.x = x
        return super().forward(x, tape)


class OptingOut(Scale):
    recordable = False


@pytest.mark.parametrize(
    ("kind", "why"),
    [
        (Escaping, "a replay of the recorded calls gave different results from the code; "),
        (
            Looking,
            "the step reads array values, which change on every replay; use np.where, or set recordable = False on the "
            "layer.",
        ),
        (
            Remembering,
            "attributes of Remembering change in the step; save what backward needs by tape.save(self, x), or set "
            "recordable = False on the layer.",
        ),
        (OptingOut, "OptingOut() sets recordable = False."),
    ],
)
def test_a_step_that_cannot_be_recorded_falls_back_to_eager_steps_and_warns_once(kind, why):
    automatic, eager = own("auto", kind), own("eager", kind)
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        automatic.fit(X, Y, epochs=3, batch_size=20)
    eager.fit(X, Y, epochs=3, batch_size=20)
    assert_same(automatic, eager)
    (message,) = [str(warning.message) for warning in warned]
    assert "falling back to eager steps: the training step could not be recorded: " in message
    assert why in message


@pytest.mark.parametrize("kind", [Scale, Escaping])
def test_single_steps_with_user_code_and_arrays_of_another_dtype_equal_that_code(kind):
    automatic, eager = own("auto", kind), own("eager", kind)
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        losses = [[float(one.step(X.astype(np.float64), Y)) for _ in range(3)] for one in (automatic, eager)]
    np.testing.assert_allclose(*losses, rtol=1e-5)
    assert len(warned) == (kind is Escaping)


@pytest.mark.parametrize("kind", [gn.CrossEntropyLoss, OwnLoss])
def test_single_steps_with_a_user_loss_and_arrays_of_another_dtype_are_replayed(kind):
    losses = []
    for executor in ("auto", "eager"):
        one = gn.Trainer(gn.MLP([5, 3], seed=0), loss=kind(), executor=executor)
        losses.append([float(one.step(X.astype(np.float64), Y.astype(np.int32))) for _ in range(3)])
    np.testing.assert_allclose(*losses, rtol=1e-5)


@pytest.mark.parametrize("kind", [Escaping, Looking, OptingOut])
def test_an_explicit_executor_raises_if_the_step_cannot_be_recorded(kind):
    one = own("numpy", kind)
    one.attach()
    before = state(one)
    with pytest.raises(StateError, match="executor 'numpy' cannot run the training step: "):
        one.fit(X, Y, epochs=3, batch_size=20)
    for a, b in zip(before, state(one), strict=True):
        np.testing.assert_array_equal(a, b)
    assert (one.optimizer.steps, len(one.history)) == (0, 0)


class Misspelled(Scale):
    def backward(self, dy, tape, *, input_gradient=True):
        return dy * tape.saved[0]


class Indexed(Scale):
    def forward(self, x, tape=None):
        return super().forward(x, tape) + self.params["shift"]


class ForwardOnly(Scale):
    backward = gn.Layer.backward


@pytest.mark.parametrize("executor", ["auto", "numpy", "native", "eager"])
@pytest.mark.parametrize(
    ("kind", "error", "said"),
    [
        (ForwardOnly, NotImplementedError, "^ForwardOnly does not implement `backward`; define this method"),
        (Misspelled, AttributeError, r"^Tape has no attribute 'saved': use tape.restore\(layer\)"),
        (Indexed, KeyError, "shift"),
    ],
)
def test_a_bug_in_a_layer_raises_its_own_error_without_a_warning(kind, error, said, executor):
    if executor == "native" and why_unavailable():
        pytest.skip(why_unavailable())
    one = own(executor, kind)
    one.attach()
    before = state(one)
    for _ in range(2):
        with pytest.raises(error, match=said):
            one.fit(X, Y, epochs=1, batch_size=20)
    for a, b in zip(before, state(one), strict=True):
        np.testing.assert_array_equal(a, b)
    assert (one.optimizer.steps, len(one.history)) == (0, 0)


class PlainOnly(Scale):
    """Raises a TypeError only in a recording."""

    def forward(self, x, tape=None):
        if type(x) is not np.ndarray:
            raise TypeError("a plain array is required")
        return super().forward(x, tape)


def test_an_error_that_only_the_recording_raises_falls_back_to_eager_steps():
    automatic, eager = own("auto", PlainOnly), own("eager", PlainOnly)
    with pytest.warns(UserWarning, match="could not be recorded: a plain array is required"):
        automatic.fit(X, Y, epochs=2, batch_size=20)
    eager.fit(X, Y, epochs=2, batch_size=20)
    assert_same(automatic, eager)


@pytest.mark.parametrize("executor", ["auto", "numpy"])
def test_an_overridden_optimizer_step_is_called(executor):
    one, eager = (gn.Trainer(gn.MLP([5, 3], seed=0), optimizer=Shrinking(0.1), executor=e) for e in (executor, "eager"))
    for trainer in (one, eager):
        trainer.fit(X, Y, epochs=3, batch_size=20)
    np.testing.assert_allclose(state(one), state(eager), rtol=1e-5)


class EscapingLoss(gn.CrossEntropyLoss):
    """Computes its value, and no gradient, past the recording."""

    def value_and_grad(self, prediction, target, weight=None, tape=None):
        value, gradient = super().value_and_grad(prediction, target, weight, tape)
        return 2 * np.array(value), gradient


def test_a_loss_whose_value_escapes_the_recording_warns_and_is_not_replayed():
    automatic, eager = (
        gn.Trainer(gn.MLP([5, 3]), loss=EscapingLoss(), executor=executor) for executor in ("auto", "eager")
    )
    with pytest.warns(UserWarning, match="the training step could not be recorded"):
        automatic.fit(X, Y, epochs=3, batch_size=20)
    eager.fit(X, Y, epochs=3, batch_size=20)
    assert_same(automatic, eager)


def test_falling_back_to_eager_steps_warns_once():
    one = own("auto", OptingOut)
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        for activation in (gn.Tanh(), gn.ReLU()):
            one.model[1].activation = activation
            one.fit(X, Y, epochs=2, batch_size=17)
    assert len(warned) == 1


def poison(rows, value):
    bad = X.copy()
    bad[rows] = value
    return bad


@pytest.mark.parametrize("executor", ["auto", "numpy", "eager"])
@pytest.mark.parametrize("clip", [{}, {"clip_norm": 1.0}], ids=["plain", "clipped"])
def test_steps_with_non_finite_gradients_are_skipped_and_the_first_is_reported(executor, clip):
    one = gn.Trainer(gn.MLP([5, 8, 3]), optimizer=gn.Adam(0.01, **clip), executor=executor)
    one.model[0].params["weight"] = 100 * one.model[0].params["weight"]
    one.fit(X, Y, epochs=1, batch_size=20, shuffle=False)
    weights = []

    class Note(gn.Callback):
        def on_step_end(self, trainer, rows):
            weights.append(state(trainer))

    one.callbacks = [Note()]
    huge = poison(slice(40, 60), 3e38)  # finite, but not what comes of it
    warns = pytest.warns(UserWarning, match="epoch 2: from step 7 of the training on, gradients were not finite")
    with warns:
        one.fit(huge, Y, epochs=1, batch_size=20, shuffle=False)
    assert np.isfinite(weights[-1][0]).all()
    for a, b in zip(weights[1], weights[2], strict=True):  # the third batch changed nothing
        np.testing.assert_array_equal(a, b)
    assert (weights[3][0] != weights[2][0]).any()  # the fourth did


@pytest.mark.parametrize("executor", ["auto", "numpy", "eager"])
@pytest.mark.parametrize("optimizer", [gn.Adam, gn.AdamW, gn.RMSprop])
def test_gradients_whose_squares_overflow_the_state_are_skipped(executor, optimizer):
    one = gn.Trainer(gn.MLP([5, 8, 3]), optimizer=optimizer(0.01), executor=executor)
    one.fit(X, Y, epochs=1, batch_size=20)
    before = one.model[0].params["weight"].copy()
    huge = poison(slice(40, 60), 1e22)  # finite, as the gradient is, but not its square
    with pytest.warns(UserWarning, match="from step 6 of the training on"):
        one.fit(huge[20:60], Y[20:60], epochs=1, batch_size=20, shuffle=False)
    assert all(np.isfinite(a).all() for a in state(one))
    one.fit(X, Y, epochs=1, batch_size=20)
    assert (one.model[0].params["weight"] != before).mean() > 0.9  # they still move


@pytest.mark.parametrize("optimizer", [gn.SGD(1e-30), gn.Adam(0.01, clip_norm=1.0)], ids=["SGD", "clipped"])
@pytest.mark.parametrize("executor", ["auto", "numpy", "eager"])
def test_large_gradients_are_applied_if_the_state_has_no_squares(executor, optimizer):
    one = gn.Trainer(gn.MLP([5, 8, 3]), optimizer=optimizer, executor=executor)
    one.fit(poison(slice(0, 20), 1e22), Y, epochs=1, batch_size=20, shuffle=False)
    assert one.optimizer.first_skipped is None


@pytest.mark.parametrize("executor", ["auto", "numpy", "eager"])
def test_every_epoch_with_gradients_that_are_not_finite_warns(executor):
    one = gn.Trainer(gn.MLP([5, 8, 3]), executor=executor)
    one.model[0].params["weight"] = 100 * one.model[0].params["weight"]
    huge = poison(slice(20, 40), 3e38)
    for x, step in ((huge, 2), (X, None), (huge, 10)):
        with warnings.catch_warnings(record=True) as warned:
            warnings.simplefilter("always")
            one.fit(x, Y, epochs=1, batch_size=20, shuffle=False)
        assert [f"from step {step} of the training" in str(warning.message) for warning in warned] == [True] * bool(
            step
        )
    assert one.optimizer.first_skipped == 10


@pytest.mark.parametrize("executor", ["auto", "numpy", "eager"])
def test_buffers_that_do_not_fit_are_reported_with_their_size_and_nothing_is_lost(executor, monkeypatch):
    one = trainer(executor)
    one.fit(X, Y, epochs=1, batch_size=20)
    before = state(one)
    monkeypatch.setattr(gn.Tape, "empty", lambda *_: raise_memory_error())
    with pytest.raises(OutOfMemoryError, match=r"cpu: the buffers .* do not fit in memory: .* MiB are free"):
        one.fit(X, Y, epochs=1, batch_size=40)
    monkeypatch.undo()
    for a, b in zip(before, state(one), strict=True):
        np.testing.assert_array_equal(a, b)
    one.fit(X, Y, epochs=1, batch_size=40)


@pytest.mark.parametrize("executor", ["auto", "numpy", "eager"])
def test_a_gradient_that_was_not_finite_is_reported_where_a_setting_changes_before_the_epoch_ends(executor):
    class Change(gn.Callback):
        def on_step_end(self, trainer, rows):
            if trainer.optimizer.steps == 3:
                trainer.optimizer.weight_decay = 0.1

    one = gn.Trainer(gn.MLP([5, 8, 3]), callbacks=[Change()], executor=executor)
    one.model[0].params["weight"] = 100 * one.model[0].params["weight"]
    with pytest.warns(UserWarning, match="from step 2 of the training on"):
        one.fit(poison(slice(20, 40), 3e38), Y, epochs=1, batch_size=20, shuffle=False)
    assert one.optimizer.first_skipped == 2


def raise_memory_error():
    raise MemoryError("no more")


def test_without_a_compiler_auto_is_numpy_and_native_raises(monkeypatch):
    monkeypatch.setenv("GPUNET_NATIVE", "0")
    pair = [trainer(executor) for executor in ("auto", "eager")]
    for one in pair:
        one.fit(X, Y, epochs=2, batch_size=20)
    assert pair[0].explain().executor.startswith("numpy: ")
    assert_same(*pair)
    native = trainer("native")
    with pytest.raises(DeviceError, match="GPUNET_NATIVE=0"):
        native.fit(X, Y, epochs=1)


def test_a_gpu_executor_raises_on_the_cpu_before_any_change():
    one = trainer("graph")
    before = weights(one.model)
    with pytest.raises(StateError, match="executor 'graph' runs on a GPU, but the model is on the CPU; use 'native'"):
        one.fit(X, Y, epochs=1)
    np.testing.assert_array_equal(weights(one.model), before)
    assert one.optimizer.steps == 0
    one.executor = "numpy"
    one.fit(X, Y, epochs=1)
    assert len(one.history) == 1


class Failing(Scale):
    """Raises in a step of a long run, once."""

    failing_call = 0

    def forward(self, x, tape=None):
        do(self.count_call)
        return super().forward(x, tape)

    def count_call(self):
        vars(self)["calls"] = vars(self).get("calls", 0) + 1
        if self.calls == self.failing_call:
            raise FloatingPointError


@pytest.mark.parametrize("executor", ["auto", "numpy", "eager"])
def test_an_error_within_a_run_of_steps_counts_the_steps_before_it(executor):
    failed, whole = own(executor, Failing), own(executor, Failing)
    for one in (failed, whole):
        one.fit(X, Y, epochs=1, batch_size=5)
    layer = failed.model[0]
    vars(layer)["failing_call"] = layer.calls + 8
    with pytest.raises(FloatingPointError):
        failed.fit(X, Y, epochs=1, batch_size=5)
    assert (failed.optimizer.steps, failed.position) == (16 + 7, 7 * 5)
    for one in (failed, whole):
        one.fit(X, Y, epochs=1, batch_size=5)
    assert_same(failed, whole)


@pytest.mark.parametrize("executor", ["auto", "eager"])
def test_an_epoch_whose_callback_raised_is_completed_by_the_next_fit(executor):
    class RaisingOnce(gn.Callback):
        raised = False

        def on_steps_end(self, trainer, steps, rows):
            if not self.raised and trainer.position == trainer.rows:
                self.raised = True
                raise FloatingPointError

    one = trainer(executor, callbacks=[RaisingOnce()])
    with pytest.raises(FloatingPointError):
        one.fit(X, Y, epochs=1, batch_size=20)
    one.fit(X, Y, epochs=1, batch_size=20)
    whole = trainer(executor)
    whole.fit(X, Y, epochs=1, batch_size=20)
    assert_same(one, whole)


def test_an_executor_may_change_between_two_fits():
    changing, eager = trainer("eager"), trainer("eager")
    for executor in ("numpy", "eager", "numpy"):
        changing.executor = executor
        for one in (changing, eager):
            one.fit(X, Y, epochs=1, batch_size=20)
    assert_same(changing, eager)
    assert changing.explain().executor.startswith("numpy: ")


def test_eager_steps_explain_nothing():
    one = trainer("eager")
    one.fit(X, Y, epochs=1)
    for unexplained in (one, trainer("auto")):
        with pytest.raises(StateError, match=r"no step was recorded; call fit \(or step\) first"):
            unexplained.explain()


def test_the_explanation_after_one_step_lists_the_nodes_and_ends_with_the_executor():
    one = trainer("numpy")
    one.step(X, Y)
    explanation = one.explain()
    assert {node.choice for node in explanation.nodes} == {"NumPy"}
    assert explanation.arena_bytes > 0
    assert str(explanation).splitlines()[-1] == explanation.executor == "numpy: each node is a NumPy call"
    assert len(str(explanation).splitlines()) == len(explanation.nodes) + 3


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        (
            "executor",
            "always",
            "executor must be 'auto', 'eager', 'numpy', 'native', 'graph' or 'persistent', got 'always'",
        ),
        ("precision", "half", "'float32', 'tf32' or '3xtf32'"),
    ],
)
def test_invalid_options_are_refused(option, value, message):
    with pytest.raises(ArgumentError, match=message):
        gn.Trainer(gn.MLP([5, 3]), **{option: value})
