"""Steps with a moving average of the weights and with gradient accumulation on the device "sim"."""

import numpy as np
import pytest
from own_optimizers import Halved
from problems import classification

import gpunet as gn
from gpunet.errors import StateError

X, Y = classification(80)
WEIGHT = np.linspace(0, 2, 80)
OPTIONS = {"average": {"ema": 0.9}, "several batches": {"accumulate": 3}, "both": {"ema": 0.9, "accumulate": 3}}


def trainer(device, executor, optimizer=None, **options):
    model = gn.MLP([5, 16, 3], dropout=0.2, seed=0).to(device)
    return gn.Trainer(model, optimizer=optimizer or gn.AdamW(0.01, clip_norm=0.3), executor=executor, **options)


def state(trainer):
    return [gn.to_host(a) for a in trainer.model.store.state]


@pytest.mark.parametrize("weight", [None, WEIGHT], ids=["alike", "weighted"])
@pytest.mark.parametrize("options", OPTIONS)
def test_a_graph_equals_eager_steps_bitwise_and_matches_the_cpu(options, weight):
    runs = [trainer(*where, **OPTIONS[options]) for where in (("sim", "graph"), ("sim", "eager"), ("cpu", "eager"))]
    for run in runs:
        run.fit(X, Y, epochs=8, batch_size=7, sample_weight=weight)
        run.evaluate(X, Y)
    for a, b, c in zip(*map(state, runs), strict=True):
        np.testing.assert_array_equal(a, b)
        np.testing.assert_allclose(a, c, atol=1e-3)
    np.testing.assert_allclose(runs[0].evaluate(X, Y)["loss"], runs[2].evaluate(X, Y)["loss"], rtol=1e-4)
    launches = [node.kernel for node in runs[0].explain().nodes]
    assert launches.count("average") == (runs[0].ema is not None)
    assert launches.count("add_gradient") == (3 if runs[0].accumulate > 1 else 0)


def test_many_steps_in_one_call_equal_single_steps_bitwise(monkeypatch):
    runs = []
    for steps in (1, 13):
        monkeypatch.setattr("gpunet.training.epochs._steps_of_a_call", lambda step, steps=steps: steps)
        runs.append(trainer("sim", "graph", **OPTIONS["both"]))
        runs[-1].fit(X, Y, epochs=2, batch_size=2)
    for a, b in zip(*map(state, runs), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"ema": 0.9}, "ema computes a moving average"),
        ({"accumulate": 2}, "accumulate sums the gradients of several batches"),
    ],
    ids=str,
)
def test_the_persistent_kernel_rejects_them_with_the_reason(options, reason):
    run = trainer("sim", "auto", gn.Adam(0.01), **options)
    run.fit(X, Y, epochs=1, batch_size=20)
    assert f"graph: kernels in a CUDA graph; no persistent kernel: {reason}" in run.explain().executor
    with pytest.raises(StateError, match=f"executor 'persistent' cannot run the training step: {reason}"):
        trainer("sim", "persistent", gn.Adam(0.01), **options).fit(X, Y, epochs=1)


@pytest.mark.filterwarnings("ignore:Halved has no `kernel`")
@pytest.mark.parametrize("executor", ["graph", "eager"])
def test_a_rule_in_array_code_supports_averaging(executor):
    runs = [trainer(device, each, Halved(0.1), ema=0.9) for device, each in (("sim", executor), ("cpu", "eager"))]
    for run in runs:
        run.fit(X, Y, epochs=2, batch_size=20)
    np.testing.assert_allclose(*(state(run)[-1] for run in runs), atol=1e-5)


def test_an_average_moves_to_another_device_and_is_restored_from_a_checkpoint(tmp_path):
    run = trainer("sim", "graph", **OPTIONS["both"])
    run.fit(X, Y, epochs=2, batch_size=7)
    run.save(tmp_path / "run")
    with gn.use_device("cpu"):
        on_cpu = gn.Trainer.resume(tmp_path / "run")
    expected = run.evaluate(X, Y)
    run.model.to("cpu")
    assert run.ema_model().device.name == "cpu"
    np.testing.assert_array_equal(*(one.ema_model().outputs(X) for one in (run, on_cpu)))
    np.testing.assert_allclose(run.evaluate(X, Y)["loss"], expected["loss"], rtol=1e-5)


def test_a_range_test_restores_the_trainer_on_the_gpu():
    runs = [trainer("sim", "auto", gn.Adam(0.01)) for _ in range(2)]
    runs[0].find_lr(X, Y, steps=12)
    for run in runs:
        run.fit(X, Y, epochs=2)
    for a, b in zip(*map(state, runs), strict=True):
        np.testing.assert_array_equal(a, b)
