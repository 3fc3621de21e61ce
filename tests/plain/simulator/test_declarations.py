"""The simulator finds and rewrites declarations of kernels and shared memory."""

import re

import pytest

from gpunet.simulator.kernel_declarations import find_kernels
from gpunet.simulator.shared_declarations import rewrite_shared

KERNELS = """
namespace a { namespace { __global__ void first(int n, float (*f)[4] = nullptr) {} }
namespace b { extern "C" __launch_bounds__(64) __global__ void second(const float* __restrict__ x, int n = 8) {} } }
__global__ void declared(float*);
__device__ const char* text = "namespace c { __global__ void no() {";
template <class T,
          int N = 2>
__global__ __launch_bounds__(N * 32)
void third(T* x) {}
template __global__ void third<int>(int*);
template <> __global__ void third<char>(char* x) {}
"""


def test_kernels_have_their_namespaces_parameters_and_bounds():
    kernels, text = find_kernels(KERNELS, ["third<float, 4>", "other<int>"])
    assert [(k.name, k.parameters, k.max_threads) for k in kernels] == [
        ("a::first", ("n", "f"), "1024"),
        ("a::b::second", ("x", "n"), "64"),
        ("third<int>", ("x",), "::gpunet_max_threads_third<int>"),
        ("third<float, 4>", ("x",), "::gpunet_max_threads_third<float, 4>"),
    ]
    assert (
        "template <class T, int N = 2> constexpr unsigned gpunet_max_threads_third = N * 32; template <class T,\n"
        in text
    )
    assert "__launch_bounds__" not in text
    assert len(text.splitlines()) == len(KERNELS.splitlines())


SHARED = """
extern __shared__ float s[];
struct S { int a; };
__shared__ S whole;
__global__ void k() {
  __shared__ alignas(16) float x[2]
    [3], *y;
  if (true) { __shared__ int z; }
  const char* quoted = "__shared__ int no; {";
  float* a = s;
  const float4 *b = (const float4*)(a + 4), *c = &b[2];
  a[0] = b[1].x + a[2] && &a[1] && x.a[3];
  float product = a[0] * 2;
  auto d = s + 9;
  product *= s[0];
}
"""


def test_shared_memory_declarations_are_rewritten_line_by_line():
    text = rewrite_shared(SHARED)
    lines = [re.sub(r"\s+", " ", line).strip() for line in text.splitlines()]
    assert lines[1] == "static float (&s)[] = reinterpret_cast<float (&)[]>(simulator::dynamic_shared);"
    assert lines[3] == "static thread_local __attribute__((aligned(16))) S whole{};"
    assert "alignas(16) static thread_local __attribute__((aligned(16))) float x[2] [3]{}, *y{};" in " ".join(
        lines[5:7]
    )
    assert "simulator::declare_shared<simulator::most(alignof(decltype(x)), 16)>(x);" in " ".join(lines[5:7])
    assert "int z{}; simulator::declare_shared<simulator::most(alignof(decltype(z)))>(z); }" in lines[7]
    assert lines[8:] == [
        'const char* quoted = "__shared__ int no; {";',
        'float* a = s; simulator::carve(0, "a", a);',
        "const float4 *b = (const float4*)(a + 4), *c = &b[2];"
        ' simulator::carve(1, "b", b); simulator::carve(2, "c", c);',
        "simulator::carved(a, 0)[0] = simulator::carved(b, 1)[1].x + simulator::carved(a, 0)[2] && &a[1] && x.a[3];",
        "float product = simulator::carved(a, 0)[0] * 2;",
        'auto d = s + 9; simulator::carve(3, "d", d);',
        "product *= s[0];",
        "}",
    ]


@pytest.mark.parametrize(
    "text", ["__shared__", "extern __shared__ float", "{ __shared__ int a[", "namespace {", "__global__"]
)
def test_truncated_text_is_left_to_the_compiler(text):
    find_kernels(rewrite_shared(text))
