"""Correct kernels give NumPy's results in both modes, without findings in check mode."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from compiler.simulator.kernels import CASES, TILED_MATMUL

from gpunet.errors import KernelError


@pytest.mark.parametrize("mode", ["fast", "check"])
@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_a_correct_kernel_gives_numpys_result_without_findings(simulate, case, mode):
    source, grid, block, arguments, launch, expected = case()
    written = [arguments[i] for i in expected if np.isnan(arguments[i]).all()]
    simulate(source, grid, block, *arguments, mode=mode, fresh=written, **launch)
    for index, value in expected.items():
        np.testing.assert_allclose(arguments[index], value, rtol=2e-5, atol=2e-5)


def test_float64_and_other_scalars_are_passed_exactly(simulate):
    source = """
    extern "C" __global__ void k(double* x, double d, long long l, unsigned char c, float f, bool b,
                                 unsigned long long u, short s) {
      x[0] = d; x[1] = l; x[2] = c; x[3] = f; x[4] = b; x[5] = u; x[6] = s;
    }"""
    values = [np.float64(1 / 3), np.int64(-(2**40)), np.uint8(250), np.float32(0.1), np.bool_(True), np.uint64(2**50)]
    x = np.zeros(7)
    simulate(source, (1,), (1,), x, *values, np.int16(-5))
    np.testing.assert_array_equal(x, [float(v) for v in values] + [-5])


@pytest.mark.parametrize("mode", ["fast", "check"])
@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("x[0] = (double)((__int128)(long long)x[0] * 7 / 3);", 11),
        ("struct S { double v; ~S() { v = 0; } }; S s{x[0]}; x[0] = pow(s.v, 2.0);", 25),
        ("x[0] = __builtin_powi(x[0], (int)x[0]);", 3125),
    ],
    ids=["128 bits", "math", "powers"],
)
def test_functions_of_compiler_libraries_link(simulate, mode, code, expected):
    x = np.array([5.0])
    simulate(f'extern "C" __global__ void k(double* x) {{ {code} }}', (1,), (1,), x, mode=mode)
    assert x[0] == expected


def test_a_launch_after_a_finding_is_not_affected(simulate):
    x = np.zeros(64, np.float32)
    faulty = """
    extern "C" __global__ void k(float* x, int stop) {
      __shared__ float s[64];
      s[threadIdx.x] = x[threadIdx.x] + 1;
      __syncthreads();
      if (threadIdx.x == 3 && stop) x[99] = 1;
      __syncthreads();
      x[threadIdx.x] = s[63 - threadIdx.x];
    }"""
    for _ in range(50):
        with pytest.raises(KernelError, match="out of bounds"):
            simulate(faulty, (1,), (64,), x, 1)
        assert x[3] == 0  # the thread stopped at the error
        x[:] = 0
    simulate(faulty, (1,), (64,), x, 0)
    assert (x == 1).all()


def test_an_access_out_of_bounds_is_not_executed(simulate):
    memory = np.zeros(128, np.float32)
    with pytest.raises(KernelError, match="byte 256 of array x, which has 256 bytes"):
        simulate('extern "C" __global__ void k(float* x) { x[64 + threadIdx.x] = 1; }', (1,), (32,), memory[:64])
    assert (memory == 0).all()


def test_check_mode_counts_bytes_and_barriers(simulate):
    m = n = k = 32
    a, b, c = np.ones((m, k), np.float32), np.ones((k, n), np.float32), np.zeros((m, n), np.float32)
    counts = simulate(TILED_MATMUL, (2, 2), (16, 16), a, b, c, m, n, k)
    tiles = 4 * 2  # blocks times steps along k
    assert counts.global_bytes_read == tiles * 2 * 16 * 16 * 4
    assert counts.global_bytes_written == c.nbytes
    assert counts.shared_bytes_written == tiles * 2 * 16 * 16 * 4
    assert counts.shared_bytes_read == tiles * 16 * 16 * 2 * 16 * 4
    assert counts.barriers == tiles
    assert (counts + counts).launches == 2


def test_a_copy_counts_once(simulate):
    source = """
    extern "C" __global__ void k(const float* x, float* y) {
      __shared__ __align__(16) float s[128];
      simulator::copy_async<16>(&s[4 * threadIdx.x], x + 4 * threadIdx.x, threadIdx.x < 16);
      simulator::commit_copies();
      simulator::wait_copies(0);
      y[threadIdx.x] = s[4 * threadIdx.x];
    }"""
    x, y = np.ones(64, np.float32), np.zeros(32, np.float32)
    counts = simulate(source, (1,), (32,), x, y)
    assert counts.global_bytes_read == x.nbytes  # nothing is read past the end
    assert counts.shared_bytes_written == 32 * 16


@pytest.mark.parametrize("mistake", ["no wait", "a source overwritten"])
def test_misused_copies_give_wrong_results_in_fast_mode(simulate, mistake):
    source = """
    extern "C" __global__ void k(float* x, float* y, bool waits, bool overwrites) {
      __shared__ float s[1];
      s[0] = x[0];
      simulator::copy_async<4>(s, x, true);
      simulator::commit_copies();
      if (overwrites) x[0] = 3;
      if (waits) simulator::wait_copies(0);
      y[0] = s[0];
    }"""

    def result(waits, overwrites):
        x, y = np.full(1, 2, np.float32), np.zeros(1, np.float32)
        simulate(source, (1,), (1,), x, y, np.bool_(waits), np.bool_(overwrites), mode="fast")
        return y[0]

    assert result(True, False) == 2
    wrong = result(mistake != "no wait", mistake != "no wait")
    assert np.isnan(wrong) if mistake == "no wait" else wrong == 3


def test_pending_copies_do_not_affect_the_next_block_or_launch(simulate):
    source = """
    extern "C" __global__ void k(const float* x, float* y) {
      __shared__ float s[100];
      const int end = blockIdx.x == 1 ? 1 : 100;
      s[99] = 7;
      for (int i = 0; i < end; ++i) simulator::copy_async<4>(&s[i], x + i, true);
      simulator::commit_copies();
      if (blockIdx.x == 1) simulator::wait_copies(0);
      y[blockIdx.x] = s[99];
    }"""
    x, y = np.ones(100, np.float32), np.zeros(3, np.float32)
    for _ in range(2):
        simulate(source, (3,), (1,), x, y, mode="fast")
        np.testing.assert_array_equal(y, [np.nan, 7, np.nan])


def test_threads_may_launch_at_the_same_time(simulate):
    source = """
    extern "C" __global__ void k(float* x, int n) {
      __shared__ float s[64];
      for (int i = 0; i < n; ++i) {
        s[threadIdx.x] = x[threadIdx.x];
        __syncthreads();
        x[threadIdx.x] = s[63 - threadIdx.x] + 1;
        __syncthreads();
      }
    }"""

    def work(_):
        x = np.zeros(64, np.float32)
        for _ in range(5):
            simulate(source, (1,), (64,), x, 10)
        return (x == 50).all()

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(work, range(8)))


def test_macros_of_a_source_do_not_change_the_runtimes_headers(simulate):
    source = """
    #define BK 4
    #define lanes 7
    #define simulate_this x[threadIdx.x] = (T)BK + lanes
    extern "C" __global__ void k(T* x) { simulate_this; }"""
    x = np.zeros(4, np.float32)
    simulate(source, (1,), (4,), x, options=["-DT=float", "-Dmask=1", "-DElement=2"])
    assert (x == 11).all()
