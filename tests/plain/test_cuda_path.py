"""The CUDA path of the whole library, on the stand-in for CuPy: what it computes, what it refuses, where it reads."""

import copy
import io
import pickle
import sys

import cupy_stand_in
import numpy as np
import pytest
from problems import classification, measured, net, regression, weights

import gpunet as gn
from gpunet import device as shim
from gpunet.data import Standardizer
from gpunet.errors import DeviceMismatchError
from gpunet.ops.activations import FUNCTIONS

X, Y = classification()
VALUES = regression()[1] / 100
ACTIVATIONS = [cls() for cls in FUNCTIONS.values()]


@pytest.fixture(autouse=True)
def _gpus(monkeypatch):
    """Play two GPUs."""
    monkeypatch.setitem(sys.modules, "cupy", cupy_stand_in)
    monkeypatch.setitem(sys.modules, "cupyx.scipy", cupy_stand_in)
    for cached in (shim._cuda_device, shim._auto):
        cached.cache_clear()
    yield
    for cached in (shim._cuda_device, shim._auto):
        cached.cache_clear()


def on(name, array):
    return gn.get_device(name).asarray(array)


def both(make, *, device="cuda"):
    """Return what `make` gives, called once for the CPU and once for a GPU."""
    return make("cpu"), make(device)


# training


@pytest.mark.parametrize("activation", ACTIVATIONS, ids=repr)
def test_every_activation_trains_as_on_the_cpu(activation):
    def train(device):
        model = gn.MLP([5, 8, 3], activation=activation).to(device)
        history = gn.Trainer(model).fit(X, Y, epochs=2, validation=0.2)
        return weights(model), history["val_loss"]

    (host, host_loss), (there, loss) = both(train)
    np.testing.assert_allclose(there, host, rtol=1e-5, atol=1e-6)  # a GPU has an erf of its own
    assert loss == pytest.approx(host_loss, rel=1e-5)


@pytest.mark.parametrize(
    "make",
    [
        lambda: gn.SGD(gn.LinearWarmup(gn.CosineLR(0.1, 20), 3), momentum=0.9, nesterov=True, weight_decay=0.01),
        lambda: gn.Adam(0.01, weight_decay=0.01, clip_norm=0.1),
        lambda: gn.AdamW(0.01, clip_value=0.01),
        lambda: gn.RMSprop(gn.ReduceLROnPlateau(0.01, patience=0), momentum=0.5),
    ],
)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_every_optimizer_trains_as_on_the_cpu(make, dtype):
    def train(device):
        model = net().to(device, dtype=dtype)
        gn.Trainer(model, optimizer=make()).fit(X, Y, epochs=2)
        return weights(model)

    np.testing.assert_array_equal(*both(train))


@pytest.mark.parametrize(
    ("loss", "outputs", "target"),
    [
        (gn.CrossEntropyLoss(label_smoothing=0.1, class_weight=[1, 2, 3]), 3, Y),
        (gn.CrossEntropyLoss(), 3, np.eye(3)[Y]),
        (gn.BCEWithLogitsLoss(), 1, Y > 0),
        (gn.BCEWithLogitsLoss(), 2, np.stack([Y > 0, Y > 1], axis=1)),
        (gn.MSELoss(), 1, VALUES),
        (gn.HuberLoss(0.5), 1, VALUES),
    ],
)
@pytest.mark.parametrize("sample_weight", [None, np.linspace(0.5, 2, 60)], ids=["alike", "weighted"])
def test_every_loss_trains_and_predicts_as_on_the_cpu(loss, outputs, target, sample_weight):
    def train(device):
        trainer = gn.Trainer(net(outputs).to(device), loss=loss)
        if loss.task == "regression":
            trainer.model.target_scaler = Standardizer.fit(target)
        history = trainer.fit(X, target, epochs=2, sample_weight=sample_weight, validation=(X, target))
        predicted = trainer.predict(X)
        assert type(predicted) is np.ndarray
        return weights(trainer.model).tobytes(), measured(history), predicted.tolist(), trainer.evaluate(X, target)

    assert train("cpu") == train("cuda")


def test_a_whole_training_is_the_same_and_reads_the_device_as_rarely(tmp_path):
    def train(device):
        model = net(dropout=0.3).to(device)
        model.input_scaler = Standardizer.fit(X)
        callbacks = [
            gn.ProgressBar(file=io.StringIO()),
            gn.EarlyStopping(2),
            gn.TerminateOnNaN(),
            gn.Log(tmp_path / f"{device}.jsonl"),
        ]
        trainer = gn.Trainer(model, optimizer=gn.SGD(0.1, momentum=0.9), callbacks=callbacks, seed=3)
        before = gn.get_device(device).host_reads, cupy_stand_in.cuda.reads
        history = trainer.fit(X, np.array(["a", "b", "c"])[Y], epochs=8, batch_size=7, validation=0.2)
        reads = gn.get_device(device).host_reads - before[0]
        assert reads == 3 * len(history)  # the means, the outputs for the validation rows, whether weights are finite
        assert cupy_stand_in.cuda.reads - before[1] == (reads if device == "cuda" else 0)
        results = trainer.evaluate(X, np.array(["a", "b", "c"])[Y])
        return weights(model).tobytes(), measured(history), results, model.predict_proba(X).tolist()

    assert train("cpu") == train("cuda")


def test_a_step_on_arrays_of_the_device_reads_nothing():
    def train(device):
        trainer = gn.Trainer(net(dropout=0.3).to(device))
        data = gn.get_device(device).asarray(X), gn.get_device(device).asarray(Y)
        before = cupy_stand_in.cuda.reads
        loss = [trainer.step(*data) for _ in range(3)][-1]
        assert cupy_stand_in.cuda.reads == before
        return weights(trainer.model).tobytes(), float(gn.to_host(loss))

    assert train("cpu") == train("cuda")


def test_a_second_gpu_trains_as_the_first_though_it_is_not_the_current_one():
    def train(device):
        trainer = gn.Trainer(net(dropout=0.2).to(device), callbacks=[gn.EarlyStopping(1), gn.TerminateOnNaN()])
        history = trainer.fit(X, Y, epochs=3, validation=0.2)
        trainer.step(X, Y)
        return weights(trainer.model).tobytes(), measured(history), trainer.predict(X).tolist()

    first, second = both(train, device="cuda:1")
    assert first == second


def test_a_model_moves_between_two_fits_with_its_optimizer():
    def train(*devices):
        callbacks = [gn.EarlyStopping(100), gn.TerminateOnNaN()]
        trainer = gn.Trainer(net(dropout=0.2), optimizer=gn.SGD(0.05, momentum=0.9), callbacks=callbacks)
        for device in devices:
            trainer.model.to(device)
            trainer.fit(X, Y, epochs=2)
            assert {shim.device_of(slot).name for slot in trainer.model.store.slots.values()} == {device}
        return weights(trainer.model)

    stay = train("cpu", "cpu", "cpu", "cpu")
    np.testing.assert_array_equal(train("cpu", "cuda:0", "cuda:1", "cpu"), stay)


def test_your_own_activation_works_on_the_gpu():
    square = gn.CustomActivation(lambda z: z * z, lambda z: 2 * z)

    def train(device):
        model = gn.MLP([5, 8, 3], activation=square).to(device)
        gn.Trainer(model).fit(X, Y, epochs=1)
        return weights(model)

    np.testing.assert_array_equal(*both(train))


# operations


def test_every_operation_computes_as_on_the_cpu():
    rng = np.random.default_rng(0)
    a, b, bias = (rng.normal(size=shape).astype(np.float32) for shape in ((2, 3, 4), (2, 4, 5), (5,)))

    def compute(device):
        a_, b_, bias_ = (on(device, array) for array in (a, b, bias))
        y = gn.ops.matmul(a_, b_)
        with_bias = gn.ops.bias_activation(y, bias_, "tanh")
        row = gn.ops.linear(a_[0], b_[0], bias_, "relu")
        results = [
            y,
            gn.ops.matmul(b_, a_, transpose_a=True, transpose_b=True),
            *gn.ops.matmul_backward(y, a_, b_),
            with_bias,
            *gn.ops.bias_activation_backward(y, with_bias, "tanh"),
            row,
            *gn.ops.linear_backward(row, a_[0], b_[0], row, "relu"),
            gn.ops.softmax(y),
            gn.ops.softmax_backward(y, gn.ops.softmax(y)),
            gn.ops.gather(b_[0], on(device, np.array([2, 0]))),
        ]
        return [gn.to_host(result) for result in results]

    for host, there in zip(*both(compute), strict=True):
        np.testing.assert_array_equal(there, host)


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda x, w, b: gn.ops.matmul(x, w), "a is on cpu, b is on cuda:0"),
        (lambda x, w, b: gn.ops.linear(x, w, b), "x is on cpu, weight is on cuda:0, bias is on cuda:1"),
        (lambda x, w, b: gn.ops.bias_activation(x, w[0], None), "z is on cpu, bias is on cuda:0"),
        (lambda x, w, b: gn.MSELoss().value(w, x), "prediction is on cuda:0, target is on cpu"),
        (lambda x, w, b: net().to("cuda").forward(X), "x is on cpu, weight is on cuda:0"),
        (lambda x, w, b: gn.CrossEntropyLoss().value(w, np.arange(3)), "logits is on cuda:0, target is on cpu"),
    ],
)
def test_arrays_of_two_devices_are_refused_by_name_with_the_way_out(call, said):
    x = np.eye(3, dtype=np.float32)
    with pytest.raises(DeviceMismatchError, match=f"{said}.*asarray") as refusal:
        call(x, on("cuda:0", x), on("cuda:1", x[0]))
    assert "model.to(" in str(refusal.value)


# files, copies


def test_a_model_is_saved_on_one_device_and_loaded_on_another(tmp_path):
    model = net().to("cuda:1")
    gn.Trainer(model).fit(X, Y, epochs=1)
    model.save(tmp_path / "model.safetensors")
    for name in ("cpu", "cuda:0", "cuda:1"):
        with gn.use_device(name):
            loaded = gn.load(tmp_path / "model.safetensors")
        assert loaded.device.name == name
        np.testing.assert_array_equal(loaded.predict_proba(X), model.predict_proba(X))


@pytest.mark.parametrize(("first", "then"), [("cuda:0", "cuda:1"), ("cuda:0", "cpu"), ("cpu", "cuda:0")])
def test_a_training_is_resumed_on_another_device(first, then, tmp_path):
    stopping = [gn.EarlyStopping(restore_best=False) for _ in range(3)]
    whole, half = (gn.Trainer(net(dropout=0.3), callbacks=stopping[k : k + 1]) for k in range(2))
    whole.fit(X, Y, epochs=4)
    half.model.to(first)
    half.fit(X, Y, epochs=2)
    half.save(tmp_path / "run")
    with gn.use_device(then):
        resumed = gn.Trainer.resume(tmp_path / "run", callbacks=stopping[2:])
    assert resumed.model.device.name == then
    resumed.fit(X, Y, epochs=2)
    np.testing.assert_array_equal(weights(resumed.model), weights(whole.model))
    np.testing.assert_array_equal(gn.to_host(stopping[2].best_weights), stopping[0].best_weights)
    assert measured(resumed.history) == measured(whole.history)


def test_a_model_is_pickled_as_host_arrays_and_copied_where_it_is():
    model = net().to("cuda:1")
    assert copy.deepcopy(model).device.name == "cuda:1"
    unpickled = pickle.loads(pickle.dumps(model))
    assert unpickled.device.name == "cpu"
    np.testing.assert_array_equal(weights(unpickled), weights(model))


def test_parameters_are_assigned_from_the_host_and_from_any_device():
    model = net().to("cuda:1")
    for value in (np.ones((5, 8)), on("cuda:0", np.ones((5, 8))), on("cuda:1", np.full((5, 8), 2.0))):
        model[0].params["weight"] = value
        np.testing.assert_array_equal(gn.to_host(model.parameters()["0.weight"]), gn.to_host(value))


# the stand-in itself


@pytest.mark.parametrize(
    "misuse",
    [
        lambda a: np.asarray(a),
        lambda a: float(a[0]),
        lambda a: bool(a[0]),
        lambda a: a + np.ones(2),
        lambda a: np.ones(2) + a,
        lambda a: np.multiply(a, 2),
        lambda a: cupy_stand_in.add(a, np.ones(2)),
        lambda a: cupy_stand_in.add(a, a, where=a),
        lambda a: cupy_stand_in.take(a, a, mode="clip"),
        lambda a: a.sum(where=True),
    ],
)
def test_the_stand_in_refuses_what_cupy_refuses_and_hidden_reads(misuse):
    with pytest.raises(TypeError):
        misuse(on("cuda", [1.0, 2.0]))


def test_the_stand_in_refuses_arrays_of_another_gpu_than_the_current_one():
    with pytest.raises(ValueError, match="the array is on GPU 1, the current one is 0"):
        cupy_stand_in.add(on("cuda:1", [1.0]), 1)
