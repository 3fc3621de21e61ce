"""Check mode runs the blocks of a launch in two orders from the same memory and compares the results."""

import numpy as np
import pytest

import gpunet.simulator as cp
from gpunet.errors import ArgumentError, KernelError

TICKETS = """
extern "C" __global__ void k(int* count, int* ticket) { ticket[blockIdx.x] = atomicAdd(count, 1); }"""

HANDOVER = """
extern "C" __global__ void k(unsigned* arrivals, float* x, float* y) {
  if (blockIdx.x == 0) x[0] = 1;
  __threadfence();
  atomicAdd(arrivals, 1);
  if (blockIdx.x == 1) y[0] = x[0];  // fault
}"""


def zeros(n, dtype):
    return np.zeros(n, dtype)


def test_an_order_dependent_result_is_reported_with_array_element_and_values(simulate):
    with pytest.raises(KernelError) as caught:
        simulate(TICKETS, (2,), (1,), zeros(1, np.int32), zeros(2, np.int32))
    assert str(caught.value).startswith(
        "kernel k: a result that depends on the order of blocks: array ticket at element 0 is 0 after the ascending "
        "order, 1 after the shuffled one (seed 0). "
    )


def test_an_order_dependent_device_variable_is_reported(simulate):
    source = """
    __device__ int last;
    extern "C" __global__ void k() { atomicExch(&last, blockIdx.x); }"""
    with pytest.raises(KernelError, match="variable last at byte 0 is 2 after the ascending order, 1 after"):
        simulate(source, (3,), (1,))


def test_both_orders_start_from_the_same_memory(simulate):
    source = """
    __device__ int launches;
    extern "C" __global__ void k(float* x, unsigned* arrivals, int* seen) {
      x[blockIdx.x] *= 2;
      atomicInc(arrivals, 7);
      atomicAdd(&launches, 1);
      seen[blockIdx.x] = atomicAdd(&launches, 0) > 3;
    }"""
    x, arrivals, seen = np.ones(3, np.float32), zeros(1, np.uint32), np.ones(3, np.int32)
    counts = simulate(source, (3,), (1,), x, arrivals, seen)
    assert x.tolist() == [2, 2, 2]
    assert arrivals.tolist() == [3]
    assert seen.tolist() == [0, 0, 0]
    assert counts.global_bytes_written == 3 * 5 * 4
    assert counts.launches == 1


def test_writes_of_the_first_order_are_uninitialized_in_the_second(simulate, line_of):
    x, y = zeros(1, np.float32), zeros(1, np.float32)
    with pytest.raises(KernelError) as caught:
        simulate(HANDOVER.lstrip("\n"), (2,), (1,), zeros(1, np.uint32), x, y, fresh=(x,))
    message = str(caught.value)
    assert message.startswith(f"kernel k: uninitialized read: read of 4 bytes at {line_of(HANDOVER.lstrip(chr(10)))}")
    assert "has not been written, in the order of blocks of seed 0." in message


ATOMIC_SUM = "atomicAdd(y, x[blockIdx.x]);"
SUM_BY_COMPARE_AND_SWAP = """
  unsigned* bits = reinterpret_cast<unsigned*>(y);
  for (unsigned old = atomicAdd(bits, 0u), seen; ; old = seen) {
    seen = atomicCAS(bits, old, __float_as_uint(__uint_as_float(old) + x[blockIdx.x]));
    if (seen == old) break;
  }"""


@pytest.mark.parametrize("statement", [ATOMIC_SUM, SUM_BY_COMPARE_AND_SWAP])
def test_rounding_of_atomic_sums_may_depend_on_the_order(simulate, statement):
    source = f'extern "C" __global__ void k(const float* x, float* y) {{ {statement} }}'
    x, y = np.array([1, 2**-24, 2**-24, 2**-24], np.float32), zeros(1, np.float32)
    simulate(source, (4,), (1,), x, y)
    assert y[0] == x[0] + x[1] + x[2] + x[3] == 1
    assert x[1] + x[3] + x[0] + x[2] != 1  # the shuffled order begins with every second block


def test_shared_memory_atomics_do_not_excuse_a_difference(simulate):
    source = """
    extern "C" __global__ void k(int* count, float* y) {
      __shared__ float sum;
      sum = 0;
      atomicAdd(&sum, static_cast<float>(atomicAdd(count, 1)));
      y[blockIdx.x] = sum;
    }"""
    with pytest.raises(KernelError, match=r"array y at element 0 is 0\.0 after the ascending order, 1\.0 after"):
        simulate(source, (2,), (1,), zeros(1, np.int32), zeros(2, np.float32))


def test_a_cooperative_launch_runs_in_both_orders(simulate):
    source = """
    #include <cooperative_groups.h>
    extern "C" __global__ void k(int* count, int* ticket) {
      cooperative_groups::this_grid().sync();
      ticket[blockIdx.x] = atomicAdd(count, 1);
    }"""
    with pytest.raises(KernelError, match="array ticket at element 0 is 0 after the ascending order, 1 after"):
        simulate(source, (2,), (1,), zeros(1, np.int32), zeros(2, np.int32), cooperative=True)


def test_the_seed_determines_the_second_order():
    kernel = cp.RawKernel(TICKETS, "k")

    def finding(seed):
        with cp.check_mode(seed=seed), pytest.raises(KernelError) as caught:
            kernel((64,), (1,), (cp.zeros(1, np.int32), cp.zeros(64, np.int32)))
        assert f"(seed {seed})" in str(caught.value)
        return str(caught.value).replace(f"(seed {seed})", "")

    assert finding(5) == finding(5)
    assert len({finding(seed) for seed in range(5)}) > 1
    with pytest.raises(ArgumentError, match="seed must be a whole number"), cp.check_mode(seed=-1):
        pass
    assert not cp.checking()


def test_fast_mode_has_one_order():
    ticket = cp.zeros(8, np.int32)
    cp.RawKernel(TICKETS, "k")((8,), (1,), (cp.zeros(1, np.int32), ticket))
    assert ticket.get().tolist() == list(range(8))
