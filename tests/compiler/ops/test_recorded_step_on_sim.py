"""The recorded step on the device "sim": one graph of few launches, bit-identical to the eager step."""

import dataclasses
import gc
import weakref

import numpy as np
import pytest
from own_layers import Scale, ScaleOnTape
from own_optimizers import Halved, Lion, Shrinking
from problems import classification

import gpunet as gn
from gpunet import simulator
from gpunet.errors import KernelError, OutOfMemoryError
from gpunet.tape import Tape
from gpunet.training.step.inputs import MOST_RESIDENT

X, Y = classification(80)
OPTIMIZERS = {
    "adam": lambda: gn.Adam(0.01),
    "sgd": lambda: gn.SGD(gn.CosineLR(0.05, 50), momentum=0.9),
    "clipped": lambda: gn.AdamW(0.01, clip_norm=0.1),
}
OWN = {
    kind.__name__: lambda kind=kind: kind(gn.CosineLR(0.01, 50), clip_norm=0.1) for kind in (Lion, Halved, Shrinking)
}


def trainer(device, executor, optimizer="adam", *, dropout=0.2, dtype="float32", sizes=(5, 16, 3), **options):
    model = gn.MLP(sizes, dropout=dropout, seed=0).to(device, dtype=dtype)
    return gn.Trainer(model, optimizer=(OPTIMIZERS | OWN)[optimizer](), seed=3, executor=executor, **options)


def weights(trainer):
    return gn.to_host(trainer.model.store.params).copy()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_fifty_replayed_steps_equal_eager_steps_bitwise_and_match_the_cpu(optimizer, dtype):
    # float64 by the hand-written kernels in both, which a captured step needs
    with gn.ops.use_kernel("tiled"):
        runs = [
            trainer(*where, optimizer, dtype=dtype) for where in (("sim", "graph"), ("sim", "eager"), ("cpu", "eager"))
        ]
        for run in runs:
            run.fit(X, Y, epochs=10, batch_size=17, sample_weight=np.linspace(0, 2, 80))
    np.testing.assert_array_equal(weights(runs[0]), weights(runs[1]))
    assert runs[0].history["loss"] == runs[1].history["loss"]
    np.testing.assert_allclose(runs[0].history["loss"], runs[2].history["loss"], rtol=1e-4)
    np.testing.assert_allclose(weights(runs[0]), weights(runs[2]), atol=1e-3 if dtype == "float32" else 1e-9)


@pytest.mark.parametrize("optimizer", OWN)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.filterwarnings("ignore:(Lion|Halved) has no `kernel`")
def test_a_custom_rule_runs_after_a_graph_of_the_gradients(optimizer, dtype):
    with gn.ops.use_kernel("tiled"):
        runs = [
            trainer(*where, optimizer, dtype=dtype) for where in (("sim", "graph"), ("sim", "eager"), ("cpu", "eager"))
        ]
        for run in runs:
            run.fit(X, Y, epochs=4, batch_size=17)
    np.testing.assert_array_equal(weights(runs[0]), weights(runs[1]))
    assert runs[0].history["loss"] == runs[1].history["loss"]
    np.testing.assert_allclose(runs[0].history["loss"], runs[2].history["loss"], rtol=1e-4)
    np.testing.assert_allclose(weights(runs[0]), weights(runs[2]), atol=1e-4 if dtype == "float32" else 1e-9)
    assert [run.optimizer.steps for run in runs] == [20] * 3
    assert "then the optimizer's update" in runs[0].explain().executor


@pytest.mark.parametrize("kind", [Lion, Halved])
def test_a_rule_without_a_kernel_warns_once(kind):
    one = gn.Trainer(gn.MLP((5, 3), seed=0).to("sim"), optimizer=kind(0.1))
    with pytest.warns(UserWarning, match=f"{kind.__name__} has no `kernel`: on sim its `update_block` runs") as warned:
        one.fit(X, Y, epochs=2, batch_size=20)
    assert len(warned) == 1
    one.optimizer.clip_norm = 1.0
    one.fit(X, Y, epochs=2, batch_size=17)


def with_layer(kind, executor):
    model = gn.Sequential(gn.Linear(5, 8, rng=0), kind(8), gn.Tanh(), gn.Linear(8, 3, rng=1)).to("sim")
    one = gn.Trainer(model, optimizer=gn.Adam(0.01), executor=executor)
    one.fit(X, Y, epochs=4, batch_size=17)
    return one


def test_a_custom_layer_that_uses_tape_memory_is_recorded():
    recorded, eager = (with_layer(ScaleOnTape, executor) for executor in ("graph", "eager"))
    np.testing.assert_array_equal(weights(recorded), weights(eager))


def test_a_custom_layer_that_allocates_falls_back_to_eager_steps():
    with pytest.warns(UserWarning, match=r"falling back to eager steps: .* inside the step; use tape.empty"):
        automatic = with_layer(Scale, "auto")
    np.testing.assert_array_equal(weights(automatic), weights(with_layer(Scale, "eager")))


def test_check_mode_finds_a_tape_buffer_that_is_read_before_it_is_written():
    sim, request = gn.get_device("sim"), ((8, 4), np.dtype(np.float32), simulator)
    with simulator.check_mode():
        tape = Tape()
        tape.empty(*request)
        tape.pack()
        tape.reset()
        with pytest.raises(KernelError, match="uninitialized"):
            gn.ops.linear(tape.empty(*request), sim.asarray(np.ones((4, 4), np.float32)))


def test_check_mode_finds_nothing_in_a_recorded_step():
    with simulator.check_mode():
        checked = trainer("sim", "graph")
        checked.fit(X, Y, epochs=1, batch_size=20)
    plain = trainer("sim", "graph")
    plain.fit(X, Y, epochs=1, batch_size=20)
    np.testing.assert_allclose(weights(checked), weights(plain), atol=1e-5)  # compiled otherwise, so not the same bits


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_within_an_epoch_nothing_is_copied_synchronized_or_allocated(optimizer):
    counted = []

    class Count(gn.Callback):
        def on_step_end(self, trainer, rows):
            counted.append(dataclasses.replace(simulator.counters))

        def on_epoch_end(self, trainer, row):
            counted.clear()

    run = trainer("sim", "graph", optimizer, callbacks=[Count()])
    run.fit(X, Y, epochs=1, batch_size=10)
    run.fit(X, Y, epochs=1, batch_size=10)

    class Keep(Count):
        def on_epoch_end(self, trainer, row):
            pass

    run.callbacks = [Keep()]
    run.fit(X, Y, epochs=1, batch_size=10)
    first, *_, last = counted  # the first step is a replay, too: it was captured before it ran
    for name in ("allocations", "uploads", "downloads", "synchronizations", "launches"):
        assert getattr(last, name) == getattr(first, name), name
    assert last.graph_launches - first.graph_launches == 7


def test_a_step_of_a_784_128_10_net_has_at_most_ten_nodes():
    rng = np.random.default_rng(0)
    run = gn.Trainer(gn.MLP([784, 128, 10]).to("sim"), executor="graph")
    run.fit(rng.standard_normal((384, 784), np.float32), rng.integers(0, 10, 384), epochs=1, batch_size=128)
    assert len(run.explain().nodes) <= 10


def growing(run):
    run.fit(X, Y, epochs=3, batch_size=20)  # the rate changes within the second epoch for the first time


def resumed(run):
    class Stop(gn.Callback):
        def on_step_end(self, trainer, rows):
            if trainer.optimizer.steps == 2:
                trainer.stop("interrupted")

    run.callbacks = [Stop()]
    run.fit(X, Y, epochs=1, batch_size=20)
    run.fit(X, Y, epochs=2, batch_size=20)  # half an epoch, and a whole one


def mixed(run):
    for _ in range(3):
        for _ in range(3):
            run.step(X[:20], Y[:20])
        run.fit(X, Y, epochs=1, batch_size=20)


@pytest.mark.parametrize("train", [growing, resumed, mixed])
@pytest.mark.parametrize("schedule", [gn.StepLR(0.5, 6), gn.CosineLR(0.5, 24)], ids=repr)
def test_rates_that_change_after_recording_match_eager_steps(schedule, train):
    runs = [
        gn.Trainer(gn.MLP([5, 8, 3]).to("sim"), optimizer=gn.SGD(schedule), executor=executor)
        for executor in ("graph", "eager")
    ]
    for run in runs:
        train(run)
    np.testing.assert_array_equal(*map(weights, runs))


def schedule_changes(run):
    run.fit(X, Y, epochs=1, batch_size=20)
    run.optimizer.schedule = gn.StepLR(0.3, 3)
    run.fit(X, Y, epochs=2, batch_size=20)


def rate_changes(run):
    run.optimizer.schedule = gn.ConstantLR(0.1)
    run.fit(X, Y, epochs=1, batch_size=20)
    run.optimizer.lr = 0.5
    run.fit(X, Y, epochs=1, batch_size=20)


def epochs_of_other_lengths(run):
    for rows in (40, 80, 30):
        run.fit(X[:rows], Y[:rows], epochs=2, batch_size=20)


@pytest.mark.parametrize("train", [growing, resumed, mixed, schedule_changes, rate_changes, epochs_of_other_lengths])
@pytest.mark.parametrize("executor", ["graph", "persistent"])
def test_a_gpu_takes_the_rows_and_rates_of_the_cpu(executor, train):
    runs = [trainer(*where, "sgd", dropout=0) for where in (("sim", executor), ("cpu", "eager"))]
    for run in runs:
        train(run)
    np.testing.assert_allclose(*map(weights, runs), atol=1e-4)


def test_only_a_few_batches_are_kept_alive_by_their_graphs():
    run, y, given = trainer("sim", "graph"), simulator.asarray(Y[:20]), []
    for i in range(MOST_RESIDENT + 4):
        x = simulator.asarray(X[:20].astype(np.float32) + i)
        given.append(weakref.ref(x))
        run.step(x, y)
    del x
    gc.collect()
    assert sum(batch() is not None for batch in given) == MOST_RESIDENT


def test_a_batch_of_the_same_features_and_other_targets_trains_on_its_targets():
    x, targets = X[:20].astype(np.float32), [Y[:20], (Y[:20] + 1) % 3]
    there, *others = map(simulator.asarray, (x, *targets))
    run, plain = trainer("sim", "graph", dropout=0), trainer("cpu", "eager", dropout=0)
    for _ in range(3):
        for y, other in zip(targets, others, strict=True):
            run.step(there, other)
            plain.step(x, y)
    np.testing.assert_allclose(weights(run), weights(plain), atol=1e-4)


def test_a_kernel_chosen_after_the_recording_is_used_in_the_next_step():
    run = trainer("sim", "graph")
    run.step(X, Y)
    for kernel, name in (("shared", "matmul_shared"), (None, "matmul_tiled")):
        with gn.ops.use_kernel(kernel):
            run.step(X, Y)
            assert {node.kernel for node in run.explain().nodes if "matmul" in node.kernel} == {name}


def test_a_changed_precision_takes_effect_in_the_next_step():
    run = trainer("sim", "graph")
    for precision, kernel in (("float32", "matmul_tiled"), ("tf32", "matmul_mma"), ("3xtf32", "matmul_mma3")):
        run.precision = precision
        for _ in range(3):
            run.step(X, Y)
        assert kernel in {node.kernel for node in run.explain().nodes}


def test_tf32_is_used_on_request_and_stays_within_its_error():
    run, exact = (trainer("sim", "graph", precision=precision) for precision in ("tf32", "float32"))
    for one in (run, exact):
        one.fit(X, Y, epochs=2, batch_size=20)
    assert (weights(run) != weights(exact)).any()
    np.testing.assert_allclose(run.history["loss"], exact.history["loss"], rtol=1e-2)
    names = {node.kernel for node in run.explain().nodes}
    assert "matmul_mma" in names
    assert "matmul_tiled" not in names


def test_3xtf32_trains_as_float32_does_on_the_cpu():
    run, exact = trainer("sim", "graph", precision="3xtf32"), trainer("cpu", "numpy", precision="3xtf32")
    for one in (run, exact):
        one.fit(X, Y, epochs=2, batch_size=20)
    np.testing.assert_allclose(weights(run), weights(exact), rtol=1e-4, atol=1e-6)
    names = {node.kernel for node in run.explain().nodes}
    assert "matmul_mma3" in names
    assert not names & {"matmul_tiled", "linear_backward"}


def test_a_non_finite_gradient_is_not_applied_in_a_replay():
    run = gn.Trainer(gn.MLP([5, 8, 3]).to("sim"), executor="graph")
    run.model[0].params["weight"] = 100 * gn.to_host(run.model[0].params["weight"])
    bad = X.copy()
    bad[60:] = 3e38
    with pytest.warns(UserWarning, match="epoch 1: from step 4 of the training on, gradients were not finite"):
        run.fit(bad, Y, epochs=1, batch_size=20, shuffle=False)
    assert np.isfinite(weights(run)).all()


def test_a_non_finite_gradient_is_reported_if_a_setting_changes_before_the_epoch_ends():
    class Change(gn.Callback):
        def on_step_end(self, trainer, rows):
            if trainer.optimizer.steps == 3:
                trainer.optimizer.weight_decay = 0.1

    run = gn.Trainer(gn.MLP([5, 8, 3]).to("sim"), callbacks=[Change()])
    run.model[0].params["weight"] = 100 * gn.to_host(run.model[0].params["weight"])
    bad = X.copy()
    bad[20:40] = 3e38
    with pytest.warns(UserWarning, match="from step 2 of the training on"):
        run.fit(bad, Y, epochs=1, batch_size=20, shuffle=False)


@pytest.mark.parametrize("batch_size", [1, 3])
def test_many_steps_in_one_call_equal_single_steps_bitwise(batch_size, monkeypatch):
    class EachStep(gn.Callback):
        def on_step_end(self, trainer, rows):
            """Make each step a call of its own."""

    runs = [trainer("sim", "graph", "sgd", callbacks=callbacks) for callbacks in ([], [EachStep()])]
    monkeypatch.setattr("gpunet.training.epochs._steps_of_a_call", lambda step: 19)
    for run in runs:
        run.fit(X[:40], Y[:40], epochs=2, batch_size=batch_size)
    np.testing.assert_array_equal(*map(weights, runs))
    assert runs[0].history["loss"] == runs[1].history["loss"]


def test_data_that_does_not_fit_is_uploaded_batch_by_batch(monkeypatch):
    plain, run = trainer("sim", "eager"), trainer("sim", "graph")
    plain.fit(X, Y, epochs=2, batch_size=20)
    empty = simulator.empty

    def small(shape, dtype=float):
        if shape == X.shape:
            raise MemoryError("out of device memory")
        return empty(shape, dtype)

    monkeypatch.setattr(simulator, "empty", small)
    with pytest.warns(UserWarning, match=r"the training data \(.* MiB\) does not fit on sim"):
        run.fit(X, Y, epochs=2, batch_size=20)
    np.testing.assert_array_equal(weights(run), weights(plain))


def test_buffers_that_do_not_fit_leave_model_and_process_usable(monkeypatch):
    run = trainer("sim", "graph")
    run.fit(X, Y, epochs=1, batch_size=20)
    before, empty = weights(run), simulator.empty

    def small(shape, dtype=None):
        if np.prod(shape) > 500:
            raise MemoryError("out of device memory")
        return empty(shape, dtype)

    monkeypatch.setattr(simulator, "empty", small)
    with pytest.raises(OutOfMemoryError, match="sim: the buffers of a training step do not fit"):
        run.fit(X, Y, epochs=1, batch_size=80)
    monkeypatch.undo()
    np.testing.assert_array_equal(weights(run), before)
    run.fit(X, Y, epochs=1, batch_size=80)


def test_a_model_may_move_between_two_fits():
    moved, stayed = trainer("cpu", "auto"), trainer("cpu", "eager")
    for device in ("cpu", "sim", "cpu", "sim"):
        moved.model.to(device)
        for run in (moved, stayed):
            run.fit(X, Y, epochs=1, batch_size=20)
    np.testing.assert_allclose(weights(moved), weights(stayed), atol=1e-4)


def test_batches_on_the_gpu_may_have_any_memory_layout_and_change_in_place():
    rng = np.random.default_rng(0)
    wide = [rng.normal(size=(8, 12)).astype(np.float32) for _ in range(2 * MOST_RESIDENT)]
    y = simulator.asarray(rng.integers(0, 3, 8))
    runs = []
    for executor in ("graph", "eager"):
        run = gn.Trainer(gn.Sequential(gn.LayerNorm(6), gn.Linear(6, 3, rng=0)).to("sim"), executor=executor)
        xs = [simulator.asarray(a)[:, ::2] if i % 2 else simulator.asarray(a[:, :6]) for i, a in enumerate(wide)]
        for _ in range(3):
            for x in xs:
                run.step(x, y)
                simulator.multiply(x, 2, out=x)
        runs.append(weights(run))
    np.testing.assert_array_equal(*runs)
