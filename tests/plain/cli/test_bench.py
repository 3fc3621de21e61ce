from __future__ import annotations

import json
import sys

import pytest
from quick_bench import quick
from tune_stand_in import gpu

from gpunet.bench import measure
from gpunet.bench.results import Report

__all__ = ["gpu", "quick"]

SMALL = ("bias-activation", "--sizes", "24,40x8")


@pytest.fixture
def bench(quick, invoke, monkeypatch):
    """Run `gpunet bench` with short rounds."""
    monkeypatch.setattr(measure.Request, "seconds", 1e-3)
    return lambda *arguments: invoke("bench", *arguments)


@pytest.fixture
def refused(bench, tmp_path):
    """Run a command that must fail with one line, exit code 2 and nothing written; return the line."""

    def run(*arguments):
        before = sorted(tmp_path.rglob("*"))
        result = bench(*arguments)
        assert result.exit_code == 2
        assert isinstance(result.exception, SystemExit)
        assert result.stdout == ""
        assert sorted(tmp_path.rglob("*")) == before
        return result.stderr.splitlines()[-1]

    return run


def test_bench_prints_a_table_and_the_ceilings(bench):
    result = bench(*SMALL)
    assert result.exit_code == 0, result.output
    title, _, head, *rows, _, ceilings = result.stdout.splitlines()
    assert title == "bias-activation, float32, on cpu"
    assert head.split()[:3] == ["size", "variant", "kernel"]
    assert [row.split()[:3] for row in rows] == [
        [size, variant, kernel]
        for size in ("24x24", "40x8")
        for variant in ("forward", "backward")
        for kernel in ("array", "gpunet")
    ]
    assert ceilings.startswith("ceilings: a large copy ")


def test_the_title_says_that_the_librarys_products_on_a_gpu_are_in_tf32(gpu, bench, monkeypatch):
    monkeypatch.setenv("CUPY_TF32", "1")
    for device, title in (("cuda", "float32, on cuda:0, blas in TF32 (CUPY_TF32=1)"), ("cpu", "float32, on cpu")):
        result = bench("matmul", "--sizes", "8", "--kernels", "blas", "--device", device)
        assert result.stdout.splitlines()[0] == f"matmul, {title}"


@pytest.mark.parametrize("out", ["results", "results.json", "new/folder/results.json"])
def test_results_go_to_a_file_or_a_folder(bench, tmp_path, out):
    if "new" in out:
        (tmp_path / out).parent.mkdir(parents=True)
    result = bench(*SMALL, "--dtype", "float64", "--out", tmp_path / out)
    assert result.exit_code == 0, result.output
    path = tmp_path / out if out.endswith(".json") else tmp_path / out / "bias-activation-cpu.json"
    report = Report.read(path)
    assert {(row.op, row.dtype) for row in report.rows} == {("bias-activation", "float64")}
    assert report.environment["device"] == "cpu"
    assert f"see {path}" in result.stdout


def test_plots_are_saved_next_to_the_results(bench, tmp_path):
    pytest.importorskip("matplotlib")
    assert bench(*SMALL, "--out", tmp_path, "--plot").exit_code == 0
    pictures = [tmp_path / f"bias-activation-cpu-{what}.png" for what in ("roofline", "sizes")]
    assert [path.read_bytes()[:4] for path in pictures] == [b"\x89PNG"] * 2
    assert bench("optimizer", "--sizes", 100, "--out", tmp_path, "--plot").exit_code == 0
    assert (tmp_path / "optimizer-cpu-roofline.png").exists()
    assert not (tmp_path / "optimizer-cpu-sizes.png").exists()


def test_a_wrong_kernel_gives_exit_code_1_and_the_results_of_the_others(bench, tmp_path, monkeypatch):
    monkeypatch.setattr("gpunet.ops.bias_activation", lambda z, bias, activation, out: z)
    result = bench(*SMALL, "--out", tmp_path / "a.json")
    assert result.exit_code == 1
    assert "gpunet  WRONG: " in result.stdout
    assert [row.kernel for row in Report.read(tmp_path / "a.json").rows if not row.fault].count("array") == 4


def test_two_results_are_compared(bench, tmp_path):
    for name in ("a", "b"):
        bench(*SMALL, "--out", tmp_path / f"{name}.json")
    result = bench("compare", tmp_path / "a.json", tmp_path / "b.json")
    assert result.exit_code == 0
    assert len(result.stdout.splitlines()) == 9
    assert all("x  " in line for line in result.stdout.splitlines()[1:])


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("convolution",), "unknown kernel 'convolution'; use one of matmul, linear, "),
        (("matmul", "--sizes", "12,13x"), "size '13x': expected MxNxK, such as 128x128x784."),
        (("matmul", "--dtype", "float16"), "'float16' is not one of 'float32', 'float64'"),
        (("matmul", "--kernels", "blas,fast"), "unknown kernel 'fast'; matmul has blas on cpu in float32."),
        (("matmul", "--device", "tpu"), "unknown device 'tpu'"),
        (("matmul", "--sizes", "9999999"), "choose smaller sizes"),
        (("matmul", "--plot"), "--plot saves its figures next to the results; add --out FOLDER."),
        (("linear", "--kernel", "no.cu:mine"), "No such option"),
        (("matmul", "--kernel", "no.cu:mine", "--device", "sim"), "no.cu cannot be read"),
        (("compare", "nowhere.json", "nowhere.json"), "nowhere.json: No such file"),
    ],
)
def test_invalid_input_gives_one_line_and_exit_code_2(refused, arguments, said):
    assert said in refused(*arguments)


def test_a_result_file_of_another_format_is_rejected(refused, tmp_path):
    (tmp_path / "other.json").write_text(json.dumps({"loss": 1}))
    assert "not a result file of `gpunet bench`" in refused("compare", *[tmp_path / "other.json"] * 2)


def test_an_unwritable_output_is_reported_before_measuring(refused, tmp_path):
    (tmp_path / "file").touch()
    for out in ("file/a.json", "file", "missing/a.json"):
        assert str(tmp_path) in refused("matmul", "--out", tmp_path / out)


def test_plots_without_matplotlib_are_rejected_before_measuring(refused, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    assert "--plot needs matplotlib" in refused("matmul", "--plot", "--out", tmp_path)


def test_the_help_shows_the_default_sizes(invoke):
    text = " ".join(invoke("bench", "matmul", "--help").stdout.split())
    assert "MxNxK" in text
    assert "256,1024,128x128x784" in text
