// Asynchronous copies (cp.async), for a kernel that wraps them in functions and calls these `#ifdef GPUNET_SIMULATOR`.
//
// The device may carry out a copy at any time between its issue and its wait. So both count as an access to source and
// destination, and the checker sees what races with either. What arrives is what lies at the source at the wait, and
// what lies at the destination until then is no value (NaN; uninitialized for the checker): whoever looks too early or
// overwrites the source too early gets a wrong result.
#pragma once
#include "runtime.h"

namespace simulator {

struct Copy {
  void* shared;
  const void* global;  // null for zeros
  unsigned bytes;
  unsigned group;  // how many groups the thread had closed before
  uint32_t place;  // of the issue in the kernel's library; in "fast" mode 0
};

struct CopyQueue {
  Copy *first, *end;  // the copies that are on their way
  Copy* limit;        // of the room for them
  unsigned groups;    // closed so far
};
extern CopyQueue* copies;  // the running thread's

void make_room_for_copies();

// Announces a copy to the checker; returns its caller's place.
uint32_t issue_copy(void* shared, const void* global, unsigned bytes);

// Not instrumented: the queue is not the kernel's memory.
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
inline __attribute__((always_inline)) void carry_out(const Copy& copy) {
  using Piece = typename CopyPiece<BYTES>::type;
  *static_cast<Piece*>(copy.shared) = copy.global ? *static_cast<const Piece*>(copy.global) : Piece{};
}

// always_inline, here and above, so that the accesses lie in the kernel's own lines.
template <int BYTES>
inline __attribute__((always_inline)) void copy_async(void* shared, const void* global, bool there) {
  static_assert(BYTES == 4 || BYTES == 8 || BYTES == 16, "cp.async copies 4, 8 or 16 bytes");
#ifdef __SANITIZE_THREAD__
  const uint32_t place = issue_copy(shared, there ? global : nullptr, BYTES);
#else  // without a checker it is the processor that looks at the addresses
  using Piece = typename CopyPiece<BYTES>::type;
  *static_cast<volatile Piece*>(shared) = ~Piece{};
  if (there) static_cast<void>(*static_cast<const volatile Piece*>(global));
  constexpr uint32_t place = 0;
#endif
  put_copy({shared, there ? global : nullptr, BYTES, 0, place});
}

inline __attribute__((always_inline)) void wait_copies(unsigned pending) {
  for (Copy copy; take_copy(pending, copy);) {
    if (copy.bytes == 16) carry_out<16>(copy);
    else if (copy.bytes == 8) carry_out<8>(copy);
    else carry_out<4>(copy);
  }
}

template <int PENDING>
inline __attribute__((always_inline)) void wait_copies() {
  wait_copies(PENDING);
}

}  // namespace simulator
