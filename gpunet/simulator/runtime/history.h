// Race detection: the access history of memory cells, and the order of accesses.
#pragma once
#include <cstdint>

#include "scheduler.h"

namespace simulator {

// How far an earlier access is from being ordered before a later one: the scope of the missing synchronization.
enum Distance { kOrdered, kSameWarp, kSameBlock, kOtherBlock };

// The distance if only barriers order accesses.
[[gnu::always_inline]] inline Distance distance_by_barriers(Access earlier, Access later) {
  const uint64_t difference = earlier.actor ^ later.actor;
  if (difference & Access::kBlock) return kOtherBlock;
  if (difference >> 32) return kOrdered;
  if (difference & Access::kWarp) return kSameBlock;
  return difference && earlier.warp_epoch() == later.warp_epoch() ? kSameWarp : kOrdered;
}

// The order of the accesses of a warp since its last barrier of all lanes. A fence is a barrier of one lane: it orders no
// lanes, but tells the lane's accesses before it from those after it.
struct LaneOrder {
  static constexpr int kLanes = 32;
  unsigned partial = 0;  // kPartialSync if there was a barrier of some lanes since, else 0 and `seen` is not valid
  uint32_t seen[kLanes][kLanes];  // [j][i]: accesses of lane i before this epoch are ordered before those of lane j

  void synchronize(unsigned lanes, bool all, uint32_t epoch);  // `epoch` begins with it
  bool orders(Access earlier, Access later) const;
};

// A summary of many accesses of one kind: the latest, and the one that is farthest from being ordered before the
// latest. If any of the accesses is not ordered before a later access, then one of these two is not. So findings do
// not depend on the order in which threads run.
struct Recent {
  Access latest, farthest;

  [[gnu::always_inline]] void add(Access access, auto distance) {
    const Distance to_latest = latest.empty() ? kOrdered : distance(latest, access);
    if (to_latest != kOrdered && (farthest.empty() || to_latest >= distance(farthest, access))) farthest = latest;
    latest = access;
  }

  void forget() { latest.detail = farthest.detail = 0; }
  void forget_own(Access access);  // the records of the thread of `access`
  const Access* not_ordered_before(Access access) const;
};

// The history of a few bytes: the last plain write, and the reads since. Atomics are kept apart, because they are rare.
struct alignas(64) Cell {
  uint64_t state = 0;  // the generation and the flags below; records of an earlier generation are not valid
  Access write;
  Recent reads;

  static constexpr uint64_t kWritten = 1, kAtomics = 2, kFlags = 3;  // whether there are atomics since the last write

  bool has(uint64_t flag) const { return state & flag; }

  // Removes the records if they are of another generation. A generation is a multiple of kFlags + 1.
  void enter(uint64_t generation) {
    if ((state & ~kFlags) == generation) return;
    state = generation;
    write = {};
    reads.forget();
  }

  // Returns an earlier access that `access` races with, or null. `atomics` are those since the last plain write.
  const Access* conflict(Access access, const Recent& atomics) const;
  void add(Access access, Recent& atomics);
};

// Handovers of data between blocks by a __threadfence and an atomic, as in "the last block to arrive computes the sum".
void forget_handovers();       // at a launch or grid barrier
void begin_block_handovers();  // when another block starts
void note_fence();             // the running thread has called __threadfence
void note_atomic(const void* address);

}  // namespace simulator
