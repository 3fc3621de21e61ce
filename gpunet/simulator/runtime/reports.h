// What findings say of accesses to memory.
#pragma once
#include <string>

#include "access.h"
#include "findings.h"

namespace simulator {

// Names what lies at `address`: "array a at byte 64", "shared memory As at byte 0".
std::string memory_at(const char* address);

// Says which array an address outside of all memory just misses.
std::string nearest(const char* address);

void report(Grade grade, const char* kind, const std::string& where, const MemoryAccess& access);
void report_race(Grade grade, const MemoryAccess& access, const Access& other);

// The benign race that was reported is none: the writes were of different values.
void correct_race(const MemoryAccess& access, const Access& now, const Access& other);

}  // namespace simulator
