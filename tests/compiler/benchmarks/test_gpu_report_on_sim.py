"""The sections of the GPU report on the simulated GPU; `.ci/run` runs the whole command."""

import os
from collections import Counter
from pathlib import Path

import pytest

from gpunet.cuda import Kernel
from gpunet.errors import ArgumentError
from gpunet.ops.matmul_launch import KERNELS

CHECKOUT = Path(__file__).parents[3]


@pytest.fixture
def rows_of(monkeypatch):
    """Return a function that runs a section and returns its findings."""
    monkeypatch.syspath_prepend(CHECKOUT)
    from benchmarks.gpu_report.section import Setup
    from benchmarks.gpu_report.sections import SECTIONS

    def rows_of(name):
        rows = [row for some in SECTIONS[name].measure(Setup("sim")) for row in some]
        assert [row["fault"] for row in rows] == [""] * len(rows)
        assert list(SECTIONS[name].show(rows))
        return rows

    return rows_of


def test_bias_and_activation_is_counted_not_timed(rows_of):
    rows = rows_of("bias-activation")
    assert {(row["variant"], row["kernel"]) for row in rows} == {
        (variant, kernel) for variant in ("forward", "backward") for kernel in ("array", "gpunet")
    }
    assert all(row["seconds"] is None for row in rows)
    assert all(row["counts"]["launches"] == 1 for row in rows if row["kernel"] == "gpunet")


def test_latencies_have_the_expected_launches_and_barriers(rows_of):
    rows = rows_of("latency")
    assert [(row["counts"]["launches"], row["counts"]["barriers"]) for row in rows] == [
        (1, 0), (1, 0), (4, 0), (1, 0), (1, 4 * 16), (1, 3 * 4 * 8), (1, 3 * 4 * 16), (1, 4 * 16),
    ]  # fmt: skip


def test_the_persistent_kernel_is_checked_and_its_parts_are_measured(rows_of):
    compared, parts, epoch = rows_of("persistent")
    assert "largest difference from the CPU after 4 steps" in compared["what"]
    assert parts["value"] == "0 / 0, 0 / 0, 0 / 0"  # three parts and barriers; nothing is timed here
    assert "64 x 20" in epoch["what"]


def test_the_products_of_a_network_are_those_of_its_layers(rows_of):
    products = dict.fromkeys((row["variant"], row["size"]) for row in rows_of("layers"))
    assert list(products) == [
        ("NN", "16x12x8"), ("TN", "8x12x16"), ("NN", "16x5x12"), ("TN", "12x5x16"), ("NT", "16x12x5"),
    ]  # fmt: skip


def test_the_tiles_of_tune_are_checked(rows_of):
    (row,) = rows_of("tiles")
    assert (row["product"], row["default"]) == ("float32 TN 16x16x16", "16x16x64 in 4 slices, 1 split")
    assert row["tried"] > 3
    assert row["seconds"] == {}


def test_the_default_and_the_fastest_tiles_are_shown(monkeypatch):
    monkeypatch.syspath_prepend(CHECKOUT)
    from benchmarks.gpu_report.sections import tiles
    from gpunet.bench.tune import Choice, Result
    from gpunet.ops.tiles import CANDIDATES, FLOAT32
    from gpunet.ops.tuned import Product

    tried = {str(choice): choice for choice in (Choice(tile, 1) for tile in CANDIDATES["tiled", FLOAT32][:5])}
    default, wrong, *others = tried
    times = {name: [3e-6 - 1e-7 * i] * 3 for i, name in enumerate((default, *others, "blas"))}
    result = Result("tiled", Product(8, 8, 8, "NN", FLOAT32), tried, {wrong: "off by 2"}, times)
    row = tiles.finding(result)
    assert row["fault"] == f"{wrong}: off by 2"
    assert list(row["seconds"]) == ["blas", *reversed(others), default]
    *_, cells = tiles.show([row])
    _, product, shown_default, fastest, speedup, blas, _ = (cell.strip() for cell in cells.split("|"))
    assert product == "float32 NN 8x8x8"
    assert shown_default.startswith(f"{default}: 3 µs")
    assert fastest.startswith(f"{others[-1]}: 2.7 µs")
    assert (speedup, blas.partition(" (")[0]) == ("1.11", "2.6 µs")


def test_tf32_is_compared_with_the_library_in_tf32(rows_of, monkeypatch):
    monkeypatch.setenv("CUPY_TF32", "0")  # restored after the test
    rows = rows_of("tf32")
    assert os.environ["CUPY_TF32"] == "1"
    assert {(row["variant"], row["kernel"]) for row in rows} == {
        (layout, kernel) for layout in ("NN", "NT", "TN") for kernel in ("blas", "mma")
    }
    assert all(row["error"] is not None for row in rows)


def test_the_section_kernels_has_every_operation(rows_of):
    assert {row["op"] for row in rows_of("kernels")} == {
        "softmax-cross-entropy", "optimizer", "linear", "dropout", "gather", "sum", "loss",
    }  # fmt: skip


def test_after_an_error_only_its_kernel_is_skipped(monkeypatch, tmp_path):
    monkeypatch.syspath_prepend(CHECKOUT)
    from benchmarks.gpu_report.section import CRASHED, Setup, cases_of, measure_cases

    (tmp_path / "broken.cu").write_text('extern "C" __global__ void matmul_shared(int n) {}')
    monkeypatch.setitem(KERNELS, "shared", Kernel(tmp_path / "broken.cu", "matmul_shared"))
    found = []

    def measure():
        for rows in measure_cases(Setup("sim", found=tuple(found)), cases_of("matmul", ["8", "9"])):
            found.extend(rows)

    with pytest.raises(ArgumentError):
        measure()
    measure()
    (crash,) = (row for row in found if row["fault"])
    assert crash["kernel"] == "shared"
    assert crash["fault"].startswith(CRASHED)
    others = Counter(row["kernel"] for row in found if not row["fault"])
    assert others == dict.fromkeys({"blas", *KERNELS} - {"shared"}, 6)  # NN, NT, TN of two sizes


def test_training_on_digits_matches_the_cpu(rows_of):
    cpu, sim = rows_of("digits")
    assert sim["losses"] == pytest.approx(cpu["losses"], rel=1e-3)
