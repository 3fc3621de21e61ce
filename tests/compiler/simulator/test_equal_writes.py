"""Writes of equal values that nothing orders are warnings, with both lines and their own advice."""

import numpy as np
import pytest
from compiler.simulator.kernels import inspect, inspect_kernel, together

import gpunet.simulator as cp
from gpunet.errors import GpunetWarning

# Each writes one address by two threads, at the lines that end with `first` and `second`.
WRITES = {
    "shared memory, in a warp": "if (threadIdx.x == 0) s = 1;  // first\n if (threadIdx.x == 1) s = 1;  // second",
    "shared memory, between warps": "if (threadIdx.x == 0) s = 1;  // first\n if (threadIdx.x == 32) s = 1;  // second",
    "global memory, in a warp": "if (thread == 0) x[0] = 1;  // first\n if (thread == 1) x[0] = 1;  // second",
    "global memory, between warps": "if (thread == 0) x[0] = 1;  // first\n if (thread == 32) x[0] = 1;  // second",
    "global memory, between blocks": "if (thread == 0) x[0] = 1;  // first\n if (thread == 64) x[0] = 1;  // second",
    "the value that memory holds": "if (thread == 0) x[0] = 0;  // first\n if (thread == 64) x[0] = 0;  // second",
    "a struct": "if (thread == 0) row = Row{1};  // first\n if (thread == 32) row = Row{1};  // second",
}
KERNEL = """struct Row {{ float values[8]; }};
extern "C" __global__ void k(float* x) {{
  __shared__ float s;
  __shared__ Row row;
  const int thread = blockIdx.x * blockDim.x + threadIdx.x;
  {}
}}"""
IN_A_BLOCK = [name for name in WRITES if "blocks" not in name and "holds" not in name]


def ordered(text):
    return text.replace("// first\n", "__syncthreads();\n")


@pytest.fixture(scope="module")
def kernels():
    racing = {name: KERNEL.format(text) for name, text in WRITES.items()}
    right = {f"{name}, ordered": KERNEL.format(ordered(WRITES[name])) for name in IN_A_BLOCK}
    unequal = {f"{name}, unequal": KERNEL.format(text.replace("1;", "2;", 1)) for name, text in WRITES.items()}
    unequal = {name: text.replace("0;", "2;", 1).replace("{1}", "{2}", 1) for name, text in unequal.items()}
    return together({**racing, **right, **unequal})


def found(kernel):
    return inspect_kernel(kernel, (2,), (64,), np.zeros(128, np.float32))[1]


@pytest.mark.parametrize("name", WRITES)
def test_equal_writes_are_a_warning_with_both_lines(kernels, line_of, name):
    (finding,) = found(kernels[name])
    assert (finding.grade, finding.kind) == ("warning", "race")
    source = KERNEL.format(WRITES[name])
    assert set(finding.lines) == {line_of(source, "// first"), line_of(source, "// second")}
    assert "which wrote the same value" in finding.text
    assert "atomicExch" in finding.advice


@pytest.mark.parametrize("name", WRITES)
def test_unequal_writes_are_an_error(kernels, name):
    (finding,) = found(kernels[f"{name}, unequal"])
    assert (finding.grade, finding.kind) == ("error", "race")
    assert "same value" not in finding.text + finding.advice


@pytest.mark.parametrize("name", IN_A_BLOCK)
def test_a_barrier_orders_equal_writes(kernels, name):
    assert found(kernels[f"{name}, ordered"]) == []


FLAG = 'extern "C" __global__ void k(float* x) { x[0] = 1; }'


def test_check_mode_of_a_process_warns(monkeypatch):
    monkeypatch.setenv("GPUNET_SIM_CHECK", "1")
    kernel, x = cp.RawKernel(FLAG, "k"), cp.zeros(1, np.float32)
    with pytest.warns(GpunetWarning, match=r"kernel k: race: .* which wrote the same value"):
        kernel((2,), (64,), (x,))


@pytest.mark.parametrize(
    "source",
    [
        FLAG.replace("x[0] = 1", "atomicExch(x, 1.0f)"),
        FLAG.replace("x[0]", "if (blockIdx.x == 0 && threadIdx.x == 0) x[0]"),
    ],
)
def test_its_advice_has_no_finding(source):
    assert inspect(source, (2,), (64,), np.zeros(1, np.float32)) == []


def test_a_comment_makes_it_benign():
    (finding,) = inspect(FLAG + "  // gpunet: allow race", (2,), (64,), np.zeros(1, np.float32))
    assert finding.grade == "benign"


def test_writes_that_are_unequal_in_one_order_of_blocks_are_an_error():
    source = """
    extern "C" __global__ void k(float* arrivals, float* x) {
      const bool first = atomicAdd(arrivals, 1.0f) == 0;
      x[0] = first || blockIdx.x ? 7 : 8;
    }"""
    found = inspect(source, (2,), (1,), np.zeros(1, np.float32), np.zeros(1, np.float32))
    assert {(f.grade, f.kind) for f in found} == {("warning", "race"), ("error", "race")}
