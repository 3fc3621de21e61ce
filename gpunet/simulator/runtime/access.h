// The interface between the sanitizers' callbacks (sanitizer.cpp) and the checker (checker.cpp).
#pragma once
#include <cstddef>
#include <cstdint>

#include "scheduler.h"

namespace simulator {

struct MemoryAccess {
  char* address;
  size_t bytes;
  uint32_t place;  // offset of the code in the kernel's library
  bool write;
  bool atomic = false;
  bool aligned = true;  // the type requires an address that is a multiple of its size
  bool issue = false;   // the issue of an asynchronous copy; the access itself follows later
  bool rounds = false;  // see atomic_access
  bool store = false;   // an atomic that does not read
  bool compares = false;  // a compare-and-swap
};

// Checks an access. Returns if the access can be executed, with or without a finding; otherwise stops the thread.
void check_access(const MemoryAccess& access);

[[noreturn]] void report_misaligned(const MemoryAccess& access, size_t alignment);
void report_arithmetic(const char* what, uint32_t place);

}  // namespace simulator
