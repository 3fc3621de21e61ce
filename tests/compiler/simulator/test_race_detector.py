"""The race detector agrees with a comparison of all pairs of accesses."""

import numpy as np
import pytest
from compiler.simulator.kernels import buffer

from gpunet.errors import KernelError
from gpunet.simulator.engine import load

READ, WRITE, ATOMIC, BLOCK_BARRIER, WARP_BARRIER = range(1, 6)
BLOCKS, THREADS, STEPS = 2, 64, 6

INTERPRETER = """
extern "C" __global__ void k(const int* program, int steps, float* x, float* out) {
  const int thread = blockIdx.x * blockDim.x + threadIdx.x;
  float sum = 0.0f;
  for (int i = 0; i < steps; ++i) {
    const int operation = program[(thread * steps + i) * 2], cell = program[(thread * steps + i) * 2 + 1];
    if (operation == 1) sum += x[cell];
    if (operation == 2) x[cell] = thread * steps + i;  // no two writes are of the same value
    if (operation == 3) atomicAdd(&x[cell], 1.0f);
    if (operation == 4) __syncthreads();
    if (operation == 5) __syncwarp();
  }
  out[thread] = sum;
}"""


def random_program(rng, cells):
    """Return random accesses by a few threads, with barriers between some of the steps."""
    program = np.zeros((BLOCKS, THREADS, STEPS, 2), np.int32)
    for _ in range(rng.integers(2, 7)):
        where = rng.integers(BLOCKS), rng.choice([0, 1, 31, 32, 63]), rng.integers(STEPS)
        program[where] = rng.choice([READ, READ, WRITE, ATOMIC]), rng.integers(cells)
    for step in rng.choice(STEPS, 2, replace=False):
        if rng.random() < 0.7:
            program[:, :, step] = rng.choice([BLOCK_BARRIER, WARP_BARRIER]), 0
    return program


def accesses(program):
    """Yield (operation, cell, block, thread, block barriers passed, warp barriers passed) of every access."""
    for block, thread in np.ndindex(BLOCKS, THREADS):
        passed = [0, 0]
        for operation, cell in program[block, thread]:
            if operation in (BLOCK_BARRIER, WARP_BARRIER):
                passed[int(operation == WARP_BARRIER)] += 1
            elif operation:
                yield int(operation), int(cell), block, thread, *passed


def race(a, b):
    if a[1] != b[1] or a[2:4] == b[2:4] or {a[0], b[0]} in ({READ}, {ATOMIC}):
        return False
    same_block = a[2] == b[2]
    same_warp = same_block and a[3] // 32 == b[3] // 32
    return not (same_block and a[4] != b[4]) and not (same_warp and a[5] != b[5])


@pytest.mark.parametrize("seed", range(4))
def test_random_programs_race_if_and_only_if_two_accesses_race(seed):
    rng = np.random.default_rng(seed)
    kernel = load(INTERPRETER, "interpreter.cu", mode="check").kernels["k"]
    expected = 0
    for _ in range(150):
        program = random_program(rng, cells=2)
        x, out = np.zeros(2, np.float32), np.zeros(BLOCKS * THREADS, np.float32)
        every = list(accesses(program))
        races = any(race(a, b) for i, a in enumerate(every) for b in every[:i])
        finding = ""
        try:
            kernel.launch((BLOCKS,), (THREADS,), [buffer(program), np.int32(STEPS), buffer(x), buffer(out)])
        except KernelError as error:
            finding = str(error)
        assert ("race: " in finding) == races, program[program[..., 0] > 0]
        expected += races
    assert 30 < expected < 120
