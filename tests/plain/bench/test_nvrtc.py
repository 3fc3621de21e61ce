import pytest

from gpunet.bench import nvrtc
from gpunet.errors import ArgumentError, CompileError, MissingPackageError

with_nvrtc = pytest.mark.skipif(
    not nvrtc.is_available(), reason="NVRTC is not installed: pip install nvidia-cuda-nvrtc-cu12"
)

TWO = """
__global__ void scale(float* x) { x[threadIdx.x] *= 2; }
extern "C" __global__ void reverse(float* x) {
  __shared__ float s[256];
  s[threadIdx.x] = x[threadIdx.x];
  __syncthreads();
  x[threadIdx.x] = s[255 - threadIdx.x];
}
"""


@with_nvrtc
def test_every_kernel_of_a_file_is_listed_by_name():
    found = nvrtc.compile_kernels(TWO, "two.cu", "sm_90")
    assert found.keys() == {"scale", "reverse"}
    assert (found["scale"].shared, found["reverse"].shared) == (0, 1024)
    assert all(0 < r.registers < 64 and r.stack == r.spilled == 0 for r in found.values())


@with_nvrtc
def test_local_arrays_and_spills_are_reported():
    local = """extern "C" __global__ void k(float* x, const int* at) {
      float a[64];
      for (int i = 0; i < 64; ++i) a[at[i]] = x[i];
      for (int i = 0; i < 64; ++i) x[i] = a[at[i + 64]];
    }"""
    assert nvrtc.compile_kernels(local, "local.cu", "sm_90")["k"].stack == 256
    terms = range(64)
    loads, sums = "".join(f"float a{i} = x[{i}]; " for i in terms), "*".join(f"(a{i} + y)" for i in terms)
    source = f'extern "C" __global__ void k(volatile float* x) {{ {loads} float y = x[64]; x[0] = {sums}; }}'
    assert nvrtc.compile_kernels(source, "many.cu", "sm_90", ["--maxrregcount=24"])["k"].spilled > 0


@with_nvrtc
def test_a_refused_source_is_an_error_with_file_and_line():
    with pytest.raises(CompileError, match=r"bad.cu does not compile for sm_75:\nbad.cu\(2\): error: .*missing"):
        nvrtc.compile_kernels("\n__global__ void k(float* x) { x[0] = missing; }", "bad.cu", "sm_75")


@with_nvrtc
def test_a_missing_header_error_says_which_package_has_headers():
    with pytest.raises(CompileError, match=r'(?s)"no_such_header.h".*pip install nvidia-cuda-runtime-cu12'):
        nvrtc.compile_kernels('#include "no_such_header.h"', "my.cu", "sm_90")


@with_nvrtc
def test_an_unknown_architecture_is_an_error_that_lists_the_known():
    with pytest.raises(ArgumentError, match=r"'sm_1'; this NVRTC supports .*sm_90"):
        nvrtc.compile_kernels(TWO, "two.cu", "sm_1")


@with_nvrtc
def test_the_architectures_are_those_of_the_installed_nvrtc():
    assert {"sm_75", "sm_90"} <= set(nvrtc.architectures()) <= set(nvrtc.ARCHITECTURES)


def test_without_nvrtc_the_error_says_how_to_get_it(monkeypatch):
    monkeypatch.setattr(nvrtc, "_library", lambda: None)
    with pytest.raises(MissingPackageError, match=r"pip install nvidia-cuda-nvrtc-cu12.*CUDA_PATH"):
        nvrtc.compile_kernels(TWO, "two.cu", "sm_90")
    assert not nvrtc.is_available()
