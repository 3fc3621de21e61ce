#include "history.h"

#include <bitset>
#include <unordered_map>

namespace simulator {
namespace {

// Data that the running block received from another block: thread `releaser` there executed its fence and atomic in
// `released_epoch`, and thread `acquirer` of the running block read the atomic in `acquired_epoch`.
struct Handover {
  uint64_t releaser, released_epoch, acquirer, acquired_epoch;
};

using Handovers = std::unordered_map<unsigned, Handover>;  // by releasing block
std::unordered_map<const void*, Handovers> released;       // by atomic variable
Handovers acquired;                                        // by the running block
std::bitset<1024> fenced;                                  // threads of the running block that called __threadfence

bool handed_over(const Access& earlier, const Access& later) {
  if (acquired.empty()) return false;
  const auto found = acquired.find(earlier.block);
  if (found == acquired.end()) return false;
  const Handover& h = found->second;
  const bool released = earlier.block_epoch < h.released_epoch ||
                        (earlier.thread == h.releaser && earlier.block_epoch == h.released_epoch);
  const bool seen = later.block_epoch > h.acquired_epoch || later.thread == h.acquirer;
  return released && seen;
}

// How far an earlier access is from being ordered before a later one: the scope of the missing synchronization.
enum Distance { kOrdered, kSameWarp, kSameBlock, kOtherBlock };

inline Distance distance(const Access& earlier, const Access& later) {
  if (earlier.block != later.block) return handed_over(earlier, later) ? kOrdered : kOtherBlock;
  if (earlier.thread == later.thread || earlier.block_epoch != later.block_epoch) return kOrdered;
  if (earlier.thread / kWarpSize != later.thread / kWarpSize) return kSameBlock;
  return earlier.warp_epoch != later.warp_epoch ? kOrdered : kSameWarp;
}

inline bool not_ordered(const Access& earlier, const Access& later) {
  return earlier.place && distance(earlier, later) != kOrdered;
}

}  // namespace

inline const Access* Recent::not_ordered_before(const Access& access) const {
  if (not_ordered(latest, access)) return &latest;
  if (not_ordered(farthest, access)) return &farthest;
  return nullptr;
}

inline void Recent::add(const Access& access) {
  if (latest.place) {
    const Distance to_latest = distance(latest, access);
    const Distance to_farthest = farthest.place ? distance(farthest, access) : kOrdered;
    if (to_latest != kOrdered && to_latest >= to_farthest) farthest = latest;
  }
  latest = access;
}

void Recent::forget_own(const Access& access) {
  const auto own = [&](const Access& a) { return a.block == access.block && a.thread == access.thread; };
  if (own(farthest)) farthest = {};
  if (own(latest)) {
    latest = farthest;
    farthest = {};
  }
}

const Access* Cell::conflict(const Access& access) const {
  if (not_ordered(write, access)) return &write;
  if (access.write)  // includes every atomic
    if (const Access* read = reads.not_ordered_before(access)) return read;
  return access.atomic ? nullptr : atomics.not_ordered_before(access);
}

void Cell::add(const Access& access) {
  if (access.atomic) {
    atomics.add(access);
  } else if (access.write) {
    write = access;
    reads = atomics = {};
  } else {
    reads.add(access);
  }
}

void forget_handovers() {
  released.clear();
  begin_block_handovers();
}

void begin_block_handovers() {
  acquired.clear();
  fenced.reset();
}

void note_fence() { fenced.set(running.now.thread); }

void note_atomic(const void* address) {
  const Access now = running.now;
  const auto earlier = released.find(address);
  if (earlier != released.end())
    for (auto [block, handover] : earlier->second) {
      handover.acquirer = now.thread;
      handover.acquired_epoch = now.block_epoch;
      acquired.insert_or_assign(block, handover);
    }
  if (!fenced[now.thread]) return;
  Handovers& handovers = released[address];
  handovers.insert(acquired.begin(), acquired.end());  // handovers are transitive
  handovers.insert_or_assign(now.block, Handover{.releaser = now.thread, .released_epoch = now.block_epoch});
}

}  // namespace simulator
