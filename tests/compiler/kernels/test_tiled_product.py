"""The tiled product inside another kernel: several tile shapes, and blocks that loop over tiles."""

import numpy as np
from compiler.kernels.checked import run, uninitialized

from gpunet.cuda import Kernel

SOURCE = """
#include "tiled_product.cuh"
using Small = TileShape<32, 32, 32, 32, 16, 4, 4, 3, 4>;
using Large = TileShape<64, 64, 16, 32, 32, 8, 4, 2, 2>;
using Forward = TiledProduct<Small, false, false, false, false, false, false>;
using Gradient = TiledProduct<Large, true, false, false, false, false, true>;
static_assert(Small::THREADS == Large::THREADS, "a launch has one number of threads");

template <typename Shape, typename Product>
DEVICE void multiply(T* shared, const T* a, const T* b, T* c, T* sums, int m, int n, int k) {
    const int across = ceil_div(n, Shape::BN), tiles = ceil_div(m, Shape::BM) * across;
    for (int tile = blockIdx.x; tile < tiles; tile += gridDim.x) {
        const int row = tile / across * Shape::BM, column = tile % across * Shape::BN;
        const auto sum = Product::accumulate(shared, a, b, row, column, m, n, k, 0, k);
        if (Product::Place::of_thread().slice == 0) {
            const EpilogueOf<activation::identity, false> finish{nullptr, nullptr, nullptr, c, m, n, T(0)};
            Product::store_tile(sum, finish, row, column);
            if constexpr (sizeof(sum) > sizeof(sum.tile)) Product::store_column_sums(sum, sums, row, column, n);
        }
        __syncthreads();
    }
}

extern "C" __global__ void __launch_bounds__(Small::THREADS) both(
    const T* x,        // [rows * inputs]
    const T* weight,   // [inputs * outputs]
    const T* dz,       // [rows * outputs]
    T* y,              // [rows * outputs]
    T* dweight,        // [inputs * outputs]
    T* dbias,          // [outputs]
    int rows, int inputs, int outputs) {
    alignas(16) __shared__ T shared[Forward::WORDS > Gradient::WORDS ? Forward::WORDS : Gradient::WORDS];
    multiply<Small, Forward>(shared, x, weight, y, nullptr, rows, outputs, inputs);
    multiply<Large, Gradient>(shared, x, dz, dweight, dbias, inputs, outputs, rows);
}
"""


def test_blocks_of_one_kernel_loop_over_tiles_of_two_shapes(tmp_path):
    path = tmp_path / "both.cu"
    path.write_text(SOURCE, encoding="utf-8")
    rows, inputs, outputs = 70, 131, 67
    rng = np.random.default_rng(0)
    x, weight, dz = (rng.standard_normal(s, np.float32) for s in ((rows, inputs), (inputs, outputs), (rows, outputs)))
    y, dweight, dbias = (uninitialized(shape, x.dtype) for shape in (dz.shape, weight.shape, outputs))
    run(Kernel(path, "both"), (2,), (256,), x, weight, dz, y, dweight, dbias, rows, inputs, outputs)
    for actual, expected in ((y, x @ weight), (dweight, x.T @ dz), (dbias, dz.sum(axis=0))):
        np.testing.assert_allclose(actual, expected, rtol=1e-4, atol=1e-4)
