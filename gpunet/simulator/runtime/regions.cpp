#include "regions.h"

#include <algorithm>
#include <cstdlib>
#include <new>

#include "scheduler.h"
#include "shared_memory.h"

namespace simulator {
namespace {

std::vector<Region> regions;
Region* last_region;

// The cells of all regions are one array that only grows. A new generation invalidates all without a write.
Cell* cells = nullptr;
size_t cell_capacity = 0, cells_used = 0;

constexpr size_t cell_count(size_t bytes) { return (bytes + 3) / 4; }

Cell* new_cells(size_t count) {
  auto* result = static_cast<Cell*>(std::calloc(count, sizeof(Cell)));  // takes memory only at the first access
  if (!result && count) throw std::bad_alloc();
  return result;
}

void reserve_cells(size_t count) {
  cells_used = 0;
  if (count <= cell_capacity) return;
  std::free(cells);
  cell_capacity = 0;
  cells = new_cells(count);
  cell_capacity = count;
}

void add_region(Region region) {
  region.cells = cells + cells_used;
  cells_used += cell_count(region.end - region.begin);
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

Region* find_region(const char* address) {
  if (last_region && address >= last_region->begin && address < last_region->end) return last_region;
  for (Region& region : regions)
    if (address >= region.begin && address < region.end) return last_region = &region;
  return nullptr;
}

void split_cells(Region& region) {
  region.byte_cells.resize(region.end - region.begin);
  for (size_t i = 0; i < region.byte_cells.size(); ++i) region.byte_cells[i] = region.cells[i / 4];
  region.cells = region.byte_cells.data();
  region.cell_bytes = 1;
}

void begin_regions(uint8_t* shared_flags) {
  const auto buffers = merged_buffers();
  const size_t static_bytes = static_shared.bytes, dynamic_bytes = launch->dynamic_shared_bytes;
  size_t count = cell_count(static_bytes) + cell_count(dynamic_bytes);
  for (const Region& region : buffers) count += cell_count(region.end - region.begin);
  reserve_cells(count);
  regions.clear();
  last_region = nullptr;
  add_region({static_shared.begin, static_shared.begin + static_bytes, true, true, shared_flags});
  add_region({dynamic_shared, dynamic_shared + dynamic_bytes, true, true, shared_flags + static_bytes});
  for (const Region& region : buffers) add_region(region);
}

}  // namespace simulator
