"""The benchmark on the simulated GPU: counts instead of times, planted faults, user kernels."""

import re
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner

from gpunet.bench.cases import OPS
from gpunet.bench.measure import Request, run
from gpunet.bench.results import Report
from gpunet.cli import main
from gpunet.cuda import Kernel, read_source
from gpunet.device import kernels_path
from gpunet.errors import CompileError
from gpunet.ops import _bias_activation, matmul_launch

README = Path(__file__).parents[3] / "kernels" / "README.md"


def rows_of(op, *sizes, **options):
    return run(Request(op, sizes, device="sim", **options), lambda rows: None).rows


def of(rows, kernel, variant="NN"):
    (row,) = (row for row in rows if (row.kernel, row.variant) == (kernel, variant))
    return row


@pytest.mark.parametrize("op", OPS)
def test_every_kernel_is_correct_and_counted_not_timed(op):
    rows = rows_of(op, "12-16-5/8" if op == "step" else "20")
    assert [row.fault for row in rows] == [""] * len(rows)
    assert {row.seconds for row in rows} == {None}
    assert all(row.counts or row.kernel in ("blas", "array") for row in rows)


def test_counts_are_those_of_one_call():
    m, n, k = 24, 32, 40  # whole tiles of the naive kernel
    naive = of(rows_of("matmul", "24x32x40", kernels=("naive",)), "naive")
    assert (naive.flops, naive.nbytes) == (2 * m * n * k, 4 * (m * k + k * n + m * n))
    assert (naive.counts.global_bytes_read, naive.counts.global_bytes_written) == (4 * 2 * m * n * k, 4 * m * n)
    assert (naive.counts.shared_bytes_read, naive.counts.barriers, naive.counts.launches) == (0, 0, 1)


# planted faults


@pytest.fixture
def planted(tmp_path):
    """Return a function that plants a fault in a copy of a kernel's source and returns the kernel."""
    shutil.copytree(kernels_path(), tmp_path, dirs_exist_ok=True)

    def plant(source, name, right, wrong):
        text = (tmp_path / source).read_text(encoding="utf-8")
        assert text.count(right) == 1
        (tmp_path / source).write_text(text.replace(right, wrong), encoding="utf-8")
        return Kernel(tmp_path / source, name)

    return plant


@pytest.mark.parametrize(
    ("right", "wrong", "said"),
    [
        ("i < k; ++i", "i < k - 1; ++i", "are off"),
        ("sum += element_a", "sum += T(1.001) * element_a", "are off"),
        ("(row, column, sum);", "(row, column / 2, sum);", "race"),
        ("i < k; ++i", "i < k + int(a == nullptr) && threadIdx.x; ++i", "are off"),
    ],
)
def test_the_gate_rejects_a_matrix_product_with_a_planted_fault(planted, monkeypatch, right, wrong, said):
    faulty = planted("matmul_naive.cu", "matmul_naive", right, wrong)
    monkeypatch.setitem(matmul_launch.KERNELS, "naive", faulty)
    rows = rows_of("matmul", "20x70x40", kernels=("blas", "naive"))
    assert said in of(rows, "naive").fault
    assert of(rows, "naive").counts is None
    assert of(rows, "blas").fault == ""


def test_the_gate_rejects_a_bias_that_is_not_added(planted, monkeypatch):
    faulty = planted("bias_activation.cu", "bias_activation_forward", "bias ? z[i] + bias[i % n] : z[i]", "z[i]")
    monkeypatch.setattr(_bias_activation, "FORWARD", faulty)
    assert "are off" in of(rows_of("bias-activation", "7x5"), "gpunet", "forward").fault


# user kernels


@pytest.fixture
def example(tmp_path):
    """The example of kernels/README.md, as a file."""
    (text,) = re.findall(r"```cuda\n(// my\.cu.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
    path = tmp_path / "my.cu"
    path.write_text(text, encoding="utf-8")
    return path


def changed(path, old, new):
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new), encoding="utf-8")


def invoke(*arguments):
    return CliRunner().invoke(main, ["bench", *map(str, arguments), "--device", "sim"])


def test_the_readmes_kernel_passes_the_gate_and_is_in_the_table(example, tmp_path):
    spec = f"{example}:my_kernel"
    result = invoke(
        "matmul", "--kernel", spec, "--sizes", "20x30x40", "--kernels", "blas", "--out", tmp_path / "a.json"
    )
    assert result.exit_code == 0, result.output
    rows = Report.read(tmp_path / "a.json").rows
    assert [(row.variant, row.kernel) for row in rows] == [
        (variant, kernel) for variant in ("NN", "NT", "TN") for kernel in ("blas", "my_kernel")
    ]
    assert of(rows, "my_kernel").counts.global_bytes_written == 4 * 20 * 30
    assert "my_kernel" in result.output


def test_a_wrong_user_kernel_gives_exit_code_1(example):
    changed(example, "i < k; ++i", "i < k - 1; ++i")
    result = invoke("matmul", "--kernel", f"{example}:my_kernel", "--sizes", "20", "--kernels", "blas")
    assert result.exit_code == 1
    assert "my_kernel  WRONG: " in result.stdout


def test_an_endless_user_kernel_is_killed(example):
    changed(example, "i < k; ++i", "i < k;")
    result = invoke("matmul", "--kernel", f"{example}:my_kernel", "--sizes", "20", "--limit", "1", "--kernels", "blas")
    assert result.exit_code == 1
    assert "WRONG: did not end within 1 s" in result.stdout


def test_a_kernel_without_layouts_is_measured_on_plain_operands(tmp_path):
    path = tmp_path / "plain.cu"
    path.write_text(
        """
        // launch: grid (n, m), block (1)
        extern "C" __global__ void plain(float* c, const float* b, const float* a, int k, int n) {
            float sum = 0;
            for (int i = 0; i < k; ++i) sum += a[blockIdx.y * k + i] * b[i * n + blockIdx.x];
            c[blockIdx.y * n + blockIdx.x] = sum;
        }"""
    )
    rows = rows_of("matmul", "5x6x7", own=f"{path}:plain", kernels=("blas",))
    assert [(row.variant, row.kernel, row.fault) for row in rows] == [("NN", "blas", ""), ("NN", "plain", "")]


def test_a_user_kernel_for_bias_and_activation_is_measured_forward(tmp_path):
    path = tmp_path / "relu.cu"
    path.write_text(
        """
        #define THREADS 64
        // launch: grid (ceil_div(rows * n, THREADS)), block (THREADS)
        extern "C" __global__ void relu(const float* z, const float* bias, float* y, int rows, int n) {
            const int i = blockIdx.x * THREADS + threadIdx.x;
            if (i < rows * n) y[i] = fmaxf(z[i] + bias[i % n], 0.0f);
        }"""
    )
    rows = rows_of("bias-activation", "9x5", own=f"{path}:relu")
    assert [(row.variant, row.kernel, row.fault) for row in rows if row.kernel == "relu"] == [("forward", "relu", "")]


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("T* c, ", "T* d, T* c, ", "my_kernel: no argument for d; matmul has a, b, bias"),
        ("ceil_div(m, TILE)", "ceil_div(m, SIDE)", "cannot be evaluated: name 'SIDE' is not defined"),
        ("block (TILE, TILE)", "block (TILE, TILE * 100)", "must have 1 to 1024 threads"),
        ("T sum = 0;", "T sum = nothing;", "does not compile"),
        ("my_kernel", "other", "no kernel"),
    ],
)
def test_a_kernel_that_cannot_be_run_is_refused_with_exit_code_2_and_nothing_is_written(
    example, tmp_path, old, new, said
):
    changed(example, old, new)
    out = tmp_path / "results.json"
    result = invoke("matmul", "--kernel", f"{example}:my_kernel", "--sizes", "20", "--out", out)
    assert result.exit_code == 2
    assert result.stderr.startswith("Error: ")
    assert said in result.stderr
    assert not out.exists()


def test_headers_are_searched_next_to_the_file_then_in_gpunets_kernels(tmp_path):
    (tmp_path / "my.cuh").write_text("using Mine = int;")
    (tmp_path / "my.cu").write_text('#include "my.cuh"\n#include "common.cuh"\n')
    assert "Mine" in read_source(tmp_path / "my.cu")
    assert "ceil_div" in read_source(tmp_path / "my.cu")
    (tmp_path / "bad.cu").write_text('#include "nowhere.cuh"\n')
    with pytest.raises(CompileError, match=r"nowhere\.cuh cannot be read"):
        read_source(tmp_path / "bad.cu")
