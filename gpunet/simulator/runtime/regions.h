// The memory that a launch may touch, and the history of each piece of it.
#pragma once
#include <cstddef>
#include <cstdint>
#include <vector>

#include "history.h"

namespace simulator {

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

// Makes the regions of a launch: static and dynamic shared memory, whose initialized flags these are, and the arrays.
void begin_regions(uint8_t* shared_flags);

Region* find_region(const char* address);

// Gives each byte of a region a cell of its own.
void split_cells(Region& region);

}  // namespace simulator
