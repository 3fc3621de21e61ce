// common.cuh: what the kernels share: the element type T, 16-byte vectors, and sums in a fixed order.
//
// T is what -DREAL=... says, float or double: REAL is a macro, but T is not, as a macro of that name would break every
// template of the compiler's own headers. Every array has fewer than 2^31 elements, which the launch checks: an index
// of one is an int, and the index of a loop over a flat array, which runs past its end by up to a stride, an unsigned
// int. __restrict__ stands where arrays must not overlap; where it is missing, an operation may work in place.

#pragma once

#ifndef REAL
#define REAL float
#endif
using T = REAL;

#define DEVICE __device__ __forceinline__

constexpr int WARP = 32;
constexpr unsigned ALL_LANES = 0xffffffffu;
constexpr int VECTOR = sizeof(T) < 16 ? 16 / sizeof(T) : 1;

// WIDTH neighbours in memory as one object: what the compiler loads and stores in one instruction.
template <int WIDTH>
struct alignas(WIDTH * sizeof(T)) Neighbours {
    T v[WIDTH];
};

// 16 bytes, the most that one instruction can load or store.
using Vector = Neighbours<VECTOR>;

template <int WIDTH = VECTOR>
DEVICE Neighbours<WIDTH> load(const T* p) {
    return *reinterpret_cast<const Neighbours<WIDTH>*>(p);
}

template <int WIDTH>
DEVICE void store(T* p, const Neighbours<WIDTH>& neighbours) {
    *reinterpret_cast<Neighbours<WIDTH>*>(p) = neighbours;
}

// Whether vectors can be loaded from p, or p is not used at all.
DEVICE bool aligned(const void* p) { return (reinterpret_cast<size_t>(p) & 15) == 0; }

// The place of this thread in a flat array that the whole grid walks over, and the stride of that walk.
DEVICE unsigned flat_thread() { return blockIdx.x * blockDim.x + threadIdx.x; }
DEVICE unsigned flat_stride() { return gridDim.x * blockDim.x; }

// Below any logit's distance from the largest of a softmax; but 0 * LOWEST_LOGIT is a number.
constexpr float LOWEST_LOGIT = -3e38f;

constexpr DEVICE int ceil_div(int a, int b) { return (a + b - 1) / b; }

// The functions of the math library by one name each for float and double.
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

// The sum over the lanes of a warp, or over each group of SPAN of them, in every lane; the order is fixed, so the bits
// are too.
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

// The sum over a block of full warps, in every thread. `scratch` is shared memory for one number a warp.
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

// Whether this block is the last of `blocks` to arrive: what the others wrote before is visible to it then. All threads
// of a block call it together, after their writes. So a sum over blocks takes one launch, in the order of the blocks
// and not of their arrival. `arrivals` is zero before the first block comes and zero again after the last; launches that
// may run at the same time need one each.
DEVICE bool last_to_arrive(unsigned* arrivals, unsigned blocks) {
    __shared__ bool last;
    __threadfence();  // this thread's writes, before the block is counted
    __syncthreads();
    if (threadIdx.x == 0 && threadIdx.y == 0) {
        last = atomicInc(arrivals, blocks - 1) == blocks - 1;  // which wraps around to zero
        __threadfence();  // what this block reads, after the others were counted
    }
    __syncthreads();
    return last;
}

// Add up x over a grid along x of full warps, in a fixed order; return whether this block is the one whose thread 0 has
// the sum in x. `scratch` is as for block_sum, `partial_sums` has room for a number a block, `arrivals` is as for
// last_to_arrive; one block needs neither.
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
