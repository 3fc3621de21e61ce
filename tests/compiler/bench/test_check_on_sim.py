"""`gpunet check` with a spec: the README's example, planted faults, specs that do not match the kernel."""

import json
import re
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from gpunet.bench import nvrtc
from gpunet.cli import main
from gpunet.simulator import compiler

README = (Path(__file__).parents[3] / "gpunet" / "simulator" / "README.md").read_text(encoding="utf-8")
KERNEL, SCRIPT, SPEC = (
    re.search(rf"```{mark}(.*?)```", README, re.DOTALL)[1]
    for mark in (
        "cuda\n",
        "python\n(?=from pathlib import Path\nimport numpy as np\nfrom gpunet import simulator)",
        "python\n(?=# my_spec.py)",
    )
)
RAGGED = SPEC.replace("[1, 256, 1000]", "[257]")  # one case is enough: every launch has the finding

SEVERAL = r"""
__global__ void reverse(const double2* x, double2* y) {
  extern __shared__ double2 tile[];
  tile[threadIdx.x] = x[threadIdx.x];
  __syncthreads();
  y[threadIdx.x] = tile[blockDim.x - 1 - threadIdx.x];
}
__global__ void count(const unsigned char *flags, unsigned long long *total, size_t n)
{
  for (size_t i = threadIdx.x; i < n; i += blockDim.x)
    if (flags[i]) atomicAdd(total, 1ull);
}
__global__ void ones(int* y) { y[threadIdx.x] = 1; }
__global__ void never(volatile int* x) {
  while (x[0] == 0) {}
}
"""


@pytest.fixture
def check(tmp_path, monkeypatch):
    """Check a kernel with a spec, for one architecture only; the table has its own tests."""

    def run(kernel, spec, *options):
        (tmp_path / "my.cu").write_text(kernel, encoding="utf-8")
        (tmp_path / "my_spec.py").write_text(spec, encoding="utf-8")
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr(nvrtc, "ARCHITECTURES", ("sm_90",))
        return CliRunner().invoke(main, ["check", "my.cu", "--spec", "my_spec.py", *options])

    return run


def test_the_readmes_example_is_correct(check, capsys):
    result = check(KERNEL, SPEC)
    assert result.exit_code == 0, result.output
    lines = [line for line in result.stdout.splitlines() if line.startswith("scale, ")]
    assert [line.split(";")[0] for line in lines] == [f"scale, case {n}: ok" for n in (1, 256, 1000)]
    assert "4,000 bytes read and 4,000 written" in lines[2]
    exec(SCRIPT, {})
    assert capsys.readouterr().out.split() == ["[", "0.", "2.", "4.", "6.", "8.", "10.", "12.", "14.]"]


@pytest.mark.parametrize(
    ("right", "wrong", "finding"),
    [
        ("if (i < n) ", "", r"out of bounds: \w+ of 4 bytes at my.cu:3 by thread \(1,0,0\) of block \(1,0,0\)"),
        ("i < n", "i < n - 1", r"1 of 257 elements wrong .*; the worst: x\[256\] is .*, expected "),
        ("x[i] *=", "x[0] *=", r"race: .* at my.cu:3 by thread"),
    ],
)
def test_a_fault_planted_in_a_kernel_is_found(check, right, wrong, finding):
    assert right in KERNEL
    result = check(KERNEL.replace(right, wrong), RAGGED)
    assert result.exit_code == 1
    assert re.search(f"scale, case 257: FAILED: {finding}", result.stdout), result.output


FAULTS = """
__device__ float twice(const float* s, int i) {
  return 2 * s[i];
}
extern "C" __global__ void several(float* x, float* y, int n) {
  __shared__ float s[64];
  __shared__ int size;
  size = n;
  s[threadIdx.x] = x[threadIdx.x];
  x[threadIdx.x] = twice(s, threadIdx.x ^ 1);
  y[threadIdx.x + 1] = 1;
}
"""
FAULTS_SPEC = """
import numpy as np
kernel, grid, block = "several", 1, 64
def inputs(rng): return {"x": np.zeros(64, np.float32), "n": 64}
def reference(x, n): return {"x": 2 * x, "y": np.ones(64)}
"""


def test_one_run_reports_all_findings_with_grade_stack_and_advice(check):
    result = check(FAULTS, FAULTS_SPEC, "--json")
    assert result.exit_code == 1
    (case,) = json.loads(result.stdout)["cases"]
    found = {(f["grade"], f["kind"]): f for f in case["findings"]}
    assert set(found) == {("error", "race"), ("error", "out of bounds"), ("error", "wrong result"), ("warning", "race")}
    assert found["error", "race"]["lines"] == ["my.cu:9", "my.cu:3"]
    assert found["warning", "race"]["times"] == 63
    assert found["error", "out of bounds"]["lines"] == ["my.cu:11"]
    assert all(f["advice"] for key, f in found.items() if key != ("error", "wrong result"))
    text = check(FAULTS, FAULTS_SPEC).stdout
    order = r"several: FAILED: race: .*\n(?:.*\n)*error: out of bounds: .*\n(?:.*\n)*warning: race"
    assert re.search(order, text), text


SUM = """
extern "C" __global__ void sum(float* x) {
  __shared__ float s[BLOCK];
  const int t = threadIdx.x;
  s[t] = x[blockIdx.x * BLOCK + t];
  __syncthreads();
  for (int k = BLOCK / 2; k; k /= 2) {
    if (t < k) s[t] += s[t + k];
    __syncthreads();
  }
  x[blockIdx.x * BLOCK + t] = s[0];
}
"""
SUM_SPEC = """
import numpy as np
kernel, grid, block, options = "sum", 2, BLOCK, {"BLOCK": BLOCK}
def inputs(rng): return {"x": np.ones(2 * BLOCK, np.float32)}
def reference(x): return {"x": np.full(2 * BLOCK, BLOCK)}
"""


@pytest.mark.parametrize(
    ("right", "wrong", "block", "advice", "warp"),
    [
        ("+ k];\n    __syncthreads()", "+ k]", 32, "at the end (or the beginning) of the loop body", True),
        ("+ t];\n  __syncthreads()", "+ t]", 128, "between the two accesses", False),
        ("x[blockIdx.x * BLOCK + t] = s[0]", "x[t] = s[0] + blockIdx.x", 128, "between blocks use an atomic", False),
    ],
)
def test_the_advice_fits_the_race(check, right, wrong, block, advice, warp):
    assert right in SUM
    result = check(SUM.replace(right, wrong), SUM_SPEC.replace("BLOCK", str(block)).replace(f'"{block}"', '"BLOCK"'))
    assert result.exit_code == 1, result.output
    races = re.findall(r"race: .*\n    (.*)", result.stdout)
    assert any(advice in race and ("__syncwarp" in race) == warp for race in races), result.output


def test_a_barrier_in_a_condition_is_explained_without_a_return(check):
    source = (
        SUM.replace("if (t < k) s", "if (t < k) { s")
        .replace("__syncthreads();\n  }", "__syncthreads(); }\n  }")
        .replace("x[blockIdx.x * BLOCK + t] =", "if (t == 0) x[blockIdx.x * BLOCK] =")
    )
    text = check(source, SUM_SPEC.replace("BLOCK", "64").replace('"64"', '"BLOCK"')).stdout
    advice = "threads that have ended do not take part: a return, or the end of the kernel, before this barrier"
    assert re.search(rf"benign: barrier after an early exit: .*\n    {advice}", text), text


def test_a_stack_includes_device_functions(check):
    text = check(FAULTS.replace("s[threadIdx.x] = x[threadIdx.x];", ""), FAULTS_SPEC).stdout
    assert re.search(r"uninitialized read: .*\n    in twice at my.cu:3\n    in several at my.cu:10\n    write", text), (
        text
    )


@pytest.mark.parametrize(("kinds", "exit_code"), [("race", 0), ("misaligned, race", 0), ("misaligned", 1)])
def test_a_comment_allows_findings_of_its_line(check, kinds, exit_code):
    source = FAULTS.replace("+ 1] = 1", "] = 1").replace("s[i];", f"s[i];  // gpunet: allow {kinds}")
    result = check(source, FAULTS_SPEC)
    assert result.exit_code == exit_code, result.output
    assert re.search(r"(benign|FAILED): race: .* my.cu:9 by .* my.cu:3 by", result.stdout), result.stdout


def test_other_peoples_kernels_run_with_their_own_types(check):
    reverse = """
import numpy as np
kernel, grid, block, shared = "reverse", 1, 64, 64 * 16
def inputs(rng): return {"x": rng.standard_normal((64, 2))}
def reference(x): return {"y": x[::-1]}
"""
    count = """
import numpy as np
kernel, grid, block = "count", 1, 32
def inputs(rng): return {"flags": rng.integers(0, 2, 500, np.uint8), "total": np.zeros(1, np.uint64), "n": 500}
def reference(flags, total, n): return {"total": [flags.sum()]}
"""
    for spec in (reverse, count):
        result = check(SEVERAL, spec, "--json")
        assert result.exit_code == 0, result.output
        (case,) = json.loads(result.stdout)["cases"]
        assert case["ok"]
        assert (case["shared_bytes_written"], case["barriers"]) == (
            (1024, 1) if case["kernel"] == "reverse" else (0, 0)
        )


def test_an_instance_of_a_template_and_a_struct_are_checked(check):
    kernel = """
    namespace nets {
    struct Scale { float factor, offset; };
    template <class T, int BLOCK>
    __launch_bounds__(BLOCK) __global__ void scale(T* x, Scale by, int n) {
      const int i = blockIdx.x * BLOCK + threadIdx.x;
      if (i < n) x[i] = x[i] * by.factor + by.offset;
    }
    }"""
    spec = """
import numpy as np
kernel, grid, block = "nets::scale<double, 64>", 2, 64
def inputs(rng): return {"x": rng.random(100), "by": np.array([2, 1], np.float32), "n": 100}
def reference(x, by, n): return {"x": x * by[0] + by[1]}
"""
    result = check(kernel, spec)
    assert result.exit_code == 0, result.output
    assert "nets::scale<double, 64>: ok" in result.stdout
    if nvrtc.is_available():
        assert re.search(r"^nets::scale +sm_90", result.stdout, re.MULTILINE)


def test_an_endless_kernel_is_stopped(check):
    spec = """
import numpy as np
kernel, grid, block = "never", 1, 1
def inputs(rng): return {"x": np.zeros(1, np.int32)}
def reference(x): return {}
"""
    result = check(SEVERAL, spec, "--limit", "0.5")
    assert result.exit_code == 1
    assert "never: FAILED: did not end within 0.5 s" in result.stdout


def test_memory_that_a_kernel_does_not_write_is_reported(check):
    spec = """
kernel, grid, block = "ones", 1, 4
def inputs(rng): return {}
def reference(): return {"y": [1] * 5}
"""
    result = check(SEVERAL, spec)
    assert result.exit_code == 1
    assert "ones: FAILED: y[4] was never written (1 of 5 elements were not)." in result.stdout


@pytest.mark.parametrize(
    ("right", "wrong", "message"),
    [
        ('"scale"', '"sale"', r"my.cu: no kernel 'sale'; it has scale\."),
        ('"factor": 2.0, ', '"scale": 2.0, ', r"reference\(\) .* argument 'scale'; .* write reference\(x, scale, n\)"),
        ('return {"x": factor', 'return {"z": factor', r"reference: scale has no parameter 'z'; it has x, factor, n\."),
        ('return {"x": factor', 'return {"n": factor', r"reference: n is not an array that scale writes\."),
        ("np.float32", "np.float64", r"inputs: x must be an array of float32, got float64\."),
        ('"n": n}', '"n": n + 0.5}', r"inputs: n=257.5 does not fit int32\."),
        ('"n": n}', '"n": 2**40}', r"inputs: n=1099511627776 does not fit int32\."),
        ('"n": n}', '"n": None}', r"inputs: n must be a number, got NoneType\."),
        ("factor * x", "(factor * x)[1:]", r"x has the shape \(257,\) in inputs, \(256,\) in reference"),
        ("factor * x", "['a']", r"reference: x must be an array of numbers"),
        ("256\n", "2048\n", r"block.x is 2,048, and CUDA's limit is 1,024\."),
        ("return -(-n // 256)", "return 1, 70_000", r"grid.y is 70,000, and CUDA's limit is 65,535\."),
        ("cases", "shared = 300_000\ncases", r"300,000 bytes of dynamic shared memory; the limit is"),
    ],
)
def test_a_spec_that_does_not_match_the_kernel_is_refused_in_one_line(check, right, wrong, message):
    assert right in RAGGED
    result = check(KERNEL, RAGGED.replace(right, wrong, 1))
    assert result.exit_code == 2
    (line,) = result.stderr.splitlines() if nvrtc.is_available() else result.stderr.splitlines()[1:]
    assert re.search(message, line), line


def test_the_kernel_runs_without_nvrtc(check, monkeypatch):
    monkeypatch.setattr(nvrtc, "_library", lambda: None)
    result = check(KERNEL, RAGGED)
    assert result.exit_code == 0
    assert result.stderr.startswith("Notice: NVRTC")
    assert "scale, case 257: ok" in result.stdout


def test_the_kernel_runs_if_nvrtc_does_not_find_a_header(check, monkeypatch):
    kernel = KERNEL.replace('extern "C"', '#include <cuda_fp16.h>\nextern "C"', 1)
    monkeypatch.setattr(nvrtc, "_headers", lambda library: [])
    result = check(kernel, RAGGED)
    assert result.exit_code == 0, result.output
    assert "Notice: " in result.stderr
    assert "scale, case 257: ok" in result.stdout
    assert check(kernel, RAGGED, "--no-compile").stderr == ""


def test_nvrtc_gets_the_c_headers_and_constants(check):
    kernel = "#include <cmath>\n#include <cfloat>\n#include <stdint.h>\n#include <stdio.h>\n" + KERNEL.replace(
        "factor;", "(float)(uint32_t)(M_PI / 3) * (FLT_MAX < INFINITY) * factor;"
    )
    result = check(kernel, RAGGED)
    assert result.exit_code == 0, result.output
    assert not nvrtc.is_available() or re.search("^scale +sm_90", result.stdout, re.MULTILINE)


OVERLOADED = """
#include <cstdio>
__global__ void scale(float* x, int n) { if (threadIdx.x < n) x[threadIdx.x] *= 2; }
__global__ void scale(double *x, const int n = 3) { if (threadIdx.x < n) x[threadIdx.x] *= 3; }
__global__ void add(const float* const* in, float** out, int n) {
  if (threadIdx.x == 0) printf("%d numbers\\n", n);
  if (threadIdx.x < n) out[blockIdx.x][threadIdx.x] = in[blockIdx.x][threadIdx.x] + 1;
}
"""
SCALE_SPEC = """
import numpy as np
kernel, grid, block = "scale", 1, 64
def inputs(rng): return {"x": rng.random(50), "n": 50}
def reference(x, n): return {"x": 3 * x}
"""
ADD_SPEC = """
import numpy as np
kernel, grid, block = "add", 2, 64
def inputs(rng): return {name: [rng.random(n, np.float32) for n in (50, 60)] for name in ("in", "out")} | {"n": 50}
def reference(n, **given): return {"out": [np.append(a[:n] + 1, b[n:]) for a, b in zip(given["in"], given["out"])]}
"""


STRUCTS = """
struct Scale { float factor; int zero; };
__global__ void rows(const Scale* scales, float* y, int n) {
  if (threadIdx.x < n) y[threadIdx.x] = scales[threadIdx.x].factor * scales[threadIdx.x].zero;
}
"""
STRUCTS_SPEC = """
import numpy as np
kernel, grid, block = "rows", 1, 64
def inputs(rng): return {"scales": np.array([(i, 2) for i in range(9)], [("factor", "f4"), ("zero", "i4")]), "n": 9}
def reference(scales, n): return {"y": scales["factor"] * scales["zero"]}
"""


def test_an_array_of_structs_is_an_input(check):
    assert check(STRUCTS, STRUCTS_SPEC, "--no-compile").exit_code == 0
    result = check(STRUCTS, STRUCTS_SPEC.replace('"i4"', '"i2"'), "--no-compile")
    assert (
        "inputs: scales must be an array of structs of 8 bytes, got [('factor', '<f4'), ('zero', '<i2')]."
        in result.stderr
    )
    result = check(STRUCTS, STRUCTS_SPEC.replace('{"y"', '{"scales": scales, "y"'), "--no-compile")
    assert "reference: scales is not an array that rows writes." in result.stderr


def test_the_inputs_select_the_overloaded_kernel(check):
    assert check(OVERLOADED, SCALE_SPEC, "--no-compile").exit_code == 0
    named = SCALE_SPEC.replace('"scale"', '"scale(float*, int)"')
    result = check(OVERLOADED, named, "--no-compile")
    assert "inputs: x must be an array of float32, got float64." in result.stderr
    result = check(OVERLOADED, SCALE_SPEC.replace("50)", "50, np.float32).astype(int)"), "--no-compile")
    assert result.exit_code == 2
    assert "none of the kernels scale(float*, int), scale(double*, const int) fit the inputs; name one" in result.stderr


@pytest.mark.parametrize(
    ("right", "wrong", "finding"),
    [
        ("< n) out", "< n) out", "add: ok"),
        ("< n) out", "<= n) out", r"out of bounds: read of 4 bytes at my.cu:7 .* array in\[0\], which has 200 bytes"),
        ("+ 1;", "+ 1 + blockIdx.x;", r"FAILED: .* the worst: out\[1\]\["),
    ],
)
def test_a_list_of_arrays_is_passed_for_pointers_to_pointers(check, right, wrong, finding):
    result = check(OVERLOADED.replace(right, wrong), ADD_SPEC, "--no-compile")
    assert re.search(finding, result.stdout), result.output


def test_without_a_compiler_the_error_says_what_to_do(check, monkeypatch):
    monkeypatch.setattr(sys, "platform", "darwin")
    compiler.find_compiler.cache_clear()
    compiler.runtime_library.cache_clear()
    result = check(KERNEL, RAGGED)
    monkeypatch.undo()
    compiler.find_compiler.cache_clear()
    assert result.exit_code == 2
    assert "runs on Linux x86-64, not on darwin" in result.stderr


def test_a_source_that_does_not_compile_for_the_simulator_shows_its_line(check, monkeypatch):
    monkeypatch.setattr(nvrtc, "_library", lambda: None)
    result = check(KERNEL.replace("factor;", "faktor;"), RAGGED)
    assert result.exit_code == 2
    assert re.search(r"my.cu:3:\d+: error: .faktor. was not declared", result.stderr), result.stderr
