// linear_backward.cu: the gradients of a linear layer y = x W + bias from dz, the gradient of y, in one launch:
//
//     dW = x^T dz,    dbias = sum over the rows of dz,    dx = dz W^T
//
// With GRADIENT=1, dx = dz W^T * f'(saved), where f is the activation of the layer below.
//
// Both products read dz and are independent. As two launches they leave much of the GPU idle in a small net, and the
// second launch costs about 1.3 us (H100). Here one grid has the blocks of both, those of dW first. Each tile is
// computed as in matmul_tiled.cu, with the same bits, without split-K.
//
// 4 rows inputs outputs FLOPs; in float at least 4 (2 rows inputs + rows outputs + 2 inputs outputs) bytes, plus 4 rows
// inputs for `saved` if that is not x.
//
// Options: REAL; TILE as for matmul_tiled.cu; ACTIVATION and GRADIENT (matmul.cuh); COLUMN_SUMS=1 for dbias.
// VECTOR_INPUTS=1 loads and stores x, saved and dx by vectors, VECTOR_OUTPUTS=1 dz, W and dW: their rows must be aligned
// multiples of 16 bytes. The launch bounds ask for 512 resident threads per SM.
//
// Launch: grid (ceil(inputs / BM) * ceil(outputs / BN) + ceil(rows / BM) * ceil(inputs / BN),), block (THREADS,).

#include "tiled_product.cuh"

#ifndef TILE
#define TILE 64, 64, 8, 32, 32, 8, 4
#endif
#ifndef VECTOR_INPUTS
#define VECTOR_INPUTS 0
#endif
#ifndef VECTOR_OUTPUTS
#define VECTOR_OUTPUTS 0
#endif

using Shape = TileShape<TILE>;
using OfWeight = TiledProduct<Shape, true, false, VECTOR_INPUTS, VECTOR_OUTPUTS, VECTOR_OUTPUTS, COLUMN_SUMS>;
using OfInput = TiledProduct<Shape, false, true, VECTOR_OUTPUTS, VECTOR_OUTPUTS, VECTOR_INPUTS, false>;

// FLOPs: 4 * rows * inputs * outputs
extern "C" __global__ void __launch_bounds__(Shape::THREADS, 512 / Shape::THREADS) linear_backward(
    const T* __restrict__ x,         // [rows * inputs]
    const T* __restrict__ weight,    // [inputs * outputs]
    const T* __restrict__ dz,        // [rows * outputs]
    const T* __restrict__ saved,     // [rows * inputs] or null: with GRADIENT
    T* __restrict__ dx,              // [rows * inputs]
    T* __restrict__ dweight,         // [inputs * outputs]
    T* __restrict__ dbias,           // [outputs] or null: with COLUMN_SUMS
    int rows, int inputs, int outputs, T parameter) {
    alignas(16) __shared__ T shared[OfWeight::WORDS > OfInput::WORDS ? OfWeight::WORDS : OfInput::WORDS];
    const bool holds = PlaceOf<Shape>::of_thread().slice == 0;
    const int across = ceil_div(outputs, Shape::BN), of_weight = ceil_div(inputs, Shape::BM) * across;  // tiles

    if (blockIdx.x < of_weight) {
        const int row = blockIdx.x / across * Shape::BM, column = blockIdx.x % across * Shape::BN;
        const auto sum = OfWeight::accumulate(shared, x, dz, row, column, inputs, outputs, rows, 0, rows);
        if (!holds) return;
        const EpilogueOf<activation::identity, false> finish{nullptr, nullptr, nullptr, dweight, inputs, outputs, T(0)};
        OfWeight::store_tile(sum, finish, row, column);
#if COLUMN_SUMS
        OfWeight::store_column_sums(sum, dbias, row, column, outputs);
#endif
    } else {
        const int tile = blockIdx.x - of_weight, across_inputs = ceil_div(inputs, Shape::BN);
        const int row = tile / across_inputs * Shape::BM, column = tile % across_inputs * Shape::BN;
        const auto sum = OfInput::accumulate(shared, dz, weight, row, column, rows, inputs, outputs, 0, outputs);
        const Epilogue finish{nullptr, saved, nullptr, dx, rows, inputs, parameter};
        if (holds) OfInput::store_tile(sum, finish, row, column);
    }
}
