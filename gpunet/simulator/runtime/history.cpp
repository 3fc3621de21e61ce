#include "history.h"

#include <algorithm>
#include <array>
#include <unordered_map>

#include "block.h"

namespace simulator {
namespace {

// The last fence of a thread. The accesses of lane i of its warp before epoch `seen[i]` are ordered before it.
struct Fence {
  unsigned warp;
  std::array<uint32_t, LaneOrder::kLanes> seen;

  bool follows(Access a) const {
    return a.thread() / LaneOrder::kLanes == warp && a.warp_epoch() < seen[a.thread() % LaneOrder::kLanes];
  }
};

// Data that the running block received from another block: a thread there executed `fence`, then an atomic in
// `released_epoch`, when the block's last fence was in `fenced_epoch`. A thread of the running block read the atomic
// by the access `acquired`.
struct Handover {
  Fence fence;
  unsigned released_epoch, fenced_epoch;
  Access acquired;
};

using Handovers = std::unordered_map<unsigned, Handover>;  // by releasing block
std::unordered_map<const void*, Handovers> released;       // by atomic variable
Handovers acquired;                                        // by the running block
std::unordered_map<unsigned, Fence> fences;                // by thread of the running block
unsigned fenced_epoch;                                     // of the last fence

bool same_warp_and_block_epoch(Access a, Access b) { return !((a.actor ^ b.actor) & ~Access::kLane); }

Distance distance_in_block(Access earlier, Access later) {
  const Distance by_barriers = distance_by_barriers(earlier, later);
  if (by_barriers == kOrdered && running.exceptions & kPartialSync && same_warp_and_block_epoch(earlier, later))
    return block->warps[later.thread() / kWarpSize].order.orders(earlier, later) ? kOrdered : kSameWarp;
  return by_barriers;
}

bool handed_over(Access earlier, Access later) {
  if (acquired.empty()) return false;
  const auto found = acquired.find(earlier.block());
  if (found == acquired.end()) return false;
  const Handover& h = found->second;
  const bool released =
      earlier.block_epoch() < h.released_epoch ? earlier.block_epoch() <= h.fenced_epoch : h.fence.follows(earlier);
  return released && distance_in_block(h.acquired, later) == kOrdered;
}

// `later` is an access of the running thread.
Distance distance(Access earlier, Access later) {
  if (distance_by_barriers(earlier, later) != kOtherBlock) return distance_in_block(earlier, later);
  return handed_over(earlier, later) ? kOrdered : kOtherBlock;
}

bool not_ordered(Access earlier, Access later) { return !earlier.empty() && distance(earlier, later) != kOrdered; }

}  // namespace

void LaneOrder::synchronize(unsigned lanes, bool all, uint32_t epoch) {
  if (all) {
    partial = 0;
    return;
  }
  if (!partial) std::fill(&seen[0][0], &seen[kLanes][0], epoch - 1);
  partial = kPartialSync;
  uint32_t merged[kLanes] = {};
  for (int i = 0; i < kLanes; ++i)
    for (int j = 0; j < kLanes; ++j)
      if (lanes >> j & 1) merged[i] = std::max(merged[i], i == j ? epoch : seen[j][i]);
  for (int j = 0; j < kLanes; ++j)
    if (lanes >> j & 1) std::copy_n(merged, kLanes, seen[j]);
}

bool LaneOrder::orders(Access earlier, Access later) const {
  return earlier.thread() == later.thread() ||
         earlier.warp_epoch() < seen[later.thread() % kLanes][earlier.thread() % kLanes];
}

const Access* Recent::not_ordered_before(Access access) const {
  if (not_ordered(latest, access)) return &latest;
  if (not_ordered(farthest, access)) return &farthest;
  return nullptr;
}

void Recent::forget_own(Access access) {
  const auto own = [=](Access a) { return a.block() == access.block() && a.thread() == access.thread(); };
  if (own(farthest)) farthest = {};
  if (own(latest)) {
    latest = farthest;
    farthest = {};
  }
}

const Access* Cell::conflict(Access access, const Recent& atomics) const {
  if (not_ordered(write, access)) return &write;
  if (access.write())  // includes every atomic
    if (const Access* read = reads.not_ordered_before(access)) return read;
  return has(kAtomics) && !access.atomic() ? atomics.not_ordered_before(access) : nullptr;
}

void Cell::add(Access access, Recent& atomics) {
  if (access.atomic()) {
    if (!has(kAtomics)) atomics.forget();
    state |= kAtomics;
    atomics.add(access, distance);
  } else if (access.write()) {
    write = access;
    reads.forget();
    state = (state & ~kFlags) | kWritten;
  } else {
    reads.add(access, distance);
  }
}

void forget_handovers() {
  released.clear();
  begin_block_handovers();
}

void begin_block_handovers() {
  acquired.clear();
  running.exceptions &= ~kDataReceived;
  fences.clear();
}

void note_fence() {
  const unsigned number = running.now.thread(), warp = number / kWarpSize, lane = number % kWarpSize;
  synchronize_lanes(1u << lane);
  Fence fence{.warp = warp, .seen = {}};
  const LaneOrder& order = block->warps[warp].order;
  if (order.partial)
    std::copy_n(order.seen[lane], LaneOrder::kLanes, fence.seen.begin());
  else
    fence.seen.fill(running.now.warp_epoch());  // the warp has one lane
  fences.insert_or_assign(number, fence);
  fenced_epoch = running.now.block_epoch();
}

void note_atomic(const void* address) {
  const Access now = running.now;
  const auto earlier = released.find(address);
  if (earlier != released.end())
    for (auto [block, handover] : earlier->second) {
      handover.acquired = now;
      acquired.insert_or_assign(block, handover);
      running.exceptions |= kDataReceived;
    }
  const auto fence = fences.find(now.thread());
  if (fence == fences.end()) return;
  Handovers& handovers = released[address];
  handovers.insert(acquired.begin(), acquired.end());  // handovers are transitive
  handovers.insert_or_assign(now.block(), Handover{fence->second, now.block_epoch(), fenced_epoch, {}});
}

}  // namespace simulator
