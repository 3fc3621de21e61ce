// The state of the running launch that the checker uses.
#pragma once
#include <string>

#include "launch.h"
#include "runtime.h"

namespace simulator {

// A memory access: thread, time and place in the code. Two accesses of one block are ordered if a barrier lies between
// them, so time is counted in barriers. Packed into two words, because the checker copies and compares millions of these.
struct Access {
  uint64_t actor = 0;   // the block (linear index in the grid modulo 2^22), the thread's index, the block's barriers
  uint64_t detail = 0;  // the warp's __syncwarps, the place (offset of the code in its library), atomic, write

  static constexpr uint64_t kBlock = (1u << 22) - 1, kLane = 31u << 22, kWarp = 31u << 27, kPlace = (1u << 30) - 1;

  static Access of(uint64_t block, uint64_t thread, uint64_t block_epoch, uint32_t warp_epoch) {
    return {(block & kBlock) | thread << 22 | block_epoch << 32, warp_epoch};
  }
  Access at(uint64_t place, bool write, bool atomic) const {
    return {actor, detail | (place & kPlace) << 32 | uint64_t{atomic} << 62 | uint64_t{write} << 63};
  }

  bool empty() const { return detail == 0; }  // a place is never 0
  unsigned block() const { return actor & kBlock; }
  unsigned thread() const { return (actor & (kLane | kWarp)) >> 22; }
  uint32_t block_epoch() const { return actor >> 32; }
  uint32_t warp_epoch() const { return detail; }
  uint32_t place() const { return detail >> 32 & kPlace; }
  bool atomic() const { return detail >> 62 & 1; }
  bool write() const { return detail >> 63; }
  bool plain_write() const { return detail >> 62 == 2; }
};

enum Exception : unsigned {
  kUnwatched = 1,      // the runtime works for the thread: accesses are not checked
  kRacePending = 2,    // the last access raced, see note_race
  kDataReceived = 4,   // the block received data from another block, see history.h
  kLimited = 8,        // accesses are counted, because there was an error
  kPartialSync = 16,   // not all lanes of the warp took part in its last __syncwarp, see LaneOrder
};

struct Running {
  Access now;  // the template of an access by the running thread
  char *stack_begin, *stack_end;
  char *library_begin, *library_end;  // the kernel's code and variables
  unsigned exceptions = 0;            // reasons why accesses need more than quick_check.h
  uint64_t accesses_left;             // until the launch is abandoned, if they are limited
};
extern Running running __attribute__((visibility("hidden")));  // so that it is accessed directly
extern const Launch* launch;

// Lets the other threads of the block run until they wait or exit.
void let_others_run();

std::string describe(unsigned block, unsigned thread);

extern Counts counts;

}  // namespace simulator
