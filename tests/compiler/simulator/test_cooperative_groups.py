"""Cooperative groups, from tiles of two lanes to the block, behave as CUDA documents."""

import numpy as np
import pytest

import gpunet.simulator as cp
from gpunet.errors import KernelError

LANES = np.arange(64)

EXPRESSIONS = {  # a tile of 8 lanes, a tile of 4 lanes in it, the lanes divisible by 3
    "cg::reduce(tile, t, cg::plus<int>())": LANES.reshape(8, 8).sum(axis=1).repeat(8),
    "cg::reduce(tile, t ^ 5, cg::less<int>())": (LANES ^ 5).reshape(8, 8).min(axis=1).repeat(8),
    "cg::reduce(tile, t, cg::greater<int>())": LANES.reshape(8, 8).max(axis=1).repeat(8),
    "cg::reduce(small, t, [](int a, int b) { return a * 2 + b; })": (LANES.reshape(16, 4) @ [8, 4, 2, 1]).repeat(4),
    "cg::inclusive_scan(tile, t)": LANES.reshape(8, 8).cumsum(axis=1).ravel(),
    "cg::exclusive_scan(tile, t, cg::plus<int>())": (LANES.reshape(8, 8).cumsum(axis=1) - LANES.reshape(8, 8)).ravel(),
    "tile.shfl_down(t, 3)": np.where(LANES % 8 < 5, LANES + 3, LANES),
    "tile.shfl_up(t, 3)": np.where(LANES % 8 > 2, LANES - 3, LANES),
    "tile.shfl_xor(t, 4)": LANES ^ 4,
    "tile.shfl(t, 2)": LANES // 8 * 8 + 2,
    "tile.ballot(t % 8 == 1)": np.full(64, 2),
    "tile.match_any(t % 2)": np.where(LANES % 2, 0xAA, 0x55),
    "tile.num_threads() + tile.meta_group_size() * 10": np.full(64, 88),
    "tile.meta_group_rank()": LANES // 8,
    "small.meta_group_rank() + small.meta_group_size() * 10": LANES // 4 % 2 + 20,
    "block.num_threads() + block.dim_threads().x + block.thread_rank()": LANES + 128,
    "cg::labeled_partition(tile, t % 4).num_threads()": np.full(64, 2),
    "cg::reduce(cg::labeled_partition(tile, t % 4), t, cg::plus<int>())": LANES // 8 * 16 + LANES % 4 * 2 + 4,
    "cg::binary_partition(tile, t % 8 > 0).size()": np.where(LANES % 8, 7, 1),
    "any_size(block) + any_size(tile) + any_size(cg::tiled_partition(any(block), 16))": np.full(64, 64 + 8 + 16),
}

SOURCE = """
#include <cooperative_groups.h>
#include <cooperative_groups/reduce.h>
#include <cooperative_groups/scan.h>
namespace cg = cooperative_groups;
__device__ int any_size(cg::thread_group group) { group.sync(); return group.size(); }
__device__ cg::thread_group any(cg::thread_group group) { return group; }
extern "C" __global__ void k(int* y) {
  cg::thread_block block = cg::this_thread_block();
  cg::thread_block_tile<8> tile8 = cg::tiled_partition<8>(block);
  auto tile = cg::tiled_partition<8>(block);
  auto small = cg::tiled_partition<4>(tile);
  const int t = threadIdx.x;
  ROWS
}"""


def test_groups_within_a_warp_compute():
    rows = [f"y[{64 * i} + t] = {expression};" for i, expression in enumerate(EXPRESSIONS)]
    y = cp.zeros((len(rows), 64), np.int32)
    with cp.check_mode():
        cp.RawKernel(SOURCE.replace("ROWS", "\n  ".join(rows)), "k")((1,), (64,), (y,))
    for (expression, expected), got in zip(EXPRESSIONS.items(), y.get(), strict=True):
        assert (got == expected).all(), expression


COALESCED = """
  if (t % 3 == 0) {
    const auto active = cg::coalesced_threads();
    int before = 0;
    if (active.thread_rank() == 0) before = atomicAdd(y + 64, active.size());
    y[t] = active.shfl(before, 0) + active.thread_rank() + cg::reduce(active, 1, cg::plus<int>()) * 1000;
    cg::sync(active);
  }"""


@pytest.mark.parametrize("checked", [False, True])
def test_coalesced_threads_are_the_lanes_that_take_the_branch(checked):
    y = cp.zeros(65, np.int32)
    with cp.check_mode(checked):
        cp.RawKernel(SOURCE.replace("ROWS", COALESCED), "k")((1,), (64,), (y,))
    expected = np.zeros(65, int)
    expected[0:64:3] = np.arange(22) + np.repeat([11_000, 11_000], 11)
    expected[64] = 22
    assert y.get().tolist() == expected.tolist()


def test_an_unsynchronized_tile_races():
    race = "__shared__ int s[64]; s[t] = t; BARRIER y[t] = s[t ^ 1];"
    y = cp.zeros(64, np.int32)
    kernel = SOURCE.replace("ROWS", race)
    with cp.check_mode():
        cp.RawKernel(kernel.replace("BARRIER", "cg::sync(tile);"), "k")((1,), (64,), (y,))
        with pytest.raises(KernelError, match=r"race: .* shared memory s"):
            cp.RawKernel(kernel.replace("BARRIER", ""), "k")((1,), (64,), (y,))
