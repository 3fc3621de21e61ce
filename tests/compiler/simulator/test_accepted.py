"""Correct kernels have no errors, and similar faults are found."""

import re
import subprocess
import sys
from contextlib import nullcontext

import numpy as np
import pytest
from compiler.simulator.accepted import PLANTED, RIGHT
from compiler.simulator.kernels import inspect, inspect_kernel, together

from gpunet import simulator
from gpunet.errors import KernelError


@pytest.fixture(scope="module")
def right():
    return together({name: text.lstrip("\n") for name, text in RIGHT.items()})


@pytest.fixture(scope="module")
def planted():
    assert all(RIGHT[name].count(text) == 1 for name, (text, *_) in PLANTED.items())
    return together({name: RIGHT[name].replace(text, fault).lstrip("\n") for name, (text, fault, _) in PLANTED.items()})


def errors(kernel):
    _, found = inspect_kernel(kernel, (2,), (64,), np.zeros(128, np.float32), shared_bytes=1024)
    return [str(finding) for finding in found if finding.grade == "error"]


@pytest.mark.parametrize("name", RIGHT)
def test_a_correct_kernel_has_no_error(right, name):
    assert errors(right[name]) == []


@pytest.mark.parametrize("name", PLANTED)
def test_a_fault_planted_in_it_is_an_error(planted, name):
    found = errors(planted[name])
    assert any(re.search(PLANTED[name][2], text) for text in found), found


def test_device_variables_with_destructors_do_not_crash_at_exit():
    source = RIGHT["device variables with destructors"]
    program = f"""
import gpunet.simulator as cp
with cp.check_mode():
    cp.RawKernel({source!r}, "k")((2,), (64,), (cp.zeros(128, cp.float32),))
    cp.RawKernel('extern "C" __global__ void other() {{}}', "other")((1,), (1,), ())
"""
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)


def test_an_early_return_before_a_barrier_is_benign():
    found = inspect(RIGHT["an early return before a barrier"], (1,), (64,), np.zeros(64, np.float32))
    assert [(finding.grade, finding.kind) for finding in found] == [("benign", "barrier after an early exit")]


def test_undeclared_alignment_is_reported_at_any_address(line_of):
    source = """
    extern "C" __global__ void k(float* x) {
      ORDER
      if (threadIdx.x < 16) *reinterpret_cast<float4*>(&s[4 * threadIdx.x]) = make_float4(1, 2, 3, 4);  // fault
      t[threadIdx.x % 8] = 1;
      __syncthreads();
      x[threadIdx.x] = s[threadIdx.x];
    }"""
    for order, grade in [
        ("__shared__ float s[64], t[8];", "warning"),
        ("__shared__ float t[8], s[64];", "warning"),
        ("__shared__ float t[9]; __shared__ float s[64];", "error"),
        ("__shared__ float t[9]; __shared__ alignas(16) float s[64];", None),
        ("__shared__ float4 whole[16]; float* s = (float*)whole; __shared__ float t[8];", None),
    ]:
        text = source.replace("ORDER", order)
        found = inspect(text, (1,), (64,), np.zeros(64, np.float32))
        grades = {f.grade for f in found if "__align__(16)" in f.text and line_of(text) in f.text}
        assert grades == ({grade} if grade else set()), (order, found)


def test_shared_arrays_in_templates_need_declared_alignment():
    source = """
    template <int N> __device__ float sum(float v) {
      __shared__ float s[N];
      s[threadIdx.x] = v;
      __syncthreads();
      const float4 four = *reinterpret_cast<float4*>(s);
      return four.x + four.w;
    }
    extern "C" __global__ void k(float* x) { x[threadIdx.x] = sum<64>(1); }"""
    (found,) = inspect(source, (1,), (64,), np.zeros(64, np.float32))
    assert (found.grade, found.kind) == ("warning", "alignment by luck")
    assert found.stack[0].startswith("sum at ")
    assert found.stack[1].startswith("k at ")


GUESSES = """
extern "C" __global__ void loop(int* x) {
  int old = *x, assumed;
  do { assumed = old; old = atomicCAS(x, assumed, assumed + 1); } while (assumed != old);
}
extern "C" __global__ void without_swap(int* x, int* y) {
  atomicAdd(x, 1);
  y[threadIdx.x] = *x;
}
extern "C" __global__ void read_after_swap(int* x, int* y) {
  int old = *x;
  atomicCAS(x, old, old + 1);
  y[threadIdx.x] = *x;
}"""


@pytest.mark.parametrize(("name", "races"), [("loop", False), ("without_swap", True), ("read_after_swap", True)])
def test_the_plain_read_before_a_compare_and_swap_is_no_race(name, races):
    x, y = simulator.zeros(1, np.int32), simulator.zeros(64, np.int32)
    kernel = simulator.RawKernel(GUESSES, name)
    with simulator.check_mode() as findings, pytest.raises(KernelError) if races else nullcontext():
        kernel((1 if races else 3,), (64,), (x, y)[: 1 + races])
    assert {f.kind for f in findings} == ({"race"} if races else set())
    if not races:
        assert int(x[0]) == 192
