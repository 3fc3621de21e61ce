// Asynchronous copies (cp.async), for a kernel that wraps them in functions and calls these `#ifdef GPUNET_SIMULATOR`.
//
// The device may carry out a copy at any time between its issue and its wait, so both ends count as an access to both
// addresses: the checker sees what races with either. What arrives is what lies at the source when it is waited for,
// and what lies at the destination until then is no value (NaN, and not initialized): whoever looks too early, or
// overwrites the source too early, gets a wrong result.
#pragma once
#include "runtime.h"

namespace simulator {

struct Copy {
  void* shared;
  const void* global;  // null for zeros
  unsigned bytes;
  unsigned group;  // how many groups the thread had closed before
  uint32_t place;  // of the issue in the kernel's library
};

struct CopyRange {
  const Copy *first, *last;
};

void issue_copy(void* shared, const void* global, unsigned bytes);
void commit_copies();
CopyRange arriving_copies(unsigned pending);  // to be carried out before the thread's next call of these functions

template <int BYTES>
struct CopyPiece {
  typedef unsigned type __attribute__((vector_size(BYTES)));
};

// The queue is not the kernel's memory.
__attribute__((no_sanitize("thread"))) inline Copy from_queue(const Copy* copy) { return *copy; }

template <int BYTES>
inline __attribute__((always_inline)) void carry_out(const Copy& copy) {
  using Piece = typename CopyPiece<BYTES>::type;
  *static_cast<Piece*>(copy.shared) = copy.global ? *static_cast<const Piece*>(copy.global) : Piece{};
}

// always_inline, here and above, so that accesses, and what the processor refuses of them, have the kernel's own lines.
template <int BYTES>
inline __attribute__((always_inline)) void copy_async(void* shared, const void* global, bool there) {
  static_assert(BYTES == 4 || BYTES == 8 || BYTES == 16, "cp.async copies 4, 8 or 16 bytes");
  issue_copy(shared, there ? global : nullptr, BYTES);
#ifndef __SANITIZE_THREAD__  // where the checker has not looked at the addresses, the processor does
  using Piece = typename CopyPiece<BYTES>::type;
  *static_cast<volatile Piece*>(shared) = ~Piece{};
  if (there) static_cast<void>(*static_cast<const volatile Piece*>(global));
#endif
}

template <int PENDING>
inline __attribute__((always_inline)) void wait_copies() {
  const CopyRange arriving = arriving_copies(PENDING);
  for (const Copy* next = arriving.first; next != arriving.last; ++next) {
    const Copy copy = from_queue(next);
    if (copy.bytes == 16) carry_out<16>(copy);
    else if (copy.bytes == 8) carry_out<8>(copy);
    else carry_out<4>(copy);
  }
}

}  // namespace simulator
