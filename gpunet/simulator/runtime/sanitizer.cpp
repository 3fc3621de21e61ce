// The callbacks of g++'s instrumentation, in place of the sanitizers' libraries: -fsanitize=thread calls one before
// every memory access, -fsanitize=bounds,alignment,... where a check fails. Without those libraries no preloading and
// no special memory layout is needed.
#include <cstring>

#include "access.h"
#include "async_copy.h"
#include "findings.h"
#include "quick_check.h"

using namespace simulator;

namespace {

uint32_t place_of(const void* return_address) {
  return static_cast<const char*>(return_address) - running.library_begin;
}

[[gnu::always_inline]] inline bool on_own_stack(const char* address) {
  const size_t size = running.stack_end - running.stack_begin;
  return static_cast<size_t>(address - running.stack_begin) < size;
}

// Not checked: the thread's own stack, and the operations of warp collectives, which the runtime executes.
void access(char* address, size_t bytes, bool write, bool aligned, const void* return_address) {
  if (on_own_stack(address) || running.exceptions & kUnwatched) return;
  check_access({address, bytes, place_of(return_address), write, false, aligned});
}

template <size_t bytes, bool write>
[[gnu::always_inline]] inline void aligned_access(void* pointer, const void* return_address) {
  char* address = static_cast<char*>(pointer);
  if (on_own_stack(address) || check_quickly<bytes, write>(address, place_of(return_address))) return;
  access(address, bytes, write, true, return_address);
}

void other_access(const void* pointer, size_t bytes, bool write, const void* return_address) {
  access(static_cast<char*>(const_cast<void*>(pointer)), bytes, write, false, return_address);
}

// The record of a failed check begins with the source location. Findings use the address of the code instead, which
// also identifies inlined calls.
struct TypeMismatch {
  const char* file;
  uint32_t line, column;
  const void* type;
  uint8_t log2_alignment, kind;  // kind 1 is a write
};

}  // namespace

#define PLACE __builtin_return_address(0)
#define ACCESS(N)                                                                    \
  void __tsan_read##N(void* p) { aligned_access<N, false>(p, PLACE); }               \
  void __tsan_write##N(void* p) { aligned_access<N, true>(p, PLACE); }               \
  void __tsan_unaligned_read##N(void* p) { other_access(p, N, false, PLACE); }       \
  void __tsan_unaligned_write##N(void* p) { other_access(p, N, true, PLACE); }

// The thread continues with the result that the CPU computes, as on a GPU.
#define ARITHMETIC(NAME, WHAT) \
  void __ubsan_handle_##NAME() { report_arithmetic(WHAT, place_of(PLACE)); }

#define FATAL(NAME, WHAT)                     \
  void __ubsan_handle_##NAME() {              \
    report_arithmetic(WHAT, place_of(PLACE)); \
    stop_thread();                            \
  }

extern "C" {

ACCESS(1)
ACCESS(2)
ACCESS(4)
ACCESS(8)
ACCESS(16)
void __tsan_read_range(void* p, size_t n) { other_access(p, n, false, PLACE); }
void __tsan_write_range(void* p, size_t n) { other_access(p, n, true, PLACE); }
void __tsan_init() {}
void __tsan_vptr_update(void**, void*) {}
void __tsan_vptr_read(void**) {}

void __ubsan_handle_type_mismatch_v1_abort(const TypeMismatch* data, char* address) {
  const size_t alignment = size_t{1} << data->log2_alignment;
  report_misaligned({address, alignment, place_of(PLACE), data->kind == 1}, alignment);
}

FATAL(out_of_bounds_abort, "out of bounds: an index past the end of its array")
ARITHMETIC(add_overflow, "integer overflow in an addition")
ARITHMETIC(sub_overflow, "integer overflow in a subtraction")
ARITHMETIC(mul_overflow, "integer overflow in a multiplication")
ARITHMETIC(negate_overflow, "integer overflow in a negation")
FATAL(divrem_overflow, "integer division by zero or overflow")
FATAL(divrem_overflow_abort, "integer division by zero or overflow")
ARITHMETIC(shift_out_of_bounds, "shift by a negative number or by the integer's width or more")

}  // extern "C"

uint32_t simulator::issue_copy(void* shared, const void* global, unsigned bytes) {
  const MemoryAccess write{
      .address = static_cast<char*>(shared), .bytes = bytes, .place = place_of(PLACE), .write = true, .issue = true};
  MemoryAccess read = write;
  read.address = static_cast<char*>(const_cast<void*>(global));
  read.write = false;
  check_access(write);
  if (global) check_access(read);
  return write.place;
}

void* simulator::move_bytes(void* to, const void* from, size_t bytes) {
  if (bytes == 0) return to;
  other_access(from, bytes, false, PLACE);
  other_access(to, bytes, true, PLACE);
  return std::memmove(to, from, bytes);
}

void* simulator::fill_bytes(void* to, int value, size_t bytes) {
  if (bytes == 0) return to;
  other_access(to, bytes, true, PLACE);
  return std::memset(to, value, bytes);
}

void simulator::atomic_access(void* address, size_t bytes, bool rounds, bool store, bool compares) {
  check_access({.address = static_cast<char*>(address),
                .bytes = bytes,
                .place = place_of(PLACE),
                .write = true,
                .atomic = true,
                .rounds = rounds,
                .store = store,
                .compares = compares});
}
