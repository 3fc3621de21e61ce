// What the sanitizers' callbacks (sanitizer.cpp) tell the checker (checker.cpp).
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
  bool aligned = true;  // whether the type asks for an address that is a multiple of its size
  bool issue = false;   // of an asynchronous copy: the access itself is yet to come
  bool rounds = false;  // see atomic_access
  bool store = false;   // an atomic that reads nothing
};

// Returns after an access that may be carried out, with a finding or without; any other stops the thread.
void check_access(const MemoryAccess& access);

[[noreturn]] void report_misaligned(const MemoryAccess& access, size_t alignment);
void report_arithmetic(const char* what, uint32_t place);

}  // namespace simulator
