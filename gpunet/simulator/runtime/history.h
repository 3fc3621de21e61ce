// Race detection: the history of a piece of memory, and which accesses are ordered.
#pragma once
#include <cstdint>

#include "scheduler.h"

namespace simulator {

// The part of a cell's history that findings need: the last plain write, and of what came since (reads and atomics)
// the latest and, among the others, the one that is farthest from being ordered before the latest. When any of those
// races with an access to come then one of the two does: what is found does not depend on the order of threads.
struct Cell {
  uint32_t generation = 0;  // the records count only while this is the current generation
  Access write{}, latest{}, farthest{};

  // Adds `access` to the history and returns the earlier access that it races with, or null.
  const Access* add(Access access);
};

// Blocks that hand over data by an atomic after a __threadfence, as in "the last block to arrive sums up".
void forget_handovers();       // at a launch or grid barrier
void begin_block_handovers();  // another block runs
void note_fence();             // the running thread has called __threadfence
void note_atomic(const void* address);

}  // namespace simulator
