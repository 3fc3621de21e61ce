// Asynchronous copies by name: the primitives of cuda_pipeline.h, cuda::memcpy_async and cuda::pipeline.
#pragma once
#include "async_copy.h"
#include "cooperative.h"

inline __attribute__((always_inline)) void __pipeline_memcpy_async(void* shared, const void* global, size_t bytes,
                                                                   size_t zeros = 0, GPUNET_WHERE) {
  if (zeros != 0 && zeros != bytes) simulator::trap("__pipeline_memcpy_async that fills a part with zeros is not simulated", where);
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

template <int BYTES>
inline __attribute__((always_inline)) void copy_pieces(void* to, const void* from, size_t bytes, unsigned first,
                                                       unsigned step) {
  for (size_t i = first * BYTES; i < bytes; i += step * BYTES)
    copy_async<BYTES>(static_cast<char*>(to) + i, static_cast<const char*>(from) + i, true);
}

// Copies the pieces of one of `step` threads; pieces that no asynchronous copy takes are copied at once.
inline __attribute__((always_inline)) void copy_share(void* to, const void* from, size_t bytes, unsigned first,
                                                      unsigned step) {
  const size_t all = reinterpret_cast<size_t>(to) | reinterpret_cast<size_t>(from) | bytes;
  if (all % 16 == 0) copy_pieces<16>(to, from, bytes, first, step);
  else if (all % 8 == 0) copy_pieces<8>(to, from, bytes, first, step);
  else if (all % 4 == 0) copy_pieces<4>(to, from, bytes, first, step);
  else
    for (size_t i = first; i < bytes; i += step) static_cast<char*>(to)[i] = static_cast<const char*>(from)[i];
}

}  // namespace simulator

namespace cooperative_groups {

template <class Group, class T>
inline __attribute__((always_inline)) void memcpy_async(const Group& group, T* to, const T* from, size_t bytes) {
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

// Every thread is a producer and a consumer. A pipeline of the block synchronises the block where a stage is waited for
// and where it is released.
template <thread_scope Scope>
struct pipeline {
  static_assert(Scope == thread_scope_thread || Scope == thread_scope_block, "a pipeline is a thread's or a block's");
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
  static_assert(Stages == 0, "a pipeline with threads that only produce or only consume is not simulated");
  return {};
}
template <unsigned Pending, thread_scope Scope>
inline __attribute__((always_inline)) void pipeline_consumer_wait_prior(pipeline<Scope>& pipe, GPUNET_WHERE) {
  pipe.wait_prior(Pending, where);
}

template <thread_scope Scope>
inline __attribute__((always_inline)) void memcpy_async(void* to, const void* from, size_t bytes, pipeline<Scope>&) {
  simulator::copy_share(to, from, bytes, 0, 1);
}
template <class Group, thread_scope Scope>
inline __attribute__((always_inline)) void memcpy_async(const Group& group, void* to, const void* from, size_t bytes,
                                                        pipeline<Scope>&) {
  simulator::copy_share(to, from, bytes, group.thread_rank(), group.size());
}

}  // namespace cuda
