// matmul_mma3.cu: the matrix product on tensor cores (see matmul.cuh) with the error of float arithmetic (3xTF32), only
// on request.
//
// A float x is big + small, where big = round(x) is a TF32 number and small = x - big. A tensor core drops the last of
// the 12 bits of small, up to 2^-23 of x. So
//
//     x y = small_x big_y + big_x small_y + big_x big_y
//
// up to 2^-21 of |x y|, by three instructions of a tensor core. Tensor cores truncate sums instead of rounding them, an
// error that grows with the number of sums of one sign. So they add up only 16 steps along k, the small products first,
// and each of these parts is added in float.
//
// - big must be rounded: small then has a random sign, so that truncating it in the tensor core has no bias.
// - An infinity, a NaN and a number above 3.4e38 have no such sum: inf - inf is NaN. An element of c that is NaN is
//   computed again in float, slowly. So the result is what float arithmetic gives.
// - Where |x| < 2^-103, small may be a subnormal number, which float arithmetic flushes to zero (-ftz): the error of the
//   product is then up to 2^-126 |y|.
//
// 6 m n k FLOPs of the tensor cores for the 2 m n k of the product. Options, layout and launch: mma_product.cuh.

#include "mma_product.cuh"

// Elements as sums of two TF32 numbers, as operands of mma instructions for 8 steps along k.
template <typename Operand>
struct Split {
    unsigned big[Operand::FRAGMENTS][Operand::REGISTERS], small[Operand::FRAGMENTS][Operand::REGISTERS];

    DEVICE void load(const T* own, int step) {
        Operand operand;
        operand.load(own, step);
#pragma unroll
        for (int p = 0; p < Operand::FRAGMENTS; ++p)
#pragma unroll
            for (int i = 0; i < Operand::REGISTERS; ++i) {
                const T x = operand.values[p][i];
                big[p][i] = float_to_tf32(x);
                small[p][i] = __float_as_uint(x - __uint_as_float(big[p][i]));
            }
    }
};

// Products of the elements in full, in parts of CHUNK steps along k.
struct Exact {
    static constexpr int CHUNK = BK < 16 ? BK : 16, EIGHTS = CHUNK / 8;
    static_assert(BK % CHUNK == 0, "a stage is a whole number of chunks");

    static DEVICE void multiply(Sums& sum, const T* own_a, const T* own_b) {
#pragma unroll
        for (int first = 0; first < BK; first += CHUNK) {
            Split<OperandA> a[EIGHTS];
            Split<OperandB> b[EIGHTS];
#pragma unroll
            for (int j = 0; j < EIGHTS; ++j) {
                a[j].load(own_a, first + j * 8);
                b[j].load(own_b, first + j * 8);
            }
#pragma unroll
            for (int p = 0; p < OperandA::FRAGMENTS; ++p)
#pragma unroll
                for (int q = 0; q < OperandB::FRAGMENTS; ++q) {
                    T part[4] = {};
#pragma unroll
                    for (int j = 0; j < EIGHTS; ++j) {
                        mma_m16n8k8_tf32(part, a[j].small[p], b[j].big[q]);
                        mma_m16n8k8_tf32(part, a[j].big[p], b[j].small[q]);
                    }
#pragma unroll
                    for (int j = 0; j < EIGHTS; ++j) mma_m16n8k8_tf32(part, a[j].big[p], b[j].big[q]);
#pragma unroll
                    for (int r = 0; r < 4; ++r) sum.tile[p][q][r] += part[r];
                }
        }
    }

    // Compute the elements that are NaN again, in float.
    static DEVICE void repair(const Sums& sum, const T* a, const T* b, const Epilogue& finish, int row, int column,
                              int k) {
        constexpr int ACROSS = OperandB::FRAGMENTS;
        static_assert(OperandA::FRAGMENTS * ACROSS * 4 <= 64, "a bit for each sum");
        unsigned long long wrong = 0;
#pragma unroll
        for (int p = 0; p < OperandA::FRAGMENTS; ++p)
#pragma unroll
            for (int q = 0; q < ACROSS; ++q)
#pragma unroll
                for (int r = 0; r < 4; ++r)
                    if (sum.tile[p][q][r] != sum.tile[p][q][r]) wrong |= 1ull << ((p * ACROSS + q) * 4 + r);
        const Place place = Place::of_thread();
#pragma unroll 1
        for (int i = 0; wrong != 0; ++i, wrong >>= 1) {
            if (!(wrong & 1)) continue;
            const int x = row + place.row(i / (4 * ACROSS), i % 4), y = column + place.column(i / 4 % ACROSS, i % 4);
            T value = 0;
#pragma unroll 1
            for (int step = 0; step < k; ++step)
                value += element_a(a, x, step, finish.m, k) * element_b(b, step, y, finish.n, k);
            finish(x, y, value);
        }
    }
};

// FLOPs: 2 * m * n * k * grid_z
extern "C" __global__ void __launch_bounds__(THREADS, MIN_BLOCKS) matmul_mma3(
    const T* __restrict__ a,        // [(grid_z - 1) * stride_a + m * k]
    const T* __restrict__ b,        // [(grid_z - 1) * stride_b + k * n]
    const T* __restrict__ bias,     // [n] or null
    const T* __restrict__ saved,    // [grid_z * m * n] or null
    T* __restrict__ preactivation,  // [grid_z * m * n] or null
    T* __restrict__ c,              // [grid_z * m * n]
    T* __restrict__ column_sums,    // [n] or null: with COLUMN_SUMS, sums over k of the first op(b)
    T* parts,                       // [grid_x * grid_y * grid_z * part_size] or null: with splits, for split_k.cuh
    unsigned* arrivals,             // [grid_x * grid_z] or null: with splits, zeros
    int m, int n, int k, long long stride_a, long long stride_b, int part_size, T parameter) {
    alignas(16) __shared__ T shared[Steps::WORDS];
    multiply_tile<Exact>(shared, a + blockIdx.z * stride_a, b + blockIdx.z * stride_b,
                         Epilogue{bias, saved, preactivation, c, m, n, parameter}, column_sums, parts, arrivals, k);
}
