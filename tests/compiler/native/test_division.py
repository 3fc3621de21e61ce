"""A task calls BLAS once for all of its parts only if this gives the bits of one call for each part."""

import ctypes

import numpy as np
import pytest
from compiler.native.calls import undefined
from threadpoolctl import threadpool_limits

from gpunet.native import division
from gpunet.native.blas import TILES, tile_rows
from gpunet.native.compiler import compile_library
from gpunet.native.division import row_tasks, slice_tasks
from gpunet.native.program import Program
from gpunet.ops.matmul_launch import PRODUCT, TRANSPOSED_PRODUCT

# A product that adds along k in the order of its indices, or in reverse for BACKWARD rows of c and more.
GEMM = """
#include <cstdint>
extern "C" __attribute__((visibility("default")))
void gemm(int, int transpose_a, int transpose_b, int64_t m, int64_t n, int64_t k, float, const float* a, int64_t lda,
          const float* b, int64_t ldb, float, float* c, int64_t ldc) {
    for (int64_t i = 0; i < m; ++i)
        for (int64_t j = 0; j < n; ++j) {
            float sum = 0;
            for (int64_t s = 0; s < k; ++s) {
                const int64_t l = m < BACKWARD ? s : k - 1 - s;
                sum += (transpose_a == 112 ? a[l * lda + i] : a[i * lda + l]) *
                       (transpose_b == 112 ? b[j * ldb + l] : b[l * ldb + j]);
            }
            c[i * ldc + j] = sum;
        }
}
"""
M, K, N = 128, 40, 6
ONE_CALL, FOUR_CALLS = [(0, 128)], [(0, 32), (32, 64), (64, 96), (96, 128)]
RNG = np.random.default_rng(0)


@pytest.fixture(autouse=True)
def tile_of_sixteen_rows(monkeypatch):
    monkeypatch.setattr(division, "tile_rows", lambda: 16)


@pytest.fixture(params=[10**6, 100, 40, 1], ids="sum changes at {} rows".format)
def backward(request):
    return request.param


@pytest.fixture
def gemm(backward):
    library = ctypes.CDLL(str(compile_library(GEMM, "gemm.cpp", [f"-DBACKWARD={backward}"])))
    return ctypes.cast(library.gemm, ctypes.c_void_p).value


def product(gemm):
    a, b = (RNG.standard_normal(shape, np.float32) for shape in ((M, K), (K, N)))
    return PRODUCT.bind(gemm, a, b, undefined((M, N), np.float32), M, N, K, K, N, N, False, count=M)


def transposed_product(gemm):
    a, b = (RNG.standard_normal(shape, np.float32) for shape in ((K, M), (K, N)))
    return TRANSPOSED_PRODUCT.bind(gemm, a, b, undefined((M, N), np.float32), M, N, K, M, N, N, count=M, grain=32)


def calls(tasks):
    return [[(begin, end) for _, begin, end in task] for task in tasks]


def test_products_are_one_call_a_task_if_the_bits_are_the_same(gemm, backward):
    of_rows, of_slices = product(gemm), transposed_product(gemm)
    whole, halves = backward in (10**6, 1), backward != 40
    assert calls(row_tasks([of_rows], M, 1, M)) == [ONE_CALL if whole else FOUR_CALLS]
    assert calls(row_tasks([of_rows], M, 2, M)) == (
        [[(0, 64)], [(64, 128)]] if halves else [FOUR_CALLS[:2], FOUR_CALLS[2:]]
    )
    assert calls(slice_tasks(of_slices, 1)) == ([ONE_CALL] if whole else [[part] for part in FOUR_CALLS])
    assert calls(slice_tasks(of_slices, 3)) == (
        [[(0, 64)], [(64, 96)], [(96, 128)]] if halves else [[part] for part in FOUR_CALLS]
    )


def test_the_complete_parts_of_fewer_rows_are_one_call_a_task_if_the_bits_are_the_same(gemm, backward):
    expected = [(0, 32), (32, 64)] if backward == 40 else [(0, 64)]
    assert calls(row_tasks([product(gemm)], M, 1, 70)) == [[*expected, (64, 70)]]
    assert calls(row_tasks([product(gemm)], M, 1, 96)) == [[*expected, (64, 96)]]


def test_a_product_that_takes_too_long_is_not_tried(gemm, monkeypatch):
    monkeypatch.setattr(division, "MOST_FLOPS", 2 * M * N * K - 1)
    assert calls(row_tasks([product(gemm)], M, 1, M)) == [FOUR_CALLS]


def results(node, monkeypatch):
    """Return the product that a node computes with 1, 2, 3, 4 and 7 threads."""
    monkeypatch.setattr("gpunet.native.program.PARALLEL_FLOPS", 0)
    for threads in (1, 2, 3, 4, 7):
        monkeypatch.setattr("gpunet.native.program.thread_count", lambda threads=threads: threads)
        Program([node]).run()
        yield node.args[3].copy()


@pytest.mark.parametrize("make", [product, transposed_product])
def test_any_number_of_threads_gives_the_same_bits(make, gemm, monkeypatch):
    node = make(gemm)
    first, *others = results(node, monkeypatch)
    a, b = node.args[1:3]
    np.testing.assert_allclose(first, (a if make is product else a.T) @ b, rtol=1e-4, atol=1e-5)
    for other in others:
        np.testing.assert_array_equal(other, first)


@pytest.mark.parametrize("backward", [40])
@pytest.mark.parametrize("make", [product, transposed_product])
def test_one_call_a_task_without_a_trial_would_give_other_bits(make, gemm, monkeypatch):
    monkeypatch.setattr(division, "merges", lambda node, parts: True)
    first, *others = results(make(gemm), monkeypatch)
    assert not all(np.array_equal(other, first) for other in others)


def test_parts_of_whole_tiles_have_the_bits_of_the_product_if_those_of_any_tried_size_have():
    with threadpool_limits(1):
        a, b = RNG.standard_normal((144, 300), np.float32), RNG.standard_normal((300, 40), np.float32)
        same = {
            rows: np.array_equal(np.vstack([part @ b for part in np.split(a, 144 // rows)]), a @ b) for rows in TILES
        }
    assert same[tile_rows()] or not any(same.values())
