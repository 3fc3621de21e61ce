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
  Cell* cells = nullptr;
  // Bytes per cell: 4, or 1 after an access to fewer bytes, because neighbouring bytes may belong to different threads.
  int cell_bytes = 4;
  std::vector<Cell> byte_cells;
};

// Makes the regions of a launch: static and dynamic shared memory, with these initialized flags, and the arrays.
void begin_regions(uint8_t* shared_flags);

Region* find_region(const char* address);

// Gives each byte of a region its own cell.
void split_cells(Region& region);

}  // namespace simulator
