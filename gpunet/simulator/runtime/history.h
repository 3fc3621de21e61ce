// Race detection: the access history of memory cells, and the order of accesses.
#pragma once
#include <cstdint>

#include "scheduler.h"

namespace simulator {

// A summary of many accesses of one kind: the latest, and the one that is farthest from being ordered before the
// latest. If any of the accesses is not ordered before a later access, then one of these two is not. So findings do
// not depend on the order in which threads run.
struct Recent {
  Access latest{}, farthest{};

  void add(const Access& access);
  void forget_own(const Access& access);  // the records of the thread of `access`
  const Access* not_ordered_before(const Access& access) const;
};

// The history of a few bytes: the last plain write, and the reads and the atomics since.
struct Cell {
  uint32_t generation = 0;  // the records are valid only if this is the current generation
  Access write{};
  Recent reads, atomics;

  // Returns an earlier access that `access` races with, or null.
  const Access* conflict(const Access& access) const;

  void add(const Access& access);
};

// Handovers of data between blocks by a __threadfence and an atomic, as in "the last block to arrive computes the sum".
void forget_handovers();       // at a launch or grid barrier
void begin_block_handovers();  // when another block starts
void note_fence();             // the running thread has called __threadfence
void note_atomic(const void* address);

}  // namespace simulator
