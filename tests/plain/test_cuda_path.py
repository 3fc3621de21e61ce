"""The CUDA path on the stand-in for CuPy, which plays two GPUs and runs no kernels: where arrays live, what is refused.

What the kernels compute is tested on the device "sim", see tests/compiler/ops.
"""

import copy
import pickle
import sys
from types import SimpleNamespace

import cupy_stand_in
import numpy as np
import pytest
from problems import classification, net, weights

import gpunet as gn
from gpunet import device as shim
from gpunet.errors import DeviceMismatchError, MissingPackageError, StateError
from gpunet.training.distributed import Ranks

X, Y = classification()


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


# two GPUs


def test_a_training_takes_place_on_its_gpu_though_another_is_the_current_one():
    callbacks = [gn.EarlyStopping(1), gn.TerminateOnNaN()]
    trainer = gn.Trainer(net(dropout=0.2).to("cuda:1"), optimizer=gn.SGD(0.1, momentum=0.9), callbacks=callbacks)
    cupy_stand_in.cuda.launches.clear()
    trainer.fit(X, Y, epochs=2, validation=0.2, sample_weight=np.ones(60))
    trainer.step(X, Y)
    trainer.evaluate(X, Y)
    assert set(cupy_stand_in.cuda.launches) == {1}  # an array of another GPU is refused by the launch
    assert {shim.device_of(slot).name for slot in trainer.model.store.slots.values()} == {"cuda:1"}


def test_a_training_moves_from_gpu_to_gpu_with_its_optimizer():
    trainer = gn.Trainer(net(dropout=0.2), optimizer=gn.SGD(0.05, momentum=0.9))
    for device in ("cuda:0", "cuda:1", "cpu", "cuda:1"):
        trainer.model.to(device)
        trainer.fit(X, Y, epochs=1)
        assert {shim.device_of(slot).name for slot in trainer.model.store.slots.values()} == {device}


class Twins:
    """A communicator of two ranks that always say the same."""

    size = 2

    def __init__(self, rank=0):
        self.rank = rank

    def allgather(self, thing):
        return [thing, thing]

    def bcast(self, thing):
        return thing


@pytest.mark.parametrize(
    ("spec", "devices"), [("auto", "cuda:0 cuda:1"), ("cuda:0", "cuda:0 cuda:0"), ("cpu", "cpu cpu")]
)
def test_ranks_on_one_machine_use_different_gpus(spec, devices):
    assert [Ranks(Twins(rank)).local_device(spec) for rank in (0, 1)] == devices.split()


def test_the_gradients_of_ranks_are_summed_by_nccl_between_two_graphs(monkeypatch):
    launches, backends = cupy_stand_in.cuda.launches, []

    class Backend:
        def __init__(self, size, rank, *, use_mpi):
            backends.append((size, rank, use_mpi))

        def all_reduce(self, given, summed):
            assert given is summed is trainer.model.store.grads
            launches.append("sum")

    nccl = SimpleNamespace(available=False)
    monkeypatch.setitem(sys.modules, "cupy.cuda", SimpleNamespace(nccl=nccl))
    monkeypatch.setitem(sys.modules, "cupyx.distributed", SimpleNamespace(NCCLBackend=Backend))
    trainer = gn.Trainer(net(dropout=0.2).to("cuda:1"), optimizer=gn.SGD(0.1))
    trainer.ranks = Ranks(Twins())
    with pytest.raises(MissingPackageError, match="NCCL"):
        trainer.step(X, Y)
    nccl.available = True
    launches.clear()
    trainer.fit(X, Y, epochs=2, batch_size=20)
    assert backends == [(2, 0, True)]
    assert launches.count("sum") == 6
    assert launches[-3:] == ["sum", 1, 1]  # the update: what begins a step, and the rule
    assert launches[-4::-1].index("sum") == len(trainer.explain().nodes)


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
def test_arrays_of_two_devices_are_refused_by_name_with_advice(call, said):
    x = np.eye(3, dtype=np.float32)
    with pytest.raises(DeviceMismatchError, match=f"{said}.*asarray") as refusal:
        call(x, on("cuda:0", x), on("cuda:1", x[0]))
    assert "model.to(" in str(refusal.value)


# files, copies


def test_a_model_is_saved_on_one_device_and_loaded_on_another(tmp_path):
    model = net().to("cuda:1")
    model.save(tmp_path / "model.safetensors")
    for name in ("cpu", "cuda:0", "cuda:1"):
        with gn.use_device(name):
            loaded = gn.load(tmp_path / "model.safetensors")
        assert loaded.device.name == name
        np.testing.assert_array_equal(weights(loaded), weights(model))


@pytest.mark.parametrize("then", ["cuda:1", "cpu"])
def test_a_training_is_resumed_on_another_device(then, tmp_path):
    trainer = gn.Trainer(net().to("cuda:0"), optimizer=gn.SGD(0.1, momentum=0.9))
    trainer.fit(X, Y, epochs=1)
    trainer.save(tmp_path / "run")
    with gn.use_device(then):
        resumed = gn.Trainer.resume(tmp_path / "run")
    for a, b in zip(resumed.model.store.slots.values(), trainer.model.store.slots.values(), strict=True):
        assert shim.device_of(a).name == then
        np.testing.assert_array_equal(gn.to_host(a), gn.to_host(b))


def test_a_model_is_pickled_as_host_arrays_and_copied_where_it_is():
    model = net().to("cuda:1")
    assert copy.deepcopy(model).device.name == "cuda:1"
    unpickled = pickle.loads(pickle.dumps(model))
    assert unpickled.device.name == "cpu"
    np.testing.assert_array_equal(weights(unpickled), weights(model))


COPIES = {"pickle": lambda it: pickle.loads(pickle.dumps(it)), "copy": copy.copy, "deepcopy": copy.deepcopy}


@pytest.mark.parametrize("device", ["cpu", "cuda:1"])
@pytest.mark.parametrize("again", COPIES.values(), ids=COPIES)
def test_a_copy_of_an_optimizer_that_stepped_has_its_settings_and_no_model(again, device):
    trainer = gn.Trainer(net().to(device), optimizer=gn.SGD(gn.StepLR(0.1, 2), momentum=0.9))
    trainer.fit(X, Y, epochs=1)
    before = weights(trainer.model)
    twin = again(trainer.optimizer)
    assert (type(twin), twin.config()) == (gn.SGD, trainer.optimizer.config())
    with pytest.raises(StateError, match=r"attach\(model\) first"):
        twin.step()
    gn.Trainer(net().to(device), optimizer=twin).fit(X, Y, epochs=1)
    np.testing.assert_array_equal(weights(trainer.model), before)
    trainer.fit(X, Y, epochs=1)  # continues with its own optimizer


@pytest.mark.parametrize("device", ["cpu", "cuda:1"])
@pytest.mark.parametrize("again", COPIES.values(), ids=COPIES)
def test_a_trainer_that_is_copied_points_to_save_and_resume(again, device):
    trainer = gn.Trainer(net().to(device))
    trainer.fit(X, Y, epochs=1)
    with pytest.raises(StateError, match=r"trainer\.save\(path\).*gn\.Trainer\.resume\(path\)"):
        again(trainer)
    trainer.fit(X, Y, epochs=1)


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
