"""`gpunet.testing.check_kernel`, and the sizes that a check should have."""

import subprocess
import sys

import numpy as np
import pytest

from gpunet.bench.spec import even_sizes, read_cases
from gpunet.errors import ArgumentError, GpunetWarning
from gpunet.testing import check_kernel

KERNEL = """extern "C" __global__ void scale(float* x, int n) {
  int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i < n) x[i] *= 2;
}
"""
SPEC = {
    "kernel": "scale",
    "block": 64,
    "grid": lambda n: -(-n // 64),
    "inputs": lambda rng, n: {"x": rng.random(n, np.float32), "n": n},
    "reference": lambda x, n: {"x": 2 * x},
}


@pytest.fixture
def source(tmp_path):
    (tmp_path / "my.cu").write_text(KERNEL)
    return tmp_path / "my.cu"


@pytest.mark.filterwarnings("error")
def test_a_correct_kernel_passes(source):
    check_kernel(source, **SPEC, cases=[100])


@pytest.mark.parametrize(
    ("right", "wrong", "said"),
    [
        ("if (i < n) ", "", r"scale, case 1: out of bounds: .*\n    guard the index"),
        ("*= 2", "*= 3", r"scale, case 1: 1 of 1 elements wrong .* x\[0\] is "),
    ],
)
def test_a_wrong_kernel_fails_with_all_findings(source, right, wrong, said):
    source.write_text(KERNEL.replace(right, wrong))
    with pytest.raises(AssertionError, match=said) as failed:
        check_kernel(source, **SPEC, cases=[1, 5])
    assert "scale, case 5: " in str(failed.value)


def test_a_spec_file_and_names_together_are_an_error(source, tmp_path):
    spec = tmp_path / "my_spec.py"
    spec.write_text(
        'import numpy as np\nkernel, grid, block = "scale", 1, 64\n'
        'def inputs(rng): return {"x": np.ones(9, np.float32), "n": 9}\ndef reference(x, n): return {"x": 2 * x}\n'
    )
    check_kernel(source, spec)
    with pytest.raises(ArgumentError, match=r"or its names \(kernel, block, grid, inputs, reference\), not both"):
        check_kernel(source, spec, **SPEC)


def test_sizes_that_are_all_multiples_of_the_block_are_reported(source):
    with pytest.warns(GpunetWarning, match=r"all sizes are multiples of the block \(64, 128\).*cases = .auto."):
        check_kernel(source, **SPEC, cases=[64, 128])


def test_drawn_sizes_surround_the_block_and_include_odd_ones(source):
    cases = read_cases(SPEC | {"cases": "auto"}, source)
    sizes = [case.inputs["n"] for case in cases]
    assert {1, 63, 64, 65} < set(sizes)
    assert all(size % 2 and size < 5 * 64 for size in set(sizes) - {64})
    assert even_sizes(cases) == ""
    for block, most in ((1, 5), (lambda n: (32, 2), 640)):
        sizes = [case.inputs["n"] for case in read_cases(SPEC | {"block": block, "cases": "auto"}, source)]
        assert set(sizes) <= set(range(1, most + 1))


def test_a_script_without_a_condition_gets_one_error(source):
    script = source.with_name("script.py")
    call = (
        'check_kernel("my.cu", kernel="scale", block=64, grid=1, cases=[9, 10], '
        'inputs=lambda rng, n: {"x": rng.random(n, np.float32), "n": n}, reference=lambda x, n: {"x": 2 * x})\n'
    )

    def run(condition):
        text = f"import numpy as np\nfrom gpunet.testing import check_kernel\n{condition}{call}"
        script.write_text(text, encoding="utf-8")
        return subprocess.run([sys.executable, script.name], cwd=script.parent, capture_output=True, text=True)

    result = run("")
    assert result.returncode == 1
    assert result.stderr.count("Traceback") == 1, result.stderr
    assert 'call it from pytest, or under `if __name__ == "__main__":`.' in result.stderr.splitlines()[-1]
    assert run('if __name__ == "__main__": ').returncode == 0
