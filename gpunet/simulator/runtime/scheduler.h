// The running launch, as the checker sees it.
#pragma once
#include <string>

#include "launch.h"
#include "runtime.h"

namespace simulator {

// One access to memory: who, when and where in the code. Two accesses of one block are ordered when a barrier lies
// between them, so time is counted in barriers passed. Two 64-bit words, for the checker copies millions of these.
struct Access {
  uint64_t block : 22;        // linear index in the grid; blocks that this makes equal are too far apart to meet
  uint64_t thread : 10;       // linear index in the block
  uint64_t block_epoch : 32;  // barriers that the block has passed
  uint64_t warp_epoch : 32;   // __syncwarps that the warp has passed
  uint64_t place : 30;        // offset of the code in its library; 0 marks an empty record
  uint64_t atomic : 1;
  uint64_t write : 1;
};

struct Running {
  Access now;  // what an access by the running thread begins as
  char *stack_begin, *stack_end;
  char *library_begin, *library_end;  // where the kernel's code and variables lie
  bool watched = true;                // false while the runtime works for the thread
  uint64_t accesses_left;             // that are watched before the launch is abandoned
};
extern Running running;
extern const Launch* launch;

// Lets the other threads of the block run until they wait or exit.
void let_others_run();

std::string describe(unsigned block, unsigned thread);

extern Counts counts;

}  // namespace simulator
