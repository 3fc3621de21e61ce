"""`gpunet tune`: its output, the saved table, and invalid input."""

from __future__ import annotations

import pytest
from tune_stand_in import gpu
from tuned_table import table

import gpunet as gn
from gpunet.bench import memory
from gpunet.ops import matmul_plan

__all__ = ["gpu", "table"]

SIZES = ("--sizes", "80-24-10", "--batch-size", 32)
FAST = "16x16x32 in 2 slices, 2 splits"  # of 32x24x80, and not its default


@pytest.fixture
def tune(invoke, table):
    return lambda *arguments: invoke("tune", *arguments)


@pytest.fixture
def refused(tune, table):
    """Run a command that must fail with one line, exit code 2 and no table written; return the line."""

    def run(*arguments):
        result = tune(*arguments)
        assert result.exit_code == 2
        assert isinstance(result.exception, SystemExit)
        assert result.stdout == ""
        assert not table.is_file()
        return result.stderr.splitlines()[-1]

    return run


def plan():
    return matmul_plan(32, 24, 80, device=gn.get_device("cuda"))


def test_the_fastest_choices_are_printed_saved_and_used_by_the_plan(gpu, tune, table):
    gpu.seconds = {FAST: 1.0}
    result = tune(*SIZES, "--device", "cuda")
    assert result.exit_code == 0, result.output
    title, _, *lines, _, kept = result.stdout.splitlines()
    assert title == "float32, on cuda:0, stand-in"
    assert [line.split()[:2] for line in lines] == [
        ["32x24x80", "NN"], ["80x24x32", "TN"], ["32x10x24", "NN"], ["32x24x10", "NT"], ["24x10x32", "TN"]
    ]  # fmt: skip
    assert FAST not in lines[1]
    assert kept == f"saved in {table}"
    assert "10 x default" in next(line for line in lines if FAST in line)
    assert plan().why.startswith("tuned on stand-in on 20")


def test_tf32_is_tuned_on_request_for_its_kernel(gpu, tune, table):
    result = tune(*SIZES, "--precision", "3xtf32", "--device", "cuda")
    assert result.exit_code == 0, result.output
    assert result.stdout.startswith("float32 in 3xtf32, on cuda:0, stand-in")
    assert not plan().why.startswith("tuned")
    with gn.ops.use_kernel("mma3"):
        assert plan().why.startswith("tuned on stand-in on 20")


def test_a_run_uses_its_own_batch_size_and_a_model_file_the_option(gpu, tune, digits_run):
    run = digits_run[0]
    for arguments in ((run,), (run / "model.safetensors", "--batch-size", 32)):
        result = tune(*arguments, "--device", "cuda")
        assert result.exit_code == 0, result.output
        assert result.stdout.splitlines()[2].split()[:2] == ["32x128x64", "NN"]


def test_a_wrong_choice_gives_exit_code_1_and_is_not_saved(gpu, tune, table):
    gpu.seconds = {FAST: 1.0}
    gpu.wrong = {FAST}
    result = tune(*SIZES, "--device", "cuda")
    assert result.exit_code == 1
    assert f"{FAST}  WRONG: " in result.stdout
    assert plan().why.startswith("tuned")
    assert (str(plan().tile), plan().splits) != ("16x16x32 in 2 slices", 2)


def test_nothing_is_written_if_every_choice_is_wrong(gpu, tune, table):
    gpu.wrong = type("All", (), {"__contains__": lambda self, name: True})()
    assert tune(*SIZES, "--device", "cuda").exit_code == 1
    assert not table.exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "give either a run's folder or model file, or layer sizes such as --sizes 784-128-10."),
        (("run", *SIZES), "give either a run's folder or model file, or layer sizes"),
        (("nowhere", "--batch-size", 8), "nowhere: No such file"),
        (("--sizes", "40-24-10"), "--batch-size 128"),
        (("--sizes", "40", "--batch-size", 8), "size '40/8': expected IN-HIDDEN-...-OUT/BATCH"),
        (("--sizes", "40-x", "--batch-size", 8), "size '40-x/8': expected"),
        (("--sizes", "40-0", "--batch-size", 8), "size '40-0/8': expected"),
        (("--sizes", "40-24", "--batch-size", 0), "0 is not in the range x>=1"),
        (SIZES, "on cpu: the CPU uses BLAS, which has nothing to tune; use a GPU."),
        ((*SIZES, "--device", "tpu"), "unknown device 'tpu'"),
    ],
)
def test_invalid_input_gives_one_line_and_exit_code_2(refused, monkeypatch, tmp_path, arguments, said):
    monkeypatch.chdir(tmp_path)
    assert said in refused(*(("--device", "cpu") if arguments is SIZES else ()), *arguments)


def test_a_folder_without_a_run_is_rejected(refused, tmp_path):
    assert "model.safetensors: No such file" in refused(tmp_path)


def test_a_model_without_linear_layers_is_rejected(refused, tmp_path):
    path = tmp_path / "model.safetensors"
    gn.Sequential(gn.Tanh()).save(path)
    assert "the model has no linear layer" in refused(path, "--batch-size", 8, "--device", "sim")


def test_sizes_that_exceed_memory_are_rejected(gpu, refused, monkeypatch):
    monkeypatch.setattr(memory, "host_memory", lambda: 2**50)
    assert "needs about" in refused("--sizes", "30000-30000", "--batch-size", 8, "--device", "cuda")


def test_an_unwritable_cache_folder_is_reported_before_measuring(gpu, refused, table):
    table.parent.touch()
    line = refused(*SIZES, "--device", "cuda")
    assert str(table.parent) in line


def test_a_damaged_table_is_reported_before_measuring_and_kept(gpu, tune, table):
    table.parent.mkdir()
    table.write_text("{")
    result = tune(*SIZES, "--device", "cuda")
    assert (result.exit_code, result.stdout) == (2, "")
    assert "delete it and tune again" in result.stderr
    assert table.read_text() == "{"


def test_the_help_says_that_the_last_bits_change(invoke):
    assert "change the last bits of results" in " ".join(invoke("tune", "--help").stdout.split())
