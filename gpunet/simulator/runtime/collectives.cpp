// Warp collectives such as shuffles and votes. Each lane stores its operands; the last to arrive runs the operation.
#include <cstring>

#include "block.h"
#include "checker.h"
#include "findings.h"

namespace simulator {
namespace {

unsigned lanes_in_warp(unsigned warp) {
  const unsigned count = block->threads.size() - warp * kWarpSize;
  return count >= kWarpSize ? ~0u : (1u << count) - 1;
}

Thread& lane_of(unsigned warp, unsigned lane) { return block->threads[warp * kWarpSize + lane]; }

// Runs the collective of `mask` if all of its lanes that have not exited have arrived. Returns whether it ran.
bool complete_collective(unsigned warp_number, unsigned mask) {
  Warp& warp = block->warps[warp_number];
  const unsigned participants = mask & lanes_in_warp(warp_number) & ~warp.exited;
  if ((warp.arrived & participants) != participants) return false;
  const Thread& first = lane_of(warp_number, __builtin_ctz(participants));
  for (unsigned lane = 0; lane < kWarpSize; ++lane) {
    if (!(participants >> lane & 1)) continue;
    const Thread& other = lane_of(warp_number, lane);
    if (other.mask != mask) return false;  // it waits for other lanes first
    if (other.operation != first.operation)
      fail("divergent warp collective: " + describe(block->number, other.number) + " is at " + text(other.where) +
           ", " + describe(block->number, first.number) + " at " + text(first.where) +
           ", with different operations");
  }
  warp.lanes.misread = 0;
  running.exceptions |= kUnwatched;
  first.operation(warp.lanes, participants);
  running.exceptions &= ~kUnwatched;
  if (kChecked && warp.lanes.misread && !thread_was_stopped()) {
    const Thread& reader = lane_of(warp_number, __builtin_ctz(warp.lanes.misread));
    const Where where = reader.where;
    if (std::string* finding = new_finding(Grade::error, "undefined shuffle", where.line(), where.column()))
      *finding = "undefined shuffle at " + text(where) + ": " + describe(block->number, reader.number) +
                 " reads from a lane that does not participate (it has exited or is not in the mask)";
  }
  warp.arrived &= ~participants;
  for (unsigned lane = 0; lane < kWarpSize; ++lane)
    if (participants >> lane & 1) lane_of(warp_number, lane).state = State::ready;
  if (first.memory == Memory::ordered) synchronize_lanes(mask & lanes_in_warp(warp_number));
  return true;
}

}  // namespace

void synchronize_lanes(unsigned lanes) {
  const unsigned warp_number = thread->number / kWarpSize;
  Warp& warp = block->warps[warp_number];
  ++warp.epoch;
  if constexpr (kChecked) {
    warp.order.synchronize(lanes, lanes == lanes_in_warp(warp_number), warp.epoch);
    enter_epoch(*thread);
  }
}

void leave_warp() {
  const unsigned warp_number = thread->number / kWarpSize;
  Warp& warp = block->warps[warp_number];
  warp.exited |= 1u << thread->number % kWarpSize;
  for (unsigned lane = 0; lane < kWarpSize; ++lane)
    if (warp.arrived >> lane & 1) complete_collective(warp_number, lane_of(warp_number, lane).mask);
}

void warp_collective(unsigned mask, Operation operation, const void* in, size_t in_bytes, void* out, size_t out_bytes,
                     Memory memory, Where where) {
  const unsigned lane = thread->number % kWarpSize, warp_number = thread->number / kWarpSize;
  if (!(mask >> lane & 1)) fail("warp collective at " + text(where) + ": the calling lane is not in the mask");
  Warp& warp = block->warps[warp_number];
  if (in_bytes) std::memcpy(warp.lanes.in[lane], in, in_bytes);
  thread->mask = mask;
  thread->operation = operation;
  thread->memory = memory;
  thread->where = where;
  thread->state = State::at_warp_collective;
  warp.arrived |= 1u << lane;
  if (!complete_collective(warp_number, mask)) yield();
  if (out_bytes) std::memcpy(out, warp.lanes.out[lane], out_bytes);
}

// The active lanes are those that wait at the same __activemask when no thread of the block can continue.
unsigned active_mask(Where where) {
  thread->where = where;
  thread->state = State::at_active_mask;
  yield();
  return thread->mask;
}

bool answer_active_masks() {
  bool answered = false;
  for (const Thread& first : block->threads) {
    if (first.state != State::at_active_mask) continue;
    const Where where = first.where;
    const unsigned warp_number = first.number / kWarpSize;
    unsigned active = 0;
    for (unsigned lane = first.number % kWarpSize; lanes_in_warp(warp_number) >> lane & 1 && lane < kWarpSize; ++lane) {
      const Thread& t = lane_of(warp_number, lane);
      active |= unsigned{t.state == State::at_active_mask && same_place(t.where, where)} << lane;
    }
    for (unsigned rest = active; rest; rest &= rest - 1) {
      Thread& t = lane_of(warp_number, __builtin_ctz(rest));
      t.mask = active;
      t.state = State::ready;
    }
    answered = true;
  }
  return answered;
}

}  // namespace simulator
