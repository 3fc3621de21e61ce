#include "regions.h"

#include <sys/mman.h>

#include <algorithm>
#include <iterator>
#include <new>

#include "scheduler.h"
#include "shared_memory.h"

namespace simulator {
namespace {

std::vector<Region> regions;
Region nowhere{};
uint64_t newest_generation = 0;

// The records of all regions, which only grow. A new generation makes all invalid without a write.
Cell* cells = nullptr;
Recent* atomics = nullptr;
size_t capacity = 0, used = 0;

constexpr size_t cell_count(size_t bytes) { return (bytes + 3) / 4; }

void reserve_cells(size_t count) {
  constexpr size_t bytes = sizeof(Cell) + sizeof(Recent);
  used = 0;
  if (count <= capacity) return;
  if (capacity) munmap(cells, capacity * bytes);
  capacity = 0;
  // zeros; a page takes memory only at its first access
  void* memory = mmap(nullptr, count * bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) throw std::bad_alloc();
  cells = static_cast<Cell*>(memory);
  atomics = reinterpret_cast<Recent*>(cells + count);
  capacity = count;
}

void add_region(Region region) {
  const size_t bytes = region.end - region.begin;
  region.cells = cells + used;
  region.atomics = atomics + used;
  used += cell_count(bytes);
  region.read = region.shared ? &counts.shared_read : &counts.global_read;
  region.written = region.shared ? &counts.shared_written : &counts.global_written;
  const bool in_words = reinterpret_cast<uintptr_t>(region.begin) % 4 == 0;
  region.quick_to_read = in_words ? bytes / 4 * 4 : 0;
  region.quick_to_write = region.writable ? region.quick_to_read : 0;
  regions.push_back(std::move(region));
}

// Merges arguments that overlap, such as a matrix that is both input and output, into one region.
std::vector<Region> merged_buffers() {
  std::vector<Region> result;
  for (const BufferArgument* b = launch->buffers; b != launch->buffers + launch->buffer_count; ++b)
    if (b->bytes) result.push_back({b->begin, b->begin + b->bytes, false, b->writable != 0, b->initialized});
  std::sort(result.begin(), result.end(), [](const Region& a, const Region& b) { return a.begin < b.begin; });
  size_t kept = 0;
  for (const Region& next : result) {
    if (kept && next.begin < result[kept - 1].end) {
      Region& region = result[kept - 1];
      region.end = std::max(region.end, next.end);
      region.writable |= next.writable;
      if (!region.initialized && next.initialized) region.initialized = next.initialized - (next.begin - region.begin);
    } else {
      result[kept++] = next;
    }
  }
  result.resize(kept);
  return result;
}

}  // namespace

Region* region_of_place[kPlaces];

Region* find_region(const char* address, uint32_t place) {
  Region*& last = region_of_place[place % kPlaces];
  if (last->contains(address)) return last;
  for (Region& region : regions)
    if (region.contains(address)) return last = &region;
  return nullptr;
}

void split_cells(Region& region) {
  const size_t count = region.end - region.begin;
  region.byte_cells.resize(count);
  region.byte_atomics.resize(count);
  for (size_t i = 0; i < count; ++i) {
    region.byte_cells[i] = region.cells[i / 4];
    region.byte_atomics[i] = region.atomics[i / 4];
  }
  region.cells = region.byte_cells.data();
  region.atomics = region.byte_atomics.data();
  region.cell_shift = 0;
}

void begin_generation(bool shared) {
  newest_generation += Cell::kFlags + 1;
  for (Region& region : regions)
    if (region.shared == shared) region.generation = newest_generation;
}

void begin_regions(uint8_t* shared_flags) {
  const auto buffers = merged_buffers();
  const size_t static_bytes = static_shared.bytes, dynamic_bytes = launch->dynamic_shared_bytes;
  size_t count = cell_count(static_bytes) + cell_count(dynamic_bytes);
  for (const Region& region : buffers) count += cell_count(region.end - region.begin);
  reserve_cells(count);
  regions.clear();
  std::fill(std::begin(region_of_place), std::end(region_of_place), &nowhere);
  add_region({static_shared.begin, static_shared.begin + static_bytes, true, true, shared_flags});
  add_region({dynamic_shared, dynamic_shared + dynamic_bytes, true, true, shared_flags + static_bytes});
  for (const Region& region : buffers) add_region(region);
  begin_generation(false);
}

}  // namespace simulator
