// The arrays that a kernel places in dynamic shared memory, and the variables of static shared memory.
#pragma once
#include <cstddef>

namespace simulator {

struct DeclaredShared {
  const char* begin;
  size_t bytes, alignment;
  size_t device_offset;  // offset on a GPU, which places variables in the order of their declarations
};

// Returns the static variable at `address`, or null if the kernel has not passed its declaration.
const DeclaredShared* declared_at(const char* address);

// The least alignment of these variables, at most 16.
extern size_t least_alignment __attribute__((visibility("hidden")));

void forget_declared();       // at the start of a launch
void forget_shared_arrays();  // at the start of a block

}  // namespace simulator
