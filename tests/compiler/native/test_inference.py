"""Predictions by a native program equal the forward pass of the current model, for any number of rows."""

import copy
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import gpunet as gn
from gpunet.models.inference import LARGEST_BATCH, Kind
from gpunet.native.program import Phase
from gpunet.native.runtime import Calls

RNG = np.random.default_rng(0)
X = RNG.standard_normal((2 * LARGEST_BATCH + 100, 5)).astype(np.float32)


@pytest.fixture(autouse=True)
def _on_the_cpu(monkeypatch):
    monkeypatch.setenv("GPUNET_DEVICE", "cpu")


def mlp(dtype="float32"):
    return gn.MLP([5, 16, 8, 3], "gelu", dropout=0.5, seed=0).to(dtype=dtype)


def assert_predicts(model, x):
    """Check the outputs of a model; return whether a native program computes them."""
    outputs, expected = model.outputs(x), model.forward(x.astype(model.dtype))
    scale = np.abs(expected).max(initial=1.0) * (1e-5 if model.dtype == np.float32 else 1e-11)
    np.testing.assert_allclose(outputs, expected, rtol=0, atol=scale)
    assert outputs.shape == expected.shape
    return model._inference[Kind.of(x.astype(model.dtype))]._program is not None


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_any_number_of_rows_in_any_order_is_predicted_by_a_program(dtype):
    model = mlp(dtype)
    for rows in (1, 2, 31, 32, 33, 64, 5, 100, 1000, 3, 4096, 4097, 1, 8292, 17):
        assert assert_predicts(model, X[:rows].astype(dtype))


@pytest.mark.parametrize("rows", [1, 33, 100])
def test_a_prediction_does_not_depend_on_earlier_predictions(rows):
    model, other = (gn.MLP([784, 128, 10], seed=0) for _ in range(2))
    x = RNG.standard_normal((LARGEST_BATCH, 784)).astype(np.float32)
    other.outputs(x)
    np.testing.assert_array_equal(model.outputs(x[:rows]), other.outputs(x[:rows]))


def test_the_calls_of_a_prediction_are_divided_once_for_each_number_of_parts(monkeypatch):
    counts = (64, *range(63, 32, -1), *range(33, 65))
    expected = [mlp().outputs(X[:rows]) for rows in counts]  # each by a model without earlier predictions
    model, divided, tasks = mlp(), [], Phase.tasks
    monkeypatch.setattr(Phase, "tasks", lambda *args: divided.append(args[2:]) or tasks(*args))
    for rows, y in zip(counts, expected, strict=True):
        np.testing.assert_array_equal(model.outputs(X[:rows]), y)
    assert divided == [(), (63,)]


def test_an_interrupted_prediction_does_not_affect_the_next(monkeypatch):
    model, run = mlp(), Calls.run
    expected = model.outputs(X[:2000])

    def interrupted(*args, **options):
        run(*args, **options)
        raise KeyboardInterrupt

    monkeypatch.setattr(Calls, "run", interrupted)
    with pytest.raises(KeyboardInterrupt):
        model.outputs(X[:1100])
    monkeypatch.setattr(Calls, "run", run)
    write_weight(model)
    np.testing.assert_array_equal(model.outputs(X[:2000]), copy.deepcopy(model).outputs(X[:2000]))
    assert not np.array_equal(model.outputs(X[:2000]), expected)


@pytest.mark.parametrize("threads", [2, 5])
def test_any_number_of_threads_predicts_the_same_bits(threads, monkeypatch):
    from gpunet.native import program

    expected = [mlp().outputs(X[:rows]) for rows in (3000, 10)]
    monkeypatch.setattr(program, "thread_count", lambda: threads)
    monkeypatch.setattr(program, "PARALLEL_FLOPS", 0)
    model = mlp()
    for rows, y in zip((3000, 10), expected, strict=True):
        np.testing.assert_array_equal(model.outputs(X[:rows]), y)


@pytest.mark.parametrize("shape", [(20, 3, 5), (1, 7, 5), (50, 2, 3, 5), (40, 1, 5)])
def test_rows_with_several_positions_are_predicted(shape):
    model = gn.Sequential(gn.Linear(5, 6, activation="relu", rng=0), gn.Linear(6, 4, rng=1))
    x = RNG.standard_normal(shape).astype(np.float32)
    for part in (x, x[:1], x[: len(x) // 2 + 1], x):
        assert assert_predicts(model, part)


def test_rows_that_are_flattened_within_are_predicted():
    model = gn.Sequential(gn.Linear(5, 6, activation="relu", rng=0), gn.Flatten(), gn.Linear(18, 4, rng=1))
    assert_predicts(model, RNG.standard_normal((20, 3, 5)).astype(np.float32))
    assert_predicts(model, RNG.standard_normal((1, 3, 5)).astype(np.float32))


def set_weight(model):
    model[0].params["weight"] = np.ones((5, 16))


def write_weight(model):
    model[0].params["weight"][...] = 2


def change_activation(model):
    model[0].activation = gn.Tanh()


def change_dtype(model):
    model.to(dtype="float64")


def train(model):
    gn.Trainer(model, executor="native").fit(X[:60], np.arange(60) % 3, epochs=1)


def build_into_another(model):
    gn.Sequential(model, gn.Linear(3, 2, rng=0)).parameters()


@pytest.mark.parametrize(
    "change", [set_weight, write_weight, change_activation, change_dtype, train, build_into_another]
)
def test_predictions_follow_changes_of_the_model(change):
    model = mlp()
    assert_predicts(model, X[:50])
    before = model.outputs(X[:50])
    change(model)
    assert assert_predicts(model, X[:50].astype(model.dtype))
    assert (change is build_into_another) == np.array_equal(model.outputs(X[:50]), before)


@pytest.mark.parametrize("layer", [gn.LayerNorm(5), gn.BatchNorm1d(5), gn.Residual(gn.Linear(5, 5, rng=0))])
def test_a_model_with_a_layer_without_kernels_predicts_by_numpy(layer):
    model = gn.Sequential(layer, gn.Linear(5, 3, rng=1))
    for rows in (1, 40, 7):
        assert not assert_predicts(model, X[:rows])


def embedding():
    return gn.Sequential(gn.Embedding(9, 4, rng=0), gn.Flatten(), gn.Linear(12, 3, rng=1))


def test_shared_layers_predict_with_their_current_weights():
    indices = RNG.integers(0, 9, (40, 3))
    model = embedding()
    expected = model.outputs(indices)
    gn.Sequential(gn.Linear(5, 12, rng=0), model[2]).parameters()
    np.testing.assert_array_equal(model.outputs(indices), expected)
    gn.Sequential(model[0], gn.Flatten()).parameters()
    np.testing.assert_array_equal(model.outputs(indices), expected)
    model[0].params["weight"][...] *= 2
    np.testing.assert_array_equal(model.outputs(indices), model.forward(indices))


def test_concurrent_first_predictions_do_not_interfere(monkeypatch):
    model, indices = embedding(), RNG.integers(0, 9, (40, 3))
    expected, forward = model.forward(indices), gn.Sequential.forward
    first_begins, second_begins, first_ended = (threading.Event() for _ in range(3))
    first = threading.Thread(target=lambda: (model.outputs(indices), first_ended.set()))

    def paused(self, x, tape=None):
        if threading.current_thread() is first:
            first_begins.set()
            second_begins.wait(0.3)  # it must not while this thread records
        else:
            second_begins.set()
            first_ended.wait(5)
        return forward(self, x, tape)

    monkeypatch.setattr(gn.Sequential, "forward", paused)
    first.start()
    first_begins.wait(5)
    np.testing.assert_array_equal(model.outputs(indices), expected)
    first.join()
    np.testing.assert_array_equal(model.outputs(indices), expected)


def test_a_prediction_does_not_disturb_a_step_recorded_in_another_thread(monkeypatch):
    indices, labels = RNG.integers(0, 9, (40, 3)), np.arange(40) % 3
    alone, one = (gn.Trainer(embedding(), optimizer=gn.SGD(0.1), executor=name) for name in ("numpy", "native"))
    forward, passes = gn.Sequential.forward, []
    prediction_begins, step_begins, predicted = (threading.Event() for _ in range(3))
    other = threading.Thread(target=lambda: (one.model.outputs(indices), predicted.set()))

    def paused(self, x, tape=None):
        if threading.current_thread() is other:
            prediction_begins.set()
            step_begins.wait(0.3)  # it must not while this thread records
        else:
            passes.append(x)
            if len(passes) == 2:  # the final recording, on contiguous buffers
                step_begins.set()
                predicted.wait(5)
        return forward(self, x, tape)

    with monkeypatch.context() as patch:
        patch.setattr(gn.Sequential, "forward", paused)
        other.start()
        prediction_begins.wait(5)
        one.step(indices, labels)
        other.join()
    alone.step(indices, labels)
    for _ in range(5):
        assert float(one.step(indices, labels)) == pytest.approx(float(alone.step(indices, labels)), rel=1e-5)


def test_concurrent_threads_that_build_a_models_program_predict_correctly():
    for _ in range(10):
        model = mlp()
        with ThreadPoolExecutor(3) as pool:
            for y in pool.map(model.outputs, [X[:40]] * 6):
                np.testing.assert_allclose(y, model.forward(X[:40]), rtol=0, atol=1e-5)


def test_a_prediction_is_a_new_array():
    model = mlp()
    first = model.outputs(X[:10])
    kept = first.copy()
    model.outputs(X[10:20])
    np.testing.assert_array_equal(first, kept)
