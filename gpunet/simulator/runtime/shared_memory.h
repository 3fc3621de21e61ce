// Shared memory: static (the kernel library's thread-local block) and dynamic.
#pragma once
#include <cstdint>
#include <vector>

#include "launch.h"
#include "runtime.h"

namespace simulator {

struct StaticShared {
  char* begin;
  size_t bytes;
};
extern StaticShared static_shared;

// The shared memory of a block that waits at a grid barrier, while other blocks use the same addresses.
struct SavedShared {
  std::vector<char> static_bytes, dynamic_bytes;
  std::vector<uint8_t> initialized;
};

// Finds the kernel's static shared memory and, for the checker, the address range of the kernel's library.
void find_library(const Launch& launch);
void fresh_shared_memory(size_t dynamic_bytes);
void save_shared_memory(SavedShared& saved, size_t dynamic_bytes);
void restore_shared_memory(const SavedShared& saved);

}  // namespace simulator
