// The running launch, as the checker sees it.
#pragma once
#include <string>

#include "launch.h"
#include "runtime.h"

namespace simulator {

// Where in program order the running thread is. Two accesses of one block are ordered when a barrier lies between them.
struct Clock {
  unsigned block;        // linear index in the grid
  unsigned thread;       // linear index in the block
  unsigned block_epoch;  // barriers that the block has passed
  unsigned warp_epoch;   // __syncwarps that the warp has passed
};

struct Running {
  Clock clock;
  char *stack_begin, *stack_end;
  char *library_begin, *library_end;  // where the kernel's code and variables lie
  bool watched = true;                // false while the runtime works for the thread
};
extern Running running;

// Records the finding and abandons the launch: the running thread never goes on, so its access is not carried out.
[[noreturn]] void fail(std::string&& text);

std::string describe(unsigned block, unsigned thread);

extern Counts counts;

}  // namespace simulator
