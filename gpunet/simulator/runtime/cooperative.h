// The part of cooperative_groups that simple kernels use: the block, the grid and tiles of a warp.
#pragma once
#include "warp.h"

namespace cooperative_groups {

struct thread_block {
  void sync(GPUNET_WHERE) const { simulator::block_barrier(0, where); }
  unsigned thread_rank() const { return simulator::linear_thread(); }
  unsigned size() const { return blockDim.x * blockDim.y * blockDim.z; }
  dim3 group_index() const { return {blockIdx.x, blockIdx.y, blockIdx.z}; }
  dim3 thread_index() const { return {threadIdx.x, threadIdx.y, threadIdx.z}; }
};

struct grid_group {
  void sync(GPUNET_WHERE) const { simulator::grid_barrier(where); }
  bool is_valid() const { return true; }
  unsigned long long num_blocks() const { return 1ull * gridDim.x * gridDim.y * gridDim.z; }
  unsigned long long block_rank() const {
    return blockIdx.x + 1ull * gridDim.x * (blockIdx.y + 1ull * gridDim.y * blockIdx.z);
  }
  unsigned long long size() const { return num_blocks() * thread_block().size(); }
  unsigned long long thread_rank() const { return block_rank() * thread_block().size() + thread_block().thread_rank(); }
};

template <unsigned Width>
struct thread_block_tile {
  static constexpr unsigned size() { return Width; }
  static constexpr unsigned num_threads() { return Width; }
  unsigned thread_rank() const { return simulator::lane() % Width; }
  unsigned meta_group_rank() const { return simulator::linear_thread() / Width; }
  unsigned meta_group_size() const { return (thread_block().size() + Width - 1) / Width; }
  unsigned mask() const {
    if constexpr (Width == simulator::kWarpSize) return ~0u;
    else return ((1u << Width) - 1) << simulator::segment_begin(simulator::lane(), Width);
  }
  void sync(GPUNET_WHERE) const { __syncwarp(mask(), where); }
  unsigned ballot(int predicate, GPUNET_WHERE) const {
    return __ballot_sync(mask(), predicate, where) >> simulator::segment_begin(simulator::lane(), Width);
  }
  int any(int predicate, GPUNET_WHERE) const { return __any_sync(mask(), predicate, where); }
  int all(int predicate, GPUNET_WHERE) const { return __all_sync(mask(), predicate, where); }
  template <class T>
  T shfl(T value, int source, GPUNET_WHERE) const {
    return __shfl_sync(mask(), value, source, Width, where);
  }
  template <class T>
  T shfl_up(T value, unsigned delta, GPUNET_WHERE) const {
    return __shfl_up_sync(mask(), value, delta, Width, where);
  }
  template <class T>
  T shfl_down(T value, unsigned delta, GPUNET_WHERE) const {
    return __shfl_down_sync(mask(), value, delta, Width, where);
  }
  template <class T>
  T shfl_xor(T value, unsigned lane_mask, GPUNET_WHERE) const {
    return __shfl_xor_sync(mask(), value, lane_mask, Width, where);
  }
};

inline grid_group this_grid() { return {}; }
inline thread_block this_thread_block() { return {}; }
template <unsigned Width>
inline thread_block_tile<Width> tiled_partition(const thread_block&) {
  return {};
}
inline void sync(const thread_block& group, GPUNET_WHERE) { group.sync(where); }
inline void sync(const grid_group& group, GPUNET_WHERE) { group.sync(where); }

}  // namespace cooperative_groups
