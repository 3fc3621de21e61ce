"""The race detector agrees with a comparison of all pairs of accesses."""

import numpy as np
import pytest
from compiler.simulator.kernels import buffer

from gpunet.errors import KernelError
from gpunet.simulator.engine import load

READ, WRITE, ATOMIC, BLOCK_BARRIER, WARP_BARRIER = range(1, 6)
BLOCKS, THREADS, STEPS = 2, 64, 7
MASKS = [-1, -1, 0x3, ~0x7FFFFFFE, ~0x7FFFFFFD]  # all lanes, lanes 0 and 1, 0 and 31, 1 and 31
BYTES = 16  # of the memory that the programs access

INTERPRETER = """
__device__ int sum_of(int4 v) { return v.x + v.y + v.z + v.w; }
__device__ int sum_of(int v) { return v; }
template <class T>
__device__ int plain(int operation, void* place, T value) {
  T* x = static_cast<T*>(place);
  if (operation == 1) return sum_of(*x);
  *x = value;
  return 0;
}
extern "C" __global__ void k(const int* program, int steps, int4* x, int* out) {
  const int thread = blockIdx.x * blockDim.x + threadIdx.x;
  int sum = 0;
  for (int i = 0; i < steps; ++i) {
    const int* step = program + (thread * steps + i) * 4;
    const int operation = step[0], size = step[2], value = step[3];
    char* place = reinterpret_cast<char*>(x) + step[1];
    if (operation == 1 || operation == 2) {
      if (size == 1) sum += plain<unsigned char>(operation, place, value);
      if (size == 4) sum += plain(operation, place, value);
      if (size == 16) sum += plain(operation, place, make_int4(value, value, value, value));
    }
    if (operation == 3) atomicAdd(reinterpret_cast<int*>(place), 1);
    if (operation == 4) __syncthreads();
    if (operation == 5 && (static_cast<unsigned>(value) >> threadIdx.x % 32 & 1)) __syncwarp(value);
  }
  out[thread] = sum;
}"""


def random_program(rng):
    """Return random accesses of 1, 4 and 16 bytes by a few threads, with barriers between some of the steps."""
    program = np.zeros((BLOCKS, THREADS, STEPS, 4), np.int32)
    for i in range(rng.integers(2, 7)):
        where = rng.integers(BLOCKS), rng.choice([0, 1, 31, 32, 63]), rng.integers(STEPS)
        operation = rng.choice([READ, READ, WRITE, ATOMIC])
        size = 4 if operation == ATOMIC else rng.choice([1, 4, 4, 16])
        value = 0x01010101 * (i + 1)  # no two writes are of the same value
        program[where] = operation, rng.integers(BYTES // size) * size, size, value
    for step in rng.choice(STEPS, 3, replace=False):
        if rng.random() < 0.7:
            program[:, :, step] = rng.choice([BLOCK_BARRIER, WARP_BARRIER, WARP_BARRIER]), 0, 0, rng.choice(MASKS)
    return program


def accesses(program):
    """Yield (operation, bytes, block, thread, step) of every access."""
    for block, thread, step in np.ndindex(BLOCKS, THREADS, STEPS):
        operation, begin, size, _ = program[block, thread, step]
        if READ <= operation <= ATOMIC:
            yield int(operation), set(range(begin, begin + size)), block, thread, step


def ordered(program, a, b):
    """Return whether barriers order two accesses of one block: whether they connect the threads, one after another."""
    (*_, first, begin), (*_, second, end) = sorted((a, b), key=lambda access: access[-1])
    reached = {first}
    for operation, _, _, mask in program[0, 0, begin + 1 : end]:
        if operation == BLOCK_BARRIER:
            return True
        for warp in {thread // 32 for thread in reached} if operation == WARP_BARRIER else ():
            lanes = {warp * 32 + lane for lane in range(32) if mask >> lane & 1}
            reached |= lanes if lanes & reached else set()
    return second in reached


def race(program, a, b):
    if a[1].isdisjoint(b[1]) or a[2:4] == b[2:4] or {a[0], b[0]} in ({READ}, {ATOMIC}):
        return False
    return a[2] != b[2] or not ordered(program, a, b)


@pytest.mark.parametrize("seed", range(4))
def test_random_programs_race_if_and_only_if_two_accesses_race(seed):
    rng = np.random.default_rng(seed)
    kernel = load(INTERPRETER, "interpreter.cu", mode="check").kernels["k"]
    expected = 0
    for _ in range(150):
        program = random_program(rng)
        x, out = np.zeros(BYTES // 4, np.int32), np.zeros(BLOCKS * THREADS, np.int32)
        every = list(accesses(program))
        races = any(race(program, a, b) for i, a in enumerate(every) for b in every[:i])
        finding = ""
        try:
            kernel.launch((BLOCKS,), (THREADS,), [buffer(program), np.int32(STEPS), buffer(x), buffer(out)])
        except KernelError as error:
            finding = str(error)
        assert ("race: " in finding) == races, program[program[..., 0] > 0]
        expected += races
    assert 30 < expected < 120


def test_bytes_race_in_an_array_of_which_so_far_only_words_were_accessed():
    """The quick check remembers an array for each value of the lowest 8 bits of a place; word reads fill them all."""
    reads = "\n".join(f"sum = sum * {i} + x[{i}];" for i in range(3000))
    source = f"""extern "C" __global__ void k(int* x, int* out) {{
      int sum = 0;
      {reads}
      out[threadIdx.x] = sum;
      reinterpret_cast<char*>(x + 3000)[0] = threadIdx.x;
    }}"""
    kernel = load(source, "words.cu", mode="check").kernels["k"]
    x, out = np.zeros(3001, np.int32), np.zeros(2, np.int32)
    with pytest.raises(KernelError, match="race: write of 1 byte"):
        kernel.launch((1,), (2,), [buffer(x), buffer(out)])
