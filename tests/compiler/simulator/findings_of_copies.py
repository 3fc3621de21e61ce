"""Faults of asynchronous copies, as in `findings.py`."""

_KERNEL = """
        extern "C" __global__ void k(float* x) {{
          __shared__ __align__(16) float s[128];
          const int t = threadIdx.x;{}
        }}"""

_BODIES = {
    "copy: no wait": (
        r"uninitialized read: .* shared memory s at byte 0 has not been written",
        """
          simulator::copy_async<4>(&s[t], &x[t], true);
          simulator::commit_copies();
          __syncthreads();
          x[64 + t] = s[t];  // fault""",
    ),
    "copy: not committed to a group": (
        r"uninitialized read: .* shared memory s at byte 0 has not been written",
        """
          simulator::copy_async<4>(&s[t], &x[t], true);
          simulator::wait_copies(0);
          x[64 + t] = s[t];  // fault""",
    ),
    "copy: a wait for too few groups": (
        r"uninitialized read: .* shared memory s at byte 256 has not been written",
        """
          for (int i = 0; i < 128; i += 64) {
            simulator::copy_async<4>(&s[i + t], &x[t], true);
            simulator::commit_copies();
          }
          simulator::wait_copies(1);
          x[64 + t] = s[t];
          x[64 + t] = s[64 + t];  // fault""",
    ),
    "copy: a read of the old value before the wait": (
        r"uninitialized read: .* shared memory s at byte 0 has not been written",
        """
          s[t] = 1;
          simulator::copy_async<4>(&s[t], &x[t], true);
          x[64 + t] = s[t];  // fault""",
    ),
    "copy: no barrier after the wait": (
        r"race: write of 4 bytes at test.cu:4 by thread \(1,0,0\) .* shared memory s at byte 4; "
        r"not ordered with the read at test.cu:7 by thread \(0,0,0\)",
        """
          simulator::copy_async<4>(&s[t], &x[t], true);
          simulator::commit_copies();
          simulator::wait_copies(0);
          x[64 + t] = s[t ^ 1];  // fault""",
    ),
    "copy: the wait after the barrier": (
        r"race: write of 4 bytes at test.cu:7 by thread \(1,0,0\) .* shared memory s at byte 4; "
        r"not ordered with the read at test.cu:8 by thread \(0,0,0\)",
        """
          simulator::copy_async<4>(&s[t], &x[t], true);
          simulator::commit_copies();
          __syncthreads();
          simulator::wait_copies(0);
          x[64 + t] = s[t ^ 1];  // fault""",
    ),
    "copy: to memory that other threads still read": (
        r"race: read of 4 bytes at test.cu:6 by thread \(1,0,0\) .* shared memory s at byte 0; "
        r"not ordered with the write at test.cu:7 by thread \(0,0,0\)",
        """
          s[t] = 1;
          __syncthreads();
          x[64 + t] = s[t ^ 1];
          simulator::copy_async<4>(&s[t], &x[t], true);  // fault
          simulator::commit_copies();
          __syncthreads();
          simulator::wait_copies(0);""",
    ),
    "copy: source written by another thread before the issue": (
        r"race: write of 4 bytes at test.cu:4 by thread \(1,0,0\) .* array x at byte 0; "
        r"not ordered with the read at test.cu:5 by thread \(0,0,0\)",
        """
          x[t ^ 1] = 1;
          simulator::copy_async<4>(&s[t], &x[t], true);  // fault
          simulator::commit_copies();
          __syncthreads();
          simulator::wait_copies(0);""",
    ),
    "copy: source written by another thread before the wait": (
        r"race: write of 4 bytes at test.cu:7 by thread \(1,0,0\) .* array x at byte 0; "
        r"not ordered with the read at test.cu:8 by thread \(0,0,0\)",
        """
          simulator::copy_async<4>(&s[t], &x[t], true);
          simulator::commit_copies();
          __syncthreads();
          x[t ^ 1] = 1;
          simulator::wait_copies(0);  // fault""",
    ),
    "copy: never waited for": (
        r"copy never waited for: write of 4 bytes .* by thread \(0,0,0\) of block \(0,0,0\): shared memory s at byte 0",
        """
          simulator::copy_async<4>(&s[t], &x[t], true);  // fault
          simulator::commit_copies();""",
    ),
    "copy: source past the end": (
        r"out of bounds: read of 4 bytes .* by thread \(63,0,0\) of block \(0,0,0\): "
        r"byte 512 of array x, which has 512 bytes",
        """
          simulator::copy_async<4>(&s[t], x + 65 + t, true);  // fault
          simulator::commit_copies();
          simulator::wait_copies(0);""",
    ),
    "copy: destination past the end of shared memory": (
        r"out of bounds: write of 4 bytes .* by thread \(63,0,0\) of block \(0,0,0\): "
        r"byte 512 of the static shared memory",
        """
          simulator::copy_async<4>(s + 65 + t, &x[t], true);  // fault
          simulator::commit_copies();
          simulator::wait_copies(0);""",
    ),
    "copy: misaligned source": (
        r"misaligned: read of 16 bytes .*: array x at byte 8, whose address is not a multiple of 16",
        """
          simulator::copy_async<16>(s, x + 2, true);  // fault""",
    ),
    "copy: misaligned destination": (
        r"misaligned: write of 8 bytes .*: shared memory s at byte 4, whose address is not a multiple of 8",
        """
          simulator::copy_async<8>(s + 1, x, true);  // fault""",
    ),
    "copy: from shared to global memory": (
        r"asynchronous copy not from global to shared memory: write of 4 bytes .*: array x at byte 0",
        """
          simulator::copy_async<4>(&x[t], &s[t], true);  // fault""",
    ),
}

FAULTS = {name: (pattern, _KERNEL.format(body)) for name, (pattern, body) in _BODIES.items()}
