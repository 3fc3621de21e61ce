// matmul_mma.cu: the matrix product on tensor cores (see matmul.cuh), only on request: float data, TF32 arithmetic.
//
// A tensor core multiplies tiles of 16 x 8 and 8 x 8 in one instruction of a warp, with many times the FLOP/s of the
// FMA units. It rounds the operands to 10 bits of mantissa (TF32), an error of up to 5e-4 per factor, and truncates the
// sums in float. Since that is not float arithmetic, this kernel is never chosen by default. Column sums are those of
// the float values, not of the rounded ones.
//
// Options, layout and launch: mma_product.cuh.

#include "mma_product.cuh"

// Products of the elements rounded to TF32, summed by the tensor cores.
struct Rounded {
    static DEVICE void multiply(Sums& sum, const T* own_a, const T* own_b) {
#pragma unroll
        for (int step = 0; step < BK; step += 8) {
            unsigned a[OperandA::FRAGMENTS][OperandA::REGISTERS], b[OperandB::FRAGMENTS][OperandB::REGISTERS];
            round<OperandA>(a, own_a, step);
            round<OperandB>(b, own_b, step);
#pragma unroll
            for (int p = 0; p < OperandA::FRAGMENTS; ++p)
#pragma unroll
                for (int q = 0; q < OperandB::FRAGMENTS; ++q) mma_m16n8k8_tf32(sum.tile[p][q], a[p], b[q]);
        }
    }

    template <typename Operand>
    static DEVICE void round(unsigned (&rounded)[Operand::FRAGMENTS][Operand::REGISTERS], const T* own, int step) {
        Operand operand;
        operand.load(own, step);
#pragma unroll
        for (int p = 0; p < Operand::FRAGMENTS; ++p)
#pragma unroll
            for (int i = 0; i < Operand::REGISTERS; ++i) rounded[p][i] = float_to_tf32(operand.values[p][i]);
    }

    static DEVICE void repair(const Sums&, const T*, const T*, const Epilogue&, int, int, int) {}
};

// FLOPs: 2 * m * n * k * grid_z
extern "C" __global__ void __launch_bounds__(THREADS, MIN_BLOCKS) matmul_mma(
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
    multiply_tile<Rounded>(shared, a + blockIdx.z * stride_a, b + blockIdx.z * stride_b,
                           Epilogue{bias, saved, preactivation, c, m, n, parameter}, column_sums, parts, arrivals, k);
}
