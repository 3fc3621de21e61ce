// cooperative_groups: the block, the grid, and groups within a warp (tiles, coalesced groups and their partitions).
#pragma once
#include "warp.h"

namespace cooperative_groups {

struct thread_block {
  static void sync(GPUNET_WHERE) { simulator::block_barrier(0, where); }
  static unsigned thread_rank() { return simulator::linear_thread(); }
  static unsigned num_threads() { return blockDim.x * blockDim.y * blockDim.z; }
  static unsigned size() { return num_threads(); }
  static dim3 group_index() { return blockIdx; }
  static dim3 thread_index() { return threadIdx; }
  static dim3 group_dim() { return blockDim; }
  static dim3 dim_threads() { return blockDim; }
};

struct grid_group {
  void sync(GPUNET_WHERE) const { simulator::grid_barrier(where); }
  bool is_valid() const { return true; }
  unsigned long long num_blocks() const { return 1ull * gridDim.x * gridDim.y * gridDim.z; }
  unsigned long long block_rank() const {
    return blockIdx.x + 1ull * gridDim.x * (blockIdx.y + 1ull * gridDim.y * blockIdx.z);
  }
  unsigned long long num_threads() const { return num_blocks() * thread_block::size(); }
  unsigned long long size() const { return num_threads(); }
  unsigned long long thread_rank() const { return block_rank() * thread_block::size() + thread_block::thread_rank(); }
  dim3 dim_blocks() const { return gridDim; }
  dim3 group_dim() const { return gridDim; }
  dim3 block_index() const { return blockIdx; }
};

// A group of lanes of one warp, given by `Group::mask()`. A lane's rank is its position in the mask.
template <class Group>
struct warp_group {
  unsigned mask() const { return static_cast<const Group*>(this)->mask(); }
  unsigned num_threads() const { return __popc(mask()); }
  unsigned size() const { return num_threads(); }
  unsigned thread_rank() const { return __popc(mask() & ((1u << simulator::lane()) - 1)); }
  void sync(GPUNET_WHERE) const { __syncwarp(mask(), where); }

  unsigned ballot(int predicate, GPUNET_WHERE) const { return ranks(__ballot_sync(mask(), predicate, where)); }
  int any(int predicate, GPUNET_WHERE) const { return __any_sync(mask(), predicate, where); }
  int all(int predicate, GPUNET_WHERE) const { return __all_sync(mask(), predicate, where); }
  template <class T>
  unsigned match_any(T value, GPUNET_WHERE) const {
    return ranks(__match_any_sync(mask(), value, where));
  }
  template <class T>
  unsigned match_all(T value, int& same, GPUNET_WHERE) const {
    return ranks(__match_all_sync(mask(), value, &same, where));
  }

  template <class T>
  T shfl(T value, int rank, GPUNET_WHERE) const {
    return simulator::shuffle<simulator::Shuffle::index>(mask(), value, lane_of(rank % size()), where);
  }
  template <class T>
  T shfl_up(T value, unsigned delta, GPUNET_WHERE) const {
    const unsigned rank = thread_rank();
    return simulator::shuffle<simulator::Shuffle::up>(mask(), value, lane_of(rank < delta ? rank : rank - delta), where);
  }
  template <class T>
  T shfl_down(T value, unsigned delta, GPUNET_WHERE) const {
    const unsigned rank = thread_rank(), source = rank + delta < size() ? rank + delta : rank;
    return simulator::shuffle<simulator::Shuffle::down>(mask(), value, lane_of(source), where);
  }
  template <class T>
  T shfl_xor(T value, unsigned lane_mask, GPUNET_WHERE) const {
    const unsigned rank = thread_rank(), source = (rank ^ lane_mask) < size() ? rank ^ lane_mask : rank;
    return simulator::shuffle<simulator::Shuffle::exchange>(mask(), value, lane_of(source), where);
  }

 private:
  int lane_of(unsigned rank) const {
    unsigned lanes = mask();
    while (rank--) lanes &= lanes - 1;
    return __ffs(lanes) - 1;
  }

  // Converts a mask of the warp's lanes to a mask of ranks in the group.
  unsigned ranks(unsigned lanes) const {
    unsigned result = 0, rank = 0;
    for (unsigned rest = mask(); rest; rest &= rest - 1, ++rank) result |= (lanes >> (__ffs(rest) - 1) & 1) << rank;
    return result;
  }
};

struct coalesced_group : warp_group<coalesced_group> {
  explicit coalesced_group(unsigned lanes) : lanes(lanes) {}
  unsigned mask() const { return lanes; }

 private:
  unsigned lanes;
};

template <unsigned Width, class Parent = void>
struct thread_block_tile : warp_group<thread_block_tile<Width, Parent>> {
  static_assert(Width <= simulator::kWarpSize && (Width & (Width - 1)) == 0, "tiles of 1, 2, 4, ... 32 threads");
  thread_block_tile() = default;
  template <class Other>
  thread_block_tile(const thread_block_tile<Width, Other>&) {}
  static constexpr unsigned num_threads() { return Width; }
  static constexpr unsigned size() { return Width; }
  unsigned thread_rank() const { return simulator::lane() % Width; }
  unsigned meta_group_rank() const { return simulator::linear_thread() % parent_size() / Width; }
  unsigned meta_group_size() const { return (parent_size() + Width - 1) / Width; }
  unsigned mask() const {
    if constexpr (Width == simulator::kWarpSize) return ~0u;
    else return ((1u << Width) - 1) << simulator::segment_begin(simulator::lane(), Width);
  }

 private:
  static unsigned parent_size() {
    if constexpr (requires { Parent::size(); }) return Parent::size();
    else return thread_block::size();
  }
};

inline grid_group this_grid() { return {}; }
inline thread_block this_thread_block() { return {}; }
inline coalesced_group coalesced_threads(GPUNET_WHERE) { return coalesced_group(__activemask(where)); }

template <unsigned Width, class Parent>
inline thread_block_tile<Width, Parent> tiled_partition(const Parent&) {
  return {};
}

template <class Group, class Label>
inline coalesced_group labeled_partition(const Group& group, Label label, GPUNET_WHERE) {
  return coalesced_group(__match_any_sync(group.mask(), label, where));
}

template <class Group>
inline coalesced_group binary_partition(const Group& group, bool predicate, GPUNET_WHERE) {
  return labeled_partition(group, static_cast<int>(predicate), where);
}

template <class Group>
inline void sync(const Group& group, GPUNET_WHERE) {
  group.sync(where);
}

#define GPUNET_COMBINE(NAME, EXPRESSION)                        \
  template <class T = void>                                     \
  struct NAME {                                                 \
    T operator()(T a, T b) const { return EXPRESSION; }         \
  };
GPUNET_COMBINE(plus, a + b)
GPUNET_COMBINE(less, b < a ? b : a)
GPUNET_COMBINE(greater, a < b ? b : a)
GPUNET_COMBINE(bit_and, a & b)
GPUNET_COMBINE(bit_or, a | b)
GPUNET_COMBINE(bit_xor, a ^ b)
#undef GPUNET_COMBINE

template <class Group, class T, class Combine>
inline T reduce(const Group& group, T value, Combine combine, GPUNET_WHERE) {
  T total = group.shfl(value, 0, where);
  for (unsigned rank = 1; rank < group.size(); ++rank) total = combine(total, group.shfl(value, rank, where));
  return total;
}

template <class Group, class T, class Combine = plus<T>>
inline T inclusive_scan(const Group& group, T value, Combine combine = {}, GPUNET_WHERE) {
  T total = group.shfl(value, 0, where);
  for (unsigned rank = 1; rank < group.size(); ++rank) {
    const T next = group.shfl(value, rank, where);
    if (rank <= group.thread_rank()) total = combine(total, next);
  }
  return total;
}

template <class Group, class T, class Combine = plus<T>>
inline T exclusive_scan(const Group& group, T value, Combine combine = {}, GPUNET_WHERE) {
  const T before = group.shfl_up(inclusive_scan(group, value, combine, where), 1, where);
  return group.thread_rank() ? before : T{};
}

// A group of any kind, for functions that accept all groups.
struct thread_group {
  thread_group(const thread_block&) : lanes(0) {}
  template <class Group>
  thread_group(const warp_group<Group>& group) : lanes(group.mask()) {}
  void sync(GPUNET_WHERE) const { lanes ? part().sync(where) : thread_block::sync(where); }
  unsigned size() const { return lanes ? part().size() : thread_block::size(); }
  unsigned num_threads() const { return size(); }
  unsigned thread_rank() const { return lanes ? part().thread_rank() : thread_block::thread_rank(); }

 private:
  coalesced_group part() const { return coalesced_group(lanes); }
  unsigned lanes;  // mask of the warp's lanes; 0 for a block
};

inline thread_group tiled_partition(const thread_group&, unsigned width) {
  const unsigned lanes = width == simulator::kWarpSize ? ~0u : (1u << width) - 1;
  return coalesced_group(lanes << simulator::segment_begin(simulator::lane(), width));
}

}  // namespace cooperative_groups
