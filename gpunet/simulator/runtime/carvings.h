// Arrays that a kernel carves from dynamic shared memory, and the variables of static shared memory.
#pragma once
#include <cstddef>

namespace simulator {

struct DeclaredShared {
  const char* begin;
  size_t bytes, alignment;
  size_t device_offset;  // where a GPU puts it: one after the other, as they are declared
};

// Returns the static variable at `address`, or null where the kernel has not told of it.
const DeclaredShared* declared_at(const char* address);

void forget_declared();   // at a launch
void forget_carvings();   // at a block

}  // namespace simulator
