"""All measured values in README.md and benchmarks/README.md, and all plots, come from saved results."""

import json
import re
from pathlib import Path

import pytest

from gpunet.ops._matmul_plan import KERNEL_NAMES

CHECKOUT = Path(__file__).parents[3]
FIGURE = re.compile(r"\d\s*(µs|[GT]B/s|[GT]?FLOP/s|times (as fast|faster|slower)|x (faster|slower|the speed|the time))")


@pytest.fixture
def tables(monkeypatch):
    monkeypatch.syspath_prepend(CHECKOUT)
    from benchmarks import tables

    return tables


@pytest.mark.parametrize("name", ["gpu", "core", "cpu", "matmul"])
def test_the_tables_match_the_results(tables, name):
    path, table = tables.TABLES[name]
    text = path.read_text(encoding="utf-8")
    assert tables.regenerated(text, name, table(tables.RESULTS)) == text, "run `python -m benchmarks.tables`"


def test_no_measured_value_is_outside_the_tables(tables):
    for names in (("gpu", "core"), ("cpu",)):
        text = tables.TABLES[names[0]][0].read_text(encoding="utf-8")
        for name in names:
            text = tables.regenerated(text, name, iter(()))
        assert FIGURE.findall(text) == []


@pytest.mark.parametrize("text", ["a step takes 20 µs", "1,000 GFLOP/s", "3 x the speed of cuBLAS", "2 times faster"])
def test_measured_values_are_recognised(text):
    assert FIGURE.search(text)


def test_regenerating_replaces_only_the_text_between_the_markers(tables):
    text = "before\n<!-- gpu: made -->\n1 µs\n2 µs\n<!-- end of gpu -->\nafter\n"
    new = tables.regenerated(text, "gpu", iter(["3 µs"]))
    assert new == "before\n<!-- gpu: made -->\n3 µs\n<!-- end of gpu -->\nafter\n"
    with pytest.raises(ValueError, match="must occur once, not 0 times"):
        tables.regenerated("no markers", "gpu", iter(()))


# tables of made-up results


def row(op, variant, kernel, speedup, size="64x64x64", **more):
    spread = {"median": speedup, "low": speedup - 0.125, "high": speedup + 0.125}
    return {
        "op": op, "variant": variant, "size": size, "dtype": "float32", "flops": 10**9, "nbytes": 10**6,
        "unit": "FLOP/s", "kernel": kernel, "fault": "", "cache": "warm",
        "seconds": {"median": 1e-3, "low": 1e-3, "high": 1e-3}, "speedup": spread, "of_ceiling": 0.5, "counts": None,
    } | more  # fmt: skip


def report(**sections):
    environment = {
        "gpu": "A GPU",
        "cpu": "A CPU",
        "driver": "1.2",
        "cupy": "14",
        "date": "2030-01-02T03:04",
        "commit": "abcdef0123456",
    }
    sections = {"machine": [{"environment": environment, "fault": ""}], **sections}
    entries = {name: {"status": "done", "seconds": 1.0, "rows": rows} for name, rows in sections.items()}
    return {"schema": "gpunet gpu report 1", "sections": entries}


def kept(folder, name, content):
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(json.dumps(content), encoding="utf-8")


def test_the_gpu_table_shows_gpu_date_commit_speeds_and_ratios(tables, tmp_path):
    small = row("matmul", "NN", "tiled", 0.25, "8x8x8", flops=10**3)
    peers = [
        {"name": "gpunet", "status": "ok", "step": [1e-5, 2e-5, 3e-5], "ratio": [1, 1, 1]},
        {"name": "torch", "status": "ok", "step": [1e-4] * 3, "ratio": [4.5, 5, 5.5]},
        {"name": "jax", "status": "not installed"},
    ]
    squares = [small, row("matmul", "NN", "tiled", 0.75), row("matmul", "NN", "tiled", 0.5, cache="cold")]
    kept(tmp_path, "a-gpu/report.json", report(squares=squares, peers=[{"net": "8-8-3/4", "rows": peers, "fault": ""}]))
    text = "\n".join(tables.gpu(tmp_path))
    assert "A GPU, driver 1.2, CuPy 14, 2030-01-02, commit abcdef0123;" in text
    assert "| matmul 64x64x64 NN | 1,000 GFLOP/s, 50% of the ceiling | 1.33x slower than cuBLAS |" in text
    assert "| training step (layers/batch), compared with gpunet's | gpunet | PyTorch |" in text
    assert "| 8-8-3/4 | 20.0 µs | 5x slower | - | - | - | - |" in text
    assert "8x8x8" not in text
    assert "No section failed: [full report](benchmarks/results/a-gpu/report.md)" in text


def test_the_table_of_one_core_shows_cpu_date_commit_and_ratios(tables, tmp_path):
    peers = [
        {"name": "gpunet", "status": "ok", "step": [1e-5, 2e-5, 3e-5]},
        {"name": "torch", "status": "ok", "step": [1e-4] * 3, "ratio": [4.5, 5, 5.5]},
        {"name": "jax", "status": "differs: loss by 1"},
        {"name": "jax-scan", "status": "ok", "step": [1e-5] * 3, "ratio": [0.4, 0.5, 0.6]},
    ]
    environment = {"cpu": "A CPU", "time": "2030-01-02T03:04", "commit": "abcdef0123456"}
    content = {
        "schema": "gpunet peers 1",
        "command": "peers --some",
        "environment": environment,
        "nets": {"8-8-3/4": peers},
    }
    kept(tmp_path, "cpu-a/peers.json", content)
    text = "\n".join(tables.core(tmp_path))
    assert "`peers --some` on one core of A CPU, 2030-01-02, commit abcdef0123; medians:" in text
    assert "| 8-8-3/4 | 20.0 µs | - | 5x slower | - | - | 2x faster |" in text


def test_the_table_of_matrix_products_shows_each_kernel_at_one_size(tables, tmp_path):
    large = "4096x4096x4096"
    squares = [row("matmul", "NN", "naive", 0.5, large), row("matmul", "NT", "shared", 0.5, large)]
    squares.append(row("matmul", "NN", "tiled", 0.5))
    kept(tmp_path, "a-gpu/report.json", report(squares=squares))
    text = "\n".join(tables.matmul(tmp_path))
    assert "| kernel | what it adds | GFLOP/s, A GPU, 2030-01-02, commit abcdef0123 |" in text
    assert "| [naive](matmul_naive.cu) | one thread per element | 1,000 |" in text
    assert text.count("not measured yet") == len(tables.IDEAS)  # all others, and cuBLAS
    assert list(tables.IDEAS) == list(KERNEL_NAMES)


def test_plots_are_made_from_the_report(tables, tmp_path):
    pytest.importorskip("matplotlib")
    from benchmarks.gpu_report.pictures import draw

    peers = [{"name": "gpunet", "status": "ok", "step": [1e-5, 2e-5, 3e-5]}, {"name": "jax", "status": "not installed"}]
    squares = [row("matmul", "NN", "tiled", 0.5, size) for size in ("8x8x8", "64x64x64")]
    made = report(squares=squares, peers=[{"versions": {}, "fault": ""}, {"net": "8-3/4", "rows": peers, "fault": ""}])
    made["sections"]["machine"]["rows"].append({"ceilings": {"bytes_per_second": 1e12, "flops_per_second": 1e13}})
    draw(made, tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"matmul-roofline.png", "matmul-sizes.png", "peers.png"}


def test_a_report_without_times_has_no_plots(tables, tmp_path):
    from benchmarks.gpu_report.pictures import draw

    draw(report(squares=[], peers=[]), tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_the_gpu_table_lists_faults_failures_and_incomplete_sections(tables, tmp_path):
    made = report(tests=[{"file": "test_ops.py", "fault": "exit code 1"}], squares=[], peers=[])
    made["sections"]["squares"]["status"] = "failed: no memory"
    made["sections"]["peers"]["status"] = "cut off: it had 3 s"
    kept(tmp_path, "a-gpu/report.json", made)
    said = "**Faults** in tests; **Failed**: squares; Not completed within the time limit: peers"
    assert said in "\n".join(tables.gpu(tmp_path))


def test_a_result_of_another_schema_is_rejected(tables, tmp_path):
    kept(tmp_path, "a-gpu/report.json", {"schema": "gpunet gpu report 0"})
    with pytest.raises(ValueError, match="the schema is 'gpunet gpu report 0'"):
        list(tables.gpu(tmp_path))


def test_the_cpu_tables_show_ratios_with_quartiles(tables, tmp_path):
    known = {"cpu": "A CPU", "commit": "abcdef0123456"}
    figure = {"what": "save", "figure": 1.5, "low": 1.25, "high": 1.75, "unit": "x", "limit": 3}
    figures = [figure, figure | {"what": "import", "unit": " ms", "limit": None}, figure | {"limit": 1.25}]
    found = [{"extra_info": figure} for figure in figures]
    benchmarks = {"machine_info": known | {"date": "2030-01-02T03"}, "benchmarks": found}
    rows = [
        {"name": "gpunet", "status": "ok", "ratio": [1, 1, 1]},
        {"name": "torch", "status": "ok", "ratio": [1.5, 2, 2.5]},
        {"name": "jax", "status": "not installed"},
    ]
    head = {"schema": "gpunet peers 1", "command": "peers --some"}
    peers = {**head, "environment": known | {"time": "2030-01-02T03"}, "nets": {"8-8-3/4": rows}}
    kept(tmp_path, "cpu-a/benchmarks.json", benchmarks)
    kept(tmp_path, "cpu-a/peers.json", peers)
    text = "\n".join(tables.cpu(tmp_path))
    assert "| save | 1.5x (1.25 .. 1.75) | 3x |" in text
    assert "| import | 1.5 ms more (1.25 .. 1.75) | - |" in text
    assert "| save | 1.5x (1.25 .. 1.75) | 1.25x, **above** |" in text
    assert "| time of a step, vs gpunet | torch | jax |\n" in text
    assert "| 8-8-3/4 | 2.00x slower (1.50 .. 2.50) | not installed |" in text
    assert text.count("A CPU, 2030-01-02, commit abcdef0123") == 2
    assert "`peers --some` on A CPU" in text
    assert "quartiles of the ratios of each round" in text


def test_the_cpu_tables_of_several_threads_say_so_and_compare_epochs(tables, tmp_path):
    known = {"cpu": "A CPU", "commit": "abcdef0123456", "time": "2030-01-02T03", "threads": 2}
    rows = [
        {"name": "gpunet", "status": "ok", "ratio": [1, 1, 1]},
        {"name": "jax-scan", "status": "ok", "ratio": [0.4, 0.5, 0.8], "ratio_of_epochs": [1.25, 1.5, 1.75]},
    ]
    head = {"schema": "gpunet peers 1", "command": "peers --threads 2"}
    kept(tmp_path, "cpu-a/peers-2.json", {**head, "environment": known, "nets": {"8-8-3/4": rows}})
    text = "\n".join(tables.cpu(tmp_path))
    assert "`peers --threads 2` on A CPU" in text
    assert "one framework after the other" in text
    assert "ratios to gpunet's median" in text
    assert "| 8-8-3/4 | 2.00x faster (1.25 .. 2.50) | 1.50x slower (1.25 .. 1.75) |" in text
