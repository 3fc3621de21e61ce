// The checker: which memory a launch may touch, and what is wrong with an access to it.
#include "checker.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <new>
#include <string>

#include "access.h"
#include "async_copy.h"
#include "history.h"
#include "shared_memory.h"

namespace simulator {
namespace {

// Memory that may be touched, with its history.
struct Region {
  char* begin;
  char* end;
  bool shared, writable;
  uint8_t* initialized;  // a flag per byte, or null: all of it is
  Cell* cells = nullptr;
  // Bytes per cell: four until a smaller access shows that neighbouring bytes may belong to different threads.
  int cell_bytes = 4;
  std::vector<Cell> byte_cells;
};

std::vector<Region> regions;
std::vector<uint8_t> shared_flags;  // initialized flags of static and dynamic shared memory
Region* last_region;

// Cells lie in one array that only grows. A new generation empties them all without touching them.
Cell* cells = nullptr;
size_t cell_capacity = 0, cells_used = 0;
uint32_t newest_generation = 0, generation = 0, shared_generation = 0;

constexpr size_t cell_count(size_t bytes) { return (bytes + 3) / 4; }

Cell* new_cells(size_t count) {
  auto* result = static_cast<Cell*>(std::calloc(count, sizeof(Cell)));  // memory comes when it is touched
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

// Arguments that overlap, such as a matrix that is input and output, become one region.
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

Region* find_region(const char* address) {
  if (last_region && address >= last_region->begin && address < last_region->end) return last_region;
  for (Region& region : regions)
    if (address >= region.begin && address < region.end) return last_region = &region;
  return nullptr;
}

// --- findings

std::string place(uint32_t offset) {
  char text[32];
  std::snprintf(text, sizeof text, "{pc %x}", offset - 1);  // the call before the address that it returns to
  return text;
}

const BufferArgument* buffer_at(const char* address) {
  for (const BufferArgument* b = launch->buffers; b != launch->buffers + launch->buffer_count; ++b)
    if (address >= b->begin && address < b->begin + b->bytes) return b;
  return nullptr;
}

// Names what lies at `address`: "array a at byte 64", "shared memory As at byte 0".
std::string memory_at(const char* address) {
  const uint64_t offset = address - static_shared.begin;
  if (offset < static_shared.bytes)
    return "shared memory {static " + std::to_string(launch->static_shared_offset + offset) + "}";
  const uint64_t dynamic_offset = address - dynamic_shared;
  if (dynamic_offset < launch->dynamic_shared_bytes)
    return "dynamic shared memory at byte " + std::to_string(dynamic_offset);
  if (const BufferArgument* buffer = buffer_at(address))
    return std::string("array ") + buffer->name + " at byte " + std::to_string(address - buffer->begin);
  return "memory that is not the kernel's";
}

// Says which array an address outside of all memory just misses.
std::string nearest(const char* address) {
  int64_t smallest = 1 << 16;
  std::string text = "an address that no argument of the kernel covers";
  auto consider = [&](const std::string& name, const char* begin, int64_t bytes) {
    const int64_t offset = address - begin, gap = offset < 0 ? -offset : offset - bytes;
    if (gap < 0 || gap >= smallest) return;
    smallest = gap;
    text = "byte " + std::to_string(offset) + " of " + name + ", which has " + std::to_string(bytes) + " bytes";
  };
  for (const BufferArgument* b = launch->buffers; b != launch->buffers + launch->buffer_count; ++b)
    consider(std::string("array ") + b->name, b->begin, b->bytes);
  consider("the static shared memory", static_shared.begin, static_shared.bytes);
  consider("the dynamic shared memory", dynamic_shared, launch->dynamic_shared_bytes);
  return text;
}

std::string verb(bool write, bool atomic, size_t bytes) {
  return std::string(atomic ? "atomic access" : write ? "write" : "read") + " of " + std::to_string(bytes) + " bytes";
}

std::string by_whom(const Access& access, uint32_t code) {
  return " at " + place(code) + " by " + describe(access.block, access.thread);
}

[[noreturn]] void report(const char* what, const std::string& where, const MemoryAccess& a) {
  fail(std::string(what) + ": " + verb(a.write, a.atomic, a.bytes) + by_whom(running.now, a.place) + ": " + where);
}

[[noreturn]] void report_race(const MemoryAccess& a, const Access& other) {
  fail("race: " + verb(a.write, a.atomic, a.bytes) + by_whom(running.now, a.place) + ": " + memory_at(a.address) +
       "; not ordered with the " + (other.atomic ? "atomic access" : other.write ? "write" : "read") +
       by_whom(other, other.place));
}

// --- checks

void check_initialized(Region& region, const MemoryAccess& a) {
  uint8_t* flags = region.initialized + (a.address - region.begin);
  if ((!a.write || a.atomic) && std::memchr(flags, 0, a.bytes)) {
    // If another thread is about to write it, then that is a race, whoever comes first: the write will report it.
    let_others_run();
    if (const void* hole = std::memchr(flags, 0, a.bytes)) {
      const auto offset = static_cast<const uint8_t*>(hole) - flags;
      report("uninitialized read", memory_at(a.address + offset) + " has not been written", a);
    }
  }
  if (a.write) std::memset(flags, !a.issue, a.bytes);
}

void split_cells(Region& region) {
  region.byte_cells.resize(region.end - region.begin);
  for (size_t i = 0; i < region.byte_cells.size(); ++i) region.byte_cells[i] = region.cells[i / 4];
  region.cells = region.byte_cells.data();
  region.cell_bytes = 1;
}

void check_race(Region& region, const MemoryAccess& a) {
  if (region.cell_bytes == 4 && ((a.bytes | (a.address - region.begin)) & 3)) split_cells(region);
  Access access = running.now;
  access.place = a.place;
  access.atomic = a.atomic;
  access.write = a.write;
  const uint32_t current = region.shared ? shared_generation : generation;
  const size_t begin = (a.address - region.begin) / region.cell_bytes;
  const size_t end = begin + a.bytes / region.cell_bytes;
  for (size_t i = begin; i < end; ++i) {
    Cell& cell = region.cells[i];
    if (cell.generation != current) cell = Cell{.generation = current};
    if (const Access* other = cell.add(access)) report_race(a, *other);
  }
}

void count(const Region& region, const MemoryAccess& a) {
  if (!a.write || a.atomic) (region.shared ? counts.shared_read : counts.global_read) += a.bytes;
  if (a.write) (region.shared ? counts.shared_written : counts.global_written) += a.bytes;
}

}  // namespace

void check_access(const MemoryAccess& a) {
  Region* region = find_region(a.address);
  if (a.rounds && !(region && region->shared)) ++counts.rounding_atomics;
  if (!region) {
    // Variables of the library itself: __device__ and __constant__ ones, and tables of the compiler's.
    if (a.address >= running.library_begin && a.address < running.library_end) return;
    report("out of bounds", nearest(a.address), a);
  }
  if (a.address + a.bytes > region->end) report("out of bounds", nearest(region->end), a);
  if (a.aligned && (reinterpret_cast<uintptr_t>(a.address) & (a.bytes - 1))) report_misaligned(a, a.bytes);
  if (a.write && !region->writable) report("write through a const pointer", memory_at(a.address), a);
  if (a.issue && a.write != region->shared)
    report("asynchronous copy that is not from global to shared memory", memory_at(a.address), a);
  if (!a.issue) count(*region, a);
  check_race(*region, a);
  if (a.atomic && !region->shared) note_atomic(a.address);
  if (region->initialized) check_initialized(*region, a);
}

void report_misaligned(const MemoryAccess& a, size_t alignment) {
  report("misaligned", memory_at(a.address) + ", whose address is no multiple of " + std::to_string(alignment), a);
}

void report_arithmetic(const char* what, uint32_t code) { fail(std::string(what) + by_whom(running.now, code)); }

void thread_fence() { note_fence(); }

namespace checker {

void begin_launch() {
  const auto buffers = merged_buffers();
  const size_t static_bytes = static_shared.bytes, dynamic_bytes = launch->dynamic_shared_bytes;
  size_t count = cell_count(static_bytes) + cell_count(dynamic_bytes);
  for (const Region& region : buffers) count += cell_count(region.end - region.begin);
  reserve_cells(count);
  shared_flags.assign(static_bytes + dynamic_bytes, 0);
  uint8_t* flags = shared_flags.data();
  regions.clear();
  last_region = nullptr;
  add_region({static_shared.begin, static_shared.begin + static_bytes, true, true, flags});
  add_region({dynamic_shared, dynamic_shared + dynamic_bytes, true, true, flags + static_bytes});
  for (const Region& region : buffers) add_region(region);
  generation = ++newest_generation;
  forget_handovers();
}

void begin_block() {
  shared_generation = ++newest_generation;
  begin_block_handovers();
}

void exit_thread() {
  if (copies->first == copies->end) return;
  const Copy& copy = *copies->first;
  char* shared = static_cast<char*>(copy.shared);
  report("copy never waited for", memory_at(shared), {shared, copy.bytes, copy.place, true});
}

void forget_shared() { std::fill(shared_flags.begin(), shared_flags.end(), 0); }

void pass_grid_barrier() {
  generation = ++newest_generation;
  forget_handovers();
}

std::vector<uint8_t>& shared_initialized() { return shared_flags; }

}  // namespace checker
}  // namespace simulator
