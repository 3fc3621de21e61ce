"""The whole library on the device "sim" with the real kernels: the results of the CPU, without synchronization in a
step.
"""

import contextlib
import copy
import io
import pickle

import numpy as np
import pytest
from compiler.ops.simulated import SIM, only_launches, to_sim
from problems import classification, measured, net, regression, weights

import gpunet as gn
from gpunet import device as shim
from gpunet import native, simulator
from gpunet.data import Standardizer
from gpunet.errors import DeviceMismatchError
from gpunet.ops.activations import FUNCTIONS

X, Y = classification()
VALUES = regression()[1] / 100
NAMES = np.array(["a", "b", "c"])[Y]
DIGITS = gn.data.digits()


def both(make):
    """Return what `make` gives, called once for the CPU and once for the simulated GPU."""
    return make("cpu"), make("sim")


def assert_close(there, here, rtol=1e-4, atol=1e-5):
    np.testing.assert_allclose(there, here, rtol=rtol, atol=atol)


class Losses(gn.Callback):
    """Note the sum of the losses after each step."""

    def __init__(self):
        self.sums = []

    def on_step_end(self, trainer, rows):
        self.sums.append(trainer.running.state()["totals"][0])


def train(device, x=X, y=Y, *, model=net, epochs=2, batch_size=16, sample_weight=None, **trainer):
    """Return the sum of the losses after each step of a training on the device, and the trainer."""
    losses = Losses()
    trainer = gn.Trainer(model().to(device), callbacks=[losses], **trainer)
    trainer.fit(x, y, epochs=epochs, batch_size=batch_size, sample_weight=sample_weight)
    return losses.sums, trainer


def assert_trains_as_on_the_cpu(*data, **training):
    here, there = both(lambda device: train(device, *data, **training)[0])
    assert len(here) > 3
    assert_close(there, here)  # the sum restarts in each epoch; its growth in a step is the step's loss
    assert_close(np.diff(there), np.diff(here))


# training


def test_training_on_digits_matches_the_cpu():
    x = np.asarray(DIGITS.X, np.float32) / 16
    assert_trains_as_on_the_cpu(x, DIGITS.y, model=lambda: gn.MLP([64, 32, 10], dropout=0.2), batch_size=64)


@pytest.mark.parametrize("activation", [cls() for cls in FUNCTIONS.values()], ids=repr)
def test_training_with_every_activation_matches_the_cpu(activation):
    assert_trains_as_on_the_cpu(model=lambda: gn.MLP([5, 8, 3], activation=activation))


@pytest.mark.parametrize("cuda", [None, ("z * z", "2 * z")], ids=["in array code", "in the kernels"])
def test_training_with_a_custom_activation_matches_the_cpu(cuda):
    square = gn.CustomActivation(lambda z: z * z, lambda z: 2 * z, cuda)
    why = "falling back to eager steps: .* bytes were allocated inside the step; use tape.empty"
    with contextlib.nullcontext() if cuda else pytest.warns(UserWarning, match=why):
        assert_trains_as_on_the_cpu(model=lambda: gn.MLP([5, 8, 3], activation=square))


@pytest.mark.parametrize(
    "optimizer",
    [
        lambda: gn.SGD(gn.LinearWarmup(gn.CosineLR(0.1, 20), 3), momentum=0.9, nesterov=True, weight_decay=0.01),
        lambda: gn.Adam(0.01, weight_decay=0.01, clip_norm=0.1),
        lambda: gn.AdamW(0.01, clip_value=0.01),
        lambda: gn.RMSprop(gn.ReduceLROnPlateau(0.01, patience=0), momentum=0.5),
    ],
)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_training_with_every_optimizer_matches_the_cpu(optimizer, dtype):
    def losses(device):
        return train(device, model=lambda: net().to(device, dtype=dtype), optimizer=optimizer())[0]

    here, there = both(losses)
    assert_close(there, here, rtol=1e-4 if dtype == "float32" else 1e-10)


@pytest.mark.parametrize(
    ("loss", "outputs", "target"),
    [
        (gn.CrossEntropyLoss(label_smoothing=0.1, class_weight=[1, 2, 3]), 3, Y),
        (gn.CrossEntropyLoss(), 3, np.eye(3)[Y]),
        (gn.BCEWithLogitsLoss(), 1, Y > 0),
        (gn.BCEWithLogitsLoss(class_weight="balanced"), 1, Y > 0),
        (gn.CrossEntropyLoss(class_weight={0: 2, 2: 0.5}), 3, Y),
        (gn.BCEWithLogitsLoss(), 2, np.stack([Y > 0, Y > 1], axis=1)),
        (gn.MSELoss(), 1, VALUES),
        (gn.HuberLoss(0.5), 1, VALUES),
        (gn.QuantileLoss(0.9), 1, VALUES),
        (gn.PoissonNLLLoss(), 1, Y),
    ],
    ids=repr,
)
@pytest.mark.parametrize("sample_weight", [None, np.linspace(0.5, 2, 60)], ids=["alike", "weighted"])
def test_training_and_prediction_with_every_loss_match_the_cpu(loss, outputs, target, sample_weight):
    def results(device):
        model = net(outputs)
        if loss.task == "regression":
            model.target_scaler = Standardizer.fit(target)
        losses, trainer = train(device, X, target, model=lambda: model, loss=loss, sample_weight=sample_weight)
        predicted = trainer.predict(X)
        assert type(predicted) is np.ndarray
        return losses, list(trainer.evaluate(X, target).values()), predicted.astype(float)

    for here, there in zip(*both(results), strict=True):
        assert_close(there, here)


def test_training_with_validation_matches_the_cpu_and_reads_the_device_as_rarely(tmp_path):
    def whole(device):
        model = net(dropout=0.3).to(device)
        model.input_scaler = Standardizer.fit(X)
        callbacks = [
            gn.ProgressBar(file=io.StringIO()),
            gn.EarlyStopping(2),
            gn.TerminateOnNaN(),
            gn.Log(tmp_path / f"{device}.jsonl"),
        ]
        trainer = gn.Trainer(model, optimizer=gn.SGD(0.1, momentum=0.9), callbacks=callbacks, seed=3)
        before = gn.get_device(device).host_reads, simulator.counters.downloads
        history = trainer.fit(X, NAMES, epochs=8, batch_size=7, validation=0.2)
        reads = gn.get_device(device).host_reads - before[0]
        # the means, whether weights are finite, and the outputs for validation unless a native program computes them
        is_native = device == "cpu" and native.why_unavailable() is None
        assert reads == (2 if is_native else 3) * len(history)
        assert simulator.counters.downloads - before[1] == (reads if device == "sim" else 0)
        rows = [list(row.values()) for row in measured(history)]
        return rows, list(trainer.evaluate(X, NAMES).values()), model.predict_proba(X)

    for here, there in zip(*both(whole), strict=True):
        assert_close(there, here, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("weight", [None, np.ones(60, np.float32)], ids=["alike", "weighted"])
@pytest.mark.parametrize("loss", [gn.CrossEntropyLoss(class_weight=[1, 2, 3]), gn.MSELoss()], ids=repr)
def test_a_steady_state_step_neither_allocates_nor_copies_nor_synchronizes(loss, weight):
    trainer = gn.Trainer(net(dropout=0.3).to("sim"), loss=loss)
    target = Y if loss.task == "classification" else np.eye(3, dtype=np.float32)[Y]
    batch = [to_sim(a) for a in (X, target, weight)]
    for _ in range(2):
        trainer.step(*batch)
    with only_launches():
        trainer.step(*batch)


def test_a_whole_step_is_captured_without_library_products():
    model, tape, loss = net(dropout=0.3).to("sim"), gn.Tape(), gn.CrossEntropyLoss()
    optimizer = gn.AdamW(0.01, clip_norm=1.0).attach(model)
    x, y = to_sim(X), to_sim(Y)

    def step():
        tape.reset()
        value, gradient = loss.value_and_grad(model.forward(x, tape), y, tape=tape)
        model.backward(gradient, tape)
        optimizer.step()
        return value

    step()
    with simulator.cuda.Stream(non_blocking=True) as stream:
        stream.begin_capture()
        value = step()  # where a call of cuBLAS is an error
        graph = stream.end_capture()
    values = []
    for _ in range(4):
        graph.launch(stream)
        stream.synchronize()
        values.append(float(SIM.to_host(value)))
    assert values[0] > values[1] > values[2] > values[3]


def test_an_epoch_synchronizes_once():
    trainer = gn.Trainer(net(dropout=0.3).to("sim"))
    trainer.fit(X, Y, epochs=1, batch_size=7)
    simulator.counters.reset()
    trainer.fit(X, Y, epochs=4, batch_size=7)
    assert (simulator.counters.downloads, simulator.counters.synchronizations) == (4, 4)


def test_repeated_training_is_bit_identical():
    first, again = (weights(train("sim", model=lambda: net(dropout=0.3))[1].model) for _ in range(2))
    np.testing.assert_array_equal(first, again)


def test_check_mode_finds_nothing_in_a_training():
    with simulator.check_mode():
        train("sim", X[:20], Y[:20], model=lambda: net(dropout=0.3), epochs=1, batch_size=7)


# operations


def test_every_operation_matches_the_cpu():
    rng = np.random.default_rng(0)
    a, b, bias = (rng.normal(size=shape).astype(np.float32) for shape in ((2, 3, 4), (2, 4, 5), (5,)))

    def compute(device):
        a_, b_, bias_, rows = map(gn.get_device(device).asarray, (a, b, bias, np.array([2, 0])))
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
            gn.ops.gather(b_[0], rows),
        ]
        return [gn.to_host(result) for result in results]

    for here, there in zip(*both(compute), strict=True):
        assert_close(there, here)


def test_arrays_of_two_devices_raise_with_their_names():
    with pytest.raises(DeviceMismatchError, match="a is on sim, b is on cpu"):
        gn.ops.matmul(to_sim(np.ones((2, 2))), np.ones((2, 2)))
    with pytest.raises(DeviceMismatchError, match="logits is on sim, target is on cpu"):
        gn.CrossEntropyLoss().value(to_sim(np.ones((3, 3))), np.arange(3))


# moves, files, copies


def test_a_model_moves_between_two_fits_with_its_optimizer():
    def moved(*devices):
        callbacks = [gn.EarlyStopping(100), gn.TerminateOnNaN()]
        trainer = gn.Trainer(net(dropout=0.2), optimizer=gn.SGD(0.05, momentum=0.9), callbacks=callbacks)
        for device in devices:
            trainer.model.to(device)
            trainer.fit(X, Y, epochs=2)
            assert {shim.device_of(slot).name for slot in trainer.model.store.slots.values()} == {device}
        return weights(trainer.model)

    assert_close(moved("cpu", "sim", "cpu"), moved("cpu", "cpu", "cpu"))


@pytest.mark.parametrize(("first", "then"), [("sim", "sim"), ("sim", "cpu"), ("cpu", "sim")])
def test_a_model_is_saved_on_one_device_and_loaded_on_another(first, then, tmp_path):
    model = net().to(first)
    gn.Trainer(model).fit(X, Y, epochs=1)
    model.save(tmp_path / "model.safetensors")
    with gn.use_device(then):
        loaded = gn.load(tmp_path / "model.safetensors")
    assert loaded.device.name == then
    np.testing.assert_array_equal(weights(loaded), weights(model))
    assert_close(loaded.predict_proba(X), model.predict_proba(X))


@pytest.mark.parametrize(("first", "then"), [("sim", "sim"), ("sim", "cpu"), ("cpu", "sim")])
def test_a_training_is_resumed_on_another_device(first, then, tmp_path):
    stopping = [gn.EarlyStopping(restore_best=False) for _ in range(3)]
    whole, half = (gn.Trainer(net(dropout=0.3).to(first), callbacks=stopping[k : k + 1]) for k in range(2))
    whole.fit(X, Y, epochs=4)
    half.fit(X, Y, epochs=2)
    half.save(tmp_path / "run")
    with gn.use_device(then):
        resumed = gn.Trainer.resume(tmp_path / "run", callbacks=stopping[2:])
    assert resumed.model.device.name == then
    resumed.fit(X, Y, epochs=2)
    same = np.testing.assert_array_equal if then == first else assert_close
    same(weights(resumed.model), weights(whole.model))
    same(gn.to_host(stopping[2].best_weights), gn.to_host(stopping[0].best_weights))
    same(*([list(row.values()) for row in measured(trainer.history)] for trainer in (resumed, whole)))


def test_a_model_is_pickled_as_host_arrays_and_copied_on_its_device():
    model = net().to("sim")
    assert copy.deepcopy(model).device is SIM
    unpickled = pickle.loads(pickle.dumps(model))
    assert unpickled.device.name == "cpu"
    np.testing.assert_array_equal(weights(unpickled), weights(model))
