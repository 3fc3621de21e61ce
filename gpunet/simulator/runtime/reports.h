// The texts of findings about memory accesses.
#pragma once
#include <string>

#include "access.h"
#include "findings.h"

namespace simulator {

// Describes `address`: "array a at byte 64", "shared memory As at byte 0".
std::string memory_at(const char* address);

// Describes an address outside all arrays by the nearest array.
std::string nearest(const char* address);

void report(Grade grade, const char* kind, const std::string& where, const MemoryAccess& access);
void report_race(Grade grade, const MemoryAccess& access, const Access& other);

// Regrades a benign race as an error: the writes were of different values.
void correct_race(const MemoryAccess& access, const Access& now, const Access& other);

}  // namespace simulator
