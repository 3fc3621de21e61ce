// The memory that a launch may access, with the access history of its bytes.
#pragma once
#include <cstddef>
#include <cstdint>
#include <vector>

#include "history.h"

namespace simulator {

// A range of memory with its access history.
struct Region {
  char* begin;
  char* end;
  bool shared, writable;
  uint8_t* initialized;  // a flag per byte; null if all bytes are initialized
  uint64_t generation = 0;  // see Cell
  Cell* cells = nullptr;
  Recent* atomics = nullptr;  // of the cells
  // Log2 of the bytes per cell. A cell has 4 bytes; after an access to fewer it has 1, because neighbouring bytes may
  // belong to different threads.
  int cell_shift = 2;
  std::vector<Cell> byte_cells;
  std::vector<Recent> byte_atomics;
  uint64_t *read = nullptr, *written = nullptr;  // the counts of bytes
  size_t quick_to_read = 0, quick_to_write = 0;  // bytes that quick_check.h covers

  bool contains(const char* address) const { return address >= begin && address < end; }
};

// Makes the regions of a launch: static and dynamic shared memory, with these initialized flags, and the arrays.
void begin_regions(uint8_t* shared_flags);

// Begins a new generation of shared memory (with a block) or of the arrays, which makes their records invalid.
void begin_generation(bool shared);

// Returns the region of an address that the code at `place` accesses, or null.
Region* find_region(const char* address, uint32_t place);

// The regions that were accessed last by code at places with these lowest bits.
constexpr size_t kPlaces = 256;
extern Region* region_of_place[kPlaces] __attribute__((visibility("hidden")));

// Gives each byte of a region its own cell.
void split_cells(Region& region);

}  // namespace simulator
