// The interface between engine.py and the runtime: plain structs, mirrored by structs.py.
#pragma once
#include <cstdint>

extern "C" {

// A kernel in the generated table of a library.
struct KernelEntry {
  const char* name;
  const char* types;  // of its parameters, comma-separated
  const char* names;
  unsigned max_threads;  // from __launch_bounds__, else 1024
  void (*call)(void** arguments);
};

// An array that the launch may access.
struct BufferArgument {
  const char* name;  // the parameter's
  char* begin;
  uint64_t bytes;
  uint8_t* initialized;  // a flag per byte; null if all bytes are initialized
  int writable;
};

struct Launch {
  const KernelEntry* kernel;
  void** arguments;
  unsigned grid[3], block[3];
  uint64_t static_shared_offset, static_shared_bytes;  // this kernel's part of the library's static shared memory
  uint64_t dynamic_shared_bytes;
  const BufferArgument* buffers;
  uint64_t buffer_count;
  int cooperative;
  int shuffled;   // whether the blocks run in an order shuffled by `seed`, else in ascending order
  uint64_t seed;
};

struct Counts {
  uint64_t global_read, global_written, shared_read, shared_written, barriers;
  uint64_t rounding_atomics;  // on global memory, see atomic_access
};

}
