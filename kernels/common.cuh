// common.cuh: shared by all kernels: the element type T, 16-byte vectors, and sums in a fixed order.
//
// T is set by -DREAL=float or -DREAL=double. It is a type alias of the macro REAL: a macro named T would break the
// templates in the compiler's own headers. Every array has fewer than 2^31 elements, which the launch checks. An
// element's index is an int. The index of a loop over a flat array may run past its end by a stride, so it is an
// unsigned int. __restrict__ marks arrays that must not overlap; without it, an operation may work in place.

#pragma once

#ifndef REAL
#define REAL float
#endif
using T = REAL;

#define DEVICE __device__ __forceinline__

constexpr int WARP = 32;
constexpr unsigned ALL_LANES = 0xffffffffu;
constexpr int VECTOR = sizeof(T) < 16 ? 16 / sizeof(T) : 1;

// WIDTH adjacent elements, which the compiler loads and stores in one instruction.
template <int WIDTH>
struct alignas(WIDTH * sizeof(T)) Pack {
    T v[WIDTH];
};

// 16 bytes, the largest load or store of one instruction.
using Vector = Pack<VECTOR>;

template <int WIDTH = VECTOR>
DEVICE Pack<WIDTH> load(const T* p) {
    return *reinterpret_cast<const Pack<WIDTH>*>(p);
}

template <int WIDTH>
DEVICE void store(T* p, const Pack<WIDTH>& pack) {
    *reinterpret_cast<Pack<WIDTH>*>(p) = pack;
}

// Whether p is aligned for vector loads, or null.
DEVICE bool aligned(const void* p) { return (reinterpret_cast<size_t>(p) & 15) == 0; }

// The index of this thread in the grid, and the number of threads of the grid: start and stride of a grid-stride loop.
DEVICE unsigned flat_thread() { return blockIdx.x * blockDim.x + threadIdx.x; }
DEVICE unsigned flat_stride() { return gridDim.x * blockDim.x; }

// Lower bound of the difference of a logit and the largest one; finite, so that 0 * LOWEST_LOGIT is not NaN.
constexpr float LOWEST_LOGIT = -3e38f;

constexpr DEVICE int ceil_div(int a, int b) { return (a + b - 1) / b; }

// The math library with the same names for float and double.
namespace real {
DEVICE float exp(float x) { return expf(x); }
DEVICE double exp(double x) { return ::exp(x); }
DEVICE float expm1(float x) { return expm1f(x); }
DEVICE double expm1(double x) { return ::expm1(x); }
DEVICE float log(float x) { return logf(x); }
DEVICE double log(double x) { return ::log(x); }
DEVICE float log1p(float x) { return log1pf(x); }
DEVICE double log1p(double x) { return ::log1p(x); }
DEVICE float tanh(float x) { return tanhf(x); }
DEVICE double tanh(double x) { return ::tanh(x); }
DEVICE float erf(float x) { return erff(x); }
DEVICE double erf(double x) { return ::erf(x); }
DEVICE float sqrt(float x) { return sqrtf(x); }
DEVICE double sqrt(double x) { return ::sqrt(x); }
DEVICE float abs(float x) { return fabsf(x); }
DEVICE double abs(double x) { return ::fabs(x); }
}  // namespace real

// The sum over the lanes of a warp, or over each group of SPAN lanes, in every lane; in a fixed order, so bit-identical
// on every run.
template <int SPAN = WARP, typename Real>
DEVICE Real warp_sum(Real x) {
#pragma unroll
    for (int distance = SPAN / 2; distance > 0; distance /= 2) x += __shfl_xor_sync(ALL_LANES, x, distance);
    return x;
}

template <int SPAN = WARP, typename Real>
DEVICE Real warp_max(Real x) {
#pragma unroll
    for (int distance = SPAN / 2; distance > 0; distance /= 2) {
        const Real other = __shfl_xor_sync(ALL_LANES, x, distance);
        x = other > x ? other : x;
    }
    return x;
}

// The sum over a block of full warps, in every thread. `scratch` is shared memory for one number per warp.
template <typename Real>
DEVICE Real block_sum(Real x, Real* scratch) {
    const int warps = blockDim.x / WARP;
    x = warp_sum(x);
    if (threadIdx.x % WARP == 0) scratch[threadIdx.x / WARP] = x;
    __syncthreads();
    Real total = 0;
    for (int i = 0; i < warps; ++i) total += scratch[i];
    return total;
}

// Return whether this block is the last of `blocks` to arrive; it sees what the others wrote before. All threads of a
// block call it together, after their writes. With it, a sum over blocks takes one launch and adds in the order of the
// blocks, not of their arrival. `arrivals` must be zero before the launch and is zero again after it; concurrent
// launches need one each.
DEVICE bool last_to_arrive(unsigned* arrivals, unsigned blocks) {
    __shared__ bool last;
    __threadfence();  // publish this thread's writes before the block is counted
    __syncthreads();
    if (threadIdx.x == 0 && threadIdx.y == 0) {
        last = atomicInc(arrivals, blocks - 1) == blocks - 1;  // atomicInc wraps to zero
        __threadfence();  // read only after the others were counted
    }
    __syncthreads();
    return last;
}

// Add up x over a one-dimensional grid of full warps, in a fixed order; return whether this is the block whose thread 0
// has the sum in x. `scratch` is as for block_sum, `partial_sums` has one number per block, `arrivals` is as for
// last_to_arrive; a single block needs neither.
template <typename Real>
DEVICE bool grid_sum(Real& x, Real* scratch, Real* partial_sums, unsigned* arrivals) {
    x = block_sum(x, scratch);
    if (gridDim.x == 1) return true;
    if (threadIdx.x == 0) partial_sums[blockIdx.x] = x;
    if (!last_to_arrive(arrivals, gridDim.x)) return false;
    x = 0;
    for (unsigned i = threadIdx.x; i < gridDim.x; i += blockDim.x) x += __ldcg(partial_sums + i);
    x = block_sum(x, scratch);
    return true;
}
