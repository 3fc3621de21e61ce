"""Native steps with a moving average of the weights, and with accumulation: nodes and bitwise equality."""

import numpy as np
import pytest
from native_steps import X, Y, assert_follows, fit, make, spied_steps

import gpunet as gn

pytestmark = pytest.mark.usefixtures("native_cpu")

WEIGHT = np.linspace(0, 2, 80)
OPTIONS = {
    "average": {"ema": 0.9},
    "several batches": {"accumulate": 3},
    "both": {"ema": 0.9, "accumulate": 3, "dropout": 0.2},
}
LOSSES = {"alike": gn.CrossEntropyLoss, "weighted classes": lambda: gn.CrossEntropyLoss(class_weight=[1, 2, 3])}


def state(trainer):
    return [a.copy() for a in trainer.model.store.state]


def assert_same_state(first, second):
    for a, b in zip(state(first), state(second), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("weight", [None, WEIGHT], ids=["alike", "weighted"])
@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("options", OPTIONS)
def test_fifty_updates_in_one_native_program_follow_numpy(options, loss, weight, dtype):
    pair = [
        make(executor, gn.AdamW(0.01, clip_norm=0.3), dtype=dtype, loss=LOSSES[loss](), **OPTIONS[options])
        for executor in ("native", "numpy")
    ]
    for one in pair:
        fit(one, epochs=5 if one.accumulate == 1 else 13, batch_size=7, sample_weight=weight)
    assert pair[0].optimizer.steps in (52, 60)
    assert_follows(*pair)
    if pair[0].ema is not None:
        np.testing.assert_allclose(
            *(one.model.store.average for one in pair), atol=1e-5 if dtype == "float32" else 1e-11, rtol=0
        )
    explained = pair[0].explain()
    assert explained.executor.startswith("native: C++ nodes in 1 program; ")
    names = [node.kernel for node in explained.nodes]
    assert names.count("average") == (pair[0].ema is not None)
    assert names.count("add_gradient") == (3 if pair[0].accumulate > 1 else 0)


@pytest.mark.parametrize("options", OPTIONS)
def test_single_calls_runs_of_many_and_any_number_of_threads_give_the_same_bits(options, several_threads, monkeypatch):
    runs = []
    for steps, threads in ((1, 1), (4, 1), (100, 1), (3, 3)):
        several_threads(threads)
        monkeypatch.setattr("gpunet.training.epochs._steps_of_a_call", lambda step, steps=steps: steps)
        runs.append(make(**OPTIONS[options]))
        with spied_steps() as calls:
            fit(runs[-1], epochs=3, batch_size=5)
        assert max(calls) == min(steps, 16 // runs[-1].accumulate)
    for run in runs[1:]:
        assert_same_state(run, runs[0])
        assert run.history["loss"] == runs[0].history["loss"]


def test_an_average_starts_with_the_first_applied_update():
    run = make("native", gn.SGD(0.01), ema=0.5)
    bad = X.copy()
    bad[:10] = 3e38
    with pytest.warns(UserWarning, match="from step 1 of the training on"):
        fit(run, bad, batch_size=10, epochs=1, shuffle=False)
    follow = make("native", gn.SGD(0.01), ema=0.5)
    fit(follow, X[10:], Y[10:], batch_size=10, epochs=1, shuffle=False)
    assert_same_state(run, follow)


def test_batches_that_a_step_is_given_are_read_part_by_part():
    pair = [make("native", accumulate=accumulate) for accumulate in (4, 1)]
    for rows in (slice(0, 40), slice(40, 80), slice(0, 40)):
        values = [float(one.step(X[rows], Y[rows])) for one in pair]
        np.testing.assert_allclose(*values, rtol=1e-5)
    assert_follows(*pair, history=False)
