"""Correct kernels that a simple checker would reject, each with a similar fault that must be found.

`RIGHT[name]` is a source. `PLANTED[name]` is a text in it, its replacement, and the finding that this must cause.
Each runs as 2 blocks of 64 threads on an array of 128 float32 zeros, with 1,024 bytes of dynamic shared memory.
"""

RIGHT = {
    "the last block by a device variable": """
        __device__ unsigned arrivals = 0;
        extern "C" __global__ void k(float* x) {
          __shared__ bool last;
          if (threadIdx.x == 0) {
            x[blockIdx.x + 1] = blockIdx.x + 1;
            __threadfence();
            last = atomicInc(&arrivals, gridDim.x - 1) == gridDim.x - 1;
          }
          __syncthreads();
          if (!last) return;
          __threadfence();
          if (threadIdx.x == 0) x[0] = x[1] + x[2];
        }""",
    "the last block, after the fences of all threads": """
        extern "C" __global__ void k(float* x) {
          __shared__ bool last;
          if (threadIdx.x) x[blockIdx.x * 64 + threadIdx.x] = threadIdx.x;
          __threadfence();
          __syncthreads();
          if (threadIdx.x == 0) last = atomicAdd(x, 1.0f) == gridDim.x - 1;
          __syncthreads();
          if (last && threadIdx.x % 64) x[threadIdx.x] += x[64 + threadIdx.x];
        }""",
    "the last warp, by one lane of each": """
        extern "C" __global__ void k(float* x) {
          const int t = threadIdx.x;
          if (t >= 32) return;
          if (t) x[blockIdx.x * 64 + t] = t;
          __syncwarp();  // of the writes
          bool last = false;
          if (t == 0) {
            __threadfence();
            last = atomicAdd(x, 1.0f) == gridDim.x - 1;
          }
          __syncwarp();
          last = __shfl_sync(0xffffffffu, last, 0);
          if (last && t > 1) x[t] += x[64 + t - 1];
        }""",
    "barriers of half warps": """
        extern "C" __global__ void k(float* x) {
          __shared__ float s[64];
          const int t = threadIdx.x, half = t / 16 % 2;
          s[t] = 1;
          __syncwarp(0xffffu << 16 * half);
          const float v = s[t ^ 8];
          __syncwarp(0xffffu << 16 * half);
          s[t] += v;
          __syncwarp(0xffffu << 16 * half);
          if (t % 16 == 0) {
            __syncwarp(0x10001);
            if (!half) s[t + 1] = s[t + 17];
          }
          __syncwarp(0xffffu << 16 * half);
          x[blockIdx.x * 64 + t] = s[t ^ 1];
        }""",
    "an early return before a barrier": """
        extern "C" __global__ void k(float* x) {
          __shared__ float s[64];
          if (threadIdx.x >= 40) return;
          s[threadIdx.x] = 1;
          __syncthreads();
          x[blockIdx.x * 64 + threadIdx.x] = s[39 - threadIdx.x];
        }""",
    "an atomic for all active lanes": """
        extern "C" __global__ void k(float* x) {
          if (threadIdx.x % 3) return;
          const unsigned active = __activemask();
          const int leader = __ffs(active) - 1, lane = threadIdx.x % 32;
          if (lane == leader) atomicAdd(x, (float)__popc(active));
          __syncwarp(active);
        }""",
    "a sum over the active lanes": """
        extern "C" __global__ void k(float* x) {
          const unsigned active = __activemask();
          int sum = threadIdx.x;
          for (int step = 16; step; step /= 2) sum += __shfl_down_sync(active, sum, step);
          if (threadIdx.x % 32 == 0) x[blockIdx.x * 64 + threadIdx.x] = sum;
        }""",
    "equal values by all lanes": """
        extern "C" __global__ void k(float* x) {
          __shared__ int n, m[64];
          n = 64;
          __syncthreads();
          m[threadIdx.x] = n;
          __syncthreads();
          x[blockIdx.x * 64 + threadIdx.x] = m[63 - threadIdx.x];
          x[0] = 64;
        }""",
    "memory functions": """
        struct Row { float values[5]; };
        extern "C" __global__ void k(float* x) {
          __shared__ Row s[64];
          Row row;
          std::memset(&row, 0, sizeof row);
          memcpy(row.values, x + blockIdx.x * 64 + threadIdx.x, sizeof(float));
          memmove(row.values + 1, row.values, (threadIdx.x % 3 + 2) * sizeof(float));
          memcpy(&s[threadIdx.x], &row, sizeof row);
          __syncthreads();
          memcpy(x + blockIdx.x * 64 + threadIdx.x, s[63 - threadIdx.x].values + 1, 2 * sizeof(short));
          memset(x + 128, 0, 0);
        }""",
    "a float4 access with declared alignment": """
        extern "C" __global__ void k(float* x) {
          __shared__ float odd[3];
          __shared__ __align__(16) float s[64];
          if (threadIdx.x < 3) odd[threadIdx.x] = 1;
          if (threadIdx.x < 16) *reinterpret_cast<float4*>(&s[4 * threadIdx.x]) = make_float4(1, 2, 3, 4);
          __syncthreads();
          x[blockIdx.x * 64 + threadIdx.x] = s[threadIdx.x] + odd[0];
        }""",
    "shared objects of a class with constructors": """
        struct Pair {
          float a, b;
          Pair() = default;
          __device__ Pair(float v) : a(v), b(v) {}
        };
        extern "C" __global__ void k(float* x) {
          __shared__ Pair s[64];
          s[threadIdx.x] = Pair(1);
          __syncthreads();
          x[blockIdx.x * 64 + threadIdx.x] = s[63 - threadIdx.x].b;
        }""",
    "two barriers on one line that all threads reach": """
        extern "C" __global__ void k(float* x) {
          for (int i = 0; i < 3; ++i) { __syncthreads(); if (threadIdx.x < 64) __syncthreads(); }
        }""",
    "a default argument": """
        extern "C" __global__ void k(float* x = nullptr) { x[blockIdx.x * 64 + threadIdx.x] = 1; }""",
    "device variables with destructors": """
        struct Table {
          float values[4] = {1, 2, 3, 4};
          __device__ ~Table() { values[0] = 0; }
        };
        __device__ Table table;
        extern "C" __global__ void k(float* x) { x[blockIdx.x * 64 + threadIdx.x] = table.values[threadIdx.x % 4]; }""",
    "one device variable per block": """
        __device__ float scratch[2][64];
        extern "C" __global__ void k(float* x) {
          scratch[blockIdx.x][threadIdx.x] = 1;
          __syncthreads();
          x[blockIdx.x * 64 + threadIdx.x] = scratch[blockIdx.x][63 - threadIdx.x];
        }""",
    "two arrays in dynamic shared memory": """
        extern "C" __global__ void k(float* x) {
          extern __shared__ float s[];
          float* a = s;
          float* b = a + 64;
          a[threadIdx.x] = 1;
          b[threadIdx.x] = 2;
          __syncthreads();
          x[blockIdx.x * 64 + threadIdx.x] = a[63 - threadIdx.x] + b[threadIdx.x];
        }""",
    "a thread's row and the next row": """
        extern "C" __global__ void k(float* x) {
          extern __shared__ float s[];
          float* mine = s + threadIdx.x / 32 * 32;
          float* next = s + (threadIdx.x / 32 + 1) * 32;
          mine[threadIdx.x % 32] = 1;
          if (threadIdx.x >= 32) next[threadIdx.x % 32] = 2;
          __syncthreads();
          x[blockIdx.x * 64 + threadIdx.x] = mine[32 + threadIdx.x % 32] + s[threadIdx.x];
        }""",
    "rows of one array in dynamic shared memory": """
        extern "C" __global__ void k(float* x) {
          extern __shared__ float s[];
          float* row = s + threadIdx.x / 32 * 32;
          float* all = s;
          row[threadIdx.x % 32] = 1;
          __syncthreads();
          x[blockIdx.x * 64 + threadIdx.x] = all[63 - threadIdx.x];
        }""",
}

PLANTED = {
    "the last block by a device variable": (
        "            __threadfence();\n            last",
        "            last",
        r"race: read of 4 bytes .* array x at byte",
    ),
    "the last block, after the fences of all threads": (
        "          __threadfence();\n          __syncthreads();\n",
        "          __threadfence();\n",
        r"race: read of 4 bytes .* array x at byte",
    ),
    "the last warp, by one lane of each": (
        "__syncwarp();  // of the writes",
        "",
        r"race: read of 4 bytes .* array x at byte",
    ),
    "barriers of half warps": ("__syncwarp(0x10001)", "__syncwarp(0xffffu << 16 * half)", r"race: .* shared memory s"),
    "an early return before a barrier": ("          __syncthreads();\n", "", r"race: .* shared memory s"),
    "an atomic for all active lanes": (
        "if (lane == leader) atomicAdd(x, (float)__popc(active))",
        "x[0] += __popc(active)",
        r"race: .* array x at byte 0",
    ),
    "a sum over the active lanes": (
        "__shfl_down_sync(active",
        "__shfl_down_sync(active & 0xffff",
        "the calling lane is not in the mask",
    ),
    "equal values by all lanes": (
        "          __syncthreads();\n          x[",
        "          x[",
        r"race: .* shared memory m at byte",
    ),
    "memory functions": ("          __syncthreads();\n", "", r"race: .* of 20 bytes .* shared memory s"),
    "a float4 access with declared alignment": (
        "__align__(16) ",
        "",
        r"misaligned: write of 16 bytes .* shared memory s at byte 0, .* declare it __align__\(16\)",
    ),
    "shared objects of a class with constructors": ("          __syncthreads();\n", "", r"race: .* shared memory s"),
    "two barriers on one line that all threads reach": (
        "if (threadIdx.x < 64) __syncthreads();",
        "if (threadIdx.x < 32) __syncthreads(); else __syncthreads();",
        r"divergent barrier: .* waits at the barrier test.cu:2:\d+, .* waits at the barrier test.cu:2:\d+",
    ),
    "a default argument": ("[blockIdx.x * 64 +", "[blockIdx.x * 65 +", r"out of bounds: .* array x"),
    "device variables with destructors": ("% 4]", "/ 12 - 1]", r"out of bounds"),
    "one device variable per block": ("scratch[blockIdx.x][63", "scratch[0][63", r"race: .* variable \S*scratch"),
    "two arrays in dynamic shared memory": (
        "a[63 - threadIdx.x]",
        "a[64 - threadIdx.x]",
        r"out of bounds at test.cu:\d+ by thread \(0,0,0\) .*: element 64 of a, which lies in b",
    ),
    "a thread's row and the next row": ("mine[32 +", "mine[224 +", r"out of bounds: .* the dynamic shared memory"),
    "rows of one array in dynamic shared memory": (
        "          __syncthreads();\n",
        "",
        r"race: .* dynamic shared memory",
    ),
}
