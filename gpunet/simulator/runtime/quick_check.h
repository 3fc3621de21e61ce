// The quick check of an access: an aligned read or write inside an array, which barriers order after all accesses that
// may conflict with it. Most are of this kind. It is inlined into the sanitizers' callbacks, where size and kind are
// constants. All else is left to check_access, which repeats the check from the start.
#pragma once
#include <cstring>

#include "history.h"
#include "regions.h"
#include "shared_arrays.h"
#include "scheduler.h"

namespace simulator {

constexpr uint8_t kOnes[16] = {1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1};

// Whether barriers order the access of a record before `access`, or the record is empty.
[[gnu::always_inline]] inline bool is_ordered(Access record, Access access) {
  return record.empty() || distance_by_barriers(record, access) == kOrdered;
}

// Adds an access to a cell unless it may be in a race. Returns whether it was added.
template <bool write>
[[gnu::always_inline]] inline bool add_quickly(Cell& cell, Access access, uint64_t generation) {
  if (cell.state != generation && (cell.state != (generation | Cell::kWritten) || !is_ordered(cell.write, access)))
    return false;
  if constexpr (write) {
    if (!is_ordered(cell.reads.latest, access) || !is_ordered(cell.reads.farthest, access)) return false;
    cell.write = access;
    cell.reads.forget();
    cell.state = generation | Cell::kWritten;
  } else {
    cell.reads.add(access, distance_by_barriers);
  }
  return true;
}

// Returns whether the access is valid; it is then recorded. Otherwise check_access may record it a second time, which
// changes nothing.
template <size_t bytes, bool write>
[[gnu::always_inline]] inline bool check_quickly(const char* address, uint32_t place) {
  if (running.exceptions) return false;
  Region& region = *region_of_place[place % kPlaces];
  const size_t offset = address - region.begin, size = write ? region.quick_to_write : region.quick_to_read;
  if (offset >= size || reinterpret_cast<uintptr_t>(address) % bytes) return false;
  if (bytes < 4 && region.cell_shift) return false;
  if (bytes > 4 && (offset + bytes > size || (region.shared && least_alignment < bytes))) return false;
  const Access access = running.now.at(place, write, false);
  const size_t begin = offset >> region.cell_shift, end = begin + (bytes >> region.cell_shift);
  for (size_t i = begin; i < end; ++i)
    if (!add_quickly<write>(region.cells[i], access, region.generation)) return false;
  if (region.initialized) {
    if constexpr (write) std::memcpy(region.initialized + offset, kOnes, bytes);
    else if (std::memcmp(region.initialized + offset, kOnes, bytes) != 0) return false;
  }
  *(write ? region.written : region.read) += bytes;
  return true;
}

}  // namespace simulator
