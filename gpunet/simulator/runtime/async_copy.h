// Asynchronous copies (cp.async), issued by inline PTX and by cuda_pipeline.h.
//
// A GPU may execute a copy at any time between its issue and its wait. So both count as accesses to source and
// destination, and the checker finds races with either. The wait copies what the source holds then. Until the wait the
// destination holds no value (NaN; uninitialized for the checker). A thread that reads the destination or overwrites
// the source too early therefore gets a wrong result.
#pragma once
#include "runtime.h"

namespace simulator {

struct Copy {
  void* shared;
  const void* global;  // null for zeros
  unsigned bytes;
  unsigned group;  // number of groups that the thread had committed before
  uint32_t place;  // of the issue in the kernel's library; 0 in "fast" mode
};

struct CopyQueue {
  Copy *first, *end;  // the copies in flight
  Copy* limit;        // end of the allocated memory
  unsigned groups;    // committed so far
};
extern CopyQueue* copies;  // the running thread's

void make_room_for_copies();

// Passes the issue of a copy to the checker; returns the caller's place.
uint32_t issue_copy(void* shared, const void* global, unsigned bytes);

// Not instrumented, because the queue is not the kernel's memory.
__attribute__((no_sanitize("thread", "undefined"))) inline void put_copy(Copy copy) {
  if (copies->end == copies->limit) make_room_for_copies();
  copy.group = copies->groups;
  *copies->end++ = copy;
}

__attribute__((no_sanitize("thread", "undefined"))) inline bool take_copy(unsigned pending, Copy& copy) {
  if (copies->first == copies->end || copies->first->group + pending >= copies->groups) return false;
  copy = *copies->first++;
  return true;
}

__attribute__((no_sanitize("thread", "undefined"))) inline void commit_copies() { ++copies->groups; }

template <int BYTES>
struct CopyPiece {
  typedef unsigned type __attribute__((vector_size(BYTES)));
};

template <int BYTES>
inline __attribute__((always_inline)) void execute(const Copy& copy) {
  using Piece = typename CopyPiece<BYTES>::type;
  *static_cast<Piece*>(copy.shared) = copy.global ? *static_cast<const Piece*>(copy.global) : Piece{};
}

// always_inline, here and above, so that findings name the kernel's line.
template <int BYTES>
inline __attribute__((always_inline)) void copy_async(void* shared, const void* global, bool there) {
  static_assert(BYTES == 4 || BYTES == 8 || BYTES == 16, "cp.async copies 4, 8 or 16 bytes");
#ifdef __SANITIZE_THREAD__
  const uint32_t place = issue_copy(shared, there ? global : nullptr, BYTES);
#else  // "fast" mode: access both addresses now, so that an invalid one raises a signal at the issue
  using Piece = typename CopyPiece<BYTES>::type;
  *static_cast<volatile Piece*>(shared) = ~Piece{};
  if (there) static_cast<void>(*static_cast<const volatile Piece*>(global));
  constexpr uint32_t place = 0;
#endif
  put_copy({shared, there ? global : nullptr, BYTES, 0, place});
}

inline __attribute__((always_inline)) void wait_copies(unsigned pending) {
  for (Copy copy; take_copy(pending, copy);) {
    if (copy.bytes == 16) execute<16>(copy);
    else if (copy.bytes == 8) execute<8>(copy);
    else execute<4>(copy);
  }
}

}  // namespace simulator
