// CUDA's C++ functions for asynchronous copies: the primitives of cuda_pipeline.h, memcpy_async and cuda::pipeline.
#pragma once
#include "async_copy.h"
#include "cooperative.h"

inline __attribute__((always_inline)) void __pipeline_memcpy_async(void* shared, const void* global, size_t bytes,
                                                                   size_t zeros = 0, GPUNET_WHERE) {
  if (zeros != 0 && zeros != bytes)
    simulator::trap("__pipeline_memcpy_async with partial zero-fill is not simulated", where);
  if (bytes == 16) simulator::copy_async<16>(shared, global, zeros == 0);
  else if (bytes == 8) simulator::copy_async<8>(shared, global, zeros == 0);
  else if (bytes == 4) simulator::copy_async<4>(shared, global, zeros == 0);
  else simulator::trap("__pipeline_memcpy_async copies 4, 8 or 16 bytes", where);
}
inline void __pipeline_commit() { simulator::commit_copies(); }
inline __attribute__((always_inline)) void __pipeline_wait_prior(size_t pending) { simulator::wait_copies(pending); }

namespace cuda {

enum thread_scope { thread_scope_system, thread_scope_device, thread_scope_block, thread_scope_thread };

template <size_t Alignment>
struct aligned_size_t {
  size_t value;
  explicit aligned_size_t(size_t bytes) : value(bytes) {}
  operator size_t() const { return value; }
};

}  // namespace cuda

namespace simulator {

template <class Size>
constexpr size_t promised_alignment = 1;
template <size_t Alignment>
constexpr size_t promised_alignment<cuda::aligned_size_t<Alignment>> = Alignment;

// Copies the share of thread `first` of `step` threads in pieces of at most 16 bytes. The size of a piece is the
// alignment that the element type or an aligned_size_t guarantees. Pieces below 4 bytes are copied immediately.
template <class T, class Size>
inline __attribute__((always_inline)) void copy_share(T* to, const T* from, Size bytes, unsigned first, unsigned step) {
  using Element = std::conditional_t<std::is_void_v<T>, char, T>;
  constexpr size_t piece = min(max(alignof(Element), promised_alignment<Size>), size_t{16});
  auto* target = reinterpret_cast<char*>(to);
  auto* source = reinterpret_cast<const char*>(from);
  for (size_t i = first * piece; i < bytes; i += step * piece) {
    if constexpr (piece >= 4) copy_async<piece>(target + i, source + i, true);
    else
      for (size_t byte = i; byte < i + piece; ++byte) target[byte] = source[byte];
  }
}

}  // namespace simulator

namespace cooperative_groups {

template <class Group, class T, class Size>
inline __attribute__((always_inline)) void memcpy_async(const Group& group, T* to, const T* from, Size bytes) {
  simulator::copy_share(to, from, bytes, group.thread_rank(), group.size());
  simulator::commit_copies();
}
template <unsigned Pending, class Group>
inline __attribute__((always_inline)) void wait_prior(const Group& group, GPUNET_WHERE) {
  simulator::wait_copies(Pending);
  group.sync(where);
}
template <class Group>
inline __attribute__((always_inline)) void wait(const Group& group, GPUNET_WHERE) {
  wait_prior<0>(group, where);
}

}  // namespace cooperative_groups

namespace cuda {

template <thread_scope Scope, unsigned char Stages>
struct pipeline_shared_state {};

// Every thread is a producer and a consumer. A pipeline of a block synchronizes the block when it waits for a stage and
// when it releases one.
template <thread_scope Scope>
struct pipeline {
  static_assert(Scope == thread_scope_thread || Scope == thread_scope_block,
                "cuda::pipeline is simulated for thread_scope_thread and thread_scope_block only");
  void producer_acquire() {}
  void producer_commit() {
    simulator::commit_copies();
    ++committed;
  }
  __attribute__((always_inline)) void consumer_wait(GPUNET_WHERE) { wait_prior(committed - consumed - 1, where); }
  void consumer_release(GPUNET_WHERE) {
    ++consumed;
    if (Scope == thread_scope_block) simulator::block_barrier(0, where);
  }
  __attribute__((always_inline)) void wait_prior(unsigned pending, simulator::Where where) {
    simulator::wait_copies(pending);
    if (Scope == thread_scope_block) simulator::block_barrier(0, where);
  }
  void quit() {}
  unsigned committed = 0, consumed = 0;
};

inline pipeline<thread_scope_thread> make_pipeline() { return {}; }
template <class Group, thread_scope Scope, unsigned char Stages>
inline pipeline<Scope> make_pipeline(const Group&, pipeline_shared_state<Scope, Stages>*) {
  return {};
}
template <class Group, thread_scope Scope, unsigned char Stages, class Role>
inline pipeline<Scope> make_pipeline(const Group&, pipeline_shared_state<Scope, Stages>*, Role) {
  static_assert(Stages == 0, "a pipeline with separate producers and consumers is not simulated");
  return {};
}
template <unsigned Pending, thread_scope Scope>
inline __attribute__((always_inline)) void pipeline_consumer_wait_prior(pipeline<Scope>& pipe, GPUNET_WHERE) {
  pipe.wait_prior(Pending, where);
}

template <class T, class Size, thread_scope Scope>
inline __attribute__((always_inline)) void memcpy_async(T* to, const T* from, Size bytes, pipeline<Scope>&) {
  simulator::copy_share(to, from, bytes, 0, 1);
}
template <class Group, class T, class Size, thread_scope Scope>
inline __attribute__((always_inline)) void memcpy_async(const Group& group, T* to, const T* from, Size bytes,
                                                        pipeline<Scope>&) {
  simulator::copy_share(to, from, bytes, group.thread_rank(), group.size());
}

}  // namespace cuda
