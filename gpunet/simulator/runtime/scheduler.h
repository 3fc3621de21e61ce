// The state of the running launch that the checker uses.
#pragma once
#include <string>

#include "launch.h"
#include "runtime.h"

namespace simulator {

// A memory access: thread, time and place in the code. Two accesses of one block are ordered if a barrier lies between
// them, so time is counted in barriers. The size is two 64-bit words, because the checker copies millions of these.
struct Access {
  uint64_t block : 22;        // linear index in the grid modulo 2^22; blocks with the same value are far apart
  uint64_t thread : 10;       // linear index in the block
  uint64_t block_epoch : 32;  // barriers that the block has passed
  uint64_t warp_epoch : 32;   // __syncwarps that the warp has passed
  uint64_t place : 30;        // offset of the code in its library; 0 marks an empty record
  uint64_t atomic : 1;
  uint64_t write : 1;
};

struct Running {
  Access now;  // the template of an access by the running thread
  char *stack_begin, *stack_end;
  char *library_begin, *library_end;  // the kernel's code and variables
  bool watched = true;                // false while the runtime works for the thread
  uint64_t accesses_left;             // number of checked accesses until the launch is abandoned
};
extern Running running;
extern const Launch* launch;

// Lets the other threads of the block run until they wait or exit.
void let_others_run();

std::string describe(unsigned block, unsigned thread);

extern Counts counts;

}  // namespace simulator
