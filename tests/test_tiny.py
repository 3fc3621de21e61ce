"""A smoke test of the whole: train, resume, save, predict, export, and a hand-written kernel on the simulated GPU."""

import numpy as np
import pytest

import gpunet as gn
from gpunet import simulator
from gpunet.simulator.compiler import find_compiler

DATA = gn.data.digits()
TRAIN, TEST = gn.data.split_indices(DATA.y, (0.8, 0.2), seed=0)


def trainer(device: str = "cpu") -> gn.Trainer:
    with gn.use_device(device):
        return gn.Trainer(gn.MLP([64, 32, 10], dropout=0.1, seed=0), optimizer=gn.Adam(0.01), seed=0)


def fit(one: gn.Trainer, epochs: int) -> None:
    one.fit(DATA.X[TRAIN] / 16, DATA.y[TRAIN], epochs=epochs, batch_size=64)


@pytest.fixture(scope="module")
def trained() -> gn.Trainer:
    one = trainer()
    fit(one, 10)
    return one


@pytest.fixture
def compiler() -> None:
    try:
        find_compiler()
    except gn.errors.GpunetError as error:
        pytest.skip(str(error))


def test_it_learns_the_digits(trained):
    assert (trained.model.predict(DATA.X[TEST] / 16) == DATA.y[TEST]).mean() > 0.95


def test_a_resumed_training_has_the_bits_of_an_uninterrupted_one(trained, tmp_path):
    first = trainer()
    fit(first, 4)
    first.save(tmp_path / "checkpoint.safetensors")
    resumed = gn.Trainer.resume(tmp_path / "checkpoint.safetensors")
    fit(resumed, 6)
    for name, parameter in trained.model.parameters().items():
        np.testing.assert_array_equal(resumed.model.parameters()[name], parameter)


def test_a_saved_model_predicts_the_same(trained, tmp_path):
    trained.model.save(tmp_path / "model.safetensors")
    X, loaded = DATA.X[TEST] / 16, gn.load(tmp_path / "model.safetensors")
    np.testing.assert_array_equal(loaded.predict_proba(X), trained.model.predict_proba(X))


def test_the_cuda_kernels_train_like_the_cpu_on_the_simulated_gpu(compiler):
    on_cpu, on_sim = trainer(), trainer("sim")
    for one in (on_cpu, on_sim):
        fit(one, 1)
    assert on_sim.history["loss"] == pytest.approx(on_cpu.history["loss"], rel=1e-4)


def test_the_checker_finds_a_race(compiler):
    kernel = simulator.RawKernel('extern "C" __global__ void k(int* x) { x[0] = threadIdx.x; }', "k")
    with simulator.check_mode(), pytest.raises(gn.errors.KernelError, match="race"):
        kernel((1,), (64,), (simulator.zeros(1, np.int32),))
