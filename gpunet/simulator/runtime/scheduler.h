// The running launch, as the checker sees it.
#pragma once
#include <string>

#include "launch.h"
#include "runtime.h"

namespace simulator {

// Where in program order the running thread is. Two accesses of one block are ordered when a barrier lies between them.
struct Clock {
  uint32_t block : 22;   // linear index in the grid; blocks that this makes equal are too far apart to meet
  uint32_t thread : 10;  // linear index in the block
  uint32_t block_epoch;  // barriers that the block has passed
  uint32_t warp_epoch;   // __syncwarps that the warp has passed
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

// Lets the other threads of the block run until they wait or exit.
void let_others_run();

std::string describe(unsigned block, unsigned thread);

extern Counts counts;

}  // namespace simulator
