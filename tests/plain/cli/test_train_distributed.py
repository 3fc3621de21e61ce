"""`mpiexec -n N gpunet train` writes one run, like a single process."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
from ranks import mpiexec

from gpunet.files import read_arrays

GPUNET = Path(sys.executable).parent / "gpunet"
ARGUMENTS = ("train", "digits", "--hidden", 16, "--dropout", 0.1, "--epochs", 2, "--json")


def test_ranks_write_one_run_and_print_the_output_of_one_process(invoke, tmp_path):
    one, two = tmp_path / "one", tmp_path / "two"
    alone = json.loads(invoke(*ARGUMENTS, "--out", one).stdout)
    ranks = mpiexec(2, GPUNET, *ARGUMENTS, "--out", two)
    assert ranks.returncode == 0, ranks.stderr
    assert ranks.stderr == ""
    (line,) = ranks.stdout.splitlines()
    assert json.loads(line)["test"] == pytest.approx(alone["test"], rel=1e-5)
    assert {path.name for path in two.iterdir()} == {path.name for path in one.iterdir()}
    assert len((two / "metrics.jsonl").read_text().splitlines()) == 2
    weights, expected = (read_arrays(run / "model.safetensors", "model")[0] for run in (two, one))
    for name, a in expected.items():
        np.testing.assert_allclose(weights[name], a, rtol=0, atol=1e-6)
    resumed = mpiexec(2, GPUNET, "train", "--resume", two, "--epochs", 3)
    assert resumed.returncode == 0, resumed.stderr
    assert "cpu; 2 ranks" in resumed.stdout
    assert "3 epochs" in resumed.stdout


def test_without_mpi4py_the_error_says_what_to_install(invoke, refused, monkeypatch):
    monkeypatch.setenv("PMI_SIZE", "2")
    monkeypatch.setitem(sys.modules, "mpi4py", None)
    assert "pip install 'gpunet[mpi]'" in refused("train", "digits")
    assert "No such option '--epocs'" in invoke("train", "digits", "--epocs", 3).stderr


def test_ranks_reject_a_used_folder_in_one_line(tmp_path):
    (tmp_path / "mine.txt").touch()
    run = mpiexec(2, GPUNET, *ARGUMENTS, "--out", tmp_path)
    assert run.returncode == 2
    (line,) = run.stderr.splitlines()
    assert line.startswith(f"Error: --out {tmp_path}: not empty")


def test_ranks_with_different_settings_are_rejected(tmp_path):
    run = mpiexec(1, GPUNET, *ARGUMENTS, "--out", tmp_path, ":", "-n", 1, GPUNET, *ARGUMENTS, "--seed", 9)
    assert run.returncode == 2
    assert "rank 1 differs from rank 0: out is None, not" in run.stderr
    assert "seed is 9, not 0" in run.stderr
    assert not any(tmp_path.iterdir())


def test_a_rank_with_an_invalid_command_line_ends_the_others(tmp_path):
    run = mpiexec(1, GPUNET, *ARGUMENTS, "--out", tmp_path, ":", "-n", 1, GPUNET, *ARGUMENTS, "--epocs", 3)
    assert run.returncode != 0
    assert "Error: No such option '--epocs'" in run.stderr
    assert "Error: rank 1 ended before the training of the others; see its output." in run.stderr
    assert not any(tmp_path.iterdir())


def test_ranks_with_invalid_command_lines_report_it():
    run = mpiexec(2, GPUNET, *ARGUMENTS, "--epocs", 3)
    assert run.returncode == 2
    assert run.stderr.count("Error: No such option '--epocs'") == 2
    assert "rank" not in run.stderr


def test_too_small_batches_are_rejected_before_a_file_is_written(tmp_path):
    run = mpiexec(2, GPUNET, *ARGUMENTS, "--batch-size", 1, "--out", tmp_path)
    assert run.returncode == 2
    assert "a batch of 1 for 2 ranks" in run.stderr
    assert not any(tmp_path.iterdir())


def test_a_finished_run_is_shown_on_any_number_of_ranks(invoke, tmp_path):
    invoke("train", "digits", "--hidden", 8, "--epochs", 1, "--batch-size", 1149, "--out", tmp_path)  # and one of 1 row
    run = mpiexec(2, GPUNET, "train", "--resume", tmp_path)
    assert run.returncode == 0, run.stderr
