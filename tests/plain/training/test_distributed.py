"""Distributed training: the results of one process, or an error on all ranks."""

import functools
import json
import os
import subprocess
import sys
import time

import numpy as np
import pytest
from problems import weights
from ranks import BATCH, TRAININGS, AtEachStep, X, Y, mpiexec, ranks_do, trained

import gpunet as gn
from gpunet.errors import ArgumentError, MissingPackageError
from gpunet.training.launch import SIZES, launched


@functools.cache
def of_one_process(name):
    return TRAININGS[name](None)


def done(n, task, folder):
    run = ranks_do(n, task, folder)
    assert run.returncode == 0, run.stderr


def assert_same_history(found, expected, name=None):
    assert len(found) == len(expected), name
    for row, other in zip(found, expected, strict=True):
        assert row.keys() == other.keys(), name
        for column in row.keys() - {"seconds"}:
            assert row[column] == pytest.approx(other[column], rel=1e-6, abs=1e-6), f"{name}: {column}"


@pytest.mark.parametrize("n", [1, 2, 4])
def test_n_ranks_train_like_one_process(n, tmp_path):
    done(n, "train", tmp_path)
    found = json.loads((tmp_path / "found.json").read_text())
    for name in TRAININGS:
        trainer = of_one_process(name)
        assert found[name]["steps"] == trainer.optimizer.steps >= 20, name
        np.testing.assert_allclose(found[name]["weights"], weights(trainer.model), rtol=0, atol=1e-6, err_msg=name)
        assert_same_history(found[name]["history"], trainer.history.epochs, name)


def test_a_step_reduces_the_gradient_and_nothing_else(tmp_path):
    done(2, "count", tmp_path)
    nbytes = gn.MLP([5, 16, 3]).store.grads.nbytes
    assert json.loads((tmp_path / "steps.json").read_text()) == [[["Allreduce", nbytes]]] * 9


def test_a_training_resumes_with_another_number_of_ranks(tmp_path):
    reference = trained(None)
    interrupt = AtEachStep(lambda trainer: trainer.stop("interrupted") if trainer.optimizer.steps == 7 else None)
    trained(None, callbacks=[interrupt]).save(tmp_path / "single.safetensors")
    done(2, "resume", tmp_path)
    for file in ("end", "ranks"):
        trainer = gn.Trainer.resume(tmp_path / f"{file}.safetensors")
        if file == "ranks":
            assert trainer.position == 3 * BATCH
            trainer.fit(X, Y, epochs=4 - trainer.epoch, batch_size=BATCH)
        np.testing.assert_allclose(weights(trainer.model), weights(reference.model), rtol=0, atol=1e-6)
        assert_same_history(trainer.history.epochs, reference.history.epochs, file)


def test_ctrl_c_on_one_rank_stops_all_ranks_after_the_epoch(tmp_path):
    done(2, "interrupt", tmp_path)
    assert json.loads((tmp_path / "ended.json").read_text()) == [["interrupted", 2, 0]] * 2
    assert gn.Trainer.resume(tmp_path / "checkpoint.safetensors").epoch == 2


@pytest.mark.parametrize("how", ["killed", "exits", "raises", "outside", "ends"])
def test_a_rank_that_fails_ends_the_others_and_leaves_a_whole_checkpoint(how, tmp_path):
    began = time.monotonic()
    run = ranks_do(3, how, tmp_path)
    assert time.monotonic() - began < 30
    assert run.returncode != 0
    if how == "killed":
        assert "Killed (signal 9)" in run.stdout + run.stderr
    elif how == "exits":
        assert "gpunet: rank 1 of 3 ended before the training did; all ranks are terminated." in run.stderr
    elif how == "ends":
        assert "RankError: rank 1 ended before the training of the others" in run.stderr
    else:
        assert "ValueError: planted" in run.stderr
        assert "rank 1 of 3 failed" in run.stderr
    if how not in ("outside", "ends"):
        trainer = gn.Trainer.resume(tmp_path / "checkpoint.safetensors")
        assert trainer.epoch == 2
        trainer.fit(X, Y, epochs=2, batch_size=BATCH)
        np.testing.assert_allclose(weights(trainer.model), weights(trained(None).model), rtol=0, atol=1e-6)


BAD = {
    "seed": "RankError: rank 1 differs from rank 0: the seed is 1, not 0",
    "step": "RankError: rank 1 differs from rank 0: the seed is 1, not 0",
    "model": "RankError: rank 1 differs from rank 0: the model is Sequential(Linear(5, 9",
    "optimizer": "RankError: rank 1 differs from rank 0: the optimizer is SGD",
    "loss": "RankError: rank 1 differs from rank 0: the loss is CrossEntropyLoss(label_smoothing=0.1)",
    "batch_size": "RankError: rank 1 differs from rank 0: batch_size is 9, not 8",
    "data": "RankError: rank 1 differs from rank 0: the checksum of the data is",
    "scaler": "RankError: rank 1 differs from rank 0: the checksum of the data is",
    "rows": "RankError: rank 1 differs from rank 0: the number of rows is 79, not 80",
    "NaN": "RankError: rank 1 of 2 failed: DataError: X",
    "batch of one": "ArgumentError: a batch of 1 for 2 ranks",
    "last batch of one": "ArgumentError: a batch of 1 for 2 ranks",
    "step on one": "ArgumentError: a batch of 1 for 2 ranks",
    "batch norm": "ArgumentError: BatchNorm1d(3) would normalise",
    "version": "RankError: rank 1 differs from rank 0: gpunet's version is 0.1, not 0.0",
}


def test_ranks_that_differ_are_refused_on_all_of_them(tmp_path):
    done(2, "refuse", tmp_path)
    messages = json.loads((tmp_path / "messages.json").read_text())
    assert messages.keys() == BAD.keys()
    for name, words in BAD.items():
        assert messages[name][0].startswith(words), messages[name]
        assert messages[name][1].startswith("DataError: X" if name == "NaN" else words), messages[name]


def test_without_mpi4py_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "mpi4py", None)
    with pytest.raises(MissingPackageError, match=r"pip install 'gpunet\[mpi\]'"):
        gn.Trainer(gn.MLP([5, 3]), distributed="mpi")


def test_an_mpiexec_of_another_library_is_reported():
    code = "import gpunet as gn; gn.Trainer(gn.MLP([5, 3]), distributed='mpi')"
    environment = os.environ | {"OMPI_COMM_WORLD_SIZE": "4"}
    run = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert "RankError: mpiexec started 4 ranks, but mpi4py sees 1" in run.stderr


def test_ranks_are_detected_from_the_environment_of_mpiexec(monkeypatch):
    for name in ("PMI_SIZE", "OMPI_COMM_WORLD_SIZE"):
        monkeypatch.delenv(name, raising=False)
    assert launched() is None
    monkeypatch.setenv("PMI_SIZE", "1")
    assert launched() is None
    monkeypatch.setenv("PMI_SIZE", "2")
    assert launched() == "mpi"


@pytest.mark.parametrize("name", SIZES)
@pytest.mark.parametrize("size", ["two", "1.5", "-2", "²"])
def test_a_number_of_ranks_in_the_environment_that_is_none_is_refused(monkeypatch, name, size):
    monkeypatch.setenv(name, size)
    for call in (launched, lambda: gn.Trainer(gn.MLP([5, 3]), distributed="mpi")):
        with pytest.raises(ArgumentError, match=f"{name} must be the number of ranks .* got '{size}'; unset it"):
            call()


def test_an_unknown_distributed_setting_is_refused():
    with pytest.raises(ArgumentError, match="None or 'mpi', got 'nccl'"):
        gn.Trainer(gn.MLP([5, 3]), distributed="nccl")


def test_a_rank_that_runs_something_else_ends_the_job_with_an_error(tmp_path):
    script = tmp_path / "mixed.py"
    script.write_text(
        "import os\n"
        "if int(os.environ.get('PMI_RANK', 0)) == 0:\n"
        "    import gpunet.training.launch as launch\n"
        "    launch.START_SECONDS = 1\n"
        "    launch.start_mpi()\n"
    )
    result = mpiexec(2, sys.executable, script)
    assert result.returncode != 0
    assert "the ranks of mpiexec did not all start within" in result.stderr
