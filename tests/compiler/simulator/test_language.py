"""Declarations of kernels and shared memory in all forms that CUDA sources use."""

import numpy as np
import pytest

import gpunet.simulator as cp
from gpunet.errors import ArgumentError, KernelError

X = np.arange(64, dtype=np.float32)

KERNELS = """
#define WIDTH 64
__launch_bounds__(64) __global__ void before(float* x) { x[threadIdx.x] += 1; }
__global__ __launch_bounds__(WIDTH, 2) void between(float* x) { x[threadIdx.x] += 1; }
extern "C" __global__ void
__launch_bounds__(WIDTH) behind(float* x) {
  x[threadIdx.x] += 1;
}
static __global__ void unlisted(float* x) { x[threadIdx.x] += 1; }
namespace outer { namespace {
__device__ float one() { return 1; }
}
namespace inner {
__global__ void nested(float* __restrict__ x, int n = 64) { if (threadIdx.x < n) x[threadIdx.x] += one(); }
template <class T, int BLOCK = WIDTH>
__global__ void __launch_bounds__(BLOCK) add(T* x, T what) {
  static __shared__ T s[BLOCK];
  s[threadIdx.x] = what;
  __syncthreads();
  x[threadIdx.x] += s[BLOCK - 1 - threadIdx.x];
}
}
template __global__ void inner::add<float>(float*, float);
}
__device__ int twice(int x) { return 2 * x; }
__device__ float twice(float x) { return 2 * x; }
__global__ void overloads(float* x) { x[threadIdx.x] = twice(x[threadIdx.x]) - x[threadIdx.x] + twice(1) - 1; }
"""
NAMES = ["before", "between", "behind", "unlisted", "outer::inner::nested", "overloads"]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("checked", [False, True])
def test_kernels_are_found_in_all_forms_of_declaration(name, checked):
    x = cp.asarray(X)
    arguments = (x, np.int32(64)) if "nested" in name else (x,)
    with cp.check_mode(checked):
        cp.RawKernel(KERNELS, name)((1,), (64,), arguments)
    assert (x.get() == X + 1).all()


@pytest.mark.parametrize("name", ["before", "between", "behind"])
def test_launch_bounds_are_checked_at_any_position(name):
    with pytest.raises(ArgumentError, match="a block of 65 threads; its __launch_bounds__ allows 64"):
        cp.RawKernel(KERNELS, name)((1,), (65,), (cp.asarray(X),))


def test_a_template_instance_is_found_by_its_name_expression():
    half = "outer::inner::add<double, 32>"
    module = cp.RawModule(code=KERNELS, name_expressions=["outer::inner::add<double>", half])
    x = cp.asarray(X.astype(np.float64))
    module.get_function("outer::inner::add<double>")((1,), (64,), (x, 1.0))
    module.get_function(half)((1,), (32,), (x, 1.0))
    assert (x.get() == X + 1 + (X < 32)).all()
    with pytest.raises(ArgumentError, match="its __launch_bounds__ allows 32"):
        module.get_function(half)((1,), (64,), (x, 1.0))
    with pytest.raises(ArgumentError, match=r"has no kernel 'add<double>'; it has .*outer::inner::add<double>"):
        module.get_function("add<double>")((1,), (64,), (x, 1.0))


def test_an_explicit_template_instance_needs_no_name_expression():
    x = cp.asarray(X)
    cp.RawKernel(KERNELS, "outer::inner::add<float>")((1,), (64,), (x, np.float32(1)))
    assert (x.get() == X + 1).all()


def test_an_instance_and_an_overload_may_name_types_of_their_namespace():
    source = """
namespace geometry {
struct Point { float x; };
struct Twice { __device__ float operator()(float x) const { return 2 * x; } };
template <class F> __global__ void __launch_bounds__(64) apply(float* x) { x[threadIdx.x] = F()(x[threadIdx.x]); }
template __global__ void apply<Twice>(float*);
__global__ void shift(float* x, Point p) { x[threadIdx.x] += p.x; }
__global__ void shift(float* x, float p) { x[threadIdx.x] += p; }
}"""
    module = cp.RawModule(code=source)
    x = cp.asarray(X)
    module.get_function("geometry::apply<Twice>")((1,), (64,), (x,))
    module.get_function("geometry::shift(float*, float)")((1,), (64,), (x, np.float32(1)))
    assert np.array_equal(cp.asnumpy(x), 2 * X + 1)


SHARED = {
    "static": "static __shared__ float s[64];",
    "volatile": "volatile __shared__ float s[64];",
    "type first": "float __shared__ s[64];",
    "aligned": "__shared__ alignas(16) float s[64], t[2];",
    "two lines": "__shared__\n  float t[4][2],\n  s[64];",
    "dynamic": "extern __shared__ float s[];",
    "dynamic, type first": "extern float __shared__ s[];",
    "dynamic, aligned": "extern __shared__ __align__(16) float s[];",
    "dynamic, aligned before": "__align__(16) extern __shared__ float s[];",
    "dynamic, by bytes": "extern __shared__ char raw[]; float *s = reinterpret_cast<float*>(raw), *t = s + 64;",
    "dynamic, two arrays": "extern __shared__ float4 raw[]; auto t = (int*)raw; float* s = (float*)&t[16];",
}


FORM = """
namespace NAME {
__global__ void k(float* x) {
  SHARED
  s[threadIdx.x] = x[threadIdx.x];
  BARRIER
  x[threadIdx.x] = s[63 - threadIdx.x];
}
}"""


def reverse(name, barrier):
    """Reverse 64 numbers in shared memory declared in the given form; return them."""
    names = {form: f"form{i}" for i, form in enumerate(SHARED)}
    forms = (FORM.replace("NAME", names[form]).replace("SHARED", text) for form, text in SHARED.items())
    x = cp.asarray(X)
    cp.RawKernel("".join(forms).replace("BARRIER", barrier), f"{names[name]}::k")((1,), (64,), (x,), shared_mem=1024)
    return x.get()


@pytest.mark.parametrize("checked", [False, True])
@pytest.mark.parametrize("name", SHARED)
def test_shared_memory_may_be_declared_in_any_form(name, checked):
    with cp.check_mode(checked) as findings:
        assert (reverse(name, "__syncthreads();") == X[::-1]).all()
    assert findings == []


@pytest.mark.parametrize("name", SHARED)
def test_a_race_in_shared_memory_is_found_in_any_form(name):
    with cp.check_mode(), pytest.raises(KernelError, match="race: "):
        reverse(name, "")
