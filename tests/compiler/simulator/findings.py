"""Every kind of fault that check mode finds: the expected message, and a kernel with the marked fault."""

import functools

import numpy as np
from compiler.simulator import findings_of_copies
from compiler.simulator.kernels import inspect_kernel, together

from gpunet.simulator.findings import raise_errors

FAULTS = {
    "shared race: no barrier between write and read": (
        r"race: write of 4 bytes at test.cu:3 by thread \(1,0,0\) of block \(0,0,0\): shared memory s at byte 4; "
        r"not ordered with the read at test.cu:4 by thread \(0,0,0\) of block \(0,0,0\)\.$",
        """
        extern "C" __global__ void k(float* x) {
          __shared__ float s[64];
          s[threadIdx.x] = x[threadIdx.x];
          x[threadIdx.x] = s[threadIdx.x ^ 1];  // fault
        }""",
    ),
    "shared race: the reader runs before the writer": (
        r"race: write .* shared memory s at byte 0; not ordered with the read",
        """
        extern "C" __global__ void k(float* x) {
          __shared__ float s[64];
          s[threadIdx.x] = x[threadIdx.x];
          __syncthreads();
          float v = s[0];
          if (threadIdx.x == 63) s[0] = 1;  // fault
          x[threadIdx.x] = v;
        }""",
    ),
    "shared race: a read by one of many threads is recorded": (
        r"race: write .* not ordered with the read .* by thread",
        """
        extern "C" __global__ void k(float* x) {
          __shared__ float s[64];
          s[threadIdx.x] = x[threadIdx.x];
          __syncthreads();
          float v = 0;
          if (threadIdx.x == 40) v = s[0];
          if (threadIdx.x < 32) for (int i = 0; i < 4; ++i) { v += s[0]; __syncwarp(); }
          if (threadIdx.x == 31) s[0] = 1;  // fault
          x[threadIdx.x] = v;
        }""",
    ),
    "shared race: the writer has read the value after another thread": (
        r"race: write of 4 bytes .* by thread \(32,0,0\) .*; not ordered with the read .* by thread \(0,0,0\)",
        """
        extern "C" __global__ void k(float* x) {
          __shared__ float s[1];
          if (threadIdx.x == 0) s[0] = 0;
          __syncthreads();
          for (int i = 0; i < 2; ++i) {
            float v = threadIdx.x % 32 ? 0 : s[0];
            if (i == 0) __syncthreads();
            if (threadIdx.x == 32) s[0] = v + 1;  // fault
            __syncthreads();
          }
        }""",
    ),
    "warp race: no __syncwarp": (
        r"race: read .* shared memory s",
        """
        extern "C" __global__ void k(float* x) {
          __shared__ float s[64];
          s[threadIdx.x] = x[threadIdx.x];
          __shfl_sync(~0u, 1, 0);
          x[threadIdx.x] = s[threadIdx.x ^ 1];  // fault
        }""",
    ),
    "warp race: a __syncwarp of other lanes": (
        r"race: read .* shared memory s at byte 0; not ordered with the write .* by thread \(0,0,0\)",
        """
        extern "C" __global__ void k(float* x) {
          __shared__ float s[64];
          const int lane = threadIdx.x % 32;
          if (lane < 16) {
            s[threadIdx.x] = 1;
            __syncwarp(0xffff);
          } else {
            x[threadIdx.x] = s[threadIdx.x - 16];  // fault
          }
        }""",
    ),
    "shared race: a struct passed by value": (
        r"race: write of 16 bytes .* shared memory s at byte 16; not ordered with the read",
        """
        __device__ __noinline__ float sum(float4 v, float more) { return v.x + v.y + v.z + v.w + more; }
        extern "C" __global__ void k(float* x) {
          __shared__ float4 s[64];
          s[threadIdx.x] = make_float4(1, 2, 3, 4);
          x[threadIdx.x] = sum(s[threadIdx.x ^ 1], 1);  // fault
        }""",
    ),
    "dynamic shared race": (
        r"race: .* dynamic shared memory at byte",
        """
        extern "C" __global__ void k(float* x) {
          extern __shared__ float s[];
          s[threadIdx.x] = x[threadIdx.x];
          x[threadIdx.x] = s[threadIdx.x ^ 1];  // fault
        }""",
    ),
    "global race between threads": (
        r"race: read .* array x at byte 0; not ordered with the write",
        """
        extern "C" __global__ void k(float* x) {
          x[0] += 1;  // fault
        }""",
    ),
    "global race between blocks": (
        r"race: .* of block \(1,0,0\): array x at byte 4; not ordered with the write .* of block \(0,0,0\)",
        """
        extern "C" __global__ void k(float* x) {
          if (threadIdx.x == 0) x[1] = blockIdx.x;  // fault
        }""",
    ),
    "an atomic and a plain access": (
        r"race: atomic access .* array x at byte 0; not ordered with the write at test.cu:3",
        """
        extern "C" __global__ void k(float* x) {
          atomicAdd(x, 1.0f);  // fault
          x[threadIdx.x] = x[0];
        }""",
    ),
    "data published by an atomic without a fence": (
        r"race: read .* array x",
        """
        extern "C" __global__ void k(float* x) {
          if (threadIdx.x) return;
          x[blockIdx.x + 1] = 1;
          if (atomicAdd(x, 1.0f) == gridDim.x - 1) x[9] = x[1] + x[2];  // fault
        }""",
    ),
    "data published by an atomic with the fence before the write": (
        r"race: read .* array x",
        """
        extern "C" __global__ void k(float* x) {
          if (threadIdx.x) return;
          __threadfence();
          x[blockIdx.x + 1] = 1;
          if (atomicAdd(x, 1.0f) == gridDim.x - 1) x[9] = x[1] + x[2];  // fault
        }""",
    ),
    "data of a block published by an atomic with the fence before the writes": (
        r"race: read .* array x",
        """
        extern "C" __global__ void k(float* x) {
          __threadfence();
          __syncthreads();
          if (threadIdx.x == 5) x[blockIdx.x + 1] = 1;
          __syncthreads();
          if (threadIdx.x) return;
          if (atomicAdd(x, 1.0f) == gridDim.x - 1) x[9] = x[1] + x[2];  // fault
        }""",
    ),
    "out of bounds: one past the end": (
        r"out of bounds: write of 4 bytes .* by thread \(63,0,0\) of block \(1,0,0\): "
        r"byte 512 of array x, which has 512 bytes",
        """
        extern "C" __global__ void k(float* x) {
          int i = blockIdx.x * 64 + threadIdx.x;
          x[i + 1] = i;  // fault
        }""",
    ),
    "out of bounds: before the beginning": (
        r"out of bounds: read of 4 bytes .*: byte -4 of array x",
        """
        extern "C" __global__ void k(float* x) {
          x[threadIdx.x] = x[(int)threadIdx.x - 1];  // fault
        }""",
    ),
    "out of bounds: a null pointer": (
        r"out of bounds: read of 4 bytes .*: an address that no argument of the kernel covers",
        """
        extern "C" __global__ void k(float* x) {
          float* p = x[0] > 1e30f ? x : nullptr;
          x[1] = *p;  // fault
        }""",
    ),
    "out of bounds: the tail of a float4": (
        r"out of bounds: .*: byte 512 of array x",
        """
        extern "C" __global__ void k(float* x) {
          float4* v = reinterpret_cast<float4*>(x + 128 - 4) + 1;
          *v = make_float4(1, 2, 3, 4);  // fault
        }""",
    ),
    "out of bounds: from one shared array into the next": (
        r"out of bounds: an index past the end of its array",
        """
        extern "C" __global__ void k(float* x) {
          __shared__ float s[32], t[32];
          if (threadIdx.x < 32) s[threadIdx.x] = t[threadIdx.x] = 1;
          __syncthreads();
          x[threadIdx.x] = s[threadIdx.x];  // fault
        }""",
    ),
    "out of bounds: an atomic": (
        r"out of bounds: atomic access of 4 bytes",
        """
        extern "C" __global__ void k(float* x) {
          atomicAdd(x + 128 + threadIdx.x, 1);  // fault
        }""",
    ),
    "out of bounds: past the end of dynamic shared memory": (
        r"out of bounds: write .*: byte 256 of the dynamic shared memory, which has 256 bytes",
        """
        extern "C" __global__ void k(float* x) {
          extern __shared__ float s[];
          s[threadIdx.x + 1] = 1;  // fault
        }""",
    ),
    "out of bounds: another thread's local memory": (
        r"out of bounds",
        """
        extern "C" __global__ void k(float* x) {
          __shared__ float* s;
          float mine[4] = {x[0], x[1], x[2], x[3]};
          if (threadIdx.x == 0) s = mine;
          __syncthreads();
          x[threadIdx.x] = s[threadIdx.x % 4];  // fault
        }""",
    ),
    "memset: past the end": (
        r"out of bounds: write of 64 bytes .*: byte 512 of array x, which has 512 bytes",
        """
        extern "C" __global__ void k(float* x) {
          if (threadIdx.x == 0) memset(x + 120, 0, 16 * sizeof(float));  // fault
        }""",
    ),
    "memcpy: a race of its destination": (
        r"race: .* shared memory s",
        """
        extern "C" __global__ void k(float* x) {
          __shared__ float4 s[64];
          std::memcpy(&s[threadIdx.x], x, sizeof(float4));  // fault
          x[threadIdx.x] = s[63 - threadIdx.x].x;
        }""",
    ),
    "memmove: a source that was not written": (
        r"uninitialized read: read of 8 bytes .*: shared memory s at byte 8 has not been written",
        """
        extern "C" __global__ void k(float* x) {
          __shared__ float s[64];
          if (threadIdx.x) return;
          for (int i = 0; i < 2; ++i) s[i] = x[i];
          memmove(s, s + 1, 2 * sizeof(float));  // fault
        }""",
    ),
    "misaligned float4": (
        r"misaligned: .* array x at byte 4, whose address is not a multiple of 16",
        """
        extern "C" __global__ void k(float* x) {
          float4 v = *reinterpret_cast<const float4*>(x + 1);  // fault
          x[0] = v.x + v.y;
        }""",
    ),
    "misaligned float4 through __ldg": (
        r"misaligned: .* array x at byte 8",
        """
        extern "C" __global__ void k(float* x) {
          float4 v = __ldg(reinterpret_cast<const float4*>(x + 2));  // fault
          x[0] = v.x;
        }""",
    ),
    "uninitialized shared memory": (
        r"uninitialized read: .* shared memory s at byte 4 has not been written",
        """
        extern "C" __global__ void k(float* x) {
          __shared__ float s[64];
          if (threadIdx.x != 1) s[threadIdx.x] = 1;
          __syncthreads();
          x[threadIdx.x] = s[threadIdx.x];  // fault
        }""",
    ),
    "shared memory written by the previous block": (
        r"uninitialized read: .* of block \(1,0,0\)",
        """
        extern "C" __global__ void k(float* x) {
          __shared__ float s[64];
          if (blockIdx.x == 0) s[threadIdx.x] = 1;
          __syncthreads();
          x[blockIdx.x * 64 + threadIdx.x] = s[threadIdx.x];  // fault
        }""",
    ),
    "a write through a const pointer": (
        r"write through a const pointer: write of 4 bytes .* array x at byte 0",
        """
        extern "C" __global__ void k(const float* x) {
          const_cast<float*>(x)[threadIdx.x] = 1;  // fault
        }""",
    ),
    "a barrier in a divergent branch": (
        r"divergent barrier: thread \(0,0,0\) of block \(0,0,0\) waits at the barrier test.cu:2, "
        r"thread \(32,0,0\) of block \(0,0,0\) waits at the barrier test.cu:3",
        """
        extern "C" __global__ void k(float* x) {
          if (threadIdx.x < 32) __syncthreads();  // fault
          __syncthreads();
        }""",
    ),
    "two barriers instead of one": (
        r"divergent barrier: .* waits at the barrier test.cu:2, .* waits at the barrier test.cu:3",
        """
        extern "C" __global__ void k(float* x) {
          if (threadIdx.x < 32) __syncthreads();  // fault
          else __syncthreads();
        }""",
    ),
    "lanes of a warp at different collectives": (
        r"divergent warp collective",
        """
        extern "C" __global__ void k(float* x) {
          if (threadIdx.x % 2) __shfl_sync(~0u, 1, 0);
          else __ballot_sync(~0u, 1);  // fault
        }""",
    ),
    "a shuffle up and a shuffle down under one mask": (
        r"divergent warp collective: .* is at test.cu:2, .* at test.cu:3, with different operations",
        """
        extern "C" __global__ void k(float* x) {
          if (threadIdx.x % 2) __shfl_up_sync(~0u, 1, 1);
          else __shfl_down_sync(~0u, 1, 1);  // fault
        }""",
    ),
    "any and all under one mask": (
        r"divergent warp collective",
        """
        extern "C" __global__ void k(float* x) {
          if (threadIdx.x % 2) __any_sync(~0u, 1);
          else __all_sync(~0u, 1);  // fault
        }""",
    ),
    "a lane outside its own mask": (
        r"the calling lane is not in the mask",
        """
        extern "C" __global__ void k(float* x) {
          __shfl_sync(1u, 1, 0);  // fault
        }""",
    ),
    "a lane that never arrives": (
        r"divergent",
        """
        extern "C" __global__ void k(float* x) {
          if (threadIdx.x == 5) __syncthreads();
          else __syncwarp();  // fault
        }""",
    ),
    "a shuffle from a lane that has exited": (
        r"undefined shuffle at test.cu:3: thread \(4,0,0\)",
        """
        extern "C" __global__ void k(float* x) {
          if (threadIdx.x >= 20) return;
          x[threadIdx.x] = __shfl_down_sync(~0u, x[threadIdx.x], 16);  // fault
        }""",
    ),
    "a grid barrier in a non-cooperative launch": (
        r"grid barrier .* not cooperative",
        """
        extern "C" __global__ void k(float* x) {
          cooperative_groups::this_grid().sync();  // fault
        }""",
    ),
    "integer overflow in an index": (
        r"integer overflow in a multiplication",
        """
        extern "C" __global__ void k(float* x) {
          int i = threadIdx.x + 70000;
          x[(size_t)(i * i) % 128] = 1;  // fault
        }""",
    ),
    "a failed assertion": (
        r"assertion failed: n > 64 at test.cu:2 by thread \(0,0,0\) of block \(0,0,0\)",
        """
        extern "C" __global__ void k(float* x) {
          const int n = 64; assert(n > 64);  // fault
        }""",
    ),
    "a trap": (
        r"trap at test.cu:2 by thread \(3,0,0\)",
        """
        extern "C" __global__ void k(float* x) {
          if (threadIdx.x == 3) __trap();  // fault
        }""",
    ),
    "division by zero": (
        r"integer division by zero",
        """
        extern "C" __global__ void k(float* x) {
          x[0] = 7 / (int)threadIdx.x;  // fault
        }""",
    ),
}
FAULTS |= findings_of_copies.FAULTS


@functools.cache
def _kernels():
    return together({name: text.lstrip("\n") for name, (_, text) in FAULTS.items()})


def provoke(name):
    """Run the kernel of a fault in check mode, which raises the findings."""
    _, found = inspect_kernel(_kernels()[name], (2,), (64,), np.zeros(128, np.float32), shared_bytes=256)
    raise_errors("k", found)
