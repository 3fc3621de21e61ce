// cuda::barrier of all threads of a block, implemented as a block barrier in wait(). Fewer threads are not supported.
#pragma once
#include "cuda_pipeline.h"
#include "cuda_std.h"

namespace cuda {

template <thread_scope Scope>
struct barrier {
  static_assert(Scope == thread_scope_block, "cuda::barrier is simulated for thread_scope_block only");
  struct arrival_token {};
  unsigned expected;

  arrival_token arrive(unsigned = 1) { return {}; }
  __attribute__((always_inline)) void wait(arrival_token, GPUNET_WHERE) const {
    if (expected != cooperative_groups::thread_block::size())
      simulator::trap("a cuda::barrier of fewer threads than the block is not simulated", where);
    simulator::wait_copies(0);
    simulator::block_barrier(0, where);
  }
  __attribute__((always_inline)) void arrive_and_wait(GPUNET_WHERE) { wait({}, where); }
};

template <thread_scope Scope>
inline void init(barrier<Scope>* bar, unsigned expected) {
  bar->expected = expected;
}

// barrier::wait waits for the copies.
template <class T, class Size, thread_scope Scope>
inline __attribute__((always_inline)) void memcpy_async(T* to, const T* from, Size bytes, barrier<Scope>&) {
  simulator::copy_share(to, from, bytes, 0, 1);
  simulator::commit_copies();
}
template <class Group, class T, class Size, thread_scope Scope>
inline __attribute__((always_inline)) void memcpy_async(const Group& group, T* to, const T* from, Size bytes,
                                                        barrier<Scope>&) {
  simulator::copy_share(to, from, bytes, group.thread_rank(), group.size());
  simulator::commit_copies();
}

}  // namespace cuda
