#include "history.h"

#include <bitset>
#include <unordered_map>

namespace simulator {
namespace {

// Data that the running block received from another block: thread `releaser` there executed its fence and atomic in
// `released_epoch`, and thread `acquirer` of the running block read the atomic in `acquired_epoch`.
struct Handover {
  unsigned releaser, released_epoch, acquirer, acquired_epoch;
};

using Handovers = std::unordered_map<unsigned, Handover>;  // by releasing block
std::unordered_map<const void*, Handovers> released;       // by atomic variable
Handovers acquired;                                        // by the running block
std::bitset<1024> fenced;                                  // threads of the running block that called __threadfence

bool handed_over(Access earlier, Access later) {
  if (acquired.empty()) return false;
  const auto found = acquired.find(earlier.block());
  if (found == acquired.end()) return false;
  const Handover& h = found->second;
  const bool released = earlier.block_epoch() < h.released_epoch ||
                        (earlier.thread() == h.releaser && earlier.block_epoch() == h.released_epoch);
  const bool seen = later.block_epoch() > h.acquired_epoch || later.thread() == h.acquirer;
  return released && seen;
}

Distance distance(Access earlier, Access later) {
  const Distance by_barriers = distance_by_barriers(earlier, later);
  return by_barriers == kOtherBlock && handed_over(earlier, later) ? kOrdered : by_barriers;
}

bool not_ordered(Access earlier, Access later) { return !earlier.empty() && distance(earlier, later) != kOrdered; }

}  // namespace

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
  fenced.reset();
}

void note_fence() { fenced.set(running.now.thread()); }

void note_atomic(const void* address) {
  const Access now = running.now;
  const auto earlier = released.find(address);
  if (earlier != released.end())
    for (auto [block, handover] : earlier->second) {
      handover.acquirer = now.thread();
      handover.acquired_epoch = now.block_epoch();
      acquired.insert_or_assign(block, handover);
      running.exceptions |= kDataReceived;
    }
  if (!fenced[now.thread()]) return;
  Handovers& handovers = released[address];
  handovers.insert(acquired.begin(), acquired.end());  // handovers are transitive
  handovers.insert_or_assign(now.block(), Handover{.releaser = now.thread(), .released_epoch = now.block_epoch()});
}

}  // namespace simulator
