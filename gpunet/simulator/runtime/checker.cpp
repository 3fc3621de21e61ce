// The checker: checks each memory access of a launch.
#include "checker.h"

#include <algorithm>
#include <cstring>
#include <string>

#include "access.h"
#include "async_copy.h"
#include "history.h"
#include "regions.h"
#include "reports.h"
#include "shared_arrays.h"
#include "shared_memory.h"

namespace simulator {
namespace {

std::vector<uint8_t> shared_flags;  // a flag per byte of static and dynamic shared memory: initialized

// A write that races with an earlier write. After it is executed, memory shows whether it wrote the same value.
struct {
  MemoryAccess access;
  Access now, other;
  std::string before;  // the bytes that the earlier write left
} unsettled;

// A plain read that races with an atomic. If the thread then passes the address to a compare-and-swap, the read was the
// first guess of its loop, as in the CUDA Programming Guide: the loop is correct for any value that it read.
struct {
  const char* address = nullptr;
  uint32_t place, other;
  Access now;
} guess;

void accept_guess(Region& region, const MemoryAccess& a) {
  const Access& now = running.now;
  if (guess.address == a.address && guess.now.block() == now.block() && guess.now.thread() == now.thread())
    take_back("race", guess.place, guess.other);
  guess.address = nullptr;
  const size_t begin = (a.address - region.begin) >> region.cell_shift;
  for (size_t i = begin; i < begin + (a.bytes >> region.cell_shift); ++i) region.cells[i].reads.forget_own(now);
}

void settle_race() {
  running.exceptions &= ~kRacePending;
  const MemoryAccess& a = unsettled.access;
  if (unsettled.before.compare(0, a.bytes, a.address, a.bytes) != 0) correct_race(a, unsettled.now, unsettled.other);
}

bool reads(const MemoryAccess& a) { return !a.write || (a.atomic && !a.store); }

void note_race(const MemoryAccess& a, const Access& other) {
  if (!a.write && other.atomic()) guess = {.address = a.address, .place = a.place, .other = other.place(), .now = running.now};
  const bool writes = a.write && !a.atomic && other.plain_write();
  if (!writes || a.issue) return report_race(Grade::error, a, other);
  report_race(Grade::warning, a, other);
  running.exceptions |= kRacePending;
  unsettled = {.access = a, .now = running.now, .other = other, .before = {a.address, a.bytes}};
}

void check_initialized(Region& region, const MemoryAccess& a) {
  uint8_t* flags = region.initialized + (a.address - region.begin);
  if (reads(a) && std::memchr(flags, 0, a.bytes)) {
    // If another thread writes these bytes before the next barrier, the write reports a race instead.
    let_others_run();
    if (const void* hole = std::memchr(flags, 0, a.bytes); hole && !thread_was_stopped()) {
      const auto offset = static_cast<const uint8_t*>(hole) - flags;
      report(Grade::error, "uninitialized read", memory_at(a.address + offset) + " has not been written", a);
    }
  }
  if (a.write) std::memset(flags, !a.issue, a.bytes);
}

void check_race(Region& region, const MemoryAccess& a) {
  if (region.cell_shift && ((a.bytes | (a.address - region.begin)) & 3)) split_cells(region);
  const Access access = running.now.at(a.place, a.write, a.atomic);
  const size_t begin = (a.address - region.begin) >> region.cell_shift;
  const size_t end = begin + (a.bytes >> region.cell_shift);
  Access race;
  for (size_t i = begin; i < end; ++i) {
    Cell& cell = region.cells[i];
    cell.enter(region.generation);
    if (const Access* other = cell.conflict(access, region.atomics[i])) [[unlikely]]
      if (race.empty() || race.plain_write()) race = *other;
    cell.add(access, region.atomics[i]);
  }
  if (!race.empty()) note_race(a, race);
}

[[noreturn]] void stop_at(const char* kind, const std::string& where, const MemoryAccess& a) {
  report(Grade::error, kind, where, a);
  stop_thread();
}

bool is_misaligned(const MemoryAccess& a) { return reinterpret_cast<uintptr_t>(a.address) & (a.bytes - 1); }

void check_alignment(const MemoryAccess& a) {
  if (const DeclaredShared* d = a.bytes > 4 ? declared_at(a.address) : nullptr; d && d->alignment < a.bytes) {
    const std::string size = std::to_string(a.bytes);
    const std::string where = memory_at(a.address) + ", which is declared to lie at a multiple of " +
                              std::to_string(d->alignment) + ", not of " + size + ": declare it __align__(" + size + ")";
    if (is_misaligned(a) || (d->device_offset + (a.address - d->begin)) % a.bytes) stop_at("misaligned", where, a);
    report(Grade::warning, "alignment by luck", where, a);
  } else if (is_misaligned(a)) {
    report_misaligned(a, a.bytes);
  }
}

void count(const Region& region, const MemoryAccess& a) {
  if (reads(a)) *region.read += a.bytes;
  if (a.write) *region.written += a.bytes;
}

}  // namespace

void check_access(const MemoryAccess& a) {
  if (running.exceptions & kLimited && --running.accesses_left == 0) abandon_launch();
  checker::settle();
  Region* region = find_region(a.address, a.place);
  if (a.rounds && !(region && region->shared)) ++counts.rounding_atomics;
  if (!region) {
    // Other variables of the library, such as constants and the compiler's tables.
    if (a.address >= running.library_begin && a.address < running.library_end) return;
    stop_at("out of bounds", nearest(a.address), a);
  }
  if (a.address + a.bytes > region->end) stop_at("out of bounds", nearest(region->end), a);
  if (a.aligned && (a.bytes > 4 || is_misaligned(a))) check_alignment(a);
  if (a.write && !region->writable) stop_at("write through a const pointer", memory_at(a.address), a);
  if (a.issue && a.write != region->shared)
    stop_at("asynchronous copy not from global to shared memory", memory_at(a.address), a);
  if (!a.issue) count(*region, a);
  if (a.compares) accept_guess(*region, a);
  check_race(*region, a);
  if (a.atomic && !region->shared) note_atomic(a.address);
  if (region->initialized) check_initialized(*region, a);
}

void report_misaligned(const MemoryAccess& a, size_t alignment) {
  stop_at("misaligned", memory_at(a.address) + ", whose address is not a multiple of " + std::to_string(alignment), a);
}

void report_arithmetic(const char* what, uint32_t place) {
  if (std::string* finding = new_finding(Grade::error, what, place))
    *finding = std::string(what) + " at " + place_text(place - 1) + " by " +
               describe(running.now.block(), running.now.thread());
}

void thread_fence() { note_fence(); }

namespace checker {

void begin_launch() {
  shared_flags.assign(static_shared.bytes + launch->dynamic_shared_bytes, 0);
  begin_regions(shared_flags.data());
  running.exceptions = 0;
  guess.address = nullptr;
  forget_declared();
  forget_handovers();
}

void settle() {
  if (running.exceptions & kRacePending) settle_race();
}

void begin_block() {
  forget_shared_arrays();
  begin_generation(true);
  begin_block_handovers();
}

void exit_thread() {
  settle();
  if (copies->first == copies->end) return;
  const Copy& copy = *copies->first;
  char* shared = static_cast<char*>(copy.shared);
  report(Grade::error, "copy never waited for", memory_at(shared), {shared, copy.bytes, copy.place, true});
}

void forget_shared() { std::fill(shared_flags.begin(), shared_flags.end(), 0); }

void pass_grid_barrier() {
  begin_generation(false);
  forget_handovers();
}

std::vector<uint8_t>& shared_initialized() { return shared_flags; }

}  // namespace checker
}  // namespace simulator
